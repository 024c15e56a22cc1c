"""What the configuration says of watching: monitors, backups, alerts."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from scheduler_service.clock import HOUR, MINUTE
from scheduler_service.exchanges import find_exchange
from scheduler_service.settings.model import TriggerSpec
from scheduler_service.settings.section import LocalPath, Section
from scheduler_service.settings.units import Duration, Size
from scheduler_service.windows import parse_window


class HealthMonitor(Section):
    every: Duration = Field(default=MINUTE, gt=0)
    """How often it looks."""
    disk_floor: Size = 500_000_000
    """While less is free where the data lies, nobody is asked. 0: whatever is free."""
    ping_url: SecretStr | None = None
    """Asked while all is well, so that silence is noticed elsewhere."""


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
    """When; as in schedules, such as `{cron: "0 2 * * *"}`. null: only when someone says `backup`."""
    keep: KeptBackups = KeptBackups()
    """How many stay: the newest of each of the last days and weeks that have one."""
    directory: LocalPath | None = None
    """Where to; null: `backups` in the data directory. Another disk is better; its parent folder must be there."""


class Alerts(Section):
    """What is told to people elsewhere. See [watching.md](watching.md)."""

    urls: tuple[SecretStr, ...] = ()
    """Webhooks, `https://...`: each alert is posted there as JSON."""
    cool_down: Duration = HOUR
    """Another of the same event and symbol is not told within this time, unless it is of another limit or worse."""
    quiet_hours: str | None = None
    """`22:00-07:00`, by `service.timezone`: what is noticed then is told at their end, unless it is critical."""

    @field_validator("urls")
    @classmethod
    def _are_webhooks(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for url in urls:
            parts = urlsplit(url.get_secret_value())
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("an alert's url begins with https:// or http:// and names a host")
        return urls

    @field_validator("quiet_hours")
    @classmethod
    def _is_a_span(cls, hours: str | None) -> str | None:
        if hours is not None:
            parse_window({"hours": hours}, "UTC")
        return hours
