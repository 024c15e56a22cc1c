"""Files that are never seen in part: temp file, flush, sync, read back, replace, sync of the folder.

aiofiles does the I/O: one function per batch, on the stores' own pool, because a thread hop per call costs more than
the call.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from aiofiles.base import wrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

TEMPORARY = ".tmp"


def _write_files(files: Sequence[tuple[Path, bytes]]) -> list[OSError | None]:
    """Writes each file whole or leaves it as it was; one error slot per file."""
    results: list[OSError | None] = []
    written: set[Path] = set()
    for path, body in files:
        try:
            _replace(path, body)
        except OSError as error:
            results.append(error)
        else:
            results.append(None)
            written.add(path.parent)
    synced = {folder: _sync_folder(folder) for folder in written}
    return [result or synced.get(path.parent) for (path, _), result in zip(files, results, strict=True)]


def _replace(path: Path, body: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        if temporary.read_bytes() != body:
            raise OSError(f"{temporary} did not read back as written")
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _sync_folder(folder: Path) -> OSError | None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error
    return None


def _read_files(paths: Sequence[Path]) -> list[bytes | OSError]:
    """The bytes of each regular file; anything else in its place is an error, never waited on."""
    results: list[bytes | OSError] = []
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                results.append(file.read())
        except OSError as error:
            results.append(error)
    return results


def _sweep(folders: Iterable[Path]) -> int:
    """Removes temporary files that a crash left; returns how many."""
    swept = 0
    for folder in folders:
        for leftover in folder.rglob(f"*{TEMPORARY}"):
            with suppress(OSError):
                leftover.unlink()
                swept += 1
    return swept


write_files = wrap(_write_files)
"""``await write_files(files, executor=pool)``: one ``OSError`` or None per file."""
read_files = wrap(_read_files)
"""``await read_files(paths, executor=pool)``: bytes or ``OSError`` per path."""
sweep = wrap(_sweep)
"""``await sweep(folders, executor=pool)``: how many leftovers were removed."""
