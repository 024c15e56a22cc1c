"""How fresh what is known of each stock is, source by source, and what of it should be fresher. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scheduler_service.clock import DAY, HOUR
from scheduler_service.models import StockState
from scheduler_service.processors.base import is_fresh
from scheduler_service.stores.stock_state_store import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.models import Symbol
    from scheduler_service.processors.base import Processor
    from scheduler_service.settings.loaded import Schedule

GRACE: Micros = HOUR
"""So long after a slot its stocks should have been looked at."""
LOOKS_BACK: Micros = 8 * DAY

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class SourceFreshness:
    """Of one source of a stock's domain. ``age`` counts in the domain's own time; None: it was never checked.

    ``is_overdue``: it was due over an hour ago, and nobody has looked since. ``failing``: why its last try failed.
    """

    symbol: str
    domain: str
    source: str
    fresh_for: Micros
    age: Micros | None
    checked_at: Instant | None
    is_fresh: bool
    is_overdue: bool
    failing: str | None

    @property
    def is_breach(self) -> bool:
        """Whether a person should know: that it is stale until its next slot is no breach."""
        return self.is_overdue or self.failing is not None or self.age is None

    @property
    def word(self) -> str:
        if self.failing is not None:
            return "failing"
        if self.age is None:
            return "never"
        return "overdue" if self.is_overdue else "fresh" if self.is_fresh else "stale"


def standings(
    processors: Mapping[str, Processor[Any]],
    schedules: Iterable[Schedule],
    watchlist: Iterable[Symbol],
    states: Mapping[_Key, StockState],
    now: Instant,
) -> Iterator[SourceFreshness]:
    """Of every source that a domain requires, by symbol, domain and the configuration's order of sources."""
    wanted, known = list(watchlist), list(schedules)
    for symbol in wanted:
        for domain, processor in processors.items():
            mine = [s for s in known if s.domain == domain and s.enabled and s.selects(symbol)]
            for source in processor.required_of(symbol):
                state = states.get((symbol.symbol, domain, source), StockState())
                yield _standing(processor, mine, symbol, source, state, now)


def is_overdue(
    schedule: Schedule, processor: Processor[Any], symbol: Symbol, source: str, state: StockState, now: Instant
) -> bool:
    """Whether a slot of the schedule found it old, and it has not been looked at for over an hour since."""
    if schedule.stalest is not None:
        return False  # its turn comes
    due = last_due(schedule, now)
    if due is None or (state.checked_for is not None and state.checked_for >= due):
        return False
    return not processor.finds_fresh(source, symbol, state, due, now)


def last_due(schedule: Schedule, now: Instant) -> Instant | None:
    """The last slot whose stocks should all have been looked at by now."""
    return schedule.trigger.last(now - LOOKS_BACK, now - GRACE - schedule.spread)


def _standing(
    processor: Processor[Any],
    schedules: Iterable[Schedule],
    symbol: Symbol,
    source: str,
    state: StockState,
    now: Instant,
) -> SourceFreshness:
    fresh_for, ageing = processor.policies[source].fresh_for, processor.ageing(symbol)
    checked = state.checked_for if state.checked_for is not None and state.checked_for <= now else None
    return SourceFreshness(
        symbol=symbol.symbol,
        domain=processor.domain,
        source=source,
        fresh_for=fresh_for,
        age=None if checked is None else ageing.between(checked, now),
        checked_at=state.checked_at,
        is_fresh=is_fresh(state, now, fresh_for, now, ageing),
        is_overdue=any(is_overdue(schedule, processor, symbol, source, state, now) for schedule in schedules),
        failing=str(state.reason) if state.status == FAILED else None,
    )
