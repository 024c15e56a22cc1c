"""The calendars a command goes by: those that the service keeps; what they do not know is computed for it alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from scheduler_service.calendar_file import compute_calendars, merged, read_calendars, warnings_of
from scheduler_service.cli.terminal import line
from scheduler_service.composing import exchanges_needed, unknown_exchanges
from scheduler_service.exchanges import all_exchanges
from scheduler_service.marks import window_warnings
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.triggers import with_calendars

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.calendar_file import Compute, Kept
    from scheduler_service.clock import Instant
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.windows import Calendars


class Informed(NamedTuple):
    """Settings whose schedules go by what is known of their exchanges; a sentence for each exchange of which too
    little is, and for each schedule that has no slot on any day that is known.
    """

    settings: Settings
    calendars: Calendars
    warnings: list[str]


def informed(
    settings: Settings, at: Instant, compute: Compute | None = None, exchanges: set[str] | None = None
) -> Informed:
    """By what is known of the time around ``at``. In the data directory nothing is written: it may be another user's.

    ``exchanges``: where more are wanted than those that schedules and data go by. ``compute`` stands in for the process
    that computes sessions.
    """
    exchanges = exchanges_needed(settings) if exchanges is None else exchanges
    kept = asyncio.run(_known(DataDirectory(settings.service.data_dir).calendars, exchanges, at, compute))
    schedules = tuple(replace(s, trigger=with_calendars(s.trigger, kept.calendar)) for s in settings.schedules)
    windows = window_warnings({s.id: s.trigger for s in schedules if s.enabled})
    warnings = [*unknown_exchanges(settings), *warnings_of(kept, exchanges, at), *windows]
    return Informed(replace(settings, schedules=schedules), kept.calendar, warnings)


async def _known(folder: Path, exchanges: set[str], at: Instant, compute: Compute | None) -> Kept:
    kept = await read_calendars(folder, all_exchanges())
    unknown = sorted(name for name in exchanges if not kept.calendar(name).is_known(at))
    if not unknown:
        return kept
    line(f"The calendar of {', '.join(unknown)} is computed for this once: the service has not kept it.", err=True)
    return merged(kept, await compute_calendars(None, unknown, at, compute=compute))
