"""``next``: the slots to come."""

from __future__ import annotations

import heapq
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import click

from scheduler_service.cli.calendars import informed
from scheduler_service.cli.configuration import choose, settings_of
from scheduler_service.cli.figures import local, local_iso, several
from scheduler_service.cli.ledger import look
from scheduler_service.cli.terminal import line, print_json
from scheduler_service.clock import DAY, SystemClock, from_iso, to_iso, to_iso_seconds
from scheduler_service.errors import SchedulerServiceError
from scheduler_service.marks import marks
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.schedule_store import EVERYTHING, pauses_at
from scheduler_service.triggers import timezone_of
from scheduler_service.wording import of_pause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from scheduler_service.calendar_file import Compute
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.settings.loaded import Schedule, Settings
    from scheduler_service.stores.schedule_store import PauseRow
    from scheduler_service.triggers import Trigger

DAYS = 7
SHOWN = 20
"""Lines of text where nobody said how many."""

_EARLIEST, _LATEST = from_iso("1970-01-01T00:00:00Z"), from_iso("9000-01-01T00:00:00Z")


class Slot(NamedTuple):
    """A slot to come; ``timezone`` is the one its schedule goes by."""

    due_at: Instant
    schedule_id: str
    timezone: str
    trigger: Trigger

    def note(self, pauses: Iterable[PauseRow] = ()) -> str:
        """What is special about it; empty where nothing is."""
        paused = [pause for pause in pauses if _covers(pause, self)]
        said = marks(self.trigger, self.due_at, self.timezone)
        return "; ".join([*said, *(["paused: it will be skipped"] if paused else [])])


def upcoming(
    paths: Sequence[Path],
    *,
    job: str | None,
    days: int | None,
    count: int | None,
    at: str | None,
    as_json: bool,
    clock: Clock | None = None,
    compute: Compute | None = None,
) -> int:
    """Slots in ``(at, at + days]``, in their order; with a count alone, as far ahead as it takes.

    ``compute`` stands in for the process that computes sessions.
    """
    settings, now = settings_of(paths), (clock or SystemClock()).now()
    after = read_time(at) if at is not None else now
    if job is not None:
        choose("schedule", job, [schedule.id for schedule in settings.schedules])
    settings, _, warnings = informed(settings, after, compute)
    wanted = [schedule for schedule in settings.schedules if job in (None, schedule.id)]
    pauses = _pauses(settings, now)
    timezone = settings.service.timezone
    for sentence in (*warnings, *_silent(wanted, after), *_paused(wanted, pauses, timezone)):
        line(sentence, err=True)
    until = _LATEST if days is None and count is not None else after + (days or DAYS) * DAY
    found = list(islice(slots(wanted, timezone, after, until), count))
    if as_json:
        print_json(
            [
                {
                    "schedule_id": slot.schedule_id,
                    "due_at": to_iso(slot.due_at),
                    "local": local_iso(slot.due_at, slot.timezone),
                    "note": slot.note(pauses),
                }
                for slot in found
            ]
        )
        return 0
    _print(found if days or count else found[:SHOWN], len(found), wanted, after, pauses)
    return 0


def _print(
    shown: Sequence[Slot], found: int, wanted: Iterable[Schedule], after: Instant, pauses: Sequence[PauseRow]
) -> None:
    """Without a table's borders: a note is longer than its column would be."""
    line(f"Slots after {to_iso_seconds(after)}")
    rows = [(local(s.due_at, s.timezone), to_iso(s.due_at), s.schedule_id, s.note(pauses)) for s in shown]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for *cells, note in rows:
        line(" " + "   ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), note]).rstrip())
    line()
    if found > len(shown):
        line(f"{several(found - len(shown), 'more slot')} within {DAYS} days; see --days, --count and --job")
        line()
    named = {slot.schedule_id for slot in shown}
    for schedule in wanted:
        if schedule.id in named:
            line(f"{schedule.id}: {schedule.trigger.describe()}")


def _silent(wanted: Iterable[Schedule], after: Instant) -> Iterator[str]:
    """The schedules that have no slot at all, and why."""
    for schedule in wanted:
        if not schedule.enabled:
            yield f"{schedule.id} is switched off (enabled: false): it has no slots"
        elif schedule.trigger.next(after) is None:
            yield f"{schedule.id} has no slot any more: {schedule.trigger.describe()}"


def _paused(wanted: Iterable[Schedule], pauses: Iterable[PauseRow], timezone: str) -> Iterator[str]:
    ids = {schedule.id for schedule in wanted}
    for pause in pauses:
        if pause.scope == EVERYTHING:
            yield of_pause(pause, timezone)
        elif pause.scope in ids:
            yield f"{pause.scope}: {of_pause(pause, timezone)}"


def _pauses(settings: Settings, now: Instant) -> list[PauseRow]:
    """What is paused now, as far as the ledger can be read."""
    if not DataDirectory(settings.service.data_dir).ledger.exists():
        return []
    try:
        return look(settings, partial(pauses_at, now=now))
    except SchedulerServiceError as error:
        line(f"Whether something is paused is not known: {error}", err=True)
        return []


def _covers(pause: PauseRow, slot: Slot) -> bool:
    is_its = pause.scope in (EVERYTHING, slot.schedule_id)
    return is_its and pause.since <= slot.due_at and (pause.until is None or slot.due_at < pause.until)


def slots(schedules: Iterable[Schedule], timezone: str, after: Instant, until: Instant) -> Iterator[Slot]:
    """The slots of all enabled schedules in ``(after, until]``, in their order; found one by one."""
    return heapq.merge(*(_slots(schedule, timezone, after, until) for schedule in schedules if schedule.enabled))


def _slots(schedule: Schedule, timezone: str, after: Instant, until: Instant) -> Iterator[Slot]:
    own = timezone_of(schedule.trigger, timezone)
    due = schedule.trigger.next(after)
    while due is not None and due <= until:
        yield Slot(due, schedule.id, own, schedule.trigger)
        due = schedule.trigger.next(due)


def read_time(text: str) -> Instant:
    """An instant as a person typed it. Raises ``click.UsageError``."""
    try:
        instant = from_iso(text)
    except (ValueError, OverflowError):
        instant = -1
    if not _EARLIEST <= instant < _LATEST:
        raise click.UsageError(f"--at {text!r} is not a time with an offset; write one such as 2027-01-04T09:00:00Z")
    return instant
