"""The path of a fetch, written once: check, ask, parse, return an outcome. A domain declares the rest."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import orjson

from scheduler_service.clock import MINUTE, to_iso_seconds
from scheduler_service.errors import ClientError, ParseError
from scheduler_service.models import (
    USELESS_ANSWERS,
    Contribution,
    Kind,
    Outcome,
    Reason,
    Record,
    StockState,
    TaskState,
)
from scheduler_service.settings.model import good_for_slots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler_service.calls import Ask, Client, Source
    from scheduler_service.clock import Instant, Micros
    from scheduler_service.models import Symbol, Task

D = TypeVar("D", bound=Record)

MISSING_AFTER = 2
"""A source is missing once it has been silent for so many of its ``fresh_for``: while it is throttled or down for an
hour, yesterday's filing is better than a model.
"""
FIRST_PAUSE = 15 * MINUTE
MOST_DOUBLINGS = 20
FETCH_FIELDS = frozenset({"fetched_at", "call_id"})


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


def is_fresh(state: StockState, due_at: Instant, fresh_for: Micros, now: Instant) -> bool:
    """Whether a slot due at ``due_at`` finds this source fresh. A check in the future was noted by a wrong clock:
    void.
    """
    if state.checked_for is None or state.checked_for > now:
        return False
    return due_at - state.checked_for < good_for_slots(fresh_for)


def quiet_until(state: StockState, fresh_for: Micros, now: Instant) -> Instant | None:
    """Until when a source is left alone that answered and said nothing; None: it may be asked. Each such answer doubles
    the pause, up to ``fresh_for``. A try in the future was noted by a wrong clock: void.
    """
    if state.failures < 1 or state.reason not in USELESS_ANSWERS or state.tried_at is None or state.tried_at > now:
        return None
    pause = min(fresh_for, FIRST_PAUSE << min(state.failures - 1, MOST_DOUBLINGS))
    until = state.tried_at + good_for_slots(pause)
    return until if now < until else None


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
    """One domain. A subclass declares its name, its record, its sources and how contributions merge."""

    domain: ClassVar[str]
    record: ClassVar[type[Record]]
    sources: ClassVar[tuple[type[Source], ...]]

    def __init__(
        self, clients: Mapping[str, Client], policies: Sequence[SourcePolicy], retention: Retention | None = None
    ) -> None:
        by_name = {source.name: source for source in self.sources}
        self.policies = {p.name: p for p in policies}
        self.retention = retention
        self._sources: dict[str, Source] = {
            p.name: by_name[p.name](clients[by_name[p.name].provider]) for p in policies
        }

    @abstractmethod
    def merge(self, contributions: Sequence[Contribution[D]]) -> D:
        """Contributions, best first, to one record. Pure."""

    def accumulate(self, previous: D | None, new: D, now: Instant) -> D:
        """What the source says now, given what it said before; a domain of events keeps the old ones here."""
        del previous, now
        return new

    def source(self, name: str) -> Source:
        return self._sources[name]

    async def process(
        self, task: Task, states: Mapping[str, StockState], symbol: Symbol, ask: Ask, now: Instant
    ) -> Outcome:
        """Check state, ask, parse; the executor commits what this returns. ``states``: of this stock and domain, by
        source.

        Raises ``Held`` when a gate is closed for long: the task is not over, only deferred.
        """
        policy, state = self.policies[task.source], states.get(task.source, StockState())
        if not task.force and is_fresh(state, task.due_at, policy.fresh_for, now):
            return Outcome(TaskState.SKIPPED, Reason.FRESH)
        if not task.force and policy.only_when_missing and (better := self._fresh_ones(task, states, now)):
            return Outcome(TaskState.SKIPPED, Reason.NOT_NEEDED, f"{', '.join(better)} said it already")
        if not task.force and (until := quiet_until(state, policy.fresh_for, now)):
            message = f"asked again from {to_iso_seconds(until)} on: the last answer said nothing ({state.reason})"
            return Outcome(TaskState.SKIPPED, Reason.BACKING_OFF, message)
        try:
            said = await self._sources[task.source].collect(ask, state, symbol)
        except (ClientError, ParseError) as error:
            return Outcome(TaskState.FAILED, error.reason, str(error))
        contribution = said.data.model_dump_json().encode()
        return Outcome(TaskState.COMPLETED, message=said.warning, contribution=contribution, kind=said.kind)

    def _fresh_ones(self, task: Task, states: Mapping[str, StockState], now: Instant) -> list[str]:
        """The required sources that spoke lately: what is asked only when missing is not missing then."""
        return [
            name
            for name in self.required
            if is_fresh(states.get(name, StockState()), task.due_at, MISSING_AFTER * self.policies[name].fresh_for, now)
        ]

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

    @property
    def required(self) -> tuple[str, ...]:
        """The sources whose checks make the domain fresh."""
        return tuple(p.name for p in self.policies.values() if not p.only_when_missing)


def discover(package: str = "scheduler_service.processors") -> dict[str, type[Processor[Any]]]:
    """Domain name to processor, from every module of the package that declares one."""
    found: dict[str, type[Processor[Any]]] = {}
    root = importlib.import_module(package)
    for module in sorted(pkgutil.iter_modules(root.__path__), key=lambda m: m.name):
        for value in vars(importlib.import_module(f"{package}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Processor) and "domain" in vars(value):
                found[value.domain] = value
    return found
