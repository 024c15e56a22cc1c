"""The settings a command works with, and what a person may have meant."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import click

from scheduler_service import estimate
from scheduler_service.alerts.apprise_channel import unusable
from scheduler_service.alerts.channels import is_webhook
from scheduler_service.cli.place import find
from scheduler_service.clients.base import discover as discover_clients
from scheduler_service.errors import ConfigurationError, Problem
from scheduler_service.redaction import escape, register_secret
from scheduler_service.sandbox.bundle import bundled_symbols
from scheduler_service.settings.explain import closest, did_you_mean
from scheduler_service.settings.load import load
from scheduler_service.settings.loaded import secrets_in
from scheduler_service.settings.model import parse_symbol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from scheduler_service.settings.load import Found
    from scheduler_service.settings.loaded import Settings

MOST_NAMED = 5
source_providers = estimate.source_providers


def settings_of(given: Sequence[Path], *, to_run: bool = False) -> Settings:
    """The settings; says on standard error which configuration that is, where no one named it. ``to_run``: what would
    keep ``run`` from starting is refused.

    Raises ``ConfigurationError``.
    """
    found = find(given)
    if not given:
        click.echo(found.sentence, err=True)
    return settings_to_run(found) if to_run else read(found)


def read(found: Found, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of these files and the environment; none of their secrets is shown from now on."""
    providers = {name: client.Options for name, client in discover_clients().items()}
    settings = load(found.paths, environ, providers=providers, sources=source_providers())
    for secret in secrets_in([getattr(settings, field.name) for field in fields(settings)]):
        register_secret(secret)
    return replace(settings, warnings=(*settings.warnings, *_strangers(settings)))


def _strangers(settings: Settings) -> Iterator[str]:
    """Watched stocks of which the sandbox has nothing."""
    if not any(map(settings.uses_sandbox, settings.used_providers)):
        return
    known = bundled_symbols()
    strangers = [
        watched.symbol
        for watched in settings.watchlist
        if {watched.symbol, *watched.aliases.values()}.isdisjoint(known)
    ]
    if strangers:
        some = ", ".join(strangers[:MOST_NAMED])
        more = f" and {len(strangers) - MOST_NAMED} more" if len(strangers) > MOST_NAMED else ""
        said = f"the sandbox knows {', '.join(known)} alone: of {some}{more} it has nothing"
        where = settings.line_of("watchlist")
        yield f"{where} watchlist: {said}, so what is asked of them fails, however it is spelled"


def settings_to_run(found: Found) -> Settings:
    """As ``read``; also refuses channels of alerts that what is installed cannot use.

    Not to be called where a loop runs. Raises ``ConfigurationError``.
    """
    settings = read(found)
    written = {n: url.get_secret_value() for n, url in enumerate(settings.alerts.urls)}
    others = [n for n, url in written.items() if not is_webhook(url)]
    problems = []
    for number, (wrong, right) in unusable([written[n] for n in others]).items():
        path = f"alerts.urls[{others[number]}]"
        problems.append(Problem(settings.line_of(path), path, wrong, right))
    if problems:
        raise ConfigurationError(problems)
    return settings


def read_symbol(text: str) -> str:
    """A symbol as a person typed it. Raises ``click.UsageError``."""
    try:
        return parse_symbol(text)
    except ValueError as error:
        raise click.UsageError(escape(f"{text!r}: {error}")) from None


def choose(kind: str, name: str, known: Collection[str]) -> str:
    """The name, where it is known. Raises ``click.UsageError`` with the one that was probably meant."""
    if name not in known:
        raise click.UsageError(escape(f"there is no {kind} {name!r}; {did_you_mean(name, known)}"))
    return name


def perhaps(name: str, known: Collection[str]) -> str:
    """``; did you mean AAPL?``, or nothing."""
    close = closest(name, known)
    return f"; did you mean {close}?" if close else ""
