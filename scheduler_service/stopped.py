"""A data directory in which nothing runs, held for a while: for what commands do to it themselves."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.database import Ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scheduler_service.settings.loaded import Settings


@asynccontextmanager
async def stopped_directory(settings: Settings) -> AsyncIterator[Ledger]:
    """Its ledger, to read and to write. Raises ``AlreadyRunning`` or ``DataDirectoryError``."""
    directory = DataDirectory(settings.service.data_dir)
    look_first = Ledger(directory.ledger)
    try:
        await look_first.open_query_only()  # where nothing has run yet, nothing is made
    finally:
        await look_first.close()
    directory.take()
    ledger = Ledger(directory.ledger)
    try:
        await ledger.open()
        writer = asyncio.create_task(ledger.write_forever(), name="ledger writer")
        try:
            yield ledger
        finally:
            ledger.stop_writing()
            await asyncio.gather(writer, return_exceptions=True)
    finally:
        await ledger.close()
        directory.release()
