"""One provider's gate: closed or open, its keys, its budget, its rate, its concurrency. What it must remember lies in
the ledger.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler_service.clock import DAY, SECOND, from_datetime, to_datetime, to_iso_seconds, utc_day
from scheduler_service.errors import Held
from scheduler_service.gates.keys import KeyPool
from scheduler_service.gates.rate import interval, permit
from scheduler_service.models import Reason
from scheduler_service.settings.providers import KeyedOptions
from scheduler_service.stores.call_store import Spend
from scheduler_service.stores.gate_store import CLOSED, RATE, GateRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.calls import Cost
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.settings.providers import ProviderOptions

LONGEST_WAIT_IN_PLACE = 10 * SECOND
ENDPOINT_GONE = "what it was asked at is no longer there; see its base_url and api, and reload once they are right"
LEFT_LATER = SECOND
"""How long after its reservation a request may have left; after a restart nobody knows any more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the gate has charged, for the ledger to charge alike. ``rate_until``: when the next request may leave."""

    day: str
    usd_micros: int
    rate_until: Instant | None


class Gate:
    """The gate of one provider."""

    def __init__(self, provider: str, options: ProviderOptions, clock: Clock) -> None:
        self.provider = provider
        self.options = options
        self.concurrency = asyncio.Semaphore(options.concurrency)
        self.keys = _key_pool(provider, options)
        self.closed: GateRow | None = None
        self.closed_row = f"{CLOSED}:{hashlib.sha256(options.whereabouts.encode()).hexdigest()[:16]}"
        """What the ledger calls that: it belongs to an address, not to the provider's name."""
        self._why = ""
        self._exhausted: Held | None = None
        self._clock = clock
        self._interval = interval(options.requests_per_second, options.requests_per_minute)
        self._line_ends: Instant = 0
        self._left_at: Instant = 0
        self._spent: dict[str, Spend] = {}

    def restore(self, rows: Mapping[tuple[str, str], GateRow], spent: Mapping[str, Spend]) -> None:
        """What the ledger remembers; ``spent`` by UTC day."""
        self.closed = rows.get((self.provider, self.closed_row))
        rate = rows.get((self.provider, RATE))
        self._line_ends = rate.until + LEFT_LATER if rate else 0
        self._spent = dict(spent)
        if self.keys is not None:
            self.keys.restore(rows)

    def spent_today(self, now: Instant) -> Spend:
        """Calls and money since 00:00 UTC, reserved ones included."""
        return self._spent.get(_day(now), Spend())

    def close_until(self, row: GateRow, why: str) -> GateRow:
        """No more calls, for anyone. Returns what holds now: the longer of two wishes."""
        if self.closed is None or row.until > self.closed.until:
            self.closed, self._why = row, why
        return self.closed

    def forget_endpoint_gone(self, now: Instant) -> dict[str, GateRow]:
        """A person says that it is there now; returns the row that says so to the ledger."""
        if self.closed is None or self.closed.reason is not Reason.ENDPOINT_GONE:
            return {}
        self.closed = None
        return {self.closed_row: GateRow(now, now, Reason.ENDPOINT_GONE)}

    def exhausted(self, now: Instant) -> Held | None:
        """How the budget holds calls: the last one that wanted to leave, or any."""
        try:
            self._check_budget(1, now)
        except Held as held:
            return held
        if self._exhausted is not None and self._exhausted.until <= now:
            self._exhausted = None
        return self._exhausted

    def check_closed(self) -> None:
        """Raises ``Held`` when it stays closed for longer than 10 seconds, or has no key to show."""
        now = self._clock.now()
        if self.keys is not None:
            self.keys.check(now)
        if self._closed_until(now) - now > LONGEST_WAIT_IN_PLACE and self.closed is not None:
            until = self.closed.until
            reason = self.closed.reason or Reason.RATE_LIMITED
            message = f"{self.provider} is not asked until {to_iso_seconds(until)}"
            why = self._why or (ENDPOINT_GONE if reason is Reason.ENDPOINT_GONE else "")
            raise Held(f"{message}: {why}" if why else message, reason, until)

    async def enter(self, usd_micros: int) -> Entry:
        """Waits in line a short while if need be, then charges. Raises ``Held`` when the wait would be longer than 10
        seconds, or the budget is used up.
        """
        now = self._clock.now()
        self.check_closed()
        self._keep_to_budget(usd_micros, now)
        place = permit(max(self._line(now), self._closed_until(now)), self._interval, now)
        if place.at - now > LONGEST_WAIT_IN_PLACE:
            raise self._at_its_limit(place.at)
        self._line_ends = place.next_at  # before waiting: who comes meanwhile queues behind
        if place.at > now:
            await self._clock.sleep((place.at - now) / SECOND)
            now = self._clock.now()
            self.check_closed()
            self._keep_to_budget(usd_micros, now)
        entry = Entry(_day(now), usd_micros, now + self._interval if self._interval else None)
        self._charge(entry, 1)
        return entry

    def obstacle(self, usd_micros: int) -> Held | None:
        """What ``enter`` would say now to a call that may cost this; only looks."""
        now = self._clock.now()
        try:
            self.check_closed()
            self._check_budget(usd_micros, now)
        except Held as held:
            return held
        opens = self._line(now)
        return self._at_its_limit(opens) if opens - now > LONGEST_WAIT_IN_PLACE else None

    def give_back(self, entry: Entry) -> None:
        """The ledger could not reserve it: nothing was charged, and nothing leaves."""
        self._charge(entry, -1)

    def settle(self, entry: Entry, cost: Cost) -> None:
        """What was reserved did cost this, as the ledger now says too."""
        spent = self._spent.get(entry.day, Spend())
        usd_micros = spent.usd_micros - entry.usd_micros + cost.usd_micros
        self._spent[entry.day] = Spend(spent.calls, usd_micros, spent.tokens + cost.tokens)

    async def leave(self) -> None:
        """The last look before a reserved request leaves: a late wake-up or a slow disk must not let two leave
        together, nor one after the upstream asked for quiet. Raises ``Held``.
        """
        while True:
            self.check_closed()
            now = self._clock.now()
            opens = max(self._left(now) + self._interval, self._closed_until(now))
            if opens <= now:
                break
            await self._clock.sleep((opens - now) / SECOND)
        self._left_at = now
        self._line_ends = max(self._line_ends, now + self._interval)

    # Every instant remembered here may have been set by a clock that was wrong: one that could not have been set by
    # now is void.

    def _closed_until(self, now: Instant) -> Instant:
        if self.closed is not None and not self.closed.set_at <= now < self.closed.until:
            self.closed = None
        return self.closed.until if self.closed is not None else 0

    def _line(self, now: Instant) -> Instant:
        if self._line_ends > now + LONGEST_WAIT_IN_PLACE + self._interval:
            self._line_ends = 0
        return self._line_ends

    def _left(self, now: Instant) -> Instant:
        if self._left_at > now:
            self._left_at = 0
        return self._left_at

    def _charge(self, entry: Entry, calls: int) -> None:
        spent = self._spent.get(entry.day, Spend())
        self._spent[entry.day] = Spend(spent.calls + calls, spent.usd_micros + calls * entry.usd_micros, spent.tokens)

    def _keep_to_budget(self, usd_micros: int, now: Instant) -> None:
        self._exhausted = None
        try:
            self._check_budget(usd_micros, now)
        except Held as held:
            self._exhausted = held
            raise

    def _check_budget(self, usd_micros: int, now: Instant) -> None:
        budget, today = self.options.budget, self.spent_today(now)
        tomorrow = now - now % DAY + DAY
        if budget.calls_per_day is not None and today.calls + 1 > budget.calls_per_day:
            self._out(f"{budget.calls_per_day} calls of today are used", tomorrow)
        if budget.usd_per_day is not None and today.usd_micros + usd_micros > budget.usd_per_day * 1e6:
            self._out(f"{budget.usd_per_day:.2f} USD of today are spent", tomorrow)
        if budget.usd_per_month is not None and self._month(now) + usd_micros > budget.usd_per_month * 1e6:
            self._out(f"{budget.usd_per_month:.2f} USD of this month are spent", _next_month(now))

    def _at_its_limit(self, until: Instant) -> Held:
        return Held(f"{self.provider} is asked at its limit", Reason.RATE_LIMITED, until)

    def _month(self, now: Instant) -> int:
        month = _day(now)[:7]
        return sum(spent.usd_micros for day, spent in self._spent.items() if day.startswith(month))

    def _out(self, what: str, until: Instant) -> None:
        message = f"{self.provider}: the budget's {what}; it starts anew at {to_iso_seconds(until)}"
        raise Held(message, Reason.BUDGET_EXHAUSTED, until)


def _key_pool(provider: str, options: ProviderOptions) -> KeyPool | None:
    if not isinstance(options, KeyedOptions):
        return None
    return KeyPool(provider, [key.get_secret_value() for key in options.api_keys], options.base_url or "")


def _day(now: Instant) -> str:
    return utc_day(now).isoformat()


def _next_month(now: Instant) -> Instant:
    first = to_datetime(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    year, month = (first.year + 1, 1) if first.month == 12 else (first.year, first.month + 1)
    return from_datetime(first.replace(year=year, month=month))
