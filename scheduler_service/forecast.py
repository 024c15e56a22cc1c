"""When a provider's budget is used up if all goes on like this, and what is fetched then all the same. Pure.

The slots to come are gone through in their order, each fetch at what such fetches took lately; what the budget then
does not allow is what the gate would hold back.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from scheduler_service.calls import Cost
from scheduler_service.clock import DAY, to_datetime
from scheduler_service.estimate import (
    A_CALL,
    by_ageing,
    fetches_by_day,
    groups_of,
    kept_answers,
    next_of,
    share_of,
    usual_prices,
)
from scheduler_service.gates.budget import Limit, Period, day_of, in_the_way, limits_of, most_in_words, next_month
from scheduler_service.settings.model import good_for_slots
from scheduler_service.stores.call_store import Spend
from scheduler_service.stores.spending import Usual
from scheduler_service.windows import usual_hours

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.market_time import Ageing
    from scheduler_service.models import StockState, Symbol
    from scheduler_service.settings.loaded import Schedule, Settings
    from scheduler_service.settings.providers import Budget, ProviderOptions
    from scheduler_service.stores.spending import Waiting
    from scheduler_service.windows import Calendars

THE_ESTIMATE = 10
"""It weighs as much as so many fetches that were seen: a few of them tell little."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows: spent by provider and UTC day, states by (symbol, domain, source), what fetches took
    lately by (domain, source), and the tasks that have not ended.
    """

    spent: Mapping[str, Mapping[str, Spend]] = field(default_factory=dict)
    states: Mapping[tuple[str, str, str], StockState] = field(default_factory=dict)
    usual: Mapping[tuple[str, str], Usual] = field(default_factory=dict)
    waiting: Sequence[Waiting] = ()


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of one provider, in (now, ``until``]. ``calls`` by domain are what is wanted; ``skipped`` what of it the budget
    holds back from ``exhausted_at`` until its ``limit`` starts anew, ``kept`` what it allows in that time.
    """

    provider: str
    until: Instant
    calls: Mapping[str, int]
    exhausted_at: Instant | None = None
    limit: Limit | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)


class Batch(NamedTuple):
    """Calls of one domain that are wanted at the same time; each may cost ``expected``, and usually costs ``usual``."""

    at: Instant
    later: bool
    """Not urgent: those that are go first."""
    domain: str
    calls: int
    expected: Cost
    usual: Cost


class _Wish(NamedTuple):
    """Fetches of one (domain, source) that are due together, in calls; there may be halves."""

    at: Instant
    urgent: bool
    calls: float


@dataclass(frozen=True, slots=True)
class _Demand:
    """What one (domain, source) is fetched for. ``waiting``: which of its symbols have a task, and whether that is
    urgent; ``asked``: the share of its fetches that no kept answer serves, estimated; ``seen``: what they took lately.
    """

    domain: str
    source: str
    good_for: Micros
    options: ProviderOptions
    expected: Cost
    seen: Usual
    asked: float
    waiting: Mapping[str, bool]
    ageing: Ageing

    def calls(self, symbol: Symbol) -> float:
        foreseen = self.options.calls_for(symbol) * self.asked
        return (self.seen.calls + THE_ESTIMATE * foreseen) / (self.seen.fetches + THE_ESTIMATE)

    @property
    def usual(self) -> Cost:
        calls, expected = self.seen.calls + THE_ESTIMATE, self.expected
        usd_micros = self.seen.usd_micros + THE_ESTIMATE * expected.usd_micros
        return Cost(usd_micros // calls, (self.seen.tokens + THE_ESTIMATE * expected.tokens) // calls)


def forecasts(
    settings: Settings,
    sources: Mapping[str, Mapping[str, str]],
    known: Known,
    now: Instant,
    calendars: Calendars = usual_hours,
) -> list[Forecast]:
    """Of the providers in use that have a budget. ``sources`` maps each domain's sources to their providers."""
    found = []
    for provider in sorted(settings.used_providers):
        budget = settings.providers[provider].budget
        spent = known.spent.get(provider, {})
        limits = limits_of(budget, spent, now)
        if limits:
            monthly = any(limit.period is Period.MONTH for limit in limits)
            until = max(now + DAY, next_month(now) if monthly else 0)
            batches = _batches(settings, sources, provider, known, now, until, calendars)
            found.append(_walk(provider, budget, batches, spent, now, until))
    return found


def _walk(
    provider: str, budget: Budget, batches: Iterable[Batch], spent: Mapping[str, Spend], now: Instant, until: Instant
) -> Forecast:
    """Spends the budget on one batch after another; what is held back counts until the limit starts anew. Where not
    one call fits, it is exhausted now already.
    """
    spent, fitted = dict(spent), 0
    wanted: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    exhausted_at: Instant | None = None
    first: Limit | None = None
    for batch in batches:
        wanted[batch.domain] += batch.calls
        if first is not None and batch.at >= first.until:
            continue
        limits = limits_of(budget, spent, batch.at)
        fit = min(batch.calls, *(_room(limit, batch) for limit in limits))
        day = day_of(batch.at)
        so_far = spent.get(day, Spend())
        usd, tokens = fit * batch.usual.usd_micros, fit * batch.usual.tokens
        spent[day] = Spend(so_far.calls + fit, so_far.usd_micros + usd, so_far.tokens + tokens)
        skipped[batch.domain] += batch.calls - fit
        fitted += fit
        if first is not None:
            kept[batch.domain] += fit
        elif fit < batch.calls:
            exhausted_at = batch.at if fitted else now
            first = in_the_way(limits_of(budget, spent, batch.at), batch.expected, urgent=not batch.later)
    return Forecast(provider, until, dict(wanted), exhausted_at, first, +skipped, +kept)


def _room(limit: Limit, batch: Batch) -> int:
    """How many of its calls leave before the next might pass the limit."""
    left, first = limit.left(urgent=not batch.later), limit.takes(batch.expected)
    each = limit.takes(batch.usual)
    if first > left:
        return 0
    return batch.calls if each <= 0 else 1 + (left - first) // each


def _batches(
    settings: Settings,
    sources: Mapping[str, Mapping[str, str]],
    provider: str,
    known: Known,
    now: Instant,
    until: Instant,
    calendars: Calendars,
) -> list[Batch]:
    """What is wanted of a provider, in its order; who is urgent goes first."""
    prices, kept, waiting = usual_prices(settings), kept_answers(), _waiting(known.waiting)
    found: list[Batch] = []
    for domain, domain_settings in settings.domains.items():
        groups = groups_of(settings, domain)
        for source in domain_settings.enabled_sources:
            name = (domain, source.use)
            if sources[domain][source.use] == provider and source.when == "always":
                options = settings.providers[provider]
                good_for = good_for_slots(source.fresh_for)
                asked = _asked(list(groups), good_for, kept[name].kept_for, now)
                seen, tasks = known.usual.get(name, Usual(0, 0, 0, 0)), waiting.get(name, {})
                for ageing, its in by_ageing(groups, domain, calendars):
                    demand = _Demand(*name, good_for, options, prices[name], seen, asked, tasks, ageing)
                    found += _whole(demand, _wishes(demand, its, groups, known, now, until))
    return sorted(found, key=lambda batch: (batch.at, batch.later, batch.domain))


def _asked(groups: Iterable[Sequence[Schedule]], good_for: Micros, kept_for: Micros, now: Instant) -> float:
    """The share of the fetches at which nothing is kept, as far as slots tell."""
    if kept_for + A_CALL <= good_for:
        return 1.0
    triggers = list(dict.fromkeys(schedule.trigger for schedules in groups for schedule in schedules))
    fetches = sum(fetches_by_day(triggers, good_for, now))
    return sum(fetches_by_day(triggers, kept_for + A_CALL, now)) / fetches if fetches else 1.0


def _waiting(tasks: Iterable[Waiting]) -> dict[tuple[str, str], dict[str, bool]]:
    found: dict[tuple[str, str], dict[str, bool]] = defaultdict(dict)
    for task in tasks:
        by_symbol = found[task.domain, task.source]
        by_symbol[task.symbol] = task.urgent or by_symbol.get(task.symbol, False)
    return found


def _wishes(
    demand: _Demand,
    groups: Mapping[tuple[Schedule, ...], Sequence[Symbol]],
    all_groups: Mapping[tuple[Schedule, ...], Sequence[Symbol]],
    known: Known,
    now: Instant,
    until: Instant,
) -> Iterator[_Wish]:
    for schedules, symbols in groups.items():
        yield from _regular([s for s in schedules if not s.stalest], demand, symbols, known, now, until)
        for rotating in (s for s in schedules if s.stalest):
            calls = share_of(rotating, all_groups) * sum(map(demand.calls, symbols))
            slot = rotating.trigger.next(now)
            while slot is not None and slot <= until:
                yield _Wish(slot, rotating.priority == "high", calls)
                slot = rotating.trigger.next(slot)


def _regular(
    schedules: Sequence[Schedule],
    demand: _Demand,
    symbols: Sequence[Symbol],
    known: Known,
    now: Instant,
    until: Instant,
) -> Iterator[_Wish]:
    """Each symbol at the first slot that does not find it fresh, or at once where it was never asked for: a start does
    that. Those of one slot go on together from there.
    """
    triggers = [schedule.trigger for schedule in schedules]
    due: dict[Instant, dict[bool, float]] = defaultdict(lambda: {True: 0.0, False: 0.0})
    firsts: dict[Instant, Instant | None] = {}
    for symbol in symbols:
        calls, high, checked = demand.calls(symbol), symbol.priority == "high", 0
        state = known.states.get((symbol.symbol, demand.domain, demand.source))
        if symbol.symbol in demand.waiting or state is None:
            yield _Wish(now, high or demand.waiting.get(symbol.symbol, False), calls)
            checked = now
        else:
            checked = state.checked_for if state.checked_for is not None and state.checked_for <= now else 0
        stale_at = max(now, demand.ageing.after(checked, demand.good_for) - 1)
        if stale_at not in firsts:
            firsts[stale_at] = next_of(triggers, stale_at)
        if (slot := firsts[stale_at]) is not None:
            due[slot][high] += calls
    slots = sorted(due)
    while slots:
        slot = heapq.heappop(slots)
        if slot > until:
            return
        at_once = due.pop(slot)
        high = any(s.priority == "high" and s.trigger.next(slot - 1) == slot for s in schedules)
        for symbols_high, calls in at_once.items():
            yield _Wish(slot, high or symbols_high, calls)
        following = next_of(triggers, max(slot, demand.ageing.after(slot, demand.good_for) - 1))
        if following is not None:
            if following not in due:
                heapq.heappush(slots, following)
            for symbols_high, calls in at_once.items():
                due[following][symbols_high] += calls


def _whole(demand: _Demand, wishes: Iterable[_Wish]) -> Iterator[Batch]:
    """In whole calls: halves wait for the next."""
    rest = {True: 0.0, False: 0.0}
    for wish in sorted(wishes):
        rest[wish.urgent] += wish.calls
        calls = int(rest[wish.urgent] + 1e-6)
        rest[wish.urgent] -= calls
        if calls:
            yield Batch(wish.at, not wish.urgent, demand.domain, calls, demand.expected, demand.usual)


def in_words(forecast: Forecast, now: Instant, timezone: str) -> str:
    """``at this rate exhausted at 16:40 EST; until 19:00 EST it would skip 12 calls for fundamentals, keep 30 for
    news``.
    """
    if forecast.exhausted_at is None or forecast.limit is None:
        until, calls = _clock_time(forecast.until, now, timezone), sum(forecast.calls.values())
        return f"at this rate it lasts: {calls:,} {'call' if calls == 1 else 'calls'} to come until {until}"
    begins = "exhausted" if forecast.exhausted_at <= now else "at this rate exhausted at "
    begins += "" if forecast.exhausted_at <= now else _clock_time(forecast.exhausted_at, now, timezone)
    said = [f"skip {_calls(forecast.skipped)}"] + ([f"keep {_calls(forecast.kept)}"] if forecast.kept else [])
    ends = _clock_time(forecast.limit.until, now, timezone)
    return f"{begins} ({most_in_words(forecast.limit)}); until {ends} it would {', '.join(said)}"


def _calls(by_domain: Mapping[str, int]) -> str:
    """``12 calls for fundamentals and 3 for news``."""
    (first, count), *others = sorted(by_domain.items(), key=lambda pair: -pair[1])
    said = [f"{count:,} {'call' if count == 1 else 'calls'} for {first}", *(f"{n:,} for {name}" for name, n in others)]
    return " and ".join(said)


def _clock_time(instant: Instant, now: Instant, timezone: str) -> str:
    zone = ZoneInfo(timezone)
    local = to_datetime(instant).astimezone(zone)
    today = to_datetime(now).astimezone(zone).date() == local.date()
    return f"{local:%H:%M %Z}" if today else f"{local:%a %d %b %H:%M %Z}"
