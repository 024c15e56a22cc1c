"""What is sent to a channel, what a channel is, and what it is called: nothing that may be secret."""

from __future__ import annotations

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


def channel_names(urls: Iterable[str]) -> tuple[str, ...]:
    """``webhook hooks.example.com``, ``tgram``, ``tgram 2``. The ledger knows channels by them: another one that comes
    or goes changes none, unless it is of the same kind and stands before.
    """
    seen: Counter[str] = Counter()
    names = []
    for url in urls:
        name = _kind(url)
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return tuple(names)


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
