"""``history``: what happened, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from scheduler_service.cli.configuration import perhaps, read_symbol
from scheduler_service.cli.figures import UNKNOWN, several
from scheduler_service.cli.ledger import look, settings_to_look
from scheduler_service.cli.terminal import line, print_json, table
from scheduler_service.clock import SystemClock, to_datetime, to_iso_seconds
from scheduler_service.models import SlotOutcome, TaskState
from scheduler_service.settings.units import parse_duration
from scheduler_service.stores.call_store import Use
from scheduler_service.stores.history import recent_runs, recent_slots, recent_tasks
from scheduler_service.stores.traces import calls_of_tasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scheduler_service.clock import Clock, Instant
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.history import TaskRow
    from scheduler_service.stores.schedule_store import RunRow, SlotRow
    from scheduler_service.stores.traces import CallTrace

MOST = 1_000
"""Of each kind."""
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the history is asked for. ``status`` is a task's state or a slot's outcome."""

    since: Instant
    job: str | None = None
    symbol: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """Each newest first. Slots and runs are of no one symbol: with a symbol there are tasks alone."""

    slots: Sequence[tuple[str, SlotRow]]
    runs: Sequence[RunRow]
    tasks: Sequence[TaskRow]
    calls: Mapping[int, Sequence[CallTrace]]
    """By task: those that it asked for, joined, or was served the kept answers of."""


def history(
    paths: Sequence[Path],
    *,
    job: str | None,
    symbol: str | None,
    status: str | None,
    last: str,
    as_json: bool,
    clock: Clock | None = None,
) -> int:
    """0, also where nothing happened."""
    settings = settings_to_look(paths)
    now = (clock or SystemClock()).now()
    since = now - read_duration(last)
    wanted = Wanted(since, job, None if symbol is None else read_symbol(symbol), status)
    happened = look(settings, partial(_read, wanted=wanted))
    if as_json:
        print_json(_as_json(happened))
        return 0
    if not (happened.slots or happened.runs or happened.tasks):
        known = {schedule.id for schedule in settings.schedules}
        unknown = f"; there is no schedule {job} now{perhaps(job, known)}" if job and job not in known else ""
        line(f"nothing of this happened since {to_iso_seconds(since)}{unknown}", err=True)
    _print(happened, settings.service.timezone, now)
    return 0


def read_duration(last: str) -> int:
    try:
        return parse_duration(last)
    except ValueError as error:
        raise click.UsageError(f"--last {error}") from None


def _read(conn: Connection, wanted: Wanted) -> Happened:
    state = TaskState(wanted.status) if wanted.status in set(TaskState) else None
    outcome = SlotOutcome(wanted.status) if wanted.status in set(SlotOutcome) else None
    tasks = recent_tasks(conn, wanted.since, schedule_id=wanted.job, symbol=wanted.symbol, state=state, limit=MOST)
    runs = recent_runs(conn, wanted.since, schedule_id=wanted.job, limit=MOST)
    slots = recent_slots(conn, wanted.since, schedule_id=wanted.job, outcome=outcome, limit=MOST)
    anything = wanted.status is None
    return Happened(
        slots=sorted(slots, key=_newest_slot) if (anything or outcome is not None) and wanted.symbol is None else [],
        runs=sorted((r for r in runs if anything or _has(r, state)), key=_newest_run) if wanted.symbol is None else [],
        tasks=tasks if anything or state is not None else [],
        calls=calls_of_tasks(conn, [task.id for task in tasks]),
    )


def _newest_slot(recorded: tuple[str, SlotRow]) -> tuple[Instant, str]:
    schedule_id, slot = recorded
    return -slot.due_at, schedule_id


def _newest_run(run: RunRow) -> tuple[Instant, str, int]:
    return -run.due_at, run.schedule_id or run.origin, run.id


def _has(run: RunRow, state: TaskState | None) -> bool:
    """Whether some task of the run is in this state."""
    counts = {TaskState.COMPLETED: run.completed, TaskState.SKIPPED: run.skipped, TaskState.FAILED: run.failed}
    return state is not None and counts.get(state, run.open_tasks) > 0


def _iso(instant: Instant | None) -> str | None:
    return None if instant is None else to_iso_seconds(instant)


def _as_json(happened: Happened) -> dict[str, object]:
    return {
        "slots": [
            {
                "schedule_id": schedule_id,
                "due_at": _iso(slot.due_at),
                "until": _iso(slot.until_at),
                "slots": slot.slots,
                "outcome": slot.outcome,
                "reason": slot.reason,
            }
            for schedule_id, slot in happened.slots
        ],
        "runs": [
            {
                "run_id": run.id,
                "origin": run.origin,
                "schedule_id": run.schedule_id,
                "domain": run.domain,
                "due_at": _iso(run.due_at),
                "force": run.force,
                "open": run.open_tasks,
                "completed": run.completed,
                "unchanged": run.unchanged,
                "skipped": run.skipped,
                "failed": run.failed,
                "created_at": _iso(run.created_at),
                "closed_at": _iso(run.closed_at),
            }
            for run in happened.runs
        ],
        "tasks": [
            {
                "task_id": task.id,
                "run_id": task.run_id,
                "schedule_id": task.schedule_id,
                "origin": task.origin,
                "domain": task.domain,
                "symbol": task.symbol,
                "source": task.source,
                "state": task.state,
                "reason": task.reason,
                "message": task.message,
                "unchanged": task.unchanged,
                "attempt": task.attempt,
                "due_at": _iso(task.due_at),
                "started_at": _iso(task.started_at),
                "ended_at": _iso(task.ended_at),
                "calls": [_call(call) for call in happened.calls.get(task.id, ())],
            }
            for task in happened.tasks
        ],
    }


def _call(call: CallTrace) -> dict[str, object]:
    return {
        "call_id": call.id,
        "provider": call.provider,
        "resource": call.resource,
        "how": call.how,
        "state": call.state,
        "cost_usd": call.usd_micros / 1e6,
    }


def _print(happened: Happened, timezone: str, now: Instant) -> None:
    shown = partial(_shown, timezone=timezone, now=now)
    if happened.slots:
        table(
            f"Slots ({timezone})",
            ["due", "schedule", "outcome", "slots"],
            [
                (shown(slot.due_at), schedule_id, _with(slot.outcome, slot.reason), slot.slots)
                for schedule_id, slot in happened.slots[:SHOWN]
            ],
            numbers=("slots",),
            long=("schedule", "outcome"),
        )
        _more(len(happened.slots))
    if happened.runs:
        table(
            f"Runs ({timezone})",
            ["run", "due", "of", "domain", "tasks"],
            [
                (run.id, shown(run.due_at), run.schedule_id or run.origin.replace("_", "-"), run.domain, _counts(run))
                for run in happened.runs[:SHOWN]
            ],
            numbers=("run",),
            long=("of", "tasks"),
        )
        _more(len(happened.runs))
    if happened.tasks:
        table(
            f"Tasks ({timezone})",
            ["task", "ended", "what", "state"],
            [
                (
                    task.id,
                    shown(task.ended_at),
                    f"{task.symbol} {task.domain} {task.source}",
                    _told(task, happened),
                )
                for task in happened.tasks[:SHOWN]
            ],
            numbers=("task",),
            long=("what", "state"),
        )
        _more(len(happened.tasks))


def _shown(instant: Instant | None, timezone: str, now: Instant) -> str:
    """``2026-11-23 09:30:00 EST``."""
    if instant is None:
        return UNKNOWN
    said = f"{to_datetime(instant).astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M:%S %Z}"
    return f"{said} (a wrong clock)" if instant > now else said


def _more(count: int) -> None:
    if count > SHOWN:
        many = f"{MOST:,} or more" if count >= MOST else several(count, "row")
        line(f"the newest {SHOWN} of {many}; --job, --symbol, --status and --last narrow it down, --json has more")


def _with(state: str, reason: str | None) -> str:
    return f"{state} ({reason})" if reason else state


def _counts(run: RunRow) -> str:
    counts = {
        "open": run.open_tasks,
        "updated": run.completed - run.unchanged,
        "unchanged": run.unchanged,
        "skipped": run.skipped,
        "failed": run.failed,
    }
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "none"


def _told(task: TaskRow, happened: Happened) -> str:
    """What became of it, and whose calls served it."""
    calls = happened.calls.get(task.id, ())
    joined = ", ".join(str(call.id) for call in calls if call.how is Use.JOINED)
    return _said(task) + (f"; joined call {joined}" if joined else "")


def _said(task: TaskRow) -> str:
    if task.state is TaskState.COMPLETED:
        return "completed, nothing new" if task.unchanged else "completed"
    said = _with(task.state, task.reason)
    return f"{said}: {task.message}" if task.message and task.state.ended else said
