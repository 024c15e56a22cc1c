"""EDGAR's parsers against recorded answers, and against anything at all."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler_service.errors import ParseError
from scheduler_service.models import Kind, Provenance, Reason
from scheduler_service.parsers import earnings, fundamental_analysis
from scheduler_service.parsers.earnings import EarningsData, Report, read_earnings
from scheduler_service.parsers.fundamental_analysis import FundamentalsData, read_fundamentals
from scheduler_service.parsers.submissions import Submissions, find_cik, parse_submissions, parse_tickers
from scheduler_service.parsers.xbrl import CompanyFacts, parse_company_facts
from scheduler_service.strict_json import load, load_object

SHARED = (Path(__file__).resolve().parents[2] / "../shared").resolve()
RECORDED = SHARED / "fixtures/edgar"
GROUND_TRUTH = SHARED / "reference/ground-truth.md"
CIKS = {"AAPL": 320193, "NVDA": 1045810, "SNOW": 1640147}
CONCEPTS = (*earnings.CONCEPTS, *fundamental_analysis.CONCEPTS)


class Row(NamedTuple):
    """One line of the ground truth."""

    kind: str
    end: date
    start: date | None
    metric: str
    value: str
    accession: str
    note: str

    @property
    def derived(self) -> bool:
        return "DERIVED" in self.kind


@pytest.mark.parametrize("symbol", CIKS)
def test_it_reads_every_figure_of_the_ground_truth_to_the_dollar(symbol: str) -> None:
    rows = list(ground_truth(symbol))
    assert len(rows) > 30
    wrong = [(row, said) for row in rows if (said := _said(symbol, row)) != _expected(row)]
    assert wrong == []


@pytest.mark.parametrize("symbol", CIKS)
def test_it_names_the_filings_the_ground_truth_names(symbol: str) -> None:
    income = [row for row in ground_truth(symbol) if row.metric in ("revenue USD", "net income USD")]
    for row in income:
        report = _report(symbol, row)
        named = re.findall(r"\d{10}-\d{2}-\d{6}", row.accession)
        assert [report.accession, *(report.other_accessions if row.derived else ())][: len(named)] == named
        assert report.derived == row.derived
        assert row.start in (None, report.period_start)


@pytest.mark.parametrize("symbol", CIKS)
def test_it_computes_the_margins_of_the_ground_truth(symbol: str) -> None:
    for row in ground_truth(symbol):
        stated = row.value if row.metric == "gross margin %" else "".join(re.findall(r"margin ([\d.]+) %", row.note))
        if stated:
            report = _report(symbol, row)
            assert report.gross_profit is not None
            assert report.revenue
            assert round(report.gross_profit / report.revenue * 100, 4) == Decimal(stated)


def test_it_adds_up_the_twelve_months_of_apple() -> None:
    metrics = read_fundamentals(facts_of(320193), origin).metrics
    assert metrics["revenue_ttm"].value == 416_161_000_000 - 124_300_000_000 + 143_756_000_000
    assert metrics["revenue_ttm"].as_of == date(2025, 12, 27)
    assert metrics["revenue_ttm"].provenance.accession == "0000320193-26-000006"
    assert metrics["eps_diluted_ttm"].value == Decimal("7.90")
    assert metrics["eps_diluted_ttm"].derived
    assert metrics["total_debt"].value == 90_509_000_000
    assert {name for name, metric in metrics.items() if metric.value is None} == set()


def test_it_reads_a_foreign_company_with_a_textual_cik_in_its_own_currency() -> None:
    facts = facts_of(1997711)
    assert facts.cik == 1997711
    newest, *_ = read_earnings(facts, no_submissions(facts.cik), origin).reports
    assert (newest.kind, newest.period_end, newest.fiscal_label) == ("year", date(2024, 12, 31), "FY2024")
    assert [newest.revenue, newest.net_income] == [43_862_372, -29_285_428]
    assert newest.eps_diluted == Decimal("-0.94")
    assert newest.currency == facts.currency == "USD"


def test_it_never_mixes_earnings_per_share_across_nvidias_split() -> None:
    eps = {(r.kind, r.period_end): r.eps_diluted for r in reports_of("NVDA")}
    assert eps["year", date(2024, 1, 28)] == Decimal("1.19")
    assert eps["quarter", date(2024, 7, 28)] == Decimal("0.67")
    assert eps["quarter", date(2023, 4, 30)] is None  # 0.82, of shares before the split


def test_it_reads_the_recorded_submissions() -> None:
    apple = parse_submissions(recorded("submissions/CIK0000320193.json.gz"))
    assert (apple.cik, apple.name, apple.tickers) == (320193, "Apple Inc.", ("AAPL",))
    assert apple.newest_report_accession == "0000320193-26-000006"
    assert apple.document("0000320193-26-000006") == "aapl-20251227.htm"
    assert [(f.filed, f.accession) for f in apple.releases[:1]] == [(date(2026, 1, 29), "0000320193-26-000005")]
    assert parse_submissions(recorded("submissions/CIK0000350001.json.gz")).newest_report_accession is None


def test_it_finds_companies_in_the_recorded_tickers() -> None:
    tickers = parse_tickers(recorded("company_tickers.json.gz"))
    assert find_cik(tickers, "aapl") == 320193
    assert find_cik(tickers, "BRK.B") == find_cik(tickers, "BRK-A") == 1067983
    assert find_cik(tickers, "NOSUCH") is None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"<!DOCTYPE html><html><body>File Unavailable", "HTML page"),
        (b"<?xml version='1.0'?><Error/>", "HTML or XML"),
        (b'{"val": NaN}', "not JSON"),
        (b'{"val": Infinity}', "not JSON"),
        (b'{"val": 1e999}', "not JSON"),
        (b"[" * 1_000_000, "not JSON"),
        (b'{"a": "\xff\xfe"}', "not JSON"),
        (b'{"a": 1} trailing', "not JSON"),
        (b"[1, 2]", "array, not an object"),
        (b"null", "null, not an object"),
    ],
)
def test_it_says_why_an_answer_cannot_be_read(body: bytes, says: str) -> None:
    with pytest.raises(ParseError, match=says) as caught:
        load_object(body)
    assert caught.value.reason is Reason.UNREADABLE
    assert len(str(caught.value)) < 200


def test_it_reads_json_behind_a_byte_order_mark() -> None:
    assert load(b'\xef\xbb\xbf {"val": 7.46}\n') == {"val": 7.46}


SMALL_SUBMISSIONS: dict[str, Any] = {
    "cik": "0000000042",
    "name": "Small",
    "tickers": ["SMLL"],
    "filings": {
        "recent": {
            "accessionNumber": ["0000000042-26-000002", "0000000042-26-000001"],
            "filingDate": ["2026-05-01", "2026-02-01"],
            "form": ["8-K", "10-K"],
            "items": ["2.02,9.01", ""],
        }
    },
}
_ROW = {
    "end": "2025-12-31",
    "accn": "0000000042-26-000001",
    "fy": 2025,
    "fp": "FY",
    "form": "10-K",
    "filed": "2026-02-01",
}
_FLOW = [_ROW | {"start": "2025-01-01", "val": 10}, _ROW | {"start": "2025-01-01", "end": "2025-09-30", "val": 7.5}]
SMALL_FACTS: dict[str, Any] = {
    "cik": 42,
    "entityName": "Small",
    "facts": {
        "us-gaap": {
            "Revenues": {"units": {"USD": _FLOW}},
            "NetIncomeLoss": {"units": {"USD": _FLOW}},
            "StockholdersEquity": {"units": {"USD": [_ROW | {"val": 5}]}},
            "EarningsPerShareDiluted": {"units": {"USD/shares": _FLOW}},
            "LongTermDebtNoncurrent": {"units": {"USD": [_ROW | {"val": 3}]}},
        }
    },
}
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(
        ["9999-12-31", "0001-01-01", "2025-12-31", "2025-02-30", "1e5", "-1", "1" * 5_000, 10**40, -(10**29)]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(body=st.binary(max_size=200))
def test_it_survives_any_bytes(body: bytes) -> None:
    _read_all(body, body, body)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_it_survives_any_mutation_of_a_good_answer(data: st.DataObject) -> None:
    mutated = []
    for good in ({"0": {"cik_str": 42, "ticker": "SMLL"}}, SMALL_SUBMISSIONS, SMALL_FACTS):
        body = good
        for _ in range(data.draw(st.integers(1, 3))):
            body = _mutate(body, data)
        mutated.append(json.dumps(body).encode())
    _read_all(*mutated)


def _mutate(value: Any, data: st.DataObject) -> Any:
    """A copy in which one value, at any depth, is another."""
    if not isinstance(value, (dict, list)) or not value or data.draw(st.integers(0, 7)) == 0:
        return data.draw(json_values)
    if isinstance(value, list):
        at = data.draw(st.integers(0, len(value) - 1))
        return [*value[:at], _mutate(value[at], data), *value[at + 1 :]]
    key = data.draw(st.sampled_from(sorted(value)))
    return value | {key: _mutate(value[key], data)}


def _read_all(tickers: bytes, submissions: bytes, facts: bytes) -> None:
    """Every parser gives records or a ``ParseError``, and the records survive being stored."""
    for parse, body in ((parse_tickers, tickers), (parse_submissions, submissions)):
        with suppress(ParseError):
            parse(body)
    with suppress(ParseError):
        parsed = parse_company_facts(facts, CONCEPTS)
        said = read_earnings(parsed, no_submissions(parsed.cik), origin)
        assert EarningsData.model_validate_json(said.model_dump_json()).model_dump_json() == said.model_dump_json()
        metrics = read_fundamentals(parsed, origin)
        assert FundamentalsData.model_validate_json(metrics.model_dump_json()).metrics.keys() == metrics.metrics.keys()


def origin(accession: str | None) -> Provenance:
    return Provenance(
        source="edgar", accession=accession, fetched_at="2026-01-01T00:00:00Z", call_id="1", kind=Kind.FILING
    )


def no_submissions(cik: int) -> Submissions:
    return Submissions(cik, "", (), ())


def recorded(name: str) -> bytes:
    path = RECORDED / name
    if not path.exists():
        pytest.skip(f"the recording {name} is not here")
    return gzip.decompress(path.read_bytes())


@cache
def facts_of(cik: int) -> CompanyFacts:
    return parse_company_facts(recorded(f"companyfacts/CIK{cik:010d}.json.gz"), CONCEPTS)


@cache
def reports_of(symbol: str) -> tuple[Report, ...]:
    facts = facts_of(CIKS[symbol])
    assert facts.cik == CIKS[symbol]
    return read_earnings(facts, no_submissions(facts.cik), origin).reports


def ground_truth(symbol: str) -> Iterator[Row]:
    if not GROUND_TRUTH.exists():
        pytest.skip("the table of recorded figures is not here")
    section = GROUND_TRUTH.read_text("utf-8").split(f"\n## {symbol} ")[1].split("\n## ")[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 6 and " ending " in cells[0]:
            kind, end = cells[0].split(" ending ")
            start = cells[1].split("..")[0] if ".." in cells[1] else None
            yield Row(kind, date.fromisoformat(end), date.fromisoformat(start) if start else None, *cells[2:])


def _report(symbol: str, row: Row) -> Report:
    kind = "year" if row.kind == "FY" else "quarter"
    (report,) = (r for r in reports_of(symbol) if r.period_end == row.end and r.kind == kind)
    return report


def _said(symbol: str, row: Row) -> Decimal | None:
    fields = {
        "revenue USD": "revenue",
        "net income USD": "net_income",
        "diluted EPS USD/share": "eps_diluted",
        "gross profit USD": "gross_profit",
        "total debt USD": "total_debt",
        "equity USD": "equity",
    }
    return _expected(row) if row.metric == "gross margin %" else getattr(_report(symbol, row), fields[row.metric])


def _expected(row: Row) -> Decimal | None:
    return None if row.value == "null" or row.value.startswith("NOT REPORTED") else Decimal(row.value.replace(",", ""))
