"""The quotes domain: last prices, from Finnhub or from a file that another program writes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from scheduler_service.clients import finnhub_client, quotes_file_client
from scheduler_service.errors import ParseError
from scheduler_service.models import Contribution, Kind
from scheduler_service.parsers.quotes import (
    QuotesData,
    doubt_quote,
    merge_quotes,
    quotes_of,
    read_finnhub,
)
from scheduler_service.parsers.quotes_file import read_quotes_file
from scheduler_service.processors.base import HOME_EXCHANGE, Processor, exchange_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.calls import Ask
    from scheduler_service.clients.finnhub_client import FinnhubClient
    from scheduler_service.clients.quotes_file_client import QuotesFileClient
    from scheduler_service.clock import Micros
    from scheduler_service.models import StockState, Symbol

_CLASSES = ("A", "B", "C")
"""Of shares, as in BRK.B: what else stands after a dot is an exchange."""


class FinnhubQuotes:
    """Finnhub names no currency: of shares at home it is the dollar, of others nobody knows."""

    name: ClassVar[str] = "finnhub"
    provider: ClassVar[str] = "finnhub"
    kind: ClassVar[Kind] = Kind.MARKET
    slow: ClassVar[bool] = False
    kept_for: ClassVar[Micros] = finnhub_client.MAX_AGE

    def __init__(self, client: FinnhubClient) -> None:
        self._client = client

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[QuotesData]:
        del state
        try:
            answer = await ask(self._client.quote(symbol), read_finnhub)
        except ParseError as error:
            raise ParseError(f"{symbol.at(self.provider)}: {error}", error.reason) from error
        quoted = (
            replace(answer.value, currency="USD") if _is_american(symbol, symbol.at(self.provider)) else answer.value
        )
        data = quotes_of(quoted, answer.provenance(self.name, self.kind), answer.fetched_at)
        return Contribution(self.name, self.kind, data)


class FileQuotes:
    """The lines of a file; what is wrong with some of them is told once."""

    name: ClassVar[str] = "file"
    provider: ClassVar[str] = "quotes_file"
    kind: ClassVar[Kind] = Kind.MARKET
    slow: ClassVar[bool] = False
    kept_for: ClassVar[Micros] = quotes_file_client.MAX_AGE

    def __init__(self, client: QuotesFileClient) -> None:
        self._client = client
        self._told: str | None = None

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[QuotesData]:
        del state
        answer = await ask(self._client.whole(), read_quotes_file)
        quoted = answer.value.of(symbol.at(self.provider))
        data = quotes_of(quoted, answer.provenance(self.name, self.kind), answer.fetched_at)
        wrong = answer.value.in_words()
        warning, self._told = (None if wrong == self._told else wrong), wrong
        return Contribution(self.name, self.kind, data, warning)


class QuotesProcessor(Processor[QuotesData]):
    """A price does not age while its exchange is closed: at night one look is enough."""

    domain = "quotes"
    record = QuotesData
    sources = (FinnhubQuotes, FileQuotes)
    in_market_time = True
    tells_prices = True

    def merge(self, contributions: Sequence[Contribution[QuotesData]]) -> QuotesData:
        return merge_quotes(contributions)

    def doubt(self, previous: QuotesData, new: QuotesData) -> str | None:
        return doubt_quote(previous, new)


def _is_american(symbol: Symbol, name: str) -> bool:
    if symbol.exchange is not None:
        return exchange_of(symbol) == HOME_EXCHANGE
    _, dot, suffix = name.partition(".")
    return not dot or suffix in _CLASSES
