"""``status``: the state of the running service in one look."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from scheduler_service.cli.configuration import settings_of
from scheduler_service.cli.figures import span
from scheduler_service.cli.terminal import line, print_json, table
from scheduler_service.clock import from_iso
from scheduler_service.web.client import ControlClient

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scheduler_service.web.views import ProviderState, Status

SLOTS_SHOWN = 8


def status(paths: Sequence[Path], *, as_json: bool) -> int:
    """1 when degraded. Raises ``NotRunning``."""
    settings = settings_of(paths)
    said = asyncio.run(ControlClient(settings.service.data_dir).status())
    if as_json:
        print_json(said.model_dump(mode="json"))
    else:
        print_status(said)
    return 1 if said.problems or not said.readiness.ready else 0


def print_status(said: Status) -> None:
    up = span(from_iso(said.now) - from_iso(said.started_at))
    state = "degraded" if said.readiness.ready and said.problems else said.readiness.state
    line(f"{said.name} is {state}: version {said.version}, pid {said.pid}, up {up}")
    line(f"{'Sandbox data' if said.sandbox else 'Data'}: {said.data_dir}")
    line(f"Tasks: {said.running} running, {said.queued} waiting")
    for problem in said.problems:
        line(f"Problem: {problem}")
    if not said.readiness.ready:
        for step in said.readiness.steps:
            line(f"  {step.name}: {step.state}{f', {step.error}' if step.error else ''}")
    line()
    counts = ["watched", "fresh", "stale", "never", "failing"]
    table(
        "What is known, by symbol and source",
        ["domain", *counts],
        [(f.domain, f.watched, f.fresh, f.stale, f.never, f.failing) for f in said.freshness],
        numbers=counts,
    )
    table(
        "Next slots",
        ["due (UTC)", "schedule", "in words"],
        [(slot.due_at, slot.schedule_id, slot.in_words) for slot in said.next[:SLOTS_SHOWN]],
        long=("schedule", "in words"),
    )
    table(
        "Providers",
        ["provider", "calls today", "budget", "spent today", "gate"],
        [
            (
                p.provider + (" (sandbox)" if p.sandbox else ""),
                f"{p.calls_today:,}",
                "none" if p.calls_limit is None else f"{p.calls_limit:,}",
                f"${p.usd_today:.2f}",
                _gate(p),
            )
            for p in said.providers
        ],
        numbers=("calls today", "budget", "spent today"),
        long=("provider", "gate"),
    )


def _gate(provider: ProviderState) -> str:
    return "open" if provider.closed_until is None else f"closed until {provider.closed_until} ({provider.reason})"
