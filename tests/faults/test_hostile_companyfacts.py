"""Companyfacts of more rows than any company files: what they cost is counted in lines that are run, not in time."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

import pytest

from scheduler_service.errors import ParseError
from scheduler_service.models import Kind, Provenance, Reason
from scheduler_service.parsers import earnings, fundamental_analysis
from scheduler_service.parsers.debt import total_debt
from scheduler_service.parsers.earnings import read_earnings
from scheduler_service.parsers.fundamental_analysis import read_fundamentals
from scheduler_service.parsers.statements import equity
from scheduler_service.parsers.submissions import Submissions
from scheduler_service.parsers.xbrl import MOST_ROWS, CompanyFacts, parse_company_facts
from tests.lines_run import lines_run

FEW, MANY = 150, 600
MOST_GROWTH = 1.6
"""Times what is linear: a square would be four times that."""
INCOME, DEBT, PAPER = "NetIncomeLoss", "LongTermDebtNoncurrent", "ProceedsFromRepaymentsOfCommercialPaper"
CONCEPTS = (*earnings.CONCEPTS, *fundamental_analysis.CONCEPTS)
GROUP_EQUITY = "StockholdersEquityIncludingPortionAttributableToNoncontrollingInterest"


def day(n: int) -> str:
    return (date(1960, 1, 1) + timedelta(days=n)).isoformat()


def row(start: int | None, end: int, value: int, filing: int = 1) -> dict[str, Any]:
    told = {"end": day(end), "val": value, "accn": f"{filing:010d}-25-000001", "form": "10-K", "filed": "2025-02-01"}
    return told | ({} if start is None else {"start": day(start)})


def quarters(n: int) -> list[dict[str, Any]]:
    return [row(i, i + 89, i + 1) for i in range(n)]


def balance(n: int, value: int) -> list[dict[str, Any]]:
    return [row(None, i + 89, value) for i in range(n)]


def without_start(n: int) -> list[dict[str, Any]]:
    """To one day, and as many to the day before its last quarter: each two of one start leave that quarter."""
    return [row(i, end, i + end) for i in range(n // 2) for end in (20_000, 19_910)]


SHAPES: dict[str, Callable[[int], dict[str, list[dict[str, Any]]]]] = {
    "each contradicted": lambda n: {INCOME: [row(i // 2, i // 2 + 89, 7 + i % 2) for i in range(n)]},
    "one period": lambda n: {INCOME: [row(0, 89, i, i) for i in range(n)]},
    "one value": lambda n: {tag: [row(0, 89, 5, i) for i in range(n)] for tag in ("Revenues", INCOME)},
    "one start": lambda n: {INCOME: [row(0, 7 * i, i) for i in range(n)]},
    "one end": lambda n: {INCOME: [row(i, 20_000, i) for i in range(n)]},
    "one quarter in many ways": lambda n: dict.fromkeys(("Revenues", "SalesRevenueNet", INCOME), without_start(n)),
    "a quarter a day": lambda n: {INCOME: quarters(n)},
    "earnings per share": lambda n: {"EarningsPerShareDiluted": [row(0, 89, i, i) for i in range(n)]},
}


DAYS: dict[str, tuple[Callable[[CompanyFacts, date], object], Callable[[int], dict[str, list[dict[str, Any]]]]]] = {
    "paper": (total_debt, lambda n: {DEBT: balance(n, 9), PAPER: [r | {"val": 0} for r in quarters(n)]}),
    "minorities": (
        equity,
        lambda n: {GROUP_EQUITY: balance(n, 9), "MinorityInterest": [row(None, 9_000 + i, 0) for i in range(n)]},
    ),
}
"""What is looked for at the end of each of many periods."""


def body_of(tags: dict[str, list[dict[str, Any]]]) -> bytes:
    units = {tag: {"units": {"USD/shares" if "PerShare" in tag else "USD": rows}} for tag, rows in tags.items()}
    return json.dumps({"cik": 42, "entityName": "Small", "facts": {"us-gaap": units}}).encode()


def origin(accession: str | None) -> Provenance:
    return Provenance(source="edgar", accession=accession, fetched_at="", call_id="1", kind=Kind.FILING)


def read_all(body: bytes) -> None:
    facts = parse_company_facts(body, CONCEPTS)
    read_fundamentals(facts, origin)
    read_earnings(facts, Submissions(42, "Small", (), ()), origin)


def cost(read: Callable[[], object]) -> int:
    with lines_run() as lines, suppress(ParseError):
        read()
    return lines()


def assert_linear(cost_of: Callable[[int], int]) -> None:
    idle = cost_of(4)
    assert cost_of(MANY) - idle <= (cost_of(FEW) - idle) * MANY / FEW * MOST_GROWTH


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_cost_their_number_and_not_its_square(shape: str) -> None:
    def cost_of(n: int) -> int:
        body = body_of(SHAPES[shape](n))
        return cost(lambda: read_all(body))

    assert_linear(cost_of)


@pytest.mark.parametrize("shape", DAYS)
def test_a_look_at_each_of_many_days_does_not_go_through_all_rows(shape: str) -> None:
    look, make = DAYS[shape]

    def cost_of(n: int) -> int:
        facts = parse_company_facts(body_of(make(n) | {INCOME: quarters(n)}), CONCEPTS)
        return cost(lambda: [look(facts, date.fromisoformat(day(i + 89))) for i in range(n)])

    assert_linear(cost_of)


def test_a_tag_of_more_rows_than_any_company_files_says_nothing_and_the_others_do() -> None:
    year = [row(i * 366, i * 366 + 364, i + 1) for i in range(5)]
    body = body_of({"Revenues": [*year, *([row(0, 89, 5)] * MOST_ROWS)], "SalesRevenueNet": year, INCOME: year})
    facts = parse_company_facts(body, earnings.CONCEPTS)
    reports = read_earnings(facts, Submissions(42, "Small", (), ()), origin).reports
    assert [report.net_income for report in reports] == [5, 4, 3, 2, 1]
    assert {report.revenue for report in reports} == {None}


def test_companyfacts_of_nothing_but_too_many_rows_are_refused() -> None:
    body = body_of({INCOME: [row(i // 2, i // 2 + 89, 7 + i % 2) for i in range(MOST_ROWS + 1)]})
    with pytest.raises(ParseError) as caught:
        parse_company_facts(body, earnings.CONCEPTS)
    assert caught.value.reason is Reason.NO_DATA
