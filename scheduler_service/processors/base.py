"""The path of a fetch, written once: check, ask, parse, return an outcome. A domain declares the rest."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from operator import is_
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import orjson

from scheduler_service.calls import Choosy
from scheduler_service.clock import DAY
from scheduler_service.errors import ClientError, NotKept, ParseError
from scheduler_service.exchanges import find_exchange, is_exchange
from scheduler_service.failure_memory import pause_of
from scheduler_service.market_time import ELAPSED, MarketTime
from scheduler_service.models import (
    A_PERSONS,
    Contribution,
    Kind,
    Outcome,
    Reason,
    Record,
    RunOrigin,
    StockState,
    TaskState,
)
from scheduler_service.settings.model import good_for_slots
from scheduler_service.windows import usual_hours

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scheduler_service.calls import Ask, Client, Source
    from scheduler_service.clock import Instant, Micros
    from scheduler_service.market_time import Ageing
    from scheduler_service.models import FollowUp, Notice, Symbol, Task
    from scheduler_service.windows import Calendars

D = TypeVar("D", bound=Record)

MISSING_AFTER = 2
"""A source is missing once it has been silent for so many of its ``fresh_for``: while it is throttled or down for an
hour, yesterday's filing is better than a model.
"""
HOME_EXCHANGE = "XNYS"
"""Of a stock whose exchange the watchlist does not name."""
MOST_REMEMBERED = 1_000
REMEMBERED_FOR = DAY
"""How long a domain that forgets old events by their age may leave a stock alone that says nothing new."""
FETCH_FIELDS = frozenset({"fetched_at", "call_id"})


class Rebuilding(Generic[D]):
    """What was last made of a stock's answers: the same answers, parsed once, say the same again.

    A fact keeps the provenance of the call that first said it.
    """

    def __init__(self) -> None:
        self._made: OrderedDict[str, tuple[tuple[object, ...], D]] = OrderedDict()

    def of(self, symbol: str, answers: Sequence[object], make: Callable[[], D]) -> D:
        """``answers``: as they were parsed; told apart by identity."""
        known = self._made.get(symbol)
        if known is not None and len(known[0]) == len(answers) and all(map(is_, known[0], answers)):
            return known[1]
        self._made[symbol] = (tuple(answers), make())
        self._made.move_to_end(symbol)
        while len(self._made) > MOST_REMEMBERED:
            self._made.popitem(last=False)
        return self._made[symbol][1]


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of an accumulating domain is kept."""

    age: Micros
    items: int


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """What the configuration says of one source of a domain, in the YAML's order."""

    name: str
    fresh_for: Micros
    only_when_missing: bool = False


def is_fresh(state: StockState, due_at: Instant, fresh_for: Micros, now: Instant, ageing: Ageing = ELAPSED) -> bool:
    """Whether a slot due at ``due_at`` finds this source fresh. A check in the future was noted by a wrong clock:
    void. ``ageing``: which time counts.
    """
    if state.checked_for is None or state.checked_for > now:
        return False
    return ageing.between(state.checked_for, due_at) < good_for_slots(fresh_for)


def ageing_of(symbol: Symbol, calendars: Calendars, *, in_market_time: bool) -> Ageing:
    """How what is known of a stock ages."""
    return MarketTime(calendars(exchange_of(symbol))) if in_market_time else ELAPSED


def exchange_of(symbol: Symbol) -> str:
    """Its own where that is a known one, else the home exchange."""
    return find_exchange(symbol.exchange).name if is_listed(symbol) else HOME_EXCHANGE


def is_listed(symbol: Symbol) -> bool:
    """Whether the watchlist names an exchange for it, and that is a known one."""
    return is_exchange(symbol.exchange)


def content_hash(record: Record) -> bytes:
    """SHA-256 of what a record says, without when and by which call it was learned."""
    said = _without_fetch(record.model_dump(mode="json"))
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()


def _without_fetch(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_fetch(inner) for key, inner in value.items() if key not in FETCH_FIELDS}
    if isinstance(value, list):
        return [_without_fetch(inner) for inner in value]
    return value


class Processor(ABC, Generic[D]):
    """One domain. A subclass declares its name, its record, its sources and how contributions merge.

    ``in_market_time``: what its sources say does not age while the stock's exchange is closed; ``fresh_for`` then
    counts its sessions alone.
    """

    domain: ClassVar[str]
    record: ClassVar[type[Record]]
    sources: ClassVar[tuple[type[Source], ...]]
    in_market_time: ClassVar[bool] = False
    tells_prices: ClassVar[bool] = False
    """Whether its documents say what a share costs: ``price``, ``previous_close``, ``currency`` and ``as_of``."""
    due_on: ClassVar[frozenset[str]] = frozenset()
    """The events, noticed or expected, that make a stock due in this domain."""

    def __init__(
        self,
        clients: Mapping[str, Client],
        policies: Sequence[SourcePolicy],
        retention: Retention | None = None,
        calendars: Calendars = usual_hours,
    ) -> None:
        by_name = {source.name: source for source in self.sources}
        self.policies = {p.name: p for p in policies}
        self.retention = retention
        self._calendars = calendars
        self._nothing_new: OrderedDict[tuple[bytes, bytes], Instant] = OrderedDict()
        self._sources: dict[str, Source] = {p.name: _built(by_name[p.name], clients) for p in policies}

        self._choosy = {name: source for name, source in self._sources.items() if isinstance(source, Choosy)}

    @abstractmethod
    def merge(self, contributions: Sequence[Contribution[D]]) -> D:
        """Contributions, best first, to one record. Pure."""

    def accumulate(self, previous: D | None, new: D, now: Instant) -> D:
        """What the source says now, given what it said before; a domain of events keeps the old ones here."""
        del previous, now
        return new

    def doubt(self, previous: D, new: D) -> str | None:
        """What speaks against what the source says now, in words, given what it said before: figures that changed
        though no filing did, much less than there was, another company's. None: nothing. Pure.
        """
        del previous, new
        return None

    def notices(self, symbol: str, before: D | None, after: D, now: Instant, since: Instant | None) -> Sequence[Notice]:
        """What is worth telling of the change of a document; ``before`` is None for a new one. ``since``: when the
        source whose answer changed it had answered before; None: never, and then nothing that is past is new, however
        lately it was learned. Pure; the keys are the domain's own.
        """
        del symbol, before, after, now, since
        return ()

    def follow_ups(self, known: D, symbol: Symbol) -> Sequence[FollowUp]:
        """When a stock is to be looked at again because of what its document says; what is past is ignored. Pure."""
        del known, symbol
        return ()

    def adds_nothing(self, before: bytes, said: bytes, now: Instant) -> bool:
        """Whether it was seen lately that these words (as JSON) add nothing to that content (its hash)."""
        seen = self._nothing_new.get((before, hashlib.sha256(said).digest()))
        return seen is not None and seen <= now < seen + REMEMBERED_FOR

    def note_adds_nothing(self, before: bytes, said: bytes, now: Instant) -> None:
        """It was seen."""
        self._nothing_new[before, hashlib.sha256(said).digest()] = now
        while len(self._nothing_new) > MOST_REMEMBERED:
            self._nothing_new.popitem(last=False)

    def source(self, name: str) -> Source:
        return self._sources[name]

    async def process(
        self, task: Task, states: Mapping[str, StockState], symbol: Symbol, ask: Ask, now: Instant
    ) -> Outcome:
        """Check state, ask, parse; the executor commits what this returns. ``states``: of this stock and domain, by
        source.

        Raises ``Held`` when a gate is closed for long: the task is not over, only deferred.
        """
        state = states.get(task.source, StockState())
        wanted = task.force or task.origin is RunOrigin.REPARSE
        if not wanted and (needless := self._needless(task, states, symbol, now)) is not None:
            return needless
        try:
            said = await self._sources[task.source].collect(ask, state, symbol)
        except NotKept as error:
            return Outcome(TaskState.SKIPPED, error.reason, str(error))
        except (ClientError, ParseError) as error:
            return Outcome(TaskState.FAILED, error.reason, str(error))
        contribution = said.data.model_dump_json().encode()
        return Outcome(TaskState.COMPLETED, message=said.warning, contribution=contribution, kind=said.kind)

    def finds_fresh(self, source: str, symbol: Symbol, state: StockState, due_at: Instant, now: Instant) -> bool:
        """Whether a slot finds that source of a stock fresh."""
        policy = self.policies.get(source)
        return policy is not None and is_fresh(state, due_at, policy.fresh_for, now, self.ageing(symbol))

    def ageing(self, symbol: Symbol) -> Ageing:
        """The time in which a stock's freshness counts."""
        return ageing_of(symbol, self._calendars, in_market_time=self.in_market_time)

    def _needless(self, task: Task, states: Mapping[str, StockState], symbol: Symbol, now: Instant) -> Outcome | None:
        """Why nobody is asked: it is fresh, others said it, or it failed lately."""
        policy, state = self.policies[task.source], states.get(task.source, StockState())
        if not self.serves(task.source, symbol):
            return Outcome(TaskState.SKIPPED, Reason.NOT_NEEDED, f"{task.source} has nothing of {symbol.symbol}")
        if not self._is_overtaken(task) and self.finds_fresh(task.source, symbol, state, task.due_at, now):
            return Outcome(TaskState.SKIPPED, Reason.FRESH)
        if policy.only_when_missing and (better := self._fresh_ones(task, states, symbol, now)):
            return Outcome(TaskState.SKIPPED, Reason.NOT_NEEDED, f"{', '.join(better)} said it already")
        pause = pause_of(state, policy.fresh_for, now)
        if pause is None or (pause.is_passing and task.origin in A_PERSONS):
            return None
        how = "; --force asks all the same" if task.origin in A_PERSONS else ""
        return Outcome(TaskState.SKIPPED, pause.reason, pause.in_words() + how)

    def _is_overtaken(self, task: Task) -> bool:
        """Something happened since: what was known is old, however young. A model learns of it last, and is paid."""
        return task.origin is RunOrigin.FOLLOW_UP and self._sources[task.source].kind is not Kind.MODEL

    def _fresh_ones(self, task: Task, states: Mapping[str, StockState], symbol: Symbol, now: Instant) -> list[str]:
        """The required sources that spoke lately: what is asked only when missing is not missing then."""
        ageing, found = self.ageing(symbol), []
        for name in self.required_of(symbol):
            known, long_enough = states.get(name, StockState()), MISSING_AFTER * self.policies[name].fresh_for
            if is_fresh(known, task.due_at, long_enough, now, ageing):
                found.append(name)
        return found

    def read(self, contribution: bytes) -> D:
        """A stored contribution back as the domain's record."""
        return cast("D", self.record.model_validate_json(contribution))

    def order(self, contributions: Mapping[str, Contribution[D]]) -> list[Contribution[D]]:
        """Best first: filing over market over feed over model, then the YAML's order."""
        ranks = {name: place for place, name in enumerate(self.policies)}
        kinds = list(Kind)
        return sorted(
            contributions.values(), key=lambda c: (kinds.index(c.kind), ranks.get(c.source, len(ranks)), c.source)
        )

    def serves(self, source: str, symbol: Symbol) -> bool:
        """Whether that source can be asked of this stock: a feed of one company's own says nothing of others."""
        choosy = self._choosy.get(source)
        return choosy is None or choosy.serves(symbol)

    def required_of(self, symbol: Symbol) -> tuple[str, ...]:
        """The sources whose checks make this stock fresh."""
        return tuple(name for name in self.required if self.serves(name, symbol))

    @property
    def required(self) -> tuple[str, ...]:
        """The sources whose checks make the domain fresh."""
        return tuple(p.name for p in self.policies.values() if not p.only_when_missing)


def _built(source: type[Source], clients: Mapping[str, Client]) -> Source:
    """A source with its provider's client, and with that of the provider it is helped by, where that is on."""
    mine = clients[source.provider]
    helper: str | None = getattr(source, "helped_by", None)
    return source(mine) if helper is None else source(mine, clients.get(helper))


def discover(package: str = "scheduler_service.processors") -> dict[str, type[Processor[Any]]]:
    """Domain name to processor, from every module of the package that declares one."""
    found: dict[str, type[Processor[Any]]] = {}
    root = importlib.import_module(package)
    for module in sorted(pkgutil.iter_modules(root.__path__), key=lambda m: m.name):
        for value in vars(importlib.import_module(f"{package}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Processor) and "domain" in vars(value):
                found[value.domain] = value
    return found
