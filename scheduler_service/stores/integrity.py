"""Whether a file of SQLite's is whole: read alone, beside whoever writes it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What SQLite says of a file. What is no damage, such as a full disk, says nothing of what is in it."""

    said: str
    is_damage: bool


def trouble(path: Path) -> Trouble | None:
    """What is wrong with a file that is there; None where it is whole."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as conn:
            [(said,)] = conn.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        return Trouble(str(error), is_damage=code is not None and code & 0xFF in _DAMAGED)
    return None if said == "ok" else Trouble(" ".join(str(said).split()), is_damage=True)
