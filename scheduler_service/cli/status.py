"""``status``: the state of the running service in one look."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import TYPE_CHECKING

from scheduler_service.cli.figures import span
from scheduler_service.cli.place import data_dir_of
from scheduler_service.cli.terminal import line, print_json, table
from scheduler_service.clock import MILLISECOND, from_iso
from scheduler_service.web.client import ControlClient

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scheduler_service.web.views import BackupView, ChannelView, MarketView, ProviderState, Readiness, Status

SLOTS_SHOWN = 8
STOCKS_NAMED = 5
HEALTHY = "healthy"


def status(paths: Sequence[Path], *, only_ready: bool, as_json: bool) -> int:
    """1 when degraded; with ``only_ready`` only when not ready. Raises ``NotRunning``.

    The configuration need not be valid: somebody may be editing it, and the service runs with the one before.
    """
    said = asyncio.run(ControlClient(data_dir_of(paths)).status())
    if only_ready:
        return _print_readiness(said.readiness, as_json=as_json)
    if as_json:
        print_json(said.model_dump(mode="json"))
    else:
        print_status(said)
    return 1 if _state(said) != "ready" else 0


def _print_readiness(readiness: Readiness, *, as_json: bool) -> int:
    if as_json:
        print_json(readiness.model_dump(mode="json"))
    else:
        line(readiness.state + (f": {readiness.problem}" if readiness.problem else ""))
    return 0 if readiness.ready else 1


def _market(market: MarketView) -> str:
    """``XNYS is closed until 2026-11-27T14:30:00Z (half day)``."""
    state = {True: "is open", False: "is closed", None: "is not known"}[market.open]
    state = "has its lunch break" if market.on_break else state
    until = f" until {market.until}" if market.until else ""
    return f"{market.exchange} {state}{until}{f' ({market.note})' if market.note else ''}"


def _channel(channel: ChannelView) -> str:
    """``webhook hooks.example.com: 3 wait (it answered 503), failing since ..., last delivered ...``."""
    parts = [f"{channel.waiting:,} waiting"]
    if channel.said:
        parts[0] += f" ({channel.said})"
    if not channel.configured:
        parts.append("not named by alerts.urls any more")
    if channel.failing_since:
        parts.append(f"failing since {channel.failing_since}")
    parts.append(f"last delivered {channel.delivered_at}" if channel.delivered_at else "nothing delivered so far")
    return f"{channel.channel}: {', '.join(parts)}"


def _state(said: Status) -> str:
    """One word for the whole."""
    if not said.readiness.ready:
        return said.readiness.state
    return said.readiness.state if (health := _health(said)) == HEALTHY else health


def _health(said: Status) -> str:
    """The worse of what does not work now, and of how it was when health was last looked at."""
    looked = HEALTHY if said.health is None else said.health.state
    return "degraded" if looked == HEALTHY and said.problems else looked


def print_status(said: Status) -> None:
    up = span(from_iso(said.now) - from_iso(said.started_at))
    line(f"{said.name} is {_state(said)}: version {said.version}, pid {said.pid}, up {up}")
    line(f"{'Sandbox data' if said.sandbox else 'Data'}: {said.data_dir}")
    if said.http is not None:
        line(f"Health is answered at {said.http}/healthz and /readyz")
    line(f"Tasks: {said.running} running, {said.queued} waiting")
    if said.health is not None:
        problems = {_without_numbers(problem) for problem in said.problems}  # counts go on while health rests
        others = [reason for reason in said.health.reasons if _without_numbers(reason) not in problems]
        why = f": {'; '.join(others)}" if others else ""
        line(f"Health: {_health(said)}{why}")
    for market in said.markets:
        line(f"Market: {_market(market)}")
    for problem in said.problems:
        line(f"Problem: {problem}")
    for warning in said.warnings:
        line(f"Warning: {warning}")
    for pause in said.pauses:
        until = f"until {pause.until}" if pause.until else "until someone resumes"
        why = f": {pause.reason}" if pause.reason else ""
        line(f"Paused: {pause.schedule_id or 'everything'} since {pause.since}, {until}{why}")
    for channel in said.alerts:
        line(f"Alerts: {_channel(channel)}")
    if said.backup is not None:
        line(_backup(said.backup))
    if not said.readiness.ready:
        for step in said.readiness.steps:
            line(f"  {step.name}: {step.state}{f', {step.error}' if step.error else ''}")
    line()
    counts = ["watched", "fresh", "stale", "never", "failing", "quarantined"]
    table(
        "What is known, by symbol and source",
        ["domain", *counts],
        [(f.domain, f.watched, f.fresh, f.stale, f.never, f.failing, f.quarantined) for f in said.freshness],
        numbers=counts,
    )
    table(
        "Next slots",
        ["due (UTC)", "local", "schedule", "in words"],
        [
            (slot.due_at, _local(slot.local), slot.schedule_id, "; ".join(filter(None, (slot.in_words, slot.note))))
            for slot in said.next[:SLOTS_SHOWN]
        ],
        long=("schedule", "in words"),
    )
    table(
        "Providers",
        ["provider", "calls today", "spent today", "gate"],
        [
            (
                p.provider + (" (sandbox)" if p.sandbox else ""),
                _of(f"{p.calls_today:,}", "" if p.calls_limit is None else f"{p.calls_limit:,}"),
                _of(f"${p.usd_today:.2f}", "" if p.usd_limit is None else f"${p.usd_limit:.2f}"),
                _gate(p),
            )
            for p in said.providers
        ],
        numbers=("calls today", "spent today"),
        long=("provider", "gate"),
    )
    for model in said.models:
        some = ", ".join(model.conflicting_symbols[:STOCKS_NAMED])
        more = ", ..." if len(model.conflicting_symbols) > STOCKS_NAMED else ""
        of = f" ({some}{more})" if some else ""
        told = f"{model.verified:,} verified, {model.conflicting:,} conflicting{of}, {model.unverified:,} unverified"
        line(f"Figures stated by {model.source}, beside the filings: {told}")


def _without_numbers(sentence: str) -> str:
    return re.sub(r"\d+", "", sentence)


def _backup(backup: BackupView) -> str:
    """``Last backup: 3 h ago, 12,345 bytes, /...; the next at 2026-11-24T02:00:00Z``."""
    said = "Last backup: none so far"
    if backup.age_ms is not None:
        said = f"Last backup: {span(backup.age_ms * MILLISECOND)} ago, {backup.bytes or 0:,} bytes, {backup.path}"
    return f"{said}; the next at {backup.next_at}" if backup.next_at else said


def _local(iso: str) -> str:
    """``Mon 18:30 -05:00``."""
    return f"{datetime.fromisoformat(iso):%a %H:%M} {iso[-6:]}"


def _of(used: str, limit: str) -> str:
    return f"{used} of {limit}" if limit else used


def _gate(provider: ProviderState) -> str:
    if provider.off is not None:
        return "off: no key"
    aside = [f"{key.name} {key.state.replace('_', ' ')}" for key in provider.keys if key.until is not None]
    if provider.closed_until is not None:
        return f"closed until {provider.closed_until} ({provider.reason})"
    open_or_not = "open" if provider.exhausted is None else "budget spent"
    return f"{open_or_not} ({', '.join(aside)})" if aside else open_or_not
