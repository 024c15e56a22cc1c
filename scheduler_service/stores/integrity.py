"""Whether a file of SQLite's is whole: read alone, beside whoever writes it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def damage(path: Path) -> str | None:
    """What SQLite finds wrong with a file that is there; None where it is whole."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as conn:
            [(said,)] = conn.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.Error as error:
        return str(error)
    return None if said == "ok" else " ".join(str(said).split())
