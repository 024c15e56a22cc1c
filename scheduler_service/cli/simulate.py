"""``simulate``: what a configuration will do and cost, seen before it goes live."""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click
from loguru import logger

from scheduler_service.calendar_file import run_market_sessions
from scheduler_service.cli.calendars import informed
from scheduler_service.cli.configuration import read
from scheduler_service.cli.figures import bars, several
from scheduler_service.cli.place import find
from scheduler_service.cli.terminal import line, print_json, table
from scheduler_service.clock import BUILT_AT, SystemClock, to_datetime
from scheduler_service.composing import exchanges_told
from scheduler_service.errors import ConfigurationError
from scheduler_service.sandbox.alert_sink import PROVIDER
from scheduler_service.settings.units import format_usd
from scheduler_service.simulation import Plan, simulate
from scheduler_service.simulation_faults import Restore, midnight, parse_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from scheduler_service.calendar_file import Compute
    from scheduler_service.clock import Clock
    from scheduler_service.settings.load import Found
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.simulation_report import Count, ProviderReport, Report

SANDBOX_ON = {"SCHEDULER_PROVIDERS__SANDBOX__ENABLED": "true"}
MOST_SAID = 12
MOST_BARS = 60
OPEN = ("queued", "running")
ENDS = {
    "updated": ("completed",),
    "unchanged": ("unchanged",),
    "skipped": ("skipped",),
    "failed": ("failed",),
    "not done": OPEN,
}
"""How tasks end, in the words of the table."""
ALERTS = {
    "delivered": "came",
    "suppressed": "held back by the cool-down",
    "held": "wait for the end of the cool-down",
    "waiting": "on their way",
    "summed_up": "summed up in one message",
    "given_up": "given up",
}


def simulate_configuration(
    paths: Sequence[Path],
    *,
    days: int,
    start: str | None,
    seed: int,
    faults: Sequence[str],
    as_json: bool,
    clock: Clock | None = None,
    compute: Compute | None = None,
) -> int:
    """Prints the report; 0 whatever happened in it. ``compute`` stands in for the process that computes sessions."""
    found = find(paths)
    if not paths:
        line(found.sentence, err=True)
    settings, notes = as_if_complete(found)
    for note in notes:
        line(note, err=True)
    plan = plan_of(settings, days=days, start=start, seed=seed, faults=faults, clock=clock or SystemClock())
    exchanges = exchanges_told(settings)
    settings, calendars, warnings = informed(settings, plan.start, compute or run_market_sessions, exchanges)
    for warning in warnings:
        line(f"Warning: {warning}", err=True)
    logger.remove()
    said = "{message}\n{exception}"
    logger.add(lambda m: line(m.rstrip(), err=True), level="ERROR", format=said, diagnose=False, backtrace=False)
    known = [calendars(name) for name in sorted(exchanges) if calendars(name).last_day is not None]
    with progress(days) as passed:
        shown = simulate(settings, plan, known, passed)
    if as_json:
        print_json({"seed": seed, "faults": list(faults), **shown.model_dump(mode="json")})
    else:
        print_report(shown, plan, settings)
    return 0


def as_if_complete(found: Found) -> tuple[Settings, list[str]]:
    """The configuration, as if it had every key and every word about who asks that it still lacks; and sentences about
    that. Raises ``ConfigurationError`` for what else is wrong with it.
    """
    settings = read(found, {**os.environ, **SANDBOX_ON})
    notes = [f"{provider} is off in the simulation too: {why}" for provider, why in settings.off.items()]
    try:
        as_it_is = read(found)
    except ConfigurationError as error:
        lacks = "; ".join(str(problem) for problem in error.problems)
        return settings, [*notes, f"As it is, the service would not start; simulated as if this were mended: {lacks}"]
    if as_it_is.sandbox_options.enabled:
        return settings, notes
    notes += [
        f"Simulated as if it had its key: {why}" for name, why in as_it_is.off.items() if name not in settings.off
    ]
    return settings, notes


def plan_of(
    settings: Settings, *, days: int, start: str | None, seed: int, faults: Sequence[str], clock: Clock
) -> Plan:
    """What the command line asks for. Raises ``click.UsageError``."""
    timezone = settings.service.timezone
    try:
        today = to_datetime(clock.now()).astimezone(ZoneInfo(timezone)).date()
        first_day = date.fromisoformat(start) if start is not None else today
    except ValueError:
        raise click.UsageError(f"--from {start}: write a date such as 2027-01-04") from None
    begins = midnight(first_day, timezone)
    if begins < BUILT_AT:
        earliest = to_datetime(BUILT_AT).date()
        raise click.UsageError(f"--from {first_day}: this program is of {earliest}, and believes no clock before that")
    hit = settings.used_providers | ({PROVIDER} if settings.alerts.urls else set())
    try:
        happenings = [
            parse_fault(spec, first_day=first_day, days=days, timezone=timezone, providers=hit) for spec in faults
        ]
    except ValueError as error:
        raise click.UsageError(f"--fault {error}") from None
    for happening in happenings:
        if isinstance(happening.trouble, Restore) and settings.backup.trigger is None:
            said = "no backup will have been made to restore; set backup.trigger to have some made before"
            raise click.UsageError(f"--fault {happening.spec!r}: {said}")
    return Plan(begins, days, seed, tuple(sorted(happenings, key=lambda happening: happening.after)))


@contextmanager
def progress(days: int) -> Iterator[Callable[[int], None]]:
    """One line that is written over and over, where somebody watches."""
    watched, width, shown = sys.stderr.isatty(), len(f"day {days} of {days}"), ""

    def say(text: str) -> None:
        nonlocal shown
        if watched and text != shown:
            sys.stderr.write(f"\r{text:<{width}}\r{text}")
            sys.stderr.flush()
            shown = text

    say(f"day 1 of {days}")
    try:
        yield lambda passed: say(f"day {min(passed + 1, days)} of {days}")
    finally:
        say("")


def print_report(shown: Report, plan: Plan, settings: Settings) -> None:
    begins = to_datetime(plan.start).astimezone(ZoneInfo(settings.service.timezone))
    line(
        f"{several(plan.days, 'day')} from {begins:%a %d %b %Y}, {several(shown.symbols, 'symbol')}, seed {plan.seed}; "
        "the real service on a virtual clock, every provider answered by the sandbox."
    )
    for happening in plan.happenings:
        line(f"  {happening.spec}")
    if shown.starts > 1:
        line(f"  the process was started {shown.starts} times")
    line()
    columns = [
        name for name, states in ENDS.items() if states != OPEN or any(_of(s.tasks, OPEN) for s in shown.schedules)
    ]
    table(
        "Schedules",
        ["schedule", "slots", "tasks", *columns],
        [
            (
                _name(one.schedule_id),
                f"{sum(c.count for c in one.slots):,}" if one.slots else "",
                f"{sum(c.count for c in one.tasks):,}",
                *(f"{_of(one.tasks, ENDS[column]):,}" for column in columns),
            )
            for one in shown.schedules
        ],
        numbers=("slots", "tasks", *columns),
        long=("schedule",),
    )
    for one in shown.schedules:
        for what, counts in (("slots", one.slots), ("tasks", one.tasks)):
            if why := _reasons(counts):
                line(f"{_name(one.schedule_id)}: {what} {why}")
        if waiting := _of(one.tasks, OPEN):
            line(f"{_name(one.schedule_id)}: {several(waiting, 'task')} not done when the time was over")
    line()
    _print_providers(shown)
    line()
    line("Fresh: the share of the time in which a stock's sources had been checked within their fresh_for.")
    for domain in shown.domains:
        line(f"  {domain.domain}: {domain.fresh:.1%} of {several(domain.symbols, 'symbol')}")
    _print_noticed(shown)
    _print_said(shown)


def _print_providers(shown: Report) -> None:
    period = "hour" if shown.period_hours == 1 else "day"
    table(
        "Providers",
        ["provider", "calls", "failed", "joined", "busiest day", "most in 60 s", "cost"],
        [
            (
                one.provider,
                f"{one.asked:,}",
                f"{one.failed + one.lost:,}",
                f"{one.joined:,}",
                f"{one.busiest_day:,}",
                f"{one.most_in_a_minute:,}",
                format_usd(one.usd),
            )
            for one in shown.providers
        ],
        numbers=("calls", "failed", "joined", "busiest day", "most in 60 s", "cost"),
        long=("provider",),
    )
    for one in shown.providers:
        if one.usd_of_failed:
            line(f"{one.provider}: {format_usd(one.usd_of_failed)} of that is charged, though failed: what may be due")
    line(f"Calls per {period}:")
    for one in shown.providers:
        line(f"  {one.provider:<11} {bars(_bars(one))}")


def _bars(one: ProviderReport) -> tuple[int, ...]:
    """So few that they fit into a line."""
    periods = one.per_period
    width = -(-len(periods) // MOST_BARS)
    return tuple(sum(periods[n : n + width]) for n in range(0, len(periods), width))


def _print_noticed(shown: Report) -> None:
    """What watches found, what was told of it, and the backups."""
    if shown.noticed:
        line()
        line("Noticed:")
        for one in shown.noticed:
            line(f"  {one.count:>6,} x {one.event}")
    for channel in shown.channels:
        line(f"Alerts to {channel.channel}:")
        for end in channel.ends:
            line(f"  {end.count:>6,} {ALERTS[end.outcome]}")
    if shown.backups:
        line(f"{several(shown.backups, 'backup')} made and read back")


def _print_said(shown: Report) -> None:
    if not shown.said:
        return
    line()
    line("Said at WARNING or above, each in the words of its first time:")
    for said in shown.said[:MOST_SAID]:
        line(f"  {said.count:,} x {said.level} {said.event}, first {said.first_at}: {said.message}")
    if len(shown.said) > MOST_SAID:
        line(f"  and {len(shown.said) - MOST_SAID} others; --json has them all")


def _name(schedule_id: str) -> str:
    return {"initial": "(first fetch)", "follow_up": "(follow-ups)"}.get(schedule_id, schedule_id)


def _of(counts: Iterable[Count], outcomes: Sequence[str]) -> int:
    return sum(count.count for count in counts if count.outcome in outcomes)


def _reasons(counts: Iterable[Count]) -> str:
    """``skipped 12 (fresh 10, not_needed 2), failed 1 (timeout 1)``: what has a reason."""
    by_outcome: dict[str, Counter[str]] = {}
    for count in counts:
        if count.reason not in (None, count.outcome):
            by_outcome.setdefault(count.outcome, Counter())[str(count.reason)] += count.count
    return ", ".join(f"{outcome} {_each(reasons)}" for outcome, reasons in by_outcome.items())


def _each(reasons: Mapping[str, int]) -> str:
    listed = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
    return f"{sum(reasons.values()):,} ({listed})"
