"""The portfolio's file: read without waiting for it, never without bound, anew only when it has changed."""

from __future__ import annotations

import codecs
import os
import stat
from typing import TYPE_CHECKING

from aiofiles.base import wrap

from scheduler_service.clock import SECOND
from scheduler_service.monitors.portfolio import parse_portfolio

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.models import OffLoop
    from scheduler_service.monitors.portfolio import Portfolio

LARGEST_FILE = 10_000_000
SETTLED_AFTER: Micros = 2 * SECOND
"""One that changed just now may be half written: while there is one to go by, it is left alone for so long."""
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_Mark = tuple[int, int, int]


class PortfolioFile:
    """``portfolio``: the last good one, None before there was one. ``problem``: why the file as it is now cannot be
    used.
    """

    def __init__(self, path: Path, off_loop: OffLoop) -> None:
        self.path = path
        self._off_loop = off_loop
        self._mark: _Mark | None = None
        self.portfolio: Portfolio | None = None
        self.problem: str | None = None

    async def renew(self, now: Instant) -> None:
        """Reads it where it has changed."""
        try:
            if (found := await _read(self.path, self._mark, None if self.portfolio is None else now)) is None:
                return
            self._mark, body = found
            self.portfolio, self.problem = await self._off_loop(_parse, body), None
        except OSError as error:
            self._mark, self.problem = None, f"{self.path} cannot be read: {error.strerror or type(error).__name__}"
        except ValueError as error:
            self.problem = f"{self.path} cannot be used: {error}"


def _parse(body: bytes) -> Portfolio:
    """Raises ``ValueError``. As UTF-8, or as UTF-16 where it says so, as spreadsheets write it."""
    if len(body) > LARGEST_FILE:
        raise ValueError(f"it is larger than {LARGEST_FILE // 1_000_000} MB")
    text = body.decode("utf-16" if body.startswith(_UTF_16) else "utf-8-sig", errors="replace")
    if "\0" in text:
        raise ValueError("it is no text")
    return parse_portfolio(text)


@wrap
def _read(path: Path, known: _Mark | None, now: Instant | None) -> tuple[_Mark, bytes] | None:
    """None where it is the one that is known, or at ``now`` too young. Raises ``OSError``."""
    # Not to wait where it is a pipe that nobody writes into.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(None, "it is no regular file")
        mark = (found.st_ino, found.st_size, found.st_mtime_ns)
        if mark == known or (now is not None and 0 <= now - found.st_mtime_ns // 1_000 < SETTLED_AFTER):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            return mark, opened.read(LARGEST_FILE + 1)
    finally:
        os.close(descriptor)
