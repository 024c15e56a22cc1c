"""A tar of plain files in one zstd frame, streamed both ways, with a trailer that covers every byte of it.

``tar --zstd`` reads it too: the trailer is a skippable frame (RFC 8878, 3.1.2) of the length of what stands before it
and its SHA-256. Nothing is unpacked by tarfile: headers are read here, and whatever is not a plain file is refused.
"""

from __future__ import annotations

import hashlib
import os
import struct
import tarfile
from typing import IO, TYPE_CHECKING, NamedTuple, cast

import zstandard

from scheduler_service.backups.manifest import (
    NAME,
    BackupRefused,
    Manifest,
    Member,
    Names,
    longest_manifest,
    parse_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CHUNK = 1 << 18
LEVEL = 3
MOST_UNPACKED = 64_000_000_000
MOST_RATIO = 200
"""A stranger's archive unpacks to the former, and so many times its own size on top, at most: it only has to be read
through in bearable time, for nothing is unpacked where there is no room for what its manifest names.
"""
LARGEST_WINDOW = 1 << 23
"""Bytes that unpacking may hold."""

_BLOCK = tarfile.BLOCKSIZE
_TRAILER = struct.Struct("<IIQ32s")
_SKIPPABLE = 0x184D2A5B
_LONGEST_PAX = 1 << 16
_MOST_DIGITS = 19


class ArchiveWriter:
    """Writes members one after the other, each read only once, and the manifest at the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._length = 0
        self.unpacked = 0
        """Bytes that reading it back unpacks."""
        self._packer = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
        self._names = Names()
        self.members: list[Member] = []

    def add(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """A member of exactly ``size`` bytes. Raises ``BackupRefused`` for a name that no reader would take, before
        anything is written.
        """
        self._names.add(name)
        self._begin(name, size)
        sha256, written = hashlib.sha256(), 0
        for chunk in chunks:
            sha256.update(chunk)
            self._write(chunk)
            written += len(chunk)
        if written != size:
            raise ValueError(f"{name} has {written} bytes, not {size}")
        self._write(b"\0" * (-size % _BLOCK))
        self.members.append(Member(name=name, size=size, sha256=sha256.hexdigest()))

    def finish(self, manifest: Manifest) -> None:
        """Writes the manifest and the trailer. The file is not synced."""
        body = manifest.model_dump_json().encode()
        self._begin(NAME, len(body))
        self._write(body + b"\0" * (-len(body) % _BLOCK + 2 * _BLOCK))
        self._put(self._packer.flush())
        trailer = (_SKIPPABLE, _TRAILER.size - 8, self._length, self._sha256.digest())
        self._file.write(_TRAILER.pack(*trailer))

    def _begin(self, name: str, size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        self._write(info.tobuf(tarfile.PAX_FORMAT))

    def _write(self, data: bytes) -> None:
        self.unpacked += len(data)
        self._put(self._packer.compress(data))

    def _put(self, packed: bytes) -> None:
        self._sha256.update(packed)
        self._length += len(packed)
        self._file.write(packed)


class Entry(NamedTuple):
    """A member while it is read; ``chunks`` is used up before the next one is."""

    name: str
    size: int
    chunks: Iterator[bytes]


class _Source:
    """The frame without its trailer, hashed as it is read."""

    def __init__(self, file: IO[bytes], length: int, passed: Callable[[int], None]) -> None:
        self._file = file
        self.left = length
        self.sha256 = hashlib.sha256()
        self._passed = passed

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(self.left if size < 0 else min(size, self.left))
        self.left -= len(chunk)
        self.sha256.update(chunk)
        self._passed(len(chunk))
        return chunk


def verify(file: IO[bytes], passed: Callable[[int], None] = lambda size: None, *, most: int | None = None) -> Manifest:
    """Reads an archive through, in little memory. ``passed`` hears of the bytes of the file that are done. ``most``:
    bytes that it unpacks to, where that is known.

    Raises ``BackupRefused``, with what is wrong with it.
    """
    return _read(file, passed, lambda entry: _hash(entry.chunks), most)


def unpack(file: IO[bytes], take: Callable[[Entry], str], passed: Callable[[int], None]) -> Manifest:
    """As ``verify``; ``take`` is given each member but the manifest, and returns the SHA-256 of what it has written."""
    return _read(file, passed, take)


def summing(tell: Callable[[int], None]) -> Callable[[int], None]:
    """What hears of some bytes after others, and tells their sum."""
    done = 0

    def passed(size: int) -> None:
        nonlocal done
        done += size
        tell(done)

    return passed


def _read(
    file: IO[bytes], passed: Callable[[int], None], take: Callable[[Entry], str], most: int | None = None
) -> Manifest:
    length, promised = _trailer(file)
    source = _Source(file, length, passed)
    unpacker = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
    members: list[Member] = []
    manifest: Manifest | None = None
    try:
        packed = cast("IO[bytes]", source)  # of which it only reads
        with unpacker.stream_reader(packed, read_size=CHUNK, read_across_frames=True, closefd=False) as stream:
            for entry in _entries(_Bounded(stream, MOST_UNPACKED + MOST_RATIO * length if most is None else most)):
                if manifest is not None:
                    raise BackupRefused("something stands behind its manifest")
                if entry.name == NAME:
                    if entry.size > longest_manifest(members):
                        raise BackupRefused("its manifest is too long")
                    manifest = parse_manifest(b"".join(entry.chunks))
                else:
                    members.append(Member(name=entry.name, size=entry.size, sha256=take(entry)))
    except (zstandard.ZstdError, tarfile.HeaderError, ValueError, MemoryError) as error:
        raise BackupRefused(f"it is damaged: {error or type(error).__name__}") from error
    if source.left or source.sha256.digest() != promised:
        raise BackupRefused("it is damaged: its checksum is another")
    if manifest is None:
        raise BackupRefused("it has no manifest")
    if list(manifest.members) != members:
        raise BackupRefused("its members are not those of its manifest")
    return manifest


def _trailer(file: IO[bytes]) -> tuple[int, bytes]:
    size = file.seek(0, os.SEEK_END)
    if size < _TRAILER.size:
        raise BackupRefused("it is no backup of this program, or was cut off")
    file.seek(size - _TRAILER.size)
    magic, inner, length, sha256 = _TRAILER.unpack(file.read(_TRAILER.size))
    if (magic, inner, length) != (_SKIPPABLE, _TRAILER.size - 8, size - _TRAILER.size):
        raise BackupRefused("it is no backup of this program, or was cut off")
    file.seek(0)
    return length, sha256


class _Bounded:
    """Bytes that are there, or a refusal: never more than a backup of this size has."""

    def __init__(self, stream: zstandard.ZstdDecompressionReader, most: int) -> None:
        self._stream = stream
        self._left = most

    def exactly(self, size: int) -> bytes:
        """For small sizes only."""
        return b"".join(self.chunks(size))

    def chunks(self, size: int) -> Iterator[bytes]:
        if size > self._left:
            raise BackupRefused("it unpacks to far more than a backup of its size")
        while size:
            chunk = self._stream.read(min(CHUNK, size))
            if not chunk:
                raise BackupRefused("it is cut off")
            size -= len(chunk)
            self._left -= len(chunk)
            yield chunk

    def check_ended(self) -> None:
        """After the two empty blocks of its end nothing may stand but empty ones."""
        while chunk := self._stream.read(_BLOCK):
            self._left -= len(chunk)
            if any(chunk) or self._left < 0:
                raise BackupRefused("something stands behind its end")


def _entries(stream: _Bounded) -> Iterator[Entry]:
    names = Names()
    while any(block := stream.exactly(_BLOCK)):
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        long: dict[str, str] = {}
        if info.type == tarfile.XHDTYPE:
            long = _pax(stream, info.size)
            info = tarfile.TarInfo.frombuf(stream.exactly(_BLOCK), "utf-8", "strict")
        name = long.get("path", info.name)
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.linkname:
            raise BackupRefused(f"{name[:200]!r} is not a plain file")
        if name != NAME:
            names.add(name)
        digits = long.get("size", str(info.size))
        if not (digits.isascii() and digits.isdigit() and len(digits) < _MOST_DIGITS):
            raise BackupRefused(f"{name!r} has no size")
        size = int(digits)
        chunks = stream.chunks(size)
        yield Entry(name, size, chunks)
        for _ in chunks:
            raise BackupRefused(f"{name!r} was not read to its end")
        stream.exactly(-size % _BLOCK)
    if any(stream.exactly(_BLOCK)):
        raise BackupRefused("its end is damaged")
    stream.check_ended()


def _pax(stream: _Bounded, size: int) -> dict[str, str]:
    """``length key=value`` lines (POSIX pax), of which a backup has only these two keys."""
    if not 0 <= size <= _LONGEST_PAX:
        raise BackupRefused("a header in it is too long")
    body = stream.exactly(size + -size % _BLOCK)[:size]
    found: dict[str, str] = {}
    while body:
        digits, _, _ = body.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 7 else 0
        key, equals, value = body[len(digits) + 1 : length - 1].decode().partition("=")
        if not equals or key not in ("path", "size") or key in found or length > len(body):
            raise BackupRefused("a header in it is none of a backup")
        found[key] = value
        body = body[length:]
    return found


def _hash(chunks: Iterator[bytes]) -> str:
    sha256 = hashlib.sha256()
    for chunk in chunks:
        sha256.update(chunk)
    return sha256.hexdigest()
