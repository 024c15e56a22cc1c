"""A look into the ledger, beside the running service or without one, and the settings that it takes."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from scheduler_service.cli.configuration import settings_of, source_providers
from scheduler_service.cli.place import find
from scheduler_service.cli.terminal import line
from scheduler_service.clients.base import discover as discover_clients
from scheduler_service.errors import ConfigurationError
from scheduler_service.settings.load import find_data_dir, load
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.database import Ledger
from scheduler_service.stores.mode import LIVE, mode_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Connection

T = TypeVar("T")


def settings_to_look(given: Sequence[Path]) -> Settings:
    """The settings; of a configuration that is not valid, what it takes to look at the data: what is wrong is said on
    standard error, and all but the data directory and its mode are defaults.

    Raises ``ConfigurationError`` where there are no data either.
    """
    try:
        return settings_of(given)
    except ConfigurationError as error:
        paths = find(given).paths
        data_dir, _ = find_data_dir(paths, os.environ)
        directory = DataDirectory(data_dir)
        if not directory.ledger.exists() or not all(path.exists() for path in paths):
            raise
        for problem in error.problems:
            line(str(problem), err=True)
        line(f"the configuration is not valid: shown is what lies in {data_dir}, without names and settings", err=True)
        providers = {name: client.Options for name, client in discover_clients().items()}
        usual = load((), {}, providers=providers, sources=source_providers())
        mode = asyncio.run(_look(directory, mode_of))
        return replace(
            usual,
            service=usual.service.model_copy(update={"data_dir": data_dir}),
            sandbox_options=usual.sandbox_options.model_copy(update={"enabled": mode != LIVE}),
        )


def look(settings: Settings, unit: Callable[[Connection], T]) -> T:
    """What the query returns. Raises ``DataDirectoryError`` where nothing has run yet."""
    return asyncio.run(_look(DataDirectory(settings.service.data_dir), unit))


async def _look(directory: DataDirectory, unit: Callable[[Connection], T]) -> T:
    ledger = Ledger(directory.ledger)
    try:
        await ledger.open_query_only()
        return await ledger.read(unit)
    finally:
        await ledger.close()
