"""``release``: the running service asks again for a stock that it left alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from scheduler_service.cli.configuration import choose, read_symbol, settings_of
from scheduler_service.cli.terminal import line, print_json
from scheduler_service.web.client import ControlClient
from scheduler_service.web.views import ReleaseRequest, TryRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def release(paths: Sequence[Path], symbol: str, domain: str | None, *, as_json: bool, reject: bool = False) -> int:
    """Raises ``NotRunning``, and ``ConfigurationError`` where the service knows nothing of the stock."""
    settings = settings_of(paths)
    if domain is not None:
        choose("configured domain", domain, settings.domains)
    request = ReleaseRequest(symbol=read_symbol(symbol), domain=domain, reject=reject)
    said = asyncio.run(ControlClient(settings.service.data_dir).release(request))
    if as_json:
        print_json(said.model_dump(mode="json"))
    else:
        line(said.message)
    return 0


def try_provider(paths: Sequence[Path], name: str, *, as_json: bool) -> int:
    """Raises ``NotRunning``, and ``ConfigurationError`` where the service does not use such a provider."""
    settings = settings_of(paths)
    said = asyncio.run(ControlClient(settings.service.data_dir).try_provider(TryRequest(provider=name)))
    if as_json:
        print_json(said.model_dump(mode="json"))
    else:
        line(said.message)
    return 0
