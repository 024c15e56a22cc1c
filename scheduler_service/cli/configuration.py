"""The settings a command works with, and what a person may have meant."""

from __future__ import annotations

import asyncio
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scheduler_service import estimate
from scheduler_service.alerts.apprise_channel import unusable
from scheduler_service.alerts.channels import is_webhook
from scheduler_service.cli.terminal import line
from scheduler_service.clients.base import discover as discover_clients
from scheduler_service.errors import ConfigurationError, Problem
from scheduler_service.redaction import escape, register_secret
from scheduler_service.settings.explain import closest, did_you_mean
from scheduler_service.settings.load import Found, find_config, find_data_dir, load
from scheduler_service.settings.loaded import secrets_in
from scheduler_service.settings.model import parse_symbol
from scheduler_service.stores.data_directory import LIVE, DataDirectory, mode_of
from scheduler_service.stores.database import Ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from scheduler_service.settings.loaded import Settings

source_providers = estimate.source_providers


def find(given: Sequence[Path]) -> Found:
    """The configuration files to use."""
    return find_config(given, os.environ, Path.cwd())


def settings_of(given: Sequence[Path], *, to_run: bool = False) -> Settings:
    """The settings; says on standard error which configuration that is, where no one named it. ``to_run``: what would
    keep ``run`` from starting is refused.

    Raises ``ConfigurationError``.
    """
    found = find(given)
    if not given:
        click.echo(found.sentence, err=True)
    return settings_to_run(found) if to_run else read(found)


def settings_to_look(given: Sequence[Path]) -> Settings:
    """The settings; of a configuration that is not valid, what it takes to look at the data: what is wrong is said on
    standard error, and all but the data directory and its mode are defaults.

    Raises ``ConfigurationError`` where there are no data either.
    """
    try:
        return settings_of(given)
    except ConfigurationError as error:
        paths = find(given).paths
        data_dir, _ = find_data_dir(paths, os.environ)
        directory = DataDirectory(data_dir)
        if not directory.ledger.exists() or not all(path.exists() for path in paths):
            raise
        for problem in error.problems:
            line(str(problem), err=True)
        line(f"the configuration is not valid: shown is what lies in {data_dir}, without names and settings", err=True)
        providers = {name: client.Options for name, client in discover_clients().items()}
        usual = load((), {}, providers=providers, sources=source_providers())
        mode = asyncio.run(_mode(directory))
        return replace(
            usual,
            service=usual.service.model_copy(update={"data_dir": data_dir}),
            sandbox_options=usual.sandbox_options.model_copy(update={"enabled": mode != LIVE}),
        )


async def _mode(directory: DataDirectory) -> str | None:
    ledger = Ledger(directory.ledger)
    try:
        await ledger.open_query_only()
        return await ledger.read(mode_of)
    finally:
        await ledger.close()


def data_dir_of(given: Sequence[Path]) -> Path:
    """Where the running service's data lies, also while the configuration is being edited: it need not be valid.

    Says on standard error which configuration that is, where no one named it, and what in it cannot be read.
    """
    found = find(given)
    if not given:
        line(found.sentence, err=True)
    data_dir, problems = find_data_dir(found.paths, os.environ)
    for problem in problems:
        line(str(problem), err=True)
    return data_dir


def read(found: Found, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of these files and the environment; none of their secrets is shown from now on."""
    providers = {name: client.Options for name, client in discover_clients().items()}
    settings = load(found.paths, environ, providers=providers, sources=source_providers())
    for secret in secrets_in([getattr(settings, field.name) for field in fields(settings)]):
        register_secret(secret)
    return settings


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
