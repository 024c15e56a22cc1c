"""A person's pause: a schedule, or all of them, left alone for a while."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from scheduler_service.clock import MILLISECOND, to_datetime, to_iso_seconds
from scheduler_service.errors import ConfigurationError, Problem
from scheduler_service.models import Event
from scheduler_service.settings.explain import did_you_mean
from scheduler_service.stores import pause_store, schedule_store
from scheduler_service.stores.pause_store import EVERYTHING
from scheduler_service.web.views import PauseReport, PauseView

if TYPE_CHECKING:
    from scheduler_service.clock import Instant
    from scheduler_service.engine import Engine
    from scheduler_service.stores.pause_store import PauseRow
    from scheduler_service.web.views import PauseRequest, ResumeRequest


async def pause(engine: Engine, request: PauseRequest) -> PauseReport:
    """Raises ``ConfigurationError`` for a schedule that this service does not know."""
    await _check(engine, request.schedule_id)
    until = None if request.for_ms is None else engine.clock.now() + request.for_ms * MILLISECOND
    scope = request.schedule_id or EVERYTHING
    before = next((row for row in await _rows(engine) if row.scope == scope), None)
    await engine.dispatcher.pause(scope, until, request.reason)
    what = "everything is" if request.schedule_id is None else f"{request.schedule_id} is"
    timezone = engine.settings.service.timezone
    end = _end(until, timezone)
    said = f"{what} paused {end}; its slots are skipped and its waiting tasks held, what runs may finish"
    if before is not None:
        said += (
            f"; before, it was paused {_end(before.until, timezone)}{f' ({before.reason})' if before.reason else ''}"
        )
    why = f": {request.reason}" if request.reason else ""
    _tell(engine, "schedule.paused", f"{what} paused {end}{why}", request.schedule_id)
    return PauseReport(message=said, pauses=await pauses(engine))


def _end(until: Instant | None, timezone: str) -> str:
    """``until 2026-12-01T06:00:00Z (Tue 01:00 EST)``."""
    if until is None:
        return "until someone resumes it"
    return f"until {to_iso_seconds(until)} ({to_datetime(until).astimezone(ZoneInfo(timezone)):%a %H:%M %Z})"


async def resume(engine: Engine, request: ResumeRequest) -> PauseReport:
    """Without a schedule, every pause ends. Raises as ``pause``."""
    paused = {row.scope for row in await _rows(engine)}
    wanted = request.schedule_id
    if wanted is None:
        for scope in sorted(paused):
            await engine.dispatcher.resume(scope)
        said = f"{_named(paused)} no longer paused" if paused else "nothing was paused"
    elif wanted in paused:
        await engine.dispatcher.resume(wanted)
        said = f"{wanted} is no longer paused by itself" if EVERYTHING in paused else f"{wanted} is no longer paused"
    else:
        await _check(engine, wanted)
        said = f"{wanted} was not paused by itself"
    if paused if wanted is None else wanted in paused:
        _tell(engine, "schedule.resumed", said, wanted)
    if wanted is not None and EVERYTHING in paused:
        said += "; everything is paused still: scheduler-service resume --all"
    return PauseReport(message=said, pauses=await pauses(engine))


async def pauses(engine: Engine) -> tuple[PauseView, ...]:
    """What is paused now, all schedules first."""
    return tuple(map(_view, await _rows(engine)))


async def _rows(engine: Engine) -> list[PauseRow]:
    return await engine.ledger.read(partial(pause_store.pauses_at, now=engine.clock.now()))


async def _check(engine: Engine, schedule_id: str | None) -> None:
    """Those of the configuration, switched off or not, and follow-ups."""
    known = {schedule.id for schedule in engine.settings.schedules}
    known |= (await engine.ledger.read(schedule_store.open_schedules)).keys()
    if schedule_id is not None and schedule_id not in known:
        of_domain = [schedule.id for schedule in engine.settings.schedules if schedule.domain == schedule_id]
        hint = f"{schedule_id} is a domain; its schedules are: {', '.join(of_domain)}" if of_domain else ""
        problem = Problem("", schedule_id, "there is no such schedule", hint or did_you_mean(schedule_id, known))
        raise ConfigurationError([problem])


def _tell(engine: Engine, name: str, message: str, schedule_id: str | None) -> None:
    engine.publish(Event(name, message, {} if schedule_id is None else {"schedule_id": schedule_id}))


def _named(scopes: set[str]) -> str:
    if EVERYTHING in scopes:
        return "everything is"
    return f"{', '.join(sorted(scopes))} {'is' if len(scopes) == 1 else 'are'}"


def _view(row: PauseRow) -> PauseView:
    return PauseView(
        schedule_id=None if row.scope == EVERYTHING else row.scope,
        since=to_iso_seconds(row.since),
        until=None if row.until is None else to_iso_seconds(row.until),
        reason=row.reason,
    )
