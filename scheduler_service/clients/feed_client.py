"""News feeds, RSS or Atom: one URL per template and symbol, and the companies' own."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator

from scheduler_service.calls import Limits, Request, Resource
from scheduler_service.clients.base import check_status
from scheduler_service.clock import MINUTE, SECOND
from scheduler_service.settings.model import parse_symbol
from scheduler_service.settings.providers import ProviderOptions
from scheduler_service.settings.units import Size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.calls import Response
    from scheduler_service.clock import Clock
    from scheduler_service.models import Symbol

MAX_AGE = 4 * MINUTE
"""Less than the five minutes of an eager schedule: each of its slots asks."""
MOST_REDIRECTS = 3
PLACEHOLDER = "{symbol}"

_ACCEPT = "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5"


class FeedClient:
    """Resources of the configured feeds."""

    provider = "feeds"

    class Options(ProviderOptions):
        """RSS and Atom feeds. Mind each publisher's terms of use. `requests_per_second` and `requests_per_minute` hold
        for each host, the other limits for all feeds together.
        """

        hosts_apart: ClassVar[bool] = True

        urls: tuple[str, ...] = ()
        """Templates: `{symbol}` stands for the symbol; a URL without it serves all symbols."""
        companies: dict[str, tuple[str, ...]] = Field(default_factory=dict)
        """Feeds of one company's own, by symbol: asked for that symbol, beside `urls`."""
        requests_per_minute: float | None = Field(default=60.0, gt=0)
        max_body: Size = Field(default=1_000_000, gt=0)

        @field_validator("urls")
        @classmethod
        def _are_feed_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
            for url in urls:
                _check_template(url)
            return urls

        @field_validator("companies", mode="before")
        @classmethod
        def _by_symbol(cls, companies: object) -> object:
            if not isinstance(companies, dict):
                return companies
            by_symbol = {
                parse_symbol(key): (urls,) if isinstance(urls, str) else urls for key, urls in companies.items()
            }
            if len(by_symbol) < len(companies):
                raise ValueError("a symbol stands here twice; keep one, with all its feeds in one list")
            return by_symbol

        @field_validator("companies")
        @classmethod
        def _have_feed_urls(cls, companies: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
            for symbol, urls in companies.items():
                for url in urls:
                    try:
                        _check_template(url)
                    except ValueError as error:
                        raise ValueError(f"{symbol}: {error}") from None
            return companies

        def addresses(self) -> dict[str, str]:
            own = {f"{_setting(symbol)}[{i}]": u for symbol, urls in self.companies.items() for i, u in enumerate(urls)}
            return super().addresses() | own

        @property
        def has_own_address(self) -> bool:
            return super().has_own_address or any(self.companies.values())

        def calls_for(self, symbol: Symbol) -> int:
            written = len(self.urls) + len(self.companies.get(symbol.symbol, ()))
            return written if self.has_own_address else 1

        @property
        def calls_for_all(self) -> int:
            return sum(PLACEHOLDER not in url for url in self.urls)

        def named_symbols(self) -> Mapping[str, str]:
            return {_setting(symbol): symbol for symbol in self.companies}

    def __init__(self, options: Options, clock: Clock) -> None:
        self._options = options
        self._clock = clock

    @property
    def has_feeds(self) -> bool:
        """Whether any stock has a feed here."""
        return bool(self._options.addresses())

    def feeds(self, symbol: Symbol) -> tuple[Resource, ...]:
        """One resource per configured URL, in its order: those of every company, then its own."""
        name = quote(symbol.at(self.provider), safe="")
        templates = (*self._options.urls, *self._options.companies.get(symbol.symbol, ()))
        return tuple(self._resource(url) for url in dict.fromkeys(t.replace(PLACEHOLDER, name) for t in templates))

    def is_own(self, symbol: Symbol, resource: Resource) -> bool:
        """Whether a feed is one of this company's own, so that whatever it tells is about it."""
        name = quote(symbol.at(self.provider), safe="")
        own = self._options.companies.get(symbol.symbol, ())
        return resource.request.url in {url.replace(PLACEHOLDER, name) for url in own}

    def check(self, resource: Resource, response: Response) -> None:
        del resource
        check_status(response, self._clock.now())

    def _resource(self, url: str) -> Resource:
        key = f"feeds:{hashlib.sha256(url.encode()).hexdigest()[:24]}"
        limits = Limits(self._options.max_body, self._options.timeout / SECOND, MOST_REDIRECTS)
        return Resource(self.provider, key, Request(url, headers=(("Accept", _ACCEPT),)), MAX_AGE, limits=limits)


def _setting(symbol: str) -> str:
    return f"companies.{symbol}"


def _check_template(url: str) -> None:
    """Raises ``ValueError`` in words for the user; the URL itself is not repeated, it may hold a token."""
    stray = re.search(r"[{}]", url.replace(PLACEHOLDER, ""))
    if stray:
        raise ValueError("{symbol} is the only placeholder a feed URL may have")
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname)
    except ValueError:
        named = False
    if not named or parts.scheme not in ("http", "https"):
        raise ValueError("a feed URL starts with http:// or https:// and names a host")
    if PLACEHOLDER in parts.netloc:
        raise ValueError("{symbol} may stand in the path or the query of a feed URL, not in its host")
