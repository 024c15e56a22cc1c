"""Figures and text as models write them, and as nobody should."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.parsers.model_prose import LARGEST_AMOUNT, as_amount, as_money, as_per_share, plain


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (7, "7"),
        (0.1, "0.1"),
        (-1.5e9, "-1500000000"),
        (Decimal("1.25"), "1.25"),
        ("1.2B", "1200000000"),
        ("1.2 b", "1200000000"),
        ("$3.4 billion", "3400000000"),
        ("-$3.4bn", "-3400000000"),
        ("$-3.4bn", "-3400000000"),
        ("US$ 3.4 Billion", "3400000000"),
        ("3.4 trillion USD", "3400000000000"),
        ("950M", "950000000"),
        ("950 mn", "950000000"),
        ("12.5k", "12500"),
        ("3 thousand", "3000"),
        ("1.5T", "1500000000000"),
        ("12%", "0.12"),
        ("-0.5 %", "-0.005"),
        ("(1.3)", "-1.3"),
        ("($1.3 billion)", "-1300000000"),
        ("−5", "-5"),
        ("+5", "5"),
        ("1,234.5", "1234.5"),
        ("1,234,567", "1234567"),
        ("€12,5", "12.5"),
        ("1.234,56 EUR", "1234.56"),
        ("1.234.567", "1234567"),
        ("0.123", "0.123"),
        ("1.234 million", "1234000"),
        ("1,234 million", "1234000000"),
        (".5", "0.5"),
        ("1.2e9", "1200000000"),
        ("\u00a05\u202fbn ", "5000000000"),
        ("999999999999999999", "999999999999999999"),
    ],
)
def test_figures_are_read_as_models_write_them(value: object, amount: str) -> None:
    assert as_amount(value) == Decimal(amount)


DOUBTFUL: list[object] = [
    *("", "-", "–", "N/A", "n/a", "null", "none", "~3", "about 3", "3-4", "1.2B-1.4B", "3 per share", "1.2x", "12%%"),
    *("1.234", "1,234", "€1.234", "1,234 EUR", "27.466", "(1.2)B", "-5-", "- 5", "3,4 Mrd", "Rs 1.2 crore", "1,23,456"),
    *(
        "3.4-3.6 billion",
        "3.4B (up 12%)",
        "approximately 3.4B",
        "3.4[2]",
        "3.4 billions",
        "3.4 lakh",
        "３.4",
        "1e3 million",
    ),
    *("45.2p", "45.2 GBp", "45.2 GBX", "45.2 pence", "284¢", "gbp 5", "5 usd", "ZAc 12", "ILA 12", "GBp12"),
    *("0,123", "12,34,567", "1,2345", "1.2.3", "1,234,5", "(-3)", "--3", "3 B %", "$", "()", "٣", "1 thou\u017fand"),
    *("NaN", "Infinity", "1e18", "1e99", "9" * 19, "0." + "1" * 30, "1" * 5_000, 10**18, 10**5_000, 1e18, -1e300),
    *(float("nan"), float("inf"), Decimal("sNaN"), Decimal("1E+999999999"), True, False, None, [], {}, b"5", object()),
]


def test_a_figure_in_doubt_is_none() -> None:
    assert [value for value in DOUBTFUL if as_amount(value) is not None] == []


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=4))
def test_a_figure_survives_every_way_of_writing_it(figure: Decimal) -> None:
    for written in (f"{figure:f}", f"{figure:,f}", f"${figure:,f}", f"{figure:f} USD"):
        assert as_amount(written) == figure
    assert as_amount(f"{figure:f} million") == figure * 1_000_000
    assert as_amount(f"{figure:f}%") == figure / 100


_ALMOST = st.text(st.sampled_from("0123456789.,-+()%$€ eEkKmbBnt\u212a\u017f"), max_size=20)


@given(st.text() | _ALMOST | st.integers() | st.floats() | st.decimals() | st.none() | st.binary())
def test_an_amount_is_bounded_or_none(value: object) -> None:
    amount = as_amount(value)
    assert amount is None or abs(amount) < LARGEST_AMOUNT


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("It is **typed**; it builds.[7]", "It is typed; it builds."),
        ("JavaScript.^[6]^ It is", "JavaScript. It is"),
        ("grew [1][2][13] fast [1, 2].", "grew fast."),
        ("see [7](https://evil.example/x)", "see"),
        ("see [the filing](https://example.com/a) and ![logo](x.png)", "see the filing and logo"),
        ('see [it](https://example.com "Title")', "see it"),
        ("# Head\n\n## Sub\ntext\n> quoted", "Head Sub text quoted"),
        ("* one\n* two\n- three\n1. four", "- one - two - three 1. four"),
        ("`code` and\n```json\n{}\n```", "code and {}"),
        ("*soft* and _low_ and __strong__ and ***both***", "soft and low and strong and both"),
        ("a*b*c, 2 * 3 * 4, snake_case_name, 5 > 3, #1", "a*b*c, 2 * 3 * 4, snake_case_name, 5 > 3, #1"),
        ("in [2026] x[i] [sic]", "in [2026] x[i] [sic]"),
        ("Ap\u00adple\u200b\u202e\u2066 {{7*7}} ${x}", "Apple {{7*7}} ${x}"),
        ("a\x00b\x1b[2J\r\n\tc\u00a0d\u2028", "a b [2J c d"),
        ("up\ud800\ufeff", "up"),
        ("", ""),
    ],
)
def test_plain_text_is_what_a_reader_would_read(text: str, bare: str) -> None:
    assert plain(text) == bare


@given(st.text() | st.text(st.sampled_from("*_[]()`#>^!123 ab\n\x00\u202e")))
def test_plain_text_is_one_visible_line(text: str) -> None:
    bare = plain(text)
    assert bare == " ".join(bare.split())
    assert len(bare) <= len(text)
    assert not any(ord(c) < 32 or "\ud800" <= c <= "\udfff" or "\u202a" <= c <= "\u202e" for c in bare)


@pytest.mark.parametrize(
    ("value", "currency", "amount"),
    [
        ("$3.4 billion", "USD", 3_400_000_000),
        ("$3.4 billion", "CAD", 3_400_000_000),
        ("$3.4 billion", "EUR", None),
        ("US$3.4 billion", "CAD", None),
        ("€12,5", "USD", None),
        ("5 EUR", "EUR", 5),
        ("12%", "USD", None),
        ("N/A", "USD", None),
        (7, None, 7),
    ],
)
def test_money_is_no_share_and_of_no_other_currency(value: object, currency: str | None, amount: int | None) -> None:
    assert as_money(value, currency) == (None if amount is None else Decimal(amount))


@pytest.mark.parametrize(
    ("value", "currency", "amount"),
    [
        (2.84, "USD", "2.84"),
        ("2.84 USD", "USD", "2.84"),
        ("$-2.84", "USD", "-2.84"),
        ("(2.84)", "EUR", "-2.84"),
        ("£0.452", "GBP", "0.452"),
        ("GBP 0.452", "GBP", "0.452"),
        (45.2, "GBP", None),
        ("45.2", "GBP", None),
        (45.2, "ZAR", None),
        (45.2, "AUD", None),
        ("€0.45", "GBP", None),
        ("2.84k", "USD", None),
        ("2.84 million", "USD", None),
        ("28.4e-1", "USD", None),
        ("284 cents", "USD", None),
        ("2.84%", "USD", None),
    ],
)
def test_earnings_per_share_are_in_whole_units_of_money_or_unknown(
    value: object, currency: str, amount: str | None
) -> None:
    assert as_per_share(value, currency) == (None if amount is None else Decimal(amount))
