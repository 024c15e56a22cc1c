"""The configuration as frozen types: what each section may say, and its defaults."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, SecretStr, Tag, field_validator, model_validator

from scheduler_service.clock import DAY, MINUTE, SECOND, Micros
from scheduler_service.models import Symbol
from scheduler_service.settings.section import LocalPath, Section
from scheduler_service.settings.tree import Written
from scheduler_service.settings.units import Duration, Size
from scheduler_service.triggers import parse_trigger

LONGEST_SYMBOL = 64

Priority: TypeAlias = Literal["high", "normal", "low"]
TriggerSpec: TypeAlias = dict[str, Any]
"""A trigger as written; ``triggers.parse_trigger`` reads it once the zone is known."""
WindowSpec: TypeAlias = dict[str, Any]
"""A window as written; ``triggers.parse_during`` reads it with its trigger."""


def parse_symbol(value: object) -> str:
    """A symbol in upper case. Raises ``ValueError``."""
    if not isinstance(value, str):
        given = "null" if value is None else str(value).lower() if isinstance(value, (bool, int, float)) else "this"
        raise ValueError(f'{given} is not text, so not a symbol; if it is one, quote it, such as "TRUE" or "0700"')
    text = value.strip().upper()
    if not 0 < len(text.encode("utf-8", "replace")) <= LONGEST_SYMBOL or not text.isprintable() or " " in text:
        raise ValueError(
            f"a symbol has 1 to {LONGEST_SYMBOL} visible characters without spaces; write one such as AAPL"
        )
    if unicodedata.normalize("NFC", text) != text:
        raise ValueError("a symbol must be in composed Unicode form (NFC); type it anew")
    return text


def _parse_zone(value: object) -> str:
    """Raises ``ValueError`` where no such zone exists."""
    try:
        parse_trigger({"every": "1d", "timezone": str(value) if isinstance(value, str) else value}, "UTC")
    except ValueError as error:
        raise ValueError(str(error).removeprefix("timezone: ")) from None
    return str(value)


def good_for_slots(fresh_for: Micros) -> Micros:
    """How long a check keeps slots from asking again: ``fresh_for`` less a tolerance of 10 %, at most 90 minutes, which
    lets a daily schedule with ``fresh_for: 24h`` fetch daily.
    """
    return fresh_for - min(fresh_for // 10, 90 * MINUTE)


Ticker = Annotated[str, BeforeValidator(parse_symbol)]
TimeZone = Annotated[str, BeforeValidator(_parse_zone)]


class Service(Section):
    """Who this is, and where its data lies."""

    name: str = Field(default="stocks", min_length=1, max_length=64)
    """How it calls itself in logs and pages."""
    timezone: TimeZone = "America/New_York"
    """The clock that schedules follow where they name no other."""
    data_dir: LocalPath = Path("data")
    """Documents, ledger and backups. Not written: `$STATE_DIRECTORY`, else `data` beside the configuration.
    A directory holds sandbox data or live data, for ever."""
    drain_timeout: Duration = 25 * SECOND
    """What running tasks get when the service stops."""


class LogFile(Section):
    """A log file beside standard output."""

    path: LocalPath
    """Where it is."""
    rotation: Size = Field(default=50_000_000, ge=1_000)
    """A new file begins at this size."""
    retention: Duration = Field(default=14 * DAY, gt=0)
    """Older files are deleted."""


class Logging(Section):
    """What is logged, and how."""

    level: Literal["TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """From this level on."""
    format: Literal["text", "json"] = "text"
    """`json` makes each line an object."""
    file: LogFile | None = None
    """The same into a file."""


class Http(Section):
    """The door for health checks."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """Another than this machine's own needs `token_file`."""
    port: int = Field(default=8321, ge=0, le=65_535)
    """0 takes a free one."""
    token_file: LocalPath | None = None
    """A file with the token that requests must bear. In the data directory a missing one is made."""


class Database(Section):
    """Where the ledger is."""

    url: SecretStr | None = None
    """null: SQLite in the data directory. No effect in this version yet."""


class Executor(Section):
    """How much is done at the same time."""

    kind: Literal["local"] = "local"
    """Where tasks run."""
    concurrency: int = Field(default=32, ge=1, le=1_000)
    """Tasks at the same time, over all providers; each provider has a limit of its own."""
    slow_lane: int = Field(default=2, ge=1, le=64)
    """How many of them may be slow ones."""


class Kept(Section):
    """How much is kept of a domain whose items accumulate."""

    age: Duration = Field(default=90 * DAY, gt=0)
    """Older items are dropped."""
    items: int = Field(default=200, ge=1, le=100_000)
    """More than these are dropped, the oldest first."""


class Retention(Section):
    """How long things are kept. Each domain has a key of its own here as well."""

    history: Duration = Field(default=90 * DAY, gt=0)
    """Slots, runs, tasks and calls."""
    raw: Duration = Field(default=30 * DAY, gt=0)
    """Answers as they came, but those that are current: to look into, and to parse anew."""
    raw_size: Size = Field(default=2_000_000_000, gt=0)
    """Large ones of them take no more than this; the oldest go first."""

    def of(self, domain: str) -> Kept:
        """What is kept of this domain."""
        kept = getattr(self, domain, None)
        return kept if isinstance(kept, Kept) else Kept()


class Watched(Section):
    """One line of the watchlist."""

    symbol: Ticker
    """As the exchange writes it."""
    name: str | None = None
    """The company's. Stories are recognised by it; several stand between ` / `: Alphabet / Google."""
    exchange: str | None = None
    """As ISO 10383 names it, such as XNAS."""
    tags: frozenset[str] = frozenset()
    """By which schedules choose."""
    priority: Priority = "normal"
    """What comes first; the higher of the symbol's and the schedule's holds."""
    aliases: dict[str, str] = Field(default_factory=dict)
    """Provider to the symbol's name there."""

    def to_symbol(self) -> Symbol:
        return Symbol(self.symbol, self.name, self.exchange, self.tags, self.priority, self.aliases)


class SourceSettings(Section):
    """One source of a domain."""

    use: str
    """The source's name."""
    fresh_for: Duration = Field(default=DAY, gt=0)
    """For so long what it said is not asked for again; not written: the domain's."""
    when: Literal["always", "missing"] = "always"
    """`missing`: asked only while no better source has anything fresh."""
    enabled: bool = True
    """false: not asked."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"use": value} if isinstance(value, str) else value


class DomainSettings(Section):
    """A domain's sources, in order of preference; ``fresh_for`` holds for those that name none."""

    fresh_for: Duration = Field(default=DAY, gt=0)
    """For sources that name none."""
    sources: tuple[SourceSettings, ...] = Field(min_length=1)
    """The best first; a name alone will do."""

    @field_validator("sources")
    @classmethod
    def _inherit(cls, sources: tuple[SourceSettings, ...], info: Any) -> tuple[SourceSettings, ...]:
        update = {"fresh_for": info.data.get("fresh_for", DAY)}
        return tuple(s if "fresh_for" in s.model_fields_set else s.model_copy(update=update) for s in sources)

    @property
    def enabled_sources(self) -> tuple[SourceSettings, ...]:
        return tuple(source for source in self.sources if source.enabled)


_SELECTIONS = "all, [AAPL, NVDA], {tags: [chips]} or {stalest: 5}"


class Tagged(Section):
    """Symbols by what the watchlist says of them, or by how long ago they were looked at."""

    tags: frozenset[str] = frozenset()
    """Symbols with one of these."""
    stalest: int | None = Field(default=None, ge=1)
    """At each slot so many of them, those that were looked at longest ago; without tags, of the whole watchlist."""

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        if not self.tags and self.stalest is None:
            raise ValueError(f"this selects nothing; write {_SELECTIONS}")
        return self


def _known_form(value: object) -> object:
    if value == "all" or isinstance(value, (list, tuple, dict)):
        return str(value) if isinstance(value, Written) else value
    raise ValueError(f"these are not symbols; write {_SELECTIONS}")


def _form(value: object) -> str:
    return "all" if isinstance(value, str) else "tags" if isinstance(value, (dict, Tagged)) else "list"


Selection = Annotated[
    Annotated[Literal["all"], Tag("all")] | Annotated[tuple[Ticker, ...], Tag("list")] | Annotated[Tagged, Tag("tags")],
    Discriminator(_form),
    BeforeValidator(_known_form),
]


class ScheduleSettings(Section):
    """When a domain's symbols are looked at."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    """Its name, in commands and logs. Several files: schedules with the same id merge."""
    domain: str
    """What is fetched."""
    symbols: Selection = "all"
    """`all`, `[AAPL, NVDA]`, `{tags: [chips]}` or `{stalest: 5}`, the 5 that were looked at longest ago."""
    trigger: TriggerSpec
    """`{every: 30m}`, `{cron: "0 7 * * mon-fri"}`, `{market: XNYS, at: open-30m}` or `{at: 2027-01-04T09:00:00-05:00}`;
    a `timezone` can stand beside the first two. See [time.md](time.md)."""
    during: WindowSpec | None = None
    """`{market: XNYS}` or `{days: mon-fri, hours: "08:00-18:00"}`: outside there is no slot."""
    catch_up: Literal["latest", "none", "all"] = "latest"
    """After a crash or a pause: the latest missed slot, none, or all, one run each."""
    catch_up_window: Duration = DAY
    """How far back a missed slot may lie."""
    overlap: Literal["skip", "queue"] = "skip"
    """What happens to a symbol that is still being fetched: it is skipped, or waits (`queue`; one at most)."""
    spread: Duration = 0
    """So much later than the slot, at most, each symbol comes, always at the same place."""
    priority: Priority = "normal"
    """What comes first."""
    enabled: bool = True
    """false: no slots."""
