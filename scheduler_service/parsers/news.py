"""The news domain: its records, how feeds and filings become items, and how items are told apart, merged and kept."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scheduler_service.clock import DAY, HOUR, SECOND, from_iso, to_iso_seconds
from scheduler_service.models import Kind, Provenance, Record
from scheduler_service.parsers.feed import clean_url, fingerprint
from scheduler_service.parsers.stock_names import speaks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from scheduler_service.calls import Answer
    from scheduler_service.clock import Instant, Micros
    from scheduler_service.models import Contribution
    from scheduler_service.parsers.feed import ParsedFeed, Story
    from scheduler_service.parsers.stock_names import Stock
    from scheduler_service.parsers.submissions import Filing, Submissions

FILINGS_PUBLISHER = "SEC EDGAR"
CLOCK_TOLERANCE = HOUR
"""A story dated further than this after it was fetched has no believable date."""
SHORTEST_TELLING_TITLE = 12
"""Fingerprints below this length name no story: "Market update" is many."""
SHORTEST_GUID = 8
SAME_STORY = 3 * DAY
"""Stories of one title closer than this are one, told again; further apart the title is a column's."""

_WIRE_MARK = re.compile(
    r"(?:(?:update|wrapup|corrected|refile|exclusive|breaking)(?: ?\d{1,2})? ?[-:] ?)+", re.IGNORECASE
)
_LAST_PART = re.compile(r"\s(?:[-–—|])\s([^|]{1,60})$")

FORM_WORDS = {
    "8-K": "current report",
    "10-Q": "quarterly report",
    "10-K": "annual report",
    "6-K": "report of a foreign issuer",
    "20-F": "annual report of a foreign issuer",
    "S-1": "registration of securities",
}
"""The forms that are news, in words."""

ITEM_WORDS = {
    "1.01": "entry into a material agreement",
    "1.02": "termination of a material agreement",
    "1.03": "bankruptcy or receivership",
    "1.04": "mine safety",
    "1.05": "material cybersecurity incident",
    "2.01": "acquisition or disposition of assets",
    "2.02": "results of operations",
    "2.03": "new financial obligation",
    "2.04": "acceleration of a financial obligation",
    "2.05": "costs of exit or disposal",
    "2.06": "material impairments",
    "3.01": "notice of delisting",
    "3.02": "unregistered sale of equity",
    "3.03": "change to the rights of security holders",
    "4.01": "change of accountant",
    "4.02": "earlier financial statements not to be relied on",
    "5.01": "change in control",
    "5.02": "change of directors or officers",
    "5.03": "change of articles, bylaws or fiscal year",
    "5.04": "suspension of trading under employee plans",
    "5.05": "change of the code of ethics",
    "5.06": "change in shell company status",
    "5.07": "vote of security holders",
    "5.08": "director nominations",
    "7.01": "Regulation FD disclosure",
    "8.01": "other events",
}
"""Items of form 8-K (17 CFR 249.308). 9.01, the exhibits, says nothing of its own."""


class NewsItem(Record):
    """One story. Times are ISO-8601 UTC; a filing's ``published_at`` is the day it was filed, at midnight."""

    id: str
    title: str
    url: str
    source: str
    publisher: str
    published_at: str | None = None
    summary: str | None = None
    sentiment: str | None = None
    sentiment_by: Provenance | None = None
    """Who states it, where somebody does: not always who tells the story."""
    symbols: tuple[str, ...] = ()
    guid: str | None = None
    """What its feed calls it, after the feed's host unless it is an address; title and link may change, this stays."""
    fetched_at: str
    provenance: Provenance


class NewsData(Record):
    """``items`` newest first, no story twice."""

    items: tuple[NewsItem, ...] = ()


def web_story(
    answer: Answer[Any],
    *,
    source: str,
    kind: Kind,
    title: str,
    url: str,
    publisher: str,
    published: Instant | None,
    summary: str | None,
    symbols: Iterable[str],
    sentiment: str | None = None,
    guid: str | None = None,
) -> NewsItem:
    """A story on the web as an item. Its provenance names the story, not where it was found, which may hold a token."""
    return NewsItem(
        id=_id(_address(url)),
        title=title,
        url=url,
        source=source,
        publisher=publisher,
        published_at=_believable(published, answer.fetched_at),
        summary=summary,
        sentiment=sentiment,
        sentiment_by=None if sentiment is None else answer.provenance(source, Kind.MODEL, url=url),
        guid=None if guid is None else _guid(guid, answer.url),
        symbols=tuple(sorted(set(symbols))),
        fetched_at=to_iso_seconds(answer.fetched_at),
        provenance=answer.provenance(source, kind, url=url),
    )


def items_from_feed(
    answer: Answer[ParsedFeed], source: str, symbol: str, about: Stock | None = None
) -> tuple[NewsItem, ...]:
    """A feed's stories as items; where it is known who they should be ``about``, those that are."""
    return tuple(
        web_story(
            answer,
            source=source,
            kind=Kind.FEED,
            title=story.title,
            url=story.url,
            publisher=story.publisher,
            published=story.published,
            summary=story.summary,
            symbols=(symbol, *story.symbols),
            guid=story.guid,
        )
        for story in answer.value.stories
        if about is None or _is_about(story, about)
    )


def _is_about(story: Story, stock: Stock) -> bool:
    """Feeds of one stock list other companies' stories too. A stock whose name nobody told cannot be judged by it."""
    if not stock.company:
        return True
    return stock.ticker.upper() in story.symbols or speaks_of(f"{story.title}\n{story.summary or ''}", stock)


def items_from_filings(
    answer: Answer[Submissions], source: str, symbol: str, filing_url: Callable[[Filing], str]
) -> tuple[NewsItem, ...]:
    """One item per filing of a form that is news, amendments included."""
    fetched_at = to_iso_seconds(answer.fetched_at)
    return tuple(
        NewsItem(
            id=_id(filing.accession),
            title=filing_title(answer.value.name, filing),
            url=filing_url(filing),
            source=source,
            publisher=FILINGS_PUBLISHER,
            published_at=f"{filing.filed.isoformat()}T00:00:00Z",
            symbols=(symbol,),
            fetched_at=fetched_at,
            provenance=answer.provenance(source, Kind.FILING, url=filing_url(filing), accession=filing.accession),
        )
        for filing in answer.value.filings
        if filing.base_form in FORM_WORDS
    )


def filing_title(company: str, filing: Filing) -> str:
    """``Apple Inc. files 8-K: results of operations (2.02)``."""
    items = [f"{ITEM_WORDS[item]} ({item})" for item in filing.items if item in ITEM_WORDS]
    words = FORM_WORDS[filing.base_form]
    if filing.period is not None and filing.base_form in ("10-Q", "10-K", "20-F"):
        words += f" to {filing.period.isoformat()}"
    return f"{company} files {filing.form}: {', '.join(items) or words}"


def news_of(items: Iterable[NewsItem]) -> NewsData:
    """Items as a record: of two that tell one story the first stays, with what only the other says of its sentiment;
    newest first.
    """
    kept: list[NewsItem] = []
    places: dict[str, int] = {}
    told: dict[str, list[tuple[Instant, int]]] = {}
    for item in items:
        title, when = _title(item), from_iso(_when(item))
        names = _names(item)
        known = next((places[name] for name in names if name in places), None)
        if known is None and title:
            known = next((at for before, at in told.get(title, ()) if abs(when - before) < SAME_STORY), None)
        if known is not None:
            kept[known] = _with_sentiment(kept[known], item)
            continue
        places.update(dict.fromkeys(names, len(kept)))
        if title:
            told.setdefault(title, []).append((when, len(kept)))
        kept.append(item)
    return NewsData(items=tuple(sorted(kept, key=_newest, reverse=True)))


def _names(item: NewsItem) -> tuple[str, ...]:
    """What tells a story apart: what it is called, and where it was first found; a filing's number alone does."""
    if item.provenance.accession:
        return (item.provenance.accession,)
    names = (item.id, _address(item.url))
    return names if item.guid is None else (*names, item.guid)


def _with_sentiment(kept: NewsItem, other: NewsItem) -> NewsItem:
    if kept.sentiment is not None or other.sentiment is None:
        return kept
    return kept.model_copy(update={"sentiment": other.sentiment, "sentiment_by": other.sentiment_by})


def merge_news(
    contributions: Sequence[Contribution[NewsData]], *, age: Micros | None = None, most: int | None = None
) -> NewsData:
    """All sources' items, at most ``most``; a story told by several is taken from the best kind, then from who knows
    its hour, then from who had it first. What is older than ``age`` when the newest was fetched is left out: also of a
    source that has been silent since.
    """
    ranks = {kind: rank for rank, kind in enumerate(Kind)}
    ranked = [(ranks[said.kind], item) for said in contributions for item in said.data.items]
    ranked.sort(key=lambda pair: (pair[0], not _has_hour(pair[1]), _when(pair[1]), *_named(pair[1])))
    latest = max((item.fetched_at for _, item in ranked), default="")
    items = _not_before(news_of(item for _, item in ranked).items, from_iso(latest) if latest else 0, age)
    return NewsData(items=items[:most])


def _has_hour(item: NewsItem) -> bool:
    """A search knows only the day of a story, written as its midnight."""
    return item.published_at is not None and not item.published_at.endswith("T00:00:00Z")


def _named(item: NewsItem) -> tuple[str, str, str]:
    return item.id, item.source, item.fetched_at


def accumulate_news(
    previous: NewsData | None, new: NewsData, now: Instant, *, age: Micros | None = None, most: int | None = None
) -> NewsData:
    """What a source said before and says now, without what is older than ``age``, at most ``most`` items.

    An item that has not changed stays as it was first fetched, so that saying the same again changes nothing.
    """
    by_name = {item.id: item for item in new.items} | {item.guid: item for item in new.items if item.guid}
    old = previous.items if previous else ()
    known = (_newer(item, by_name.get(item.guid or "", by_name.get(item.id))) for item in old)
    items = _not_before(news_of([*known, *new.items]).items, now, age)
    return NewsData(items=items[:most])


def _not_before(items: tuple[NewsItem, ...], now: Instant, age: Micros | None) -> tuple[NewsItem, ...]:
    if age is None:
        return items
    earliest = to_iso_seconds(max(0, now - age))
    return tuple(item for item in items if _when(item) >= earliest)


def _newer(old: NewsItem, new: NewsItem | None) -> NewsItem:
    """A story keeps its id, also where its feed has changed its address."""
    if new is None:
        return old
    fetch = {"fetched_at": old.fetched_at, "provenance": old.provenance, "sentiment_by": old.sentiment_by}
    same = {"id": old.id, **(fetch if new.sentiment == old.sentiment else {})}
    return old if new.model_copy(update=same) == old else new.model_copy(update={"id": old.id})


def _title(item: NewsItem) -> str:
    """What is left of a title without what wires put before it and sites behind it; empty where it tells no story. A
    filing is known by its number alone.
    """
    if item.provenance.accession:
        return ""
    mark = _WIRE_MARK.match(item.title)
    bare = item.title[mark.end() :] if mark else item.title
    last = _LAST_PART.search(bare)
    if last is not None and fingerprint(last[1]) and fingerprint(last[1]) in fingerprint(item.publisher):
        bare = bare[: last.start()]
    title = fingerprint(bare)
    return title if len(title) >= SHORTEST_TELLING_TITLE else ""


def _address(url: str) -> str:
    return url.split("://", 1)[-1].rstrip("/")


def _guid(given: str, feed: str) -> str | None:
    """An address is one wherever it stands, anything else only at the host of its feed, and only where it is long
    enough to be meant as a name: numbers from 1 on are every feed's.
    """
    address = clean_url(given)
    if address is not None:
        return _address(address)
    return f"{urlsplit(feed).hostname} {given}" if len(given) >= SHORTEST_GUID else None


def _id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _when(item: NewsItem) -> str:
    """When it happened as far as is known. ISO-8601 in one form, so texts compare as times."""
    return item.published_at or item.fetched_at


def _newest(item: NewsItem) -> tuple[str, str]:
    return _when(item), item.id


def _believable(published: Instant | None, fetched_at: Instant) -> str | None:
    if published is None or published > fetched_at + CLOCK_TOLERANCE:
        return None
    return to_iso_seconds(published - published % SECOND)
