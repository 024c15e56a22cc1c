"""How the service is: healthy, degraded or unhealthy, with the reasons; flips alone are told, and reminders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scheduler_service.clock import HOUR, to_iso_seconds
from scheduler_service.models import Notice
from scheduler_service.monitors.base import Change
from scheduler_service.stores.monitor_store import MonitorState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from scheduler_service.clock import Instant, Micros

HEALTHY: Final = "healthy"
DEGRADED: Final = "degraded"
UNHEALTHY: Final = "unhealthy"
LOOKS_BEFORE_TOLD = 2
REMIND_EVERY: Micros = 6 * HOUR
_SUBJECT = "service"


@dataclass(frozen=True, slots=True)
class Vitals:
    """``faults`` make it unhealthy, ``troubles`` degraded. ``is_fresh``: the goals of freshness hold. ``is_over``: it
    will not be looked at again, for the service ends by what is wrong.
    """

    faults: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    is_fresh: bool = True
    is_over: bool = False

    @property
    def state(self) -> str:
        return UNHEALTHY if self.faults else DEGRADED if self.troubles else HEALTHY

    @property
    def reasons(self) -> tuple[str, ...]:
        return (*self.faults, *self.troubles)


class HealthMonitor:
    """``look`` tells how things are; ``ping`` is told while all is well and what is known is fresh."""

    name = "health"
    is_timeless = False

    def __init__(
        self, look: Callable[[], Awaitable[Vitals]], every: Micros, ping: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._every = every
        self._look = look
        self._ping = ping
        self.vitals: Vitals | None = None
        """As they were seen last; None before the first look."""

    def rest(self, now: Instant) -> Micros:
        del now
        return self._every

    async def observe(self) -> Vitals:
        self.vitals = seen = await self._look()
        if self._ping is not None and seen.state == HEALTHY and seen.is_fresh:
            await self._ping()
        return seen

    def judge(self, before: Mapping[str, MonitorState], seen: Vitals, now: Instant) -> Sequence[Change]:
        """A state counts when it was seen at two looks running, so that what passes by itself alarms nobody."""
        last = before.get(_SUBJECT)
        told = HEALTHY if last is None else last.state
        if seen.state == told:
            if last is not None and told != HEALTHY and not 0 <= now - last.told_at < REMIND_EVERY:
                since = f"still {told} since {to_iso_seconds(last.since)}"
                return [_told(seen, now, last.since, f"{since}: {'; '.join(seen.reasons)}")]
            if last is not None and last.body:
                return [Change(_SUBJECT, MonitorState(told, last.since, last.told_at, {}))]
            return []
        looks = 1 if last is None or last.body.get("next") != seen.state else int(last.body["looks"]) + 1
        if looks < LOOKS_BEFORE_TOLD and not seen.is_over:
            told_at = now if last is None else last.told_at
            body = {"next": seen.state, "looks": looks}
            return [Change(_SUBJECT, MonitorState(told, now if last is None else last.since, told_at, body))]
        why = f": {'; '.join(seen.reasons)}" if seen.reasons else f" again; it was {told}"
        return [_told(seen, now, now, f"the service is {seen.state}{why}")]


def _told(seen: Vitals, now: Instant, since: Instant, said: str) -> Change:
    level = {UNHEALTHY: "CRITICAL", DEGRADED: "WARNING"}.get(seen.state, "INFO")
    facts = {"state": seen.state, "reasons": list(seen.reasons), "since": to_iso_seconds(since)}
    key = f"health.changed:{seen.state}@{to_iso_seconds(now)}"
    notice = Notice(key, "health.changed", said, facts, level=level, is_alert=True)
    return Change(_SUBJECT, MonitorState(seen.state, since, now, {}), (notice,))
