"""When a schedule is due: fixed elapsed time, cron, or once. Pure; every question is a function of instants.

Windows are half-open on the left: ``(after, until]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Protocol
from zoneinfo import ZoneInfo, available_timezones

from scheduler_service.clock import (
    DAY,
    HOUR,
    MILLISECOND,
    MINUTE,
    SECOND,
    Instant,
    Micros,
    from_datetime,
    from_iso,
    to_iso,
)
from scheduler_service.cron import CronTrigger, parse_cron

LONGEST_EVERY: Micros = 366 * DAY

_UNITS = {"ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
_WORDS = {DAY: "day", HOUR: "hour", MINUTE: "minute", SECOND: "second", MILLISECOND: "millisecond"}
_FORMS = (
    'a trigger is {every: 30m}, {cron: "0 7 * * mon-fri", timezone: America/New_York} or {at: 2027-01-04T09:00:00Z}'
)


class Trigger(Protocol):
    """When a schedule is due."""

    @property
    def interval(self) -> Micros | None:
        """The time between slots where it is always the same."""

    def next(self, after: Instant) -> Instant | None:
        """The first slot strictly after ``after``; None: never again."""

    def last(self, after: Instant, until: Instant) -> Instant | None:
        """The newest slot in ``(after, until]``."""

    def count(self, after: Instant, until: Instant) -> int:
        """How many slots lie in ``(after, until]``, without walking them."""

    def between(self, after: Instant, until: Instant, limit: int) -> list[Instant]:
        """The oldest ``limit`` slots in ``(after, until]``, ascending."""

    def describe(self) -> str:
        """In words, as in "at 07:00 on Monday through Friday, America/New_York"."""

    def canonical(self) -> str:
        """One text per meaning, for fingerprints and storage; ``restore_trigger`` reads it."""


def parse_trigger(spec: Mapping[str, Any], timezone: str) -> Trigger:
    """The trigger a configuration names; ``timezone`` holds where the spec gives none.

    Raises ``ValueError`` with a sentence that says what would be right.
    """
    if not isinstance(spec, Mapping):
        raise ValueError(f"{spec!r} is not a trigger; {_FORMS}")
    kinds = [kind for kind in ("every", "cron", "at") if kind in spec]
    if len(kinds) != 1:
        raise ValueError(f"exactly one of every, cron and at is needed, not {len(kinds)}; {_FORMS}")
    kind = kinds[0]
    for key in spec:
        if key != kind and (key != "timezone" or kind == "at"):
            raise ValueError(f"{key!r} does not belong in a trigger with {kind!r}; {_FORMS}")
    if kind == "at":
        return AtTrigger(_parse_at(spec["at"]))
    zone = _parse_zone(spec.get("timezone", timezone))
    if kind == "every":
        return EveryTrigger(_parse_every(spec["every"]), zone)
    return CronTrigger(parse_cron(spec["cron"]), zone)


def restore_trigger(canonical: str) -> Trigger:
    """The trigger that ``canonical()`` wrote. Raises ``ValueError``."""
    return parse_trigger(json.loads(canonical), "UTC")


@dataclass(frozen=True)
class AtTrigger:
    """Once."""

    at: Instant

    @property
    def interval(self) -> None:
        return None

    def next(self, after: Instant) -> Instant | None:
        return self.at if after < self.at else None

    def last(self, after: Instant, until: Instant) -> Instant | None:
        return self.at if after < self.at <= until else None

    def count(self, after: Instant, until: Instant) -> int:
        return int(after < self.at <= until)

    def between(self, after: Instant, until: Instant, limit: int) -> list[Instant]:
        return [self.at][:limit] if after < self.at <= until else []

    def describe(self) -> str:
        return f"once, at {to_iso(self.at)}"

    def canonical(self) -> str:
        return json.dumps({"at": to_iso(self.at)})


@dataclass(frozen=True)
class EveryTrigger:
    """Fixed elapsed time, counted from 1970-01-01T00:00 in its zone: a restart moves nothing."""

    period: Micros
    timezone: str

    @property
    def interval(self) -> Micros:
        return self.period

    @cached_property
    def _anchor(self) -> Instant:
        return from_datetime(datetime(1970, 1, 1, tzinfo=ZoneInfo(self.timezone)))

    def _number(self, instant: Instant) -> int:
        return (instant - self._anchor) // self.period

    def next(self, after: Instant) -> Instant | None:
        return self._anchor + (self._number(after) + 1) * self.period

    def last(self, after: Instant, until: Instant) -> Instant | None:
        newest = self._anchor + self._number(until) * self.period
        return newest if newest > after else None

    def count(self, after: Instant, until: Instant) -> int:
        return max(0, self._number(until) - self._number(after))

    def between(self, after: Instant, until: Instant, limit: int) -> list[Instant]:
        first = self._number(after) + 1
        return [self._anchor + n * self.period for n in range(first, min(self._number(until) + 1, first + limit))]

    def describe(self) -> str:
        size, word = next((size, word) for size, word in _WORDS.items() if self.period % size == 0)
        many = self.period // size
        return f"every {word}" if many == 1 else f"every {many} {word}s"

    def canonical(self) -> str:
        return json.dumps({"every": f"{self.period // MILLISECOND}ms", "timezone": self.timezone})


def _parse_every(value: object) -> Micros:
    match = re.fullmatch(r"(\d{1,15})(ms|s|m|h|d)", value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"every: {value!r} is not a duration; write a number and a unit, such as 30s, 5m, 2h or 7d")
    period = int(match[1]) * _UNITS[match[2]]
    if not SECOND <= period <= LONGEST_EVERY:
        raise ValueError(
            f"every: {value!r} is out of range; it must be between 1s and 366d (cron and at reach further)"
        )
    return period


def _parse_at(value: object) -> Instant:
    try:
        if isinstance(value, datetime):  # an unquoted time in YAML
            return from_datetime(value)
        if isinstance(value, str):
            return from_iso(value.strip())
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        f"at: {str(value)!r} is not a time with an offset; write one such as 2027-01-04T09:00:00-05:00 or ...Z"
    )


def _parse_zone(value: object) -> str:
    if isinstance(value, str):
        try:
            return ZoneInfo(value).key
        except (ValueError, LookupError, OSError):
            pass
    zones = sorted(available_timezones())
    known = {zone.rpartition("/")[2].lower(): zone for zone in zones} | {zone.lower(): zone for zone in zones}
    close = get_close_matches(str(value).lower().replace(" ", "_"), known, n=1, cutoff=0.75)
    hint = f"did you mean {known[close[0]]}?" if close else "write one such as America/New_York, Europe/Berlin or UTC"
    raise ValueError(f"timezone: {value!r} is not a known time zone; {hint}")
