"""``budget``, and what ``check`` says of money: with a ledger and without one."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.cli.budget import budget
from scheduler_service.cli.check import check
from scheduler_service.cli.configuration import read
from scheduler_service.cli.figures import bars
from scheduler_service.clock import HOUR, MINUTE, from_iso
from scheduler_service.composing import provider_options
from scheduler_service.cost_change import Noted, daily, to_text
from scheduler_service.gates.gate import Gate
from scheduler_service.models import Reason
from scheduler_service.settings.load import Found
from scheduler_service.stores import call_store, gate_store
from scheduler_service.stores.call_store import CallState, NewCall
from scheduler_service.stores.gate_store import GateRow
from scheduler_service.stores.spending import note_estimate
from tests.fakes import FakeClock
from tests.ledger_support import open_ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection

NOW = "2026-11-23T14:30:00Z"
AT = from_iso(NOW)
CONFIG = """\
service: {data_dir: data}
watchlist: [AAPL, NVDA]
providers:
  edgar: {user_agent: Jane Doe jane.doe@example.com}
  perplexity: {budget: {usd_per_day: 0.30, calls_per_month: 900, reserve: 20%}}
domains:
  news: {sources: [{use: perplexity, fresh_for: 1h}]}
  fundamentals: {sources: [{use: edgar, fresh_for: 1h}, {use: perplexity, fresh_for: 1h}]}
schedules:
  - {id: news, domain: news, trigger: {every: 1h}, priority: high}
  - {id: fund, domain: fundamentals, trigger: {every: 1h}}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERPLEXITY_API_KEY", "pplx-one,pplx-two")
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    return path


def in_ledger(config: Path, unit: Callable[[Connection], Any]) -> None:
    async def story() -> None:
        (config.parent / "data").mkdir(exist_ok=True)
        async with open_ledger(config.parent / "data" / "ledger.sqlite") as ledger:
            await ledger.run(unit)

    asyncio.run(story())


def spend(conn: Connection) -> None:
    """Four calls of today, one an hour ago, one failed, and one on its way."""
    for at, state in ((HOUR, CallState.KEPT), (5 * MINUTE, CallState.KEPT), (2 * MINUTE, CallState.FAILED), (0, None)):
        new = NewCall("k", "perplexity", (), 20_000, "2026-11-23", None, tokens=15_000)
        call_id = call_store.reserve(conn, new, AT - at)
        if state is not None:
            call_store.settle(conn, call_id, state, AT - at)


def said(config: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    assert budget([config], as_json=True, clock=FakeClock(NOW)) == 0
    return {one["provider"]: one for one in json.loads(capsys.readouterr().out)}


def test_before_anything_has_run_nothing_is_spent_and_the_forecast_stands(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = said(config, capsys)
    perplexity = found["perplexity"]
    assert perplexity["today"] == perplexity["month"] == perplexity["reserved"] == {"calls": 0, "tokens": 0, "usd": 0}
    assert perplexity["limits"] == [
        {
            "unit": "usd",
            "period": "day",
            "limit": 0.3,
            "reserve": 0.06,
            "used": 0,
            "starts_anew": "2026-11-24T00:00:00Z",
        },
        {"unit": "calls", "period": "month", "limit": 900, "reserve": 180, "used": 0}
        | {"starts_anew": "2026-12-01T00:00:00Z"},
    ]
    assert perplexity["forecast"]["skipped"].keys() == {"fundamentals"}
    assert perplexity["forecast"]["kept"].keys() == {"news"}
    assert found["edgar"]["forecast"] is None
    assert (found["edgar"]["keys"], found["edgar"]["shut"], found["edgar"]["off"]) == ([], [], None)
    assert not (config.parent / "data").exists(), "it only looks"


def test_it_tells_what_was_spent_what_is_under_way_and_how_often_it_was_asked(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_ledger(config, spend)
    found = said(config, capsys)["perplexity"]
    assert found["today"] == found["month"] == {"calls": 4, "tokens": 60_000, "usd": 0.08}
    assert found["reserved"] == {"calls": 1, "tokens": 15_000, "usd": 0.02}
    assert [limit["used"] for limit in found["limits"]] == [0.08, 4]
    assert (sum(found["minutes"]), sum(found["failed_by_minute"]), sum(found["hours"])) == (3, 1, 4)
    assert found["minutes"][-1] == 1
    assert found["pace"] == {
        "minutes": {"start": "2026-11-23T13:31:00Z", "step": "1m"},
        "hours": {"start": "2026-11-22T15:00:00Z", "step": "1h"},
    }


def test_as_text_it_is_a_table_sentences_and_plots(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    in_ledger(config, spend)
    assert budget([config], as_json=False, clock=FakeClock(NOW)) == 0
    text = capsys.readouterr().out
    assert "$0.08 of $0.30" in text
    assert "4 of 900" in text
    assert "perplexity: 1 call under way, which may cost $0.02; that is counted already\n" in text
    assert "perplexity: 20% of each limit (0.06 USD, 180 calls) is kept for people and high priority\n" in text
    assert "perplexity: at this rate exhausted at " in text
    assert "would skip" in text
    assert "perplexity: key 1 of 2 is in use\nperplexity: key 2 of 2 is spare\n" in text
    assert "perplexity: calls a minute, the last hour, at most 1\n" in text
    assert "failed, at most 1\n" in text
    assert "edgar: calls" not in text, "nobody asked it"
    assert "pplx-" not in text


def test_keys_that_are_set_aside_and_a_gate_that_is_shut_are_told_with_their_end(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = provider_options(read(Found((config,), "")))
    gates = {name: Gate(name, options[name], FakeClock(NOW)) for name in ("edgar", "perplexity")}
    keys = gates["perplexity"].keys
    assert keys is not None
    row = keys.set_aside(keys.take("https://api.perplexity.ai/x", AT), Reason.REFUSED, AT + HOUR, AT)
    (door,) = gates["edgar"].doors.values()

    def unit(conn: Connection) -> None:
        assert row is not None
        gate_store.put_gate(conn, "perplexity", next(iter(keys._aside)), row)
        gate_store.put_gate(conn, "edgar", door.closed_row, GateRow(AT + 2 * HOUR, AT, Reason.RATE_LIMITED))

    in_ledger(config, unit)
    found = said(config, capsys)
    assert found["perplexity"]["keys"] == [
        {"name": "key 1 of 2", "state": "refused", "until": "2026-11-23T15:30:00Z"},
        {"name": "key 2 of 2", "state": "in_use", "until": None},
    ]
    assert found["edgar"]["shut"] == [{"what": "edgar", "until": "2026-11-23T16:30:00Z", "reason": "rate_limited"}]
    assert budget([config], as_json=False, clock=FakeClock(NOW)) == 0
    text = capsys.readouterr().out
    assert "perplexity: key 1 of 2 is refused until 2026-11-23T15:30:00Z\n" in text
    assert "edgar: edgar is not asked until 2026-11-23T16:30:00Z (rate_limited)\n" in text


def test_of_the_sandbox_no_key_is_told_for_it_wants_none(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PERPLEXITY_API_KEY")
    config.write_text(CONFIG.replace("providers:\n", "providers:\n  sandbox: {enabled: true}\n"))
    found = said(config, capsys)["perplexity"]
    assert (found["sandbox"], found["keys"]) == (True, [])
    assert budget([config], as_json=False, clock=FakeClock(NOW)) == 0
    assert "the key is in use" not in capsys.readouterr().out


def test_a_provider_without_a_key_says_that_it_is_off(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PERPLEXITY_API_KEY")
    assert said(config, capsys)["perplexity"]["off"].startswith("perplexity is off: no key")
    assert budget([config], as_json=False, clock=FakeClock(NOW)) == 0
    assert "perplexity: off: no key" in capsys.readouterr().out


def test_check_foresees_and_compares_with_what_ran_last(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check([config], as_json=True, clock=FakeClock(NOW)) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["change"] == []
    assert [one["provider"] for one in first["forecast"]] == ["perplexity"]
    before = read(Found((config,), ""))
    noted = to_text(Noted(AT - HOUR, daily(before, AT - HOUR)))
    in_ledger(config, lambda conn: note_estimate(conn, noted))
    assert check([config], as_json=False, clock=FakeClock(NOW)) == 0
    text = capsys.readouterr().out
    assert "Against the configuration" not in text
    assert "The budgets, from what is spent so far and the slots to come:\n  perplexity: at this rate exhausted" in text
    config.write_text(CONFIG.replace("[AAPL, NVDA]", "[AAPL, NVDA, SNOW]"))
    assert check([config], as_json=False, clock=FakeClock(NOW)) == 0
    text = capsys.readouterr().out
    assert "  edgar: before 48 calls a day, now 72 (+24)\n" in text
    assert "  perplexity: before 96 calls a day, now 144 (+48, +$0.60)\n" in text
    assert check([config], as_json=True, clock=FakeClock(NOW)) == 0
    change = json.loads(capsys.readouterr().out)["change"]
    nothing = {"calls_when_missing": 0, "usd_when_missing": 0.0}
    assert change[1] == {
        "provider": "perplexity",
        "before": {"calls": 96, "usd": 1.2, **nothing},
        "now": {"calls": 144, "usd": 1.8, **nothing},
    }


def test_time_alone_is_no_change_of_the_configuration(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    once = 'fund, domain: fundamentals, trigger: {at: "2026-11-23T14:00:00Z"}'
    config.write_text(CONFIG.replace("fund, domain: fundamentals, trigger: {every: 1h}", once))
    noted = to_text(Noted(AT - HOUR, daily(read(Found((config,), "")), AT - HOUR)))
    in_ledger(config, lambda conn: note_estimate(conn, noted))
    assert check([config], as_json=True, clock=FakeClock(NOW)) == 0
    assert json.loads(capsys.readouterr().out)["change"] == []


def test_a_month_that_the_budget_does_not_reach_is_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(CONFIG.replace("calls_per_month: 900", "usd_per_month: 5"))
    assert check([config], as_json=False, clock=FakeClock(NOW)) == 0
    assert "perplexity: the budget of $5.00 a month does not last for 28 days\n" in capsys.readouterr().out


def test_bars_are_full_for_the_most_and_a_dot_for_none() -> None:
    assert bars([]) == ""
    assert bars([0, 0]) == "··"
    assert bars([0, 1, 4, 8]) == "·▁▄█"
    assert bars([1, 1_000]) == "▁█"
