from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.errors import ParseError
from scheduler_service.models import Reason
from scheduler_service.parsers.stock_names import Stock, require_company, speaks_of

APPLE = Stock("AAPL", "Apple Inc.")


@pytest.mark.parametrize(
    ("text", "stock"),
    [
        ("Apple unveils a phone", APPLE),
        ("APPLE UNVEILS A PHONE", APPLE),
        ("What Apple’s margin says", APPLE),
        ("Why AAPL fell", APPLE),
        ("Chips (NASDAQ:AAPL) rise", APPLE),
        ("Why AAPL-led funds fell", Stock("AAPL")),
        ("Nvidia rises", Stock("NVDA", "NVIDIA Corporation")),
        ("nothing from eBay today", Stock("EBAY", "eBay Inc.")),
        ("Shares of General Motors fall", Stock("GM", "General Motors Company")),
        ("General Motors' profit", Stock("GM", "General Motors Company")),
        ("Bank of America raises rates", Stock("BAC", "Bank of America Corporation")),
        ("McDonald’s sells burgers", Stock("MCD", "McDonald's Corporation")),
        ("McDonald’s sells burgers", Stock("MCD", "MCDONALDS CORP")),
        ("Moody's cuts a rating", Stock("MCO", "MOODYS CORP")),
        ("Amazon sells books", Stock("AMZN", "AMAZON COM INC")),
        ("Coca-Cola sells drinks", Stock("KO", "COCA COLA CO")),
        ("JPMorgan raises rates", Stock("JPM", "JPMORGAN CHASE & CO")),
        ("AT&T cuts prices", Stock("T", "AT&T Inc.")),
        ("Phones: (NYSE: T) up", Stock("T")),
        ("Up today: $T", Stock("T")),
        ("Telephones (T, VZ)", Stock("T")),
        ("HP sells printers", Stock("HPQ", "HP Inc.")),
        ("Buy BRK.B", Stock("BRK-B")),
        ("Buy BRK B", Stock("BRK.B")),
        ("Toyota 7203.T rises", Stock("7203.T")),
        ("Toyota (7203) rises", Stock("7203")),
        ("Alphabet to split", Stock("GOOG", "Alphabet Inc. Class C")),
        ("Google to split", Stock("GOOG", "Alphabet Inc. / Google")),
        ("Alphabet to split", Stock("GOOG", "Alphabet Inc. / Google")),
        ("GE soars", Stock("GE", "GE Aerospace / GE")),
    ],
)
def test_a_text_speaks_of_a_stock(text: str, stock: Stock) -> None:
    assert speaks_of(text, stock)


@pytest.mark.parametrize(
    ("text", "stock"),
    [
        ("An apple a day", APPLE),
        ("Pineapple sales", APPLE),
        ("xAAPLx and aapl", APPLE),
        ("THE BEST OF ALL", Stock("ALL")),
        ("A new day", Stock("A")),
        ("Note: A new day (a long one)", Stock("A")),
        ("At the gate", Stock("T", "AT&T Inc.")),
        ("On Monday", Stock("ONON", "On Holding AG")),
        ("mind the gap", Stock("GPS", "The Gap, Inc.")),
        ("General rules of the motor trade", Stock("GM", "General Motors Company")),
        ("Bank holiday in America", Stock("BAC", "Bank of America Corporation")),
        ("People googled it", Stock("GOOG", "Alphabet Inc. / Google")),
        ("Ge is the earth", Stock("GE", "GE Aerospace / GE")),
        ("The company", Stock("XYZ", "The Company Inc.")),
        ("7203 sheep", Stock("7203")),
        ("anything", Stock("")),
        ("anything", Stock("--", "...")),
    ],
)
def test_a_text_speaks_of_something_else(text: str, stock: Stock) -> None:
    assert not speaks_of(text, stock)


@pytest.mark.parametrize(
    ("stock", "ticker", "company"),
    [
        (APPLE, "AAPL", ""),
        (APPLE, " nasdaq: aapl ", "APPLE INC"),
        (APPLE, "AAPL", "AAPL"),
        (Stock("AAPL"), "AAPL", "whatever"),
        (Stock("IBM", "IBM"), "IBM", "International Business Machines Corporation"),
        (Stock("META", "Facebook"), "META", "Meta Platforms, Inc."),
        (Stock("GM", "General Motors Company"), "GM", "General Motors Co."),
        (Stock("JPM", "JPMorgan Chase"), "JPM", "JPMorgan Chase & Co."),
        (Stock("GOOG", "Alphabet / Google"), "GOOG", "Google LLC"),
        (APPLE, "", "Apple Inc."),
        (Stock("BRK-B"), "BRK.B", ""),
        (Stock("BRK-B"), "NYSE: BRK B", ""),
    ],
)
def test_an_answer_about_the_company_asked_is_taken(stock: Stock, ticker: str, company: str) -> None:
    require_company(stock, ticker, company)


@pytest.mark.parametrize(
    ("stock", "ticker", "company", "reason"),
    [
        (APPLE, "NVDA", "Apple Inc.", Reason.WRONG_COMPANY),
        (APPLE, "", "NVIDIA", Reason.WRONG_COMPANY),
        (APPLE, "AAPL", "NVIDIA Corporation", Reason.WRONG_COMPANY),
        (Stock("GM", "General Motors Company"), "GM", "General Electric Company", Reason.WRONG_COMPANY),
        (Stock("T"), "T.TO", "", Reason.WRONG_COMPANY),
        (Stock("BRK-A"), "BRK-B", "", Reason.WRONG_COMPANY),
        (Stock("AAPL"), "", "Apple Inc.", Reason.WRONG_COMPANY),
        (APPLE, "", "", Reason.NO_DATA),
        (APPLE, "?", "", Reason.WRONG_COMPANY),
    ],
)
def test_an_answer_about_another_company_is_refused(stock: Stock, ticker: str, company: str, reason: Reason) -> None:
    with pytest.raises(ParseError, match=stock.ticker) as refused:
        require_company(stock, ticker, company)
    assert refused.value.reason is reason


@given(st.text(max_size=200), st.text(max_size=12), st.none() | st.text(max_size=40))
def test_no_text_and_no_name_is_too_strange(text: str, ticker: str, name: str | None) -> None:
    assert isinstance(speaks_of(text, Stock(ticker, name)), bool)


@given(st.sampled_from([APPLE, Stock("BRK-B", "Berkshire Hathaway"), Stock("MSFT", "Microsoft")]), st.text(max_size=50))
def test_a_stock_is_found_in_its_own_words_whatever_stands_around_them(stock: Stock, around: str) -> None:
    assert speaks_of(f"{around} {stock} {around}", stock)
