"""``why``: the decision about a schedule, a stock or an instant, with the setting that it rests on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from scheduler_service.cli.calendars import informed
from scheduler_service.cli.configuration import choose, perhaps, read_symbol, settings_of, source_providers
from scheduler_service.cli.ledger import look
from scheduler_service.cli.terminal import line, print_json, table
from scheduler_service.cli.times import read_time
from scheduler_service.clock import SystemClock, to_iso, to_iso_seconds
from scheduler_service.errors import NotAnswering, NotRunning, SchedulerServiceError
from scheduler_service.evidence import Question, ServiceSeen, gather, names_known
from scheduler_service.explanation import explain
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.web.client import ControlClient
from scheduler_service.wording import duration, moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scheduler_service.calendar_file import Compute
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.evidence import Evidence, TracedTask
    from scheduler_service.explanation import Explanation, ScheduleStory, SourceStory
    from scheduler_service.findings import Finding
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.traces import RecordedSlot


def why(
    paths: Sequence[Path],
    name: str,
    symbol: str | None,
    *,
    at: str | None,
    as_json: bool,
    clock: Clock | None = None,
    compute: Compute | None = None,
) -> int:
    """0, whatever the answer is. Raises ``click.UsageError`` for a name that is unknown."""
    now = (clock or SystemClock()).now()
    asked = None if symbol is None else read_symbol(symbol)
    settings = settings_of(paths)
    question = Question(name, asked, None if at is None else read_time(at, settings.service.timezone, now), now)
    settings, calendars, _ = informed(settings, question.instant, compute)
    service = asyncio.run(_service(settings))

    def unit(conn: Connection | None) -> Evidence:
        _check_not_a_symbol(conn, settings, name)
        choose("schedule or domain", name, {*names_known(conn, settings), *settings.domains})
        return gather(conn, settings, source_providers(), calendars, question, service)

    has_run = DataDirectory(settings.service.data_dir).ledger.exists()
    explanation = explain(look(settings, unit) if has_run else unit(None), settings)
    if question.symbol is not None:
        watched = {known.symbol for known in settings.watchlist}
        if question.symbol not in watched:
            line(f"{question.symbol} is not on the watchlist{perhaps(question.symbol, watched)}", err=True)
    if as_json:
        print_json(_as_json(explanation, settings))
    else:
        _print(explanation, settings)
    return 0


def _check_not_a_symbol(conn: Connection | None, settings: Settings, name: str) -> None:
    known = {*names_known(conn, settings), *settings.domains}
    watched = {symbol.symbol for symbol in settings.watchlist}
    if name not in known and name.upper() in watched:
        some = next(iter(settings.domains), "DOMAIN")
        raise click.UsageError(f"{name} is a symbol; a schedule or a domain comes first: why {some} {name.upper()}")


async def _service(settings: Settings) -> ServiceSeen | None:
    """None where none runs."""
    try:
        status = await ControlClient(settings.service.data_dir).status()
    except NotAnswering as error:
        return ServiceSeen(str(error), hinders=True)
    except NotRunning:
        return None
    except SchedulerServiceError as error:
        return ServiceSeen(f"a service runs, but does not say how it is: {error}")
    state = status.readiness.state if not status.problems else f"{status.readiness.state}, degraded"
    said = "; ".join((f"it runs: {state}", *status.problems))
    return ServiceSeen(said, hinders=status.readiness.problem is not None)


def _print(explanation: Explanation, settings: Settings) -> None:
    line(explanation.answer.said)
    if where := _where(settings, explanation.answer.path):
        line(f"  decided by {where}")
    question, timezone = explanation.evidence.question, settings.service.timezone
    if question.at is not None:
        away = question.at - question.now
        when = f"in {duration(away)}" if away > 0 else f"{duration(-away)} ago"
        line(f"  asked about {moment(question.at, timezone)}, {when}")
    line()
    for story in explanation.schedules:
        words = f": {story.in_words}" if story.in_words else ""
        _table(f"Schedule {story.evidence.id}{words}", story.findings, settings)
        if story.next_due is not None:
            line(f"next slot: {moment(story.next_due, timezone)}")
            line()
    for source in explanation.sources:
        known = source.evidence
        _table(f"{known.domain} from {known.source} ({known.provider})", source.findings, settings)


def _table(title: str, findings: Sequence[Finding], settings: Settings) -> None:
    """What decided stands below its answer: a path takes a line of its own."""
    rows: list[tuple[str, str]] = []
    for f in findings:
        rows.append((f.about, f.said))
        if where := _where(settings, f.path):
            rows.append(("", f"by {where}"))
    table(title, ["asked", "answer"], rows, long=("answer",))


def _where(settings: Settings, path: str) -> str:
    """``config/scheduler.yaml:12:5 schedules[news].trigger``; of what is not written, where it would stand."""
    default = "" if path in settings.origins else " (default)"
    return f"{settings.line_of(path)} {path}{default}" if path else ""


def _as_json(explanation: Explanation, settings: Settings) -> dict[str, object]:
    question = explanation.evidence.question
    return {
        "name": question.name,
        "symbol": question.symbol,
        "at": to_iso(question.instant),
        "now": to_iso_seconds(question.now),
        "answer": explanation.answer.said,
        "decided_by": _setting(settings, explanation.answer.path),
        "running": explanation.evidence.service is not None,
        "schedules": [_schedule(story, settings) for story in explanation.schedules],
        "sources": [_source(story, settings) for story in explanation.sources],
    }


def _setting(settings: Settings, path: str) -> dict[str, object] | None:
    """``written`` false: it has its default, and the line is of what encloses it."""
    return {"path": path, "line": settings.line_of(path), "written": path in settings.origins} if path else None


def _findings(findings: Sequence[Finding], settings: Settings) -> list[dict[str, object]]:
    return [
        {"about": f.about, "answer": f.said, "decides": f.decides, "decided_by": _setting(settings, f.path)}
        for f in findings
    ]


def _schedule(story: ScheduleStory, settings: Settings) -> dict[str, object]:
    known = story.evidence
    run, pause = known.run, known.pause
    return {
        "schedule_id": known.id,
        "domain": known.domain,
        "in_words": story.in_words,
        "answer": story.answer.said,
        "slot": _slot(known.slot),
        "slot_before": None if known.slot is not None else _slot(known.before),
        "next": None if story.next_due is None else to_iso(story.next_due),
        "run_id": None if run is None else run.id,
        "tasks": [_task(traced) for traced in known.tasks],
        "paused": None
        if pause is None
        else {
            "scope": pause.scope,
            "since": _iso(pause.since),
            "until": _iso(pause.until),
            "reason": pause.reason,
            "ended_at": _iso(pause.ended_at),
        },
        "findings": _findings(story.findings, settings),
    }


def _slot(slot: RecordedSlot | None) -> dict[str, object] | None:
    if slot is None:
        return None
    row = slot.row
    return {
        "due_at": to_iso(row.due_at),
        "until": to_iso(row.until_at),
        "slots": row.slots,
        "outcome": row.outcome,
        "reason": row.reason,
        "recorded_at": _iso(slot.recorded_at),
    }


def _task(traced: TracedTask) -> dict[str, object]:
    task = traced.task
    return {
        "task_id": task.id,
        "symbol": task.symbol,
        "source": task.source,
        "state": task.state,
        "reason": task.reason,
        "message": task.message,
        "unchanged": task.unchanged,
        "held_reason": task.held_reason,
        "ended_at": _iso(task.ended_at),
        "calls": [
            {
                "call_id": call.id,
                "provider": call.provider,
                "resource": call.resource,
                "how": call.how,
                "state": call.state,
                "status": call.status,
                "reason": call.reason,
                "cost_usd": call.usd_micros / 1e6,
                "reserved_at": _iso(call.reserved_at),
            }
            for call in traced.calls
        ],
    }


def _source(story: SourceStory, settings: Settings) -> dict[str, object]:
    known = story.evidence
    held = known.obstacle
    return {
        "domain": known.domain,
        "source": known.source,
        "provider": known.provider,
        "off": known.off,
        "checked_for": _iso(known.state.checked_for),
        "checked_at": _iso(known.state.checked_at),
        "status": known.state.status,
        "failures": known.state.failures,
        "last_task": None if known.newest is None else known.newest.id,
        "held": None if held is None else {"reason": held.reason, "until": _iso(held.until), "message": str(held)},
        "findings": _findings(story.findings, settings),
    }


def _iso(instant: Instant | None) -> str | None:
    return None if instant is None else to_iso_seconds(instant)
