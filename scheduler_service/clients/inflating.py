"""Compressed bodies undone in small steps, so that a bomb never grows beyond the step that shows it to be one."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP = 1 << 16
"""Bytes."""
ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
"""The values of Content-Encoding that are asked for; no other is undone."""

_GZIP, _ZLIB, _BARE = 31, 15, -15


class Inflating:
    """One body. Raises ``zlib.error`` for what is not compressed as ``encoding`` says."""

    def __init__(self, encoding: str) -> None:
        self._gzip = encoding in ("gzip", "x-gzip")
        self._plain = encoding in ("", "identity")
        self._decoder = zlib.decompressobj(_GZIP) if self._gzip else None

    def steps(self, chunk: bytes) -> Iterator[bytes]:
        """What the next bytes of the body hold."""
        if self._plain:
            yield chunk
            return
        while chunk:
            if self._decoder is None:  # RFC 1950 begins with an 8; servers that mean RFC 1951 by deflate are many
                self._decoder = zlib.decompressobj(_ZLIB if chunk[0] & 0xF == 8 else _BARE)
            if self._decoder.eof:
                if not self._gzip or not chunk.strip(b"\0"):
                    return  # padding
                self._decoder = zlib.decompressobj(_GZIP)  # RFC 1952, 2.2: members follow one another
            yield self._decoder.decompress(chunk, STEP)
            chunk = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail

    @property
    def is_whole(self) -> bool:
        """Whether the body may end here. One of no bytes at all is whole."""
        return self._plain or self._decoder is None or self._decoder.eof
