"""One provider's gate: its doors, its keys, its budget, its concurrency. What it must remember lies in the ledger."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler_service.clock import SECOND
from scheduler_service.errors import Held, InLine
from scheduler_service.gates.budget import Account, Period
from scheduler_service.gates.door import LONGEST_WAIT_IN_PLACE, Door
from scheduler_service.gates.keys import KeyPool, origin
from scheduler_service.gates.rate import Daily, Line, interval
from scheduler_service.gates.rests import GROWING, Rests
from scheduler_service.models import Reason
from scheduler_service.settings.providers import KeyedOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler_service.calls import Cost, Resource
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.gates.door import Standing
    from scheduler_service.gates.rate import Limiter
    from scheduler_service.settings.providers import ProviderOptions
    from scheduler_service.stores.call_store import Spend
    from scheduler_service.stores.gate_store import GateRow, RecentCall


@dataclass(frozen=True, slots=True)
class Entry:
    """What the gate has charged, for the ledger to charge alike. ``rate_until``: when the next request may leave;
    ``at``: when this one was let in.
    """

    day: str
    expected: Cost
    rate_until: Instant | None
    door: Door
    endpoint: str = ""
    probe: bool = False
    at: Instant = 0


class Gate:
    """The gate of one provider."""

    def __init__(self, provider: str, options: ProviderOptions, clock: Clock) -> None:
        self.provider = provider
        self.options = options
        self.concurrency = asyncio.Semaphore(options.concurrency)
        self.keys = _key_pool(provider, options)
        address = hashlib.sha256(options.whereabouts.encode()).hexdigest()[:16]
        hosts = sorted({_host(url) for url in options.addresses().values()}) if options.hosts_apart else []
        self.doors = {host: Door(provider, host, address, self._line()) for host in hosts or [""]}
        self.account = Account(provider, options.budget)
        self.rests = Rests()
        self._clock = clock
        self._daily = Daily(options.requests_per_day, LONGEST_WAIT_IN_PLACE)
        self._out_for = options.timeout + LONGEST_WAIT_IN_PLACE
        """How long after its reservation a request may be on its way."""
        self._unheard: list[Instant] = []
        self._inside = 0

    def restore(
        self,
        rows: Mapping[tuple[str, str], GateRow],
        spent: Mapping[str, Spend],
        recent: Sequence[RecentCall] = (),
    ) -> None:
        """What the ledger remembers; ``spent`` by UTC day, ``recent``: the calls of the last 24 hours."""
        for door in self.doors.values():
            door.restore(rows)
        keys = set() if self.keys is None else self.keys.rows
        growing = {door.closed_row for door in self.doors.values()} | keys
        for (provider, name), row in rows.items():
            if provider == self.provider and name in growing and row.reason in GROWING:
                self.rests.restore(name, row)
        self._unheard = sorted(call.at + self._out_for for call in recent if call.unheard)
        self._daily.restore(min(call.over_at or call.at, call.at + self._out_for) for call in recent)
        self.account.restore(spent)
        if self.keys is not None:
            self.keys.restore(rows)

    def door(self, resource: Resource) -> Door:
        """The one its requests leave by."""
        return self.doors.get(_host(resource.request.url)) or next(iter(self.doors.values()))

    def shut(self, now: Instant) -> Held | None:
        """What opens first, where nothing of the provider can be asked as far as is known."""
        return _first_of([door.obstacle(now) for door in self.doors.values()])

    def standings(self, now: Instant) -> tuple[Standing, ...]:
        """Everything of the provider that is not asked now."""
        return tuple(standing for door in self.doors.values() for standing in door.standings(now))

    def spent_today(self, now: Instant) -> Spend:
        """Calls and money since 00:00 UTC, reserved ones included."""
        return self.account.spent(Period.DAY, now)

    def forget_endpoint_gone(self, now: Instant) -> dict[str, GateRow]:
        """A person says that it is there now; returns the rows that say so to the ledger."""
        return {name: row for door in self.doors.values() for name, row in door.forget_endpoint_gone(now).items()}

    def release(self, now: Instant) -> list[str]:
        """What keeps failing is tried by the next request, before its time; returns what that is."""
        return [what for door in self.doors.values() for what in door.release(now)]

    def check_closed(self, door: Door | None = None, endpoint: str | None = None) -> None:
        """Raises ``Held`` when it stays closed for longer than 10 seconds, or has no key to show."""
        now = self._clock.now()
        if self.keys is not None:
            self.keys.check(now)
        (door or self._first).check(now, endpoint)

    async def enter(
        self, expected: Cost, door: Door | None = None, endpoint: str = "", *, urgent: bool = False
    ) -> Entry:
        """Waits in line a short while if need be, then charges; to be followed by ``exit``. Raises ``Held`` when the
        wait would be longer than 10 seconds, or the budget is used up.
        """
        door, now = door or self._first, self._clock.now()
        self._look(expected, door, endpoint, now, urgent=urgent)
        earliest = max(door.closed_until(now), self._daily.opens(now), self._has_room(now))
        at = await door.line.take(earliest, now + LONGEST_WAIT_IN_PLACE, now)
        if at - now > LONGEST_WAIT_IN_PLACE:
            raise self._at_its_limit(door, at)
        self._inside += 1
        noted = self._daily.note(now)
        try:
            if at > now:
                await self._clock.sleep((at - now) / SECOND)
                now = self._clock.now()
                self._look(expected, door, endpoint, now, urgent=urgent)
        except BaseException:  # cancelled too: who gives up in the line takes up no place
            self._inside -= 1
            self._daily.forget(noted)
            raise
        self._daily.move(noted, now)
        probe = door.start(endpoint, now)
        day = self.account.charge(expected, now)
        return Entry(day, expected, door.line.kept_until(now), door, endpoint, probe, now)

    def exit(self) -> None:
        """One that entered is no longer on its way."""
        self._inside -= 1

    def obstacle(self, expected: Cost, *, urgent: bool = False) -> Held | None:
        """What ``enter`` would say now to a call that may cost this, whichever it is; only looks."""
        now = self._clock.now()
        return _first_of([self._obstacle(expected, door, now, urgent=urgent) for door in self.doors.values()])

    def give_back(self, entry: Entry) -> None:
        """The ledger could not reserve it: nothing was charged, and nothing leaves."""
        self.account.give_back(entry.day, entry.expected)
        self._daily.forget(entry.at)

    def settle(self, entry: Entry, cost: Cost) -> None:
        """What was reserved did cost this, as the ledger now says too."""
        self.account.settle(entry.day, entry.expected, cost)

    async def leave(self, entry: Entry) -> None:
        """The last look before a reserved request leaves: a late wake-up or a slow disk must not let two leave
        together, nor one after the upstream asked for quiet. Raises ``Held``.
        """
        door = entry.door
        while True:
            self.check_closed(door, None if entry.probe else entry.endpoint)
            now = self._clock.now()
            opens = door.closed_until(now)
            if opens <= now:
                opens = await door.line.leave(now)
            if opens <= now:
                self._daily.move(entry.at, now)
                return
            await self._clock.sleep((opens - now) / SECOND)

    def _look(self, expected: Cost, door: Door, endpoint: str, now: Instant, *, urgent: bool) -> None:
        self.check_closed(door, endpoint)
        self.account.check(expected, now, urgent=urgent)

    def _obstacle(self, expected: Cost, door: Door, now: Instant, *, urgent: bool) -> Held | None:
        try:
            if self.keys is not None:
                self.keys.check(now)
            if (shut := door.obstacle(now)) is not None:
                return shut
        except Held as held:
            return held
        if (held_by_budget := self.account.obstacle(expected, now, urgent=urgent)) is not None:
            return held_by_budget
        opens = max(door.line.opens(now), self._daily.opens(now))
        return self._at_its_limit(door, opens) if opens - now > LONGEST_WAIT_IN_PLACE else None

    def _has_room(self, now: Instant) -> Instant:
        """When one more may be on its way, beside those a crash left there; 0: now."""
        self._unheard = [until for until in self._unheard if now < until <= now + self._out_for]
        too_many = self._inside + len(self._unheard) - self.options.concurrency
        return self._unheard[min(too_many, len(self._unheard) - 1)] if self._unheard and too_many >= 0 else 0

    @property
    def _first(self) -> Door:
        return next(iter(self.doors.values()))

    def _line(self) -> Limiter:
        spacing = interval(self.options.requests_per_second, self.options.requests_per_minute)
        return Line(spacing, LONGEST_WAIT_IN_PLACE)

    def _at_its_limit(self, door: Door, until: Instant) -> Held:
        return InLine(f"{door.name} is asked at its limit", Reason.RATE_LIMITED, until)


def _key_pool(provider: str, options: ProviderOptions) -> KeyPool | None:
    if not isinstance(options, KeyedOptions):
        return None
    return KeyPool(provider, [key.get_secret_value() for key in options.api_keys], options.base_url or "")


def _first_of(held: Sequence[Held | None]) -> Held | None:
    """What opens first; None where anything is open."""
    known = [one for one in held if one is not None]
    return min(known, key=lambda one: one.until) if len(known) == len(held) else None


def _host(url: str) -> str:
    """As it is told to people: ``feeds.example.com``."""
    return origin(url).partition("://")[2].removesuffix(":443").removesuffix(":80")
