"""``next``: the slots to come."""

from __future__ import annotations

import heapq
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

import click

from scheduler_service.cli.configuration import choose, settings_of
from scheduler_service.cli.figures import local, local_iso, several
from scheduler_service.cli.terminal import line, print_json, table
from scheduler_service.clock import DAY, SystemClock, from_iso, to_datetime, to_iso, to_iso_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from scheduler_service.clock import Clock, Instant
    from scheduler_service.settings.loaded import Schedule

DAYS = 7
SHOWN = 20
"""Lines of text where nobody said how many."""

_EARLIEST, _LATEST = from_iso("1970-01-01T00:00:00Z"), from_iso("9000-01-01T00:00:00Z")


class Slot(NamedTuple):
    """A slot to come; ``timezone`` is the schedule's."""

    due_at: Instant
    schedule_id: str
    timezone: str

    @property
    def note(self) -> str:
        """What is special about its local time; empty where nothing is."""
        repeated = to_datetime(self.due_at).astimezone(ZoneInfo(self.timezone)).fold
        return "the second time this hour comes round" if repeated else ""


def upcoming(
    paths: Sequence[Path],
    *,
    job: str | None,
    days: int | None,
    count: int | None,
    at: str | None,
    as_json: bool,
    clock: Clock | None = None,
) -> int:
    """Slots in ``(at, at + days]``, in their order; with a count alone, as far ahead as it takes."""
    settings = settings_of(paths)
    after = _read_time(at) if at is not None else (clock or SystemClock()).now()
    if job is not None:
        choose("schedule", job, [schedule.id for schedule in settings.schedules])
    wanted = [schedule for schedule in settings.schedules if job in (None, schedule.id)]
    for schedule in wanted:
        if not schedule.enabled:
            line(f"{schedule.id} is switched off (enabled: false): it has no slots", err=True)
    until = _LATEST if days is None and count is not None else after + (days or DAYS) * DAY
    found = list(islice(slots(wanted, settings.service.timezone, after, until), count))
    if as_json:
        print_json(
            [
                {
                    "schedule_id": slot.schedule_id,
                    "due_at": to_iso(slot.due_at),
                    "local": local_iso(slot.due_at, slot.timezone),
                    "note": slot.note,
                }
                for slot in found
            ]
        )
        return 0
    shown = found if days or count else found[:SHOWN]
    rows = [(local(s.due_at, s.timezone), to_iso(s.due_at), s.schedule_id, s.note) for s in shown]
    columns = ["local", "UTC", "schedule", "note"] if any(slot.note for slot in shown) else ["local", "UTC", "schedule"]
    table(f"Slots after {to_iso_seconds(after)}", columns, [row[: len(columns)] for row in rows])
    if len(found) > len(shown):
        line(f"{several(len(found) - len(shown), 'more slot')} within {DAYS} days; see --days, --count and --job")
    return 0


def slots(schedules: Iterable[Schedule], timezone: str, after: Instant, until: Instant) -> Iterator[Slot]:
    """The slots of all enabled schedules in ``(after, until]``, in their order; found one by one."""
    return heapq.merge(*(_slots(schedule, timezone, after, until) for schedule in schedules if schedule.enabled))


def _slots(schedule: Schedule, timezone: str, after: Instant, until: Instant) -> Iterator[Slot]:
    own = getattr(schedule.trigger, "timezone", timezone)
    due = schedule.trigger.next(after)
    while due is not None and due <= until:
        yield Slot(due, schedule.id, own)
        due = schedule.trigger.next(due)


def _read_time(text: str) -> Instant:
    try:
        instant = from_iso(text)
    except (ValueError, OverflowError):
        instant = -1
    if not _EARLIEST <= instant < _LATEST:
        raise click.UsageError(f"--at {text!r} is not a time with an offset; write one such as 2027-01-04T09:00:00Z")
    return instant
