"""Calendars on disk, and the process that computes them: ``calendars/<EXCHANGE>.json`` in the data directory."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from scheduler_service.calendar_format import calendar_text, read_calendar
from scheduler_service.child_process import run_script
from scheduler_service.clock import DAY, Instant, to_datetime
from scheduler_service.errors import CalendarsNotComputed
from scheduler_service.exchanges import find_exchange
from scheduler_service.market_calendar import Calendar, known_ahead, needs_refresh, weekday_fallback
from scheduler_service.stores.atomic_files import read_files, write_files

DAYS_BACK = 400
"""How far back sessions are kept: further than any slot is caught up."""
DAYS_AHEAD = 800
DEADLINE = 120.0
"""Seconds. A small machine takes ten for a handful of exchanges."""
LEAST_AHEAD_DAYS = 60

_SCRIPT = Path(__file__).with_name("market_sessions.py")
_SAID = 300

Compute: TypeAlias = Callable[[Sequence[str]], Awaitable[bytes]]
"""Runs ``market_sessions`` with these arguments; raises ``CalendarsNotComputed``."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of some exchanges, and what is wrong: exchange -> a sentence."""

    calendars: Mapping[str, Calendar]
    problems: Mapping[str, str] = field(default_factory=dict)

    def calendar(self, exchange: str) -> Calendar:
        """Of an exchange of which nothing is kept, the usual hours of its weekdays."""
        return self.calendars.get(exchange) or weekday_fallback(find_exchange(exchange))


def path_of(folder: Path, exchange: str) -> Path:
    """``24/7`` to ``24-7.json``."""
    return folder / f"{exchange.replace('/', '-')}.json"


async def read_calendars(folder: Path, exchanges: Iterable[str], pool: Executor | None = None) -> Kept:
    """What the folder keeps. A damaged file is a problem, and as good as none; a missing one is no problem."""
    names = sorted(set(exchanges))
    bodies = await read_files([path_of(folder, name) for name in names], executor=pool)
    calendars, problems = {}, {}
    for name, body in zip(names, bodies, strict=True):
        try:
            if isinstance(body, OSError):
                raise body
            calendars[name] = _read(name, body, None)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            problems[name] = f"{path_of(folder, name)} cannot be used: {error}; it will be computed anew"
    return Kept(calendars, problems)


def stale(kept: Kept, exchanges: Iterable[str], now: Instant) -> list[str]:
    """The exchanges whose calendars to compute."""
    return [name for name in sorted(set(exchanges)) if needs_refresh(kept.calendar(name), now)]


async def compute_calendars(
    folder: Path | None,
    exchanges: Sequence[str],
    now: Instant,
    *,
    pool: Executor | None = None,
    compute: Compute | None = None,
) -> Kept:
    """Computes calendars from ``DAYS_BACK`` before now to ``DAYS_AHEAD`` after, and keeps them where there is a folder.
    Never raises ``Exception``s of the process: what it did not give is a problem, and what was kept before stays.
    """
    today = to_datetime(now).date()
    first, last = today - timedelta(days=DAYS_BACK), today + timedelta(days=DAYS_AHEAD)
    try:
        printed = await (compute or run_market_sessions)([*exchanges, "--from", f"{first}", "--to", f"{last}"])
        answers = json.loads(printed)
        if not isinstance(answers, dict):
            raise ValueError("it did not print an object")
    except (CalendarsNotComputed, ValueError, RecursionError) as error:
        return Kept({}, dict.fromkeys(exchanges, f"its calendar was not computed: {error}"))
    calendars: dict[str, Calendar] = {}
    problems: dict[str, str] = {}
    for name in exchanges:
        try:
            answer = answers.get(name, {})
            if "error" in answer:
                raise ValueError(answer["error"])
            calendars[name] = _read(name, json.dumps(answer).encode(), now)
        except (ValueError, TypeError) as error:
            problems[name] = f"its calendar was not computed: {error}"
    if folder is None:
        return Kept(calendars, problems)
    files = [(path_of(folder, name), calendar_text(calendar)) for name, calendar in calendars.items()]
    for name, failed in zip(calendars, await write_files(files, executor=pool), strict=True):
        if failed is not None:
            problems[name] = f"its calendar could not be written: {failed}; it holds until the service stops"
    return Kept(calendars, problems)


def _read(name: str, body: bytes, made_at: Instant | None) -> Calendar:
    calendar = read_calendar(body, made_at)
    if calendar.name != name:
        raise ValueError(f"it is the calendar of {calendar.name}, not of {name}")
    return calendar


def merged(kept: Kept, fresh: Kept) -> Kept:
    """What is known after computing: where that failed, what was known before."""
    return Kept({**kept.calendars, **fresh.calendars}, fresh.problems)


def warnings_of(kept: Kept, exchanges: Iterable[str], now: Instant) -> list[str]:
    """A sentence for each exchange whose calendar is missing, or ends soon."""
    said = []
    for name in sorted(set(exchanges)):
        calendar, why = kept.calendar(name), kept.problems.get(name)
        because = f" ({why})" if why else ""
        if calendar.last_day is None or not calendar.is_known(now):
            said.append(
                f"{name}: its holidays and half days are not known{because}; until they are, every weekday counts as a "
                f"session at the usual hours, {calendar.exchange.hours()} {calendar.timezone}"
            )
        elif (days := known_ahead(calendar, now) // DAY) < LEAST_AHEAD_DAYS:
            said.append(
                f"{name}: its calendar ends on {calendar.last_day}, in {days} days{because}; after it every weekday "
                "counts as a session at the usual hours. A newer exchange_calendars may know more"
            )
    return said


async def run_market_sessions(arguments: Sequence[str], *, deadline: float = DEADLINE) -> bytes:
    """What the process prints. Raises ``CalendarsNotComputed``."""
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        ended = await run_script(_SCRIPT, arguments, deadline=deadline, variables=one_thread)
    except TimeoutError:
        raise CalendarsNotComputed(f"the process was ended after {deadline:g} s") from None
    except OSError as error:
        raise CalendarsNotComputed(f"the process did not start: {error}") from error
    if ended.exit_code:
        lines = ended.complained.decode("utf-8", "replace").strip().splitlines()
        raise CalendarsNotComputed((lines[-1] if lines else f"exit code {ended.exit_code}")[:_SAID])
    return ended.printed
