"""The embedded upstream: one request in, one reply out, and a record of what was asked."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scheduler_service.clock import Clock, Instant, utc_day
from scheduler_service.sandbox import edgar, feeds
from scheduler_service.sandbox.bundle import bundled
from scheduler_service.sandbox.faults import Fault, FaultKind, Faults, misbehave
from scheduler_service.sandbox.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scheduler_service.calls import Request
    from scheduler_service.sandbox.company import Company

MOST_SEEN = 100_000
_SHOWN_HEADERS = frozenset(
    ("accept", "accept-encoding", "content-type", "if-modified-since", "if-none-match", "user-agent"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One request, without its query; every header that could be a credential has the value ``***``."""

    at: Instant
    provider: str
    method: str
    path: str
    headers: Mapping[str, str]


def urls(base: str) -> dict[str, dict[str, Any]]:
    """Provider to the options that point it at the sandbox standing at ``base`` (no slash at the end)."""
    return {
        "edgar": {"base_url": base, "www_base_url": base},
        "feeds": {"urls": [f"{base}/feeds/{{symbol}}.rss"]},
    }


class SandboxUpstream:
    """Answers for every provider. ``latency`` in seconds; it and every slowness are slept by the end that serves."""

    def __init__(self, clock: Clock, *, companies: Sequence[Company] | None = None, latency: float = 0.0) -> None:
        self.faults = Faults()
        self.seen: deque[Seen] = deque(maxlen=MOST_SEEN)
        self._clock = clock
        self._companies = tuple(bundled() if companies is None else companies)
        self._latency = latency

    def answer(self, request: Request) -> Reply:
        """The reply to one request, as of the clock's now."""
        now = self._clock.now()
        path = urlsplit(request.url).path
        headers = {name.lower(): value for name, value in request.headers}
        provider = "feeds" if path.startswith("/feeds/") else "edgar"
        self.seen.append(Seen(now, provider, request.method, path, _shown(headers)))
        fault = self.faults.strike(provider, path, now)
        served = self._served(fault)
        if request.method != "GET":
            reply = Reply(405, {"allow": "GET"})
        elif provider == "feeds":
            by_symbol = {asked.profile.symbol: company for asked, company in served}
            reply = feeds.answer(path, headers, by_symbol, now)
        else:
            by_cik = {asked.profile.cik: company for asked, company in served}
            reply = edgar.answer(path, headers, by_cik, utc_day(now).isoformat())
        reply = replace(reply, delay=self._latency)
        return misbehave(fault, reply) if fault else reply

    def _served(self, fault: Fault | None) -> Iterator[tuple[Company, Company]]:
        """Each company, and the one whose data is served for it."""
        shift = 1 if fault and fault.kind is FaultKind.WRONG_COMPANY else 0
        return zip(self._companies, self._companies[shift:] + self._companies[:shift], strict=True)


def _shown(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value if name in _SHOWN_HEADERS else "***" for name, value in headers.items()}
