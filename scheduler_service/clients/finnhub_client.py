"""Finnhub's wire format: the last prices of shares.

Source: https://finnhub.io/docs/api (quote, rate limit). The traps: a symbol that it does not know is a 200 full of
zeros; what a plan does not include is a 401 or 403 that says "You don't have access to this resource", as if the key
were wrong; a 429 that says "sign up" means that no key came; a path that does not exist is a redirect to a page.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import Field

from scheduler_service.calls import Limits, Request, Resource
from scheduler_service.clients.base import check_status, shown
from scheduler_service.clock import SECOND
from scheduler_service.errors import NotFound, PermanentClientError, Refused
from scheduler_service.models import Reason
from scheduler_service.settings.providers import KeyedOptions
from scheduler_service.settings.units import Size

if TYPE_CHECKING:
    from scheduler_service.calls import Response
    from scheduler_service.clock import Clock
    from scheduler_service.models import Symbol

MAX_AGE = 45 * SECOND
"""Less than the minute of an eager schedule: each of its slots asks."""
KEY_HEADER = "X-Finnhub-Token"
_NOT_IN_THE_PLAN = b"access to this resource"
_NO_KEY = (b"sign up", b"use an API key")


class FinnhubClient:
    """Last prices; the key is added by ``signed``."""

    provider = "finnhub"

    class Options(KeyedOptions):
        """Last prices of shares. The free plan has those of the US, in personal use, and 60 requests a minute."""

        base_url: str = "https://finnhub.io"
        requests_per_minute: float | None = Field(default=60.0, gt=0)
        max_body: Size = Field(default=100_000, gt=0)

    def __init__(self, options: Options, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._base = options.base_url.rstrip("/")

    def quote(self, symbol: Symbol) -> Resource:
        """The last price of a share, and when that was."""
        name = quote(symbol.at(self.provider), safe="")
        limits = Limits(self._options.max_body, self._options.timeout / SECOND)
        request = Request(f"{self._base}/api/v1/quote?symbol={name}", headers=(("Accept", "application/json"),))
        key = f"{self.provider}:quote:{name}"
        return Resource(self.provider, key, request, MAX_AGE, limits=limits, endpoint="quote")

    def signed(self, request: Request, key: str) -> Request:
        """With the key in a header: in the address it would stand in logs."""
        return replace(request, headers=(*request.headers, (KEY_HEADER, key)))

    def check(self, resource: Resource, response: Response) -> None:
        del resource
        status, where = response.status, shown(response.url)
        if status in (401, 403) and _NOT_IN_THE_PLAN in response.body:
            message = f"{where} answered {status}: the plan of this key does not include the symbol"
            raise NotFound(message, Reason.NO_DATA, status=status)
        if status == 429 and any(phrase in response.body for phrase in _NO_KEY):
            raise Refused(f"{where} answered 429: it got no key", Reason.REFUSED, status=status)
        check_status(response, self._clock.now())
        if response.content_type == "text/html":
            raise PermanentClientError(f"{where} is a page instead of JSON", Reason.UNREADABLE, status=status)
