"""Quotes: what is one, what is none, and what is doubted."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.clock import CLOCKS_DIFFER, DAY, HOUR, MINUTE, SECOND, from_iso, to_iso
from scheduler_service.errors import ParseError
from scheduler_service.models import Contribution, Kind, Provenance, Reason
from scheduler_service.parsers.quotes import (
    Quoted,
    QuotesData,
    doubt_quote,
    merge_quotes,
    number_of,
    quotes_of,
    read_finnhub,
    time_of,
)

NOW = from_iso("2026-11-23T15:30:00Z")
ORIGIN = Provenance(source="finnhub", url="https://x.invalid/", fetched_at=to_iso(NOW), call_id="1", kind=Kind.MARKET)
GOOD = {"c": 189.25, "d": 1.25, "dp": 0.66, "h": 190, "l": 188, "o": 188.5, "pc": 188, "t": NOW // SECOND}


def quoted(price: str, before: str | None = None, at: int = NOW, currency: str | None = "USD") -> Quoted:
    return Quoted(Decimal(price), None if before is None else Decimal(before), currency, at)


def data(price: str, before: str | None = None, at: int = NOW, currency: str | None = "USD") -> QuotesData:
    return quotes_of(quoted(price, before, at, currency), ORIGIN, max(at, NOW))


def refused(quote: Quoted) -> ParseError:
    with pytest.raises(ParseError) as caught:
        quotes_of(quote, ORIGIN, NOW)
    return caught.value


def finnhub(**changed: Any) -> Quoted:
    return read_finnhub(json.dumps(GOOD | changed).encode())


def test_finnhubs_answer_is_read_as_it_is_written() -> None:
    said = quotes_of(finnhub(), ORIGIN, NOW)
    assert (said.price, said.previous_close, said.currency) == (Decimal("189.25"), Decimal(188), None)
    assert (said.change, said.change_ratio) == (Decimal("1.25"), Decimal("0.006649"))
    assert said.as_of == "2026-11-23T15:30:00Z"


def test_a_symbol_that_finnhub_does_not_know_is_no_price_of_nothing() -> None:
    with pytest.raises(ParseError) as caught:
        finnhub(c=0, d=None, dp=None, h=0, l=0, o=0, pc=0, t=0)
    assert caught.value.reason is Reason.UNKNOWN_SYMBOL


@pytest.mark.parametrize("changed", [{"c": None}, {"c": "189"}, {"t": None}, {"t": -1}, {"t": 10**18}, {"c": True}])
def test_what_is_no_quote_is_not_read_as_one(changed: dict[str, Any]) -> None:
    with pytest.raises(ParseError):
        finnhub(**changed)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"null", b'{"c":NaN,"t":1}', b'{"c":1e999,"t":1}', b'{"error":"x"}']
)
def test_what_is_no_answer_is_a_parse_error(body: bytes) -> None:
    with pytest.raises(ParseError):
        read_finnhub(body)


def test_a_share_that_never_closed_before_has_no_change() -> None:
    said = quotes_of(finnhub(pc=0), ORIGIN, NOW)
    assert (said.previous_close, said.change, said.change_ratio) == (None, None, None)


@pytest.mark.parametrize(
    ("price", "before", "why"),
    [
        ("0", None, "not for nothing"),
        ("-3.5", None, "not for nothing"),
        ("1e9", None, "which no share costs"),
        ("0.0000001", None, "which no share costs"),
        ("1.234567890123456", None, "16 digits"),
        ("189", "0", "previous close"),
        ("18925", "189.25", "in other units"),
        ("1.8925", "189.25", "in other units"),
    ],
)
def test_what_cannot_be_a_price_gets_into_no_document(price: str, before: str | None, why: str) -> None:
    error = refused(quoted(price, before))
    assert why in str(error)
    assert error.reason is Reason.NO_DATA


def test_a_price_of_the_future_gets_into_no_document() -> None:
    assert data("1", at=NOW).as_of
    assert quotes_of(quoted("1", at=NOW + CLOCKS_DIFFER), ORIGIN, NOW).price == 1
    assert "has not come yet" in str(refused(quoted("1", at=NOW + CLOCKS_DIFFER + SECOND)))


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        (data("100"), data("101", at=NOW + MINUTE), None),
        (data("100"), data("101"), None),
        (data("100"), data("100", at=NOW - SECOND), "is known"),
        (data("100"), data("100", currency="EUR"), "its currency is EUR"),
        (data("100"), data("100", currency=None), None),
        (data("100", currency=None), data("100"), None),
        (data("100"), data("200", at=NOW + MINUTE), "its price is 200"),
        (data("100"), data("50", at=NOW + MINUTE), "its price is 50"),
        (data("100"), data("10", "10.1", at=NOW + MINUTE), "its price is 10"),
        (data("100"), data("10", at=NOW + DAY), "its price is 10"),
        (data("100"), data("10", "100", at=NOW + DAY), "its price is 10"),
        (data("100"), data("10", "10.1", at=NOW + DAY), None),
        (data("100"), data("10000", "9900", at=NOW + DAY), "its price is 10000"),
    ],
)
def test_a_quote_is_doubted_for_what_was_said_before(before: QuotesData, now: QuotesData, why: str | None) -> None:
    said = doubt_quote(before, now)
    assert (said is None) == (why is None)
    assert (why or "") in (said or "")


def test_a_quote_that_a_clock_ahead_has_noted_makes_no_later_one_doubtful() -> None:
    ahead = ORIGIN.model_copy(update={"fetched_at": to_iso(NOW + 900 * DAY)})
    noted = data("100", at=NOW + 900 * DAY).model_copy(update={"provenance": ahead})
    assert doubt_quote(noted, data("101")) is None
    assert "its price is 300" in (doubt_quote(noted, data("300")) or "")


def test_the_newest_is_merged_and_of_equally_new_ones_the_first() -> None:
    said = [data("1", at=NOW - HOUR), data("2"), data("3")]
    for order in permutations(said):
        of = [Contribution(f"s{n}", Kind.MARKET, one) for n, one in enumerate(order)]
        assert merge_quotes(of) == next(one for one in order if one.as_of == said[1].as_of)


@given(
    st.decimals(min_value="0.01", max_value="999999.9999", places=4), st.decimals(min_value=1, max_value=2, places=2)
)
def test_no_price_loses_a_digit_on_its_way_through_json(price: Decimal, times: Decimal) -> None:
    said = quotes_of(Quoted(price, (price * times).quantize(Decimal("0.0001")), "USD", NOW), ORIGIN, NOW)
    again = QuotesData.model_validate_json(said.model_dump_json())
    assert again == said
    assert again.price == price
    read = json.loads(said.model_dump_json())
    assert Decimal(str(read["price"])) == price


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("2026-11-23T15:30:00Z", NOW),
        ("2026-11-23T10:30:00-05:00", NOW),
        ("2026-11-23 10:30:00-05:00", NOW),
        (NOW // SECOND, NOW),
        (str(NOW // SECOND), NOW),
        (NOW // 1_000, NOW),
        ("2026-11-23T15:30:00", None),
        ("2026-11-23", None),
        ("15:30", None),
        ("", None),
        (None, None),
        (0, None),
        (True, None),
        ("9999-12-31T23:59:59-14:00", None),
        ([], None),
    ],
)
def test_a_time_needs_its_zone(written: Any, at: int | None) -> None:
    assert time_of(written) == at


@pytest.mark.parametrize(
    "text", ["NaN", "inf", "1_000", "1,000", "189,25", "$1", "1e5", "", "٣", "0x1", "--1", "1." + "0" * 99]
)
def test_only_plain_digits_are_a_number(text: str) -> None:
    assert number_of(text) is None


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_quote_or_a_parse_error(body: bytes) -> None:
    with suppress(ParseError):
        read_finnhub(body)
