"""What the configuration says of watching: monitors, backups, alerts."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator

from scheduler_service.clock import HOUR, MINUTE, SECOND, Micros
from scheduler_service.exchanges import find_exchange
from scheduler_service.settings.model import TriggerSpec
from scheduler_service.settings.section import LocalPath, Section
from scheduler_service.settings.units import Duration, Size, format_duration
from scheduler_service.windows import parse_window

_OF_THE_WEB = re.compile(r"https?:", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://\S", re.IGNORECASE)


def _names_a_host(url: SecretStr) -> SecretStr:
    """What is wrong is said without the address, which may hold a secret."""
    try:
        parts = urlsplit(url.get_secret_value())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("this is not a URL; write one such as https://hooks.example.com/...") from None
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() for c in url.get_secret_value()):
        raise ValueError("this is no address of the web; write https:// or http:// with a host behind it")
    return url


def _is_a_channel(url: SecretStr) -> SecretStr:
    if _OF_THE_WEB.match(url.get_secret_value()):
        return _names_a_host(url)
    if not _SCHEME.match(url.get_secret_value()):
        raise ValueError("this is no channel; write a webhook, https://..., or what apprise knows, as mailto://...")
    try:
        urlsplit(url.get_secret_value())
    except ValueError:
        raise ValueError("this is not a URL; write [ and ] in a password as %5B and %5D") from None
    return url


class HealthMonitor(Section):
    every: Duration = Field(default=MINUTE, gt=0)
    """How often it looks; 1s or more."""
    disk_floor: Size = 500_000_000
    """While less is free where the data lies, nobody is asked. 0: whatever is free."""
    ping_url: Annotated[SecretStr, AfterValidator(_names_a_host)] | None = None
    """Asked while all is well, so that silence is noticed elsewhere."""

    @field_validator("every")
    @classmethod
    def _is_not_too_often(cls, every: Micros) -> Micros:
        if every < SECOND:
            raise ValueError(f"{format_duration(every)} is too short for a look; write 1s or more")
        return every


class MarketMonitor(Section):
    exchanges: tuple[str, ...] = ()
    """Whose openings and closings are told, beside those that the watchlist names or schedules go by."""

    @field_validator("exchanges")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(find_exchange(name).name for name in names)


class RiskMonitor(Section):
    portfolio: LocalPath | None = None
    """A CSV file of positions: symbol, quantity, average_price and, where one is set, stop. null: no risk is judged."""
    stop_loss_percent: float = Field(default=5, gt=0, le=100)
    """A loss from which a position is a breach."""
    max_position_percent: float = Field(default=15, gt=0, le=100)
    """A share of the portfolio from which a position is one."""


class Monitors(Section):
    """What is looked at every so often, and told when it changes. See [watching.md](watching.md)."""

    health: HealthMonitor = HealthMonitor()
    """The service itself."""
    market: MarketMonitor = MarketMonitor()
    """Exchanges."""
    risk: RiskMonitor = RiskMonitor()
    """Positions."""


class KeptBackups(Section):
    daily: int = Field(default=7, ge=0, le=1_000)
    """Of so many days."""
    weekly: int = Field(default=4, ge=0, le=1_000)
    """Of so many weeks."""


class Backup(Section):
    """Archives of everything the service knows. See [backups.md](backups.md)."""

    trigger: TriggerSpec | None = None
    """When; as in schedules, such as `{cron: "0 2 * * *"}`, and 10 minutes apart or more. null: only when someone says
    `backup`.
    """
    keep: KeptBackups = KeptBackups()
    """How many stay: the newest of each of the last days and weeks that have one."""
    directory: LocalPath | None = None
    """Where to; null: `backups` in the data directory. Another disk is better; its parent folder must be there."""


class Alerts(Section):
    """What is told to people elsewhere. See [watching.md](watching.md)."""

    urls: tuple[Annotated[SecretStr, AfterValidator(_is_a_channel)], ...] = ()
    """Channels: webhooks, `https://...`, where each alert is posted as JSON; and what apprise knows, as `mailto://...`."""
    cool_down: Duration = HOUR
    """What repeats the last of its event and symbol within it is not told, other stories come together at its end."""
    most_per_hour: int | None = Field(default=30, ge=1)
    """To each channel; what is beyond is summed up in one message, but for what is critical. null: no limit."""
    quiet_hours: str | None = None
    """`22:00-07:00`, by `service.timezone`: what waits then is told at their end, unless it is critical."""

    @field_validator("quiet_hours")
    @classmethod
    def _is_a_span(cls, hours: str | None) -> str | None:
        if hours is not None:
            parse_window({"hours": hours}, "UTC")
        return hours
