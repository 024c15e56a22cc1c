"""The whole service in a simulation: what is reported is what happened, again and again the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scheduler_service.cli.configuration import source_providers
from scheduler_service.cli.simulate import print_report
from scheduler_service.clients.base import discover
from scheduler_service.clients.http import AiohttpTransport
from scheduler_service.clock import HOUR, MINUTE, from_iso
from scheduler_service.errors import SchedulerServiceError
from scheduler_service.settings.load import load
from scheduler_service.settings.providers import KeyedOptions
from scheduler_service.simulation import Plan, alone, simulate
from scheduler_service.simulation_faults import ClockStep, Crash, Happening, Outage, Restore, Storm
from tests.market_support import new_york

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.settings.loaded import Settings
    from scheduler_service.simulation_faults import Trouble
    from scheduler_service.simulation_report import ProviderReport, Report, ScheduleReport

START = from_iso("2026-11-23T05:00:00Z")
SANDBOX = """
service: {data_dir: data}
watchlist: [AAPL, ACMEX]
providers: {sandbox: {enabled: true}, perplexity: {requests_per_minute: 600}}
domains:
  news: {sources: [{use: feeds, fresh_for: 20m}, {use: perplexity, fresh_for: 12h}]}
schedules: [{id: news, domain: news, symbols: all, trigger: {every: 30m}}]
"""
LIVE = """
service: {data_dir: data}
watchlist: [AAPL, MSFT]
providers:
  edgar: {user_agent: "Jane Doe jane.doe@example.com"}
  perplexity: {api_keys: [pplx-a-key-of-the-user-0123456789, pplx-another-of-them-9876543210]}
  feeds: {urls: ["https://feeds.test/{symbol}.rss"]}
domains:
  news:
    sources: [{use: feeds, fresh_for: 50m}, {use: edgar_filings, fresh_for: 50m}, {use: perplexity, fresh_for: 12h}]
schedules: [{id: news, domain: news, symbols: all, trigger: {every: 1h}}]
"""


def settings_of(folder: Path, text: str) -> Settings:
    (config := folder / "config.yaml").write_text(text)
    config.chmod(0o600)
    providers = {name: client.Options for name, client in discover().items()}
    return load([config], {}, providers=providers, sources=source_providers())


def shown(folder: Path, *troubles: tuple[int, Trouble], text: str = SANDBOX, days: int = 1, seed: int = 0) -> Report:
    happenings = tuple(Happening("as written", after, trouble) for after, trouble in troubles)
    return simulate(settings_of(folder, text), Plan(START, days, seed, happenings))


def schedule(report: Report, schedule_id: str = "news") -> ScheduleReport:
    return next(one for one in report.schedules if one.schedule_id == schedule_id)


def provider(report: Report, name: str) -> ProviderReport:
    return next(one for one in report.providers if one.provider == name)


def slots(report: Report, outcome: str | None = None) -> int:
    return sum(count.count for count in schedule(report).slots if outcome in (None, count.outcome))


def test_a_quiet_day_is_told_to_the_last_slot_and_call(tmp_path: Path) -> None:
    report = shown(tmp_path)
    assert slots(report) == slots(report, "ran") == pytest.approx(48, abs=1)
    feeds, perplexity = provider(report, "feeds"), provider(report, "perplexity")
    assert feeds.asked == pytest.approx(2 * 48, abs=2)
    assert sum(feeds.per_period) == feeds.asked == feeds.busiest_day
    assert perplexity.asked == 3 * 2, "at the start, and twice when it is no longer good for a slot"
    assert perplexity.usd > 0
    assert feeds.usd == 0
    [news] = report.domains
    assert news.fresh == pytest.approx(2 / 3, abs=0.02), "twenty minutes of every thirty"
    assert report.said == ()
    assert report.starts == 1
    assert not (tmp_path / "data").exists()


def test_the_same_seed_gives_the_same_report_to_the_byte(tmp_path: Path) -> None:
    storm: list[tuple[int, Trouble]] = [(10 * HOUR, Storm("feeds", 30 * MINUTE, 500)), (11 * HOUR, Crash())]
    once, again = (shown(tmp_path, *storm, seed=1).model_dump_json() for _ in range(2))
    assert once == again


def test_half_an_hour_of_errors_costs_few_calls_and_is_over_within_two_slots(tmp_path: Path) -> None:
    calm, report = (
        shown(tmp_path, *troubles) for troubles in ((), [(10 * HOUR + 5 * MINUTE, Storm("feeds", 30 * MINUTE, 500))])
    )
    assert provider(report, "feeds").failed > 0
    assert provider(report, "feeds").most_in_a_minute <= 60, "as many as the provider may be asked"
    assert provider(report, "feeds").asked < provider(calm, "feeds").asked + 60
    assert report.domains[0].fresh > calm.domains[0].fresh - 2 * 30 / (24 * 60)
    assert {said.event for said in report.said} & {"provider.circuit_opened", "task.failed", "call.throttled"}


def test_who_says_wait_a_minute_is_asked_once_a_minute(tmp_path: Path) -> None:
    report = shown(tmp_path, (10 * HOUR - MINUTE, Storm("feeds", 30 * MINUTE, 429)))
    assert 1 <= provider(report, "feeds").failed <= 31
    assert slots(report) == pytest.approx(48, abs=1)


def test_a_source_that_never_answers_leaves_nothing_fresh(tmp_path: Path) -> None:
    report = shown(tmp_path, (0, Outage("feeds", 24 * HOUR)))
    assert provider(report, "feeds").failed == provider(report, "feeds").asked > 0
    assert report.domains[0].fresh == 0


def test_an_outage_of_what_costs_costs_nothing(tmp_path: Path) -> None:
    calm, report = (shown(tmp_path, *troubles) for troubles in ((), [(11 * HOUR, Outage("perplexity", 3 * HOUR))]))
    assert provider(report, "perplexity").failed > 0
    assert provider(report, "perplexity").usd <= provider(calm, "perplexity").usd


def test_a_killed_process_is_started_again_and_goes_on(tmp_path: Path) -> None:
    report = shown(tmp_path, (10 * HOUR, Crash()), (10 * HOUR + 1, Crash()), (20 * HOUR, Crash()))
    assert report.starts == 4
    assert slots(report) == pytest.approx(48, abs=1)
    assert slots(report, "ran") + slots(report, "caught_up") >= 47
    assert not any(count.outcome in ("queued", "running") for count in schedule(report).tasks)


@pytest.mark.parametrize(("by", "fewest", "most"), [(3 * HOUR, 52, 56), (-3 * HOUR, 40, 44)])
def test_a_clock_that_is_set_is_noticed_and_no_slot_runs_twice(tmp_path: Path, by: int, fewest: int, most: int) -> None:
    report = shown(tmp_path, (10 * HOUR, ClockStep(by)))
    assert fewest <= slots(report) <= most
    jumps = [said for said in report.said if said.event == "clock.jumped"]
    assert [said.count for said in jumps if said.reason is None] == [1]
    assert len({said.reason for said in jumps}) == len(jumps), "what it takes back is told apart"


def test_a_live_configuration_is_answered_by_the_sandbox_alone_and_its_keys_stay_at_home(tmp_path: Path) -> None:
    live = settings_of(tmp_path, LIVE)
    options = alone(live, tmp_path).providers["perplexity"]
    assert isinstance(options, KeyedOptions)
    assert [key.get_secret_value() for key in options.api_keys] == ["invented-key-1", "invented-key-2"]
    report = shown(tmp_path, text=LIVE)
    assert {one.provider for one in report.providers} == {"edgar", "feeds", "perplexity"}
    assert all(one.asked and not one.failed for one in report.providers)
    assert provider(report, "perplexity").usd > 0
    assert not (tmp_path / "data").exists()


WATCHING = """
service: {data_dir: data, timezone: America/New_York}
logging: {file: {path: service.log}}
watchlist: [ACMEX, GLOBX]
providers: {edgar: {user_agent: "Jane Doe jane.doe@example.com"}, finnhub: {api_keys: [a-key-of-the-user-0123456789]}}
domains:
  earnings: {sources: [{use: edgar, fresh_for: 20h}]}
  quotes: {sources: [{use: finnhub, fresh_for: 5m}]}
schedules:
  - {id: earnings, domain: earnings, trigger: {cron: "0 7 * * *"}}
  - {id: quotes, domain: quotes, trigger: {every: 2h}, during: {market: XNYS}}
monitors: {risk: {portfolio: portfolio.csv}, health: {ping_url: "https://ping.test/a-secret"}}
backup: {trigger: {cron: "0 2 * * *"}, directory: elsewhere}
alerts: {urls: ["https://hooks.test/a-secret"]}
"""


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a simulation has left the machine")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr(AiohttpTransport, "__init__", refuse)


@pytest.mark.usefixtures("no_network")
def test_alerts_pings_backups_and_logs_of_a_simulation_stay_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "service.log").write_text("the real log")
    (tmp_path / "portfolio.csv").write_text("symbol,quantity,average_price\nACMEX,10,900\nGLOBX,10,100\n")
    settings = settings_of(tmp_path, WATCHING)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    happenings = (Happening("x", 33 * HOUR, Storm("alerts", HOUR, 500)), Happening("y", 36 * HOUR, Restore()))
    plan = Plan(START, 2, 0, happenings)
    report = simulate(settings, plan, [new_york()])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "data").exists()
    noticed = {one.event: one.count for one in report.noticed}
    assert (noticed["market.opened"], noticed["market.closed"]) == (2, 2)
    assert noticed["risk.breach"] >= 2
    [channel] = report.channels
    assert "sandbox.invalid" in channel.channel
    assert {end.outcome for end in channel.ends} <= {"delivered", "suppressed"}
    assert report.backups == 2, "one a night, and none of what was just restored"
    assert report.starts == 2
    print_report(report, plan, settings)
    printed = capsys.readouterr().out.partition("\nNoticed:")[2].partition("\nSaid at WARNING")[0].splitlines()
    assert {"       2 x market.opened", "2 backups made and read back"} <= set(printed)
    assert max(map(len, printed)) <= 80


def test_what_would_leave_a_simulation_is_sent_to_the_sandbox(tmp_path: Path) -> None:
    moved = alone(settings_of(tmp_path, WATCHING), tmp_path / "x")
    secrets = (*moved.alerts.urls, moved.monitors.health.ping_url)
    assert {url.get_secret_value()[:24] for url in secrets if url} == {"https://sandbox.invalid/"}
    assert (moved.backup.directory, moved.logging.file) == (None, None)


def test_a_restore_without_a_backup_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SchedulerServiceError, match=r"there is no backup to restore; set backup\.trigger"):
        shown(tmp_path, (HOUR, Restore()))


def test_what_keeps_the_service_from_starting_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise SchedulerServiceError("no ledger today")

    monkeypatch.setattr("scheduler_service.engine.Engine.open_ledger", refuse)
    with pytest.raises(SchedulerServiceError, match="no ledger today"):
        shown(tmp_path)


def test_days_are_counted_by_the_clock_that_never_goes_back(tmp_path: Path) -> None:
    report = shown(tmp_path, (2 * HOUR, ClockStep(-HOUR)), days=2)
    assert report.days == 2
    assert provider(report, "feeds").asked == pytest.approx(2 * 48 * 2 - 4, abs=6)
