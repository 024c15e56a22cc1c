"""Whether something can be written at a place, by trying it; nothing of the trial stays."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TRIAL = 1 << 18
"""Bytes: about what the first commits after a start take."""


def try_to_write(folder: Path) -> None:
    """There, or where it is not there yet, in the nearest folder above it. Raises ``OSError``."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    with tempfile.TemporaryFile(dir=there) as file:
        file.write(bytes(TRIAL))
        file.flush()
        os.fsync(file.fileno())
