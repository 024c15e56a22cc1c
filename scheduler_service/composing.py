"""From settings to parts: who is asked and how, by which processors, and whose sessions matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scheduler_service.exchanges import find_exchange
from scheduler_service.processors.base import (
    HOME_EXCHANGE,
    Processor,
    Retention,
    SourcePolicy,
    exchange_of,
    is_listed,
)
from scheduler_service.processors.base import discover as discover_processors
from scheduler_service.sandbox.memory import BASE
from scheduler_service.sandbox.upstream import urls
from scheduler_service.triggers import exchanges_of
from scheduler_service.windows import usual_hours

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scheduler_service.calls import Client
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.settings.providers import ProviderOptions
    from scheduler_service.windows import Calendars

MOST_NAMED = 5


def provider_options(settings: Settings) -> dict[str, ProviderOptions]:
    """The providers in use as they are asked: the sandbox's, where it answers, with its addresses and keys."""
    known = {name: settings.providers[name] for name in sorted(settings.used_providers)}
    return {
        name: options.model_copy(update=urls(BASE).get(name, {})) if settings.uses_sandbox(name) else options
        for name, options in known.items()
    }


def exchanges_needed(settings: Settings) -> set[str]:
    """Those whose sessions decide when a schedule is due, or how old a stock's data is."""
    domains = discover_processors()
    needed = {name for s in settings.schedules if s.enabled for name in exchanges_of(s.trigger)}
    if not any(domains[domain].in_market_time for domain in settings.domains):
        return needed
    return needed | {exchange_of(symbol) for symbol in settings.watchlist}


def exchanges_told(settings: Settings) -> set[str]:
    """Those of which a service tells whether they are open: also those that are only named."""
    named = {find_exchange(name).name for name in settings.monitors.market.exchanges}
    return exchanges_needed(settings) | named | {exchange_of(one) for one in settings.watchlist if is_listed(one)}


def unknown_exchanges(settings: Settings) -> list[str]:
    """A sentence for each name in the watchlist that is no known exchange."""
    listed: dict[str, list[str]] = {}
    for symbol in settings.watchlist:
        if symbol.exchange is not None and not is_listed(symbol):
            listed.setdefault(symbol.exchange, []).append(symbol.symbol)
    return [_unknown(name, symbols) for name, symbols in sorted(listed.items())]


def _unknown(name: str, symbols: list[str]) -> str:
    more = len(symbols) - MOST_NAMED
    of = ", ".join(symbols[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    try:
        why = f"{name} is {find_exchange(name).name}"
    except ValueError as error:
        why = str(error)
    return f"watchlist: the exchange of {of} is taken to be {HOME_EXCHANGE}, for {why}"


def build_processors(
    settings: Settings, clients: Mapping[str, Client], calendars: Calendars = usual_hours
) -> dict[str, Processor[Any]]:
    """The configured domains, each with those of its sources that are enabled and whose provider is on."""
    found = discover_processors()
    built: dict[str, Processor[Any]] = {}
    for domain, domain_settings in settings.domains.items():
        providers = {source.name: source.provider for source in found[domain].sources}
        policies = [
            SourcePolicy(s.use, s.fresh_for, only_when_missing=s.when == "missing")
            for s in domain_settings.enabled_sources
            if providers[s.use] in clients
        ]
        kept = settings.retention.of(domain)
        if policies:
            built[domain] = found[domain](clients, policies, Retention(kept.age, kept.items), calendars)
    return built


def told_hosts(settings: Settings) -> tuple[str, ...]:
    """The hosts of those who are told of things: webhooks, and who is pinged."""
    urls = (settings.monitors.health.ping_url, *settings.alerts.urls)
    named = [urlsplit(url.get_secret_value()).hostname for url in urls if url is not None]
    return tuple(host for host in named if host)


def allowed_hosts(options: Iterable[ProviderOptions]) -> tuple[str, ...]:
    """The hosts a user wrote: only they may be inside addresses."""
    hosts = {urlsplit(url).hostname for provider in options for url in provider.addresses().values()}
    return tuple(sorted(host for host in hosts if host))
