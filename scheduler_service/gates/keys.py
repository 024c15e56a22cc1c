"""One provider's keys: the primary, then the spares. A key belongs to one origin and is sent nowhere else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scheduler_service.clock import HOUR, to_iso_seconds
from scheduler_service.errors import Held, PermanentClientError
from scheduler_service.models import Reason
from scheduler_service.redaction import register_secret
from scheduler_service.stores.gate_store import GateRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler_service.clock import Instant, Micros

REFUSED_FOR: Micros = 6 * HOUR
"""A refused key may only be out of credit, so it is tried again; a person who mended it reloads."""
ROW = "key:"


class KeyState(StrEnum):
    IN_USE = "in_use"
    SPARE = "spare"
    COOLING = "cooling_down"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Key:
    """``name`` is what people are shown (``key 2 of 3``), ``row`` what the ledger calls it: neither tells the key."""

    name: str
    row: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """How a key stands; ``until`` where it is set aside."""

    name: str
    state: KeyState
    until: Instant | None = None


class KeyPool:
    """The keys in their order; the first that is not set aside is used."""

    def __init__(self, provider: str, secrets: Sequence[str], base_url: str) -> None:
        count = len(secrets)
        self._provider = provider
        self._origin = origin(base_url)
        self._keys = tuple(
            Key(f"key {place} of {count}" if count > 1 else "the key", _row(provider, secret), secret)
            for place, secret in enumerate(secrets, 1)
        )
        self._aside: dict[str, GateRow] = {}
        for secret in secrets:
            register_secret(secret)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def rows(self) -> set[str]:
        """What the ledger calls them."""
        return {key.row for key in self._keys}

    def restore(self, rows: Mapping[tuple[str, str], GateRow]) -> None:
        """What the ledger remembers of these keys; a key that was replaced has another row."""
        mine = self.rows
        self._aside = {name: row for (at, name), row in rows.items() if at == self._provider and name in mine}

    def take(self, url: str, now: Instant) -> Key:
        """The key for a request to this address. Raises ``Held`` where all are set aside."""
        self.check(now)
        if origin(url) != self._origin:
            message = f"{self._provider}: a key of {self._origin} is not sent to another address"
            raise PermanentClientError(message, Reason.BAD_REQUEST)
        return next(key for key in self._keys if self._row(key, now) is None)

    def has_usable(self, now: Instant) -> bool:
        return any(self._row(key, now) is None for key in self._keys)

    def check(self, now: Instant) -> None:
        """Raises ``Held`` where every key is set aside, until the first of them may be tried again."""
        if self.has_usable(now):
            return
        rows = [row for key in self._keys if (row := self._row(key, now)) is not None]
        first = min(rows, key=lambda row: row.until)
        said = "refused: wrong, or out of credit" if first.reason is Reason.REFUSED else "asked to slow down"
        several = "every key was" if len(self._keys) > 1 else "the key was"
        message = f"{self._provider} is not asked until {to_iso_seconds(first.until)}: {several} {said}"
        raise Held(message, first.reason or Reason.RATE_LIMITED, first.until)

    def set_aside(self, key: Key, reason: Reason, until: Instant, now: Instant) -> GateRow | None:
        """Returns what the ledger shall remember; None where the key was set aside for as long already. Of two calls
        that were under way together, a refusal counts more than a wish for quiet, and the first refusal is enough.
        """
        known = self._row(key, now)
        if known is not None and (known.reason is Reason.REFUSED or (known.until >= until and known.reason is reason)):
            return None
        self._aside[key.row] = GateRow(until, now, reason)
        return self._aside[key.row]

    def forget_refusals(self, now: Instant) -> dict[str, GateRow]:
        """Refused keys may be tried again, those that cool down may not; returns the rows that say so to the ledger."""
        refused = [name for name, row in self._aside.items() if row.reason is Reason.REFUSED]
        for name in refused:
            del self._aside[name]
        return {name: GateRow(now, now, Reason.REFUSED) for name in refused}

    def is_aside(self, key: Key, now: Instant) -> bool:
        return self._row(key, now) is not None

    def standings(self, now: Instant) -> tuple[KeyStanding, ...]:
        found: list[KeyStanding] = []
        for key in self._keys:
            row = self._row(key, now)
            if row is not None:
                state = KeyState.REFUSED if row.reason is Reason.REFUSED else KeyState.COOLING
                found.append(KeyStanding(key.name, state, row.until))
            else:
                first = all(standing.state is not KeyState.IN_USE for standing in found)
                found.append(KeyStanding(key.name, KeyState.IN_USE if first else KeyState.SPARE))
        return tuple(found)

    def _row(self, key: Key, now: Instant) -> GateRow | None:
        """Why it is set aside. What was set in the future was set by a wrong clock, and is void."""
        row = self._aside.get(key.row)
        if row is not None and (row.is_void(now) or now >= row.until):
            del self._aside[key.row]
            return None
        return row


def _row(provider: str, secret: str) -> str:
    return ROW + hashlib.sha256(f"{provider}\0{secret}".encode()).hexdigest()[:16]


def origin(url: str) -> str:
    """Scheme, host and port."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"
