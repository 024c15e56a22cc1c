"""A person's fetch: tasks run now, with a report of each, in the running service or in a process of its own."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from scheduler_service.clock import MILLISECOND, SystemClock, to_iso_seconds
from scheduler_service.engine import Engine
from scheduler_service.errors import ConfigurationError, Problem, SchedulerServiceError
from scheduler_service.events.event_bus import EventBus
from scheduler_service.events.event_handler import connect, write_to_log
from scheduler_service.initialisation import OwnedTasks
from scheduler_service.models import RunOrigin, TaskState
from scheduler_service.settings.explain import did_you_mean
from scheduler_service.stores import history
from scheduler_service.web.views import FetchRequest, TaskReport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from scheduler_service.calls import Transport
    from scheduler_service.clock import Clock
    from scheduler_service.processors.base import Processor
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.history import TaskRow
    from scheduler_service.stores.schedule_store import RunRow
    from scheduler_service.web.views import RetryRequest, RunNowRequest

LOOK_EVERY = 1.0
SECONDS_TO_END = 3.0
MOST_TASKS = 100_000


def check_request(request: FetchRequest, processors: Mapping[str, Processor[Any]]) -> None:
    """Raises ``ConfigurationError`` for a domain or source that is not fetched here."""
    processor = processors.get(request.domain)
    if processor is None:
        known = ", ".join(processors) or "none"
        raise ConfigurationError([Problem("", request.domain, "no such domain is configured", f"there are: {known}")])
    if request.source is not None and request.source not in processor.policies:
        known = ", ".join(processor.policies)
        raise ConfigurationError(
            [Problem("", f"{request.domain} from {request.source}", "no such source", f"there are: {known}")]
        )


async def make_run(engine: Engine, request: FetchRequest) -> RunRow:
    """The run of a person's request, its tasks queued. Forced, what is asked only when missing must be named.

    Raises ``ConfigurationError`` where it is to be asked by force and not at all.
    """
    if request.force and request.reparse:
        raise ConfigurationError([Problem("", request.domain, "kept answers are parsed anew, or asked for, not both")])
    policies = engine.processors[request.domain].policies.values()
    wanted = [policy.name for policy in policies if not (request.force and policy.only_when_missing)]
    sources = [request.source] if request.source else wanted
    origin = RunOrigin.REPARSE if request.reparse else RunOrigin.MANUAL
    wait = request.wait_ms * MILLISECOND
    fetch = partial(engine.dispatcher.fetch, request.domain, request.symbols, sources)
    return await fetch(force=request.force, origin=origin, wait=wait)


def of_schedule(engine: Engine, request: RunNowRequest) -> FetchRequest:
    """The fetch that a schedule's slot would lead to now. Raises ``ConfigurationError`` for one that is not known, and
    for symbols that it does not cover.
    """
    schedule = engine.dispatcher.everything.get(request.schedule_id)
    if schedule is None:
        known = did_you_mean(request.schedule_id, engine.dispatcher.everything)
        raise ConfigurationError([Problem("", request.schedule_id, "no such schedule is in force", known)])
    covered = sorted(symbol.symbol for symbol in engine.dispatcher.watchlist.values() if schedule.selects(symbol))
    if others := sorted(set(request.symbols) - set(covered)):
        right = f"to fetch it all the same: scheduler-service fetch {schedule.domain} {others[0]}"
        raise ConfigurationError([Problem("", others[0], f"{schedule.id} does not cover it", right)])
    symbols = request.symbols or tuple(covered)
    return FetchRequest(domain=schedule.domain, symbols=symbols, force=request.force, wait_ms=request.wait_ms)


async def make_retry(engine: Engine, request: RetryRequest) -> RunRow:
    """The run of a task that is tried again, by force: what held it back after its failure does not count. Raises
    ``ConfigurationError`` where there is nothing to try again.
    """
    before = await find_task(engine, request.task_id)
    name = f"task {before.id}"
    if not before.state.ended:
        raise ConfigurationError([Problem("", name, f"it has not ended: it is {before.state}", "cancel it first")])
    if before.state is TaskState.COMPLETED:
        again = f"scheduler-service fetch {before.domain} {before.symbol} --source {before.source} --force"
        raise ConfigurationError([Problem("", name, "it was completed", f"to ask once more: {again}")])
    check_request(FetchRequest(domain=before.domain, symbols=(), source=before.source), engine.processors)
    retry = partial(engine.dispatcher.fetch, before.domain, [before.symbol], [before.source], origin=RunOrigin.RETRY)
    return await retry(force=True, wait=request.wait_ms * MILLISECOND, retry_of=before.id)


async def find_task(engine: Engine, task_id: int) -> TaskRow:
    """Raises ``ConfigurationError`` where there is none."""
    row = await engine.ledger.read(partial(history.find_task, task_id=task_id))
    if row is None:
        right = "history lists the newest; what is older than retention.history is gone"
        raise ConfigurationError([Problem("", f"task {task_id}", "there is no such task", right)])
    return row


async def follow(
    engine: Engine, bus: EventBus, run: RunRow, problem: Callable[[], str | None]
) -> AsyncGenerator[TaskReport, None]:
    """Reports a run's tasks until the last has ended. Raises ``SchedulerServiceError`` when nothing works on them
    any more.
    """
    stirred = asyncio.Event()
    unsubscribe = bus.subscribe("task.*", lambda event: stirred.set())
    shown: dict[int, TaskReport] = {}
    try:
        while True:
            stirred.clear()
            rows = await engine.ledger.read(
                partial(history.recent_tasks, since=run.created_at, run_id=run.id, limit=MOST_TASKS)
            )
            for row in reversed(rows):
                report = _report(row, len(rows))
                if shown.get(row.id) != report:
                    shown[row.id] = report
                    yield report
            if all(row.state.ended for row in rows):
                return
            if died := problem():
                raise SchedulerServiceError(died)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await stirred.wait()
    finally:
        unsubscribe()


async def fetch_once(
    settings: Settings, request: FetchRequest, *, clock: Clock | None = None, transport: Transport | None = None
) -> AsyncGenerator[TaskReport, None]:
    """The same in a process of its own: recovers and publishes, but plans no slots and runs no other tasks.

    Raises ``AlreadyRunning`` while the service holds the data directory.
    """
    bus = EventBus()
    engine = Engine(settings, clock or SystemClock(), bus.publish, transport)
    disconnect = connect(bus, log=write_to_log, works_again=engine.waker.works_again)
    check_request(request, engine.processors)
    deaths: list[str] = []
    owned = OwnedTasks(deaths.append)
    try:
        engine.directory.take()
        await engine.open_ledger()
        owned.start("ledger writer", engine.ledger.write_forever())
        await engine.open_gates()
        await engine.recover()
        run = await make_run(engine, request)
        engine.start_workers(owned, run.id)
        async with aclosing(follow(engine, bus, run, lambda: deaths[0] if deaths else None)) as reports:
            async for report in reports:
                yield report
    finally:
        owned.stopping()
        await engine.stop_workers(owned, SECONDS_TO_END)
        await owned.cancel()
        await engine.close()
        disconnect()


def _report(row: TaskRow, of: int) -> TaskReport:
    took = None
    if row.started_at is not None and row.ended_at is not None:
        took = round((row.ended_at - row.started_at) / 1000)
    message = row.message if row.state.ended else None
    if row.state is TaskState.QUEUED and row.held_reason is not None:
        until = to_iso_seconds(row.not_before)
        message = f"waits until {until} ({row.held_reason})"
        if row.message:
            message += f": {row.message}"
    return TaskReport(
        task_id=row.id,
        domain=row.domain,
        symbol=row.symbol,
        source=row.source,
        state=row.state,
        of=of,
        reason=row.reason,
        message=message,
        unchanged=row.unchanged,
        duration_ms=took,
    )
