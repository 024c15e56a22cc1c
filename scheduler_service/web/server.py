"""The service's two doors: a TCP port for health, and the control socket in the data directory."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from aiohttp import web

from scheduler_service.errors import SchedulerServiceError
from scheduler_service.web.control_socket import bind
from scheduler_service.web.routes import control_app, public_app
from scheduler_service.web.token import token_of

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.web.facade import Facade

SECONDS_TO_STOP = 2.0
SECONDS_IDLE = 15.0
"""A connection without a whole request for this long is closed."""

_QUIET = logging.getLogger("scheduler_service.web")
_QUIET.setLevel(logging.CRITICAL)
"""What aiohttp says of every malformed request is no event of ours; our own failures are logged where they happen."""


class WebServer:
    """Serves a facade. The caller holds the data directory; ``port`` 0 is any free one."""

    def __init__(
        self, facade: Facade, *, host: str, port: int, socket_path: Path, token_file: Path | None = None
    ) -> None:
        self._facade = facade
        self._host = host
        self._port = port
        self._socket_path = socket_path
        self._token_file = token_file
        self._runners: list[web.AppRunner] = []

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def address(self) -> str:
        """Where it answers, as a URL; of a host that is every one of this machine's, as it is configured."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Listens on both. Raises ``SchedulerServiceError`` when one of them cannot be had."""
        try:
            await self._open_socket()
            await self._open_port()
        except BaseException:  # cancelled too: half a server is none
            await self.stop()
            raise

    async def stop(self) -> None:
        """Closes both, breaking off what is still being answered after a moment. Harmless when not started."""
        runners, self._runners = self._runners, []
        for runner in runners:
            await runner.cleanup()
        if runners:
            self._socket_path.unlink(missing_ok=True)

    async def _open_socket(self) -> None:
        try:
            bound = bind(self._socket_path)
        except OSError as error:
            raise SchedulerServiceError(
                f"the control socket {self._socket_path} cannot be made: {error.strerror}; "
                "put service.data_dir on a local file system that this user may write to"
            ) from error
        runner = await self._runner(control_app(self._facade))
        await web.SockSite(runner, bound).start()

    async def _open_port(self) -> None:
        token = await token_of(self._token_file, self._socket_path.parent) if self._token_file else None
        runner = await self._runner(public_app(self._facade, self._host, token))
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            raise SchedulerServiceError(
                f"cannot listen on {self._host} port {self._port}: {os.strerror(error.errno or 0).lower()}; stop what "
                "uses it, or set http.port, or SCHEDULER_HTTP__PORT, to another one (0: any free one)"
            ) from error
        self._port = runner.addresses[0][1]

    async def _runner(self, app: web.Application) -> web.AppRunner:
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=_QUIET,
            handler_cancellation=True,
            shutdown_timeout=SECONDS_TO_STOP,
            keepalive_timeout=SECONDS_IDLE,
            lingering_time=1.0,
            max_line_size=2_048,
            max_field_size=2_048,
            max_headers=32,
        )
        await runner.setup()
        self._runners.append(runner)
        return runner
