"""The configuration as frozen types: what each section may say, and its defaults."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, SecretStr, Tag, field_validator, model_validator

from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND, Micros
from scheduler_service.models import Symbol
from scheduler_service.settings.section import LocalPath, Section
from scheduler_service.settings.tree import Written
from scheduler_service.settings.units import Duration, Size
from scheduler_service.triggers import parse_trigger

LONGEST_SYMBOL = 64

Priority: TypeAlias = Literal["high", "normal", "low"]
TriggerSpec: TypeAlias = dict[str, Any]
"""A trigger as written; ``triggers.parse_trigger`` reads it once the zone is known."""


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
    name: str = Field(default="stocks", min_length=1, max_length=64)
    timezone: TimeZone = "America/New_York"
    data_dir: LocalPath = Path("data")
    drain_timeout: Duration = 25 * SECOND


class LogFile(Section):
    path: LocalPath
    rotation: Size = Field(default=50_000_000, ge=1_000)
    retention: Duration = Field(default=14 * DAY, gt=0)


class Logging(Section):
    level: Literal["TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    format: Literal["text", "json"] = "text"
    file: LogFile | None = None


class Http(Section):
    """``port: 0`` takes a free one."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8321, ge=0, le=65_535)
    token_file: LocalPath | None = None


class Database(Section):
    url: SecretStr | None = None


class Executor(Section):
    kind: Literal["local"] = "local"
    concurrency: int = Field(default=32, ge=1, le=1_000)
    slow_lane: int = Field(default=2, ge=1, le=64)


class Kept(Section):
    """How much of an accumulating domain is kept."""

    age: Duration = Field(default=90 * DAY, gt=0)
    items: int = Field(default=200, ge=1, le=100_000)


class Retention(Section):
    """Loading adds a field of type ``Kept`` for each domain."""

    history: Duration = Field(default=90 * DAY, gt=0)
    raw: Duration = Field(default=30 * DAY, gt=0)
    raw_size: Size = Field(default=2_000_000_000, gt=0)

    def of(self, domain: str) -> Kept:
        """What is kept of this domain."""
        kept = getattr(self, domain, None)
        return kept if isinstance(kept, Kept) else Kept()


class Watched(Section):
    """One line of the watchlist."""

    symbol: Ticker
    name: str | None = None
    exchange: str | None = None
    tags: frozenset[str] = frozenset()
    priority: Priority = "normal"
    aliases: dict[str, str] = Field(default_factory=dict)

    def to_symbol(self) -> Symbol:
        return Symbol(self.symbol, self.name, self.exchange, self.tags, self.priority, self.aliases)


class SourceSettings(Section):
    """One source of a domain. ``when: missing``: asked only while no better contribution is fresh."""

    use: str
    fresh_for: Duration = Field(default=DAY, gt=0)
    when: Literal["always", "missing"] = "always"
    enabled: bool = True

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"use": value} if isinstance(value, str) else value


class DomainSettings(Section):
    """A domain's sources, in order of preference; ``fresh_for`` holds for those that name none."""

    fresh_for: Duration = Field(default=DAY, gt=0)
    sources: tuple[SourceSettings, ...] = Field(min_length=1)

    @field_validator("sources")
    @classmethod
    def _inherit(cls, sources: tuple[SourceSettings, ...], info: Any) -> tuple[SourceSettings, ...]:
        update = {"fresh_for": info.data.get("fresh_for", DAY)}
        return tuple(s if "fresh_for" in s.model_fields_set else s.model_copy(update=update) for s in sources)

    @property
    def enabled_sources(self) -> tuple[SourceSettings, ...]:
        return tuple(source for source in self.sources if source.enabled)


class Tagged(Section):
    """Symbols by what the watchlist says of them."""

    tags: frozenset[str] = frozenset()
    stalest: int | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _one_of_them(cls, value: object) -> object:
        if isinstance(value, dict) and not value:
            raise ValueError("this selects nothing; write all, [AAPL, NVDA] or {tags: [chips]}")
        return value


def _known_form(value: object) -> object:
    if value == "all" or isinstance(value, (list, tuple, dict)):
        return str(value) if isinstance(value, Written) else value
    raise ValueError("symbols are all, a list such as [AAPL, NVDA], or {tags: [chips]}")


def _form(value: object) -> str:
    return "all" if isinstance(value, str) else "tags" if isinstance(value, (dict, Tagged)) else "list"


Selection = Annotated[
    Annotated[Literal["all"], Tag("all")] | Annotated[tuple[Ticker, ...], Tag("list")] | Annotated[Tagged, Tag("tags")],
    Discriminator(_form),
    BeforeValidator(_known_form),
]


class ScheduleSettings(Section):
    """A schedule as written. What is not possible yet (``during``, say) is read to be refused in words."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    domain: str
    symbols: Selection = "all"
    trigger: TriggerSpec
    during: Any = None
    catch_up: Literal["latest", "none", "all"] = "latest"
    catch_up_window: Duration = DAY
    overlap: Literal["skip", "queue"] = "skip"
    spread: Duration = 0
    priority: Priority = "normal"
    enabled: bool = True


class HealthMonitor(Section):
    every: Duration = Field(default=MINUTE, gt=0)
    disk_floor: Size = 500_000_000
    ping_url: SecretStr | None = None


class MarketMonitor(Section):
    exchanges: tuple[str, ...] = ()


class RiskMonitor(Section):
    portfolio: LocalPath | None = None
    stop_loss_percent: float | None = Field(default=None, gt=0, le=100)
    max_position_percent: float | None = Field(default=None, gt=0, le=100)


class Monitors(Section):
    health: HealthMonitor = HealthMonitor()
    market: MarketMonitor = MarketMonitor()
    risk: RiskMonitor = RiskMonitor()


class KeptBackups(Section):
    daily: int = Field(default=7, ge=0, le=1_000)
    weekly: int = Field(default=4, ge=0, le=1_000)


class Backup(Section):
    trigger: TriggerSpec | None = None
    keep: KeptBackups = KeptBackups()
    directory: LocalPath | None = None


class Alerts(Section):
    urls: tuple[SecretStr, ...] = ()
    cool_down: Duration = HOUR
    quiet_hours: str | None = None
