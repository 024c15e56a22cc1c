"""The news domain: headlines from feeds, and filings at the SEC that are news."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from scheduler_service.errors import ClientError, Held, ParseError, PermanentClientError
from scheduler_service.models import Contribution, Kind, Reason
from scheduler_service.parsers.feed import parse_feed
from scheduler_service.parsers.news import (
    NewsData,
    accumulate_news,
    items_from_feed,
    items_from_filings,
    merge_news,
    news_of,
)
from scheduler_service.processors.base import Processor
from scheduler_service.processors.company import PROVIDER, read_submissions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.calls import Ask
    from scheduler_service.clients.edgar_client import EdgarClient
    from scheduler_service.clients.feed_client import FeedClient
    from scheduler_service.clock import Instant
    from scheduler_service.models import StockState, Symbol
    from scheduler_service.parsers.news import NewsItem
    from scheduler_service.parsers.submissions import Filing


class Feeds:
    """Headlines of every configured feed; one that fails does not silence the others."""

    name: ClassVar[str] = "feeds"
    provider: ClassVar[str] = "feeds"
    kind: ClassVar[Kind] = Kind.FEED
    slow: ClassVar[bool] = False

    def __init__(self, client: FeedClient) -> None:
        self._client = client

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[NewsData]:
        del state
        items: list[NewsItem] = []
        failures: list[ClientError | ParseError | Held] = []
        resources = self._client.feeds(symbol)
        for resource in resources:
            try:
                answer = await ask(resource, parse_feed)
            except (ClientError, ParseError, Held) as error:
                failures.append(error)
            else:
                items.extend(items_from_feed(answer, self.name, symbol.symbol))
        if len(failures) == len(resources):
            raise _worth_raising(failures)
        return Contribution(self.name, self.kind, news_of(items))


class EdgarFilings:
    """Filings of the forms that are news, from the company's list at EDGAR."""

    name: ClassVar[str] = "edgar_filings"
    provider: ClassVar[str] = PROVIDER
    kind: ClassVar[Kind] = Kind.FILING
    slow: ClassVar[bool] = False

    def __init__(self, client: EdgarClient) -> None:
        self._client = client

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[NewsData]:
        del state
        answer = await read_submissions(ask, self._client, symbol)

        def url(filing: Filing) -> str:
            return self._client.filing_url(answer.value.cik, filing.accession, filing.document)

        return Contribution(self.name, self.kind, news_of(items_from_filings(answer, self.name, symbol.symbol, url)))


class NewsProcessor(Processor[NewsData]):
    """News is events: what a source no longer lists is kept, within the configured retention."""

    domain = "news"
    record = NewsData
    sources = (Feeds, EdgarFilings)

    def merge(self, contributions: Sequence[Contribution[NewsData]]) -> NewsData:
        return merge_news(contributions)

    def accumulate(self, previous: NewsData | None, new: NewsData, now: Instant) -> NewsData:
        if self.retention is None:
            return accumulate_news(previous, new, now)
        return accumulate_news(previous, new, now, age=self.retention.age, most=self.retention.items)


def _worth_raising(failures: Sequence[ClientError | ParseError | Held]) -> Exception:
    """A closed gate opens again and the task with it; otherwise the first failure stands for all."""
    if not failures:
        return PermanentClientError("providers.feeds.urls names no feed", Reason.PROVIDER_OFF)
    return next((failure for failure in failures if isinstance(failure, Held)), failures[0])
