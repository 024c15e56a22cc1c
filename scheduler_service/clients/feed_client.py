"""News feeds: one URL per template and symbol, RSS or Atom."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator

from scheduler_service.calls import Limits, Request, Resource
from scheduler_service.clients.base import check_status
from scheduler_service.clock import MINUTE, SECOND
from scheduler_service.settings.providers import ProviderOptions

if TYPE_CHECKING:
    from scheduler_service.calls import Response
    from scheduler_service.clock import Clock
    from scheduler_service.models import Symbol

MAX_AGE = 5 * MINUTE
MOST_REDIRECTS = 3
PLACEHOLDER = "{symbol}"

_ACCEPT = "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5"


class FeedClient:
    """Resources of the configured feeds."""

    provider = "feeds"

    class Options(ProviderOptions):
        """``urls`` are templates; ``{symbol}`` stands for the symbol, a URL without it serves all symbols."""

        urls: tuple[str, ...] = ()
        requests_per_minute: float | None = Field(default=60.0, gt=0)

        @field_validator("urls")
        @classmethod
        def _are_feed_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
            for url in urls:
                _check_template(url)
            return urls

    def __init__(self, options: Options, clock: Clock) -> None:
        self._options = options
        self._clock = clock

    def feeds(self, symbol: Symbol) -> tuple[Resource, ...]:
        """One resource per configured URL, in its order."""
        name = quote(symbol.at(self.provider), safe="")
        return tuple(self._resource(template.replace(PLACEHOLDER, name)) for template in self._options.urls)

    def check(self, resource: Resource, response: Response) -> None:
        del resource
        check_status(response, self._clock.now())

    def _resource(self, url: str) -> Resource:
        key = f"feeds:{hashlib.sha256(url.encode()).hexdigest()[:24]}"
        limits = Limits(self._options.max_body, self._options.timeout / SECOND, MOST_REDIRECTS)
        return Resource(self.provider, key, Request(url, headers=(("Accept", _ACCEPT),)), MAX_AGE, limits=limits)


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
