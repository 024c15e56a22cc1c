"""What nobody but a person removes: ledgers from before an update, directories from before a restore.

Each may be the only copy of something, so it is shown and never touched.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler_service.stores.half_restored import BEFORE
from scheduler_service.stores.snapshot import FOLDER, LEDGER_ASIDE

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """``frees``: the bytes that its removal gives back; files that also have a place elsewhere are none of them."""

    path: Path
    what: str
    frees: int


def left_behind(root: Path) -> list[LeftBehind]:
    """In a data directory and beside it. What cannot be looked at is not told."""
    real = root.resolve()
    name = glob.escape(real.name)
    directories = (*_matching(real, f"{BEFORE}*"), *_matching(real.parent, f"{name}.{BEFORE}*"))
    ledgers = _matching(real / FOLDER, LEDGER_ASIDE.format(stem="*", version="*"))
    return [
        *(LeftBehind(path, "the ledger from before an update", _frees([path])) for path in ledgers if path.is_file()),
        *(
            LeftBehind(path, "the data from before a restore", _frees(_files(path)))
            for path in directories
            if path.is_dir() and not path.is_symlink()
        ),
    ]


def _matching(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _files(folder: Path) -> Iterator[Path]:
    for inner, _, names in os.walk(folder):
        yield from (Path(inner) / name for name in names)


def _frees(paths: list[Path] | Iterator[Path]) -> int:
    total = 0
    for path in paths:
        try:
            status = path.lstat()
        except OSError:  # a person is removing it just now
            continue
        total += status.st_size if status.st_nlink == 1 else 0
    return total
