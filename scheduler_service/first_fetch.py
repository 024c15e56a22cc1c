"""What it takes to fetch everything that was never fetched: calls, time, money. Pure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler_service.models import USELESS_ANSWERS, Reason
from scheduler_service.settings.units import format_usd

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from scheduler_service.calls import Cost
    from scheduler_service.models import StockState, Symbol
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.settings.providers import ProviderOptions

_LONG = 90
_HOPELESS = USELESS_ANSWERS | {Reason.POISON}


@dataclass(frozen=True, slots=True)
class FirstFetch:
    """One provider's share. ``seconds`` is what its rate allows; the budgets are those of a day, None: no limit, and
    ``reserve`` of them is not for this.
    """

    provider: str
    calls: int
    seconds: float
    usd: float
    budget_usd: float | None
    budget_calls: int | None = None
    reserve: float = 0.0

    @property
    def days(self) -> int:
        """The days whose budgets it takes; 0 where a budget allows nothing."""
        shares = [(self.usd, self.budget_usd), (self.calls, self.budget_calls)]
        usable = 1.0 - self.reserve
        limited = [(wanted, limit * usable) for wanted, limit in shares if limit is not None and wanted > 0]
        if any(limit <= 0 for _, limit in limited):
            return 0
        return max((math.ceil(wanted / limit) for wanted, limit in limited), default=1)


def tried(
    states: Mapping[tuple[str, str, str], StockState], required: Collection[str], stand_ins: Collection[str]
) -> set[tuple[str, str]]:
    """The (symbol, source) pairs of one domain that a start need not fetch: they were fetched, or asked in vain, or
    nothing is missing for which the source stands in. ``states``: of the domain, by (symbol, domain, source).
    """
    checked = {(symbol, source) for (symbol, _, source), state in states.items() if state.checked_at is not None}
    hopeless = {(symbol, source) for (symbol, _, source), state in states.items() if state.reason in _HOPELESS}
    not_missing = {(symbol, stand_in) for symbol, source in checked if source in required for stand_in in stand_ins}
    return checked | hopeless | not_missing


def plan(
    settings: Settings,
    sources: Mapping[str, Mapping[str, str]],
    counts: Mapping[tuple[str, str], int],
    prices: Mapping[tuple[str, str], Cost] | None = None,
) -> tuple[FirstFetch, ...]:
    """What each provider will be asked, by name. ``counts`` is how many symbols each (domain, source) lacks, and
    ``sources`` maps each domain's sources to their providers; ``prices`` is what one call of each may cost, where that
    is not the provider's dearest.

    One call a symbol and source, or one at each address. Sources with ``when: missing`` are left out: they are asked
    only where the better ones came back with nothing.
    """
    calls: Counter[str] = Counter()
    usd: Counter[str] = Counter()
    for domain, domain_settings in settings.domains.items():
        for source in domain_settings.enabled_sources:
            provider = sources.get(domain, {}).get(source.use, "")
            lacking = counts.get((domain, source.use), 0)
            if source.when == "always" and provider in settings.used_providers and lacking > 0:
                options = settings.providers[provider]
                several = math.ceil(lacking * calls_per_symbol(options, settings.watchlist))
                price = (prices or {}).get((domain, source.use), options.expected(""))
                calls[provider] += several
                usd[provider] += 0 if settings.uses_sandbox(provider) else several * price.usd_micros
    return tuple(_first_fetch(settings, name, calls[name], usd[name]) for name in sorted(calls))


def in_words(plans: Iterable[FirstFetch]) -> list[str]:
    """One line a provider: ``edgar: 24 calls, 5 s or more``, and what paid ones cost."""
    return [_in_words(one) for one in plans if one.calls]


def catch_up_in_words(missed: int, fetches: int, plans: Iterable[FirstFetch]) -> str:
    """``missed 65 slots, 12 fetches, about 40 s``; the providers are asked side by side."""
    seconds = max((one.seconds for one in plans), default=0.0)
    slots, tasks = "slot" if missed == 1 else "slots", "fetch" if fetches == 1 else "fetches"
    took = f", about {_duration(seconds)}" if fetches else ""
    return f"missed {missed:,} {slots}, {fetches:,} {tasks}{took}"


def calls_per_symbol(options: ProviderOptions, watchlist: Sequence[Symbol]) -> float:
    """How many calls one fetch takes, on average over the watchlist."""
    return sum(map(options.calls_for, watchlist)) / len(watchlist) if watchlist else 1.0


def _first_fetch(settings: Settings, provider: str, calls: int, usd_micros: int) -> FirstFetch:
    options = settings.providers[provider]
    budget, seconds = options.budget, calls / _rate(options)
    limits = (budget.usd_per_day, budget.calls_per_day, budget.reserve)
    return FirstFetch(provider, calls, seconds, usd_micros / 1e6, *limits)


def _rate(options: ProviderOptions) -> float:
    """Calls a second, at most."""
    a_second = options.requests_per_second or math.inf
    return min(a_second, (options.requests_per_minute or math.inf) / 60)


def _in_words(one: FirstFetch) -> str:
    text = f"{one.provider}: {one.calls:,} {'call' if one.calls == 1 else 'calls'}, {_duration(one.seconds)} or more"
    if one.usd:
        text += f", at most about {format_usd(one.usd)}"
        if one.budget_usd is not None:
            text += f" of a budget of {format_usd(one.budget_usd)} a day"
    if one.days == 0:
        return f"{text}: its budget allows none of them"
    return f"{text}: it takes the budget of {one.days} days" if one.days > 1 else text


def _duration(seconds: float) -> str:
    if seconds < _LONG:
        return f"{max(1, math.ceil(seconds))} s"
    minutes = seconds / 60
    return f"{math.ceil(minutes)} min" if minutes < _LONG else f"{math.ceil(minutes / 60)} h"
