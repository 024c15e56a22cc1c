"""What upstreams say of their quotas in headers, beside Retry-After.

Formats: ``X-RateLimit-Remaining`` and ``-Reset`` (seconds, a Unix time, or a span such as ``1m30s``) and their
spellings; the drafts of the IETF (draft-ietf-httpapi-ratelimit-headers): ``RateLimit-Reset``,
``RateLimit: limit=100, remaining=0, reset=50`` and ``RateLimit: "minute";r=0;t=50``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from scheduler_service.clock import SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.clock import Instant

LONGEST_WAIT = 24 * 3600.0
_FAMILIES = ("ratelimit-", "x-ratelimit-", "x-rate-limit-")
_SUFFIXES = ("", "-requests")
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_SPAN = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6}(?:\.[0-9]{1,9})?)s)?(?:([0-9]{1,9})ms)?")
_LEFT = re.compile(r"\b(?:r|remaining)\s*=\s*([0-9]{1,15})\b")
_RESET = re.compile(r"\b(?:t|reset)\s*=\s*([0-9]{1,15})\b")
_EARLIEST_EPOCH, _EARLIEST_EPOCH_IN_MILLISECONDS = 1e9, 1e12


def until_reset(headers: Mapping[str, str], now: Instant) -> float | None:
    """Seconds until the quota is whole again, at most 24 h; None where nothing sensible is said."""
    waits = [wait for text in _found(headers, "reset") if (wait := _seconds(text, now)) is not None]
    waits += [float(found.group(1)) for found in map(_RESET.search, _policies(headers)) if found]
    sensible = [wait for wait in waits if 0 < wait <= LONGEST_WAIT]
    return max(sensible, default=None)


def until_more(headers: Mapping[str, str], now: Instant) -> float | None:
    """The same, where the headers say that nothing is left until then."""
    for policy in _policies(headers):
        left, reset = _LEFT.search(policy), _RESET.search(policy)
        if left and reset and int(left.group(1)) == 0 and 0 < int(reset.group(1)) <= LONGEST_WAIT:
            return float(reset.group(1))
    none_left = any(_NUMBER.fullmatch(text) and float(text) == 0 for text in _found(headers, "remaining"))
    return until_reset(headers, now) if none_left else None


def _found(headers: Mapping[str, str], what: str) -> list[str]:
    names = [f"{family}{what}{suffix}" for family in _FAMILIES for suffix in _SUFFIXES]
    return [headers[name].strip() for name in names if name in headers]


def _policies(headers: Mapping[str, str]) -> list[str]:
    """The new draft has one policy an item, the older one all its words of one policy between commas."""
    text = headers.get("ratelimit", "")[:1000]
    return text.split(",") if '"' in text or ";" in text else [text] if text else []


def _seconds(text: str, now: Instant) -> float | None:
    if _NUMBER.fullmatch(text):
        value = float(text)
        if value >= _EARLIEST_EPOCH_IN_MILLISECONDS:
            value /= 1000
        return value - now / SECOND if value >= _EARLIEST_EPOCH else value
    span = _SPAN.fullmatch(text) if text else None
    if span is None:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in span.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
