"""Files that are never seen in part: temp file, flush, sync, read back, replace, sync of the folder.

aiofiles does the I/O: one function per batch, on the stores' own pool, because a thread hop per call costs more than
the call.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from aiofiles.base import wrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

TEMPORARY = ".tmp"

Signature = tuple[int, int, int, int]
"""Inode, size, and when content and inode last changed: the same as long as nobody touches the file."""


def _write_files(
    files: Sequence[tuple[Path, bytes]], root: Path | None = None, *, durable: bool = True
) -> list[OSError | None]:
    """Writes each file whole or leaves it as it was; one error slot per file.

    Missing folders are made from ``root`` down (by default the file's own); what holds ``root`` must be there. Not
    ``durable``: each is written in its place, and nothing is synced.
    """
    results: list[OSError | None] = []
    written: set[Path] = set()
    for path, body in files:
        try:
            if path.parent not in written:
                _make_folders(root or path.parent, path.parent)
            _replace(path, body) if durable else _write_anew(path, body)
        except OSError as error:
            results.append(error)
        else:
            results.append(None)
            written.add(path.parent)
    synced = {folder: _sync_folder(folder) for folder in written} if durable else {}
    return [result or synced.get(path.parent) for (path, _), result in zip(files, results, strict=True)]


def _make_folders(root: Path, folder: Path) -> None:
    inner = [above for above in folder.parents if above.is_relative_to(root)]
    for missing in (*reversed(inner), folder):
        with suppress(FileExistsError):
            missing.mkdir(mode=0o700)
            _sync_folder(missing.parent)


def _replace(path: Path, body: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        if temporary.read_bytes() != body:
            raise OSError(errno.EIO, "it did not read back as written", str(temporary))
        temporary.replace(path)
    except BaseException:  # whatever cuts it short, no part of a file stays behind
        with suppress(OSError):
            temporary.unlink()
        raise


def _write_anew(path: Path, body: bytes) -> None:
    """A file that is cut short first, or replaced, may be flushed by the file system itself: it takes milliseconds."""
    path.unlink(missing_ok=True)
    path.write_bytes(body)


def sync_folder(folder: Path) -> None:
    """The names in it survive a power cut when this returns. Raises ``OSError``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> OSError | None:
    try:
        sync_folder(folder)
    except OSError as error:
        return error
    return None


def _read_files(paths: Sequence[Path]) -> list[bytes | OSError]:
    """The bytes of each regular file; anything else in its place is an error, never waited on."""
    results: list[bytes | OSError] = []
    for path in paths:
        try:
            results.append(_read(path)[0])
        except OSError as error:
            results.append(error)
    return results


def _read(path: Path) -> tuple[bytes, Signature]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(), _signature(status)
    finally:
        os.close(descriptor)


def _signature(status: os.stat_result) -> Signature:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _check_files(files: Sequence[tuple[Path, bytes, Signature | None]]) -> list[Signature | None]:
    """The signature of each file that has this SHA-256, None for one that has not.

    A file that still has the signature of an earlier check is not read again.
    """
    results: list[Signature | None] = []
    for path, sha256, known in files:
        try:
            if known is not None and _signature(path.lstat()) == known:
                results.append(known)
                continue
            body, signature = _read(path)
            results.append(signature if hashlib.sha256(body).digest() == sha256 else None)
        except OSError:
            results.append(None)
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
"""``await write_files(files, root=folder, executor=pool)``: one ``OSError`` or None per file."""
read_files = wrap(_read_files)
"""``await read_files(paths, executor=pool)``: bytes or ``OSError`` per path."""
check_files = wrap(_check_files)
"""``await check_files(files, executor=pool)``: a ``Signature`` or None per file."""
sweep = wrap(_sweep)
"""``await sweep(folders, executor=pool)``: how many leftovers were removed."""
