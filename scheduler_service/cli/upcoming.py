"""``next``: the slots to come."""

from __future__ import annotations

import heapq
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from scheduler_service.cli.calendars import informed
from scheduler_service.cli.configuration import choose, settings_of
from scheduler_service.cli.figures import local, local_iso, several
from scheduler_service.cli.ledger import look
from scheduler_service.cli.terminal import line, print_json
from scheduler_service.cli.times import read_time
from scheduler_service.clock import DAY, SystemClock, from_iso, to_iso, to_iso_seconds
from scheduler_service.definitions import restore
from scheduler_service.errors import SchedulerServiceError
from scheduler_service.marks import note
from scheduler_service.models import ScheduleOrigin
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.pause_store import EVERYTHING, pauses_at
from scheduler_service.stores.schedule_store import open_schedules
from scheduler_service.triggers import timezone_of
from scheduler_service.wording import of_pause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from scheduler_service.calendar_file import Compute
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.settings.loaded import Schedule, Settings
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.pause_store import PauseRow
    from scheduler_service.stores.schedule_store import ScheduleRow
    from scheduler_service.triggers import Trigger
    from scheduler_service.windows import Calendars

DAYS = 7
SHOWN, SHOWN_OF_EACH = 20, 5
"""Lines of text where nobody said how many: of the one schedule that was asked about, else of each."""

_LATEST = from_iso("9000-01-01T00:00:00Z")


class Slot(NamedTuple):
    """A slot to come; ``timezone`` is the one its schedule goes by."""

    due_at: Instant
    schedule_id: str
    timezone: str
    trigger: Trigger

    def note(self, pauses: Iterable[PauseRow] = ()) -> str:
        """What is special about it; empty where nothing is."""
        return note(self.trigger, self.schedule_id, self.due_at, self.timezone, pauses)


class Kept(NamedTuple):
    """What the ledger alone knows: what is paused, and the follow-ups that are still open."""

    pauses: list[PauseRow]
    follow_ups: list[ScheduleRow]


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
    after = read_time(at, settings.service.timezone, now) if at is not None else now
    pauses, rows = _kept(settings, now)
    configured = {schedule.id for schedule in settings.schedules}
    rows = [row for row in rows if row.id not in configured]
    if job is not None:
        choose("schedule", job, [*configured, *(row.id for row in rows)])
    settings, calendars, warnings = informed(settings, after, compute)
    follow_ups = list(_restored(rows, calendars))
    wanted = [schedule for schedule in (*settings.schedules, *follow_ups) if job in (None, schedule.id)]
    timezone = settings.service.timezone
    overdue = [s for s in wanted if s in follow_ups and s.trigger.next(now) is None]
    others = [s for s in wanted if s not in overdue]
    for sentence in (*warnings, *_silent(others, after), *_overdue(overdue), *_paused(wanted, pauses, timezone)):
        line(sentence, err=True)
    until = _LATEST if days is None and count is not None else after + (days or DAYS) * DAY
    if as_json:
        found = islice(slots(wanted, timezone, after, until), count)
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
    most = count if count is not None else SHOWN_OF_EACH if job is None else None if days else SHOWN
    of_each = (islice(_slots(s, timezone, after, until), most) for s in wanted if s.enabled)
    shown = list(islice(heapq.merge(*of_each), count))
    _print(shown, after, pauses)
    if count is None:
        _print_the_rest(wanted, follow_ups, timezone, after, until, most, job)
    far = [s for s in follow_ups if job is None and (s.trigger.next(after) or after) > until]
    named = {slot.schedule_id for slot in shown} if count is not None else {schedule.id for schedule in wanted}
    _print_in_words([one for one in wanted if one.id in named and one not in far], follow_ups)
    return 0


def _print(shown: Sequence[Slot], after: Instant, pauses: Sequence[PauseRow]) -> None:
    """Without a table's borders: a note is longer than its column would be."""
    line(f"Slots after {to_iso_seconds(after)}")
    rows = [(local(s.due_at, s.timezone), to_iso(s.due_at), s.schedule_id, s.note(pauses)) for s in shown]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for *cells, said in rows:
        line(" " + "   ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), said]).rstrip())
    line()


def _print_the_rest(
    wanted: Iterable[Schedule],
    follow_ups: Sequence[Schedule],
    timezone: str,
    after: Instant,
    until: Instant,
    most: int | None,
    job: str | None,
) -> None:
    within = f"within {several((until - after) // DAY, 'day')}"
    more, later = [], []
    for schedule in wanted:
        due = schedule.trigger.next(after) if schedule.enabled else None
        if due is None:
            continue
        if due > until and schedule in follow_ups and job is None:
            later.append((due, schedule.id))
        elif due > until:
            shown = local(due, timezone_of(schedule.trigger, timezone))
            line(f"{schedule.id}: none {within}; the next is {shown}   {to_iso(due)}")
            line()
        elif most is not None and (rest := schedule.trigger.count(after, until) - most) > 0:
            more.append(f"{rest:,} more of {schedule.id}")
    if later:
        due, first = min(later)
        line(f"and {several(len(later), 'follow-up')} later; the next is {first} at {to_iso(due)}")
        line()
    if more:
        line(f"and {', '.join(more)} {within}; see --job, --days and --count")
        line()


def _print_in_words(wanted: Iterable[Schedule], follow_ups: Sequence[Schedule]) -> None:
    for schedule in wanted:
        if schedule.enabled:
            kind = " (a follow-up: it closes itself after its slot)" if schedule in follow_ups else ""
            line(f"{schedule.id}: {schedule.trigger.describe()}{kind}")


def _silent(wanted: Iterable[Schedule], after: Instant) -> Iterator[str]:
    """The schedules that have no slot at all, and why."""
    for schedule in wanted:
        if not schedule.enabled:
            yield f"{schedule.id} is switched off (enabled: false): it has no slots"
        elif schedule.trigger.next(after) is None:
            yield f"{schedule.id} has no slot any more, it is over: {schedule.trigger.describe()}"


def _overdue(follow_ups: Iterable[Schedule]) -> Iterator[str]:
    for schedule in follow_ups:
        yield f"{schedule.id}, a follow-up, is due: {schedule.trigger.describe()}; a running service carries it out"


def _paused(wanted: Iterable[Schedule], pauses: Iterable[PauseRow], timezone: str) -> Iterator[str]:
    ids = {schedule.id for schedule in wanted}
    for pause in pauses:
        if pause.scope == EVERYTHING:
            yield of_pause(pause, timezone)
        elif pause.scope in ids:
            yield f"{pause.scope}: {of_pause(pause, timezone)}"


def _kept(settings: Settings, now: Instant) -> Kept:
    """As far as the ledger can be read."""
    if not DataDirectory(settings.service.data_dir).ledger.exists():
        return Kept([], [])
    try:
        return look(settings, partial(_look, now=now))
    except SchedulerServiceError as error:
        line(f"Whether something is paused or to be followed up is not known: {error}", err=True)
        return Kept([], [])


def _look(conn: Connection, now: Instant) -> Kept:
    rows = [row for row in open_schedules(conn).values() if row.origin is ScheduleOrigin.FOLLOW_UP]
    return Kept(pauses_at(conn, now), rows)


def _restored(rows: Iterable[ScheduleRow], calendars: Calendars) -> Iterator[Schedule]:
    for row in rows:
        if (schedule := restore(row.id, row.definition, calendars)) is not None:
            yield schedule
        else:
            line(f"{row.id}, a follow-up, cannot be read: another version wrote it", err=True)


def slots(schedules: Iterable[Schedule], timezone: str, after: Instant, until: Instant) -> Iterator[Slot]:
    """The slots of all enabled schedules in ``(after, until]``, in their order; found one by one."""
    return heapq.merge(*(_slots(schedule, timezone, after, until) for schedule in schedules if schedule.enabled))


def _slots(schedule: Schedule, timezone: str, after: Instant, until: Instant) -> Iterator[Slot]:
    own = timezone_of(schedule.trigger, timezone)
    due = schedule.trigger.next(after)
    while due is not None and due <= until:
        yield Slot(due, schedule.id, own, schedule.trigger)
        due = schedule.trigger.next(due)
