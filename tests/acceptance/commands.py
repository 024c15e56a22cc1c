"""The program as its users have it: a process, its output, its exit code and its files."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from tests.schema_support import valid_document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, "-m", "scheduler_service")
PATIENCE = 45.0
"""Seconds after which what has not happened is taken not to happen."""
GLANCE = 0.02

_NONE: Mapping[str, str] = MappingProxyType({})


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Service:
    """A running ``run``. ``log`` is what it has said so far, on both its streams."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = ""
        self._reading = asyncio.create_task(self._read())

    async def until_it_says(self, text: str) -> None:
        await until(lambda: text in self.log or self.process.returncode is not None, f"{text!r} in its log")
        assert text in self.log, self.log

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code."""
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
            await self._reading
        return code

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.log += line.decode()


async def said(folder: Path, *arguments: str, settings: Mapping[str, str] = _NONE) -> Said:
    """Runs a command to its end, in ``folder``; ``settings`` are environment variables."""
    process = await _start(folder, arguments, settings, stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def running(folder: Path, *arguments: str, settings: Mapping[str, str] = _NONE) -> AsyncIterator[Service]:
    """``run`` with these arguments before it, killed at the end if it still lives."""
    process = await _start(folder, (*arguments, "run"), settings, stderr=asyncio.subprocess.STDOUT)
    service = Service(process)
    try:
        yield service
    finally:
        if process.returncode is None:
            process.kill()
        await service.ended()


async def until(happened: Callable[[], bool], what: str) -> None:
    """Looks again and again, for as long as patience lasts."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not happened():
                await asyncio.sleep(GLANCE)
    except TimeoutError:
        raise AssertionError(f"waited {PATIENCE:.0f} s in vain for {what}") from None


def document(data_dir: Path, domain: str, symbol: str) -> dict[str, Any]:
    path = data_dir / "documents" / domain / f"{symbol}.json"
    found: dict[str, Any] = valid_document(orjson.loads(path.read_bytes()))
    return found


def documents(data_dir: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """(domain, symbol) to document, of all there are; each must be whole."""
    paths = (data_dir / "documents").glob("*/*.json")
    return {(path.parent.name, path.stem): valid_document(orjson.loads(path.read_bytes())) for path in paths}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


async def _start(
    folder: Path, arguments: tuple[str, ...], settings: Mapping[str, str], *, stderr: int
) -> asyncio.subprocess.Process:
    """With an environment that holds nothing of this machine but where programs are."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
    return await asyncio.create_subprocess_exec(
        *PROGRAM,
        *arguments,
        cwd=folder,
        env={**environment, **settings},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )
