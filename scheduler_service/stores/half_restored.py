"""What a restore that was cut off has left undone: whoever takes the directory next does it, or takes it back."""

from __future__ import annotations

import glob
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from scheduler_service.errors import DataDirectoryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNPACKING = ".unpacking-"
"""Before a time: what is called so is not complete."""
RESTORING = ".restoring-"
"""Before a time: beside the directory after its name, or in it. What is called so is complete."""
BEFORE = "before-restore-"
MARKER = "restored"
"""A file in the restored directory: of which restore it is."""
LEDGER = "ledger.sqlite"

_ONLY_OLD = (f"{LEDGER}-wal", f"{LEDGER}-shm", f"{LEDGER}-journal", "jobs.sqlite", "jobs.sqlite-journal")
"""What belongs to the old ledger, and no backup holds."""


def refuse_half_restored(root: Path) -> None:
    """What lies in the directory may be partly old and partly new, or lie elsewhere. Raises ``DataDirectoryError``."""
    if any(root.glob(f"{RESTORING}*")) or (not os.path.lexists(root) and any(map(is_new, _beside(root)))):
        raise DataDirectoryError(
            f"{root} is being restored, or a restore of it was cut off; start the service, or run restore again: "
            "either brings it to its end"
        )


def is_new(left: Path) -> bool:
    """Whether a directory that stands ready is the restored one, and not the old one after the exchange."""
    try:
        return (left / MARKER).read_text().strip() == left.name.partition(RESTORING)[2]
    except OSError:
        return False


def finish_beside(root: Path) -> None:
    """Between the two renames of a swap the directory lies under another name, whole. Raises ``OSError``."""
    root = root.resolve()
    if os.path.lexists(root):
        return
    complete = [left for left in _beside(root) if is_new(left)]
    if complete:
        complete[-1].rename(root)


def sweep_beside(root: Path) -> None:
    """What lies beside a directory that is in its place must not come back later: what was not finished goes, for its
    archive still has it, and what was there before gets its name. The caller holds the directory.
    """
    root = root.resolve()
    for left in (*root.parent.glob(f".{glob.escape(root.name)}{UNPACKING}*"), *root.glob(f"{UNPACKING}*")):
        shutil.rmtree(left, ignore_errors=True)
    for left in _beside(root):
        if is_new(left):
            shutil.rmtree(left, ignore_errors=True)
            continue
        with suppress(OSError):
            left.rename(free_name(root.with_name(f"{root.name}.{BEFORE}{left.name.partition(RESTORING)[2]}")))


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


def free_name(path: Path) -> Path:
    """The path, or with a number behind it."""
    number, free = 1, path
    while os.path.lexists(free):
        number, free = number + 1, path.with_name(f"{path.name}-{number}")
    return free


def _beside(root: Path) -> Iterator[Path]:
    root = root.resolve()
    yield from sorted(root.parent.glob(f"{glob.escape(root.name)}{RESTORING}*"))


def _move(path: Path, to: Path) -> None:
    if os.path.lexists(path):
        path.rename(to)
