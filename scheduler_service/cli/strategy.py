"""``history --strategy``: what was noticed or decided, newest first, from the strategy log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from scheduler_service.cli.configuration import read_symbol
from scheduler_service.cli.history import read_duration
from scheduler_service.cli.ledger import settings_to_look
from scheduler_service.cli.terminal import line, print_json, table
from scheduler_service.clock import SystemClock, to_iso_seconds
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.strategy_log_store import read_entries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scheduler_service.clock import Clock, Instant
    from scheduler_service.stores.strategy_log_store import StrategyEntry

SHOWN = 50


def strategy(paths: Sequence[Path], *, symbol: str | None, last: str, as_json: bool, clock: Clock | None = None) -> int:
    """0, also where nothing was noticed; 1 where the log cannot be read."""
    settings = settings_to_look(paths)
    folder = DataDirectory(settings.service.data_dir).strategy_log
    since = (clock or SystemClock()).now() - read_duration(last)
    wanted = None if symbol is None else read_symbol(symbol)
    try:
        entries = asyncio.run(_entries(folder, since))
    except OSError as error:
        line(f"{folder} cannot be read: {error.strerror or error}; see that this user may read it", err=True)
        return 1
    found = [entry for entry in reversed(entries) if wanted in (None, entry.symbol)]
    if as_json:
        print_json([entry.as_json() for entry in found])
        return 0
    if not found:
        line(f"nothing was noticed since {to_iso_seconds(since)}", err=True)
        return 0
    rows = [(to_iso_seconds(entry.at), entry.event, entry.message) for entry in found[:SHOWN]]
    table("", ("when (UTC)", "event", "what was noticed"), rows, long=("what was noticed",))
    if len(found) > SHOWN:
        line(f"and {len(found) - SHOWN:,} more; --json shows all, with the facts each rests on")
    return 0


async def _entries(folder: Path, since: Instant) -> list[StrategyEntry]:
    return await read_entries(folder, since)
