"""Whether all is well with a configuration and its data directory: what was looked at, what is wrong, what to do.

Nothing is written that stays, and no upstream is asked. It works beside the running service, and without it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from scheduler_service.alerts.channel import Message, channel_names, former_name, why
from scheduler_service.alerts.channels import channels_of
from scheduler_service.alerts.deliveries import is_trouble
from scheduler_service.calendar_file import read_calendars, warnings_of
from scheduler_service.clients.http import AiohttpTransport
from scheduler_service.clock import BUILT_AT, to_iso, to_iso_seconds
from scheduler_service.composing import exchanges_needed, told_hosts
from scheduler_service.errors import ClientError, SchedulerServiceError
from scheduler_service.place_checkup import Finding, files, kept, modes, port, room
from scheduler_service.stores import delivery_store, document_store
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.database import Ledger
from scheduler_service.stores.file_names import file_name
from scheduler_service.stores.mode import LIVE, SANDBOX, check_mode
from scheduler_service.stores.snapshot import backup_state
from scheduler_service.stores.wrong_clock import is_ahead
from scheduler_service.web.client import ControlClient

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from scheduler_service.clock import Clock, Instant
    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Connection
    from scheduler_service.stores.delivery_store import ChannelCounts
    from scheduler_service.stores.document_store import Key

MOST_NAMED = 3
BATCH = 500


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a test alert; ``said``: why it did not arrive."""

    channel: str
    said: str | None

    @property
    def arrived(self) -> bool:
        return self.said is None


async def check_up(settings: Settings, clock: Clock) -> list[Finding]:
    """Everything but what makes a configuration invalid."""
    directory, now = DataDirectory(settings.service.data_dir), clock.now()
    found = [Finding("configuration", "it is valid")]
    found += [Finding("configuration", said, note=True) for said in settings.warnings]
    found += [Finding("keys", said, note=True) for said in settings.off.values()]
    found += _clock(now)
    found.append(await asyncio.to_thread(room, directory, settings.monitors.health.disk_floor))
    if not os.access(directory.root, os.F_OK):
        return [*found, *await port(settings.http), *_channels(settings, {}, now)]
    if not os.access(directory.root, os.R_OK | os.X_OK):
        return [*found, *_channels(settings, {}, now)]
    found += await _service(directory, settings)
    found += await asyncio.to_thread(lambda: [*modes(directory), *files(directory), *kept(directory)])
    found += await _calendars(settings, directory, now)
    if any(finding.about == "ledger" and not finding.is_fine for finding in found):
        return [*found, *_channels(settings, {}, now)]
    return [*found, *await _from_ledger(settings, directory, now)]


async def send_test_alerts(settings: Settings, clock: Clock) -> list[Told]:
    """One to each channel, at once and all together, beside the outbox: it knows nothing of them."""
    now = clock.now()
    mark = "SANDBOX: " if settings.sandbox else ""
    message = Message(
        key=f"doctor.alert@{to_iso(now)}",
        event="doctor.alert",
        level="INFO",
        text=f"{mark}this is a test of alerts, sent by: scheduler-service doctor --alert",
        at=now,
        sandbox=settings.sandbox,
    )
    transport = AiohttpTransport(told_hosts(settings))
    names = channel_names(url.get_secret_value() for url in settings.alerts.urls)

    async def tell(channel: str) -> Told:
        name = names[channel]
        try:
            await channels[channel].send(message)
        except ClientError as error:
            return Told(name, why(error))
        return Told(name, None)

    channels = channels_of(settings.alerts, transport.send, clock)
    try:
        return list(await asyncio.gather(*map(tell, channels)))
    finally:
        await transport.close()


def _clock(now: Instant) -> Iterator[Finding]:
    shown, built = to_iso_seconds(now), to_iso_seconds(BUILT_AT)[:10]
    if now < BUILT_AT:
        said = f"it shows {shown}, and this program is of {built}: nothing is done until it is right"
        yield Finding("clock", said, "set the clock of this machine")
    else:
        yield Finding("clock", f"it shows {shown}")


async def _service(directory: DataDirectory, settings: Settings) -> list[Finding]:
    pid = directory.holder()
    if pid is None:
        return [Finding("service", "it does not run"), *await port(settings.http)]
    try:
        status = await ControlClient(directory.root).status()
    except SchedulerServiceError as error:
        said = f"process {pid or 'unknown'} holds the data directory, and does not answer: {error}"
        return [Finding("service", said, "see its log; if it hangs, stop it and start it again")]
    if not status.problems:
        return [Finding("service", f"it runs, pid {status.pid}, and is {status.readiness.state}")]
    return [_of_service(problem) for problem in status.problems]


def _of_service(problem: str) -> Finding:
    """Many a problem says itself what to do."""
    said, _, todo = problem.rpartition("; ")
    return (
        Finding("service", said, todo)
        if said
        else Finding("service", todo, "see its log, and: scheduler-service status")
    )


async def _calendars(settings: Settings, directory: DataDirectory, now: Instant) -> list[Finding]:
    exchanges = exchanges_needed(settings)
    if not exchanges:
        return []
    if not directory.calendars.exists():
        return [Finding("calendars", "none were computed so far; the service does so when it starts")]
    warnings = warnings_of(await read_calendars(directory.calendars, exchanges), exchanges, now)
    if not warnings:
        return [Finding("calendars", f"{', '.join(sorted(exchanges))}: known far enough ahead")]
    return [Finding("calendars", said, "let the service run: it computes them anew every day") for said in warnings]


@dataclass(frozen=True, slots=True)
class _Known:
    channels: Mapping[str, ChannelCounts]
    is_ahead: bool
    backups: Mapping[str, object]
    documents: Mapping[Key, bytes]


async def _from_ledger(settings: Settings, directory: DataDirectory, now: Instant) -> list[Finding]:
    if not directory.ledger.exists():
        return list(_channels(settings, {}, now))
    ledger = Ledger(directory.ledger)
    names = channel_names(url.get_secret_value() for url in settings.alerts.urls)
    mode = SANDBOX if settings.sandbox else LIVE

    def unit(conn: Connection) -> _Known:
        check_mode(conn, mode, str(directory.root))
        backups = json.loads(backup_state(conn) or "{}")
        return _Known(delivery_store.counts(conn, names), is_ahead(conn, now), backups, _published(conn))

    try:
        await ledger.open_query_only()
        known = await ledger.read(unit)
        wrong = await asyncio.to_thread(_differing, directory.documents, known.documents)
        if wrong:  # one that is being written just now is right at a second look
            wrong = await asyncio.to_thread(
                _differing, directory.documents, await ledger.read(partial(_published, only=wrong))
            )
    except SchedulerServiceError as error:
        said, _, todo = str(error).partition("; ")
        return [Finding("ledger", said, todo or "see the log of the service"), *_channels(settings, {}, now)]
    finally:
        await ledger.close()
    return [_documents(known, wrong), *_ahead(known), *_backups(known), *_channels(settings, known.channels, now)]


def _published(conn: Connection, only: Collection[Key] | None = None) -> dict[Key, bytes]:
    found: dict[Key, bytes] = {}
    last: Key = ("", "")
    while rows := document_store.published(conn, after=last, most=BATCH):
        found |= rows
        last = next(reversed(rows))
    return found if only is None else {key: sha256 for key, sha256 in found.items() if key in only}


def _differing(folder: Path, published: Mapping[Key, bytes]) -> list[Key]:
    """The documents whose files are gone, or are not what was written."""
    wrong = []
    for (domain, symbol), sha256 in published.items():
        try:
            is_right = hashlib.sha256((folder / domain / file_name(symbol)).read_bytes()).digest() == sha256
        except OSError:
            is_right = False
        if not is_right:
            wrong.append((domain, symbol))
    return wrong


def _documents(known: _Known, wrong: Sequence[Key]) -> Finding:
    if not wrong:
        return Finding("documents", f"{len(known.documents):,} files are as the ledger has them")
    named = ", ".join(f"{domain}/{file_name(symbol)}" for domain, symbol in wrong[:MOST_NAMED])
    more = f" and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
    said = f"{named}{more}: gone, or not as the ledger has them"
    return Finding("documents", said, "let the service run: it writes them anew within a minute or so")


def _ahead(known: _Known) -> Iterator[Finding]:
    if known.is_ahead:
        said = "the ledger knows of times that have not come: the clock was ahead, or is behind now"
        yield Finding("clock", said, "see that the clock is right; the service then makes void what a wrong one did")


def _backups(known: _Known) -> Iterator[Finding]:
    since, made = known.backups.get("failing_since"), known.backups.get("made_at")
    if isinstance(since, int):
        said = f"none was made since {to_iso_seconds(since)}"
        yield Finding("backups", said, "see why: scheduler-service backup")
    elif isinstance(made, int):
        yield Finding("backups", f"the last was made at {to_iso_seconds(made)}")


def _channels(settings: Settings, counts: Mapping[str, ChannelCounts], now: Instant) -> Iterator[Finding]:
    """Those that are configured; also those for which something waits though they no longer are."""
    names = channel_names(url.get_secret_value() for url in settings.alerts.urls)
    if not names:
        yield Finding("alerts", "no channel is configured (alerts.urls)")
    for channel in (*names, *(other for other in counts if other not in names)):
        seen, name = counts.get(channel), names.get(channel) or former_name(channel)
        waiting = "" if seen is None or not seen.waiting else f"{seen.waiting:,} wait"
        if channel not in names:
            said = f"{name}: {waiting}, and alerts.urls does not name that address any more"
            yield Finding("alerts", said, "name it again, or let them be: they are given up when the service starts")
        elif seen is not None and seen.since is not None and (seen.waiting or is_trouble(seen, now)):
            since = f"{name} does not take alerts since {to_iso_seconds(seen.since)} ({seen.said})"
            said = f"{since}; {waiting}" if waiting else since
            yield Finding("alerts", said, "see that its address is right, then: scheduler-service doctor --alert")
        else:
            last = seen.delivered_at if seen is not None else None
            took = "told nothing so far" if last is None else f"last told at {to_iso_seconds(last)}"
            yield Finding("alerts", f"{name}: {took}{f'; {waiting}' if waiting else ''}")
