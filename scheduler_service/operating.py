"""What a person has the running service do: one object for the web, each operation in a module of its own."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from scheduler_service.backing_up import follow_backup
from scheduler_service.cancelling import cancel
from scheduler_service.fetching import check_request, follow, make_retry, make_run, of_schedule
from scheduler_service.pausing import pause, resume
from scheduler_service.releasing import release
from scheduler_service.trying import try_provider

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from scheduler_service.backup_scheduler import BackupScheduler
    from scheduler_service.engine import Engine
    from scheduler_service.events.event_bus import EventBus
    from scheduler_service.pruning import Pruner
    from scheduler_service.stores.schedule_store import RunRow
    from scheduler_service.web import views


class Operations:
    """Of one running service. ``problem``: why nothing works on tasks any more."""

    def __init__(
        self,
        engine: Engine,
        bus: EventBus,
        backups: BackupScheduler,
        pruner: Pruner,
        problem: Callable[[], str | None],
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._backups = backups
        self._pruner = pruner
        self._problem = problem

    async def fetch(self, request: views.FetchRequest) -> AsyncGenerator[views.TaskReport, None]:
        check_request(request, self._engine.processors)
        async with aclosing(self._follow(await make_run(self._engine, request))) as reports:
            async for report in reports:
                yield report

    async def run_now(self, request: views.RunNowRequest) -> AsyncGenerator[views.TaskReport, None]:
        async with aclosing(self.fetch(of_schedule(self._engine, request))) as reports:
            async for report in reports:
                yield report

    async def retry(self, request: views.RetryRequest) -> AsyncGenerator[views.TaskReport, None]:
        async with aclosing(self._follow(await make_retry(self._engine, request))) as reports:
            async for report in reports:
                yield report

    async def cancel(self, request: views.CancelRequest) -> views.CancelReport:
        return await cancel(self._engine, request)

    async def pause(self, request: views.PauseRequest) -> views.PauseReport:
        return await pause(self._engine, request)

    async def resume(self, request: views.ResumeRequest) -> views.PauseReport:
        return await resume(self._engine, request)

    async def release(self, request: views.ReleaseRequest) -> views.ReleaseReport:
        return await release(self._engine, request)

    async def try_provider(self, request: views.TryRequest) -> views.TryReport:
        return await try_provider(self._engine, request)

    def backup(self, request: views.BackupRequest) -> AsyncGenerator[views.BackupReport, None]:
        return follow_backup(self._backups, request)

    async def prune(self) -> views.PruneReport:
        return await self._pruner.prune()

    def _follow(self, run: RunRow) -> AsyncGenerator[views.TaskReport, None]:
        return follow(self._engine, self._bus, run, self._problem)
