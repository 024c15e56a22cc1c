"""The earnings domain: reported quarters and years, and announcements of results."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from scheduler_service.clients.edgar_client import MAX_AGE_SUBMISSIONS
from scheduler_service.clients.perplexity_client import MAX_AGE, Question
from scheduler_service.clock import utc_day
from scheduler_service.exchanges import find_exchange
from scheduler_service.models import Contribution, Kind
from scheduler_service.parsers.announced import newest_results, with_exhibits, with_known_exhibits
from scheduler_service.parsers.checked_earnings import check_earnings
from scheduler_service.parsers.coherent_earnings import believed, coherent, doubted
from scheduler_service.parsers.earnings import CONCEPTS, EarningsData, doubt_earnings, merge_earnings, read_earnings
from scheduler_service.parsers.earnings_noticed import earnings_notices, report_follow_ups
from scheduler_service.parsers.stated_earnings import (
    INSTRUCTIONS,
    SCHEMA,
    earnings_from_stated,
    question,
    read_stated_earnings,
)
from scheduler_service.parsers.stock_names import Stock
from scheduler_service.processors.base import Processor, exchange_of
from scheduler_service.processors.company import PROVIDER, SUBMISSIONS, read_company, read_exhibits, with_older_filings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.calls import Ask
    from scheduler_service.clients.edgar_client import EdgarClient
    from scheduler_service.clients.perplexity_client import PerplexityClient
    from scheduler_service.clock import Instant, Micros
    from scheduler_service.models import FollowUp, Notice, StockState, Symbol


class EdgarEarnings:
    """Earnings from the filings themselves."""

    name: ClassVar[str] = "edgar"
    provider: ClassVar[str] = PROVIDER
    kind: ClassVar[Kind] = Kind.FILING
    slow: ClassVar[bool] = False
    kept_for: ClassVar[Micros] = MAX_AGE_SUBMISSIONS
    asks: ClassVar[str] = SUBMISSIONS

    def __init__(self, client: EdgarClient) -> None:
        self._client = client

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[EarningsData]:
        del state
        company = await read_company(ask, self._client, symbol, CONCEPTS)
        company = await with_older_filings(ask, self._client, company)
        today = utc_day(company.answer.fetched_at)
        data = read_earnings(company.facts, company.submissions, company.origin, today)
        if (newest := newest_results(data)) is not None:
            documents = await read_exhibits(ask, company, newest.accession)
            data = data if documents is None else with_exhibits(data, newest, documents)
        return Contribution(self.name, self.kind, data)


class PerplexityEarnings:
    """Earnings as a model states them, and the date of the next report, which no filing knows."""

    name: ClassVar[str] = "perplexity"
    provider: ClassVar[str] = "perplexity"
    kind: ClassVar[Kind] = Kind.MODEL
    slow: ClassVar[bool] = True
    kept_for: ClassVar[Micros] = MAX_AGE

    def __init__(self, client: PerplexityClient) -> None:
        self._client = client

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[EarningsData]:
        del state
        stock = Stock(symbol.at(self.provider), symbol.name)
        asked = Question("earnings", INSTRUCTIONS, question(stock), SCHEMA)
        answer = await ask(self._client.answer(symbol, asked), partial(read_stated_earnings, stock=stock))
        data = earnings_from_stated(answer, self.name, stock)
        return Contribution(self.name, self.kind, data, doubted(data))


class EarningsProcessor(Processor[EarningsData]):
    domain = "earnings"
    record = EarningsData
    due_on = frozenset({"filing.results", "earnings.release_due", "earnings.report_due"})
    sources = (EdgarEarnings, PerplexityEarnings)

    def merge(self, contributions: Sequence[Contribution[EarningsData]]) -> EarningsData:
        return merge_earnings(believed(contributions)).model_copy(update={"checks": check_earnings(contributions)})

    def accumulate(self, previous: EarningsData | None, new: EarningsData, now: Instant) -> EarningsData:
        del now
        return new if previous is None else with_known_exhibits(previous, new)

    def notices(
        self, symbol: str, before: EarningsData | None, after: EarningsData, now: Instant, since: Instant | None
    ) -> Sequence[Notice]:
        return earnings_notices(symbol, before, after, now, since)

    def follow_ups(self, known: EarningsData, symbol: Symbol) -> Sequence[FollowUp]:
        return report_follow_ups(known, find_exchange(exchange_of(symbol)).at)

    def doubt(self, previous: EarningsData, new: EarningsData) -> str | None:
        return doubt_earnings(coherent(previous), coherent(new))
