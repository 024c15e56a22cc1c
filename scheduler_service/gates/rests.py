"""Rests that grow: an upstream that goes on refusing is asked less and less often, never before it allows.

An upstream may say "in 60 s" for days. Each refusal of who had rested doubles the rest, up to an hour; the first
answer ends that. Only the last rest lies in the ledger: a restart forgets how often it was refused, not for how long.
Pure, but for what it remembers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scheduler_service.clock import HOUR, SECOND
from scheduler_service.models import Reason
from scheduler_service.stores.gate_store import SMALL_STEP

if TYPE_CHECKING:
    from scheduler_service.clock import Instant, Micros
    from scheduler_service.stores.gate_store import GateRow

LONGEST_GROWN: Micros = HOUR
SHORTEST_GROWN: Micros = SECOND
"""Of who goes on refusing: twice nothing would be nothing for ever."""
GROWING = frozenset({Reason.RATE_LIMITED, None})
"""Refused keys, endpoints that are gone and what is down rest for times of their own."""
TOLD_AGAIN_AFTER: Micros = HOUR


@dataclass(frozen=True, slots=True)
class Rest:
    """``set_at`` and ``until`` of the last rest; ``tries`` were refused one after the other since ``since``.
    ``told_at``: when that was last said aloud.
    """

    set_at: Instant
    until: Instant
    since: Instant
    tries: int = 1
    told_at: Instant = 0

    def is_void(self, now: Instant) -> bool:
        """A wrong clock's."""
        return self.set_at > now + SMALL_STEP


class Rests:
    """The rests of one provider, by their row in the ledger."""

    def __init__(self) -> None:
        self._known: dict[str, Rest] = {}

    def restore(self, name: str, row: GateRow) -> None:
        if row.until > row.set_at:
            self._known[name] = Rest(row.set_at, row.until, row.set_at, told_at=row.set_at)

    def refused(self, name: str, wait: Micros, let_in: Instant, now: Instant, *, grows: bool = True) -> Rest:
        """After a refusal of a request that was let in then; ``wait``: what the upstream asks for. Requests that were
        under way together are one refusal. Not ``grows``: it is down, and a circuit sees to that.
        """
        before = self._known.get(name)
        if before is None or before.is_void(now):
            rest = Rest(now, now + wait, now)
        elif let_in < before.set_at:
            rest = replace(before, until=max(before.until, now + wait))
        else:
            twice = max(2 * (before.until - before.set_at), SHORTEST_GROWN)
            grown = min(twice, LONGEST_GROWN) if grows else 0
            rest = replace(before, set_at=now, until=now + max(wait, grown), tries=before.tries + 1)
        self._known[name] = rest
        return rest

    def told(self, name: str, now: Instant) -> None:
        self._known[name] = replace(self._known[name], told_at=now)

    def answered(self, name: str, let_in: Instant) -> Rest | None:
        """After an answer to a request that was let in then: the rest that is over for good, if there was one."""
        before = self._known.get(name)
        if before is None or let_in < before.set_at:
            return None
        return self._known.pop(name)
