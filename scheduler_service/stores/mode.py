"""Whose data a directory holds: made-up ones of the sandbox, or live ones."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from scheduler_service.errors import DataDirectoryError
from scheduler_service.stores.schema import meta

SANDBOX, LIVE = "sandbox", "live"


def claim_mode(conn: Connection, mode: str, data_dir: str) -> None:
    """A directory is a sandbox one or a live one for ever. Raises ``DataDirectoryError``."""
    if not check_mode(conn, mode, data_dir):
        conn.execute(insert(meta).values(key="mode", value=mode))


def check_mode(conn: Connection, mode: str, data_dir: str) -> bool:
    """Whether the directory is of this mode already. Raises ``DataDirectoryError`` where it is of the other."""
    known = mode_of(conn)
    if known is not None and known != mode:
        raise DataDirectoryError(
            f"{data_dir} holds {known} data, and this configuration is {mode}; give it another service.data_dir"
        )
    return known is not None


def mode_of(conn: Connection) -> str | None:
    """Whose data the directory holds; None where none has run in it yet."""
    return conn.execute(select(meta.c.value).where(meta.c.key == "mode")).scalar_one_or_none()
