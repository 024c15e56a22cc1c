"""What is asked of upstreams, and what they answer. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from scheduler_service import __version__
from scheduler_service.clock import to_iso_seconds
from scheduler_service.models import Kind, Provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scheduler_service.clock import Instant, Micros
    from scheduler_service.models import Contribution, StockState, Symbol

T = TypeVar("T")

USER_AGENT = f"scheduler-service/{__version__}"
MOST_HEADERS = 100
"""Of an answer."""
LONGEST_HEADER = 8190


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
class Cost:
    """What one call costs: millionths of a US dollar, and tokens."""

    usd_micros: int = 0
    tokens: int = 0


FREE = Cost()


@dataclass(frozen=True, slots=True)
class Resource:
    """A thing at an upstream. Its key names it in the ledger, in single flight and in kept answers.

    ``expected`` is what one call of it may cost: reserved before it leaves. A kept answer is good while it is younger
    than ``max_age``; where a ``revision`` is given (the newest filing's accession number, say), for as long as it is
    the one it was kept under. ``endpoint`` names what tends to fail together at its provider: no more than that is
    left alone in an outage.
    """

    provider: str
    key: str
    request: Request
    max_age: Micros
    revision: str | None = None
    limits: Limits = Limits()
    expected: Cost = FREE
    endpoint: str = ""


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

    def check(self, resource: Resource, response: Response) -> Cost | None:
        """What a good answer cost, None where it does not say: then ``resource.expected`` stands. Raises the
        ``ClientError`` that says what is wrong and whether to try again.
        """


@runtime_checkable
class Signer(Protocol):
    """A client whose requests carry a key."""

    def signed(self, request: Request, key: str) -> Request:
        """The request with the key where this provider wants it."""


@runtime_checkable
class Choosy(Protocol):
    """A source that has nothing to ask for some stocks."""

    def serves(self, symbol: Symbol) -> bool:
        """Whether it can be asked of this stock."""


class Source(Protocol):
    """One way to get a domain's data: it collects through ``ask`` and parses.

    A class attribute each: ``name`` as in the configuration, ``provider`` whose gates and lane it uses, ``kind`` of
    its facts, ``slow`` when it belongs in the slow lane. For estimates it may say more: by ``endpoint`` where it asks,
    when its calls do not cost what others of its provider do; by ``kept_for`` how long an answer serves in place of
    another call; and by ``asks`` what it asks for, when other sources of its provider ask for the same of a symbol.
    """

    name: ClassVar[str]
    provider: ClassVar[str]
    kind: ClassVar[Kind]
    slow: ClassVar[bool]

    def __init__(self, client: Any, helper: Any = None) -> None: ...

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[Any]:
        """What this source says now. Raises what ``ask`` raises."""
