"""A look into the ledger, beside the running service or without one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.database import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Connection

T = TypeVar("T")


def look(settings: Settings, unit: Callable[[Connection], T]) -> T:
    """What the query returns. Raises ``DataDirectoryError`` where nothing has run yet."""
    return asyncio.run(_look(settings, unit))


async def _look(settings: Settings, unit: Callable[[Connection], T]) -> T:
    ledger = Ledger(DataDirectory(settings.service.data_dir).ledger)
    try:
        await ledger.open_query_only()
        return await ledger.read(unit)
    finally:
        await ledger.close()
