"""One provider's gate: closed or open, its budget, its rate, its concurrency. What it must remember lies in the
ledger.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from scheduler_service.clock import DAY, SECOND, from_datetime, to_datetime, to_iso_seconds
from scheduler_service.errors import Held
from scheduler_service.gates.rate import interval, permit
from scheduler_service.models import Reason
from scheduler_service.stores.call_store import CLOSED, RATE, GateRow, Spend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.clock import Clock, Instant
    from scheduler_service.settings.providers import ProviderOptions

LONGEST_WAIT_IN_PLACE = 10 * SECOND


class Gate:
    """The gate of one provider."""

    def __init__(self, provider: str, options: ProviderOptions, clock: Clock) -> None:
        self.provider = provider
        self.options = options
        self.concurrency = asyncio.Semaphore(options.concurrency)
        self.closed: GateRow | None = None
        self._clock = clock
        self._interval = interval(options.requests_per_second, options.requests_per_minute)
        self._next_at: Instant = 0
        self._day = ""
        self._today = Spend()
        self._month = Spend()

    def restore(self, rows: Mapping[tuple[str, str], GateRow], today: Spend, month: Spend, day: str) -> None:
        """What the ledger remembers."""
        self.closed = rows.get((self.provider, CLOSED))
        rate = rows.get((self.provider, RATE))
        self._next_at = rate.until if rate else 0
        self._day, self._today, self._month = day, today, month

    def spent_today(self, now: Instant) -> Spend:
        """Calls and money since 00:00 UTC, reserved ones included."""
        self._turn_day(now)
        return self._today

    def close_until(self, row: GateRow) -> None:
        """The upstream asked for quiet; for everyone."""
        if self.closed is None or row.until > self.closed.until:
            self.closed = row

    async def enter(self, usd_micros: int) -> Instant | None:
        """Waits a short while if need be; returns what the rate must remember.

        Raises ``Held`` when the way stays shut for longer than 10 seconds. The place in the line and the cost are taken
        before waiting, so that those who come meanwhile queue behind; both gates are looked at again after it.
        """
        while True:
            now = self._clock.now()
            self._turn_day(now)
            self._check_closed(now)
            self._check_budget(usd_micros, now)
            opens = max(now, self._next_at, self.closed.until if self.closed else now)
            if opens - now > LONGEST_WAIT_IN_PLACE:
                raise Held(f"{self.provider} is asked at its limit", Reason.RATE_LIMITED, opens)
            self._next_at = permit(opens, self._interval, now).next_at
            mine = self._next_at
            self._charge(1, usd_micros)
            if opens > now:
                try:
                    await self._clock.sleep((opens - now) / SECOND)
                except BaseException:
                    self._charge(-1, -usd_micros)
                    raise
                if self.closed is not None and self.closed.until > self._clock.now():
                    self._charge(-1, -usd_micros)
                    continue
            return mine if self._interval else None

    def _charge(self, calls: int, usd_micros: int) -> None:
        self._today, self._month = (
            Spend(s.calls + calls, s.usd_micros + usd_micros, s.tokens) for s in (self._today, self._month)
        )

    def _check_closed(self, now: Instant) -> None:
        if self.closed is None:
            return
        if self.closed.until <= now:
            self.closed = None
        elif self.closed.until - now > LONGEST_WAIT_IN_PLACE:
            reason = self.closed.reason or Reason.RATE_LIMITED
            until = self.closed.until
            raise Held(f"{self.provider} asked for quiet until {to_iso_seconds(until)}", reason, until)

    def _check_budget(self, usd_micros: int, now: Instant) -> None:
        budget = self.options.budget
        tomorrow = now - now % DAY + DAY
        if budget.calls_per_day is not None and self._today.calls + 1 > budget.calls_per_day:
            self._out(f"{budget.calls_per_day} calls of today are used", tomorrow)
        if budget.usd_per_day is not None and self._today.usd_micros + usd_micros > budget.usd_per_day * 1e6:
            self._out(f"{budget.usd_per_day:.2f} USD of today are spent", tomorrow)
        if budget.usd_per_month is not None and self._month.usd_micros + usd_micros > budget.usd_per_month * 1e6:
            self._out(f"{budget.usd_per_month:.2f} USD of this month are spent", _next_month(now))

    def _out(self, what: str, until: Instant) -> None:
        message = f"{self.provider}: the budget's {what}; it starts anew at {to_iso_seconds(until)}"
        raise Held(message, Reason.BUDGET_EXHAUSTED, until)

    def _turn_day(self, now: Instant) -> None:
        day = to_datetime(now).date().isoformat()
        if day > self._day:  # a clock that went back does not give yesterday's budget again
            if day[:7] != self._day[:7]:
                self._month = Spend()
            self._day, self._today = day, Spend()


def _next_month(now: Instant) -> Instant:
    first = to_datetime(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    year, month = (first.year + 1, 1) if first.month == 12 else (first.year, first.month + 1)
    return from_datetime(first.replace(year=year, month=month))
