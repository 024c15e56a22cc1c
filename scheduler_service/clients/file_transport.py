"""Files that the configuration names, answered as if they were asked: they go through the gates like any upstream."""

from __future__ import annotations

import asyncio
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import TYPE_CHECKING

from scheduler_service.calls import FREE, Response
from scheduler_service.clients.base import shown
from scheduler_service.errors import PermanentClientError, TransientClientError
from scheduler_service.models import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from scheduler_service.calls import Limits, Request, Transport
    from scheduler_service.errors import ClientError

SCHEME = "file:"


class FileTransport:
    """Sends what is not a file's on as it is. A thread of its own reads, so that a disk that hangs holds nobody else.

    ``ETag`` is of the file's number, size and time of change: what has not changed since is not read again.
    """

    def __init__(self, transport: Transport, files: Iterable[Path]) -> None:
        self._transport = transport
        self._files = {path.as_uri(): path for path in files}
        self._pool: ThreadPoolExecutor | None = None

    async def send(self, request: Request, limits: Limits) -> Response:
        if not request.url.startswith(SCHEME):
            return await self._transport.send(request, limits)
        path = self._files.get(request.url)
        if path is None or request.method != "GET":
            message = f"{shown(request.url)} is no file that the configuration names"
            raise _free(PermanentClientError(message, Reason.BAD_REQUEST))
        known = dict(request.headers).get("If-None-Match")
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="file")
        reading = asyncio.get_running_loop().run_in_executor(
            self._pool, _answer, path, request.url, known, limits.max_bytes
        )
        try:
            async with asyncio.timeout(limits.timeout):
                return await reading
        except TimeoutError:
            message = f"{path} could not be read within {limits.timeout:g} s"
            raise _free(TransientClientError(message, Reason.TIMEOUT)) from None

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        await self._transport.close()


def _answer(path: Path, url: str, known: str | None, most: int) -> Response:
    """One look at the file. One that changes under it, or is not there, is another one in a moment."""
    try:
        # Not to wait where it is a pipe that nobody writes into.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise _free(PermanentClientError(f"{path} is no regular file", Reason.UNREADABLE))
            tags = {"etag": _tag(before), "last-modified": formatdate(before.st_mtime, usegmt=True)}
            if known == tags["etag"]:
                return Response(304, tags, b"", url)
            with os.fdopen(descriptor, "rb", closefd=False) as opened:
                body = opened.read(most + 1)
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or type(error).__name__}"
        raise _free(TransientClientError(message, Reason.PROVIDER_DOWN)) from None
    if len(body) > most:
        message = f"{path} has more than {most} bytes, its provider's max_body"
        raise _free(PermanentClientError(message, Reason.TOO_LARGE))
    if _tag(after) != tags["etag"] or len(body) != after.st_size:
        raise _free(TransientClientError(f"{path} changed while it was read", Reason.TRUNCATED))
    return Response(200, tags, body, url)


def _tag(state: os.stat_result) -> str:
    return f'"{state.st_ino:x}-{state.st_size:x}-{state.st_mtime_ns:x}"'


def _free(error: ClientError) -> ClientError:
    error.cost = FREE
    return error
