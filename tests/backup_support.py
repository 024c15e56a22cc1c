"""A data directory with a ledger and a document, its settings, and backups of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import insert

from scheduler_service.cli.configuration import read
from scheduler_service.settings.load import Found
from scheduler_service.stores.mode import SANDBOX, claim_mode
from scheduler_service.stores.notice_schema import outbox
from scheduler_service.stores.schema import answer, call, resource, spend
from tests.ledger_support import open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from scheduler_service.models import Event
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Connection, Ledger

AT = 1_790_000_000_000_000


def settings_in(folder: Path, more: str = "") -> Settings:
    """The sandbox's, with its data in ``folder / "data"``."""
    path = folder / "scheduler.yaml"
    path.write_text(
        f"service: {{data_dir: data}}\nproviders: {{sandbox: {{enabled: true}}}}\nwatchlist: [AAPL]\n{more}"
    )
    return read(Found((path,), ""), {})


@asynccontextmanager
async def lived_in(settings: Settings) -> AsyncIterator[Ledger]:
    """The ledger of a directory in which something has happened, open."""
    root = settings.service.data_dir
    for name in ("documents/news", "raw", "strategy_log"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "documents/news/AAPL.json").write_text("{}")
    (root / "strategy_log/2026-11.jsonl").write_text("{}\n")
    (root / "raw/7.zst").write_bytes(b"seven")
    (root / "raw/6.zst").write_bytes(b"six, no longer current")
    async with open_ledger(root / "ledger.sqlite") as ledger:
        await ledger.run(partial(claim_mode, mode=SANDBOX, data_dir=str(root)))
        yield ledger


class Heard:
    """What was published."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


def spent(conn: Connection, usd_micros: int) -> None:
    conn.execute(insert(spend).values(provider="p", day="2026-11-24", calls=1, usd_micros=usd_micros, tokens=0))


def noticed(conn: Connection, key: str, handled_at: int | None) -> None:
    conn.execute(
        insert(outbox).values(
            key=key,
            event="e",
            level="INFO",
            message="m",
            facts=b"{}",
            is_alert=True,
            created_at=AT,
            logged_at=handled_at,
            handled_at=handled_at,
        )
    )


def answered(conn: Connection, call_id: int) -> None:
    """A large answer that is current for its resource."""
    columns = {column.name: column for column in call.columns}
    row: dict[str, object] = {
        name: 0 if column.type.python_type is int else ""
        for name, column in columns.items()
        if not column.nullable and name != "id"
    }
    conn.execute(insert(call).values(id=call_id, settled_at=AT, **row))
    conn.execute(insert(resource).values(key="r", provider="p", call_id=call_id))
    conn.execute(
        insert(answer).values(
            call_id=call_id,
            resource_key="r",
            request_sha256=b"",
            url="",
            content_type="",
            sandbox=True,
            size=5,
            sha256=b"",
            fetched_at=AT,
        )
    )
