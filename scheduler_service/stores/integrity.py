"""Whether a file of SQLite's is whole: read alone, beside whoever writes it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler_service.stores.explained import CANNOT_WRITE, DAMAGED, code_of, lies_still

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Trouble:
    """What SQLite says of a file. What is no damage, such as a full disk, says nothing of what is in it."""

    said: str
    is_damage: bool


def trouble(path: Path) -> Trouble | None:
    """What is wrong with a file that is there; None where it is whole."""
    try:
        try:
            said = _quick_check(path, "mode=ro")
        except sqlite3.Error as error:
            if code_of(error) not in CANNOT_WRITE or not lies_still(path):
                raise
            said = _quick_check(path, "immutable=1")
    except sqlite3.Error as error:
        return Trouble(str(error), is_damage=code_of(error) in DAMAGED)
    return None if said == "ok" else Trouble(" ".join(str(said).split()), is_damage=True)


def _quick_check(path: Path, how: str) -> object:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=10)) as conn:
        [(said,)] = conn.execute("PRAGMA quick_check(1)").fetchall()
    return said
