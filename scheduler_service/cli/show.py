"""``show``: a stock's documents, as tables or as they are."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pydantic import ValidationError

from scheduler_service.cli.configuration import choose, perhaps, read_symbol, source_providers
from scheduler_service.cli.document_view import WIDTH, print_data, print_story
from scheduler_service.cli.figures import ago
from scheduler_service.cli.ledger import look, settings_to_look
from scheduler_service.cli.terminal import line, print_json
from scheduler_service.clock import SystemClock, to_iso_seconds
from scheduler_service.processors.base import discover
from scheduler_service.stores import document_store, doubt_store, stock_state_store
from scheduler_service.stores.mode import LIVE, SANDBOX, check_mode
from scheduler_service.stores.publisher import render, states_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scheduler_service.clock import Clock, Instant
    from scheduler_service.models import Record, StockState
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.document_store import DocumentRow
    from scheduler_service.stores.doubt_store import DoubtfulRow


@dataclass(frozen=True, slots=True)
class Known:
    """A document, the states of its sources, and what they say that was set aside."""

    row: DocumentRow
    states: Mapping[str, StockState]
    doubtful: Mapping[str, DoubtfulRow] = field(default_factory=dict)


def show(paths: Sequence[Path], symbol: str, domain: str | None, *, as_json: bool, clock: Clock | None = None) -> int:
    """1 where nothing is known of the symbol."""
    settings = settings_to_look(paths)
    name = read_symbol(symbol)
    if domain is not None:
        choose("domain", domain, source_providers())
    found, failed = look(settings, partial(_read, settings=settings, symbol=name, domain=domain))
    for absent, reason in failed:
        line(f"{name}: no {absent} yet, the last try failed: {reason}; see history --symbol {name}", err=True)
    if not found:
        if not failed:
            line(_nothing(settings, name, domain), err=True)
        return 1
    if as_json:
        documents = {known.row.domain: json.loads(_document(settings, known)) for known in found}
        print_json(documents[domain] if domain is not None else documents)
        return 0
    now = (clock or SystemClock()).now()
    if domain is None:
        _tell(settings, found, now)
    else:
        for known in found:
            _print(settings, known, now)
    return 0


def _read(
    conn: Connection, settings: Settings, symbol: str, domain: str | None
) -> tuple[list[Known], list[tuple[str, str]]]:
    """What is known, and (domain, reason) of what could not be fetched."""
    doubts = doubt_store.waiting(conn, symbol=symbol, domain=domain)
    found = [
        Known(row, states_of(conn, row), {doubt.source: doubt for doubt in doubts if doubt.domain == row.domain})
        for row in document_store.documents(conn, domain=domain, symbol=symbol)
    ]
    if found:  # what is shown as live data must be live data
        mode = SANDBOX if settings.sandbox else LIVE
        check_mode(conn, mode, str(settings.service.data_dir))
    documented = {known.row.domain for known in found}
    failed = {}
    for name in [domain] if domain else sorted(settings.domains):
        for state in stock_state_store.states_of(conn, symbol, name).values():
            if name not in documented and state.status == stock_state_store.FAILED:
                failed[name] = str(state.reason)
    return found, list(failed.items())


def _document(settings: Settings, known: Known) -> bytes:
    domain = settings.domains.get(known.row.domain)
    if domain is None:
        asked = [source for source, state in known.states.items() if state.checked_at]
        return render(known.row, known.states, asked, sandbox=settings.sandbox)
    providers = source_providers().get(known.row.domain, {})
    required = [
        source.use
        for source in domain.enabled_sources
        if source.when == "always" and providers[source.use] in settings.used_providers
    ]
    return render(known.row, known.states, required, sandbox=settings.sandbox)


def _nothing(settings: Settings, symbol: str, domain: str | None) -> str:
    what = f"{domain} of {symbol}" if domain else symbol
    watched = {watched.symbol for watched in settings.watchlist}
    if symbol in watched:
        some = domain or next(iter(settings.domains), "DOMAIN")
        return f"nothing has been fetched yet: {what}; fetch it now: scheduler-service fetch {some} {symbol}"
    return f"nothing is known of {what}: it is not on the watchlist{perhaps(symbol, watched)}"


def _tell(settings: Settings, found: Sequence[Known], now: Instant) -> None:
    """A stock's story, on one screen."""
    symbol = found[0].row.symbol
    line(f"{_named(settings, symbol)}{'   SANDBOX: not live data' if settings.sandbox else ''}")
    print_story(_record(known.row) for known in found)
    checked: dict[str, list[str]] = {}
    for known in found:
        checked.setdefault(ago(_last_check(known), now), []).append(known.row.domain)
    said = "; ".join(f"{', '.join(domains)} {when}" for when, domains in checked.items())
    for words in textwrap.wrap(f"Checked: {said}", WIDTH, subsequent_indent="  "):
        line(words)
    for known in found:
        row = known.row
        failed = {name for name, state in known.states.items() if state.status == stock_state_store.FAILED}
        failing, doubts = sorted(failed - known.doubtful.keys()), sorted(known.doubtful)
        troubles = [("failing", failing), ("set aside as doubtful", doubts)]
        told = "; ".join(f"{what}: {', '.join(names)}" for what, names in troubles if names)
        if told:
            line(f"{row.domain}: {told}; see show {symbol} {row.domain}")


def _last_check(known: Known) -> Instant | None:
    """Of the source that was checked longest ago."""
    return min((state.checked_at for state in known.states.values() if state.checked_at), default=None)


def _named(settings: Settings, symbol: str) -> str:
    name = next((watched.name for watched in settings.watchlist if watched.symbol == symbol), None)
    return f"{symbol} ({name})" if name else symbol


def _print(settings: Settings, known: Known, now: Instant) -> None:
    row = known.row
    line(f"{_named(settings, row.symbol)}: {row.domain}")
    if settings.sandbox:
        line("SANDBOX: not live data")
    for source, state in sorted(known.states.items()):
        checked = f"checked {ago(state.checked_at, now)}" if state.checked_at else "never answered"
        failed = state.status == stock_state_store.FAILED
        trouble = f"; the last try failed ({state.reason}), {state.failures} in a row" if failed else ""
        line(f"  {source}: {checked}{trouble}")
        if (doubt := known.doubtful.get(source)) is not None:
            line(f"    set aside as doubtful: {doubt.said}")
            line(f"    accept it: scheduler-service release {row.symbol} {row.domain}; drop it: the same with --reject")
    line(f"  changed {to_iso_seconds(row.changed_at)}{' (a wrong clock)' if row.changed_at > now else ''}")
    print_data(_record(row), whole=True)


def _record(row: DocumentRow) -> Record | bytes:
    """The data as its domain's record; as it is stored where this version does not know it."""
    processor = discover().get(row.domain)
    if processor is None:
        return row.data
    try:
        return processor.record.model_validate_json(row.data)
    except ValidationError:
        return row.data
