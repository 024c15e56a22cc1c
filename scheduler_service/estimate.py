"""What a configuration will ask of whom, and what that costs, estimated from the schedules alone. Pure."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from scheduler_service.clock import DAY, SECOND
from scheduler_service.market_time import ELAPSED, MarketTime
from scheduler_service.processors.base import discover as discover_processors
from scheduler_service.processors.base import exchange_of
from scheduler_service.settings.model import good_for_slots
from scheduler_service.triggers import without_window
from scheduler_service.windows import usual_hours

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from scheduler_service.calls import Cost
    from scheduler_service.clock import Instant, Micros
    from scheduler_service.market_time import Ageing
    from scheduler_service.models import Symbol
    from scheduler_service.settings.loaded import Schedule, Settings
    from scheduler_service.settings.providers import ProviderOptions
    from scheduler_service.triggers import Trigger
    from scheduler_service.windows import Calendars

DAYS_LOOKED_AT = 28
A_CALL = SECOND
"""So much later than its slot, about, an answer begins to age."""


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


class KeptAnswers(NamedTuple):
    """What a source asks for of a symbol, and how long an answer serves in place of another call."""

    asks: str
    kept_for: Micros


@dataclass(frozen=True, slots=True)
class _Demand:
    """What one source is fetched for; ``price`` in millionths of a US dollar a call. ``ageing``: the time in which what
    it says ages; ``all_groups`` are also those of which it ages in another.
    """

    groups: Mapping[tuple[Schedule, ...], Sequence[Symbol]]
    good_for: Micros
    kept_for: Micros
    price: int
    all_groups: Mapping[tuple[Schedule, ...], Sequence[Symbol]]
    ageing: Ageing = ELAPSED

    @property
    def asked_every(self) -> Micros:
        return max(self.good_for, self.kept_for + A_CALL)


def kept_answers() -> dict[tuple[str, str], KeptAnswers]:
    """By (domain, source)."""
    return {
        (domain, source.name): KeptAnswers(
            getattr(source, "asks", f"{domain} {source.name}"), getattr(source, "kept_for", 0)
        )
        for domain, processor in discover_processors().items()
        for source in processor.sources
    }


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


def estimate(
    settings: Settings, sources: Mapping[str, Mapping[str, str]], now: Instant, calendars: Calendars = usual_hours
) -> list[Estimate]:
    """Slots x symbols x sources, less the slots at which a source is still fresh or an answer is still kept; each asked
    once (a provider with several addresses: once at each).

    ``sources`` maps each domain's sources to their providers. What does not age while its exchange is closed is not
    asked for then, by ``calendars``.
    """
    always = {provider: _Foreseen() for provider in settings.used_providers}
    missing = {provider: _Foreseen() for provider in settings.used_providers}
    prices, kept = usual_prices(settings), kept_answers()
    alike: dict[tuple[str, bool, str], list[_Demand]] = {}
    for domain, domain_settings in settings.domains.items():
        all_groups = groups_of(settings, domain)
        apart = by_ageing(all_groups, domain, calendars)
        for source in domain_settings.enabled_sources:
            name, provider = (domain, source.use), sources[domain][source.use]
            if provider in settings.used_providers:
                price = prices[name].usd_micros  # of the sandbox too: budgets count what it would cost
                good_for, kept_for = good_for_slots(source.fresh_for), kept[name].kept_for
                alike.setdefault((provider, source.when == "missing", kept[name].asks), []).extend(
                    _Demand(groups, good_for, kept_for, price, all_groups, ageing) for ageing, groups in apart
                )
    for (provider, only_missing, _), demands in alike.items():
        days = _calls(demands, settings.providers[provider], settings.watchlist, now)
        (missing if only_missing else always)[provider].add(days, max(demand.price for demand in demands))
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


def by_ageing(
    groups: Mapping[tuple[Schedule, ...], Sequence[Symbol]], domain: str, calendars: Calendars
) -> Sequence[tuple[Ageing, Mapping[tuple[Schedule, ...], Sequence[Symbol]]]]:
    """The groups, apart by the exchange in whose sessions alone what is known of a stock ages."""
    if not groups or not discover_processors()[domain].in_market_time:
        return [(ELAPSED, groups)]
    by_exchange: dict[str, dict[tuple[Schedule, ...], list[Symbol]]] = {}
    for schedules, symbols in groups.items():
        for symbol in symbols:
            by_exchange.setdefault(exchange_of(symbol), {}).setdefault(schedules, []).append(symbol)
    return [(MarketTime(calendars(exchange)), of_it) for exchange, of_it in sorted(by_exchange.items())]


def _calls(
    demands: Sequence[_Demand], options: ProviderOptions, watchlist: Iterable[Symbol], now: Instant
) -> Counter[int]:
    """Calls by day from now, the first one 0, of sources that ask for the same. The slots of a schedule of the stalest
    few ask that share of its symbols, and no more than if they asked all of them.
    """
    calls = [0.0] * DAYS_LOOKED_AT
    for_all = options.calls_for_all
    each: Counter[tuple[tuple[Schedule, ...], ...]] = Counter()
    selecting = [
        {symbol.symbol: its for its, symbols in demand.groups.items() for symbol in symbols} for demand in demands
    ]
    for symbol in watchlist:
        each[tuple(schedules.get(symbol.symbol, ()) for schedules in selecting)] += options.calls_for(symbol) - for_all
    for schedules, several in each.items():
        by_demand = list(zip(demands, schedules, strict=True))
        fetches = _by_day([(d, [s for s in its if not s.stalest]) for d, its in by_demand], now)
        rotating = [(demand, s) for demand, its in by_demand for s in its if s.stalest]
        for demand, schedule in rotating:
            share = share_of(schedule, demand.all_groups)
            fetches = [n + share * m for n, m in zip(fetches, slots_by_day(schedule.trigger, now), strict=True)]
        if rotating:
            fetches = list(map(min, fetches, _by_day(by_demand, now)))
        calls = [so_far + n * several for so_far, n in zip(calls, fetches, strict=True)]
    if for_all:
        whenever = _by_day([(d, list(dict.fromkeys(s for its in d.groups for s in its))) for d in demands], now)
        calls = [so_far + n * for_all for so_far, n in zip(calls, whenever, strict=True)]
    return Counter({day: math.ceil(n - 1e-6) for day, n in enumerate(calls)})


def _by_day(wanted: Sequence[tuple[_Demand, Sequence[Schedule]]], now: Instant) -> list[float]:
    """How often each day one thing is asked for, for whom what another was told is good enough while it is kept."""
    (first, schedules), *others = wanted
    if not others:
        return [float(n) for n in fetches_by_day([s.trigger for s in schedules], first.asked_every, now, first.ageing)]
    times = [_fetch_times([s.trigger for s in its], demand.asked_every, now, demand.ageing) for demand, its in wanted]
    calls, good_until = [0.0] * DAYS_LOOKED_AT, now
    for at in heapq.merge(*times):
        if at >= good_until:
            calls[(at - now - 1) // DAY] += 1
            good_until = at + first.kept_for + A_CALL
    return calls


def share_of(schedule: Schedule, groups: Mapping[tuple[Schedule, ...], Sequence[Symbol]]) -> float:
    """How much of the symbols that it selects one slot is for."""
    selected = sum(len(symbols) for schedules, symbols in groups.items() if schedule in schedules)
    return 1.0 if schedule.stalest is None else min(1.0, schedule.stalest / selected)


def slots_by_day(trigger: Trigger, now: Instant) -> list[int]:
    """How many slots each day from now has."""
    return [trigger.count(now + n * DAY, now + (n + 1) * DAY) for n in range(DAYS_LOOKED_AT)]


def fetches_by_day(triggers: Sequence[Trigger], good_for: Micros, now: Instant, ageing: Ageing = ELAPSED) -> list[int]:
    """On how many slots of each day from now a source is asked that is good for so long after each time."""
    if ageing is not ELAPSED:
        return _counted(_fetch_times(triggers, good_for, now, ageing), now)
    if len(triggers) == 1 and good_for <= (_tick(triggers[0]) or 0):
        return slots_by_day(triggers[0], now)
    slot = next_of(triggers, now)
    if len(triggers) == 1 and slot is not None and (interval := triggers[0].interval):
        first, step = slot, max(1, -(-good_for // interval)) * interval
        upto = [max(0, (now + n * DAY - first) // step + 1) for n in range(DAYS_LOOKED_AT + 1)]
        return [later - earlier for earlier, later in pairwise(upto)]
    return _counted(_fetch_times(triggers, good_for, now), now)


def _counted(fetches: Iterable[Instant], now: Instant) -> list[int]:
    by_day = [0] * DAYS_LOOKED_AT
    for at in fetches:
        by_day[(at - now - 1) // DAY] += 1
    return by_day


def _fetch_times(
    triggers: Sequence[Trigger], good_for: Micros, now: Instant, ageing: Ageing = ELAPSED
) -> Iterator[Instant]:
    """The slots at which a source is asked that is good for so long after each time."""
    slot = next_of(triggers, now)
    while slot is not None and slot <= now + DAYS_LOOKED_AT * DAY:
        yield slot
        slot = next_of(triggers, max(slot, ageing.after(slot, good_for) - 1))


def _tick(trigger: Trigger) -> Micros | None:
    """The least time between two slots, of those at equal distances."""
    return without_window(trigger).interval


def next_of(triggers: Iterable[Trigger], after: Instant) -> Instant | None:
    """The first slot of any of them."""
    return min((slot for trigger in triggers if (slot := trigger.next(after)) is not None), default=None)


def _hosts(options: ProviderOptions) -> tuple[str, ...]:
    """Who is asked, or the files that are read. The rest of an address may hold a secret."""
    if files := options.files():
        return tuple(path.name for path in files)
    return tuple(dict.fromkeys(urlsplit(url).netloc for url in options.addresses().values()))
