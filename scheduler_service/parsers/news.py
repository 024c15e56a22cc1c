"""The news domain: its records, and how feeds and filings become items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scheduler_service.clock import HOUR, SECOND, to_iso_seconds
from scheduler_service.models import Kind, Provenance, Record
from scheduler_service.parsers.stock_names import speaks_of
from scheduler_service.parsers.story_names import address_id, guid_name, name_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scheduler_service.calls import Answer
    from scheduler_service.clock import Instant
    from scheduler_service.parsers.feed import ParsedFeed, Story
    from scheduler_service.parsers.stock_names import Stock
    from scheduler_service.parsers.submissions import Filing, Submissions

FILINGS_PUBLISHER = "SEC EDGAR"
CLOCK_TOLERANCE = HOUR
"""A story dated further than this after it was fetched has no believable date."""

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
    also: tuple[str, ...] = ()
    """Ids of the same story where others tell it, and of what they call it."""
    fetched_at: str
    provenance: Provenance


class NewsData(Record):
    """``items`` newest first, below them those without a date, no story twice."""

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
        id=address_id(url),
        title=title,
        url=url,
        source=source,
        publisher=publisher,
        published_at=_believable(published, answer.fetched_at),
        summary=summary,
        sentiment=sentiment,
        sentiment_by=None if sentiment is None else answer.provenance(source, Kind.MODEL, url=url),
        guid=None if guid is None else guid_name(guid, answer.url),
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
            id=name_id(filing.accession),
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


def _believable(published: Instant | None, fetched_at: Instant) -> str | None:
    if published is None or published > fetched_at + CLOCK_TOLERANCE:
        return None
    return to_iso_seconds(published - published % SECOND)
