"""Copies of a ledger: made page by page while it is written to, and checked."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from scheduler_service.errors import LedgerDamaged, StoreError
from scheduler_service.stores.schema import meta

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection

PAGES_PER_STEP = 200
"""Less than a megabyte: what waits for the writer is held up for a few milliseconds."""
FOLDER = "backups"
LEDGER_ASIDE = "{stem}-schema-{version}.sqlite"

IDENTITY = "backup_id"
_STATE = "last_backup"


@dataclass(frozen=True, slots=True)
class Copied:
    """What a ledger's file is. ``current_answers``: the calls whose answers are current and lie in ``raw/``."""

    schema_version: int
    mode: str
    identity: str
    current_answers: tuple[int, ...]


def copy_ledger(source: sqlite3.Connection, target: Path, step: Callable[[int, int], None]) -> None:
    """SQLite's online backup, in small steps. What the same connection commits meanwhile goes into the copy as well; by
    another connection's commits it would have to begin anew.

    Raises ``StoreError``, and leaves a part of a copy behind then.
    """
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.close(descriptor)
    try:
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            copy.execute("PRAGMA synchronous=OFF")  # it is read once, and thrown away
            source.backup(copy, pages=PAGES_PER_STEP, progress=lambda _, left, total: step(total - left, total))
            copy.execute("PRAGMA journal_mode=DELETE")  # so that the copy is one file
    except sqlite3.Error as error:
        raise StoreError(f"the ledger could not be copied: {error}") from error


def copy_aside(path: Path, version: int) -> None:
    """A full copy before the first step of a migration."""
    folder = path.parent / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    copy = folder / LEDGER_ASIDE.format(stem=path.stem, version=version)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    copy.chmod(0o600)


def check_copy(path: Path) -> Copied:
    """Reads a copy through. Raises ``LedgerDamaged``."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as conn:
            [(problem,)] = conn.execute("PRAGMA quick_check(1)").fetchall()
            if problem != "ok":
                raise LedgerDamaged(f"{path} is damaged: {problem}")
            told = dict(conn.execute("SELECT key, value FROM meta").fetchall())
            current = conn.execute(
                "SELECT answer.call_id FROM resource JOIN answer USING (call_id) WHERE answer.body IS NULL ORDER BY 1"
            ).fetchall()
        return Copied(
            schema_version=int(told["schema_version"]),
            mode=told.get("mode", ""),
            identity=told.get(IDENTITY, ""),
            current_answers=tuple(call_id for (call_id,) in current),
        )
    except sqlite3.Error as error:
        raise LedgerDamaged(f"{path} is damaged: {error}") from error
    except (KeyError, ValueError) as error:
        raise LedgerDamaged(f"{path} is no ledger: it does not say of which version it is") from error


def identity_of(conn: Connection) -> str:
    """What all backups of this ledger have in their names; invented once, and restored with it."""
    conn.execute(insert(meta).prefix_with("OR IGNORE").values(key=IDENTITY, value=secrets.token_hex(4)))
    return str(conn.execute(select(meta.c.value).where(meta.c.key == IDENTITY)).scalar_one())


def backup_state(conn: Connection) -> str | None:
    """What ``note_backup_state`` wrote last."""
    return conn.execute(select(meta.c.value).where(meta.c.key == _STATE)).scalar_one_or_none()


def note_backup_state(conn: Connection, text: str) -> None:
    conn.execute(delete(meta).where(meta.c.key == _STATE))
    conn.execute(insert(meta).values(key=_STATE, value=text))


def note_restored(ledger: Path, **known: int | str) -> None:
    """The backup that a ledger was restored from is its last one: ``known`` is written over what it says of that. A
    backup is packed before its own ledger could know of it. Raises ``StoreError``.
    """
    try:
        with closing(sqlite3.connect(ledger, isolation_level=None)) as conn:
            found = conn.execute("SELECT value FROM meta WHERE key = ?", (_STATE,)).fetchone()
            text = json.dumps((json.loads(found[0]) if found else {}) | known)
            conn.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_STATE, text))
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise StoreError(f"{ledger} cannot be told where it was restored from: {error}") from error
