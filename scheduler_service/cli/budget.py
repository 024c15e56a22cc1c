"""``budget``: what was spent at each provider, what is left, how long that lasts, and how often it was asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from scheduler_service.calls import Cost
from scheduler_service.cli.calendars import informed
from scheduler_service.cli.configuration import settings_of, source_providers
from scheduler_service.cli.figures import bars, local_iso, several
from scheduler_service.cli.ledger import look
from scheduler_service.cli.terminal import line, print_json, table
from scheduler_service.clock import DAY, HOUR, MINUTE, StoppedClock, SystemClock, to_iso_seconds
from scheduler_service.composing import provider_options
from scheduler_service.forecast import Known, forecasts, in_words
from scheduler_service.gates.budget import Period, Unit, amount
from scheduler_service.gates.gate import Gate
from scheduler_service.settings.units import format_share, format_usd
from scheduler_service.stores import call_store, gate_store, spending
from scheduler_service.stores.call_store import Spend
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.spending import HOURS, MINUTES, Pace
from scheduler_service.stores.stock_state_store import states

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scheduler_service.calendar_file import Compute
    from scheduler_service.clock import Clock, Instant
    from scheduler_service.forecast import Forecast
    from scheduler_service.gates.budget import Limit
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.gate_store import GateRow, RecentCall
    from scheduler_service.windows import Calendars

LATELY = 7 * DAY
"""What fetches take is told by those of the last days."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the ledger knows of the providers."""

    known: Known = field(default_factory=Known)
    gates: Mapping[tuple[str, str], GateRow] = field(default_factory=dict)
    recent: Mapping[str, Sequence[RecentCall]] = field(default_factory=dict)
    in_the_air: Mapping[str, Spend] = field(default_factory=dict)
    charged_though_failed: Mapping[str, Spend] = field(default_factory=dict)
    pace: Mapping[str, Pace] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """One provider's budget and gate as they stand."""

    provider: str
    sandbox: bool
    gate: Gate
    in_the_air: Spend
    charged_though_failed: Spend
    pace: Pace
    forecast: Forecast | None


def budget(paths: Sequence[Path], *, as_json: bool, clock: Clock | None = None, compute: Compute | None = None) -> int:
    """0. Raises ``DataDirectoryError`` where the ledger cannot be read.

    ``compute`` stands in for the process that computes sessions.
    """
    now = (clock or SystemClock()).now()
    settings, calendars, _ = informed(settings_of(paths), now, compute)
    standings = _standings(settings, facts_of(settings, now), now, calendars)
    if as_json:
        off = [{"provider": name, "off": why} for name, why in sorted(settings.off.items())]
        print_json([*(_as_json(one, settings, now) for one in standings), *off])
    else:
        _print(standings, settings, now)
    return 0


def facts_of(settings: Settings, now: Instant) -> Facts:
    """From the ledger; nothing where nothing has run yet."""
    if not DataDirectory(settings.service.data_dir).ledger.exists():
        return Facts()
    return look(settings, partial(_facts, now=now))


def _facts(conn: Connection, now: Instant) -> Facts:
    return Facts(
        known_of(conn, now),
        gate_store.gates(conn, now),
        gate_store.recent_calls(conn, now),
        spending.in_the_air(conn),
        spending.charged_though_failed(conn, now),
        spending.pace(conn, now),
    )


def known_of(conn: Connection, now: Instant) -> Known:
    """What a forecast reasons from."""
    return Known(call_store.spent(conn), states(conn), spending.usual(conn, now - LATELY), spending.waiting(conn))


def _standings(settings: Settings, facts: Facts, now: Instant, calendars: Calendars) -> list[Standing]:
    foreseen = {one.provider: one for one in forecasts(settings, source_providers(), facts.known, now, calendars)}
    found = []
    for provider, options in provider_options(settings).items():
        gate = Gate(provider, options, StoppedClock(now))
        gate.restore(facts.gates, facts.known.spent.get(provider, {}), facts.recent.get(provider, ()))
        found.append(
            Standing(
                provider,
                settings.uses_sandbox(provider),
                gate,
                facts.in_the_air.get(provider, Spend()),
                facts.charged_though_failed.get(provider, Spend()),
                facts.pace.get(provider, Pace()),
                foreseen.get(provider),
            )
        )
    return found


def _as_json(one: Standing, settings: Settings, now: Instant) -> dict[str, Any]:
    return {
        "provider": one.provider,
        "sandbox": one.sandbox,
        "off": None,
        "today": _spend(one.gate.account.spent(Period.DAY, now)),
        "month": _spend(one.gate.account.spent(Period.MONTH, now)),
        "reserved": _spend(one.in_the_air),
        "charged_though_failed": _spend(one.charged_though_failed),
        "limits": [_limit(limit) for limit in one.gate.account.limits(now)],
        "forecast": None if one.forecast is None else forecast_as_json(one.forecast, now, settings.service.timezone),
        "keys": []
        if one.gate.keys is None or one.sandbox
        else [
            {"name": key.name, "state": key.state, "until": None if key.until is None else to_iso_seconds(key.until)}
            for key in one.gate.keys.standings(now)
        ],
        "shut": [
            {"what": shut.what, "until": to_iso_seconds(shut.until), "reason": shut.reason}
            for shut in one.gate.standings(now)
        ],
        **asdict(one.pace),
        "pace": {
            "minutes": {"start": to_iso_seconds(now - now % MINUTE - (MINUTES - 1) * MINUTE), "step": "1m"},
            "hours": {"start": to_iso_seconds(now - now % HOUR - (HOURS - 1) * HOUR), "step": "1h"},
        },
    }


def forecast_as_json(foreseen: Forecast, now: Instant, zone: str) -> dict[str, Any]:
    return {
        "provider": foreseen.provider,
        "until": to_iso_seconds(foreseen.until),
        "calls": foreseen.calls,
        "exhausted_at": None if foreseen.exhausted_at is None else to_iso_seconds(foreseen.exhausted_at),
        "local": None if foreseen.exhausted_at is None else local_iso(foreseen.exhausted_at, zone),
        "limit": None if foreseen.limit is None else _limit(foreseen.limit),
        "skipped": foreseen.skipped,
        "kept": foreseen.kept,
        "in_words": in_words(foreseen, now, zone),
    }


def _spend(spend: Spend) -> dict[str, float]:
    return {"calls": spend.calls, "tokens": spend.tokens, "usd": spend.usd_micros / 1e6}


def _limit(limit: Limit) -> dict[str, Any]:
    scale = 1e6 if limit.unit is Unit.USD else 1
    return {
        "unit": limit.unit,
        "period": limit.period,
        "limit": limit.most / scale,
        "reserve": limit.kept / scale,
        "used": limit.used / scale,
        "starts_anew": to_iso_seconds(limit.until),
    }


def _print(standings: Sequence[Standing], settings: Settings, now: Instant) -> None:
    zone = settings.service.timezone
    numbers = ["calls", "tokens", "spent"]
    table(
        "Budgets (days and months are UTC)",
        ["provider", "", *numbers],
        [row for one in standings for row in _rows(one, now)],
        numbers=numbers,
        long=["provider"],
    )
    for one in standings:
        for sentence in _sentences(one, now, zone):
            line(f"{one.provider}: {sentence}")
    for provider, why in sorted(settings.off.items()):
        line(f"{provider}: {why.removeprefix(f'{provider} is ')}")
    for one in standings:
        if any(one.pace.hours):
            line()
            _plot(one.provider, one.pace)


def _rows(one: Standing, now: Instant) -> list[tuple[str, ...]]:
    limits = {(limit.period, limit.unit): limit for limit in one.gate.account.limits(now)}
    name = f"{one.provider} (sandbox)" if one.sandbox else one.provider
    rows: list[tuple[str, ...]] = []
    for period, said in ((Period.DAY, "today"), (Period.MONTH, "month")):
        spent = one.gate.account.spent(period, now)
        cells = (
            _of(f"{spent.calls:,}", limits.get((period, Unit.CALLS))),
            _of(f"{spent.tokens:,}", limits.get((period, Unit.TOKENS))),
            _of(format_usd(spent.usd_micros / 1e6), limits.get((period, Unit.USD))),
        )
        rows.append((name if period is Period.DAY else "", said, *cells))
    return rows


def _of(used: str, limit: Limit | None) -> str:
    if limit is None:
        return used
    return f"{used} of {format_usd(limit.most / 1e6) if limit.unit is Unit.USD else f'{limit.most:,}'}"


def _sentences(one: Standing, now: Instant, zone: str) -> list[str]:
    said = []
    if one.in_the_air.calls:
        cost = f", which may cost {format_usd(one.in_the_air.usd_micros / 1e6)}" if one.in_the_air.usd_micros else ""
        said.append(f"{several(one.in_the_air.calls, 'call')} under way{cost}; that is counted already")
    if one.charged_though_failed.calls:
        failed, usd = one.charged_though_failed, format_usd(one.charged_though_failed.usd_micros / 1e6)
        said.append(
            f"{several(failed.calls, 'call')} of today charged, though failed: {usd} counted, what they may cost"
        )
    kept = [amount(limit.unit, limit.kept) for limit in one.gate.account.limits(now) if limit.kept]
    if kept:
        share = format_share(one.gate.options.budget.reserve)
        said.append(f"{share} of each limit ({', '.join(kept)}) is kept for people and high priority")
    dearest = Cost(round(one.gate.options.usd_per_call * 1e6))
    held = one.gate.account.obstacle(dearest, now, urgent=False)
    if held is not None:
        said.append(f"no call that may cost {format_usd(dearest.usd_micros / 1e6)} leaves now: {held}")
    if one.forecast is not None:
        said.append(in_words(one.forecast, now, zone))
    if one.gate.keys is not None and not one.sandbox:  # the sandbox wants none, and what it is sent is invented
        for key in one.gate.keys.standings(now):
            until = "" if key.until is None else f" until {to_iso_seconds(key.until)}"
            said.append(f"{key.name} is {key.state.replace('_', ' ')}{until}")
    said += [
        f"{shut.what} is not asked until {to_iso_seconds(shut.until)} ({shut.reason})"
        for shut in one.gate.standings(now)
    ]
    return said


def _plot(provider: str, pace: Pace) -> None:
    """Calls, and beneath them those that failed, on the same scales."""
    spans = (
        ("a minute, the last hour", pace.minutes, pace.failed_by_minute),
        ("an hour, the last day", pace.hours, pace.failed_by_hour),
    )
    for what, calls, failed in spans:
        if any(calls):
            line(f"{provider}: calls {what}, at most {max(calls):,}")
            line(f"  {bars(calls)}")
            if any(failed):
                line(f"  {bars(failed, max(calls))}  failed, at most {max(failed):,}")
