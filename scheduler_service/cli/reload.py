"""``reload``: the running service reads its configuration anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from scheduler_service.cli.configuration import settings_of
from scheduler_service.cli.terminal import line, print_json
from scheduler_service.clock import SECOND, SystemClock
from scheduler_service.errors import NotRunning, SchedulerServiceError
from scheduler_service.web.client import ControlClient

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scheduler_service.clock import Clock
    from scheduler_service.web.views import ReloadReport

LOOK_EVERY = 0.2
SECONDS_BEYOND_DRAIN = 60.0
REJECTED = 2


def reload(paths: Sequence[Path], *, as_json: bool) -> int:
    """2 where the configuration is not used; its problems go to standard error.

    Raises ``ConfigurationError`` where it is invalid as seen from here, ``NotRunning``.
    """
    settings = settings_of(paths)
    client = ControlClient(settings.service.data_dir)
    seconds = settings.service.drain_timeout / SECOND + SECONDS_BEYOND_DRAIN
    said = asyncio.run(_reload(client, SystemClock(), seconds))
    if as_json:
        print_json(said.model_dump(mode="json"))
    elif said.outcome != "rejected":
        line(said.message)
    for problem in said.problems:
        line(problem, err=True)
    return REJECTED if said.outcome == "rejected" else 0


async def _reload(client: ControlClient, clock: Clock, seconds: float) -> ReloadReport:
    """What became of it, within so many seconds of a restart. Raises ``SchedulerServiceError``."""
    try:
        said = await client.reload()
    except NotRunning as error:
        raise NotRunning(f"{error} (after a change of service.data_dir, stop the service and start it again)") from None
    number, deadline = said.number, clock.monotonic() + seconds
    while said.outcome == "restarting" or said.number < number:
        await clock.sleep(LOOK_EVERY)
        try:
            said = await client.last_reload()
        except SchedulerServiceError:  # between one configuration and the next nobody answers
            if clock.monotonic() > deadline:
                raise
    return said
