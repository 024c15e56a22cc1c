"""The words of the house as frozen types. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from scheduler_service.clock import Instant

T = TypeVar("T")


class Reason(StrEnum):
    """Why something was not done, or not done well: the closed list behind every "why"."""

    FRESH = "fresh"
    PAUSED = "paused"
    DISABLED = "disabled"
    REMOVED = "removed"
    NOT_WATCHED = "not_watched"
    OVERLAP = "overlap"
    COALESCED = "coalesced"
    CATCH_UP_NONE = "catch_up_none"
    TOO_OLD = "too_old"
    NOT_NEEDED = "not_needed"
    CANCELLED = "cancelled"
    POISON = "poison"
    DEADLINE = "deadline"
    BUDGET_EXHAUSTED = "budget_exhausted"
    RATE_LIMITED = "rate_limited"
    PROVIDER_DOWN = "provider_down"
    PROVIDER_OFF = "provider_off"
    ENDPOINT_GONE = "endpoint_gone"
    REFUSED = "refused"
    BAD_REQUEST = "bad_request"
    UNKNOWN_SYMBOL = "unknown_symbol"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    REDIRECTED = "redirected"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    UNGROUNDED = "ungrounded"
    WRONG_COMPANY = "wrong_company"
    NO_DATA = "no_data"
    DOUBTFUL = "doubtful"
    LOST = "lost"
    DISK_LOW = "disk_low"
    DISK_FAILED = "disk_failed"
    NOT_KEPT = "not_kept"
    BACKING_OFF = "backing_off"
    QUARANTINED = "quarantined"
    INTERNAL_ERROR = "internal_error"


USELESS_ANSWERS = frozenset(
    {
        Reason.NO_DATA,
        Reason.UNKNOWN_SYMBOL,
        Reason.WRONG_COMPANY,
        Reason.UNREADABLE,
        Reason.TRUNCATED,
        Reason.UNGROUNDED,
        Reason.DOUBTFUL,
    }
)
"""An upstream that answered, and paid work it may have been, but said nothing: asked at once it says the same again."""


class ScheduleOrigin(StrEnum):
    YAML = "yaml"
    FOLLOW_UP = "follow_up"


class RunOrigin(StrEnum):
    SCHEDULE = "schedule"
    INITIAL = "initial"
    MANUAL = "manual"
    REPARSE = "reparse"
    FOLLOW_UP = "follow_up"
    RETRY = "retry"


A_PERSONS = frozenset({RunOrigin.MANUAL, RunOrigin.REPARSE, RunOrigin.RETRY})
"""Asked for by a person, who waits for it: carried out also for what is not watched, never paused, and it may use what
budgets keep back.
"""


class SlotOutcome(StrEnum):
    """How a slot ended: exactly one of these, from the moment it is recorded."""

    RAN = "ran"
    CAUGHT_UP = "caught_up"
    COALESCED = "coalesced"
    SKIPPED = "skipped"
    MISSED = "missed"


class TaskState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (TaskState.COMPLETED, TaskState.SKIPPED, TaskState.FAILED)


class Kind(StrEnum):
    """Where a fact comes from, best first in a merge (``SANDBOX`` stands for any of them in a sandbox document)."""

    FILING = "filing"
    MARKET = "market"
    FEED = "feed"
    MODEL = "model"
    SANDBOX = "sandbox"


def _plain_number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


Number = Annotated[Decimal, PlainSerializer(_plain_number, when_used="json")]
"""Exact inside, a plain JSON number outside; money in full units, ratios as fractions."""


class Record(BaseModel):
    """What documents are made of; frozen, and nothing unknown gets in."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Provenance(Record):
    """The origin of a fact. ``fetched_at`` is ISO-8601 UTC with ``Z``."""

    source: str
    url: str | None = None
    accession: str | None = None
    fetched_at: str
    call_id: str
    kind: Kind


class Check(Record):
    """A figure that a model stated, beside what a filing says of the same period: ``difference`` is stated less filed.

    ``verified`` is equal within rounding, ``unverified`` covered by no filing. ``provenance`` is the statement's.
    ``note``: what a conflict may come from, where that can be told.
    """

    source: str
    figure: str
    period: Literal["quarter", "year", "metric"]
    period_end: date
    unit: str
    stated: Number
    filed: Number | None
    difference: Number | None
    verdict: Literal["verified", "conflicting", "unverified"]
    note: str | None = None
    provenance: Provenance
    filing: Provenance | None = None


@dataclass(frozen=True, slots=True)
class Symbol:
    """A watched stock; ``aliases`` maps a provider to the name it uses. ``priority``: high, normal or low."""

    symbol: str
    name: str | None = None
    exchange: str | None = None
    tags: frozenset[str] = frozenset()
    priority: str = "normal"
    aliases: Mapping[str, str] = field(default_factory=dict)

    def at(self, provider: str) -> str:
        """The name this provider knows the stock by."""
        return self.aliases.get(provider, self.symbol)


@dataclass(frozen=True, slots=True)
class StockState:
    """What the ledger remembers of one (symbol, domain, source). Instants, or None for never.

    ``checked_for`` is the due time it was last checked for: freshness is counted from it. ``failures`` counts those
    since the last check, ``tried_at`` is when the last try ended, well or not.
    """

    checked_for: Instant | None = None
    checked_at: Instant | None = None
    changed_at: Instant | None = None
    status: str = "never"
    reason: Reason | None = None
    failures: int = 0
    tried_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Contribution(Generic[T]):
    """What one source says of one (domain, symbol); ``data`` is the domain's record. ``warning``: what a person should
    know of how it was got.
    """

    source: str
    kind: Kind
    data: T
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """The unit of work, as claimed by a worker. ``attempt`` fences late writers. ``urgent``: a person's, or of high
    priority; it may use what budgets keep back.
    """

    id: int
    run_id: int
    schedule_id: str | None
    origin: RunOrigin
    domain: str
    symbol: str
    source: str
    due_at: Instant
    attempt: int
    interrupted: int = 0
    expires_at: Instant | None = None
    held_reason: Reason | None = None
    force: bool = False
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a task wants to change, as one value. A processor returns it and writes nothing.

    ``contribution`` is what the source says now, as JSON; ``calls`` are the ids whose answers it was made of,
    ``as_of`` when the newest of them was fetched.
    """

    state: TaskState
    reason: Reason | None = None
    message: str | None = None
    contribution: bytes | None = None
    kind: Kind | None = None
    calls: tuple[int, ...] = ()
    as_of: Instant = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that was noticed, and is told once for ever: a second one with the same ``key`` is none. What may come
    again has a time behind an ``@``; before it stands what it is about.

    ``facts`` are plain JSON, each number with its origin beside it. ``is_alert``: people are told, too.
    """

    key: str
    event: str
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    symbol: str | None = None
    level: str = "INFO"
    is_alert: bool = False


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Something is expected of a stock at ``due_at``: the domains that such an ``event`` makes due are to look then.
    ``name`` stays the same when the time moves; it tells a stock's follow-ups apart.
    """

    name: str
    event: str
    due_at: Instant


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: ``name`` as in the log (``task.completed``), ``fields`` as the log writes them."""

    name: str
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    level: str = "INFO"


class Publish(Protocol):
    """Tells whoever listens; never blocks, never raises."""

    def __call__(self, event: Event) -> None: ...


class OffLoop(Protocol):
    """Runs a function on a pool of threads, so that the loop is not held; the simulation runs it in place."""

    def __call__(self, function: Callable[..., T], *args: Any) -> Awaitable[T]: ...
