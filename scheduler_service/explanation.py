"""Why: from what is known to the answer, and the setting that decided. Pure.

The findings about a schedule are in the order in which they would have been asked; the first that decides is the
answer. For the past that is what the ledger recorded; for now what keeps it from being fetched, or what it waits for;
for the future what would become of the slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler_service.findings import (
    Case,
    Finding,
    clock,
    configuration,
    doubtful,
    due_then,
    enabled,
    failed,
    fresh,
    in_hand,
    left_alone,
    next_slot,
    no_slot_then,
    noted,
    obstacles,
    of_source,
    overdue,
    paused,
    service,
    sources_on,
    symbols,
)
from scheduler_service.local_time import END_OF_TIME
from scheduler_service.models import Reason, TaskState
from scheduler_service.settings.units import format_duration
from scheduler_service.wording import called, of_pause, of_run, of_slot, of_task, slot_path, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler_service.clock import Instant
    from scheduler_service.evidence import Evidence, Question, ScheduleEvidence, SourceEvidence
    from scheduler_service.settings.loaded import Settings

_NOTHING_OF_IT = ("symbols", "enabled")
"""Where that decides, a schedule has no slot for the question."""


@dataclass(frozen=True, slots=True)
class ScheduleStory:
    """What there is to say about one schedule."""

    evidence: ScheduleEvidence
    findings: tuple[Finding, ...]
    in_words: str = ""
    next_due: Instant | None = None

    @property
    def answer(self) -> Finding:
        return next((f for f in self.findings if f.decides), self.findings[-1])


@dataclass(frozen=True, slots=True)
class SourceStory:
    """What there is to say about one source, of the symbol if one was asked about."""

    evidence: SourceEvidence
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    evidence: Evidence
    answer: Finding
    schedules: tuple[ScheduleStory, ...]
    sources: tuple[SourceStory, ...]


def explain(evidence: Evidence, settings: Settings) -> Explanation:
    """The answer, and all that it rests on."""
    zone = settings.service.timezone
    question = evidence.question
    found = (_story(Case(evidence, one, settings)) for one in evidence.schedules)
    stories = tuple(sorted(found, key=lambda story: _place(story, question)))
    asked = () if question.is_past else evidence.sources  # what is known of them now says nothing of then
    sources = tuple(SourceStory(s, tuple(of_source(evidence, s, zone))) for s in asked)
    if not stories:
        said = f"no schedule fetches {question.name}; only its first fetch, and a person's, come to it"
        return Explanation(evidence, Finding("schedules", said, "schedules", decides=True), (), sources)
    first = stories[0]
    answer = first.answer._replace(said=f"{first.evidence.id}: {first.answer.said}")
    return Explanation(evidence, answer, stories, sources)


def _place(story: ScheduleStory, question: Question) -> tuple[bool, int, Instant, str]:
    """Of a domain's schedules first the one that is due, then the one that is soonest; it gives the answer."""
    known, slot = story.evidence, story.evidence.slot
    if question.at is None:
        is_due = any(finding.about in ("due", "under way") for finding in story.findings[:-1])
    elif slot is not None and slot.row.slots == 1:
        is_due = True
    else:
        schedule = known.schedule
        is_due = schedule is not None and schedule.trigger.last(question.at - 1, question.at) is not None
    weight = 2 if story.answer.about in _NOTHING_OF_IT else int(not is_due)
    if question.is_past:
        near = 0 if known.before is None else -known.before.row.until_at
    else:
        near = END_OF_TIME if story.next_due is None else story.next_due
    return known.id != question.name, weight, near, known.id


def _story(case: Case) -> ScheduleStory:
    if case.question.is_past:
        findings = tuple(_past(case))
    elif case.question.at is not None:
        findings = tuple(_until_no_slot(_future(case)))
    else:
        findings = tuple(_now(case))
    schedule = case.known.schedule
    return ScheduleStory(
        case.known,
        findings,
        in_words="" if schedule is None else schedule.trigger.describe(),
        next_due=None if case.wanted is None else case.wanted.trigger.next(max(case.at, case.question.now)),
    )


# What was


def _past(case: Case) -> Iterator[Finding]:
    known, at = case.known, case.at
    if known.slot is None:
        yield _not_recorded(case)
        yield from _slot_before(case)
        return
    said, path = of_slot(known.slot, known.stands_in, case.zone), slot_path(known.slot, case.path)
    schedule = known.schedule if known.slot.row.slots > 1 and _defined_then(case) else None
    if schedule is not None and schedule.trigger.last(at - 1, at) is None:
        yield no_slot_then(case, schedule, "slot")
        return
    if known.pause is not None and known.slot.row.reason is Reason.PAUSED:
        said = f"{said}; {of_pause(known.pause, case.zone)}"
    if known.schedule is not None and _defined_then(case):
        said += noted(case, known.schedule)
    by_task = known.run is not None and case.question.symbol is not None
    yield Finding("slot", f"the slot {case.when(at)}: {said}", path, decides=not by_task)
    if known.run is not None:
        yield Finding("run", of_run(known.run, case.zone))
    if by_task:
        yield from _tasks_then(case)
    if known.run is not None and known.run.closed_at is None:
        yield service(case)
    if known.pause is not None:
        yield Finding("pause", of_pause(known.pause, case.zone))


def _tasks_then(case: Case) -> Iterator[Finding]:
    symbol, tasks = case.question.symbol, case.known.tasks
    if not tasks:
        said = f"the slot had no task of {symbol}: it was not watched then, or not among the symbols of {case.known.id}"
        yield Finding("symbols", said, f"{case.path}.symbols", decides=True)
        return
    told = together((task.source, of_task(task, case.zone)) for task, _ in tasks)
    yield Finding("tasks", f"{symbol}, slot {case.when(case.at)}: {told}", _task_path(case), decides=True)
    for task, calls in tasks:
        if calls:
            yield Finding(f"calls of {task.source}", "; ".join(f"task {task.id}: {called(call)}" for call in calls))


def _task_path(case: Case) -> str:
    """Where a source's ``fresh_for`` decided, or its place; the first skipped one counts."""
    skipped = [task.source for task, _ in case.known.tasks if task.state is TaskState.SKIPPED]
    places = [s.place for s in case.sources if s.source in skipped]
    return f"{places[0]}.fresh_for" if places else f"{case.path}.trigger"


def _not_recorded(case: Case) -> Finding:
    """Why the ledger has no slot of that instant."""
    known, at, trigger_path = case.known, case.at, f"{case.path}.trigger"
    row = None if known.known is None else known.known.row
    if row is None or known.known is None:
        said = "nothing is recorded: no service has run with this schedule yet"
        return Finding("slot", said, case.path, decides=True)
    if known.known.closed_at is not None and at > known.known.closed_at:
        gone = "switched off" if known.configured else "out of the configuration"
        said = f"no slot: it is {gone} since {case.when(known.known.closed_at)}"
        return Finding("slot", said, f"{case.path}.enabled" if known.configured else "schedules", decides=True)
    if at <= row.effective_from:
        begins = case.when(row.effective_from)
        said = f"no slot is recorded at {case.when(at)}: in its present form it begins at {begins}"
        return Finding("slot", said, trigger_path, decides=True)
    schedule = known.schedule
    due = schedule is not None and schedule.trigger.last(at - 1, at) is not None
    if schedule is not None and not due:
        return no_slot_then(case, schedule, "slot")
    if at > row.cursor and schedule is not None:
        policy = f"catch_up: {schedule.catch_up}, within {format_duration(schedule.catch_up_window)}"
        who = "the service" if case.service is not None else "its next start, for no service runs,"
        if known.pause is not None and known.pause.since <= at:
            policy = of_pause(known.pause, case.zone)
        said = f"this slot is not accounted for yet; {who} decides on it ({policy})"
        return Finding("slot", said, f"{case.path}.catch_up", decides=True)
    said = "no slot was due when that time was accounted for; the trigger, or its calendar, was another one then"
    return Finding("slot", said, trigger_path, decides=True)


def _slot_before(case: Case) -> Iterator[Finding]:
    before = case.known.before
    if before is not None:
        newest = f"the newest recorded one before, {case.when(before.row.until_at)}: "
        yield Finding("slot before", newest + of_slot(before, None, case.zone), slot_path(before, case.path))
        if case.known.run is not None:
            yield Finding("run", of_run(case.known.run, case.zone))


def _defined_then(case: Case) -> bool:
    known = case.known.known
    return known is not None and not case.known.differs and case.at > known.row.effective_from


# What is


def _now(case: Case) -> Iterator[Finding]:
    yield from clock(case)
    yield enabled(case)
    yield from configuration(case)
    yield sources_on(case)
    yield from symbols(case)
    yield paused(case)
    yield service(case)
    yield from overdue(case)
    yield from in_hand(case)
    yield from obstacles(case)
    yield from doubtful(case)
    yield from left_alone(case)
    yield from failed(case)
    yield from fresh(case, decides=False)
    yield next_slot(case)


# What will be


def _until_no_slot(findings: Iterator[Finding]) -> Iterator[Finding]:
    """What else would hold is of no interest where nothing is due."""
    for finding in findings:
        yield finding
        if finding.about == "due" and finding.decides:
            return


def _future(case: Case) -> Iterator[Finding]:
    yield enabled(case)
    yield from due_then(case)
    yield from configuration(case)
    yield sources_on(case)
    yield from symbols(case)
    yield paused(case)
    yield from obstacles(case)
    yield from left_alone(case)
    yield from fresh(case, decides=True)
    yield service(case)
    runs = "" if case.service is not None else ", if a service runs then"
    notes = "" if case.wanted is None else noted(case, case.wanted)
    said = f"a slot is due at {case.when(case.at)}, and {case.subject} will be fetched{runs}{notes}"
    yield Finding("due", said, f"{case.path}.trigger", decides=True)
