"""``reload``: the running service reads its configuration anew."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from scheduler_service.cli.configuration import settings_of
from scheduler_service.cli.place import find
from scheduler_service.cli.terminal import line, print_json
from scheduler_service.clock import SECOND, SystemClock
from scheduler_service.errors import NotRunning, SchedulerServiceError
from scheduler_service.settings.load import usual_data_dir
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
    usual = ControlClient(usual_data_dir(find(paths).paths, os.environ))
    said = asyncio.run(_reload(client, usual, SystemClock(), seconds))
    if as_json:
        print_json(said.model_dump(mode="json"))
    elif said.outcome != "rejected":
        line(said.message)
    for problem in said.problems:
        line(problem, err=True)
    return REJECTED if said.outcome == "rejected" else 0


async def _reload(client: ControlClient, usual: ControlClient, clock: Clock, seconds: float) -> ReloadReport:
    """What became of it, within so many seconds of a restart. Raises ``SchedulerServiceError``."""
    try:
        said = await client.reload()
    except NotRunning as error:
        raise NotRunning(f"{error} ({await _after_a_move(usual)})") from None
    number, deadline = said.number, clock.monotonic() + seconds
    while said.outcome == "restarting" or said.number < number:
        await clock.sleep(LOOK_EVERY)
        try:
            said = await client.last_reload()
        except SchedulerServiceError:  # between one configuration and the next nobody answers
            if clock.monotonic() > deadline:
                raise
    return said


async def _after_a_move(usual: ControlClient) -> str:
    """What helps where the files name another data directory than the one the service was started with.

    The service at the usual place is only looked at, not reloaded: it may be that of another configuration.
    """
    read_at_the_start = "service.data_dir is read at the start only: after a change of it, restart the service"
    try:
        running = await usual.status()
    except SchedulerServiceError:
        return read_at_the_start
    return f"one runs on {running.data_dir}; {read_at_the_start}"
