"""The words of the house as frozen types. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer

from scheduler_service.clock import to_iso_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from scheduler_service.clock import Instant, Micros

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
    REFUSED = "refused"
    BAD_REQUEST = "bad_request"
    UNKNOWN_SYMBOL = "unknown_symbol"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    REDIRECTED = "redirected"
    UNREADABLE = "unreadable"
    WRONG_COMPANY = "wrong_company"
    NO_DATA = "no_data"
    LOST = "lost"
    DISK_LOW = "disk_low"
    DISK_FAILED = "disk_failed"
    QUARANTINED = "quarantined"
    INTERNAL_ERROR = "internal_error"


class ScheduleOrigin(StrEnum):
    YAML = "yaml"
    FOLLOW_UP = "follow_up"


class RunOrigin(StrEnum):
    SCHEDULE = "schedule"
    INITIAL = "initial"
    MANUAL = "manual"
    FOLLOW_UP = "follow_up"
    RETRY = "retry"


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


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, without credentials: those are added at the last moment."""

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take. ``max_bytes`` is of the decoded body; ``timeout`` in seconds, from connect to last
    byte.
    """

    max_bytes: int = 5_000_000
    timeout: float = 30.0
    redirects: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. Header names are lower case; the body is decoded (gzip undone)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()


class Transport(Protocol):
    """The one seam to the network: aiohttp on one end, the sandbox in memory on the other."""

    async def send(self, request: Request, limits: Limits) -> Response:
        """Exactly one request. Raises ``TransientClientError`` or ``PermanentClientError``; never follows a redirect
        beyond ``limits``.
        """

    async def close(self) -> None:
        """Gives back its sockets."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A thing at an upstream. Its key names it in the ledger, in single flight and in kept answers.

    A kept answer is good while it is younger than ``max_age``; where a ``revision`` is given (the newest filing's
    accession number, say), for as long as it is the one it was kept under.
    """

    provider: str
    key: str
    request: Request
    max_age: Micros
    revision: str | None = None
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A parsed answer and where it came from. ``asked`` is false when a kept answer served."""

    value: T
    call_id: str
    url: str
    fetched_at: Instant
    sandbox: bool
    asked: bool

    def provenance(
        self, source: str, kind: Kind, *, url: str | None = None, accession: str | None = None
    ) -> Provenance:
        """The origin of a fact taken from this answer."""
        return Provenance(
            source=source,
            url=url if url or accession else self.url,
            accession=accession,
            fetched_at=to_iso_seconds(self.fetched_at),
            call_id=self.call_id,
            kind=Kind.SANDBOX if self.sandbox else kind,
        )


class Ask(Protocol):
    """The only way out of the house."""

    async def __call__(self, resource: Resource, parse: Callable[[bytes], T]) -> Answer[T]:
        """The parsed answer, kept or asked. ``parse`` is pure and may run in a thread.

        Raises ``Held`` when a gate is closed for long, ``ClientError`` when the upstream fails, ``ParseError`` from
        ``parse``.
        """


class Client(Protocol):
    """One provider's wire format. Knows no domains."""

    provider: str

    def check(self, resource: Resource, response: Response) -> None:
        """Returns for a good answer; raises the ``ClientError`` that says what is wrong and whether to try again."""


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

    ``checked_for`` is the due time it was last checked for: freshness is counted from it.
    """

    checked_for: Instant | None = None
    checked_at: Instant | None = None
    changed_at: Instant | None = None
    status: str = "never"
    reason: Reason | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Contribution(Generic[T]):
    """What one source says of one (domain, symbol); ``data`` is the domain's record."""

    source: str
    kind: Kind
    data: T


@dataclass(frozen=True, slots=True)
class Task:
    """The unit of work, as claimed by a worker. ``attempt`` fences late writers."""

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


class Source(Protocol):
    """One way to get a domain's data: it collects through ``ask`` and parses.

    A class attribute each: ``name`` as in the configuration, ``provider`` whose gates and lane it uses, ``kind`` of
    its facts, ``slow`` when it belongs in the slow lane.
    """

    name: ClassVar[str]
    provider: ClassVar[str]
    kind: ClassVar[Kind]
    slow: ClassVar[bool]

    def __init__(self, client: Any) -> None: ...

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[Any]:
        """What this source says now. Raises what ``ask`` raises."""
