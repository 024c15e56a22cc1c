"""Cron on the local clock of a zone: ``cronsim`` reads the fields and matches the days, the zone's changes are ours.

Iterating ``cronsim`` itself errs inside the repeated hour of autumn and cannot count. The meaning decides, not (as in
Debian's cron) the spelling, so that ``0 0-23 * * *`` is ``0 * * * *``:

- all 24 hours: every real minute that matches, so the repeated hour of autumn counts twice and the skipped hour of
  spring not at all;
- some hours: each local time once a date, the first one in autumn, and in spring a skipped one at the end of the gap.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from cronsim import CronSim, CronSimError

from scheduler_service.clock import DAY, HOUR, MINUTE, Instant, Micros, from_datetime
from scheduler_service.local_time import END_OF_TIME, EPOCH_ORDINAL, WEEKDAYS, constant_offsets, shown_again

LONGEST_EXPRESSION = 256
HOURS_OF_A_DAY = 24

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_FAR: Micros = 50 * 366 * DAY  # no cron pauses for longer: a 29 February on a given weekday comes within 40 years

_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = (
    "JANUARY",
    "FEBRUARY",
    "MARCH",
    "APRIL",
    "MAY",
    "JUNE",
    "JULY",
    "AUGUST",
    "SEPTEMBER",
    "OCTOBER",
    "NOVEMBER",
    "DECEMBER",
)


class _Field(NamedTuple):
    """``size``: how many values there are. ``unit``: how ``every`` writes one, where it can."""

    name: str
    allowed: str
    size: int
    unit: str | None
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", "0-59", 60, "m"),
    _Field("hour", "0-23", 24, "h"),
    _Field("day-of-month", "1-31 or L", 31, "d"),
    _Field("month", "1-12 or JAN-DEC", 12, None, _MONTHS),
    _Field("day-of-week", "0-7 or SUN-SAT (0 and 7 are Sunday)", 7, "d", tuple(day.upper() for day in WEEKDAYS)),
)


class _Stretch(NamedTuple):
    """Local times ``[start, end)``, which lie ``offset`` ahead of UTC.

    ``due``: there is a slot at ``start``, for a time in the gap before.
    """

    start: Micros
    end: Micros
    offset: Micros
    due: bool


@dataclass(frozen=True)
class CronTrigger:
    """Five fields, as ``parse_cron`` returns them, on the clocks of a zone."""

    expression: str
    timezone: str

    @cached_property
    def _cron(self) -> CronSim:
        return CronSim(self.expression, _ANY_TIME)

    @cached_property
    def _times(self) -> tuple[Micros, ...]:
        """The times of a matching day, from midnight."""
        return tuple(
            hour * HOUR + minute * MINUTE for hour in sorted(self._cron.hours) for minute in sorted(self._cron.minutes)
        )

    @cached_property
    def _follows_elapsed_time(self) -> bool:
        return len(self._cron.hours) == HOURS_OF_A_DAY

    def is_left_out_again(self, due_at: Instant) -> bool:
        """Whether its local time is about to be shown a second time, at which there is no slot."""
        return not self._follows_elapsed_time and shown_again(self.timezone, due_at)

    @property
    def interval(self) -> None:
        return None

    def next(self, after: Instant) -> Instant | None:
        return next(self._slots(after, min(after + _FAR, END_OF_TIME)), None)

    def last(self, after: Instant, until: Instant) -> Instant | None:
        for piece in reversed(list(self._stretches(after + 1, until + 1))):
            for local in self._local(piece.start + piece.due, piece.end, backward=True):
                return local - piece.offset
            if piece.due:
                return piece.start - piece.offset
        return None

    def count(self, after: Instant, until: Instant) -> int:
        return sum(
            piece.due + self._count_local(piece.start + piece.due, piece.end)
            for piece in self._stretches(after + 1, until + 1)
        )

    def between(self, after: Instant, until: Instant, limit: int) -> list[Instant]:
        return list(islice(self._slots(after, until), limit))

    def made_good(self, due_at: Instant) -> list[Micros]:
        """The skipped local times, from any midnight, in whose place there is a slot at this instant."""
        before, after = (
            constant_offsets(self.timezone, due_at - 1, due_at),
            constant_offsets(self.timezone, due_at, due_at),
        )
        skipped_from, skipped_to = due_at + next(before)[2], due_at + next(after)[2]
        if self._follows_elapsed_time or skipped_from >= skipped_to:
            return []
        return list(self._local(skipped_from, skipped_to))

    def describe(self) -> str:
        words = self._cron.explain().replace(" and on ", " or on ")  # of two day fields either makes it due
        return f"{words[0].lower()}{words[1:]}, {self.timezone}"

    def canonical(self) -> str:
        return json.dumps({"cron": self.expression, "timezone": self.timezone})

    def _slots(self, after: Instant, until: Instant) -> Iterator[Instant]:
        for piece in self._stretches(after + 1, until + 1):
            if piece.due:
                yield piece.start - piece.offset
            for local in self._local(piece.start + piece.due, piece.end):
                yield local - piece.offset

    def _stretches(self, first: Instant, end: Instant) -> Iterator[_Stretch]:
        """The local times of ``[first, end)`` that may hold slots, in order: cut where the clocks change."""
        if first >= end:
            return
        seen: Micros | None = None  # the local times below this have been
        for start, stop, offset in constant_offsets(self.timezone, first - 2 * DAY, end):
            begin, finish, due = start + offset, stop + offset, False
            if not self._follows_elapsed_time:
                if seen is not None and begin > seen and start >= first:
                    due = self._count_local(seen, begin) > 0
                elif seen is not None and begin < seen:
                    begin = min(seen, finish)
                seen = max(finish, seen) if seen is not None else finish
            begin = max(begin, first + offset)
            if begin < finish:
                yield _Stretch(begin, finish, offset, due)

    def _matches(self, day: int) -> bool:
        """Whether there are slots on this day, counted from 1970-01-01."""
        calendar_day = date.fromordinal(EPOCH_ORDINAL + day)
        return calendar_day.month in self._cron.months and self._cron.match_day(calendar_day)

    def _local(self, start: Micros, end: Micros, *, backward: bool = False) -> Iterator[Micros]:
        """The local times in ``[start, end)`` that match."""
        days = range(start // DAY, (end - 1) // DAY + 1)
        for day in reversed(days) if backward else days:
            if self._matches(day):
                low, high = self._clip(day, start, end)
                times = self._times[low:high]
                for time in reversed(times) if backward else times:
                    yield day * DAY + time

    def _count_local(self, start: Micros, end: Micros) -> int:
        clips = (self._clip(day, start, end) for day in range(start // DAY, (end - 1) // DAY + 1) if self._matches(day))
        return sum(high - low for low, high in clips)

    def _clip(self, day: int, start: Micros, end: Micros) -> tuple[int, int]:
        """Which of ``_times`` fall in ``[start, end)`` on this day."""
        low = bisect_left(self._times, start - day * DAY)
        return low, max(low, bisect_left(self._times, end - day * DAY))


def parse_cron(value: object) -> str:
    """Five upper-case fields with single spaces. Raises ``ValueError`` for others and for those that never fire."""
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if len(text) > LONGEST_EXPRESSION:
        raise ValueError(f"cron: the expression has {len(text)} characters; at most {LONGEST_EXPRESSION} are read")
    if text.startswith("@") and text.lower() not in _SHORTHANDS:
        raise ValueError(f"cron: {value!r} is not a known shorthand; there are {', '.join(_SHORTHANDS)}")
    parts = _SHORTHANDS.get(text.lower(), text).upper().split()
    if len(parts) != len(_FIELDS):
        raise ValueError(
            f"cron: {value!r} has {len(parts)} fields; it takes five, minute hour day-of-month month day-of-week "
            '(there are no seconds), such as "0 7 * * mon-fri", or a shorthand such as @daily'
        )
    expression = " ".join(_parse_field(field, part) for field, part in zip(_FIELDS, parts, strict=True))
    never = f"cron: {value!r} never fires; no such day exists in those months"
    try:
        if CronTrigger(expression, "UTC").next(from_datetime(_ANY_TIME)) is None:
            raise ValueError(never)
    except CronSimError:  # each field is right by itself, so it is the day and the month together
        raise ValueError(never) from None
    return expression


def _parse_field(field: _Field, part: str) -> str:
    """With the short names of months and weekdays. Raises ``ValueError``."""
    parsed = re.sub(r"[A-Z]+", lambda word: word[0][:3] if word[0] in field.names else word[0], part)
    try:
        CronSim(" ".join(parsed if other is field else "*" for other in _FIELDS), _ANY_TIME)
    except CronSimError:
        raise ValueError(
            f"cron: the {field.name} {part!r} is not understood; it takes {field.allowed}, *, lists as 1,3, "
            "ranges upward as 1-5 and steps as */2"
        ) from None
    for step in map(int, re.findall(r"/(\d+)", parsed)):
        if step > field.size:
            instead = f"write every: {step}{field.unit}, without cron" if field.unit else "write them out, such as 1,7"
            raise ValueError(
                f"cron: the {field.name} {part!r} steps over the whole field, which has {field.size} values; {instead}"
            )
    return parsed
