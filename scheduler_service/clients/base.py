"""What all clients share: the plain meaning of HTTP statuses, Retry-After, and how clients are found."""

from __future__ import annotations

import importlib
import pkgutil
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scheduler_service.clients.quota_headers import until_reset
from scheduler_service.clock import SECOND, from_datetime
from scheduler_service.errors import NotFound, PermanentClientError, RateLimited, Refused, TransientClientError
from scheduler_service.models import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from scheduler_service.calls import Response
    from scheduler_service.clock import Instant

LONGEST_WAIT = 24 * 3600.0
WAIT_WHEN_ABSURD = 3600.0
TRANSIENT_STATUSES = frozenset({408, 425})


def retry_after(headers: Mapping[str, str], now: Instant) -> float | None:
    """The seconds a Retry-After header (RFC 9110, 10.2.3: seconds or a date) asks to wait; None where there is none.

    Up to 24 h is honoured; a value that is longer, past or unreadable counts as 1 h.
    """
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _seconds(text.strip(), now)
    return seconds if seconds is not None and 0 <= seconds <= LONGEST_WAIT else WAIT_WHEN_ABSURD


def _seconds(text: str, now: Instant) -> float | None:
    if text.isascii() and text.isdigit():
        return float(text) if len(text) < 10 else None
    moment = _http_date(text)
    return None if moment is None else (from_datetime(moment) - now) / SECOND


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else None


def check_status(response: Response, now: Instant, *, missing: Reason = Reason.NO_DATA) -> None:
    """Returns for 2xx; otherwise raises what the status means. ``missing`` is the reason of 404 and 410.

    A 304 that answers a conditional request never comes here; any other is a mistake of the upstream.
    """
    status = response.status
    if 200 <= status < 300:
        return
    message = f"{shown(response.url)} answered {status}"
    wait = retry_after(response.headers, now)
    if wait is not None:
        message += f" (Retry-After: {response.headers['retry-after'][:40]!r}, taken as {wait:.0f} s)"
    match status:
        case 429:
            if wait is None and (wait := until_reset(response.headers, now)) is not None:
                message += f" (its quota is whole again in {wait:.0f} s)"
            raise RateLimited(message, Reason.RATE_LIMITED, status=status, retry_after=wait)
        case 401 | 403:
            raise Refused(message, Reason.REFUSED, status=status)
        case 404 | 410:
            raise NotFound(message, missing, status=status)
        case 304:
            raise PermanentClientError(f"{message}, but none of it is kept here", Reason.UNREADABLE, status=status)
        case _ if 300 <= status < 400:
            raise PermanentClientError(f"{message}: a redirect is not followed here", Reason.REDIRECTED, status=status)
        case _ if 400 <= status < 500 and status not in TRANSIENT_STATUSES:
            raise PermanentClientError(message, Reason.BAD_REQUEST, status=status)
        case _:
            raise TransientClientError(message, Reason.PROVIDER_DOWN, status=status, retry_after=wait)


def shown(url: str) -> str:
    """A URL as errors and logs show it: without credentials, query or fragment, where secrets may stand."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "an unreadable address"
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path}"[:300]


def discover(package: str = "scheduler_service.clients") -> dict[str, type[Any]]:
    """Provider name to client class, from every module of the package whose name ends with ``_client``: the others are
    not imported, as most commands speak to nobody.

    A client class declares ``provider`` and ``Options`` (a ``ProviderOptions``); made as ``Client(options, clock)``.
    """
    found: dict[str, type[Any]] = {}
    root = importlib.import_module(package)
    names = sorted(module.name for module in pkgutil.iter_modules(root.__path__))
    for name in (name for name in names if name.endswith("_client")):
        for value in vars(importlib.import_module(f"{package}.{name}")).values():
            if isinstance(value, type) and {"provider", "Options"} <= vars(value).keys():
                found[vars(value)["provider"]] = value
    return found
