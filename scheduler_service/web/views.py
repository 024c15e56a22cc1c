"""What the outside sees of the service, as typed values: over the socket, over HTTP and in the commands' JSON.

Times are ISO-8601 UTC with ``Z``, durations in milliseconds.
"""

from __future__ import annotations

from typing import Literal

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
    conflicting_symbols: tuple[str, ...] = ()


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
    """``open`` is null where its calendar does not reach; ``until``: when that changes. At lunch: ``on_break``."""

    exchange: str
    open: bool | None
    until: str | None = None
    note: str = ""
    on_break: bool = False


class ChannelView(Record):
    """Where alerts go: how many wait, and why the oldest does. ``failing_since``: it does not take them since then.
    Not ``configured``: what waits for it is given up after three days.
    """

    channel: str
    configured: bool = True
    waiting: int = 0
    delivered_at: str | None = None
    failing_since: str | None = None
    said: str | None = None


class Status(Record):
    """The whole state in one look. ``problems`` are sentences; none of them: not degraded. ``warnings`` are sentences
    of what is less exact than it could be. ``http``: where health is answered, as a URL.
    """

    name: str
    version: str
    pid: int
    started_at: str
    now: str
    data_dir: str
    http: str | None = None
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
    alerts: tuple[ChannelView, ...] = ()
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


class RunNowRequest(Record):
    """A schedule's stocks, or those of them that are named, are to be fetched now; for the rest as ``FetchRequest``."""

    schedule_id: str
    symbols: tuple[Ticker, ...] = ()
    force: bool = False
    wait_ms: int = Field(default=DEFAULT_WAIT_MS, ge=0, le=LONGEST_PAUSE_MS)


class RetryRequest(Record):
    """A task that was not completed is to be tried again, by a task of its own."""

    task_id: int = Field(gt=0, lt=2**63)
    wait_ms: int = Field(default=DEFAULT_WAIT_MS, ge=0, le=LONGEST_PAUSE_MS)


class CancelRequest(Record):
    """A task that waits or runs is not to be carried out."""

    task_id: int = Field(gt=0, lt=2**63)


class CancelReport(Record):
    """What was done; ``cancelled``: whether the task ended by it."""

    message: str
    cancelled: bool


class PruneReport(Record):
    """How much went, or would go: rows of each kind, and files of large answers with the bytes they took."""

    message: str
    tasks: int = 0
    slots: int = 0
    runs: int = 0
    answers: int = 0
    calls: int = 0
    schedules: int = 0
    pauses: int = 0
    deliveries: int = 0
    notices: int = 0
    files: int = 0
    bytes: int = 0


class ReleaseRequest(Record):
    """``domain`` None: every domain. Where it is named, what of it is doubtful is accepted, or dropped: ``reject``."""

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
