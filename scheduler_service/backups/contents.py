"""What goes into a backup: files of the data directory, logs, and the configuration without its secrets."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from scheduler_service.backups.configuration_text import secret_paths, without_secrets
from scheduler_service.settings.loaded import secrets_in
from scheduler_service.stores.atomic_files import TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from scheduler_service.settings.loaded import Settings

LARGEST_CONFIGURATION = 10_000_000
TREES = ("documents", "strategy_log", "calendars")

_PLAIN = re.compile(r"[^A-Za-z0-9._-]")


class Item(NamedTuple):
    """A file to be, by its name in the archive; ``body`` where it is not simply read from ``path``."""

    name: str
    path: Path
    body: bytes | None = None


LeaveOut = Callable[[str, str], None]
"""Hears what is left out, and why."""


def data_files(root: Path, current_answers: Iterable[int], leave_out: LeaveOut) -> Iterator[Item]:
    """Documents, strategy log, calendars, and the large answers that are current."""
    for tree in TREES:
        for path in sorted(_files_below(root, tree, leave_out)):
            yield Item(f"data/{path.relative_to(root).as_posix()}", path)
    for call_id in current_answers:
        yield Item(f"data/raw/{call_id}.zst", root / "raw" / f"{call_id}.zst")


def log_files(settings: Settings, leave_out: LeaveOut) -> Iterator[Item]:
    """The log and those it was rotated to."""
    if settings.logging.file is None:
        return
    log = settings.logging.file.path
    rotated = re.compile(rf"{re.escape(log.stem)}(\.\d{{8}}T\d{{12}}Z)?{re.escape(log.suffix)}")
    try:
        names = sorted(path.name for path in log.parent.iterdir() if rotated.fullmatch(path.name))
    except OSError as error:
        leave_out("logs", f"could not be listed: {error.strerror}")
        return
    for name in names:
        yield Item(f"logs/{_PLAIN.sub('_', name)}", log.parent / name)


def configuration_files(settings: Settings, leave_out: LeaveOut) -> Iterator[Item]:
    """Every file the configuration was read from, and the portfolio; without what is secret in them."""
    sections = {field.name: getattr(settings, field.name) for field in fields(settings)}
    known, secret = list(secrets_in(sections)), frozenset(secret_paths(sections))
    read = dict.fromkeys([*map(str, settings.files), *(w.source for w in settings.origins.values() if w.line)])
    paths = list(map(Path, read))
    if settings.monitors.risk.portfolio is not None:
        paths.append(settings.monitors.risk.portfolio)
    for number, path in enumerate(dict.fromkeys(paths), 1):
        name = f"configuration/{number}-{_PLAIN.sub('_', path.name).strip('.') or 'file'}"
        try:
            source, size = open_plain(path.resolve())
            with source:
                if size > LARGEST_CONFIGURATION:
                    raise OSError(f"it has more than {LARGEST_CONFIGURATION:,} bytes")
                text = source.read(LARGEST_CONFIGURATION).decode(errors="replace")
        except OSError as error:
            leave_out(name, f"could not be read: {error.strerror or error}")
            continue
        yield Item(name, path, without_secrets(text, known, secret).encode())


def open_plain(path: Path) -> tuple[IO[bytes], int]:
    """A plain file and its size now. Raises ``OSError`` also for what is none, and waits for none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a plain file")
    return os.fdopen(descriptor, "rb"), status.st_size


def _files_below(root: Path, tree: str, leave_out: LeaveOut) -> Iterator[Path]:
    def tell(error: OSError) -> None:
        folder = Path(error.filename or root / tree)
        if folder.exists():
            leave_out(f"data/{folder.relative_to(root).as_posix()}", f"could not be listed: {error.strerror}")

    for inner, _, names in os.walk(root / tree, onerror=tell):
        for name in names:
            if not name.endswith(TEMPORARY):
                yield Path(inner) / name
