"""The fundamentals domain: how a company stands, in metrics."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from scheduler_service.clients.edgar_client import MAX_AGE_SUBMISSIONS
from scheduler_service.clients.perplexity_client import MAX_AGE, Question
from scheduler_service.models import Contribution, Kind
from scheduler_service.parsers.checked_fundamentals import check_fundamentals
from scheduler_service.parsers.coherent_fundamentals import believed, coherent, doubted
from scheduler_service.parsers.fundamental_analysis import (
    CONCEPTS,
    FundamentalsData,
    doubt_fundamentals,
    merge_fundamentals,
    read_fundamentals,
)
from scheduler_service.parsers.stated_fundamentals import (
    INSTRUCTIONS,
    SCHEMA,
    fundamentals_from_stated,
    question,
    read_stated_fundamentals,
)
from scheduler_service.parsers.stock_names import Stock
from scheduler_service.processors.base import Processor
from scheduler_service.processors.company import PROVIDER, SUBMISSIONS, read_company

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.calls import Ask
    from scheduler_service.clients.edgar_client import EdgarClient
    from scheduler_service.clients.perplexity_client import PerplexityClient
    from scheduler_service.clock import Micros
    from scheduler_service.models import StockState, Symbol


class EdgarFundamentals:
    """Metrics computed from the filings themselves; in the slow lane, as an analysis of many figures."""

    name: ClassVar[str] = "edgar"
    provider: ClassVar[str] = PROVIDER
    kind: ClassVar[Kind] = Kind.FILING
    slow: ClassVar[bool] = True
    kept_for: ClassVar[Micros] = MAX_AGE_SUBMISSIONS
    asks: ClassVar[str] = SUBMISSIONS

    def __init__(self, client: EdgarClient) -> None:
        self._client = client

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[FundamentalsData]:
        del state
        company = await read_company(ask, self._client, symbol, CONCEPTS)
        return Contribution(self.name, self.kind, read_fundamentals(company.facts, company.origin))


class PerplexityFundamentals:
    """An analysis in words, and metrics as a model states them: what no filing gives stays marked as unverified."""

    name: ClassVar[str] = "perplexity"
    provider: ClassVar[str] = "perplexity"
    kind: ClassVar[Kind] = Kind.MODEL
    slow: ClassVar[bool] = True
    kept_for: ClassVar[Micros] = MAX_AGE

    def __init__(self, client: PerplexityClient) -> None:
        self._client = client

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[FundamentalsData]:
        del state
        stock = Stock(symbol.at(self.provider), symbol.name)
        asked = Question("fundamentals", INSTRUCTIONS, question(stock), SCHEMA)
        answer = await ask(self._client.answer(symbol, asked), partial(read_stated_fundamentals, stock=stock))
        data = fundamentals_from_stated(answer, self.name, stock)
        return Contribution(self.name, self.kind, data, doubted(data))


class FundamentalAnalyzer(Processor[FundamentalsData]):
    domain = "fundamentals"
    record = FundamentalsData
    due_on = frozenset({"filing.results", "earnings.report_due"})
    sources = (EdgarFundamentals, PerplexityFundamentals)

    def merge(self, contributions: Sequence[Contribution[FundamentalsData]]) -> FundamentalsData:
        return merge_fundamentals(believed(contributions)).model_copy(
            update={"checks": check_fundamentals(contributions)}
        )

    def doubt(self, previous: FundamentalsData, new: FundamentalsData) -> str | None:
        return doubt_fundamentals(coherent(previous), coherent(new))
