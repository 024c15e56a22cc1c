"""What a configuration will ask of whom, and what that costs, estimated from the schedules alone. Pure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scheduler_service.clock import DAY
from scheduler_service.processors.base import discover as discover_processors
from scheduler_service.settings.model import good_for_slots
from scheduler_service.triggers import without_window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scheduler_service.calls import Cost
    from scheduler_service.clock import Instant, Micros
    from scheduler_service.models import Symbol
    from scheduler_service.settings.loaded import Schedule, Settings
    from scheduler_service.settings.model import SourceSettings
    from scheduler_service.settings.providers import ProviderOptions
    from scheduler_service.triggers import Trigger

DAYS_LOOKED_AT = 28


@dataclass(frozen=True, slots=True)
class Estimate:
    """One provider's share. ``..._per_day`` is of the busiest day, ``usd_in_28_days`` of that many days together;
    ``..._when_missing`` is what sources with ``when: missing`` add on it at most. ``hosts`` is who is asked. Limits are
    of the budget, None: no limit; the other one is ``usd_month_limit``.
    """

    provider: str
    sandbox: bool
    calls_per_day: int
    calls_limit: int | None
    hosts: tuple[str, ...]
    usd_per_day: float = 0.0
    usd_limit: float | None = None
    usd_in_28_days: float = 0.0
    calls_when_missing: int = 0
    usd_when_missing: float = 0.0
    usd_month_limit: float | None = None


@dataclass(slots=True)
class _Foreseen:
    """Calls and millionths of a US dollar, by day from now."""

    calls: Counter[int] = field(default_factory=Counter)
    usd_micros: Counter[int] = field(default_factory=Counter)

    def add(self, days: Counter[int], price: int) -> None:
        self.calls.update(days)
        self.usd_micros.update({day: calls * price for day, calls in days.items()})


def source_providers() -> dict[str, dict[str, str]]:
    """Each domain's sources, and the provider that each of them asks."""
    return {
        domain: {source.name: source.provider for source in processor.sources}
        for domain, processor in discover_processors().items()
    }


def usual_prices(settings: Settings) -> dict[tuple[str, str], Cost]:
    """What one call of each (domain, source) may cost."""
    return {
        (domain, source.name): settings.providers[source.provider].expected(getattr(source, "endpoint", ""))
        for domain, processor in discover_processors().items()
        for source in processor.sources
        if source.provider in settings.providers
    }


def estimate(settings: Settings, sources: Mapping[str, Mapping[str, str]], now: Instant) -> list[Estimate]:
    """Slots x symbols x sources, less the slots at which a source is still fresh; each asked once (a provider with
    several addresses: once at each).

    ``sources`` maps each domain's sources to their providers.
    """
    always = {provider: _Foreseen() for provider in settings.used_providers}
    missing = {provider: _Foreseen() for provider in settings.used_providers}
    prices = usual_prices(settings)
    for domain, domain_settings in settings.domains.items():
        groups = groups_of(settings, domain)
        for source in domain_settings.enabled_sources:
            provider = sources[domain][source.use]
            if provider in settings.used_providers:
                days = _calls(source, settings.providers[provider], groups, now)
                price = 0 if settings.uses_sandbox(provider) else prices[domain, source.use].usd_micros
                (missing if source.when == "missing" else always)[provider].add(days, price)
    return [_estimate(settings, provider, always[provider], missing[provider]) for provider in sorted(always)]


def covered(settings: Settings, domain: str) -> tuple[Symbol, ...]:
    """The symbols that some enabled schedule of the domain selects."""
    return tuple(symbol for symbols in groups_of(settings, domain).values() for symbol in symbols)


def _estimate(settings: Settings, provider: str, always: _Foreseen, missing: _Foreseen) -> Estimate:
    options, sandbox = settings.providers[provider], settings.uses_sandbox(provider)
    return Estimate(
        provider=provider,
        sandbox=sandbox,
        calls_per_day=max(always.calls.values(), default=0),
        calls_limit=options.budget.calls_per_day,
        hosts=() if sandbox else _hosts(options),
        usd_per_day=max(always.usd_micros.values(), default=0) / 1e6,
        usd_limit=options.budget.usd_per_day,
        usd_in_28_days=always.usd_micros.total() / 1e6,
        calls_when_missing=max(missing.calls.values(), default=0),
        usd_when_missing=max(missing.usd_micros.values(), default=0) / 1e6,
        usd_month_limit=options.budget.usd_per_month,
    )


def groups_of(settings: Settings, domain: str) -> dict[tuple[Schedule, ...], list[Symbol]]:
    """The watched symbols, by the schedules of the domain that select them; without those that none selects."""
    schedules = [schedule for schedule in settings.schedules if schedule.enabled and schedule.domain == domain]
    groups: dict[tuple[str, ...], list[Symbol]] = {}
    for symbol in settings.watchlist:
        groups.setdefault(tuple(s.id for s in schedules if s.selects(symbol)), []).append(symbol)
    by_id = {schedule.id: schedule for schedule in schedules}
    return {tuple(by_id[id_] for id_ in ids): symbols for ids, symbols in groups.items() if ids}


def _calls(
    source: SourceSettings,
    options: ProviderOptions,
    groups: Mapping[tuple[Schedule, ...], Sequence[Symbol]],
    now: Instant,
) -> Counter[int]:
    """Calls by day from now, the first one 0. The slots of a schedule of the stalest few ask that share of its symbols,
    and no more than if they asked all of them.
    """
    calls = [0.0] * DAYS_LOOKED_AT
    good_for = good_for_slots(source.fresh_for)
    for schedules, symbols in groups.items():
        each = sum(map(options.calls_for, symbols))
        fetches = [float(n) for n in fetches_by_day([s.trigger for s in schedules if not s.stalest], good_for, now)]
        rotating = [s for s in schedules if s.stalest]
        for schedule in rotating:
            share = share_of(schedule, groups)
            fetches = [n + share * m for n, m in zip(fetches, slots_by_day(schedule.trigger, now), strict=True)]
        if rotating:
            most = fetches_by_day([s.trigger for s in schedules], good_for, now)
            fetches = list(map(min, fetches, most))
        calls = [so_far + n * each for so_far, n in zip(calls, fetches, strict=True)]
    return Counter({day: math.ceil(n - 1e-6) for day, n in enumerate(calls)})


def share_of(schedule: Schedule, groups: Mapping[tuple[Schedule, ...], Sequence[Symbol]]) -> float:
    """How much of the symbols that it selects one slot is for."""
    selected = sum(len(symbols) for schedules, symbols in groups.items() if schedule in schedules)
    return 1.0 if schedule.stalest is None else min(1.0, schedule.stalest / selected)


def slots_by_day(trigger: Trigger, now: Instant) -> list[int]:
    """How many slots each day from now has."""
    return [trigger.count(now + n * DAY, now + (n + 1) * DAY) for n in range(DAYS_LOOKED_AT)]


def fetches_by_day(triggers: Sequence[Trigger], good_for: Micros, now: Instant) -> list[int]:
    """On how many slots of each day from now a source is asked that is good for so long after each time."""
    if len(triggers) == 1 and good_for <= (_tick(triggers[0]) or 0):
        return slots_by_day(triggers[0], now)
    slot = next_of(triggers, now)
    if len(triggers) == 1 and slot is not None and (interval := triggers[0].interval):
        first, step = slot, max(1, -(-good_for // interval)) * interval
        upto = [max(0, (now + n * DAY - first) // step + 1) for n in range(DAYS_LOOKED_AT + 1)]
        return [later - earlier for earlier, later in pairwise(upto)]
    fetches = [0] * DAYS_LOOKED_AT
    while slot is not None and (day := (slot - now - 1) // DAY) < DAYS_LOOKED_AT:
        fetches[day] += 1
        slot = next_of(triggers, max(slot, slot + good_for - 1))
    return fetches


def _tick(trigger: Trigger) -> Micros | None:
    """The least time between two slots, of those at equal distances."""
    return without_window(trigger).interval


def next_of(triggers: Iterable[Trigger], after: Instant) -> Instant | None:
    """The first slot of any of them."""
    return min((slot for trigger in triggers if (slot := trigger.next(after)) is not None), default=None)


def _hosts(options: ProviderOptions) -> tuple[str, ...]:
    """Who is asked. The rest of an address may hold a secret."""
    return tuple(dict.fromkeys(urlsplit(url).netloc for url in options.addresses().values()))
