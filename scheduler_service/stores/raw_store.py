"""Kept answers as they came: compressed, small ones in the ledger, large ones in ``raw/<call_id>.zst``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zstandard

from scheduler_service.errors import StoreError
from scheduler_service.stores.atomic_files import read_files, write_files

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from scheduler_service.models import OffLoop

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
        return self._folder / f"{call_id}.zst"


def _pack(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(body)


def _unpack(packed: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(packed)
