"""``check``: every problem of a configuration; when there is none, what it will do and what that will cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from scheduler_service.cli.budget import forecast_as_json, known_of
from scheduler_service.cli.calendars import informed
from scheduler_service.cli.configuration import settings_of, source_providers
from scheduler_service.cli.figures import local, local_iso, several
from scheduler_service.cli.ledger import look
from scheduler_service.cli.terminal import line, print_json, table
from scheduler_service.cli.upcoming import slots
from scheduler_service.clock import DAY, SystemClock, to_iso
from scheduler_service.cost_change import changes, daily, from_text
from scheduler_service.errors import ConfigurationError, DataDirectoryError, Problem
from scheduler_service.estimate import covered, estimate, usual_prices
from scheduler_service.first_fetch import in_words as first_in_words
from scheduler_service.first_fetch import plan, tried
from scheduler_service.forecast import Known, forecasts, in_words
from scheduler_service.settings.units import format_usd
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.mode import LIVE, SANDBOX, check_mode
from scheduler_service.stores.spending import noted_estimate
from scheduler_service.triggers import AtTrigger, without_window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from scheduler_service.calendar_file import Compute
    from scheduler_service.cli.upcoming import Slot
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.cost_change import Change, Noted
    from scheduler_service.estimate import Estimate
    from scheduler_service.first_fetch import FirstFetch
    from scheduler_service.forecast import Forecast
    from scheduler_service.models import StockState
    from scheduler_service.settings.loaded import Schedule, Settings
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.stock_state_store import Key

SLOTS_SHOWN = 3
LOOK_AHEAD = 50 * 366 * DAY


def check(paths: Sequence[Path], *, as_json: bool, clock: Clock | None = None, compute: Compute | None = None) -> int:
    """2 where there are problems: as JSON on standard output, else raised.

    ``compute`` stands in for the process that computes sessions.
    """
    now = (clock or SystemClock()).now()
    try:
        settings = settings_of(paths, to_run=True)
        known = _known(settings, now)
    except ConfigurationError as error:
        if not as_json:
            raise
        print_json({"valid": False, "problems": [asdict(problem) for problem in error.problems]})
        return 2
    as_written = settings
    settings, calendars, calendar_warnings = informed(settings, now, compute)
    settings = replace(settings, warnings=(*settings.warnings, *calendar_warnings))
    ahead = {
        schedule.id: list(islice(slots([schedule], settings.service.timezone, now, now + LOOK_AHEAD), SLOTS_SHOWN))
        for schedule in settings.schedules
    }
    settings = replace(settings, warnings=(*settings.warnings, *_over(settings, ahead)))
    sources = source_providers()
    estimates = estimate(settings, sources, now, calendars)
    first = plan(settings, sources, _never_fetched(settings, sources, known.states), usual_prices(settings))
    change = _change(as_written, known.before)
    foreseen = forecasts(settings, sources, known.spending, now, calendars)
    if as_json:
        print_json(_as_json(settings, ahead, estimates, first, change, foreseen, now))
    else:
        _print(settings, ahead, estimates, first)
        _print_budgets(settings, change, foreseen, now)
    return 0


def _over(settings: Settings, ahead: Mapping[str, Sequence[Slot]]) -> Iterator[str]:
    for schedule in settings.schedules:
        if schedule.enabled and isinstance(without_window(schedule.trigger), AtTrigger) and not ahead[schedule.id]:
            yield f"schedule {schedule.id}: it is over: {schedule.trigger.describe()}, is in the past"


@dataclass(frozen=True, slots=True)
class _FromLedger:
    """What the ledger knows of every stock and source, of what was spent, and of what ran before."""

    states: Mapping[Key, StockState] = field(default_factory=dict)
    spending: Known = field(default_factory=Known)
    before: Noted | None = None


def _known(settings: Settings, now: Instant) -> _FromLedger:
    """What is known of the data directory.

    Raises ``ConfigurationError`` where ``run`` would refuse the data directory, as far as a look can tell.
    """
    directory = DataDirectory(settings.service.data_dir)
    if not directory.ledger.exists():
        return _FromLedger()
    mode = SANDBOX if settings.sandbox else LIVE
    try:
        return look(settings, partial(_look, mode=mode, data_dir=str(directory.root), now=now))
    except DataDirectoryError as error:
        path = "service.data_dir"
        raise ConfigurationError([Problem(settings.line_of(path), path, str(error))]) from error


def _look(conn: Connection, mode: str, data_dir: str, now: Instant) -> _FromLedger:
    check_mode(conn, mode, data_dir)
    known = known_of(conn, now)
    return _FromLedger(known.states, known, from_text(noted_estimate(conn)))


def _change(settings: Settings, before: Noted | None) -> list[Change]:
    """What it asks more or less than the configuration that the service ran with last. Both are estimated as of the
    same time, without what calendars know, so that nothing else makes a difference.
    """
    return [] if before is None else changes(before.by_provider, daily(settings, before.at))


def _never_fetched(
    settings: Settings, sources: Mapping[str, Mapping[str, str]], known: Mapping[Key, StockState]
) -> dict[tuple[str, str], int]:
    """How many symbols each (domain, source) lacks."""
    counts = {}
    for domain, domain_settings in settings.domains.items():
        asked = [s for s in domain_settings.enabled_sources if sources[domain][s.use] in settings.used_providers]
        required = [source.use for source in asked if source.when == "always"]
        stand_ins = [source.use for source in asked if source.when == "missing"]
        done = tried({key: state for key, state in known.items() if key[1] == domain}, required, stand_ins)
        for source in asked:
            lacking = [s for s in covered(settings, domain) if (s.symbol, source.use) not in done]
            counts[domain, source.use] = len(lacking)
    return counts


def _as_json(
    settings: Settings,
    ahead: dict[str, list[Slot]],
    estimates: list[Estimate],
    first: Sequence[FirstFetch],
    change: Sequence[Change],
    foreseen: Sequence[Forecast],
    now: Instant,
) -> dict[str, object]:
    return {
        "valid": True,
        "problems": [],
        "warnings": list(settings.warnings),
        "off": dict(settings.off),
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
                    {
                        "due_at": to_iso(slot.due_at),
                        "local": local_iso(slot.due_at, slot.timezone),
                        "note": slot.note(),
                    }
                    for slot in ahead[schedule.id]
                ],
            }
            for schedule in settings.schedules
        ],
        "estimate": [asdict(one) for one in estimates],
        "first_fetch": [asdict(one) for one in first],
        "change": [
            {"provider": one.provider, "before": one.before._asdict(), "now": one.now._asdict()} for one in change
        ],
        "forecast": [forecast_as_json(one, now, settings.service.timezone) for one in foreseen],
    }


def _print(
    settings: Settings, ahead: dict[str, list[Slot]], estimates: list[Estimate], first: Sequence[FirstFetch]
) -> None:
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
            f"{schedule.id}: {schedule.domain} of {_symbols_in_words(settings, schedule)}, "
            f"{schedule.trigger.describe()}"
        )
        for slot in ahead[schedule.id]:
            line(f"  {local(slot.due_at, slot.timezone)}   {to_iso(slot.due_at)}   {slot.note()}".rstrip())
        if not ahead[schedule.id]:
            line("  no slot to come" if schedule.enabled else "  switched off (enabled: false)")
    line()
    _print_estimates(estimates)
    if words := first_in_words(first):
        line()
        line("The first fetch, of what was never fetched:")
        for sentence in words:
            line(f"  {sentence}")


def _print_estimates(estimates: list[Estimate]) -> None:
    if not estimates:
        return
    table(
        "Calls on the busiest of the next days, an estimate, and of what budget",
        ["provider", "asks", "calls", "cost"],
        [
            (
                one.provider,
                "the sandbox" if one.sandbox else ", ".join(one.hosts) or "nobody",
                f"{one.calls_per_day:,}" + ("" if one.calls_limit is None else f" of {one.calls_limit:,}"),
                format_usd(one.usd_per_day) + ("" if one.usd_limit is None else f" of {format_usd(one.usd_limit)}"),
            )
            for one in estimates
        ],
        numbers=("calls", "cost"),
        long=("asks",),
    )
    line("Slots x symbols x sources, less the slots at which a source is still fresh")
    line("(fresh_for), or an answer that another slot or source got is still kept; one")
    line("call each. A company that is new, or has just reported, takes up to three.")
    for one in estimates:
        for sentence in _about_money(one):
            line(f"{one.provider}: {sentence}")


def _print_budgets(settings: Settings, change: Sequence[Change], foreseen: Sequence[Forecast], now: Instant) -> None:
    if foreseen:
        line()
        line("The budgets, from what is spent so far and the slots to come:")
        for one in foreseen:
            line(f"  {one.provider}: {in_words(one, now, settings.service.timezone)}")
    if change:
        line()
        line("Against the configuration that the service ran with last, on the busiest day:")
        for difference in change:
            line(f"  {difference.in_words()}")


def _about_money(one: Estimate) -> list[str]:
    said = []
    if one.calls_when_missing:
        price = f", {format_usd(one.usd_when_missing)}" if one.usd_when_missing else ""
        said.append(
            f"where better sources have nothing (when: missing), at most {several(one.calls_when_missing, 'call')} "
            f"a day more{price}"
        )
    if one.sandbox and one.usd_per_day:
        said.append("the sandbox counts as if it were paid, and is not")
    if one.usd_in_28_days:
        said.append(f"at most about {format_usd(one.usd_in_28_days)} in 28 days")
    if one.usd_limit is not None and one.usd_per_day > one.usd_limit:
        said.append(f"the budget of {format_usd(one.usd_limit)} a day holds the rest back on such a day")
    if one.usd_month_limit is not None and one.usd_in_28_days > one.usd_month_limit:
        said.append(f"the budget of {format_usd(one.usd_month_limit)} a month does not last for 28 days")
    return said


def _symbols(settings: Settings, schedule: Schedule) -> int:
    """How many symbols a slot is for."""
    selected = sum(map(schedule.selects, settings.watchlist))
    return selected if schedule.stalest is None else min(schedule.stalest, selected)


def _symbols_in_words(settings: Settings, schedule: Schedule) -> str:
    if schedule.stalest is None:
        return several(_symbols(settings, schedule), "symbol")
    of = sum(map(schedule.selects, settings.watchlist))
    return f"the {_symbols(settings, schedule)} stalest of {several(of, 'symbol')}"
