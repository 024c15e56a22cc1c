"""What the outside sees of the service, as typed values: over the socket, over HTTP and in the commands' JSON.

Times are ISO-8601 UTC with ``Z``, durations in milliseconds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal, Protocol

from pydantic import Field

from scheduler_service.models import Reason, Record, TaskState
from scheduler_service.settings.model import Ticker

LONGEST_PAUSE_MS = 36_500 * 24 * 3_600_000
LONGEST_REASON = 200
DEFAULT_WAIT_MS = 60_000


class Step(Record):
    """One step of the initialisation: ``pending``, ``running``, ``done`` or ``failed``."""

    name: str
    state: str
    error: str | None = None


class Readiness(Record):
    """Ready only when every step is done and no owned task has died; else ``problem`` says why not. Ready with a
    problem: nothing is planned until the clock is right.
    """

    ready: bool
    state: str
    """``starting``, ``ready``, ``stopping`` or ``failed``."""
    steps: tuple[Step, ...]
    problem: str | None = None


class DomainFreshness(Record):
    """(symbol, source) pairs of a domain on the watchlist, by what is known of them now; without the sources that are
    asked only when the others have nothing. ``failing`` without those that are ``quarantined``.
    """

    domain: str
    watched: int
    fresh: int
    stale: int
    never: int
    failing: int
    quarantined: int = 0


class KeyView(Record):
    """One of a provider's keys, which is not told: ``in_use``, ``spare``, ``cooling_down`` or ``refused``."""

    name: str
    state: str
    until: str | None = None


class ProviderState(Record):
    """One provider's gate; ``closed_until`` and ``reason`` when it is shut. A limit is None where there is no budget.
    ``exhausted``: how the budget holds its calls; ``off``: why it is not asked at all. ``may_be_tried``: what keeps
    failing there may be tried before its time.
    """

    provider: str
    sandbox: bool = False
    calls_today: int = 0
    calls_limit: int | None = None
    usd_today: float = 0.0
    usd_limit: float | None = None
    closed_until: str | None = None
    reason: Reason | None = None
    may_be_tried: bool = False
    keys: tuple[KeyView, ...] = ()
    exhausted: str | None = None
    off: str | None = None


class ModelTrust(Record):
    """What filings say of the figures that a model states: so many of them borne out, contradicted, not covered."""

    source: str
    verified: int
    conflicting: int
    unverified: int


class NextSlot(Record):
    """``note``: what is special about it, also that it is paused; empty where nothing is."""

    schedule_id: str
    domain: str
    due_at: str
    local: str
    in_words: str
    note: str = ""


class PauseRequest(Record):
    """``schedule_id`` None: all schedules. ``for_ms`` None: until someone resumes."""

    schedule_id: str | None = None
    for_ms: int | None = Field(default=None, gt=0, le=LONGEST_PAUSE_MS)
    reason: str | None = Field(default=None, max_length=LONGEST_REASON)


class ResumeRequest(Record):
    """``schedule_id`` None: every pause there is."""

    schedule_id: str | None = None


class PauseView(Record):
    """What must not run, since when, until when, and why. ``schedule_id`` None: all schedules."""

    schedule_id: str | None
    since: str
    until: str | None
    reason: str | None


class PauseReport(Record):
    """What was done, and what is paused now."""

    message: str
    pauses: tuple[PauseView, ...]


class HealthView(Record):
    """``healthy``, ``degraded`` or ``unhealthy``, and why."""

    state: str
    reasons: tuple[str, ...] = ()


class MarketView(Record):
    """An exchange: ``open`` is null where its calendar does not reach; ``until``: when that changes. Over its lunch
    it is not open, and ``on_break``.
    """

    exchange: str
    open: bool | None
    until: str | None = None
    note: str = ""
    on_break: bool = False


class Status(Record):
    """The whole state in one look. ``problems`` are sentences; none of them: not degraded. ``warnings`` are sentences
    of what is less exact than it could be.
    """

    name: str
    version: str
    pid: int
    started_at: str
    now: str
    data_dir: str
    sandbox: bool
    readiness: Readiness
    freshness: tuple[DomainFreshness, ...]
    running: int
    queued: int
    next: tuple[NextSlot, ...]
    providers: tuple[ProviderState, ...]
    models: tuple[ModelTrust, ...] = ()
    pauses: tuple[PauseView, ...] = ()
    backup: BackupView | None = None
    health: HealthView | None = None
    markets: tuple[MarketView, ...] = ()
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()


class FetchRequest(Record):
    """What a person asks to be fetched now. ``source`` None: every enabled source of the domain. ``reparse``: from
    kept answers alone, nobody is asked. ``wait_ms``: what its gate would hold for longer than that is given up.
    """

    domain: str
    symbols: tuple[Ticker, ...]
    source: str | None = None
    force: bool = False
    reparse: bool = False
    wait_ms: int = Field(default=DEFAULT_WAIT_MS, ge=0, le=LONGEST_PAUSE_MS)


class ReleaseRequest(Record):
    """``domain`` None: every domain of the stock. Where it is named, what of it was set aside as doubtful is accepted,
    or dropped: ``reject``.
    """

    symbol: Ticker
    domain: str | None = None
    reject: bool = False


class TryRequest(Record):
    """A provider that keeps failing is to be tried before its time."""

    provider: str


class TryReport(Record):
    """``tried``: what the next request finds out about; ``held``: what stays as it is, in sentences."""

    message: str
    tried: tuple[str, ...]
    held: tuple[str, ...] = ()


class ReleaseReport(Record):
    """What was let go: ``earnings from edgar (quarantined, unknown_symbol)``; nothing where nothing was held back.

    ``accepted`` and ``rejected``: what was doubtful, ``earnings from edgar``; ``doubtful``: what still is.
    """

    message: str
    released: tuple[str, ...]
    accepted: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()


class TaskReport(Record):
    """How one task of a fetch stands; the first reports are of the tasks as queued, the last of each is ended.

    ``of`` is how many tasks the fetch has. A held task says why and until when in ``message``, and stays ``queued``.
    """

    task_id: int
    domain: str
    symbol: str
    source: str
    state: TaskState
    of: int
    reason: Reason | None = None
    message: str | None = None
    unchanged: bool = False
    duration_ms: int | None = None


class BackupRequest(Record):
    """``directory``: another than the configured one, absolute; nothing is rotated there."""

    directory: str | None = Field(default=None, pattern="^/")


class BackupReport(Record):
    """How far a backup is: ``phase`` is ``ledger`` (in pages), ``archive`` or ``verify`` (in bytes). The last report is
    ``done``, with the file that was made and the names of those that were removed for it.
    """

    phase: Literal["ledger", "archive", "verify", "done"]
    done: int
    total: int
    path: str | None = None
    members: int = 0
    removed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


class BackupView(Record):
    """The last good backup of this directory; ``next_at``: when the next is due. None where there is none."""

    made_at: str | None = None
    age_ms: int | None = None
    path: str | None = None
    bytes: int | None = None
    next_at: str | None = None
    problem: str | None = None


class ReloadReport(Record):
    """What became of the ``number``th reload of this process. ``restarting``: another report will follow.

    ``problems`` are those of a rejected configuration, each with its place.
    """

    number: int
    outcome: Literal["restarting", "restarted", "unchanged", "rejected"]
    message: str
    problems: tuple[str, ...] = ()


class Refusal(Record):
    """Why something was not done, in a sentence: the body of every error, and the last line of a fetch cut short."""

    error: str


class Facade(Protocol):
    """The service as ``web`` sees it."""

    def readiness(self) -> Readiness: ...

    async def status(self) -> Status: ...

    def fetch(self, request: FetchRequest) -> AsyncGenerator[TaskReport, None]:
        """Raises ``ConfigurationError`` (an unknown domain or source, in words) before the first report."""

    async def pause(self, request: PauseRequest) -> PauseReport:
        """Raises ``ConfigurationError`` for an unknown schedule."""

    async def resume(self, request: ResumeRequest) -> PauseReport:
        """As ``pause``."""

    async def release(self, request: ReleaseRequest) -> ReleaseReport:
        """Raises ``ConfigurationError`` for a stock of which nothing is known, or an unknown domain."""

    async def try_provider(self, request: TryRequest) -> TryReport:
        """Raises ``ConfigurationError`` for a provider that is not in use."""

    def backup(self, request: BackupRequest) -> AsyncGenerator[BackupReport, None]:
        """Raises ``SchedulerServiceError`` where none could be made."""

    async def reload(self) -> ReloadReport:
        """Reads the configuration anew; where it has changed the service starts anew after this answer."""

    def last_reload(self) -> ReloadReport | None: ...
