"""What the configuration, the ledger and the gates know about a schedule or a stock: the facts that ``why`` reasons
from. Only looks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from scheduler_service.calls import Cost
from scheduler_service.clock import StoppedClock
from scheduler_service.composing import provider_options
from scheduler_service.definitions import fingerprint, restore
from scheduler_service.errors import Held
from scheduler_service.gates.gate import Gate
from scheduler_service.gates.room import ASKED_AGAIN, free_bytes, too_little
from scheduler_service.market_time import ELAPSED
from scheduler_service.models import A_PERSONS, Reason, ScheduleOrigin, StockState, Symbol, TaskState
from scheduler_service.processors.base import ageing_of
from scheduler_service.processors.base import discover as discover_processors
from scheduler_service.stores import call_store, doubt_store, gate_store, schedule_store, stock_state_store, traces
from scheduler_service.stores.pause_store import EVERYTHING, pauses, pauses_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.market_time import Ageing
    from scheduler_service.settings.loaded import Schedule, Settings
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.doubt_store import DoubtfulRow
    from scheduler_service.stores.history import TaskRow
    from scheduler_service.stores.pause_store import PauseRow
    from scheduler_service.stores.schedule_store import RunRow
    from scheduler_service.stores.traces import CallTrace, KnownSchedule, RecordedSlot
    from scheduler_service.windows import Calendars


_UNTRIED = StockState()


@dataclass(frozen=True, slots=True)
class Question:
    """Why, of a schedule's or a domain's name; ``at`` None: now."""

    name: str
    symbol: str | None
    at: Instant | None
    now: Instant

    @property
    def instant(self) -> Instant:
        return self.now if self.at is None else self.at

    @property
    def is_past(self) -> bool:
        return self.at is not None and self.at <= self.now


class TracedTask(NamedTuple):
    task: TaskRow
    calls: tuple[CallTrace, ...]


@dataclass(frozen=True, slots=True)
class ScheduleEvidence:
    """A schedule as configured, else as the ledger last knew it, and what happened to it up to the instant asked about.

    ``slot`` is the recorded one of that instant, or the stretch in which it lies; ``before`` the newest one up to it;
    ``stands_in`` the later one that was run in the place of a coalesced one; ``run`` and ``tasks`` (of the symbol, if
    there is one) are the slot's, or of ``before`` where there is no slot.
    """

    id: str
    domain: str
    schedule: Schedule | None
    configured: bool
    known: KnownSchedule | None = None
    differs: bool = False
    slot: RecordedSlot | None = None
    before: RecordedSlot | None = None
    stands_in: RecordedSlot | None = None
    run: RunRow | None = None
    tasks: tuple[TracedTask, ...] = ()
    open_tasks: Counter[str] = field(default_factory=Counter)
    pause: PauseRow | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has no slots to come, because nobody wants it any more."""
        follows_up = self.known is not None and self.known.row.origin is ScheduleOrigin.FOLLOW_UP
        return not self.configured and not (follows_up and self.known is not None and self.known.closed_at is None)


@dataclass(frozen=True, slots=True)
class SourceEvidence:
    """One source of a domain. ``place`` is its path in the configuration, ``off`` the sentence why it is not asked at
    all, ``obstacle`` why its provider could not be asked at the instant. State, newest task, and what was set aside as
    doubtful are of the symbol.
    """

    domain: str
    source: str
    provider: str
    place: str
    fresh_for: Micros
    only_when_missing: bool = False
    off: str | None = None
    state: StockState = _UNTRIED
    newest: TaskRow | None = None
    ageing: Ageing = ELAPSED
    obstacle: Held | None = None
    doubtful: DoubtfulRow | None = None


class ServiceSeen(NamedTuple):
    """How the running service is; ``hinders``: nothing is fetched by schedule while it is so."""

    said: str
    hinders: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything about one question. ``service``: None where none runs."""

    question: Question
    schedules: tuple[ScheduleEvidence, ...]
    sources: tuple[SourceEvidence, ...]
    service: ServiceSeen | None
    has_run: bool = True

    def sources_of(self, domain: str) -> tuple[SourceEvidence, ...]:
        return tuple(source for source in self.sources if source.domain == domain)


def names_known(conn: Connection | None, settings: Settings) -> dict[str, str]:
    """Every schedule that is configured, or was, and its domain."""
    former = {} if conn is None else {name: s.row.domain for name, s in traces.known_schedules(conn).items()}
    return former | {schedule.id: schedule.domain for schedule in settings.schedules}


def gather(
    conn: Connection | None,
    settings: Settings,
    providers: Mapping[str, Mapping[str, str]],
    calendars: Calendars,
    question: Question,
    service: ServiceSeen | None,
) -> Evidence:
    """``conn``: None where nothing has run yet. ``providers``: domain to source to provider."""
    known = {} if conn is None else traces.known_schedules(conn)
    wanted = [name for name, domain in names_known(conn, settings).items() if question.name in (name, domain)]
    wanted.sort(key=lambda name: (name != question.name, name))
    schedules = [_schedule(conn, settings, calendars, known.get(name), name, question) for name in wanted]
    domains = dict.fromkeys([*(s.domain for s in schedules), *_as_domain(settings, question.name)])
    sources = [
        source for domain in domains for source in _sources(conn, settings, providers, domain, question, calendars)
    ]
    by_name = [s for s in schedules if s.id == question.name]
    by_domain = [s for s in schedules if s not in by_name and not s.is_over]
    return Evidence(
        question,
        (*by_name, *_covering(by_domain, settings, question)),
        tuple(sources),
        service,
        has_run=conn is not None,
    )


def _as_domain(settings: Settings, name: str) -> list[str]:
    return [name] if name in settings.domains else []


def _covering(found: Sequence[ScheduleEvidence], settings: Settings, question: Question) -> list[ScheduleEvidence]:
    """Those that choose the symbol; all, where none does."""
    watched = next((s for s in settings.watchlist if s.symbol == question.symbol), None)
    chosen = [s for s in found if watched is not None and s.schedule is not None and s.schedule.selects(watched)]
    return chosen or list(found)


def _schedule(
    conn: Connection | None,
    settings: Settings,
    calendars: Calendars,
    known: KnownSchedule | None,
    name: str,
    question: Question,
) -> ScheduleEvidence:
    configured = next((s for s in settings.schedules if s.id == name), None)
    schedule = configured or (None if known is None else restore(name, known.row.definition, calendars))
    domain = schedule.domain if schedule is not None else known.row.domain if known is not None else ""
    if conn is None:
        return ScheduleEvidence(name, domain, schedule, configured is not None)
    slot = traces.slot_at(conn, name, question.instant)
    before = traces.last_slot(conn, name, question.instant)
    shown = slot or before
    run = schedule_store.get_run(conn, shown.run_id) if shown is not None and shown.run_id is not None else None
    tasks = [] if run is None or question.symbol is None else traces.tasks_of_run(conn, run.id, question.symbol)
    paused = [p.scope for p in pauses_at(conn, question.now)]
    return ScheduleEvidence(
        name,
        domain,
        schedule,
        configured is not None,
        known,
        differs=configured is not None and known is not None and fingerprint(configured) != known.row.fingerprint,
        slot=slot,
        before=before,
        stands_in=None if slot is None else traces.next_run_slot(conn, name, slot.row.until_at),
        run=run,
        tasks=tuple(TracedTask(_held(task, paused), tuple(traces.calls_of_task(conn, task.id))) for task in tasks),
        open_tasks=traces.open_tasks(conn, name, is_paused=name in paused or EVERYTHING in paused),
        pause=_decisive([p.as_of(question.now) for p in pauses(conn, name)], question),
    )


def _decisive(known: Sequence[PauseRow], question: Question) -> PauseRow | None:
    """The one that lasts longest of those that hold at the instant; else of those that hold now."""
    for instant in (question.instant, question.now):
        on = [p for p in known if p.holds_at(instant)]
        if on:
            return max(on, key=lambda p: (p.end is None, p.end or 0))
    return None


def _held(task: TaskRow, paused: Sequence[str]) -> TaskRow:
    """With the pause, if one holds it: that is not written into the tasks themselves."""
    mine = task.schedule_id in paused or (EVERYTHING in paused and task.origin not in A_PERSONS)
    return replace(task, held_reason=Reason.PAUSED) if mine and task.state is TaskState.QUEUED else task


def _sources(
    conn: Connection | None,
    settings: Settings,
    providers: Mapping[str, Mapping[str, str]],
    domain: str,
    question: Question,
    calendars: Calendars,
) -> list[SourceEvidence]:
    configured = settings.domains.get(domain)
    if configured is None:
        return []
    names = [source.use for source in configured.sources]
    states, newest = {}, {}
    doubtful: dict[str, DoubtfulRow] = {}
    if conn is not None and question.symbol is not None:
        states = stock_state_store.states_of(conn, question.symbol, domain)
        doubtful = {row.source: row for row in doubt_store.waiting(conn, symbol=question.symbol, domain=domain)}
        paused = [p.scope for p in pauses_at(conn, question.now)]
        found_tasks = traces.newest_tasks(conn, domain, question.symbol, names)
        newest = {source: _held(task, paused) for source, task in found_tasks.items()}
    obstacles, ageing = _obstacles(conn, settings, question), _ageing(settings, domain, question, calendars)
    found = []
    for place, source in enumerate(configured.sources):
        provider = providers[domain][source.use]
        path = f"domains.{domain}.sources[{place}]"
        found.append(
            SourceEvidence(
                domain,
                source.use,
                provider,
                path,
                source.fresh_for,
                only_when_missing=source.when == "missing",
                off=_off(settings, provider, enabled=source.enabled),
                state=states.get(source.use, _UNTRIED),
                newest=newest.get(source.use),
                ageing=ageing,
                obstacle=obstacles.get(provider),
                doubtful=doubtful.get(source.use),
            )
        )
    return found


def _ageing(settings: Settings, domain: str, question: Question, calendars: Calendars) -> Ageing:
    if question.symbol is None:
        return ELAPSED
    watched = next((s for s in settings.watchlist if s.symbol == question.symbol), Symbol(question.symbol))
    return ageing_of(watched, calendars, in_market_time=discover_processors()[domain].in_market_time)


def _off(settings: Settings, provider: str, *, enabled: bool) -> str | None:
    if not enabled:
        return "switched off (enabled: false)"
    if provider in settings.off:
        return settings.off[provider]
    return None if provider in settings.used_providers else f"{provider} is switched off (enabled: false)"


def _disk_low(settings: Settings, question: Question) -> Held | None:
    said = too_little(free_bytes(settings.service.data_dir), settings.monitors.health.disk_floor)
    return None if said is None else Held(said, Reason.DISK_LOW, question.now + ASKED_AGAIN)


def _obstacles(conn: Connection | None, settings: Settings, question: Question) -> dict[str, Held]:
    """By provider: why it could not be asked at the instant, as far as is known now."""
    if not question.is_past and (low := _disk_low(settings, question)) is not None:
        return dict.fromkeys(provider_options(settings), low)
    if conn is None:
        return {}
    rows, spent = gate_store.gates(conn, question.now), call_store.spent(conn)
    recent = gate_store.recent_calls(conn, question.now)
    found = {}
    for provider, options in provider_options(settings).items():
        gate = Gate(provider, options, StoppedClock(question.instant))
        gate.restore(rows, spent.get(provider, {}), recent.get(provider, ()))
        held = gate.obstacle(Cost(usd_micros=round(options.usd_per_call * 1e6)))
        # asked for a moment only, in the ordinary course of its rate
        if held is not None and not (held.reason is Reason.RATE_LIMITED and held.until <= question.instant):
            found[provider] = held
    return found
