"""The single questions behind ``why``, each with its answer and the setting that it rests on. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scheduler_service.clock import BUILT_AT
from scheduler_service.failure_memory import pause_of
from scheduler_service.marks import marks
from scheduler_service.models import Reason, TaskState
from scheduler_service.processors.base import is_fresh
from scheduler_service.settings.units import format_duration
from scheduler_service.triggers import timezone_of
from scheduler_service.wording import (
    fresh_until,
    moment,
    no_slot,
    of_doubt,
    of_obstacle,
    of_pause,
    of_state,
    of_task,
    outcome,
    several,
    together,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler_service.clock import Instant
    from scheduler_service.evidence import Evidence, ScheduleEvidence, SourceEvidence
    from scheduler_service.settings.loaded import Schedule, Settings
    from scheduler_service.stores.history import TaskRow


class Finding(NamedTuple):
    """One answer, and the setting it rests on (``schedules[news].trigger``; empty: no setting)."""

    about: str
    said: str
    path: str = ""
    decides: bool = False


class Case:
    """One schedule under one question."""

    def __init__(self, evidence: Evidence, known: ScheduleEvidence, settings: Settings) -> None:
        self.question = evidence.question
        self.known = known
        self.settings = settings
        self.service = evidence.service
        self.has_run = evidence.has_run
        self.at = evidence.question.instant
        self.sources = evidence.sources_of(known.domain)
        self.asked = [source for source in self.sources if source.off is None]
        self.path = f"schedules[{known.id}]"
        default = settings.service.timezone
        self.zone = default if known.schedule is None else timezone_of(known.schedule.trigger, default)

    def when(self, instant: Instant) -> str:
        return moment(instant, self.zone)

    @property
    def wanted(self) -> Schedule | None:
        """The schedule, where it has slots to come."""
        schedule = self.known.schedule
        return schedule if schedule is not None and schedule.enabled and not self.known.is_over else None

    @property
    def subject(self) -> str:
        return self.question.symbol or f"{self.known.domain} of its symbols"


def clock(case: Case) -> Iterator[Finding]:
    now = case.question.now
    if now < BUILT_AT:
        said = f"the clock shows {case.when(now)}, before this program was made: nothing is planned until it is right"
        yield Finding("clock", said, decides=True)


def enabled(case: Case) -> Finding:
    known, path = case.known, f"{case.path}.enabled"
    if known.is_over:
        closed = None if known.known is None else known.known.closed_at
        since = f" since {case.when(closed)}" if closed is not None else "; the service takes note at its next reload"
        return Finding("enabled", f"it is not in the configuration{since}", "schedules", decides=True)
    if known.schedule is not None and not known.schedule.enabled:
        return Finding("enabled", "it is switched off (enabled: false): it has no slots", path, decides=True)
    return Finding("enabled", "yes" if known.configured else "yes, as a follow-up", path)


def configuration(case: Case) -> Iterator[Finding]:
    """Where the file says something that the service has not read yet."""
    if case.has_run and case.known.known is None and case.wanted is not None:
        said = "no service has run with this schedule yet; a running one takes it up with `scheduler-service reload`"
        yield Finding("configuration", said, case.path, decides=case.service is not None)
    elif case.known.differs:
        said = "it has changed since a service last read it; until a start or a reload the former trigger holds"
        yield Finding("configuration", said, f"{case.path}.trigger")


def sources_on(case: Case) -> Finding:
    path = f"domains.{case.known.domain}"
    if case.asked:
        return Finding("sources", ", ".join(source.source for source in case.asked), f"{path}.sources")
    off = "; ".join(f"{s.source}: {s.off}" for s in case.sources) or "the domain is not configured"
    return Finding("sources", f"no source of {case.known.domain} is on: {off}", path, decides=True)


def symbols(case: Case) -> Iterator[Finding]:
    symbol, schedule = case.question.symbol, case.known.schedule
    if symbol is None or schedule is None:
        return
    watched = next((s for s in case.settings.watchlist if s.symbol == symbol), None)
    if watched is None:
        yield Finding("symbols", f"{symbol} is not on the watchlist", "watchlist", decides=True)
    elif not schedule.selects(watched):
        said = f"{symbol} is watched, but not among the symbols of {schedule.id}"
        yield Finding("symbols", said, f"{case.path}.symbols", decides=True)
    elif schedule.stalest is not None:
        said = f"{symbol} is watched; of its symbols a slot is for the {schedule.stalest} looked at longest ago"
        yield Finding("symbols", said, f"{case.path}.symbols.stalest")
    else:
        yield Finding("symbols", f"{symbol} is watched, and among the symbols of {schedule.id}", f"watchlist[{symbol}]")


def paused(case: Case) -> Finding:
    pause = case.known.pause
    if pause is None:
        return Finding("paused", "no")
    if pause.end is not None and pause.end <= case.at:
        return Finding("paused", f"no longer then: {of_pause(pause, case.zone)}")
    return Finding("paused", of_pause(pause, case.zone), decides=True)


def service(case: Case) -> Finding:
    if case.service is not None:
        return Finding("service", case.service.said, decides=case.service.hinders and case.question.at is None)
    said = "no service runs: nothing is fetched by schedule until it is started (scheduler-service run)"
    return Finding("service", said, "service.data_dir", decides=case.question.at is None)


def overdue(case: Case) -> Iterator[Finding]:
    known, schedule = case.known.known, case.wanted
    if known is None or schedule is None or case.known.differs:
        return
    count = schedule.trigger.count(known.row.cursor, case.at) if known.row.cursor < case.at else 0
    first = schedule.trigger.next(known.row.cursor)
    if count and first is not None:
        policy = f"catch_up: {schedule.catch_up}, within {format_duration(schedule.catch_up_window)}"
        said = f"{several(count, 'slot')} since {case.when(first)} are to be accounted for yet ({policy})"
        yield Finding("due", said, f"{case.path}.catch_up", decides=True)


def in_hand(case: Case) -> Iterator[Finding]:
    if case.question.symbol is None:
        if case.known.open_tasks:
            said = ", ".join(f"{count} {state}" for state, count in sorted(case.known.open_tasks.items()))
            yield Finding("under way", f"tasks of it: {said}", decides=True)
        return
    under_way = [(s, s.newest) for s in case.asked if s.newest is not None and not s.newest.state.ended]
    if under_way:
        said = together((s.source, of_task(task, case.zone) + _whose(case, task)) for s, task in under_way)
        yield Finding("under way", f"{case.question.symbol}: {said}", _waited_for(case, under_way), decides=True)


def _whose(case: Case, task: TaskRow) -> str:
    """A stock may be fetched for another schedule, or for none."""
    if task.schedule_id == case.known.id:
        return ""
    return f", for {task.schedule_id or f'the {task.origin} fetch'}"


def _waited_for(case: Case, under_way: list[tuple[SourceEvidence, TaskRow]]) -> str:
    held = next((source for source, task in under_way if task.held_reason not in (None, Reason.PAUSED)), None)
    if held is not None:
        return f"providers.{held.provider}"
    waiting = [task for _, task in under_way if task.state is TaskState.QUEUED and task.not_before > case.at]
    spread = next((task.schedule_id for task in waiting if task.schedule_id is not None), None)
    return "" if spread is None else f"schedules[{spread}].spread"


def obstacles(case: Case) -> Iterator[Finding]:
    """It decides only where nobody is left to ask."""
    held = [source for source in case.asked if source.obstacle is not None]
    for source in held:
        if source.obstacle is not None:
            said, path = of_obstacle(source.obstacle, source.provider, case.zone)
            yield Finding(f"gate of {source.provider}", said, path, decides=len(held) == len(case.asked))


def left_alone(case: Case) -> Iterator[Finding]:
    """It decides only where nobody is left to ask."""
    paused = [(s, pause) for s in case.asked if (pause := pause_of(s.state, s.fresh_for, case.at)) is not None]
    if paused:
        symbol, first = case.question.symbol, paused[0][0]
        said = together((source.source, pause.in_words()) for source, pause in paused)
        how = f"let go with `scheduler-service release {symbol} {case.known.domain}`"
        yield Finding("failures", f"{symbol}: {said}; {how}", first.place, decides=len(paused) == len(case.asked))


def failed(case: Case) -> Iterator[Finding]:
    for source in case.asked:
        task = source.newest
        if task is not None and task.state is TaskState.FAILED:
            said = f"the last fetch of {task.symbol} from {source.source} {of_task(task, case.zone)}"
            upcoming = _upcoming(case)
            yield Finding("last error", f"{said}; {upcoming}" if upcoming else said, source.place, decides=True)


def doubtful(case: Case) -> Iterator[Finding]:
    for source in case.asked:
        if source.doubtful is not None:
            said = f"{case.question.symbol}, {source.source}: {of_doubt(source.doubtful, case.zone)}"
            yield Finding("doubtful", said, source.place)


def fresh(case: Case, *, decides: bool) -> Iterator[Finding]:
    """Whether a slot at the instant would find the sources fresh: those that are asked whatever the others say."""
    required = [source for source in case.asked if not source.only_when_missing]
    if case.question.symbol is None or not required:
        return
    is_found_fresh = [is_fresh(s.state, case.at, s.fresh_for, case.question.now, s.ageing) for s in required]
    said = together(
        (s.source, fresh_until(s.state, s.fresh_for, case.at, case.question.now, case.zone, s.ageing)) for s in required
    )
    settled = decides and all(is_found_fresh)
    told = f"its tasks will be skipped (fresh): {said}" if settled else said
    yield Finding("fresh", told, f"{required[0].place}.fresh_for", decides=settled)


def next_slot(case: Case) -> Finding:
    path = f"{case.path}.trigger"
    before = case.known.before
    last = "" if before is None else f"the last slot, {case.when(before.row.until_at)}: {outcome(before)}; "
    return Finding("due", f"nothing is due now; {last}{_upcoming(case) or 'no slot is to come'}", path, decides=True)


def _upcoming(case: Case) -> str:
    due = None if case.wanted is None else case.wanted.trigger.next(case.at)
    return "" if due is None else f"the next slot is {case.when(due)}"


def due_then(case: Case) -> Iterator[Finding]:
    if case.wanted is None:
        return
    trigger = case.wanted.trigger
    if trigger.last(case.at - 1, case.at) is None:
        yield no_slot_then(case, case.wanted, "due")
        return
    yield Finding("due", f"yes: {trigger.describe()}{noted(case, case.wanted)}", f"{case.path}.trigger")


def noted(case: Case, schedule: Schedule) -> str:
    """What is special about the slot of that instant."""
    return "".join(f"; {mark}" for mark in marks(schedule.trigger, case.at, case.zone))


def no_slot_then(case: Case, schedule: Schedule, about: str) -> Finding:
    said, setting = no_slot(schedule.trigger, case.at, case.zone)
    return Finding(about, said, f"{case.path}.{setting}", decides=True)


def of_source(evidence: Evidence, source: SourceEvidence, zone: str) -> Iterator[Finding]:
    question, provider = evidence.question, f"providers.{source.provider}"
    if source.off is not None:
        yield Finding("in use", f"no: {source.off}", source.place if source.off.startswith("switched") else provider)
        return
    when = " only while no better source has anything fresh" if source.only_when_missing else ""
    yield Finding("in use", f"yes{when}", f"{source.place}.when" if when else source.place)
    if question.symbol is not None:
        said = of_state(source.state, source.fresh_for, question.instant, question.now, zone, source.ageing)
        yield Finding("fresh", said, f"{source.place}.fresh_for")
        pause = pause_of(source.state, source.fresh_for, question.instant)
        if pause is not None:
            yield Finding("failures", pause.in_words(), source.place)
        if source.doubtful is not None:
            yield Finding("doubtful", of_doubt(source.doubtful, zone), source.place)
        if source.newest is not None:
            yield Finding("last task", f"task {source.newest.id}: {of_task(source.newest, zone)}")
    if source.obstacle is None:
        yield Finding("gate", f"{source.provider} can be asked", provider)
    else:
        said, path = of_obstacle(source.obstacle, source.provider, zone)
        yield Finding("gate", said, path)
