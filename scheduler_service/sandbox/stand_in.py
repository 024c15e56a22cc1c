"""The sandbox in everybody's place: it answers at the addresses that a configuration names, and nothing leaves."""

from __future__ import annotations

import re
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from scheduler_service.calls import FREE
from scheduler_service.clients.base import shown
from scheduler_service.clients.file_transport import SCHEME
from scheduler_service.clock import SECOND
from scheduler_service.errors import TransientClientError
from scheduler_service.models import Reason
from scheduler_service.sandbox.alert_sink import PROVIDER
from scheduler_service.sandbox.finnhub import FILE
from scheduler_service.sandbox.memory import BASE, MemoryTransport
from scheduler_service.sandbox.upstream import provider_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scheduler_service.calls import Limits, Request, Response
    from scheduler_service.clock import Clock, Instant, Micros
    from scheduler_service.sandbox.upstream import SandboxUpstream
    from scheduler_service.settings.providers import ProviderOptions

_PLACEHOLDER = "{symbol}"
_OWN_FEED = re.compile(r"companies\.(.+)\[\d+\]")
ANY_SYMBOL = "AAPL"
"""Whose feed stands for one that is of no single company."""


class StandIn:
    """A ``Transport``. ``asked``: when each provider was asked, on the clock that never goes back."""

    def __init__(self, upstream: SandboxUpstream, clock: Clock, options: Mapping[str, ProviderOptions]) -> None:
        self.asked: dict[str, array[int]] = {name: array("q") for name in sorted(options)}
        self._memory = MemoryTransport(upstream, clock)
        self._clock = clock
        self._bases, self._feeds = _addresses(options.values())
        self._unreachable: dict[str, Instant] = {}

    def cut_off(self, provider: str, lasts: Micros) -> None:
        """Nobody can connect to it for so long."""
        self._unreachable[provider] = self._elapsed() + lasts

    async def send(self, request: Request, limits: Limits) -> Response:
        there = self._place(request.url)
        provider = provider_of(urlsplit(there).path)
        if provider != PROVIDER:
            self.asked.setdefault(provider, array("q")).append(self._elapsed())
        if self._elapsed() < self._unreachable.get(provider, 0):
            error = TransientClientError(f"{shown(request.url)}: cannot connect (an outage)", Reason.PROVIDER_DOWN)
            error.cost = FREE
            raise error
        response = await self._memory.send(replace(request, url=there), limits)
        return replace(response, url=request.url)

    async def close(self) -> None:
        """There are no sockets to give back."""

    def _elapsed(self) -> Micros:
        return round(self._clock.monotonic() * SECOND)

    def _place(self, url: str) -> str:
        """Where in the sandbox the address is."""
        if url.startswith(f"{BASE}/"):
            return url
        if url.startswith(SCHEME):
            return BASE + FILE
        for template, otherwise in self._feeds:
            if match := template.fullmatch(url):
                symbol = unquote(match.groupdict().get("symbol", otherwise))
                return f"{BASE}/feeds/{quote(symbol, safe='')}.rss"
        for base in self._bases:
            if url.startswith(f"{base}/"):
                return BASE + url.removeprefix(base)
        return url


def _addresses(options: Iterable[ProviderOptions]) -> tuple[list[str], list[tuple[re.Pattern[str], str]]]:
    """Addresses to which paths are added, the longest first; and those of whole feeds, each with the symbol that it is
    of where it does not name one.
    """
    bases: set[str] = set()
    feeds: dict[str, str] = {}
    for provider in options:
        for setting, url in provider.addresses().items():
            if setting.endswith("base_url"):
                bases.add(url.rstrip("/"))
            else:
                own = _OWN_FEED.fullmatch(setting)
                feeds.setdefault(url, own[1] if own else ANY_SYMBOL)
    ordered = sorted(bases, key=lambda base: (-len(base), base))
    return ordered, [(_pattern(url), symbol) for url, symbol in sorted(feeds.items())]


def _pattern(template: str) -> re.Pattern[str]:
    before, *rest = (re.escape(part) for part in template.split(_PLACEHOLDER))
    named = (rf"(?P<symbol>[^/?&#]+){part}" if n == 0 else rf"(?P=symbol){part}" for n, part in enumerate(rest))
    return re.compile(before + "".join(named))
