"""What goes wrong in a simulation, and when, as a person writes it. Pure.

::

    outage:PROVIDER:DURATION@WHEN   nobody can connect to it
    429:PROVIDER:DURATION@WHEN      too many requests, come back in a minute
    500:PROVIDER:DURATION@WHEN      any status from 500 to 599
    slow:PROVIDER:DURATION@WHEN     every answer takes ten seconds
    crash@WHEN                      the process is killed, and started again
    clock:+1h@WHEN                  the wall clock is set forward, or back (-1h)
    restore@WHEN                    the newest backup is put in the place of the data

``WHEN`` is ``day3`` or ``day3T14:30``: that day of the simulation, the first being ``day1``, by the clock of the
service's time zone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias
from zoneinfo import ZoneInfo

from scheduler_service.clock import SECOND, Instant, Micros, from_datetime
from scheduler_service.sandbox.faults import Fault, FaultKind
from scheduler_service.settings.explain import did_you_mean
from scheduler_service.settings.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Collection

RESTARTS_AFTER: Micros = 5 * SECOND
"""How long a killed process stays away: as long as a service manager waits."""
COME_BACK_AFTER = "60"
SLOWNESS = 10.0
"""Seconds."""
FORMS = (
    "outage:PROVIDER:2h@day3, 429:PROVIDER:30m@day3T14:30, 500:..., slow:..., crash@day3, clock:+1h@day3, or "
    "restore@day3"
)

_SERVER_ERROR = re.compile(r"5\d\d")
_WHEN = re.compile(r"day(\d{1,4})(?:T(\d{1,2}):(\d{2}))?")


@dataclass(frozen=True, slots=True)
class Crash:
    """The process is killed, and started again."""


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The wall clock is set by so much."""

    by: Micros


@dataclass(frozen=True, slots=True)
class Storm:
    """An upstream answers wrongly for so long: with this ``status``, or slowly where there is none."""

    provider: str
    lasts: Micros
    status: int | None = None

    def fault(self, now: Instant) -> Fault:
        """What the sandbox is told when it begins."""
        until = now + self.lasts
        if self.status is None:
            return Fault(kind=FaultKind.SLOW, provider=self.provider, until=until, seconds=SLOWNESS)
        again = COME_BACK_AFTER if self.status == 429 else None
        return Fault(kind=FaultKind.ERROR, provider=self.provider, until=until, status=self.status, retry_after=again)


@dataclass(frozen=True, slots=True)
class Outage:
    """Nobody can connect to an upstream for so long."""

    provider: str
    lasts: Micros


@dataclass(frozen=True, slots=True)
class Restore:
    """The service is stopped, its newest backup restored, and it is started again."""


Trouble: TypeAlias = Crash | ClockStep | Storm | Outage | Restore


@dataclass(frozen=True, slots=True)
class Happening:
    """``spec`` is as it was written; ``after``: how long after the simulation's start."""

    spec: str
    after: Micros
    trouble: Trouble


def parse_fault(spec: str, *, first_day: date, days: int, timezone: str, providers: Collection[str]) -> Happening:
    """One ``--fault``. Raises ``ValueError`` with a sentence."""
    what, at, when = spec.strip().rpartition("@")
    if not at:
        raise ValueError(f"{spec!r} does not say when; write it as {FORMS}")
    return Happening(spec.strip(), _after(spec, when, first_day, days, timezone), _trouble(spec, what, providers))


def midnight(day: date, timezone: str) -> Instant:
    """When the day begins there."""
    return from_datetime(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)))


def _after(spec: str, when: str, first_day: date, days: int, timezone: str) -> Micros:
    match = _WHEN.fullmatch(when)
    number, hour, minute = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    if match is None or hour > 23 or minute > 59:
        raise ValueError(f"{spec!r}: {when!r} is no time; write day3 or day3T14:30")
    if not 1 <= number <= days:
        raise ValueError(f"{spec!r}: the simulation has the days 1 to {days}")
    day = first_day + timedelta(days=number - 1)
    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo(timezone))
    return from_datetime(local) - midnight(first_day, timezone)


def _trouble(spec: str, what: str, providers: Collection[str]) -> Trouble:
    kind, *arguments = what.split(":")
    match kind, arguments:
        case "crash", []:
            return Crash()
        case "restore", []:
            return Restore()
        case "clock", [step] if step[:1] in ("+", "-"):
            by = _duration(spec, step[1:])
            return ClockStep(-by if step[0] == "-" else by)
        case "clock", _:
            raise ValueError(f"{spec!r}: say by how much the clock is set, such as clock:+1h@day3 or clock:-30m@day3")
        case _, [provider, lasts] if kind in ("outage", "slow", "429") or _SERVER_ERROR.fullmatch(kind):
            if provider not in providers:
                raise ValueError(f"{spec!r}: nobody asks a provider {provider!r}; {did_you_mean(provider, providers)}")
            span = _duration(spec, lasts)
            if kind == "outage":
                return Outage(provider, span)
            return Storm(provider, span, None if kind == "slow" else int(kind))
    raise ValueError(f"{spec!r} is no fault; write {FORMS}")


def _duration(spec: str, text: str) -> Micros:
    try:
        micros = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{spec!r}: {error}") from None
    if micros <= 0:
        raise ValueError(f"{spec!r}: {text} is no time at all")
    return micros
