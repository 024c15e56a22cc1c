"""The strategy log: what was noticed or decided, when, from which facts. One JSON object a line, one file a month, only
ever appended to.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import orjson
from aiofiles.base import wrap

from scheduler_service.clock import from_iso, to_iso
from scheduler_service.stores.atomic_files import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from scheduler_service.clock import Instant
    from scheduler_service.stores.notice_store import NoticeRow

TAIL = 1_000_000
"""Bytes at the end of a file among which an entry is looked for that a crash may have left unacknowledged."""


@dataclass(frozen=True, slots=True)
class StrategyEntry:
    """A line of the log. ``facts`` are plain JSON, with their provenance."""

    key: str
    at: Instant
    event: str
    message: str
    level: str
    symbol: str | None
    facts: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "at": to_iso(self.at),
            "event": self.event,
            "level": self.level,
            "symbol": self.symbol,
            "message": self.message,
            "facts": self.facts,
        }


class StrategyLog:
    """The files ``YYYY-MM.jsonl`` of a folder; months are UTC."""

    def __init__(self, folder: Path, pool: Executor) -> None:
        self._folder = folder
        self._pool = pool

    async def append(self, rows: Sequence[NoticeRow]) -> None:
        """On disk when this returns, each once, also when the last call was cut off. Raises ``OSError``."""
        await _append(self._folder, [_entry(row) for row in rows], executor=self._pool)


def _entry(row: NoticeRow) -> StrategyEntry:
    told = row.notice
    return StrategyEntry(told.key, row.created_at, told.event, told.message, told.level, told.symbol, told.facts)


def _month(entry: StrategyEntry) -> str:
    return to_iso(entry.at)[:7]


def _append_now(folder: Path, entries: Sequence[StrategyEntry]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sync_folder(folder.parent)
    for month, of_month in groupby(entries, key=_month):
        _append_to(folder / f"{month}.jsonl", list(of_month))


def _append_to(path: Path, entries: Sequence[StrategyEntry]) -> None:
    lines = {entry.key: orjson.dumps(entry.as_json()) + b"\n" for entry in entries}
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        whole = _whole_lines(file.seek(0, os.SEEK_END), path)
        file.truncate(whole)  # what a crash has torn was never acknowledged, and comes again
        file.seek(max(0, whole - TAIL - sum(map(len, lines.values()))))  # all that this may have written before
        known = {entry.key for entry in _entries(file.read())}
        file.seek(whole)
        file.write(b"".join(line for key, line in lines.items() if key not in known))
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)  # always: a crash may have come between the file that was made and this


def _whole_lines(size: int, path: Path) -> int:
    """Where the last whole line of a file ends."""
    with path.open("rb") as file:
        end = size
        while end > 0:
            start = max(0, end - 65_536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def _entries(lines: bytes) -> Iterator[StrategyEntry]:
    """Those of the lines that are whole."""
    for line in lines.split(b"\n"):
        try:
            said = orjson.loads(line)
            at = from_iso(said["at"])
            entry = StrategyEntry(
                said["key"], at, said["event"], said["message"], said["level"], said["symbol"], said["facts"]
            )
        except (ValueError, KeyError, TypeError):
            continue
        yield entry


def _read_now(folder: Path, since: Instant) -> list[StrategyEntry]:
    first = to_iso(since)[:7]
    files = sorted(path for path in folder.glob("????-??.jsonl") if path.stem >= first)
    return [entry for path in files for entry in _entries(path.read_bytes()) if entry.at >= since]


_append = wrap(_append_now)
read_entries = wrap(_read_now)
"""``await read_entries(folder, since)``: what was noticed since then, oldest first. Raises ``OSError``."""
