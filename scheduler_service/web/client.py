"""The other end of the control socket, for commands."""

from __future__ import annotations

import errno
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import aiohttp
from pydantic import TypeAdapter, ValidationError

from scheduler_service.errors import ConfigurationError, NotAnswering, NotRunning, Problem, SchedulerServiceError
from scheduler_service.models import Record
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.web.control_socket import short_path
from scheduler_service.web.views import (
    BackupReport,
    CancelReport,
    PauseReport,
    PruneReport,
    Refusal,
    ReleaseReport,
    ReloadReport,
    Status,
    TaskReport,
    TryReport,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from scheduler_service.web.views import (
        BackupRequest,
        CancelRequest,
        FetchRequest,
        PauseRequest,
        ReleaseRequest,
        ResumeRequest,
        RetryRequest,
        RunNowRequest,
        TryRequest,
    )

SECONDS_FOR_AN_ANSWER = 10.0

R = TypeVar("R", bound=Record)

_BASE = "http://localhost"
_NOBODY = (errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED)
_LINE: TypeAdapter[TaskReport | Refusal] = TypeAdapter(TaskReport | Refusal)
_BACKUP_LINE: TypeAdapter[BackupReport | Refusal] = TypeAdapter(BackupReport | Refusal)


class ControlClient:
    """Asks the service that holds a data directory. Everything raises ``NotRunning`` when there is none."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._socket = DataDirectory(data_dir).socket

    async def status(self) -> Status:
        async with self._session(SECONDS_FOR_AN_ANSWER) as session, session.get("/control/status") as response:
            await _check(response)
            return Status.model_validate_json(await response.read())

    async def reload(self) -> ReloadReport:
        """Has the configuration read anew; says at once whether a restart follows."""
        async with self._session(SECONDS_FOR_AN_ANSWER) as session, session.post("/control/reload") as response:
            await _check(response)
            return ReloadReport.model_validate_json(await response.read())

    async def last_reload(self) -> ReloadReport:
        """What became of the last reload."""
        async with self._session(SECONDS_FOR_AN_ANSWER) as session, session.get("/control/reload") as response:
            await _check(response)
            return ReloadReport.model_validate_json(await response.read())

    async def pause(self, request: PauseRequest) -> PauseReport:
        """Raises ``ConfigurationError`` where the service knows no such schedule."""
        return await self._post("/control/pause", request, PauseReport)

    async def resume(self, request: ResumeRequest) -> PauseReport:
        """As ``pause``."""
        return await self._post("/control/resume", request, PauseReport)

    async def release(self, request: ReleaseRequest) -> ReleaseReport:
        """Raises ``ConfigurationError`` where the service knows nothing of the stock, or no such domain."""
        return await self._post("/control/release", request, ReleaseReport)

    async def try_provider(self, request: TryRequest) -> TryReport:
        """Raises ``ConfigurationError`` where the service does not use such a provider."""
        return await self._post("/control/try", request, TryReport)

    async def cancel(self, request: CancelRequest) -> CancelReport:
        """Raises ``ConfigurationError`` where there is no such task."""
        return await self._post("/control/cancel", request, CancelReport)

    async def prune(self) -> PruneReport:
        """However long it takes."""
        return await self._post("/control/prune", Record(), PruneReport, seconds=None)

    async def _post(
        self, path: str, request: Record, answer: type[R], seconds: float | None = SECONDS_FOR_AN_ANSWER
    ) -> R:
        body = request.model_dump_json().encode()
        async with self._session(seconds) as session, session.post(path, data=body) as response:
            await _check(response)
            return answer.model_validate_json(await response.read())

    async def fetch(self, request: FetchRequest) -> AsyncGenerator[TaskReport, None]:
        """How each task stands, whenever that changes, until all have ended.

        Raises ``ConfigurationError`` where the service does not fetch what is asked for.
        """
        async with aclosing(self._follow("/control/fetch", request, _LINE)) as reports:
            async for report in reports:
                yield report

    async def run_now(self, request: RunNowRequest) -> AsyncGenerator[TaskReport, None]:
        """As ``fetch``, of a schedule's stocks. Raises ``ConfigurationError`` where there is no such schedule."""
        async with aclosing(self._follow("/control/run-now", request, _LINE)) as reports:
            async for report in reports:
                yield report

    async def retry(self, request: RetryRequest) -> AsyncGenerator[TaskReport, None]:
        """As ``fetch``, of one task. Raises ``ConfigurationError`` where there is nothing to try again."""
        async with aclosing(self._follow("/control/retry", request, _LINE)) as reports:
            async for report in reports:
                yield report

    async def backup(self, request: BackupRequest) -> AsyncGenerator[BackupReport, None]:
        """How far it is, until it is done. Raises ``SchedulerServiceError`` where none could be made."""
        async with aclosing(self._follow("/control/backup", request, _BACKUP_LINE)) as reports:
            async for report in reports:
                yield report

    async def _follow(self, path: str, request: Record, lines: TypeAdapter[R | Refusal]) -> AsyncGenerator[R, None]:
        body = request.model_dump_json().encode()
        async with self._session() as session, session.post(path, data=body) as response:
            await _check(response)
            async for line in response.content:
                said = lines.validate_json(line)
                if isinstance(said, Refusal):
                    raise SchedulerServiceError(said.error)
                yield said

    @asynccontextmanager
    async def _session(self, seconds: float | None = None) -> AsyncIterator[aiohttp.ClientSession]:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=SECONDS_FOR_AN_ANSWER)
        try:
            with short_path(self._socket) as address:
                connector = aiohttp.UnixConnector(path=address)
                async with aiohttp.ClientSession(_BASE, connector=connector, timeout=timeout) as session:
                    yield session
        except TimeoutError as error:
            raise self._silent(DataDirectory(self._data_dir).holder()) from error
        except aiohttp.ClientConnectorError as error:
            raise self._unreachable(error) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise SchedulerServiceError(
                "the service went away before it had answered in full; `scheduler-service history` shows what it did"
            ) from error
        except OSError as error:  # there is not even a folder
            raise self._unreachable(error) from error
        except ValidationError as error:
            raise SchedulerServiceError(
                "the running service answers in an unknown form: it is another version; restart it"
            ) from error

    def _unreachable(self, error: OSError) -> SchedulerServiceError:
        if error.errno in _NOBODY:
            if (holder := DataDirectory(self._data_dir).holder()) is not None:
                return self._silent(holder)
            return NotRunning(f"no service runs on {self._data_dir.absolute()}; start one: scheduler-service run")
        why = error.strerror or type(error).__name__
        return SchedulerServiceError(f"the service's {self._socket.absolute()} cannot be used: {why}")

    def _silent(self, holder: int | None) -> NotAnswering:
        pid = f"pid {holder}" if holder else "pid unknown"
        return NotAnswering(
            f"a service holds {self._data_dir.absolute()} ({pid}) and does not answer: it is starting or stopping, "
            "is very busy, or was halted"
        )


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status == 200:
        return
    try:
        sentence = Refusal.model_validate_json(await response.read()).error
    except ValidationError:
        sentence = f"the service answered {response.status}"
    if response.status == 400:
        raise ConfigurationError([Problem("the running service", "", sentence)])
    raise SchedulerServiceError(sentence)
