"""``fetch --reparse``: a mended parser reads what was kept, and nobody is asked or paid."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from scheduler_service.clock import DAY, HOUR, to_iso_seconds
from scheduler_service.errors import ConfigurationError, ParseError
from scheduler_service.models import Reason
from scheduler_service.parsers.stated_earnings import read_stated_earnings
from scheduler_service.processors import earnings_processor
from scheduler_service.processors.base import discover
from scheduler_service.sandbox.faults import Fault, FaultKind
from tests.integration.lives import Machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scheduler_service.engine import Engine

PAID = ("AAPL", "earnings", "perplexity")
EVERY_SOURCE = [(domain, source.name) for domain, found in sorted(discover().items()) for source in found.sources]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def fails(error: Exception) -> Callable[..., NoReturn]:
    def parse(*_: object, **__: object) -> NoReturn:
        raise error

    return parse


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(KeyError("revenue"), "internal_error"), (ParseError("what is this", Reason.UNREADABLE), "unreadable")],
)
def test_what_the_parser_could_not_read_is_read_once_it_can_and_is_not_paid_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, fault: Exception, reason: str
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(earnings_processor, "read_stated_earnings", fails(fault))
        first = machine.fetch("earnings", "AAPL", source="perplexity")
    assert first["AAPL", "perplexity"][:2] == ("failed", reason)
    asked_at, asked = machine.clock.now(), len(machine.asked)
    assert asked == 1
    machine.clock.pass_by(30 * DAY)
    again = machine.fetch("earnings", "AAPL", source="perplexity", reparse=True)
    assert again["AAPL", "perplexity"][:2] == ("completed", None)
    assert len(machine.asked) == asked, "nobody was asked"
    assert machine.document("earnings", "AAPL")["data"]["reports"]
    state = machine.state(*PAID)
    assert (state.status, state.failures, state.reason) == ("ok", 0, None)
    assert state.checked_at is not None
    assert state.checked_at <= asked_at, "what is old stays old"
    assert machine.query("SELECT how FROM call_use ORDER BY task_id") == [("asked",), ("kept",)]


def test_a_better_parser_changes_the_document_and_not_its_age(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worse(*arguments: Any, **named: Any) -> Any:
        said = read_stated_earnings(*arguments, **named)
        return replace(said, reports=said.reports[:1])

    with monkeypatch.context() as broken:
        broken.setattr(earnings_processor, "read_stated_earnings", worse)
        machine.fetch("earnings", "AAPL", source="perplexity")
    before, asked = machine.document("earnings", "AAPL"), len(machine.asked)
    machine.clock.pass_by(3 * HOUR)
    machine.fetch("earnings", "AAPL", source="perplexity", reparse=True)
    after = machine.document("earnings", "AAPL")
    assert len(after["data"]["reports"]) > len(before["data"]["reports"]) == 1
    assert len(machine.asked) == asked
    assert after["sources"]["perplexity"]["checked_at"] == before["sources"]["perplexity"]["checked_at"]
    assert after["changed_at"] == to_iso_seconds(machine.clock.now())[:16] + after["changed_at"][16:]


@pytest.mark.parametrize(("domain", "source"), EVERY_SOURCE)
def test_of_every_source_the_same_parser_says_the_same_and_asks_nobody(
    machine: Machine, domain: str, source: str
) -> None:
    assert machine.fetch(domain, "AAPL", source=source)["AAPL", source].state == "completed"
    before, asked, state = machine.document(domain, "AAPL"), len(machine.asked), machine.state("AAPL", domain, source)
    machine.clock.pass_by(2 * DAY)
    assert machine.fetch(domain, "AAPL", source=source, reparse=True)["AAPL", source].state == "completed"
    assert machine.query("SELECT unchanged FROM task ORDER BY id") == [(0,), (1,)]
    assert machine.document(domain, "AAPL")["data"] == before["data"]
    assert len(machine.asked) == asked
    assert machine.state("AAPL", domain, source) == state


def test_where_nothing_is_kept_it_says_so_and_nothing_is_held_against_the_stock(machine: Machine) -> None:
    for source, ended in machine.fetch("news", "AAPL", reparse=True).items():
        assert ended[:2] == ("skipped", "not_kept"), source
        assert "no answer of" in str(ended.message)
    assert machine.asked == []
    assert machine.state("AAPL", "news", "feeds").status == "never"


def test_a_kept_answer_to_another_question_is_none_to_this(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.fetch("earnings", "AAPL", source="perplexity")
    monkeypatch.setattr(earnings_processor, "INSTRUCTIONS", "Say it all.")
    ended = machine.fetch("earnings", "AAPL", source="perplexity", reparse=True)["AAPL", "perplexity"]
    assert (ended.state, ended.reason) == ("skipped", "not_kept")
    assert "to another question than is asked now" in str(ended.message)


def test_an_answer_whose_file_is_gone_is_not_asked_for(machine: Machine) -> None:
    machine.fetch("earnings", "AAPL", source="edgar")
    asked = len(machine.asked)
    with closing(sqlite3.connect(machine.folder / "data" / "ledger.sqlite")) as ledger, ledger:
        ledger.execute("UPDATE answer SET body = NULL")  # as of large ones, which lie in raw/
    ended = machine.fetch("earnings", "AAPL", source="edgar", reparse=True)["AAPL", "edgar"]
    assert (ended.state, ended.reason, len(machine.asked)) == ("skipped", "not_kept", asked)


def test_one_that_fails_leaves_everything_as_it_was(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.fetch("earnings", "AAPL", source="perplexity")
    state, before = machine.state(*PAID), machine.document("earnings", "AAPL")
    unreadable = ParseError("what is this", Reason.UNREADABLE)
    monkeypatch.setattr(earnings_processor, "read_stated_earnings", fails(unreadable))
    ended = machine.fetch("earnings", "AAPL", source="perplexity", reparse=True)["AAPL", "perplexity"]
    assert (ended.state, ended.reason) == ("failed", "unreadable")
    assert machine.state(*PAID) == state
    assert machine.document("earnings", "AAPL") == before


def test_an_old_answer_does_not_hide_that_the_source_is_down(machine: Machine) -> None:
    machine.fetch("earnings", "AAPL", source="perplexity")
    machine.clock.pass_by(2 * HOUR)
    machine.upstream.faults.add(Fault(kind=FaultKind.STATUS, status=503))
    assert machine.fetch("earnings", "AAPL", source="perplexity")["AAPL", "perplexity"].state != "completed"
    machine.upstream.faults.clear()
    before = machine.state(*PAID)
    assert machine.fetch("earnings", "AAPL", source="perplexity", reparse=True)["AAPL", "perplexity"].state == (
        "completed"
    )
    assert machine.state(*PAID) == before


def test_asking_by_force_and_not_at_all_is_a_contradiction(machine: Machine) -> None:
    with pytest.raises(ConfigurationError, match="not both"):
        machine.fetch("news", "AAPL", force=True, reparse=True)


def test_what_is_not_watched_can_be_read_anew_too(machine: Machine) -> None:
    async def watched(engine: Engine) -> bool:
        return "ACMEX" in engine.dispatcher.watchlist

    assert not machine.live(watched)
    machine.fetch("news", "ACMEX", source="feeds")
    assert machine.fetch("news", "ACMEX", source="feeds", reparse=True)["ACMEX", "feeds"].state == "completed"


def test_what_a_model_said_where_no_search_was_served_is_found_too(machine: Machine) -> None:
    machine.upstream.faults.add(Fault(kind=FaultKind.STATUS, status=404, path="/search"))
    assert machine.fetch("news", "AAPL", source="perplexity")["AAPL", "perplexity"].state == "completed"
    asked = len(machine.asked)
    again = machine.fetch("news", "AAPL", source="perplexity", reparse=True)
    assert again["AAPL", "perplexity"].state == "completed"
    assert len(machine.asked) == asked
