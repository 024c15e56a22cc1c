"""``cancel``: the running service gives up a task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from scheduler_service.cli.configuration import settings_of
from scheduler_service.cli.terminal import line, print_json
from scheduler_service.web.client import ControlClient
from scheduler_service.web.views import CancelRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def cancel(paths: Sequence[Path], task: int, *, as_json: bool) -> int:
    """1 where it had ended by itself. Raises ``NotRunning``, and ``ConfigurationError`` where there is no such task."""
    client = ControlClient(settings_of(paths).service.data_dir)
    said = asyncio.run(client.cancel(CancelRequest(task_id=task)))
    if as_json:
        print_json(said.model_dump(mode="json"))
    else:
        line(said.message)
    return 0 if said.cancelled else 1
