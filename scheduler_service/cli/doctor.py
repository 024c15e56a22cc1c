"""``doctor``: whether all is well, what is not, and what to do about it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

from scheduler_service.checkup import check_up, send_test_alerts
from scheduler_service.cli.configuration import settings_of
from scheduler_service.cli.terminal import line, print_json
from scheduler_service.clock import SystemClock
from scheduler_service.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scheduler_service.checkup import Told
    from scheduler_service.place_checkup import Finding
    from scheduler_service.settings.loaded import Settings


def doctor(paths: Sequence[Path], *, alert: bool, as_json: bool) -> int:
    """1 where something is wrong, 2 where the configuration is: as JSON on standard output, else raised."""
    try:
        settings = settings_of(paths, to_run=True)
    except ConfigurationError as error:
        if not as_json:
            raise
        print_json({"fine": False, "problems": [asdict(problem) for problem in error.problems]})
        return 2
    findings, told = asyncio.run(_examine(settings, alert=alert))
    fine = all(finding.is_fine for finding in findings) and all(one.arrived for one in told)
    if alert and not told:
        fine = False
    if as_json:
        print_json(
            {
                "fine": fine,
                "problems": [],
                "findings": [{**asdict(finding), "fine": finding.is_fine} for finding in findings],
                "alerts": [{**asdict(one), "arrived": one.arrived} for one in told] if alert else None,
            }
        )
    else:
        _print(findings, told, alert=alert, fine=fine)
    return 0 if fine else 1


async def _examine(settings: Settings, *, alert: bool) -> tuple[list[Finding], list[Told]]:
    clock = SystemClock()
    return await check_up(settings, clock), await send_test_alerts(settings, clock) if alert else []


def _print(findings: Sequence[Finding], told: Sequence[Told], *, alert: bool, fine: bool) -> None:
    for finding in findings:
        mark = "WRONG" if not finding.is_fine else "NOTE " if finding.note else "ok   "
        line(f"{mark} {finding.about}: {finding.said}")
        if not finding.is_fine:
            line(f"      do: {finding.todo}")
    for one in told:
        line(f"{'ok   ' if one.arrived else 'WRONG'} test alert to {one.channel}: {one.said or 'it has arrived'}")
    if alert and not told:
        line("WRONG test alert: there is no channel to send it to")
        line("      do: name one under alerts.urls")
    noted = any(finding.note for finding in findings)
    line("Not all is well." if not fine else "Nothing is wrong; see what is noted." if noted else "All is well.")
