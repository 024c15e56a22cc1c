"""EDGAR's index: tickers, and a company's filings."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from scheduler_service.errors import ParseError
from scheduler_service.models import Reason
from scheduler_service.parsers.submissions import (
    Submissions,
    find_cik,
    find_name,
    parse_names,
    parse_submissions,
    parse_tickers,
)


def columns(*filings: tuple[str, str, str], **more: list[Any]) -> dict[str, list[Any]]:
    """Filings as (form, filed, items); the n-th has accession number n."""
    forms, filed, items = (list(column) for column in zip(*filings, strict=True))
    accessions = [f"0000000042-26-{n:06d}" for n in range(1, len(filings) + 1)]
    return {"accessionNumber": accessions, "form": forms, "filingDate": filed, "items": items, **more}


def submissions(recent: Any, cik: Any = "0000000042") -> Submissions:
    return parse_submissions(json.dumps({"cik": cik, "name": "Small", "filings": {"recent": recent}}).encode())


@pytest.mark.parametrize("cik", [42, "42", "0000000042"])
def test_it_reads_a_cik_written_in_any_way(cik: object) -> None:
    assert submissions(columns(("4", "2026-01-01", "")), cik).cik == 42


@pytest.mark.parametrize(
    ("form", "xbrl", "counts"),
    [
        ("10-K", 1, True),
        ("10-Q/A", 1, True),
        ("20-F", 0, True),
        ("6-K", 1, True),
        ("6-K", 0, False),
        ("8-K", 1, False),
        ("10-K405", 0, False),
    ],
)
def test_it_keeps_companyfacts_under_the_newest_report(form: str, xbrl: int, counts: bool) -> None:
    recent = columns(("4", "2026-03-01", ""), (form, "2026-02-01", ""), ("10-Q", "2025-11-01", ""), isXBRL=[0, xbrl, 1])
    assert submissions(recent).newest_report_accession == f"0000000042-26-00000{2 if counts else 3}"


def test_it_finds_announcements_of_results() -> None:
    recent = columns(
        ("8-K", "2026-02-02", "5.02"), ("8-K/A", "2026-02-01", "2.02, 9.01"), ("10-Q", "2026-01-01", "2.02")
    )
    (release,) = submissions(recent).releases
    assert (release.form, release.filed, release.items) == ("8-K/A", date(2026, 2, 1), ("2.02", "9.01"))


def test_it_puts_the_newest_filing_first_and_leaves_out_broken_rows() -> None:
    recent = columns(
        ("10-Q", "2025-01-01", ""), ("10-K", "2026-01-01", ""), ("10-K", "31.12.2026", ""), ("", "2026-01-01", "")
    )
    assert [filing.form for filing in submissions(recent).filings] == ["10-K", "10-Q"]


def test_it_bears_new_columns_and_empty_values() -> None:
    recent = columns(("10-K", "2026-01-01", ""), reportDate=[""], primaryDocument=[None], invented=[{"a": 1}])
    (filing,) = submissions(recent | {"items": [None]}).filings
    assert (filing.period, filing.document, filing.items) == (None, "", ())


@pytest.mark.parametrize(
    "recent",
    [
        columns(("10-K", "2026-01-01", ""), invented=[]),
        {"accessionNumber": [], "form": []},
        {},
        None,
        [],
    ],
)
def test_it_refuses_columns_that_make_no_rows(recent: Any) -> None:
    with pytest.raises(ParseError) as caught:
        submissions(recent)
    assert caught.value.reason is Reason.UNREADABLE


def test_it_refuses_submissions_of_nobody() -> None:
    with pytest.raises(ParseError, match="cik"):
        parse_submissions(b'{"filings": {"recent": {}}}')


def test_it_looks_symbols_up_in_any_spelling() -> None:
    body = {
        "0": {"cik_str": 7, "ticker": "BRK-B"},
        "1": {"cik_str": "8", "ticker": "on"},
        "2": {"cik_str": 9, "ticker": "ON"},
        "3": None,
    }
    tickers = parse_tickers(json.dumps(body).encode())
    assert [find_cik(tickers, symbol) for symbol in ("BRK.B", "brk/b", " ON ", "OFF", "")] == [7, 7, 8, None, None]


def test_it_says_when_the_list_of_tickers_is_empty() -> None:
    with pytest.raises(ParseError) as caught:
        parse_tickers(b"{}")
    assert caught.value.reason is Reason.NO_DATA


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Apple Inc.", "Apple Inc."),
        ("BANK OF AMERICA CORP /DE/", "BANK OF AMERICA CORP"),
        ("US BANCORP \\DE\\", "US BANCORP"),
        ("COSTCO WHOLESALE CORP /NEW", "COSTCO WHOLESALE CORP"),
        ("TOYOTA MOTOR CORP/", "TOYOTA MOTOR CORP"),
        ("VERTEX PHARMACEUTICALS INC / MA", "VERTEX PHARMACEUTICALS INC"),
        ("A" + "/ " * 3 + " " * 50_000 + "B", "A/ / / B"),
        (" / ", None),
        (7, None),
    ],
)
def test_it_knows_what_a_company_is_called(title: object, name: str | None) -> None:
    names = parse_names(json.dumps({"0": {"ticker": "BRK-B", "title": title}, "1": None}).encode())
    assert find_name(names, "brk.b") == name
    assert find_name(names, "OTHER") is None
