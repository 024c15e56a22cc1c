"""What is sent to a channel, what a channel is, and what it is called: nothing that may be secret."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from scheduler_service.models import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scheduler_service.clock import Instant
    from scheduler_service.errors import ClientError

WEBHOOK_SCHEMES = ("http", "https")
_WHY = {
    Reason.TIMEOUT: "it did not answer in time",
    Reason.PROVIDER_DOWN: "it cannot be reached",
    Reason.REDIRECTED: "it redirects",
    Reason.TOO_LARGE: "its answer is too large",
}


@dataclass(frozen=True, slots=True)
class Message:
    """One alert. ``key`` is the same whenever it is sent again."""

    key: str
    event: str
    level: str
    text: str
    at: Instant
    symbol: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    sandbox: bool = False


class Channel(Protocol):
    """Where people are told."""

    async def send(self, message: Message) -> None:
        """Returns once it has arrived. Raises ``ClientError``; a transient one is worth another try."""


def channel_id(url: str) -> str:
    """``webhook hooks.example.com#1a2b3c4d``, by which the ledger knows a channel: of an address, wherever it stands.
    The hash is too short to try addresses by it.
    """
    return f"{_kind(url)}#{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def channel_names(urls: Iterable[str]) -> dict[str, str]:
    """What people call channels, by id: ``webhook hooks.example.com``, ``tgram``, ``tgram 2``. An address that stands
    there twice is one channel.
    """
    seen: Counter[str] = Counter()
    names: dict[str, str] = {}
    for url in urls:
        channel = channel_id(url)
        if channel in names:
            continue
        kind = former_name(channel)
        seen[kind] += 1
        names[channel] = kind if seen[kind] == 1 else f"{kind} {seen[kind]}"
    return names


def former_name(channel: str) -> str:
    """Of a channel that is configured no more, by its id."""
    return channel.rpartition("#")[0] or channel


def _kind(url: str) -> str:
    """Of a webhook its host, without path, query and user; of all else, whose host may be a token, the scheme."""
    parts = urlsplit(url)
    if parts.scheme not in WEBHOOK_SCHEMES:
        return parts.scheme
    host = parts.hostname or ""
    port = "" if parts.port is None else f":{parts.port}"
    return f"webhook {f'[{host}]' if ':' in host else host}{port}"


def why(error: ClientError) -> str:
    """Why a channel did not take an alert, without its address."""
    if error.status is not None:
        return f"it answered {error.status}"
    return _WHY.get(error.reason, str(error.reason))
