"""A paid answer is paid once: after a kill at any touch of the disk, or in the parser, it is parsed again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clock import DAY
from scheduler_service.parsers.stated_earnings import read_stated_earnings
from scheduler_service.processors import earnings_processor
from tests.integration.lives import Machine

if TYPE_CHECKING:
    from pathlib import Path

HOPS = 40
"""A few more touches of the disk than one fetch needs."""


@pytest.mark.parametrize("hop", range(1, HOPS))
def test_killed_anywhere_it_pays_once_and_ends_with_the_document(tmp_path: Path, hop: int) -> None:
    machine = Machine(tmp_path)
    machine.fetch_until_killed(hop, "earnings", "AAPL", source="perplexity")
    machine.clock.pass_by(DAY)  # a kept answer is old by then, and paid for all the same
    machine.go_on()
    if not machine.query("SELECT 1 FROM task"):  # killed before anything was queued
        machine.fetch("earnings", "AAPL", source="perplexity")
    assert machine.query("SELECT state FROM task") == [("completed",)]
    assert machine.document("earnings", "AAPL")["data"]["reports"]
    calls = [state for (state,) in machine.query("SELECT state FROM call ORDER BY id")]
    assert calls in (["kept"], ["lost", "kept"]), "lost, and asked for once more; kept, and never again"
    assert len(machine.asked) <= len(calls), "no request without its reservation"
    assert machine.query("SELECT sum(calls) FROM spend") == [(len(calls),)]


@pytest.mark.parametrize("crashes", [1, 2])
def test_a_parser_that_brings_the_process_down_is_run_again_on_the_kept_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crashes: int
) -> None:
    machine, left = Machine(tmp_path), [crashes]

    def parse(*arguments: Any, **named: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            asyncio.get_running_loop().die()  # type: ignore[attr-defined]
        return read_stated_earnings(*arguments, **named)

    monkeypatch.setattr(earnings_processor, "read_stated_earnings", parse)
    for _ in range(crashes):
        assert machine.fetch_until_killed(10**9, "earnings", "AAPL", source="perplexity")
    machine.go_on()
    assert machine.query("SELECT state, interrupted FROM task") == [("completed", crashes)]
    assert machine.query("SELECT state FROM call") == [("kept",)]
    assert len(machine.asked) == 1


def test_one_that_always_does_ends_as_poison_and_was_paid_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path)

    def parse(*arguments: Any, **named: Any) -> Any:
        asyncio.get_running_loop().die()  # type: ignore[attr-defined]
        return read_stated_earnings(*arguments, **named)

    monkeypatch.setattr(earnings_processor, "read_stated_earnings", parse)
    for _ in range(3):
        assert machine.fetch_until_killed(10**9, "earnings", "AAPL", source="perplexity")
    machine.go_on()
    assert machine.query("SELECT state, reason FROM task") == [("failed", "poison")]
    assert len(machine.asked) == 1
    monkeypatch.setattr(earnings_processor, "read_stated_earnings", read_stated_earnings)
    again = machine.fetch("earnings", "AAPL", source="perplexity", reparse=True)
    assert again["AAPL", "perplexity"].state == "completed"
    assert len(machine.asked) == 1
