"""What ages only while an exchange is open: Friday's close is as good on Sunday."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.clock import DAY, HOUR, MINUTE, from_iso
from scheduler_service.exchanges import find_exchange
from scheduler_service.market_calendar import weekday_fallback
from scheduler_service.market_time import ELAPSED, MarketTime
from scheduler_service.models import (
    Contribution,
    Kind,
    Outcome,
    Reason,
    Record,
    RunOrigin,
    StockState,
    Symbol,
    Task,
    TaskState,
)
from scheduler_service.processors.base import Processor, SourcePolicy, exchange_of, is_fresh
from scheduler_service.settings.model import good_for_slots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.calls import Ask
    from scheduler_service.clock import Instant

NEW_YORK = MarketTime(weekday_fallback(find_exchange("XNYS")))
TOKYO = MarketTime(weekday_fallback(find_exchange("XTKS")))
FRIDAY_CLOSE = from_iso("2026-11-20T21:00:00Z")
SUNDAY = from_iso("2026-11-22T15:00:00Z")
MONDAY_OPEN = from_iso("2026-11-23T14:30:00Z")

INSTANTS = st.integers(from_iso("2026-01-01T00:00:00Z"), from_iso("2027-12-31T00:00:00Z"))


class Tape:
    name: ClassVar[str] = "tape"
    provider: ClassVar[str] = "tape"
    kind: ClassVar[Kind] = Kind.MARKET
    slow: ClassVar[bool] = False

    def __init__(self, client: object) -> None:
        del client

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[Any]:
        return Contribution(self.name, self.kind, Record())


class Prices(Processor[Record]):
    domain = "prices"
    record = Record
    sources = (Tape,)
    in_market_time = True

    def merge(self, contributions: Sequence[Contribution[Record]]) -> Record:
        return contributions[0].data


class Rumours(Prices):
    domain = "rumours"
    in_market_time = False


async def outcome(kind: type[Prices], checked: Instant, due: Instant, exchange: str | None, fresh_for: int) -> Outcome:
    made = kind({"tape": None}, [SourcePolicy("tape", fresh_for)])  # type: ignore[dict-item]
    task = Task(1, 1, "s", RunOrigin.SCHEDULE, kind.domain, "A", "tape", due, 1)
    state = StockState(checked_for=checked, checked_at=checked, status="ok")
    return await made.process(task, {"tape": state}, Symbol("A", exchange=exchange), None, due)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "due", "exchange", "fresh"),
    [
        (Prices, SUNDAY, "XNYS", True),
        (Prices, MONDAY_OPEN - 1, None, True),
        (Prices, MONDAY_OPEN + 13 * MINUTE, None, True),
        (Prices, MONDAY_OPEN + 14 * MINUTE, None, False),
        (Prices, SUNDAY, "NASDAQ", True),
        (Prices, SUNDAY, "a garage", True),
        (Prices, SUNDAY + 10 * HOUR, "XTKS", False),  # Monday 10:00 in Tokyo
        (Rumours, SUNDAY, "XNYS", False),
    ],
)
async def test_fridays_close_is_not_stale_until_its_exchange_has_been_open(
    kind: type[Prices], due: Instant, exchange: str | None, fresh: bool
) -> None:
    said = await outcome(kind, FRIDAY_CLOSE, due, exchange, 15 * MINUTE)
    assert (said.reason is Reason.FRESH) == fresh
    assert (said.state is TaskState.SKIPPED) == fresh


def test_a_lunch_break_does_not_count() -> None:
    morning, afternoon = from_iso("2026-11-24T02:20:00Z"), from_iso("2026-11-24T03:40:00Z")
    assert TOKYO.between(morning, afternoon) == 20 * MINUTE
    assert TOKYO.after(morning, 15 * MINUTE) == from_iso("2026-11-24T03:35:00Z")
    assert TOKYO.after(morning, 10 * MINUTE) == from_iso("2026-11-24T02:30:00Z")


def test_a_check_for_a_later_slot_is_fresh() -> None:
    assert is_fresh(StockState(checked_for=SUNDAY), FRIDAY_CLOSE, HOUR, SUNDAY, NEW_YORK)


@given(st.tuples(INSTANTS, INSTANTS, INSTANTS).map(sorted), st.sampled_from((NEW_YORK, TOKYO, ELAPSED)))
def test_ages_add_up_and_never_outrun_the_clock(instants: list[Instant], time: MarketTime) -> None:
    first, second, third = instants
    assert time.between(first, third) == time.between(first, second) + time.between(second, third)
    assert 0 <= time.between(first, third) <= third - first


@given(INSTANTS, st.integers(1, 5 * DAY), st.sampled_from((NEW_YORK, TOKYO, ELAPSED)))
def test_after_is_the_first_instant_of_that_age(start: Instant, span: int, time: MarketTime) -> None:
    end = time.after(start, span)
    assert time.between(start, end) == span
    assert time.between(start, end - 1) == span - 1


@given(INSTANTS, INSTANTS, st.integers(1, 30 * HOUR))
def test_where_it_says_fresh_until_it_is_fresh_until_then(checked: Instant, due: Instant, fresh_for: int) -> None:
    state, now = StockState(checked_for=checked), max(checked, due)
    until = NEW_YORK.after(checked, good_for_slots(fresh_for))
    assert is_fresh(state, due, fresh_for, now, NEW_YORK) == (due < until)


@pytest.mark.parametrize(
    ("named", "meant"), [(None, "XNYS"), ("NASDAQ", "XNAS"), ("xtks", "XTKS"), ("a garage", "XNYS")]
)
def test_a_stock_without_a_known_exchange_is_at_home(named: str | None, meant: str) -> None:
    found = exchange_of(Symbol("A", exchange=named))
    assert find_exchange(found) == find_exchange(meant)
