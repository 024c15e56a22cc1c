"""How fresh a stock is, in one word, and which of the words a person should hear."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler_service.clock import DAY, HOUR, MINUTE, Micros
from scheduler_service.freshness import is_overdue, standings
from scheduler_service.models import Reason, StockState, Symbol
from scheduler_service.settings.loaded import Schedule
from scheduler_service.settings.model import Tagged
from scheduler_service.stores.stock_state_store import FAILED
from scheduler_service.triggers import EveryTrigger
from tests.ledger_support import NOW, Notes

SYMBOL = Symbol("AAPL", tags=frozenset({"chips"}))


def hourly(**changes: Any) -> Schedule:
    settings: dict[str, Any] = {
        "id": "notes",
        "domain": "notes",
        "symbols": "all",
        "trigger": EveryTrigger(2 * HOUR, "UTC"),
        "catch_up": "latest",
        "catch_up_window": DAY,
        "overlap": "skip",
        "spread": 0,
        "priority": "normal",
        "enabled": True,
    }
    return Schedule(**{**settings, **changes})


def checked(ago: Micros, **changes: Any) -> StockState:
    return StockState(checked_for=NOW - ago, checked_at=NOW - ago, status="ok", **changes)


# NOW is 14:30; slots at even hours, what is known is good for an hour, and an hour's grace.
@pytest.mark.parametrize(
    ("state", "word", "breach"),
    [
        (checked(30 * MINUTE), "fresh", False),
        (checked(65 * MINUTE), "stale", False),
        (checked(220 * MINUTE), "overdue", True),
        (checked(3 * DAY), "overdue", True),
        (StockState(), "never", True),
        (checked(-DAY), "never", True),
        (StockState(status=FAILED, reason=Reason.TIMEOUT, failures=1, tried_at=NOW), "failing", True),
    ],
)
def test_a_stock_stands_in_one_word(state: StockState, word: str, breach: bool) -> None:
    states = {("AAPL", "notes", "desk"): state, ("AAPL", "notes", "attic"): checked(0)}
    desk, attic = standings({"notes": Notes()}, [hourly()], [SYMBOL], states, NOW)
    assert (desk.source, desk.word, desk.is_breach) == ("desk", word, breach)
    assert (attic.source, attic.word, attic.is_breach) == ("attic", "fresh", False)


def test_without_a_schedule_that_covers_it_nothing_is_overdue() -> None:
    old = {("AAPL", "notes", source): checked(9 * DAY) for source in ("desk", "attic")}
    for schedules in ([], [hourly(enabled=False)], [hourly(symbols=("MSFT",))], [hourly(domain="other")]):
        words = {one.word for one in standings({"notes": Notes()}, schedules, [SYMBOL], old, NOW)}
        assert words == {"stale"}


def test_of_those_whose_turn_comes_none_is_overdue() -> None:
    assert is_overdue(hourly(), Notes(), SYMBOL, "desk", checked(DAY), NOW)
    assert not is_overdue(hourly(symbols=Tagged(stalest=5)), Notes(), SYMBOL, "desk", checked(DAY), NOW)
    assert not is_overdue(hourly(spread=2 * HOUR), Notes(), SYMBOL, "desk", checked(220 * MINUTE), NOW)
