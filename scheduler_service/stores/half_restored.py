"""What a restore that was cut off has left undone: whoever takes the directory next does it."""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

RESTORING = ".restoring-"
"""Before a time: beside the directory after its name, or in it. What is called so is complete."""
BEFORE = "before-restore-"
LEDGER = "ledger.sqlite"

_ONLY_OLD = (f"{LEDGER}-wal", f"{LEDGER}-shm", f"{LEDGER}-journal", "jobs.sqlite", "jobs.sqlite-journal")
"""What belongs to the old ledger, and no backup holds."""


def finish_beside(root: Path) -> None:
    """Between the two renames of a swap the directory lies under another name, whole. Raises ``OSError``."""
    if os.path.lexists(root) or not root.parent.is_dir():
        return
    complete = sorted(root.parent.glob(f"{glob.escape(root.name)}{RESTORING}*"))
    if complete:
        complete[-1].rename(root)


def finish_within(root: Path) -> None:
    """Each entry that is ready takes the place of the old one, the ledger last: as long as it is not there, what lies
    in the directory is old, or was put there by this. The caller holds the directory. Raises ``OSError``.
    """
    for ready in sorted(root.glob(f"{RESTORING}*")):
        old = root / f"{BEFORE}{ready.name.removeprefix(RESTORING)}"
        old.mkdir(mode=0o700, exist_ok=True)
        if (ready / LEDGER).exists():
            for name in _ONLY_OLD:
                _move(root / name, old / name)
        for new in sorted(ready.iterdir(), key=lambda path: (path.name == LEDGER, path.name)):
            _move(root / new.name, old / new.name)
            new.rename(root / new.name)
        ready.rmdir()


def _move(path: Path, to: Path) -> None:
    if os.path.lexists(path):
        path.rename(to)
