"""Whoever wants what is being asked for waits for the same answer, and the history says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.cli.history import history
from scheduler_service.fetching import make_run
from scheduler_service.models import RunOrigin
from scheduler_service.sandbox.faults import Fault, FaultKind
from scheduler_service.web.views import FetchRequest
from tests.integration.lives import Machine

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.engine import Engine

ORIGINS = (RunOrigin.INITIAL, RunOrigin.MANUAL, RunOrigin.RETRY)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.watch("AAPL")
    return machine


def told(machine: Machine, capsys: pytest.CaptureFixture[str], *, as_json: bool = True) -> Any:
    config = machine.folder / "every-source.yaml"
    capsys.readouterr()
    assert history([config], job=None, symbol=None, status=None, last="7d", as_json=as_json, clock=machine.clock) == 0
    out = capsys.readouterr().out
    return json.loads(out) if as_json else out


def test_runs_of_any_origin_share_one_call_and_are_recorded_as_joined(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    async def then(engine: Engine) -> None:
        for origin in ORIGINS:
            await engine.dispatcher.unscheduled.at_once(origin, "earnings", ("AAPL",), ("edgar",), force=False)
        await machine.work(engine)

    machine.live(then)
    assert len(machine.asked) == len(set(machine.asked)) == 4, "tickers, submissions, companyfacts, filing: once each"
    tasks = told(machine, capsys)["tasks"]
    assert [task["state"] for task in tasks] == ["completed"] * 3
    hows = {task["origin"]: [call["how"] for call in task["calls"]] for task in tasks}
    assert hows["initial"] == ["asked"] * 4
    assert hows["manual"] == hows["retry"] == ["joined"] * 4
    resources = {call["resource"].split(":")[1] for call in tasks[0]["calls"]}
    assert resources == {"tickers", "submissions", "companyfacts", "filing"}
    assert told(machine, capsys, as_json=False).count("joined") == 2


def test_domains_share_companyfacts_at_once_or_one_after_the_other(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.fetch("earnings", "AAPL", source="edgar")
    assert len(machine.asked) == 4
    machine.fetch("fundamentals", "AAPL", source="edgar")
    assert len(machine.asked) == 4
    fundamentals, earnings = told(machine, capsys)["tasks"]
    assert [call["how"] for call in fundamentals["calls"]] == ["kept"] * 3
    assert [call["call_id"] for call in fundamentals["calls"]] == [call["call_id"] for call in earnings["calls"]][:3]


def test_who_joined_a_flight_that_failed_gets_the_same_and_the_next_one_asks_anew(machine: Machine) -> None:
    machine.upstream.faults.add(Fault(kind=FaultKind.STATUS, status=404, provider="feeds", count=1))

    async def then(engine: Engine) -> None:
        for _ in range(2):
            await make_run(engine, FetchRequest(domain="news", symbols=("AAPL",), source="feeds"))
        await machine.work(engine)

    machine.live(then)
    assert {row for (row,) in machine.query("SELECT reason FROM task")} == {"no_data"}, "the joiner got the same"
    assert machine.fetch("news", "AAPL", source="feeds", force=True)["AAPL", "feeds"].state == "completed"
