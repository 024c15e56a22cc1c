"""The control socket's address, however long its path.

The kernel takes 108 bytes (unix(7)); a directory that is open has a short name under ``/proc/self/fd``.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST = 100
"""Bytes that every system takes."""


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """The path as a socket address, good until the block ends. Raises ``OSError``."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def bind(path: Path) -> socket.socket:
    """A bound socket that only its owner may connect to; it does not listen yet. Raises ``OSError``.

    A socket that a crash left behind is replaced: the caller holds the data directory, so nobody listens on it.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        with short_path(path) as address:
            bound.bind(address)
        path.chmod(0o600)  # whatever the umask; until it listens nobody can have connected
    except OSError:
        bound.close()
        raise
    return bound
