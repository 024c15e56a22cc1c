"""What needs nothing but a configuration: ``check``, ``next`` and the estimate."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.cli.check import check
from scheduler_service.cli.configuration import read, secrets_in, source_providers
from scheduler_service.cli.estimate import Estimate, estimate
from scheduler_service.cli.upcoming import upcoming
from scheduler_service.clock import from_iso
from scheduler_service.errors import ConfigurationError
from scheduler_service.settings.load import Found
from scheduler_service.stores.data_directory import SANDBOX, claim_mode
from scheduler_service.stores.database import Ledger
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.settings.loaded import Settings

CONFIG = """\
service: {timezone: America/New_York, data_dir: data}
watchlist: [AAPL, NVDA, {symbol: SNOW, tags: [cloud]}]
providers:
  edgar: {user_agent: Jane Doe jane@example.com, budget: {calls_per_day: 500}}
  feeds: {urls: ["https://a.example/{symbol}", "https://b.example/{symbol}"]}
domains:
  news: {sources: [{use: feeds, fresh_for: 20m}, {use: edgar_filings, fresh_for: 20m, enabled: false}]}
  earnings: {sources: [{use: edgar, fresh_for: 20h}]}
schedules:
  - {id: news, domain: news, trigger: {every: 6h}}
  - {id: morning, domain: earnings, symbols: {tags: [cloud]},
     trigger: {cron: "0 7 * * mon-fri", timezone: Europe/Berlin}}
  - {id: "off", domain: news, trigger: {every: 1s}, enabled: false}
"""
NOW = "2026-11-23T14:30:00Z"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def settings(config: Path) -> Settings:
    return read(Found((config,), ""))


def listed(capsys: pytest.CaptureFixture[str], config: Path, **options: Any) -> list[dict[str, str]]:
    given = {"job": None, "days": None, "count": None, "at": None, "as_json": True, **options}
    assert upcoming([config], clock=FakeClock(NOW), **given) == 0
    found: list[dict[str, str]] = json.loads(capsys.readouterr().out)
    return found


def test_next_is_what_the_contract_says(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys, config, count=3, at="2026-11-24T00:00:00-05:00") == [
        {
            "schedule_id": "morning",
            "due_at": "2026-11-24T06:00:00Z",
            "local": "2026-11-24T07:00:00+01:00",
            "note": "",
        },
        {
            "schedule_id": "news",
            "due_at": "2026-11-24T11:00:00Z",
            "local": "2026-11-24T06:00:00-05:00",
            "note": "",
        },
        {
            "schedule_id": "news",
            "due_at": "2026-11-24T17:00:00Z",
            "local": "2026-11-24T12:00:00-05:00",
            "note": "",
        },
    ]


def test_the_window_is_open_on_the_left_and_closed_on_the_right(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slots = listed(capsys, config, job="news", days=1, at="2026-11-23T17:00:00Z")
    assert [slot["due_at"][11:] for slot in slots] == ["23:00:00Z", "05:00:00Z", "11:00:00Z", "17:00:00Z"]


def test_a_count_alone_looks_as_far_ahead_as_it_takes(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slots = listed(capsys, config, job="morning", count=300)
    assert (len(slots), slots[-1]["due_at"][:4]) == (300, "2028")


def test_json_is_whole_and_text_is_short_where_nobody_said_how_much(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(listed(capsys, config)) == 4 * 7 + 5
    upcoming([config], job=None, days=None, count=None, at=None, as_json=False, clock=FakeClock(NOW))
    text = capsys.readouterr().out
    assert "13 more slots within 7 days" in text
    assert "Mon 23 Nov 2026 18:00:00 EST   2026-11-23T23:00:00Z   news" in text


def test_the_repeated_hour_of_autumn_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "watchlist: [A]\nproviders: {sandbox: {enabled: true}}\ndomains: {news: {sources: [feeds]}}\n"
        "schedules: [{id: n, domain: news, trigger: {every: 1h}}]\n"
    )
    slots = listed(capsys, path, count=2, at="2026-11-01T04:30:00Z")
    assert [(slot["local"], slot["note"]) for slot in slots] == [
        ("2026-11-01T01:00:00-04:00", ""),
        ("2026-11-01T01:00:00-05:00", "the second time this hour comes round"),
    ]


def test_a_schedule_that_is_off_is_said_to_be(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    upcoming([config], job="off", days=None, count=None, at=None, as_json=True, clock=FakeClock(NOW))
    said = capsys.readouterr()
    assert json.loads(said.out) == []
    assert "off is switched off" in said.err


def test_the_estimate_counts_slots_symbols_sources_and_addresses(settings: Settings) -> None:
    assert estimate(settings, source_providers(), from_iso(NOW)) == [
        Estimate("edgar", sandbox=False, calls_per_day=1, calls_limit=500, hosts=("data.sec.gov", "www.sec.gov")),
        Estimate("feeds", sandbox=False, calls_per_day=4 * 3 * 2, calls_limit=None, hosts=("a.example", "b.example")),
    ]


def test_check_says_when_and_how_much(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check([config], as_json=False, clock=FakeClock(NOW)) == 0
    text = capsys.readouterr().out
    assert "The configuration is valid: 3 symbols, 2 domains, 3 schedules; live." in text
    assert "morning: earnings of 1 symbol, at 07:00 on Monday through Friday, Europe/Berlin" in text
    assert "  Tue 24 Nov 2026 07:00:00 CET   2026-11-24T06:00:00Z" in text
    assert "  switched off (enabled: false)" in text


def test_check_in_json_is_one_value(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check([config], as_json=True, clock=FakeClock(NOW)) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["valid"] is True
    assert [(s["schedule_id"], s["symbols"], len(s["next"])) for s in said["schedules"]] == [
        ("news", 3, 3),
        ("morning", 1, 3),
        ("off", 3, 0),
    ]
    assert said["estimate"][0]["calls_per_day"] == 1


def test_check_shows_every_problem_of_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("htp: {}\nhttp: {port: x}\n")
    with pytest.raises(ConfigurationError) as caught:
        check([path], as_json=False)
    assert [str(problem) for problem in caught.value.problems] == [
        f"{path}:1:1 htp: there is no setting 'htp'; did you mean http?",
        f"{path}:2:14 http.port: a whole number is needed, not 'x'",
    ]
    assert check([path], as_json=True) == 2
    said = json.loads(capsys.readouterr().out)
    assert (said["valid"], len(said["problems"])) == (False, 2)


def test_secrets_are_found_however_deep(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG + "alerts: {urls: [a-secret-address]}\nmonitors: {health: {ping_url: another-one}}\n")
    settings = read(Found((path,), ""))
    assert {*secrets_in([settings.alerts, {"m": (settings.monitors,)}])} == {"a-secret-address", "another-one"}


def test_check_refuses_a_directory_of_the_other_mode_as_run_would(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def claim() -> None:
        (tmp_path / "data").mkdir()
        ledger = Ledger(tmp_path / "data" / "ledger.sqlite")
        await ledger.open()
        writing = asyncio.create_task(ledger.write_forever())
        await ledger.run(partial(claim_mode, mode=SANDBOX, data_dir="data"))
        ledger.stop_writing()
        await writing
        await ledger.close()

    asyncio.run(claim())
    assert check([config], as_json=True, clock=FakeClock(NOW)) == 2
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem["path"] == "service.data_dir"
    assert problem["where"] == f"{config}:1:49"
    assert "holds sandbox data" in problem["wrong"]
