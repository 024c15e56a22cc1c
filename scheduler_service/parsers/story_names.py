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
_NO_TICKER = "".join(f"(?<!/{word})" for word in ("stock", "stocks", "quote", "quotes", "symbol", "symbols", "ticker"))
_AMP_PATH = re.compile(rf"{_NO_TICKER}/amp$|\.amp$|(?:^|(?<=/))amp/(?=.)|\.amp(?=\.html?$)")
"""Behind a list of shares it is the one that is called so."""
_AMP_QUERY = re.compile(r"amp|outputType=amp|amp=(?:1|true)")


def address(url: str) -> str:
    """An address as a name: it is the same with and without TLS, ``www.``, AMP, a last slash, and in whatever order
    its parameters stand. To be compared, not to be visited.
    """
    bare = url.split("://", 1)[-1].partition("#")[0]
    cached = _CACHED.match(bare)
    place, _, query = (bare[cached.end() :] if cached else bare).partition("?")
    host, _, path = place.partition("/")
    path = _AMP_PATH.sub("", path.rstrip("/")).rstrip("/")
    name = "/".join([_OF_ONE_SITE.sub("", host), path] if path else [_OF_ONE_SITE.sub("", host)])
    parameters = sorted(p for p in query.split("&") if p and not _AMP_QUERY.fullmatch(p))
    return f"{name}?{'&'.join(parameters)}" if parameters else name


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
