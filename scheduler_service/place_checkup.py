"""Whether the place is fit for the service: its data directory, what lies in it, and the port that it wants."""

from __future__ import annotations

import asyncio
import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler_service.settings.units import format_size
from scheduler_service.stores.integrity import trouble
from scheduler_service.stores.left_behind import left_behind
from scheduler_service.stores.room import try_to_write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler_service.settings.model import Http
    from scheduler_service.stores.data_directory import DataDirectory

_ABOUT = "data directory"
_LOOK_AT_DISK = "see that there is space and that this user may write there"


@dataclass(frozen=True, slots=True)
class Finding:
    """``todo`` is empty where nothing is wrong. A ``note`` is nothing wrong, and still to be looked at."""

    about: str
    said: str
    todo: str = ""
    note: bool = False

    @property
    def is_fine(self) -> bool:
        return not self.todo


def room(directory: DataDirectory, floor: int) -> Finding:
    """Whether it can be written, by trying it; where it is not there, whether it can be made."""
    root = directory.root
    try:
        try_to_write(root)
    except OSError as error:
        said = f"{root} cannot be written: {error.strerror}"
        todo = "see that there is room and that this user may write there, or set service.data_dir to another one"
        return Finding(_ABOUT, said, todo)
    if not os.access(root, os.F_OK):
        return Finding(_ABOUT, f"{root} is not there, and can be made: nothing has run here yet")
    stat = os.statvfs(root)
    free = stat.f_bavail * stat.f_frsize
    said = f"{root}: {free / 1e9:,.1f} GB are free"
    if free < floor:
        wanted = f"{said}; monitors.health.disk_floor wants {format_size(floor)}"
        return Finding(_ABOUT, wanted, "make room there, or set service.data_dir to another disk")
    return Finding(_ABOUT, said)


def modes(directory: DataDirectory) -> Iterator[Finding]:
    root = directory.root
    if root.stat().st_mode & 0o022:
        yield Finding(_ABOUT, f"{root} can be changed by other users", f"chmod 700 {root}")


def files(directory: DataDirectory) -> Iterator[Finding]:
    if not directory.ledger.exists():
        published = directory.documents.exists() and next(directory.documents.rglob("*.json"), None) is not None
        said = f"there is no {directory.ledger}"
        todo = "restore a backup, or move the documents away to start anew" if published else ""
        yield Finding("ledger", said if published else f"{said}: nothing has run here yet", todo)
    elif (wrong := trouble(directory.ledger)) is None:
        yield Finding("ledger", "it is whole")
    elif wrong.is_damage:
        todo = "move it away and restore a backup: scheduler-service restore FILE"
        yield Finding("ledger", f"{directory.ledger} is damaged: {wrong.said}", todo)
    else:  # whether it is whole is not known, and nothing speaks against it
        yield Finding("ledger", f"{directory.ledger} cannot be looked at: {wrong.said}", _LOOK_AT_DISK)
    if not directory.jobs.exists():
        return
    if (wrong := trouble(directory.jobs)) is None:
        yield Finding("jobs", "the file is whole")
    elif wrong.is_damage:
        said = f"{directory.jobs} is damaged: {wrong.said}; it holds nothing that the ledger does not know"
        yield Finding("jobs", said, "restart the service: it makes the file anew")
    else:
        yield Finding("jobs", f"{directory.jobs} cannot be looked at: {wrong.said}", _LOOK_AT_DISK)


def kept(directory: DataDirectory) -> Iterator[Finding]:
    """Nothing is wrong with it but the room it takes; whether it is still needed a person knows."""
    for left in left_behind(directory.root):
        remove = f"rm {'-r ' if left.path.is_dir() else ''}{shlex.quote(str(left.path))}"
        said = f"{left.what}, {left.frees / 1e6:,.1f} MB, perhaps the only copy; if all is well without it: {remove}"
        yield Finding("kept for you", said)


async def port(http: Http) -> list[Finding]:
    """Whether it can be had, where the service does not run: it is taken for a moment."""
    try:
        server = await asyncio.get_running_loop().create_server(
            asyncio.Protocol, http.host, http.port, start_serving=False
        )
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror)
        said = f"{http.host} port {http.port} cannot be had: {why.lower()}"
        return [Finding("port", said, "stop what uses it, or set http.port to another one (0: any free one)")]
    server.close()
    await server.wait_closed()
    free = "any free one is taken" if http.port == 0 else f"{http.host} port {http.port} is free"
    return [Finding("port", free)]
