"""``freshness``: how old what is known of each stock is, and what of it should be younger."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from scheduler_service.cli.calendars import informed
from scheduler_service.cli.configuration import settings_of
from scheduler_service.cli.ledger import look
from scheduler_service.cli.terminal import line, print_json, table
from scheduler_service.clients.base import discover
from scheduler_service.clock import MILLISECOND, StoppedClock, SystemClock, to_iso_seconds
from scheduler_service.composing import build_processors, provider_options
from scheduler_service.freshness import standings
from scheduler_service.settings.units import format_duration
from scheduler_service.stores import stock_state_store
from scheduler_service.wording import duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scheduler_service.calendar_file import Compute
    from scheduler_service.clock import Clock
    from scheduler_service.freshness import SourceFreshness

WORDS = ("fresh", "stale", "overdue", "failing", "never")


def freshness(
    paths: Sequence[Path],
    *,
    only_breach: bool,
    as_json: bool,
    clock: Clock | None = None,
    compute: Compute | None = None,
) -> int:
    """With ``only_breach`` 1 where there is one. Raises ``DataDirectoryError`` where nothing has run yet.

    ``compute`` stands in for the process that computes sessions.
    """
    now = (clock or SystemClock()).now()
    settings, calendars, _ = informed(settings_of(paths), now, compute)
    found, options = discover(), provider_options(settings)
    clients = {name: found[name](one, StoppedClock(now)) for name, one in options.items()}
    processors = build_processors(settings, clients, calendars)
    states = look(settings, stock_state_store.states)
    every = list(standings(processors, settings.schedules, settings.watchlist, states, now))
    shown = [one for one in every if one.is_breach] if only_breach else every
    if as_json:
        print_json([_as_json(one) for one in shown])
    else:
        _print(shown, every)
    return 1 if only_breach and shown else 0


def _as_json(one: SourceFreshness) -> dict[str, Any]:
    return {
        "symbol": one.symbol,
        "domain": one.domain,
        "source": one.source,
        "state": one.word,
        "breach": one.is_breach,
        "age_ms": None if one.age is None else one.age // MILLISECOND,
        "fresh_for_ms": one.fresh_for // MILLISECOND,
        "checked_at": None if one.checked_at is None else to_iso_seconds(one.checked_at),
        "reason": one.failing,
    }


def _print(shown: Sequence[SourceFreshness], every: Sequence[SourceFreshness]) -> None:
    rows = [
        (one.symbol, one.domain, one.source, _age(one), format_duration(one.fresh_for), _word(one)) for one in shown
    ]
    if rows:
        columns = ["symbol", "domain", "source", "age", "fresh for", "is"]
        table("How fresh it is", columns, rows, numbers=("age", "fresh for"), long=("is",))
    counts = Counter(one.word for one in every)
    said = ", ".join(f"{counts[word]:,} {word}" for word in WORDS if counts[word]) or "nothing is watched"
    line(f"Of {len(every):,} (symbol, domain, source): {said}.")
    if not any(one.is_breach for one in every):
        line("Nothing is overdue, failing or was never fetched.")


def _age(one: SourceFreshness) -> str:
    return "never" if one.age is None else duration(one.age)


def _word(one: SourceFreshness) -> str:
    return f"{one.word} ({one.failing})" if one.failing else one.word
