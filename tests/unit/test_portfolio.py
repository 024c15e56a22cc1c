"""A portfolio as people write it: what can be read is used, and the rest is told by its line."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.monitors.portfolio import MOST_PROBLEMS, Portfolio, Position, parse_portfolio

D = Decimal


def test_lots_add_up_and_the_tightest_stop_counts() -> None:
    held = parse_portfolio("symbol,quantity,average_price,stop\naapl,10,100,90\nAAPL,30,200,95\nMSFT,-5,400,\n")
    assert held.positions == {
        "AAPL": Position("AAPL", D(40), D(175), D(95), (2, 3)),
        "MSFT": Position("MSFT", D(-5), D(400), None, (4,)),
    }
    assert (held.problems, held.bad_lines) == ((), 0)


@pytest.mark.parametrize(
    "text",
    [
        "Ticker;Shares;Avg Price\nAAPL;10;100\n",
        "\ufeffSymbol\tQty\tAverage cost\nAAPL\t10\t100\n",
        "quantity,price,symbol,note\n10,$100.00,aapl,mine\n",
        "# what I hold\nsymbol,quantity,average_price\n\nAAPL,10,100\n",
        'symbol,quantity,average_price\nAAPL,10,"1,00"\n'.replace('"1,00"', "100"),
    ],
)
def test_the_usual_spellings_are_read(text: str) -> None:
    [position] = parse_portfolio(text).positions.values()
    assert (position.symbol, position.quantity, position.average_price) == ("AAPL", D(10), D(100))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("AAPL,ten,100", "the quantity 'ten' is no number"),
        ("AAPL,0,100", "the quantity is 0"),
        ("AAPL,10,-1", "the average price is not above 0"),
        ("AAPL,NaN,100", "the quantity 'NaN' is no number"),
        ("AAPL,10,1e99", "the average price '1e99' cannot be"),
        ("AAPL,10,100,0", "the stop is not above 0"),
        ("AAPL,10", "the average price '' is no number"),
    ],
)
def test_a_bad_line_is_told_and_the_others_are_used(line: str, said: str) -> None:
    held = parse_portfolio(f"symbol,quantity,average_price,stop\nMSFT,1,1\n{line}\nNVDA,1,1\n")
    assert set(held.positions) == {"MSFT", "NVDA"}
    assert held.problems == (f"line 3: {said}",)


def test_thousands_of_bad_lines_are_counted_and_the_first_told() -> None:
    held = parse_portfolio("symbol,quantity,average_price\n" + "AAPL,x,1\n" * 5_000 + "MSFT,1,1\n")
    assert (len(held.problems), held.bad_lines, set(held.positions)) == (MOST_PROBLEMS, 5_000, {"MSFT"})


@pytest.mark.parametrize("text", ["", "\n\n", "a,b,c\n1,2,3\n", "symbol,quantity\nA,1\n", "x" * 200_000])
def test_what_has_no_header_is_no_portfolio(text: str) -> None:
    with pytest.raises(ValueError, match="header"):
        parse_portfolio(text)


def test_lots_that_cancel_out_are_nothing_held() -> None:
    assert parse_portfolio("symbol,quantity,average_price\nA,10,1\nA,-10,2\n").positions == {}


@given(st.text(max_size=200), st.booleans())
def test_any_text_is_a_portfolio_or_refused(text: str, headed: bool) -> None:
    try:
        held = parse_portfolio(("symbol,quantity,average_price,stop\n" if headed else "") + text)
    except ValueError:
        return
    assert isinstance(held, Portfolio)
    for position in held.positions.values():
        assert position.quantity.is_finite()
        assert position.average_price > 0


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("1,234.50", "1234.50"),
        ("1.234,50", "1234.50"),
        ("175,50", "175.50"),
        ("0,5", "0.5"),
        ("1,234,567", "1234567"),
        ("$100", "100"),
        ("1.5E+3", "1500"),
        (".5", "0.5"),
    ],
)
def test_numbers_are_read_as_people_and_spreadsheets_write_them(written: str, number: str) -> None:
    [position] = parse_portfolio(f"symbol;quantity;average_price\nA;1;{written}\n").positions.values()
    assert position.average_price == D(number)


@pytest.mark.parametrize(
    "written",
    [
        "1,234",
        "175,500",
        "1_000",
        "１００",
        "Infinity",
        "1e400",
        "1e999999999",
        "1e-300",
        "1e13",
        "1,2,3",
        "--1",
        "0x10",
    ],
)
def test_a_number_that_may_be_another_is_none(written: str) -> None:
    held = parse_portfolio(f"symbol;quantity;average_price\nA;1;{written}\nB;1;1\n")
    assert (set(held.positions), held.bad_lines) == ({"B"}, 1)


def test_a_quotation_mark_that_nobody_closes_spoils_no_other_line() -> None:
    held = parse_portfolio('symbol,quantity,average_price\nA,1,"1\nB,1,1\n"C",1,"1"\n')
    assert (set(held.positions), held.bad_lines) == ({"B", "C"}, 1)
    assert "line 2: it is no line of CSV" in held.problems[0]


def test_a_thousands_comma_that_makes_one_cell_two_is_seen() -> None:
    held = parse_portfolio("symbol,quantity,average_price\nA,10,1,100\n")
    assert held.problems == ("line 2: it has 4 cells, and the header 3",)


def test_lines_end_as_they_end_anywhere() -> None:
    text = "symbol,quantity,average_price\rA,1,1\r\nB,1,1\n\nC,1,1"
    assert set(parse_portfolio(text).positions) == {"A", "B", "C"}


def test_more_lines_than_anyone_holds_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="more than 200,000 lines"):
        parse_portfolio("\n" * 300_000)
