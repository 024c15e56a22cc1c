"""What a story on the web is called, whoever tells it: its address in one form, and what its feed calls it."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from urllib.parse import urlsplit

from scheduler_service.parsers.feed import clean_url

SHORTEST_GUID = 8
_OF_ONE_SITE = re.compile(r"^(?:(?:www|m|mobile|amp)\.)+(?=[^.]+\.[^.])")
"""In front of a host that has two more labels: what a site calls its page for phones."""
_CACHED = re.compile(r"^(?:www\.)?google\.[a-z.]+/amp/(?:s/)?|^[a-z0-9-]+\.cdn\.ampproject\.org/[cv]/(?:s/)?")
_AMP_NAME = re.compile(r"\.amp(?=(?:\.html?)?$)")
_AMP_QUERY = re.compile(r"amp|output[tT]ype=amp|amp=(?:1|true)")
_STORY = re.compile(r"\d|-.*-")
"""In the last part of a story's path. Elsewhere ``amp`` may be a stock, as ``AMP`` is everywhere."""


def address(url: str) -> str:
    """An address as a name: it is the same with and without TLS, ``www.``, AMP, a last slash, and in whatever order
    its parameters stand. To be compared, not to be visited.
    """
    bare, _, page = url.split("://", 1)[-1].partition("#")
    cached = _CACHED.match(bare)
    place, _, query = (bare[cached.end() :] if cached else bare).partition("?")
    host, _, path = place.partition("/")
    path = _without_amp(path.rstrip("/"))
    name = "/".join([_OF_ONE_SITE.sub("", host), path] if path else [_OF_ONE_SITE.sub("", host)])
    parameters = sorted(p for p in query.split("&") if p and not _AMP_QUERY.fullmatch(p))
    name = f"{name}?{'&'.join(parameters)}" if parameters else name
    return f"{name}#{page}" if page.startswith("!") else name


def _without_amp(path: str) -> str:
    parts = _AMP_NAME.sub("", path).split("/")
    others = [part for part in parts if part != "amp"]
    return "/".join(others if others and _STORY.search(others[-1]) else parts)


def guid_name(given: str, feed: str) -> str | None:
    """An address is one wherever it stands, anything else only at the host of its feed, and only where it is long
    enough to be meant as a name: numbers from 1 on are every feed's.
    """
    url = clean_url(given)
    if url is not None:
        return address(url)
    return f"{urlsplit(feed).hostname} {given}" if len(given) >= SHORTEST_GUID else None


@lru_cache(maxsize=8192)
def address_id(url: str) -> str:
    """Of the address a story is found at."""
    return name_id(address(url))


@lru_cache(maxsize=8192)
def name_id(name: str) -> str:
    """Sixteen hexadecimal digits."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]
