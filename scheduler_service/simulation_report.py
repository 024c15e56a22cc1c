"""What a simulation has shown: slots and tasks, calls and their cost, how fresh the data was, and what was said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from scheduler_service.alerts.channel import channel_names, former_name
from scheduler_service.clock import DAY, HOUR, MINUTE, Instant, Micros, to_iso_seconds
from scheduler_service.models import Record
from scheduler_service.stores import totals
from scheduler_service.stores.totals import Total

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler_service.market_time import Ageing
    from scheduler_service.models import Event, Symbol
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.totals import Check

FOLLOW_UP = "follow_up"
_FOLLOW_UPS = "follow-up:"
LOUD = ("WARNING", "ERROR", "CRITICAL")
MOST_BARS = 60


class Count(Record):
    """So many ended like this."""

    outcome: str
    reason: str | None
    count: int


class ScheduleReport(Record):
    """A schedule, or the runs without one: ``initial`` is the first fetch. ``follow_up``: all that was planned, or done
    at once, because of what was found.
    """

    schedule_id: str
    slots: tuple[Count, ...]
    tasks: tuple[Count, ...]


class ProviderReport(Record):
    """``asked`` counts the requests; ``joined`` those that were spared because the same one was under way.

    ``most_in_a_minute``: in any 60 seconds. ``per_period``: requests in each of the report's periods.
    ``usd_of_failed``: what of ``usd`` failed calls may have cost.
    """

    provider: str
    asked: int
    failed: int
    lost: int
    joined: int
    most_in_a_minute: int
    busiest_day: int
    per_period: tuple[int, ...]
    usd: float
    usd_of_failed: float
    tokens: int


class DomainReport(Record):
    """``fresh``: the share of symbol-hours in which every required source had been checked within its ``fresh_for``."""

    domain: str
    symbols: int
    fresh: float


class Noticed(Record):
    """So many notices of an event, as they stand in the ledger."""

    event: str
    count: int


class ChannelReport(Record):
    """What became of the alerts for a channel."""

    channel: str
    ends: tuple[Count, ...]


class Said(Record):
    """Something said at WARNING or above: how often, and in which words for the first time."""

    level: str
    event: str
    reason: str | None
    count: int
    first_at: str
    message: str


class Report(Record):
    """``period_hours``: how long each of the periods is in which the providers' requests are counted."""

    start: str
    days: float
    symbols: int
    starts: int
    period_hours: int
    schedules: tuple[ScheduleReport, ...]
    providers: tuple[ProviderReport, ...]
    domains: tuple[DomainReport, ...]
    noticed: tuple[Noticed, ...]
    channels: tuple[ChannelReport, ...]
    backups: int
    said: tuple[Said, ...]


@dataclass
class _Loud:
    level: str
    message: str
    first_at: Instant
    count: int = 0


@dataclass
class Heard:
    """Listens to the service. ``hidden`` is left out of what it says: the folder has another name every time."""

    hidden: str = ""
    joined: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    loud: dict[tuple[str, str | None], _Loud] = field(default_factory=dict)
    backups: int = 0

    def hear(self, event: Event, now: Instant) -> None:
        if event.name == "call.joined":
            self.joined[str(event.fields.get("provider"))] += 1
        self.backups += event.name == "backup.completed"
        if event.level in LOUD:
            reason = event.fields.get("reason")
            message = event.message.replace(self.hidden, "data") if self.hidden else event.message
            key = (event.name, None if reason is None else str(reason))
            self.loud.setdefault(key, _Loud(event.level, message, now)).count += 1


def report(
    conn: Connection,
    settings: Settings,
    start: Instant,
    lasts: Micros,
    starts: int,
    heard: Heard,
    asked: Mapping[str, Sequence[Micros]],
    required: Callable[[str, Symbol], Sequence[str]],
    ageing: Callable[[str, Symbol], Ageing],
) -> Report:
    """Of a whole ledger. ``asked``: when each provider was, in microseconds from the start. ``required``: the sources
    that make a domain's document of a stock fresh; ``ageing``: the time in which it ages.
    """
    period = DAY if lasts > MOST_BARS * HOUR else HOUR
    return Report(
        start=to_iso_seconds(start),
        days=lasts / DAY,
        symbols=len(settings.watchlist),
        starts=starts,
        period_hours=period // HOUR,
        schedules=_schedules(totals.slots(conn), totals.tasks(conn)),
        providers=_providers(conn, heard, asked, lasts, period),
        domains=_domains(settings, totals.checks(conn), required, ageing, start, start + lasts),
        noticed=tuple(Noticed(event=event, count=count) for event, count in totals.notices(conn)),
        channels=_channels(totals.deliveries(conn), settings),
        backups=heard.backups,
        said=tuple(
            Said(
                level=loud.level,
                event=name,
                reason=reason,
                count=loud.count,
                first_at=to_iso_seconds(loud.first_at),
                message=loud.message,
            )
            for (name, reason), loud in heard.loud.items()
        ),
    )


def _schedules(slots: Sequence[Total], tasks: Sequence[Total]) -> tuple[ScheduleReport, ...]:
    slots, tasks = _as_one(slots), _as_one(tasks)
    names = dict.fromkeys([*sorted({t.of for t in slots}), *sorted({t.of for t in tasks})])
    return tuple(
        ScheduleReport(schedule_id=name, slots=_counts(slots, name), tasks=_counts(tasks, name)) for name in names
    )


def _as_one(of_all: Sequence[Total]) -> list[Total]:
    """With everything that follows up on something under one name: a stock has several of them."""
    added: dict[tuple[str, str, str | None], int] = defaultdict(int)
    for t in of_all:
        added[FOLLOW_UP if t.of.startswith(_FOLLOW_UPS) else t.of, t.outcome, t.reason] += t.count
    return [Total(*of, count) for of, count in added.items()]


def _channels(deliveries: Sequence[Total], settings: Settings) -> tuple[ChannelReport, ...]:
    names = channel_names(url.get_secret_value() for url in settings.alerts.urls)
    return tuple(
        ChannelReport(channel=names.get(of) or former_name(of), ends=_counts(deliveries, of))
        for of in dict.fromkeys(total.of for total in deliveries)
    )


def _counts(of_all: Sequence[Total], name: str) -> tuple[Count, ...]:
    mine = [Count(outcome=t.outcome, reason=t.reason, count=t.count) for t in of_all if t.of == name]
    return tuple(sorted(mine, key=lambda c: (-c.count, c.outcome, c.reason or "")))


def _providers(
    conn: Connection, heard: Heard, asked: Mapping[str, Sequence[Micros]], lasts: Micros, period: Micros
) -> tuple[ProviderReport, ...]:
    by_provider = {total.provider: total for total in totals.calls(conn)}
    found = []
    for provider, times in sorted(asked.items()):
        total = by_provider.get(provider)
        found.append(
            ProviderReport(
                provider=provider,
                asked=len(times),
                failed=total.failed if total else 0,
                lost=total.lost if total else 0,
                joined=heard.joined.get(provider, 0),
                most_in_a_minute=most_within(times, MINUTE),
                busiest_day=max(per_period(times, lasts, DAY), default=0),
                per_period=per_period(times, lasts, period),
                usd=(total.usd_micros if total else 0) / 1e6,
                usd_of_failed=(total.usd_micros_of_failed if total else 0) / 1e6,
                tokens=total.tokens if total else 0,
            )
        )
    return tuple(found)


def most_within(times: Sequence[Micros], span: Micros) -> int:
    """The most that fall into any half-open stretch of that length; ``times`` ascend."""
    most = first = 0
    for n, at in enumerate(times):
        while at - times[first] >= span:
            first += 1
        most = max(most, n - first + 1)
    return most


def per_period(times: Iterable[Micros], lasts: Micros, period: Micros) -> tuple[int, ...]:
    """How many fall into each period; what comes at the very end, or after it, belongs to the last."""
    counts = [0] * max(1, -(-lasts // period))
    for at in times:
        counts[min(at // period, len(counts) - 1)] += 1
    return tuple(counts)


def _domains(
    settings: Settings,
    checks: Iterable[Check],
    required: Callable[[str, Symbol], Sequence[str]],
    ageing: Callable[[str, Symbol], Ageing],
    start: Instant,
    end: Instant,
) -> tuple[DomainReport, ...]:
    by_source: dict[tuple[str, str, str], list[tuple[Instant, Instant]]] = defaultdict(list)
    fresh_for = {
        (domain, source.use): source.fresh_for
        for domain, of in settings.domains.items()
        for source in of.enabled_sources
    }
    watched = {symbol.symbol: symbol for symbol in settings.watchlist}
    for check in checks:
        good_for, symbol = fresh_for.get((check.domain, check.source)), watched.get(check.symbol)
        if good_for is not None and symbol is not None:
            stretch = (check.at, min(ageing(check.domain, symbol).after(check.due_at, good_for), end))
            by_source[check.domain, check.symbol, check.source].append(stretch)
    found = []
    for domain in settings.domains:
        wanted = [s for s in settings.schedules if s.enabled and s.domain == domain]
        symbols = [w for w in settings.watchlist if any(s.selects(w) for s in wanted)]
        fresh = 0
        for w in symbols:
            fresh += time_in_all([by_source[domain, w.symbol, source] for source in required(domain, w)])
        share = fresh / (len(symbols) * (end - start)) if symbols else 0.0
        found.append(DomainReport(domain=domain, symbols=len(symbols), fresh=round(share, 6)))
    return tuple(found)


def time_in_all(of_each: Sequence[Sequence[tuple[Instant, Instant]]]) -> Micros:
    """How long it is that every one of them has a stretch under way; stretches of one may overlap."""
    if not of_each:
        return 0
    changes: list[tuple[Instant, int]] = []
    for stretches in of_each:
        for begin, end in _joined(stretches):
            changes += [(begin, 1), (end, -1)]
    changes.sort()
    under_way = list(accumulate(change for _, change in changes))
    return sum(
        later - at
        for (at, _), (later, _), many in zip(changes, changes[1:], under_way, strict=False)
        if many == len(of_each)
    )


def _joined(stretches: Iterable[tuple[Instant, Instant]]) -> list[tuple[Instant, Instant]]:
    """Without overlaps, ascending; empty ones are left out."""
    joined: list[tuple[Instant, Instant]] = []
    for begin, end in sorted(stretches):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif begin < end:
            joined.append((begin, end))
    return joined
