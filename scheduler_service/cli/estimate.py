"""What a configuration will ask of whom, estimated from the schedules alone. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scheduler_service.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.clock import Instant
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.settings.providers import ProviderOptions

DAYS_LOOKED_AT = 7


@dataclass(frozen=True, slots=True)
class Estimate:
    """One provider's share. ``calls_per_day`` is of the busiest day; ``hosts`` is who is asked. No
    provider of this version charges money.
    """

    provider: str
    sandbox: bool
    calls_per_day: int
    calls_limit: int | None
    hosts: tuple[str, ...]
    usd_per_day: float = 0.0


def estimate(settings: Settings, sources: Mapping[str, Mapping[str, str]], now: Instant) -> list[Estimate]:
    """Slots x symbols x sources, each asked once (a provider with several addresses: once at each).

    ``sources`` maps each domain's sources to their providers.
    """
    days = [_calls(settings, sources, now + n * DAY) for n in range(DAYS_LOOKED_AT)]
    return [
        Estimate(
            provider=provider,
            sandbox=settings.uses_sandbox(provider),
            calls_per_day=max(day[provider] for day in days),
            calls_limit=settings.providers[provider].budget.calls_per_day,
            hosts=() if settings.uses_sandbox(provider) else _hosts(settings.providers[provider]),
        )
        for provider in sorted(settings.used_providers)
    ]


def _calls(settings: Settings, sources: Mapping[str, Mapping[str, str]], after: Instant) -> Counter[str]:
    """Calls per provider in the day after an instant."""
    calls: Counter[str] = Counter()
    for schedule in settings.schedules:
        if schedule.enabled:
            fetches = schedule.trigger.count(after, after + DAY) * sum(map(schedule.selects, settings.watchlist))
            for source in settings.domains[schedule.domain].enabled_sources:
                provider = sources[schedule.domain][source.use]
                calls[provider] += fetches * _addresses(settings.providers[provider])
    return calls


def _hosts(options: ProviderOptions) -> tuple[str, ...]:
    """Who is asked. The rest of an address may hold a secret."""
    return tuple(dict.fromkeys(urlsplit(url).netloc for url in options.addresses().values()))


def _addresses(options: ProviderOptions) -> int:
    """How many addresses one fetch asks."""
    return max(1, sum(name.startswith("urls[") for name in options.addresses()))
