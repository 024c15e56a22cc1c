"""When a schedule is due: fixed elapsed time, cron, once, or by an exchange's sessions; and that inside a window only.

Pure; every question is a function of instants, about the stretch ``(after, until]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from scheduler_service.clock import (
    DAY,
    MILLISECOND,
    SECOND,
    Instant,
    Micros,
    from_datetime,
    from_iso,
    to_iso,
)
from scheduler_service.cron import CronTrigger, parse_cron
from scheduler_service.durations import DURATION_UNITS, count_and_unit
from scheduler_service.local_time import END_OF_TIME, parse_zone
from scheduler_service.market_trigger import MarketTrigger, parse_moment
from scheduler_service.windows import (
    Calendars,
    SessionsWindow,
    Window,
    calendar_of,
    first_span,
    last_span,
    parse_window,
    refuse_unknown_keys,
)

LONGEST_EVERY: Micros = 366 * DAY

_FORMS = (
    'a trigger is {every: 30m}, {cron: "0 7 * * mon-fri", timezone: America/New_York}, {market: XNYS, at: open-30m} '
    "or {at: 2027-01-04T09:00:00Z}"
)
_KEYS = ("every", "cron", "market", "at", "timezone")
_SEARCHED: Micros = 30 * 366 * DAY
"""A window is looked through this far for the next slot: 29 February comes on every weekday within 28 years."""
_RECENT: Instant = from_iso("2026-01-01T00:00:00Z")


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


def parse_trigger(spec: Mapping[str, Any], timezone: str, calendars: Calendars | None = None) -> Trigger:
    """The trigger a configuration names; ``timezone`` holds where the spec gives none.

    Without ``calendars`` an exchange is taken to keep its usual hours on all of its weekdays.
    Raises ``ValueError`` with a sentence that says what would be right.
    """
    if not isinstance(spec, Mapping):
        raise ValueError(f"{spec!r} is not a trigger; {_FORMS}")
    refuse_unknown_keys(spec, _KEYS, "a trigger", _FORMS)
    if "market" in spec:
        return _parse_market(spec, calendars)
    kinds = [kind for kind in ("every", "cron", "at") if kind in spec]
    if len(kinds) != 1:
        raise ValueError(f"exactly one of every, cron, market and at is needed, not {len(kinds)}; {_FORMS}")
    kind = kinds[0]
    for key in spec:
        if key != kind and (key != "timezone" or kind == "at"):
            raise ValueError(f"{key!r} does not belong in a trigger with {kind!r}; {_FORMS}")
    if kind == "at":
        return AtTrigger(_parse_at(spec["at"]))
    zone = parse_zone(spec.get("timezone", timezone))
    if kind == "every":
        return EveryTrigger(_parse_every(spec["every"]), zone)
    return CronTrigger(parse_cron(spec["cron"]), zone)


def _parse_market(spec: Mapping[str, Any], calendars: Calendars | None) -> Trigger:
    for key in spec:
        if key not in ("market", "at"):
            raise ValueError(f"{key!r} does not belong in a trigger with 'market'; {_FORMS}")
    if "at" not in spec:
        raise ValueError("a trigger with market needs at; write {market: XNYS, at: open-30m}, or close, or close+30m")
    return MarketTrigger(calendar_of(spec["market"], calendars), *parse_moment(spec["at"]))


def parse_during(trigger: Trigger, during: Any, timezone: str, calendars: Calendars | None = None) -> Trigger:
    """The trigger inside the window a configuration names; hours are of the trigger's own zone, or of ``timezone``.

    Raises ``ValueError`` as ``parse_window`` does, and where no slot is left.
    """
    within = Windowed(trigger, parse_window(during, timezone_of(trigger, timezone), calendars))
    if not _has_slots(within):
        raise ValueError(
            f"no slot is left of {trigger.describe()!r} inside {within.window.describe()!r}; "
            "change the trigger or the window"
        )
    return within


def _has_slots(within: Windowed) -> bool:
    known = within.window.calendar.first_day if isinstance(within.window, SessionsWindow) else None
    recent = from_iso(f"{known}T00:00:00Z") if known else _RECENT
    return within.next(recent if within.trigger.next(recent) is not None else 0) is not None


def without_window(trigger: Trigger) -> Trigger:
    """Whose slots these are, also those outside its window."""
    return trigger.trigger if isinstance(trigger, Windowed) else trigger


def timezone_of(trigger: Trigger, default: str) -> str:
    """The zone whose clock a trigger's slots are read on."""
    inner = without_window(trigger)
    return inner.timezone if isinstance(inner, (EveryTrigger, CronTrigger, MarketTrigger)) else default


def exchanges_of(trigger: Trigger) -> frozenset[str]:
    """The exchanges whose calendars decide on a trigger's slots."""
    if isinstance(trigger, MarketTrigger):
        return frozenset((trigger.exchange,))
    if isinstance(trigger, Windowed):
        window = trigger.window
        inside = {window.calendar.name} if isinstance(window, SessionsWindow) else set()
        return exchanges_of(trigger.trigger) | inside
    return frozenset()


def with_calendars(trigger: Trigger, calendars: Calendars) -> Trigger:
    """The same trigger, by what is known of its exchanges now."""
    return restore_trigger(trigger.canonical(), calendars) if exchanges_of(trigger) else trigger


def restore_trigger(canonical: str, calendars: Calendars | None = None) -> Trigger:
    """The trigger that ``canonical()`` wrote. Raises ``ValueError``."""
    said = json.loads(canonical)
    if not isinstance(said, dict):
        raise ValueError(f"{canonical!r} is no trigger")
    during = said.pop("during", None)
    trigger = parse_trigger(said, "UTC", calendars)
    return trigger if during is None else Windowed(trigger, parse_window(during, "UTC", calendars))


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
        count, unit = count_and_unit(self.period)
        return f"every {unit}" if count == 1 else f"every {count} {unit}"

    def canonical(self) -> str:
        return json.dumps({"every": f"{self.period // MILLISECOND}ms", "timezone": self.timezone})


@dataclass(frozen=True)
class Windowed:
    """The slots of a trigger that fall into a window. A slot and a span are never looked at twice."""

    trigger: Trigger
    window: Window

    @property
    def interval(self) -> None:
        return None

    def next(self, after: Instant) -> Instant | None:
        slot = self.trigger.next(after)
        furthest = min((slot or 0) + _SEARCHED, END_OF_TIME)
        while slot is not None and slot < furthest:
            span = first_span(self.window, slot)
            if span is None:
                return None
            if span.start <= slot:
                return slot
            slot = self.trigger.next(span.start - 1)
        return None

    def last(self, after: Instant, until: Instant) -> Instant | None:
        slot = self.trigger.last(after, until)
        while slot is not None:
            span = last_span(self.window, slot)
            if span is None or span.end <= after:
                return None
            if slot < span.end:
                return slot
            slot = self.trigger.last(after, span.end - 1)
        return None

    def count(self, after: Instant, until: Instant) -> int:
        return sum(self.trigger.count(a, b) for a, b in self._stretches(after, until))

    def between(self, after: Instant, until: Instant, limit: int) -> list[Instant]:
        found: list[Instant] = []
        for a, b in self._stretches(after, until):
            found += self.trigger.between(a, b, limit - len(found))
            if len(found) == limit:
                break
        return found

    def describe(self) -> str:
        return f"{self.trigger.describe()}, {self.window.describe()}"

    def canonical(self) -> str:
        return json.dumps({**json.loads(self.trigger.canonical()), "during": self.window.said()})

    def _stretches(self, after: Instant, until: Instant) -> Iterator[tuple[Instant, Instant]]:
        """What of ``(after, until]`` lies in the window, in the same form."""
        for span in self.window.spans(after + 1, until + 1):
            yield max(after, span.start - 1), min(until, span.end - 1)


def _parse_every(value: object) -> Micros:
    match = re.fullmatch(r"(\d{1,15})(ms|s|m|h|d)", value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"every: {value!r} is not a duration; write a number and a unit, such as 30s, 5m, 2h or 7d")
    period = int(match[1]) * DURATION_UNITS[match[2]]
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
