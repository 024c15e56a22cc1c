"""What is done to whole directories: exchanged, linked, owned."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

_EXCHANGE = 2
_AT_FDCWD = -100


def exchange(one: Path, other: Path) -> None:
    """Both names for each other's directory, in one step (renameat2(2)). Raises ``OSError``."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    arguments = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE)
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))


def link_or_copy(path: Path, target: Path) -> None:
    try:
        target.hardlink_to(path)
    except OSError:
        shutil.copy2(path, target)


def own_as(like: Path, folder: Path) -> None:
    """What root restores belongs to whom the directory belonged."""
    status = like.stat()
    if os.geteuid() != 0 or status.st_uid == 0:
        return
    for inner, folders, names in os.walk(folder):
        for path in (Path(inner), *(Path(inner) / name for name in (*folders, *names))):
            os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)


def remove_if_empty(root: Path) -> None:
    """A directory that a refused restore has made goes again, if nothing was put into it."""
    with suppress(OSError):
        if {path.name for path in root.iterdir()} <= {"lock", "documents", "raw"}:
            for name in ("documents", "raw"):
                (root / name).rmdir()
            (root / "lock").unlink(missing_ok=True)
            root.rmdir()
