"""When requests may leave: one interval apart or more (GCRA with a burst of one), and so many within 24 hours.

``Limiter`` is the seam: a limiter that many processes share would answer the same questions from one place.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Protocol

from scheduler_service.clock import DAY, MINUTE, SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler_service.clock import Instant, Micros

LEFT_LATER = SECOND
"""How long after its reservation a request may have left; after a restart nobody knows any more."""


@dataclass(frozen=True, slots=True)
class Permit:
    """When the request may leave, and when the one after it may."""

    at: Instant
    next_at: Instant


def interval(per_second: float | None, per_minute: float | None) -> Micros:
    """The time between two requests under the stricter of both limits; 0 without any."""
    spans = [SECOND / per_second if per_second else 0, MINUTE / per_minute if per_minute else 0]
    return ceil(max(spans))


def permit(next_at: Instant, spacing: Micros, now: Instant) -> Permit:
    """The permit of a request that asks now; ``next_at`` is the last permit's."""
    at = max(next_at, now)
    return Permit(at, at + spacing)


class Limiter(Protocol):
    """The line before an upstream."""

    def opens(self, now: Instant) -> Instant:
        """When who comes now would be let through, as far as is known here; only looks."""

    async def take(self, earliest: Instant, latest: Instant, now: Instant) -> Instant:
        """A place in line: when the request may leave. It is taken only where that is not after ``latest``."""

    async def leave(self, now: Instant) -> Instant:
        """Whether who has a place may leave now; where the answer is later than now, to be asked again then."""

    def kept_until(self, now: Instant) -> Instant | None:
        """What the ledger shall remember with a request that is reserved now; None where that is not needed."""

    def restore(self, until: Instant) -> None:
        """What the ledger remembers."""


class Line:
    """The limiter of one process. Every instant it remembers may have been set by a clock that was wrong: one that
    could not have been set by now is void. ``longest``: nobody waits in line for longer than that.
    """

    def __init__(self, spacing: Micros, longest: Micros) -> None:
        self._spacing = spacing
        self._longest = longest
        self._ends: Instant = 0
        self._left_at: Instant = 0

    def opens(self, now: Instant) -> Instant:
        if self._ends > now + self._longest + self._spacing:
            self._ends = 0
        return self._ends

    async def take(self, earliest: Instant, latest: Instant, now: Instant) -> Instant:
        place = permit(max(self.opens(now), earliest), self._spacing, now)
        if place.at <= latest:
            self._ends = place.next_at  # before anyone waits: who comes meanwhile queues behind
        return place.at

    async def leave(self, now: Instant) -> Instant:
        if self._left_at > now:
            self._left_at = 0
        opens = self._left_at + self._spacing
        if opens > now:
            return opens
        self._left_at = now
        self._ends = max(self._ends, now + self._spacing)
        return now

    def kept_until(self, now: Instant) -> Instant | None:
        return now + self._spacing if self._spacing else None

    def restore(self, until: Instant) -> None:
        self._ends = until + LEFT_LATER


class Daily:
    """At most ``most`` requests within any 24 hours; None: no limit. ``later``: how much longer than the next one a
    request may have been on its way.
    """

    def __init__(self, most: int | None, later: Micros) -> None:
        self._most = most
        self._span = DAY + later
        self._at: deque[Instant] = deque(maxlen=most or 1)

    def opens(self, now: Instant) -> Instant:
        """When the next may leave; 0 where it may now."""
        while self._at and self._at[-1] > now:  # a wrong clock's
            self._at.pop()
        is_full = self._most is not None and len(self._at) == self._most
        return self._at[0] + self._span if is_full and self._at[0] + self._span > now else 0

    def note(self, now: Instant) -> Instant:
        """One is to leave; returns its note."""
        self._at.append(now)
        return now

    def move(self, noted: Instant, at: Instant) -> None:
        """It has left only then, or is still to leave."""
        if noted in self._at:
            self._at[self._at.index(noted)] = at

    def forget(self, noted: Instant) -> None:
        """It did not leave."""
        if noted in self._at:
            self._at.remove(noted)

    def restore(self, asked: Iterable[Instant]) -> None:
        """When the calls of the last 24 hours had left at the latest."""
        self._at.extend(sorted(asked))
