"""``show`` and ``history`` over a small ledger, and ``fetch`` without a service."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from scheduler_service.cli import fetch as fetch_module
from scheduler_service.cli.commands import cli
from scheduler_service.cli.document_view import print_data, print_story
from scheduler_service.clock import DAY, HOUR, from_iso
from scheduler_service.errors import AlreadyRunning
from scheduler_service.models import Reason, RunOrigin, ScheduleOrigin, SlotOutcome, TaskState
from scheduler_service.parsers.earnings import EarningsData
from scheduler_service.parsers.fundamental_analysis import FundamentalsData
from scheduler_service.parsers.news import NewsData
from scheduler_service.stores import document_store, schedule_store, stock_state_store, task_store
from scheduler_service.stores.database import Ledger
from scheduler_service.stores.mode import SANDBOX, claim_mode
from scheduler_service.stores.schedule_store import NewRun, ScheduleRow, SlotRow, Standing
from scheduler_service.stores.task_store import NewTask, Rank
from scheduler_service.web.views import TaskReport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Connection
    from scheduler_service.web.views import FetchRequest

NOW = from_iso("2026-11-23T14:30:00Z")
HOSTILE = "Up \x1b[2J\x9b31m\u202e [bold]10 %[/bold] :smile:\nnow"
ORIGIN: dict[str, Any] = {
    "source": "edgar",
    "fetched_at": "2026-11-23T14:00:00Z",
    "call_id": "1",
    "kind": "filing",
    "accession": "0000320193-25-000079",
}
CONFIG = """\
service: {data_dir: data}
providers: {sandbox: {enabled: true}}
watchlist: [{symbol: AAPL, name: Apple Inc.}, NVDA]
domains: {news: {sources: [feeds]}, earnings: {sources: [edgar]}}
schedules: [{id: news, domain: news, trigger: {every: 1h}}]
"""


def quarter(end: str, revenue: float | None, *, kind: str = "quarter", derived: bool = False) -> dict[str, Any]:
    return {
        "period_end": end,
        "period_start": "2024-01-01",
        "fiscal_label": f"FY{end[:4]} Q3",
        "kind": kind,
        "revenue": revenue,
        "net_income": 21448000000,
        "eps_diluted": 1.4,
        "currency": "USD",
        "filed": end,
        "derived": derived,
        "provenance": ORIGIN,
    }


EARNINGS = {
    "reports": [
        quarter("2025-06-28", 94036000000),
        quarter("2025-03-29", None, derived=True),
        quarter("2024-06-29", 85777000000),
        quarter("2024-06-29", 391035000000, kind="year"),
    ],
    "releases": [{"date": "2025-07-31", "form": "8-K", "accession": "0000320193-25-000071"}],
}
NEWS = {
    "items": [
        {
            "id": str(n),
            "title": HOSTILE,
            "url": "https://example.com/a",
            "source": "feeds",
            "publisher": "The\x07 Paper",
            "published_at": "2026-11-23T12:00:00Z" if n else None,
            "fetched_at": "2026-11-23T14:00:00Z",
            "provenance": ORIGIN,
        }
        for n in range(10)
    ]
}
METRICS = {
    "metrics": {
        "gross_margin": {
            "value": 0.4731,
            "unit": "ratio",
            "as_of": "2025-12-27",
            "provenance": ORIGIN,
            "check": "filing",
        },
        "cash": {"value": None, "unit": "USD", "as_of": "2025-12-27", "provenance": ORIGIN, "check": "filing"},
    },
    "analysis": {"text": HOSTILE, "sources": ["https://example.com/b"], "provenance": ORIGIN},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "data").mkdir()
    asyncio.run(write(tmp_path / "data/ledger.sqlite", [fill]))
    return tmp_path / "c.yaml"


async def write(path: Path, units: list[Callable[[Connection], object]]) -> None:
    ledger = Ledger(path)
    await ledger.open()
    writer = asyncio.create_task(ledger.write_forever())
    for unit in units:
        await ledger.run(unit)
    ledger.stop_writing()
    await writer
    await ledger.close()


def fill(conn: Connection) -> None:
    claim_mode(conn, SANDBOX, "data")
    for domain, data in (("earnings", EARNINGS), ("news", NEWS), ("weather", {"sky": HOSTILE})):
        document_store.put_document(conn, domain, "AAPL", json.dumps(data).encode(), NOW)
    stock_state_store.checked(conn, "AAPL", "news", "feeds", due_at=NOW, changed=True, now=NOW)
    stock_state_store.failed(conn, "AAPL", "news", "feeds", reason=Reason.TIMEOUT, now=NOW)
    row = ScheduleRow("news", ScheduleOrigin.YAML, "news", "{}", "f", NOW - 1, NOW - 1)
    schedule_store.put_schedule(conn, row)
    new = NewRun(RunOrigin.SCHEDULE, "news", NOW, "{}", schedule_id="news")
    slot = SlotRow(NOW, NOW, 1, SlotOutcome.RAN)
    started = schedule_store.record_slots(conn, Standing(row, (), ()), [slot], runs={NOW: new}, upto=NOW, now=NOW)
    assert started is not None
    run = started[0]
    task = partial(NewTask, lane="feeds", rank=Rank.NORMAL, not_before=NOW, expires_at=None)
    tasks = [task("AAPL", "feeds", ended=Reason.OVERLAP), task("NVDA", "feeds", ended=None)]
    task_store.add_tasks(conn, run, tasks, "NVDA", last=True, now=NOW)


def run(config: Path, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, ["-c", str(config), *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_earnings_are_shown_with_their_growth(capsys: pytest.CaptureFixture[str]) -> None:
    print_data(EarningsData.model_validate(EARNINGS), whole=False)
    lines = capsys.readouterr().out.splitlines()
    newest = next(line for line in lines if "2025-06-28" in line)
    assert newest.split() == [
        "FY2025",
        "Q3",
        "2025-06-28",
        "94.04",
        "B",
        "+9.6",
        "%",
        "21.45",
        "B",
        "1.40",
        "2025-06-28",
    ]
    assert any("FY2025 Q3*" in line and " - " in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_stocks_story_begins_with_its_newest_results(capsys: pytest.CaptureFixture[str]) -> None:
    """A company that has moved abroad tells years alone, and its last quarter was long ago."""
    for year, told in (("2026-12-31", "FY2026"), ("2024-12-31", "FY2025 Q3")):
        data = {"reports": [quarter(year, 400e9, kind="year"), quarter("2025-06-28", 94e9)]}
        print_story([EarningsData.model_validate(data)])
        assert f"Results of {told}" in capsys.readouterr().out


def test_metrics_are_shown_in_their_units(capsys: pytest.CaptureFixture[str]) -> None:
    print_data(FundamentalsData.model_validate(METRICS), whole=False)
    text = capsys.readouterr().out
    assert "47.3 %" in text
    assert "cash" in text
    assert "\x1b" not in text


def test_news_can_neither_steer_the_terminal_nor_mark_itself_up(capsys: pytest.CaptureFixture[str]) -> None:
    print_data(NewsData.model_validate(NEWS), whole=False)
    said = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(said)
    assert "[bold]10 %[/bold] :smile:" in " ".join(said.split())
    assert "2 older ones" in said
    print_data(NewsData.model_validate(NEWS), whole=True)
    assert "older ones" not in capsys.readouterr().out


def test_show_prints_every_document_of_a_stock(config: Path) -> None:
    code, out, _ = run(config, "show", "aapl")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "AAPL (Apple Inc.)   SANDBOX: not live data"
    assert lines[1].startswith("Results of FY2025 Q3 to 2025-06-28, filed 2025-06-28, USD")
    assert lines[2].split() == ["revenue", "94.04", "B", "+9.6", "%", "85.78", "B"]
    assert lines.index("Latest news") > 2
    assert sum("Paper" in line for line in lines) == 5
    assert lines[-2].startswith("Checked: earnings, weather never; news ")
    assert lines[-1] == "news: failing: feeds; see show AAPL news"
    assert max(map(len, lines)) <= 78
    assert len(lines) <= 23
    assert not {"\x1b", "\x9b", "\u202e"} & set(out)
    for domain in ("earnings", "news"):
        code, out, _ = run(config, "show", "aapl", domain)
        assert (code, out.splitlines()[0]) == (0, f"AAPL (Apple Inc.): {domain}")
        assert not {"\x1b", "\x9b", "\u202e"} & set(out)
    assert "the last try failed (timeout), 1 in a row" in run(config, "show", "aapl", "news")[1]


def test_key_figures_are_marked_by_what_models_say_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    def check(figure: str, verdict: str) -> dict[str, Any]:
        of = {"source": "perplexity", "figure": figure, "period": "metric", "period_end": "2025-12-27", "unit": "ratio"}
        said = {"stated": 0.5, "filed": 0.5, "difference": 0, "verdict": verdict}
        return {**of, **said, "provenance": ORIGIN, "filing": ORIGIN}

    def metric(value: float, how: str = "filing") -> dict[str, Any]:
        return {"value": value, "unit": "ratio", "as_of": "2025-12-27", "provenance": ORIGIN, "check": how}

    metrics = {
        "gross_margin": metric(0.5),
        "net_margin": metric(0.5),
        "roe": metric(0.5),
        "cash": metric(1, "unverified"),
    }
    checks = [check("gross_margin", "verified"), check("net_margin", "conflicting")]
    print_story([FundamentalsData.model_validate({"metrics": metrics, "checks": checks})])
    out = capsys.readouterr().out
    for wanted in ("50.0 % ✓", "50.0 % ✗", "100.0 % ?"):
        assert wanted in out
    assert "stated by perplexity: 1 verified, 1 conflicting, 0 unverified" in out
    assert all(len(line) <= 78 for line in out.splitlines())


def test_show_in_json_is_the_document_or_all_of_them_by_domain(config: Path) -> None:
    code, out, err = run(config, "show", "AAPL", "news", "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert (document["domain"], document["sandbox"], document["checked_at"]) == ("news", True, "2026-11-23T14:30:00Z")
    assert document["data"] == NEWS
    assert out.isascii()
    assert list(json.loads(run(config, "show", "AAPL", "--json")[1])) == ["earnings", "news", "weather"]


def test_what_a_search_found_without_a_date_comes_after_the_news(capsys: pytest.CaptureFixture[str]) -> None:
    undated = [{**item, "published_at": None, "title": f"No news {n}"} for n, item in enumerate(NEWS["items"][:3])]
    print_story([NewsData.model_validate({"items": [*undated, *NEWS["items"][3:6]]})])
    lines = capsys.readouterr().out.splitlines()
    assert ["No news" in line for line in lines[1:]] == [False, False, False, True, True]


@pytest.mark.parametrize(
    "wrong", ["\nschedules: [{id: x, domain: nowhere}]\n", "\nservice: {timezone: Nowhere/At_all}\n"]
)
@pytest.mark.parametrize("command", [("show", "AAPL"), ("show", "AAPL", "news", "--json"), ("history", "--last", "9d")])
def test_a_configuration_that_is_not_valid_hides_no_data(config: Path, wrong: str, command: tuple[str, ...]) -> None:
    said = run(config, *command)
    broken = config.with_name("broken.yaml")
    broken.write_text(wrong, encoding="utf-8")
    result = CliRunner().invoke(cli, ["-c", str(config), "-c", str(broken), *command])
    assert result.exit_code == said[0]
    assert "the configuration is not valid: shown is what lies in" in result.stderr
    assert "broken.yaml:2" in result.stderr
    if "news" in command:
        assert json.loads(result.stdout)["data"] == NEWS
        assert json.loads(result.stdout)["sandbox"] is True
    elif "show" in command:
        assert result.stdout.splitlines()[1:4] == said[1].splitlines()[1:4]


def test_without_data_or_a_file_it_is_the_configuration_that_is_wrong(config: Path, tmp_path: Path) -> None:
    for path, wrong in ((config.with_name("absent.yaml"), None), (tmp_path / "elsewhere" / "c.yaml", "schedules: 1")):
        if wrong is not None:
            path.parent.mkdir()
            path.write_text(wrong, encoding="utf-8")
        result = CliRunner().invoke(cli, ["-c", str(path), "show", "AAPL"])
        assert (result.exit_code, result.stdout) == (2, "")


def test_a_stock_without_documents_is_said_to_have_none(config: Path) -> None:
    assert run(config, "show", "NVDA") == (
        1,
        "",
        "nothing has been fetched yet: NVDA; fetch it now: scheduler-service fetch earnings NVDA\n",
    )
    assert run(config, "show", "NVDX", "news", "--json") == (
        1,
        "",
        "nothing is known of news of NVDX: it is not on the watchlist; did you mean NVDA?\n",
    )


def test_sandbox_data_is_never_shown_as_live(config: Path) -> None:
    config.write_text(
        CONFIG.replace("sandbox: {enabled: true}", "edgar: {base_url: 'http://127.0.0.1:1'}").replace(
            "[feeds]", "[edgar_filings]"
        )
    )
    config.write_text(config.read_text().replace("base_url", "www_base_url: 'http://127.0.0.1:1', base_url"))
    code, out, err = run(config, "show", "AAPL", "--json")
    assert (code, out) == (1, "")
    assert "holds sandbox data, and this configuration is live" in err


def test_history_lists_slots_runs_and_tasks(config: Path) -> None:
    code, out, _ = run(config, "history", "--last", "36500d", "--json")
    said = json.loads(out)
    assert code == 0
    assert [(s["schedule_id"], s["outcome"]) for s in said["slots"]] == [("news", "ran")]
    assert [(r["origin"], r["open"], r["skipped"]) for r in said["runs"]] == [("schedule", 1, 1)]
    assert [(t["symbol"], t["state"], t["reason"]) for t in said["tasks"]] == [
        ("NVDA", "queued", None),
        ("AAPL", "skipped", "overlap"),
    ]
    _, text, _ = run(config, "history", "--last", "36500d")
    assert "1 open, 1 skipped" in text
    assert "skipped (overlap)" in text


def test_history_is_in_the_order_of_the_slots_by_the_clocks_of_the_service_and_marks_a_wrong_clock(
    config: Path,
) -> None:
    def more(conn: Connection) -> None:
        for schedule_id, due_at in (("early", NOW - HOUR), ("ahead", NOW + 36_500 * DAY), ("b", NOW), ("a", NOW)):
            row = ScheduleRow(schedule_id, ScheduleOrigin.YAML, "news", "{}", "f", due_at - 1, due_at - 1)
            schedule_store.put_schedule(conn, row)
            slots = [SlotRow(due_at, due_at, 1, SlotOutcome.RAN)]
            schedule_store.record_slots(conn, Standing(row, (), ()), slots, runs={}, upto=due_at, now=NOW)

    asyncio.run(write(config.parent / "data/ledger.sqlite", [more]))
    config.write_text(config.read_text().replace("data_dir: data", "data_dir: data, timezone: America/New_York"))
    slots = json.loads(run(config, "history", "--last", "36500d", "--json")[1])["slots"]
    assert [slot["schedule_id"] for slot in slots] == ["ahead", "a", "b", "news", "early"]
    text = run(config, "history", "--last", "36500d", "--job", "ahead")[1]
    assert "Slots (America/New_York)" in text
    assert " (a wrong clock)" in text


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        (("--symbol", "aapl"), (0, 0, 1)),
        (("--status", "skipped"), (0, 1, 1)),
        (("--status", "failed"), (0, 0, 0)),
        (("--status", "ran"), (1, 0, 0)),
        (("--job", "news"), (1, 1, 2)),
        (("--job", "other"), (0, 0, 0)),
    ],
)
def test_history_can_be_narrowed_down(config: Path, options: tuple[str, ...], counts: tuple[int, int, int]) -> None:
    said = json.loads(run(config, "history", "--last", "36500d", "--json", *options)[1])
    assert (len(said["slots"]), len(said["runs"]), len(said["tasks"])) == counts


def test_nothing_in_the_history_is_said_in_words(config: Path) -> None:
    code, out, err = run(config, "history", "--job", "newz", "--last", "36500d")
    assert (code, out) == (0, "")
    assert "nothing of this happened since" in err
    assert "there is no schedule newz now; did you mean news?" in err


def ended(symbol: str, state: TaskState, reason: Reason | None = None) -> TaskReport:
    return TaskReport(task_id=1, domain="news", symbol=symbol, source="feeds", state=state, of=1, reason=reason)


def without_service(monkeypatch: pytest.MonkeyPatch, *reports: TaskReport | Exception) -> list[FetchRequest]:
    asked: list[FetchRequest] = []

    async def fetch_once(settings: Settings, request: FetchRequest) -> AsyncGenerator[TaskReport, None]:
        del settings
        asked.append(request)
        for report in reports:
            if isinstance(report, Exception):
                raise report
            yield report

    monkeypatch.setattr(fetch_module, "fetch_once", fetch_once)
    return asked


def test_fetch_does_it_itself_where_no_service_runs(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = without_service(monkeypatch, ended("AAPL", TaskState.SKIPPED, Reason.FRESH))
    code, out, err = run(config, "fetch", "news", "aapl", "appl")
    assert code == 0
    assert asked[0].symbols == ("AAPL", "APPL")
    assert err == "APPL is not on the watchlist and is fetched this once; did you mean AAPL?\n"
    where = config.parent / "data/documents/news/AAPL.json"
    assert out == f"[1/1] AAPL news from feeds: skipped, fresh\n1 task: 1 skipped.\n  {where}\n"


def test_that_a_fetch_is_held_is_said_once_and_again_for_another_reason(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = ended("AAPL", TaskState.RUNNING)
    held = [
        ended("AAPL", TaskState.QUEUED).model_copy(update={"message": f"held ({why}) until 10:0{minute}"})
        for minute, why in enumerate(["rate_limited", "rate_limited", "provider_down"])
    ]
    without_service(monkeypatch, held[0], running, held[1], running, held[2], ended("AAPL", TaskState.COMPLETED))
    assert [line.partition("feeds: ")[2] for line in run(config, "fetch", "news", "AAPL")[1].splitlines()[:3]] == [
        "held (rate_limited) until 10:00",
        "held (provider_down) until 10:02",
        "updated",
    ]


def test_a_fetch_that_failed_is_1_and_one_cut_short_too(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_service(monkeypatch, ended("AAPL", TaskState.FAILED, Reason.TIMEOUT))
    assert run(config, "fetch", "news", "AAPL")[0] == 1
    without_service(monkeypatch, ended("AAPL", TaskState.RUNNING))
    code, _, err = run(config, "fetch", "news", "AAPL")
    assert (code, err) == (1, "1 task had not ended when the report of them did\n")


def test_a_fetch_beside_a_service_that_is_starting_is_4(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_service(monkeypatch, AlreadyRunning("data", 7))
    assert run(config, "fetch", "news", "AAPL")[0] == 4


def test_a_domain_that_is_not_configured_is_not_fetched(config: Path) -> None:
    code, _, err = run(config, "fetch", "fundamentals", "AAPL")
    assert code == 2
    assert "there is no configured domain 'fundamentals'; known here: earnings, news" in err


def test_a_fetch_that_gave_up_waiting_says_how_to_go_on(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = without_service(monkeypatch, ended("AAPL", TaskState.SKIPPED, Reason.PROVIDER_DOWN))
    code, _, err = run(config, "fetch", "news", "AAPL", "--wait", "10m")
    assert (code, asked[0].wait_ms) == (1, 600_000)
    assert "--wait 10m waits longer" in err
    assert "scheduler-service release --provider feeds" in err
    code, _, err = run(config, "fetch", "news", "AAPL", "--wait", "soon")
    assert code == 2
    assert "--wait" in err


def test_release_wants_a_stock_or_a_provider(config: Path) -> None:
    for words in ([], ["AAPL", "--provider", "feeds"], ["--provider", "feeds", "--reject"]):
        code, _, err = run(config, "release", *words)
        assert (code, "give a SYMBOL, or --provider NAME alone" in err) == (2, True)
