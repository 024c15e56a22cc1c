"""A file of prices that another program writes: where it is, and when it is whole. What is in it others read."""

from __future__ import annotations

import codecs
import hashlib
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import Field

from scheduler_service.calls import Limits, Request, Resource
from scheduler_service.clients.base import check_status, shown
from scheduler_service.clock import SECOND, from_datetime
from scheduler_service.errors import ParseError, PermanentClientError, TransientClientError
from scheduler_service.models import Reason
from scheduler_service.settings.providers import ProviderOptions
from scheduler_service.settings.section import LocalPath
from scheduler_service.settings.units import Size
from scheduler_service.strict_json import load

if TYPE_CHECKING:
    from scheduler_service.calls import Response
    from scheduler_service.clock import Clock, Instant, Micros

MAX_AGE = 45 * SECOND
"""Less than the minute of an eager schedule: each of its slots looks."""
NAME = "quotes.csv"
SETTLED_AFTER: Micros = 5 * SECOND
"""Nobody is at work any more on a file that has not changed for so long."""


class QuotesFileClient:
    """One resource: the whole file, for every symbol."""

    provider = "quotes_file"

    class Options(ProviderOptions):
        """A file of prices that another program writes, as CSV or JSON: see [quotes.md](quotes.md)."""

        path: LocalPath | None = None
        """The file."""
        base_url: str | None = None
        """Where a server has it instead, as `quotes.csv`."""
        max_body: Size = Field(default=5_000_000, gt=0)

        @property
        def has_own_address(self) -> bool:
            return self.path is not None or super().has_own_address

        @property
        def where_it_is_set(self) -> str:
            return "path"

        @property
        def calls_for_all(self) -> int:
            return 1

        def files(self) -> tuple[Path, ...]:
            return () if self.path is None else (self.path.absolute(),)

    def __init__(self, options: Options, clock: Clock) -> None:
        self._options = options
        self._clock = clock

    def whole(self) -> Resource:
        """The file. Raises ``PermanentClientError`` where the configuration names none."""
        files, base = self._options.files(), self._options.base_url
        if not files and not base:
            raise PermanentClientError("providers.quotes_file.path names no file", Reason.PROVIDER_OFF)
        url = files[0].as_uri() if files else f"{(base or '').rstrip('/')}/{NAME}"
        key = f"{self.provider}:{hashlib.sha256(url.encode()).hexdigest()[:24]}"
        limits = Limits(self._options.max_body, self._options.timeout / SECOND)
        return Resource(self.provider, key, Request(url), MAX_AGE, limits=limits)

    def check(self, resource: Resource, response: Response) -> None:
        """A file that is still being written is a ``TransientClientError``: it is whole in a moment."""
        del resource
        now = self._clock.now()
        check_status(response, now)
        if _is_unfinished(response.body) and not _is_settled(response, now):
            message = f"{shown(response.url)} breaks off: it is being written"
            raise TransientClientError(message, Reason.TRUNCATED, status=response.status)


def _is_unfinished(body: bytes) -> bool:
    """Whether it looks as if its writer had not come to its end: it is empty, what begins as JSON is none, or the last
    line does not end.
    """
    if body.removeprefix(codecs.BOM_UTF8).lstrip()[:1] not in (b"{", b"["):
        return not body.strip() or not body.endswith((b"\n", b"\r"))
    try:
        load(body)
    except ParseError:
        return True
    return False


def _is_settled(response: Response, now: Instant) -> bool:
    """Only of a local file is it known when it was written; a time to come is a wrong clock's."""
    if urlsplit(response.url).scheme != "file":
        return False
    try:
        written = from_datetime(parsedate_to_datetime(response.headers["last-modified"]))
    except (KeyError, ValueError):
        return False
    return written > now or now - written >= SETTLED_AFTER
