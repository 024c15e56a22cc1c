"""``pause`` and ``resume``: the running service leaves a schedule alone, or all of them, for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from scheduler_service.cli.configuration import settings_of
from scheduler_service.cli.terminal import line, print_json
from scheduler_service.clock import MILLISECOND
from scheduler_service.settings.units import parse_duration
from scheduler_service.web.client import ControlClient
from scheduler_service.web.views import LONGEST_REASON, PauseRequest, ResumeRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scheduler_service.web.views import PauseReport


def pause(
    paths: Sequence[Path], job: str | None, *, everything: bool, span: str | None, reason: str | None, as_json: bool
) -> int:
    """Raises ``NotRunning``, and ``ConfigurationError`` where the service knows no such schedule."""
    _check_one(job, everything=everything)
    if reason is not None and len(reason) > LONGEST_REASON:
        raise click.UsageError(f"--reason has {len(reason)} characters; at most {LONGEST_REASON} are kept")
    for_ms = None if span is None else _milliseconds(span)
    request = PauseRequest(schedule_id=job, for_ms=for_ms, reason=reason)
    return _show(asyncio.run(ControlClient(settings_of(paths).service.data_dir).pause(request)), as_json=as_json)


def resume(paths: Sequence[Path], job: str | None, *, everything: bool, as_json: bool) -> int:
    """As ``pause``."""
    _check_one(job, everything=everything)
    request = ResumeRequest(schedule_id=job)
    return _show(asyncio.run(ControlClient(settings_of(paths).service.data_dir).resume(request)), as_json=as_json)


def _check_one(job: str | None, *, everything: bool) -> None:
    if (job is None) != everything:
        raise click.UsageError("name one schedule, or give --all")


def _milliseconds(span: str) -> int:
    try:
        micros = parse_duration(span)
    except ValueError as error:
        raise click.UsageError(f"--for {error}") from None
    if micros < MILLISECOND:
        raise click.UsageError(f"--for {span!r} is no time at all; write one such as 30m or 2h")
    return micros // MILLISECOND


def _show(said: PauseReport, *, as_json: bool) -> int:
    if as_json:
        print_json(said.model_dump(mode="json"))
        return 0
    line(said.message)
    return 0
