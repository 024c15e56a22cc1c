"""The service as ``web`` sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from scheduler_service.web.views import (
        BackupReport,
        BackupRequest,
        CancelReport,
        CancelRequest,
        FetchRequest,
        PauseReport,
        PauseRequest,
        PruneReport,
        Readiness,
        ReleaseReport,
        ReleaseRequest,
        ReloadReport,
        ResumeRequest,
        RetryRequest,
        RunNowRequest,
        Status,
        TaskReport,
        TryReport,
        TryRequest,
    )


class Operations(Protocol):
    """What a person may have a service do while it is ready. All raise ``ConfigurationError`` for what this one does
    not know, in words; those that report as they go, before the first report.
    """

    def fetch(self, request: FetchRequest) -> AsyncGenerator[TaskReport, None]: ...

    def run_now(self, request: RunNowRequest) -> AsyncGenerator[TaskReport, None]: ...

    def retry(self, request: RetryRequest) -> AsyncGenerator[TaskReport, None]: ...

    async def cancel(self, request: CancelRequest) -> CancelReport: ...

    async def pause(self, request: PauseRequest) -> PauseReport: ...

    async def resume(self, request: ResumeRequest) -> PauseReport: ...

    async def release(self, request: ReleaseRequest) -> ReleaseReport: ...

    async def try_provider(self, request: TryRequest) -> TryReport: ...

    def backup(self, request: BackupRequest) -> AsyncGenerator[BackupReport, None]:
        """Raises ``SchedulerServiceError`` where none could be made."""

    async def prune(self) -> PruneReport: ...


class Facade(Protocol):
    """How it is, and how it is operated."""

    @property
    def operations(self) -> Operations: ...

    def readiness(self) -> Readiness: ...

    async def status(self) -> Status: ...

    async def reload(self) -> ReloadReport:
        """Reads the configuration anew; where it has changed the service starts anew after this answer."""

    def last_reload(self) -> ReloadReport | None: ...
