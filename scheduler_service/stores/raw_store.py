"""Kept answers as they came: compressed, small ones in the ledger, large ones in ``raw/<call_id>.zst``."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import zstandard
from aiofiles.base import wrap

from scheduler_service.errors import StoreError
from scheduler_service.stores.atomic_files import read_files, write_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor
    from pathlib import Path

    from scheduler_service.models import OffLoop

SUFFIX = ".zst"
SMALL = 64 * 1024
"""Compressed bytes up to which an answer lies in the ledger."""
QUICK = 128 * 1024
"""Bytes that are compressed, and unpacked, faster on the loop than on the way to a thread."""


class RawStore:
    """Writes and reads the bodies of kept answers."""

    def __init__(self, folder: Path, pool: Executor, off_loop: OffLoop) -> None:
        self._folder = folder
        self._pool = pool
        self._off_loop = off_loop

    async def put(self, call_id: int, body: bytes) -> bytes | None:
        """Keeps a body; returns the bytes to lay in the ledger, or None when it went to a file. Raises
        ``StoreError``.
        """
        packed = _pack(body) if len(body) <= QUICK else await self._off_loop(_pack, body)
        if len(packed) <= SMALL:
            return packed
        [error] = await write_files([(self._path(call_id), packed)], executor=self._pool)
        if error is not None:
            raise StoreError(f"the answer of call {call_id} could not be kept in {self._folder}: {error.strerror}")
        return None

    async def get(self, call_id: int, packed: bytes | None) -> bytes | None:
        """The body again; None when its file is gone or damaged: the answer must be asked for anew."""
        if packed is None:
            [packed_or_error] = await read_files([self._path(call_id)], executor=self._pool)
            if isinstance(packed_or_error, OSError):
                return None
            packed = packed_or_error
        try:
            quick = 0 <= zstandard.frame_content_size(packed) <= QUICK
            return _unpack(packed) if quick else await self._off_loop(_unpack, packed)
        except (zstandard.ZstdError, OverflowError, MemoryError):  # the latter two: its header promises too much
            return None

    def _path(self, call_id: int) -> Path:
        return raw_path(self._folder, call_id)


class RawFiles:
    """The files among them, as they lie there."""

    def __init__(self, folder: Path, pool: Executor) -> None:
        self._folder = folder
        self._pool = pool

    async def sizes(self) -> dict[int, int]:
        """By call: the bytes that each takes. Nothing where there are none."""
        return await _sizes(self._folder, executor=self._pool)

    async def remove(self, calls: Iterable[int]) -> None:
        """Those of these calls; what is gone already is no fault."""
        await _remove([raw_path(self._folder, call_id) for call_id in calls], executor=self._pool)


def raw_path(folder: Path, call_id: int) -> Path:
    return folder / f"{call_id}{SUFFIX}"


def _list_sizes(folder: Path) -> dict[int, int]:
    found = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            number = entry.name.removesuffix(SUFFIX)
            if number.isascii() and number.isdecimal() and number != entry.name:
                with suppress(FileNotFoundError):
                    found[int(number)] = entry.stat(follow_symlinks=False).st_size
    return found


def _remove_files(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


_sizes = wrap(_list_sizes)
_remove = wrap(_remove_files)


def _pack(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(body)


def _unpack(packed: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(packed)
