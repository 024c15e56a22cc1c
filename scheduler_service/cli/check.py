"""``check``: every problem of a configuration; when there is none, what it will do and what that will cost."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from scheduler_service.cli.configuration import settings_of, source_providers
from scheduler_service.cli.estimate import estimate
from scheduler_service.cli.figures import local, local_iso, several
from scheduler_service.cli.ledger import look
from scheduler_service.cli.terminal import line, print_json, table
from scheduler_service.cli.upcoming import slots
from scheduler_service.clock import DAY, SystemClock, to_iso
from scheduler_service.errors import ConfigurationError, DataDirectoryError, Problem
from scheduler_service.stores.data_directory import LIVE, SANDBOX, DataDirectory, check_mode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scheduler_service.cli.estimate import Estimate
    from scheduler_service.cli.upcoming import Slot
    from scheduler_service.clock import Clock
    from scheduler_service.settings.loaded import Schedule, Settings

SLOTS_SHOWN = 3
LOOK_AHEAD = 50 * 366 * DAY


def check(paths: Sequence[Path], *, as_json: bool, clock: Clock | None = None) -> int:
    """2 where there are problems: as JSON on standard output, else raised."""
    try:
        settings = settings_of(paths)
        _check_directory(settings)
    except ConfigurationError as error:
        if not as_json:
            raise
        print_json({"valid": False, "problems": [asdict(problem) for problem in error.problems]})
        return 2
    now = (clock or SystemClock()).now()
    ahead = {
        schedule.id: list(islice(slots([schedule], settings.service.timezone, now, now + LOOK_AHEAD), SLOTS_SHOWN))
        for schedule in settings.schedules
    }
    estimates = estimate(settings, source_providers(), now)
    if as_json:
        print_json(_as_json(settings, ahead, estimates))
    else:
        _print(settings, ahead, estimates)
    return 0


def _check_directory(settings: Settings) -> None:
    """Raises ``ConfigurationError`` where ``run`` would refuse the data directory, as far as a look can tell."""
    directory = DataDirectory(settings.service.data_dir)
    if directory.ledger.exists():
        mode = SANDBOX if settings.sandbox else LIVE
        try:
            look(settings, partial(check_mode, mode=mode, data_dir=str(directory.root)))
        except DataDirectoryError as error:
            path = "service.data_dir"
            raise ConfigurationError([Problem(settings.line_of(path), path, str(error))]) from error


def _as_json(settings: Settings, ahead: dict[str, list[Slot]], estimates: list[Estimate]) -> dict[str, object]:
    return {
        "valid": True,
        "problems": [],
        "warnings": list(settings.warnings),
        "sandbox": settings.sandbox,
        "data_dir": str(settings.service.data_dir.absolute()),
        "schedules": [
            {
                "schedule_id": schedule.id,
                "domain": schedule.domain,
                "symbols": _symbols(settings, schedule),
                "enabled": schedule.enabled,
                "in_words": schedule.trigger.describe(),
                "next": [
                    {"due_at": to_iso(slot.due_at), "local": local_iso(slot.due_at, slot.timezone)}
                    for slot in ahead[schedule.id]
                ],
            }
            for schedule in settings.schedules
        ],
        "estimate": [asdict(one) for one in estimates],
    }


def _print(settings: Settings, ahead: dict[str, list[Slot]], estimates: list[Estimate]) -> None:
    parts = [
        several(len(settings.watchlist), "symbol"),
        several(len(settings.domains), "domain"),
        several(len(settings.schedules), "schedule"),
    ]
    kind = "sandbox" if settings.sandbox else "live"
    line(f"The configuration is valid: {', '.join(parts)}; {kind}.")
    line(f"Data: {settings.service.data_dir.absolute()}")
    for warning in settings.warnings:
        line(f"Warning: {warning}")
    for schedule in settings.schedules:
        line()
        line(
            f"{schedule.id}: {schedule.domain} of {several(_symbols(settings, schedule), 'symbol')}, "
            f"{schedule.trigger.describe()}"
        )
        for slot in ahead[schedule.id]:
            line(f"  {local(slot.due_at, slot.timezone)}   {to_iso(slot.due_at)}")
        if not ahead[schedule.id]:
            line("  no slot to come" if schedule.enabled else "  switched off (enabled: false)")
    line()
    table(
        "Calls per day, an estimate",
        ["provider", "asks", "about", "budget", "cost"],
        [
            (
                one.provider,
                "the sandbox" if one.sandbox else ", ".join(one.hosts) or "nobody",
                f"{one.calls_per_day:,}",
                "none" if one.calls_limit is None else f"{one.calls_limit:,}",
                f"${one.usd_per_day:.2f}",
            )
            for one in estimates
        ],
        numbers=("about", "budget", "cost"),
    )
    line("Slots of the busiest of the next days x symbols x sources, one call each. A company that is new, or has just")
    line("reported, takes up to three; what is still fresh or kept takes none.")


def _symbols(settings: Settings, schedule: Schedule) -> int:
    return sum(map(schedule.selects, settings.watchlist))
