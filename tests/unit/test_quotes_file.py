"""A file of quotes: what is wrong with a line is said of that line, and the others are used."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.clock import from_iso
from scheduler_service.errors import ParseError
from scheduler_service.parsers.quotes import Quoted
from scheduler_service.parsers.quotes_file import QuotesFile, read_quotes_file

TIME = "2026-11-23T15:30:00Z"
AT = from_iso(TIME)
HEAD = "symbol,price,previous_close,currency,time\n"
APPLE = Quoted(Decimal("189.25"), Decimal("188.00"), "USD", AT)


def csv(*lines: str, head: str = HEAD) -> QuotesFile:
    return read_quotes_file((head + "".join(f"{line}\n" for line in lines)).encode())


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}AAPL,189.25,188.00,USD,{TIME}\n",
        f"\ufeff{HEAD}aapl , 189.25 ,188.00, USD,{TIME}\r\n",
        f"Time;Name;Symbol;Currency;Previous Close;Price\n{TIME};Apple;AAPL;USD;188.00;189.25\n",
        f"# made by us\n\nsymbol\tprice\tprevious_close\tcurrency\ttime\nAAPL\t189.25\t188.00\tUSD\t{TIME}",
        f'{HEAD}"AAPL","189.25","188.00","USD","{TIME}",\n',
        json.dumps([{"symbol": "AAPL", "price": 189.25, "previous_close": "188.00", "currency": "USD", "time": TIME}]),
        json.dumps({"AAPL": {"price": "189.25", "previous_close": 188.0, "currency": "USD", "time": AT // 10**6}}),
        json.dumps(
            {"quotes": [{"symbol": "AAPL", "price": 189.25, "previous_close": 188, "currency": "USD", "time": TIME}]}
        ),
    ],
)
def test_the_same_is_read_from_every_form(text: str) -> None:
    read = read_quotes_file(text.encode())
    assert read.wrong == ()
    assert read.in_words() is None
    assert read.of("aapl") == APPLE


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"BAD,abc,,,{TIME}", "price is 'abc'"),
        (f"BAD,,,,{TIME}", "price is missing"),
        (f"BAD,0,,,{TIME}", "not for nothing"),
        (f"BAD,-1,,,{TIME}", "not for nothing"),
        (f"BAD,NaN,,,{TIME}", "price is 'NaN'"),
        (f"BAD,inf,,,{TIME}", "price is 'inf'"),
        (f"BAD,189,25,,,{TIME}", "it has 6 cells"),
        (f"BAD,100,1,,{TIME}", "in other units"),
        (f"BAD,100,x,,{TIME}", "previous_close is 'x'"),
        (f"BAD,100,,GBp,{TIME}", "currency is 'GBp'"),
        ("BAD,100,,,", "time is missing"),
        ("BAD,100,,,yesterday", "time is 'yesterday'"),
        ("BAD,100,,,2026-11-23T15:30:00", "time is"),
        ("BAD,100", "it has 2 cells"),
        ('"BAD,100,,,x', "no line of CSV"),
        (f",100,,,{TIME}", "there is no symbol"),
        (f"B\0D,100,,,{TIME}", "line 3"),
    ],
)
def test_a_bad_line_is_named_and_spoils_no_other(line: str, why: str) -> None:
    read = csv(f"AAPL,189.25,188.00,USD,{TIME}", line, f"NVDA,140.1,,,{TIME}")
    assert set(read.quotes) == {"AAPL", "NVDA"}
    (wrong,) = read.wrong
    assert wrong.where == "line 3"
    assert why in str(wrong)
    with pytest.raises(ParseError, match="BAD"):
        read.of("BAD")


def test_thousands_of_bad_lines_are_counted_and_three_are_named() -> None:
    read = csv(*(f"X{n},nothing,,,{TIME}" for n in range(5_000)), f"AAPL,189.25,188.00,USD,{TIME}")
    assert read.of("AAPL") == APPLE
    said = read.in_words()
    assert said is not None
    assert said.startswith("5000 lines hold no quote, and the rest is used: line 2 (X0): price is 'nothing'")
    assert said.endswith("; and 4997 more")


def test_of_several_lines_of_a_symbol_the_newest_is_taken() -> None:
    read = csv(f"AAPL,189.25,188.00,USD,{TIME}", "AAPL,1,,USD,2026-11-23T15:29:00Z")
    assert read.of("AAPL") == APPLE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"AAPL,189.25\n",
        b"<html></html>",
        b'{"quotes": 1}',
        b"[1, 2",
        b"\xff\xfea\x00",
        HEAD.encode() + b"A\xff,1,,,\n",
    ],
)
def test_what_is_no_file_of_quotes_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(ParseError):
        read_quotes_file(body)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: (HEAD + text).encode()))
def test_whatever_stands_there_is_read_or_refused(body: bytes) -> None:
    try:
        read = read_quotes_file(body)
    except ParseError:
        return
    assert all(one.price > 0 for one in read.quotes.values())
