"""RSS and Atom bodies to stories: plain text, http(s) links, UTC instants or None. Knows no domain.

The format is what ``feedparser`` tolerates; it only ever sees bytes in memory, since given text or bytes it would take
them for a file name or a URL.
"""

from __future__ import annotations

import html
import io
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

import feedparser

from scheduler_service.clock import from_iso
from scheduler_service.errors import ParseError
from scheduler_service.models import Reason
from scheduler_service.parsers.feed_dates import read_date
from scheduler_service.parsers.feed_text import feed_text
from scheduler_service.parsers.unseen import CONTROLS, INVISIBLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scheduler_service.clock import Instant

MOST_STORIES = 500
MOST_SYMBOLS = 20
LONGEST_TITLE = 300
LONGEST_SUMMARY = 1_000
LONGEST_URL = 2_000
EARLIEST = from_iso("1990-01-01T00:00:00Z")
"""Older dates in feeds are programs' zero values."""

_LONGEST_MARKUP = 20_000
_DECODED = {"content-type": "application/xml; charset=utf-8"}
_TAG = re.compile(r"<[/!?a-zA-Z][^<>]*>")
_TAG_NAME = re.compile(r"</?([a-zA-Z0-9]*)")
_INLINE_TAGS = frozenset(
    {"a", "b", "i", "u", "s", "em", "strong", "span", "font", "sup", "sub", "small", "mark", "abbr"}
)
_HIDING_TAGS = frozenset({"script", "style"})
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-]{0,15}")
_TRACKING = re.compile(
    r"(?:utm_\w*|\.?tsrc|guccounter|guce_\w*|(?:fb|g|d|tw)clid|msclkid|yclid|[gw]braid|igshid|mc_[ce]id|"
    r"_hs(?:enc|mi)|mkt_tok|ncid|cmpid|ocid|soc_(?:src|trk)|ref_src|smid|taid|at_(?:medium|campaign|link\w*))",
    re.IGNORECASE,
)
_MINUS = str.maketrans("\u2212\u2013\u2010\u2011", "----")
# Letters and digits; a sign in front of a number; its decimal point or comma, no thousands'; its percent.
_TELLING = re.compile(
    r"[^\W_]|(?<![^\W_])[+-](?=[$€£¥]?\.?\d)|(?<!\.)(?<![^\W\d_])\.(?=\d)|(?<=\d),(?=\d{1,2}(?!\d))|%(?:(?<=\d%)|(?<=\d\s%))"
)
_LOST = "\ufffd"
"""What stands for bytes that nobody can read."""
_MOST_LOST = 0.1
_URL_CHARACTERS = "%/:?#[]@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class Story:
    """One entry of a feed. ``symbols`` are those the feed itself names, ``guid`` is what it calls the entry."""

    title: str
    url: str
    publisher: str
    published: Instant | None
    summary: str | None
    symbols: tuple[str, ...]
    guid: str | None = None


@dataclass(frozen=True, slots=True)
class ParsedFeed:
    """The stories of a feed in its order; entries without a title or an http(s) link are left out."""

    stories: tuple[Story, ...]


def parse_feed(body: bytes) -> ParsedFeed:
    """Raises ``ParseError`` for all that is not a whole feed, and for one with entities of its own."""
    utf8 = feed_text(body).encode()
    try:
        parsed = feedparser.parse(
            io.BytesIO(utf8), sanitize_html=False, resolve_relative_uris=False, response_headers=_DECODED
        )
    except Exception as error:
        # feedparser promises no error type, and hostile bodies find new ones.
        raise ParseError(f"the feed cannot be read ({type(error).__name__})", Reason.UNREADABLE) from error
    if not parsed.get("version"):
        raise ParseError("the answer is not a feed: neither RSS nor Atom", Reason.UNREADABLE)
    stories = [story for entry in parsed.entries[:MOST_STORIES] if (story := _story(entry)) is not None]
    return ParsedFeed(tuple(_once(stories)))


def _once(stories: Sequence[Story]) -> Iterator[Story]:
    """The first of each guid. Some feeds give one to all they tell: it names none of them."""
    told: dict[str, list[Story]] = {}
    for story in stories:
        if story.guid is not None:
            told.setdefault(story.guid, []).append(story)
    for story in stories:
        alike = [story] if story.guid is None else told[story.guid]
        if _are_several(alike):
            yield replace(story, guid=None)
        elif story is alike[0]:
            yield story


def _are_several(alike: Sequence[Story]) -> bool:
    """Whether both their titles and their addresses differ."""
    return len({fingerprint(story.title) for story in alike}) > 1 and len({story.url for story in alike}) > 1


def _story(entry: dict[str, Any]) -> Story | None:
    title = plain_text(_text(entry, "title"), LONGEST_TITLE)
    url = clean_url(_text(entry, "link"))
    if not title or url is None or _is_lost(title):
        return None
    source = dict.get(entry, "source")
    named = plain_text(_text(source, "title"), LONGEST_TITLE) if isinstance(source, dict) else ""
    # Not the feed's own title: a feed about a stock lists other people's stories.
    said = named or plain_text(_text(entry, "publisher"), LONGEST_TITLE)
    publisher = _host(url) if _is_lost(said) or not said else said
    # Google News appends the publisher to the title and repeats both as the summary.
    headline = title.removesuffix(f" - {named}") if named else title
    summary = plain_text(_text(entry, "summary"), LONGEST_SUMMARY)
    summary = "" if _is_lost(summary) else summary
    repeats = fingerprint(summary) in (fingerprint(headline), fingerprint(f"{headline} {publisher}"))
    return Story(
        title=headline or title,
        url=url,
        publisher=publisher,
        published=_published(entry),
        summary=None if repeats else summary or None,
        symbols=_symbols(_text(entry, "nasdaq_tickers")),
        guid=plain_text(_text(entry, "id"), LONGEST_URL) or None,
    )


def _is_lost(text: str) -> bool:
    return text.count(_LOST) > _MOST_LOST * len(text)


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").removeprefix("www.")


def _text(fields: dict[str, Any], name: str) -> str:
    # dict.get: feedparser's own lookup answers with other fields' values.
    value = dict.get(fields, name)
    return value if isinstance(value, str) else ""


def _published(entry: dict[str, Any]) -> Instant | None:
    """When it was published, or else updated; None where neither can be read, or the date is absurd."""
    dates = (read_date(_text(entry, name)) for name in ("published", "updated"))
    instant = next((date for date in dates if date is not None), None)
    return instant if instant is not None and instant >= EARLIEST else None


def _symbols(text: str) -> tuple[str, ...]:
    candidates = (part.strip().upper() for part in text.split(","))
    return tuple(sorted({c for c in candidates if _SYMBOL.fullmatch(c)}))[:MOST_SYMBOLS]


def plain_text(markup: str, longest: int) -> str:
    """Text without tags, scripts, entities (also twice escaped), control or invisible characters, on one line."""
    text = markup[:_LONGEST_MARKUP]
    for _ in range(3):
        bare = html.unescape(_without_tags(text))
        if bare == text:
            break
        text = bare
    text = INVISIBLE.sub("", CONTROLS.sub(" ", _without_tags(text)))
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def _without_tags(markup: str) -> str:
    kept: list[str] = []
    hidden_by, end = "", 0
    for tag in _TAG.finditer(markup):
        if not hidden_by:
            kept.append(markup[end : tag.start()])
        end = tag.end()
        match = _TAG_NAME.match(tag[0])
        name = match[1].lower() if match else ""
        closes = tag[0].startswith("</")
        if hidden_by:
            hidden_by = "" if closes and name == hidden_by else hidden_by
        elif name in _HIDING_TAGS and not closes:
            hidden_by = name
        elif name not in _INLINE_TAGS:
            kept.append(" ")
    return "".join(kept) + ("" if hidden_by else markup[end:])


def clean_url(url: str) -> str | None:
    """An http(s) URL in its usual form: lower-case host, nothing that only tracks, no fragment but one that is an
    address itself (``#!``); else None.
    """
    text = INVISIBLE.sub("", url).strip()
    if not text or len(text) > LONGEST_URL or CONTROLS.search(text):
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    # A user name in front of the host serves deception only.
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or re.search(r"[\s<>\"'\\^`{|}]", host):
        return None
    try:
        # One form of a name in other letters, and one that shows when they only look like Latin ones.
        place = f"[{host}]" if ":" in host else host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        return None
    if ".." in place:
        return None
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        place += f":{port}"
    query = "&".join(p for p in parts.query.split("&") if p and not _TRACKING.fullmatch(p.split("=")[0].lstrip("?")))
    path = quote(parts.path or "/", safe=_URL_CHARACTERS)
    page = quote(parts.fragment, safe=_URL_CHARACTERS) if parts.fragment.startswith("!") else ""
    return urlunsplit((parts.scheme, place, path, quote(query, safe=_URL_CHARACTERS), page))


@lru_cache(maxsize=4096)
def fingerprint(text: str) -> str:
    """What is left of a title when case, spacing and punctuation do not count, except what makes a number another."""
    return "".join(_TELLING.findall(text.casefold().translate(_MINUS)))
