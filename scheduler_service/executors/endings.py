"""How a task ends, or waits, where it is not simply done. Pure, but for the fault in the program that is logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

from scheduler_service.clock import MINUTE
from scheduler_service.errors import InLine
from scheduler_service.models import A_PERSONS, Outcome, Reason, TaskState

if TYPE_CHECKING:
    from scheduler_service.clock import Instant
    from scheduler_service.errors import Held
    from scheduler_service.models import Task

LONGEST_WAIT_OF_A_PERSON = MINUTE
CANCELLED = Outcome(TaskState.SKIPPED, Reason.CANCELLED, "a person did not want it any more")


def outlasts(held: Held, task: Task, now: Instant) -> bool:
    """Whether the gate opens too late for it. A person waits so long as was asked for, but in line one more minute at
    a time: it goes on there.
    """
    if task.origin not in A_PERSONS:
        return task.expires_at is not None and held.until >= task.expires_at
    if isinstance(held, InLine) or task.expires_at is None:
        return held.until > now + LONGEST_WAIT_OF_A_PERSON
    return max(held.until, now + 1) > task.expires_at


def outlived(task: Task, now: Instant) -> Outcome | None:
    """Of one that its gate held until its schedule's next slot."""
    if task.held_reason is None or task.origin in A_PERSONS or task.expires_at is None or now < task.expires_at:
        return None
    return Outcome(TaskState.SKIPPED, task.held_reason, "its gate stayed shut until the schedule's next slot")


def crashed(error: BaseException, before: Outcome | None = None) -> Outcome:
    """What a fault in the program makes of a task. ``before``: whose calls were paid for all the same."""
    logger.opt(exception=error).bind(event="task.crashed").error("a fault in the program, please report it")
    calls, as_of = ((), 0) if before is None else (before.calls, before.as_of)
    message = f"{type(error).__name__}: {error}"
    return Outcome(TaskState.FAILED, Reason.INTERNAL_ERROR, message, calls=calls, as_of=as_of)
