"""A provider's budget: how far each of its limits is used, and whether one more call may leave.

A share of every limit (``reserve``) is kept for who is urgent: a person, and tasks of high priority.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from scheduler_service.calls import Cost
from scheduler_service.clock import DAY, from_datetime, to_datetime, to_iso_seconds, utc_day
from scheduler_service.errors import Held
from scheduler_service.models import Reason
from scheduler_service.settings.units import format_usd
from scheduler_service.stores.call_store import Spend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.clock import Instant
    from scheduler_service.settings.providers import Budget

ANY_CALL = Cost(usd_micros=1, tokens=1)


class Unit(StrEnum):
    CALLS = "calls"
    TOKENS = "tokens"
    USD = "usd"


class Period(StrEnum):
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a budget. ``most``, ``kept`` (of it, for who is urgent) and ``used`` are calls, tokens or millionths
    of a US dollar; at ``until`` it starts anew.
    """

    unit: Unit
    period: Period
    most: int
    kept: int
    used: int
    until: Instant

    def left(self, *, urgent: bool) -> int:
        return self.most - self.used - (0 if urgent else self.kept)

    def takes(self, cost: Cost) -> int:
        """What a call of this cost takes of it."""
        return {Unit.CALLS: 1, Unit.TOKENS: cost.tokens, Unit.USD: cost.usd_micros}[self.unit]


def limits_of(budget: Budget, spent: Mapping[str, Spend], now: Instant) -> tuple[Limit, ...]:
    """The limits that are set. ``spent``: by UTC day, reserved calls included."""
    share = Decimal(str(budget.reserve))
    found = []
    for period, begins_anew in ((Period.DAY, now - now % DAY + DAY), (Period.MONTH, next_month(now))):
        used = spent_in(spent, period, now)
        so_far = {Unit.CALLS: used.calls, Unit.TOKENS: used.tokens, Unit.USD: used.usd_micros}
        found += [
            Limit(unit, period, most, _kept(share, most), so_far[unit], begins_anew)
            for unit, most in _most(budget, period).items()
            if most is not None
        ]
    return tuple(found)


def _kept(share: Decimal, most: int) -> int:
    """What is kept for who is urgent: rounded down, but of two or more not to nothing."""
    return int(share * most) or int(share > 0 and most > 1)


def spent_in(spent: Mapping[str, Spend], period: Period, now: Instant) -> Spend:
    """What was spent in the UTC day or month of ``now``."""
    begins = day_of(now) if period is Period.DAY else day_of(now)[:7]
    days = [one for day, one in spent.items() if day.startswith(begins)]
    return Spend(sum(d.calls for d in days), sum(d.usd_micros for d in days), sum(d.tokens for d in days))


def in_the_way(limits: tuple[Limit, ...], cost: Cost, *, urgent: bool) -> Limit | None:
    """The limit that keeps a call from leaving, of several the one that holds longest."""
    full = [limit for limit in limits if limit.takes(cost) > max(0, limit.left(urgent=urgent))]
    return max(full, key=lambda limit: limit.until, default=None)


def in_words(limit: Limit, *, urgent: bool) -> str:
    """``500 calls of today are used``."""
    when = "today" if limit.period is Period.DAY else "this month"
    kept = ""
    if limit.kept and not urgent:
        kept = f", but for {amount(limit.unit, limit.kept)} kept for people and high priority"
    verb = "is" if limit.most == 1 else "are"
    return f"{amount(limit.unit, limit.most)} of {when} {verb} {'spent' if limit.unit is Unit.USD else 'used'}{kept}"


def most_in_words(limit: Limit) -> str:
    """``500 calls a day``."""
    return f"{amount(limit.unit, limit.most)} a {limit.period}"


class Account:
    """What one provider was asked for, by UTC day, as the ledger has it too."""

    def __init__(self, provider: str, budget: Budget) -> None:
        self.by_day: dict[str, Spend] = {}
        self._provider = provider
        self._budget = budget
        self._held: dict[bool, Held] = {}

    def restore(self, spent: Mapping[str, Spend]) -> None:
        self.by_day = dict(spent)
        self._held.clear()

    def limits(self, now: Instant) -> tuple[Limit, ...]:
        return limits_of(self._budget, self.by_day, now)

    def spent(self, period: Period, now: Instant) -> Spend:
        return spent_in(self.by_day, period, now)

    def charge(self, expected: Cost, now: Instant) -> str:
        """Before the call leaves; returns the UTC day it is charged to."""
        day = day_of(now)
        self._add(day, 1, expected.usd_micros, expected.tokens)
        return day

    def give_back(self, day: str, expected: Cost) -> None:
        """It never left."""
        self._add(day, -1, -expected.usd_micros, -expected.tokens)

    def settle(self, day: str, expected: Cost, cost: Cost) -> None:
        """What was charged did cost this."""
        self._add(day, 0, cost.usd_micros - expected.usd_micros, cost.tokens - expected.tokens)

    def check(self, expected: Cost, now: Instant, *, urgent: bool) -> None:
        """Raises ``Held`` where the budget does not allow a call that may cost this."""
        held = self.obstacle(expected, now, urgent=urgent)
        for kind in {urgent, True}:  # where others pass, so does who is urgent
            self._held.pop(kind, None)
        if held is not None:
            self._held[urgent] = held
            raise held

    def obstacle(self, expected: Cost, now: Instant, *, urgent: bool) -> Held | None:
        """What ``check`` would raise; only looks."""
        limit = in_the_way(self.limits(now), expected, urgent=urgent)
        if limit is None:
            return None
        said = f"the budget's {in_words(limit, urgent=urgent)}; it starts anew at {to_iso_seconds(limit.until)}"
        return Held(f"{self._provider}: {said}", Reason.BUDGET_EXHAUSTED, limit.until)

    def exhausted(self, now: Instant) -> Held | None:
        """How the budget holds calls: any, or the last one that wanted to leave."""
        if (held := self.obstacle(ANY_CALL, now, urgent=False)) is not None:
            return held
        return next((held for held in self._held.values() if now < held.until), None)

    def _add(self, day: str, calls: int, usd_micros: int, tokens: int) -> None:
        known = self.by_day.get(day, Spend())
        self.by_day[day] = Spend(known.calls + calls, known.usd_micros + usd_micros, known.tokens + tokens)


def day_of(now: Instant) -> str:
    """The UTC day, as the ledger calls it: ``2026-11-23``."""
    return utc_day(now).isoformat()


def next_month(now: Instant) -> Instant:
    """When the UTC month after this one begins."""
    first = to_datetime(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    year, month = (first.year + 1, 1) if first.month == 12 else (first.year, first.month + 1)
    return from_datetime(first.replace(year=year, month=month))


def _most(budget: Budget, period: Period) -> dict[Unit, int | None]:
    if period is Period.DAY:
        calls, tokens, usd = budget.calls_per_day, budget.tokens_per_day, budget.usd_per_day
    else:
        calls, tokens, usd = budget.calls_per_month, budget.tokens_per_month, budget.usd_per_month
    return {Unit.CALLS: calls, Unit.TOKENS: tokens, Unit.USD: None if usd is None else round(usd * 1e6)}


def amount(unit: Unit, count: int) -> str:
    """``500 calls``, ``1.00 USD``."""
    if unit is not Unit.USD:
        return f"{count:,} {unit if count != 1 else unit.removesuffix('s')}"
    return f"{format_usd(count / 1e6).removeprefix('$')} USD"
