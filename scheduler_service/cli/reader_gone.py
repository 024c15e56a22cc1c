"""Whoever read what a command prints has gone, as ``head`` does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


def to_nowhere(stream: TextIO) -> None:
    """The rest goes nowhere, and the command to its own end: its exit code says how the service is."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
