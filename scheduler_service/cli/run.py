"""``run``: the service in the foreground."""

from __future__ import annotations

import asyncio
import faulthandler
import os
from functools import partial
from typing import TYPE_CHECKING

from scheduler_service import log_setup
from scheduler_service.cli.configuration import settings_to_run
from scheduler_service.cli.place import find
from scheduler_service.clock import SystemClock
from scheduler_service.reloading import Configured, ReloadingService, set_up_log, with_token
from scheduler_service.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def run(paths: Sequence[Path]) -> int:
    """Returns once the service has stopped."""
    configured = _read(paths)
    # A watchdog ends what hangs with SIGABRT: then the log says where. Other threads run on meanwhile, and to look into
    # them can crash.
    faulthandler.enable(all_threads=False)
    set_up_log(configured.settings)
    try:
        return asyncio.run(_serve(configured, paths))
    finally:
        log_setup.stop_logging()


async def _serve(configured: Configured, paths: Sequence[Path]) -> int:
    clock = SystemClock()
    supervisor = Supervisor(os.environ, clock)
    return await ReloadingService(configured, partial(_read, paths), supervisor, clock).run()


def _read(paths: Sequence[Path]) -> Configured:
    """The configuration as it is now. Raises ``ConfigurationError``."""
    found = find(paths)
    return with_token(settings_to_run(found), found.sentence)
