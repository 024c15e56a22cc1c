"""The settings the service runs by: checked, complete, frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, SecretStr

from scheduler_service.clock import Micros
from scheduler_service.models import Symbol
from scheduler_service.settings.model import (
    Database,
    DomainSettings,
    Executor,
    Http,
    Logging,
    Retention,
    Service,
    Tagged,
)
from scheduler_service.settings.providers import ProviderOptions, SandboxOptions
from scheduler_service.settings.tree import Where
from scheduler_service.settings.watching import Alerts, Backup, Monitors
from scheduler_service.triggers import Trigger

NOT_WRITTEN = "default"


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a domain's symbols are due, and what to do where that does not work out."""

    id: str
    domain: str
    symbols: str | tuple[str, ...] | Tagged
    """``all``, the symbols themselves, or what the watchlist is searched for."""
    trigger: Trigger
    catch_up: str
    catch_up_window: Micros
    overlap: str
    spread: Micros
    priority: str
    enabled: bool

    @property
    def stalest(self) -> int | None:
        """How many of the symbols it selects a slot is for; None: all of them."""
        return self.symbols.stalest if isinstance(self.symbols, Tagged) else None

    def selects(self, symbol: Symbol) -> bool:
        if isinstance(self.symbols, Tagged):
            return not self.symbols.tags.isdisjoint(symbol.tags) or not self.symbols.tags
        return self.symbols == "all" or symbol.symbol in self.symbols


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration. ``origins`` says where each written setting stands; what it lacks has its default."""

    files: tuple[Path, ...]
    service: Service
    logging: Logging
    http: Http
    database: Database
    executor: Executor
    retention: Retention
    watchlist: tuple[Symbol, ...]
    sandbox_options: SandboxOptions
    providers: Mapping[str, ProviderOptions]
    domains: Mapping[str, DomainSettings]
    schedules: tuple[Schedule, ...]
    monitors: Monitors
    backup: Backup
    alerts: Alerts
    used_providers: frozenset[str] = frozenset()
    """The enabled ones that some domain's enabled source needs, and that have the key they want."""
    off: Mapping[str, str] = field(default_factory=dict)
    """Provider to the sentence why it is not asked, where a source would ask it and it has no key."""
    origins: Mapping[str, Where] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()

    def uses_sandbox(self, provider: str) -> bool:
        """Whether the embedded upstream answers for this provider: an address written for it wins."""
        return self.sandbox_options.enabled and not self.providers[provider].has_own_address

    @property
    def sandbox(self) -> bool:
        """Whether the data directory is a sandbox one: one sandboxed provider in use is enough."""
        if not self.used_providers:
            return self.sandbox_options.enabled
        return any(map(self.uses_sandbox, self.used_providers))

    def line_of(self, path: str) -> str:
        """``file:line:column`` of a setting, or of the nearest written one around it; else ``default``."""
        where = nearest(self.origins, path)
        return str(where) if where else NOT_WRITTEN


def nearest(origins: Mapping[str, Where], path: str) -> Where | None:
    """Where a setting is written, or what encloses it. The whole file is no answer."""
    while path:
        if path in origins:
            return origins[path]
        path = path[: path.rfind("[")] if path.endswith("]") else path.rpartition(".")[0]
    return None


def secrets_in(value: object) -> Iterator[str]:
    """Every secret in settings, however deep."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from secrets_in([inner for _, inner in value])
    elif isinstance(value, Mapping):
        yield from secrets_in(list(value.values()))
    elif isinstance(value, list | tuple | frozenset):
        for inner in value:
            yield from secrets_in(inner)
