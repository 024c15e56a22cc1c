"""The embedded upstream: one request in, one reply out, and a record of what was asked."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from scheduler_service.clock import DAY, Clock, Instant, to_iso
from scheduler_service.sandbox import (
    alert_sink,
    edgar,
    feeds,
    finnhub,
    hostile_bodies,
    model_faults,
    perplexity,
    wire_faults,
    wrong_data,
)
from scheduler_service.sandbox.alert_sink import Told
from scheduler_service.sandbox.bundle import bundled
from scheduler_service.sandbox.faults import Fault, FaultKind, Faults, HostileBody, ModelFault, WrongData
from scheduler_service.sandbox.reply import Reply
from scheduler_service.windows import usual_hours

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler_service.calls import Request
    from scheduler_service.sandbox.company import Company
    from scheduler_service.windows import Calendars

MOST_SEEN = 100_000
ANY_KEY = "a-key-nobody-has"
"""Every key will do here, but one is shown; it is no word that a log would miss."""
_SHOWN_HEADERS = frozenset(
    ("accept", "accept-encoding", "content-type", "if-modified-since", "if-none-match", "user-agent"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One request, without its query; every header that could be a credential has the value ``***``.

    ``key`` numbers the different keys in the order they first came, from 1; 0 is none. ``body_sha256`` is in hex.
    """

    at: Instant
    provider: str
    method: str
    path: str
    headers: Mapping[str, str]
    key: int = 0
    body_bytes: int = 0
    body_sha256: str = ""


def urls(base: str) -> dict[str, dict[str, Any]]:
    """Provider to the options that point it at the sandbox standing at ``base`` (no slash at the end)."""
    return {
        "edgar": {"base_url": base, "www_base_url": base},
        "feeds": {"urls": [f"{base}/feeds/{{symbol}}.rss"]},
        "finnhub": {"base_url": base, "api_keys": (SecretStr(ANY_KEY),)},
        "perplexity": {"base_url": base, "api_keys": (SecretStr(ANY_KEY),)},
        "quotes_file": {"base_url": base},
    }


class SandboxUpstream:
    """Answers for every provider. ``latency`` in seconds; it and every slowness are slept by the end that serves.
    ``seed``: what prices are drawn from; they move in the sessions of ``calendars``. ``told``: the alerts that came.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        companies: Sequence[Company] | None = None,
        latency: float = 0.0,
        calendars: Calendars = usual_hours,
        seed: int = 0,
    ) -> None:
        self.faults = Faults()
        self.seen: deque[Seen] = deque(maxlen=MOST_SEEN)
        self.told: deque[Told] = deque(maxlen=MOST_SEEN)
        self._clock = clock
        self._companies = tuple(bundled() if companies is None else companies)
        self._latency = latency
        self._calendars = calendars
        self._seed = seed
        self._keys: dict[str, int] = {}

    def answer(self, request: Request) -> Reply:
        """The reply to one request, as of the clock's now."""
        now = self._clock.now()
        path = urlsplit(request.url).path
        headers = {name.lower(): value for name, value in request.headers}
        provider = provider_of(path)
        key = self._number_of(perplexity.bearer(headers) or finnhub.token(headers))
        body = request.body or b""
        digest = hashlib.sha256(body).hexdigest() if body else ""
        self.seen.append(Seen(now, provider, request.method, path, _shown(headers), key, len(body), digest))
        fault = self.faults.strike(provider, path, now, key)
        if provider == alert_sink.PROVIDER and request.method == "POST":
            self.told.append(Told(now, path, headers.get("idempotency-key", ""), body, fault is None))
        if provider == alert_sink.PROVIDER:
            reply = alert_sink.answer(request.method)
        else:
            reply = self._reply(request, provider, path, headers, fault, now)
        reply = replace(reply, delay=self._latency)
        return _struck(fault, reply) if fault else reply

    def _reply(
        self, request: Request, provider: str, path: str, headers: Mapping[str, str], fault: Fault | None, now: Instant
    ) -> Reply:
        if fault and fault.kind is WrongData.OLDER:
            now -= fault.days * DAY
        if fault and isinstance(fault.kind, HostileBody):  # unchanged, it would have no body to be made worse
            headers = {name: value for name, value in headers.items() if not name.startswith("if-")}
        served = self._served(fault)
        if provider == "perplexity":
            return perplexity.answer(request, path, headers, served, now)
        if request.method != "GET":
            return Reply(405, {"allow": "GET"})
        if provider == "feeds":
            return feeds.answer(path, headers, {asked.profile.symbol: company for asked, company in served}, now)
        if provider in ("finnhub", "quotes_file"):
            calendar = self._calendars(finnhub.EXCHANGE)
            if provider == "finnhub":
                return finnhub.answer(request.url, headers, served, calendar, now, self._seed)
            return finnhub.file(served, calendar, now, self._seed)
        by_cik = {asked.profile.cik: company for asked, company in served}
        return edgar.answer(path, headers, by_cik, to_iso(now))

    def _served(self, fault: Fault | None) -> tuple[tuple[Company, Company], ...]:
        """Each company, and the one whose data is served for it."""
        shift = 1 if fault and fault.kind is FaultKind.WRONG_COMPANY else 0
        return tuple(zip(self._companies, self._companies[shift:] + self._companies[:shift], strict=True))

    def _number_of(self, key: str) -> int:
        """Keys themselves are not held on to."""
        return self._keys.setdefault(hashlib.sha256(key.encode()).hexdigest(), len(self._keys) + 1) if key else 0


def provider_of(path: str) -> str:
    """Whose path it is."""
    if path.startswith("/feeds/"):
        return "feeds"
    if path.startswith(finnhub.API):
        return "finnhub"
    if path == finnhub.FILE:
        return "quotes_file"
    if path.startswith(alert_sink.FOLDER):
        return alert_sink.PROVIDER
    return "perplexity" if perplexity.serves(path) else "edgar"


def _struck(fault: Fault, reply: Reply) -> Reply:
    match fault.kind:
        case FaultKind() as kind:
            reply = wire_faults.misbehave(kind, fault, reply)
        case WrongData() as kind:
            reply = wrong_data.misbehave(kind, reply)
        case HostileBody() as kind:
            reply = hostile_bodies.misbehave(kind, reply)
        case ModelFault() as kind:
            reply = model_faults.misbehave(kind, reply)
    return replace(reply, headers={**reply.headers, **fault.headers})


def _shown(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value if name in _SHOWN_HEADERS else "***" for name, value in headers.items()}
