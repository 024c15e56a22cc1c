"""Debt has no single tag: lines of invented balance sheets, notes beside them, and what they add up to."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from scheduler_service.parsers import earnings
from scheduler_service.parsers.earnings import read_earnings
from scheduler_service.parsers.submissions import Submissions
from scheduler_service.parsers.xbrl import parse_company_facts
from tests.unit.test_edgar_shapes import said, year_of
from tests.unit.test_edgar_traps import AT_YEAR_END, YEAR, origin, row


@pytest.mark.parametrize(
    ("lines", "debt"),
    [
        ({"LongTermDebtAndCapitalLeaseObligations": 36, "NotesAndLoansPayableCurrent": 5}, 41),
        ({"LongTermDebtNoncurrent": 36, "NotesAndLoansPayableCurrent": 5, "LongTermDebtCurrent": 3}, None),
        ({"LongTermDebtNoncurrent": 36, "NotesAndLoansPayableCurrent": 5, "LongTermDebtCurrent": 5}, 41),
        ({"LongTermDebtNoncurrent": 36, "LinesOfCreditCurrent": 0, "LongTermDebtCurrent": 3}, 39),
        ({"LongTermDebtNoncurrent": 36, "LinesOfCreditCurrent": 5, "DebtCurrent": 8}, 44),
        ({"LongTermDebtNoncurrent": 36, "LongTermDebtCurrent": 3, "SeniorNotesCurrent": 2}, None),
        ({"LongTermDebt": 39, "LongTermDebtNoncurrent": 36, "LongTermDebtCurrent": 3, "SeniorNotesCurrent": 2}, 39),
        ({"LongTermDebtNoncurrent": 36, "LongTermDebtCurrent": 3, "LoansPayableToBankCurrent": 2}, None),
        ({"LongTermDebtNoncurrent": 36, "SeniorNotesCurrent": 2}, 38),
        ({"LongTermDebtNoncurrent": 36, "SeniorNotesCurrent": 2, "SecuredDebtCurrent": 1}, None),
        ({"LongTermDebtNoncurrent": 36, "ShortTermBankLoansAndNotesPayable": 4, "CommercialPaper": 6}, 46),
        ({"LongTermDebtNoncurrent": 36, "ShortTermBorrowings": 10, "ShortTermBankLoansAndNotesPayable": 4}, 46),
        ({"LongTermDebt": 36, "NotesAndLoansPayableCurrent": 5}, None),
        ({"NotesPayableCurrent": 10, "LongTermNotesPayable": 76}, 86),
        ({"LongTermLoansFromBank": 50, "UnsecuredLongTermDebt": 90, "UnsecuredDebtCurrent": 5}, None),
        ({"LongTermNotesAndLoans": 76, "NotesPayableCurrent": 10}, 86),
    ],
)
def test_the_current_part_of_debt_is_added_once_under_any_name(lines: dict[str, int], debt: int | None) -> None:
    assert year_of({"Revenues": 100} | lines).total_debt == debt


@pytest.mark.parametrize(
    ("lines", "debt"),
    [
        ({"LongTermDebtNoncurrent": 10, "ConvertibleDebtNoncurrent": 80, "LongTermDebtCurrent": 5}, 95),
        ({"LongTermDebtNoncurrent": 80, "ConvertibleDebtNoncurrent": 10, "LongTermDebtCurrent": 5}, None),
        ({"LongTermDebtNoncurrent": 80, "ConvertibleDebtNoncurrent": 10, "LongTermDebt": 80}, 80),
        ({"LongTermDebtNoncurrent": 80, "ConvertibleDebtNoncurrent": 10, "LongTermDebt": 90}, 90),
        ({"LongTermDebtNoncurrent": 80, "ConvertibleDebtNoncurrent": 30, "LongTermDebt": 95}, None),
        ({"LongTermDebtNoncurrent": 80, "SecuredLongTermDebt": 50, "UnsecuredLongTermDebt": 29}, 80),
        ({"ConvertibleDebtNoncurrent": 20, "LongTermNotesPayable": 70, "DebtCurrent": 5, "LongTermDebt": 95}, 95),
        ({"ConvertibleDebtNoncurrent": 20, "LongTermNotesPayable": 70, "DebtCurrent": 5, "LongTermDebt": 70}, None),
    ],
)
def test_a_kind_of_long_term_debt_is_a_part_or_another_line_as_the_whole_tells(
    lines: dict[str, int], debt: int | None
) -> None:
    assert year_of({"Revenues": 100} | lines).total_debt == debt


@pytest.mark.parametrize(
    ("lines", "debt"),
    [
        ({"ShortTermBorrowings": 8_945, "LongTermDebtAndCapitalLeaseObligationsCurrent": 8_944}, 64_945),
        ({"ShortTermBorrowings": 8_945, "LongTermDebtCurrent": 7_000, "DebtInstrumentCarryingAmount": 65_800}, 64_945),
        ({"ShortTermBorrowings": 8_945, "LongTermDebtCurrent": 7_000, "DebtInstrumentCarryingAmount": 73_000}, 71_945),
        ({"ShortTermBorrowings": 8_945, "LongTermDebtCurrent": 7_000}, 71_945),
        ({"ShortTermBorrowings": 150, "LongTermDebtCurrent": 7_000, "DebtInstrumentCarryingAmount": 56_000}, 63_150),
        ({"CommercialPaper": 9_000, "LongTermDebtCurrent": 7_000, "DebtInstrumentCarryingAmount": 65_000}, 72_000),
        ({"NotesAndLoansPayable": 4_000, "LongTermDebtCurrent": 91, "CommercialPaper": 3_700}, 60_091),
        ({"NotesAndLoansPayable": 60_000, "LongTermDebtCurrent": 91}, None),
    ],
)
def test_borrowings_that_hold_the_current_part_of_long_term_debt_are_not_added_to_it(
    lines: dict[str, int], debt: int | None
) -> None:
    assert year_of({"Revenues": 100, "LongTermDebtNoncurrent": 56_000} | lines).total_debt == debt


@pytest.mark.parametrize(
    ("lines", "debt"),
    [
        ({"LongTermDebt": 4_129, "DebtCurrent": 1_499, "DebtInstrumentCarryingAmount": 5_650}, 5_628),
        ({"LongTermDebt": 5_628, "DebtCurrent": 1_499, "DebtInstrumentCarryingAmount": 5_650}, 5_628),
        ({"LongTermDebt": 4_129, "DebtCurrent": 1_499, "DebtInstrumentCarryingAmount": 900}, None),
        ({"LongTermDebt": 4_129, "DebtCurrent": 1_499}, None),
        ({"LongTermDebt": 4_129, "DebtCurrent": 0}, 4_129),
        ({"DebtAndCapitalLeaseObligations": 4_129}, 4_129),
    ],
)
def test_long_term_debt_may_leave_out_its_current_part_as_the_principal_tells(
    lines: dict[str, int], debt: int | None
) -> None:
    assert year_of({"Revenues": 100} | lines).total_debt == debt


@pytest.mark.parametrize(
    ("lines", "debt"),
    [
        ({"Borrowings": 95, "LongtermBorrowings": 80, "CurrentPortionOfLongtermBorrowings": 5}, 95),
        ({"LongtermBorrowings": 80, "CurrentBorrowingsAndCurrentPortionOfNoncurrentBorrowings": 15}, 95),
        ({"LongtermBorrowings": 80, "ShorttermBorrowings": 10, "CurrentPortionOfLongtermBorrowings": 5}, 95),
        ({"LongtermBorrowings": 80, "ShorttermBorrowings": 0}, 80),
        ({"LongtermBorrowings": 80}, None),
        (
            {
                "NoncurrentPortionOfNoncurrentBondsIssued": 914,
                "LongtermBorrowings": 4,
                "CurrentPortionOfLongtermBorrowings": 9,
            },
            927,
        ),
        (
            {
                "NoncurrentPortionOfNoncurrentBondsIssued": 60,
                "NoncurrentPortionOfNoncurrentLoansReceived": 20,
                "LongtermBorrowings": 80,
                "ShorttermBorrowings": 10,
            },
            90,
        ),
        (
            {
                "NoncurrentPortionOfNoncurrentBondsIssued": 60,
                "NoncurrentPortionOfNoncurrentLoansReceived": 20,
                "CurrentPortionOfLongtermBorrowings": 3,
            },
            83,
        ),
        (
            {
                "NoncurrentPortionOfNoncurrentBondsIssued": 60,
                "LongtermBorrowings": 80,
                "ShorttermBorrowings": 10,
            },
            None,
        ),
        ({"BondsIssued": 914, "LongtermBorrowings": 4, "ShorttermBorrowings": 10}, 928),
        (
            {
                "BondsIssued": 914,
                "LongtermBorrowings": 4,
                "ShorttermBorrowings": 10,
                "CurrentPortionOfLongtermBorrowings": 9,
            },
            None,
        ),
        ({"ShorttermBorrowings": 10}, None),
        (
            {
                "LongtermBorrowings": 80,
                "CurrentPortionOfLongtermBorrowings": 5,
                "NoncurrentLiabilities": 99,
                "DeferredTaxLiabilities": 15,
                "NoncurrentLeaseLiabilities": 4,
            },
            85,
        ),
        (
            {
                "LongtermBorrowings": 80,
                "CurrentPortionOfLongtermBorrowings": 5,
                "NoncurrentLiabilities": 94,
                "DeferredTaxLiabilities": 15,
                "NoncurrentLeaseLiabilities": 4,
            },
            None,
        ),
    ],
)
def test_the_debt_of_a_foreign_company_is_the_sum_of_what_it_owes(lines: dict[str, int], debt: int | None) -> None:
    year = year_of({"Revenue": 2894, "ProfitLossAttributableToOwnersOfParent": 1173} | lines, "TWD", "ifrs-full")
    assert year.total_debt == debt
    assert year.currency == "TWD"


@pytest.mark.parametrize(
    ("lines", "debt"),
    [
        ({"LongTermDebtNoncurrent": 300, "LongTermDebtAndCapitalLeaseObligationsCurrent": 55}, None),
        ({"LongTermDebtNoncurrent": 300, "LongTermDebtAndCapitalLeaseObligationsCurrent": 0}, 300),
        ({"LongTermDebtNoncurrent": 300, "LongTermDebtAndCapitalLeaseObligationsCurrent": 55, "DebtCurrent": 50}, 350),
        (
            {"LongTermDebtNoncurrent": 300, "LongTermDebtAndCapitalLeaseObligationsCurrent": 55, "LongTermDebt": 355},
            355,
        ),
        (
            {"LongTermDebtNoncurrent": 300, "LongTermDebtAndCapitalLeaseObligationsCurrent": 55, "LongTermDebt": 350},
            None,
        ),
        (
            {
                "LongTermDebtNoncurrent": 300,
                "LongTermDebtAndCapitalLeaseObligationsCurrent": 55,
                "LongTermDebtCurrent": 50,
            },
            350,
        ),
        ({"LongTermDebtAndCapitalLeaseObligations": 310, "LongTermDebtCurrent": 50}, None),
        ({"LongTermDebtAndCapitalLeaseObligations": 310, "LongTermDebtCurrent": 0}, 310),
        ({"LongTermDebtAndCapitalLeaseObligations": 310, "LongTermDebtCurrent": 50, "LongTermDebt": 360}, 360),
        (
            {
                "LongTermDebtAndCapitalLeaseObligations": 310,
                "LongTermDebtAndCapitalLeaseObligationsCurrent": 55,
                "LongTermDebtCurrent": 50,
            },
            365,
        ),
        (
            {
                "LongTermDebtAndCapitalLeaseObligations": 310,
                "LongTermDebtNoncurrent": 300,
                "LongTermDebtCurrent": 50,
                "LongTermDebtAndCapitalLeaseObligationsCurrent": 55,
            },
            350,
        ),
        ({"SecuredLongTermDebt": 30, "LongTermDebtAndCapitalLeaseObligationsCurrent": 4}, None),
        ({"LongTermDebt": 350, "LongTermDebtAndCapitalLeaseObligationsCurrent": 55}, None),
    ],
)
def test_lines_with_leases_and_without_are_not_added_up(lines: dict[str, int], debt: int | None) -> None:
    assert year_of({"Revenues": 100} | lines).total_debt == debt


@pytest.mark.parametrize(
    ("lines", "debt"),
    [
        ({"SeniorNotes": 500}, 500),
        ({"ConvertibleNotesPayable": 40}, 40),
        ({"NotesPayable": 12}, 12),
        ({"NotesPayable": 0}, None),
        ({"SeniorNotes": 500, "DebtInstrumentCarryingAmount": 510}, 500),
        ({"SeniorNotes": 500, "DebtInstrumentCarryingAmount": 700}, None),
        ({"SeniorNotes": 500, "ConvertibleNotesPayable": 40}, None),
        ({"SeniorNotes": 500, "LineOfCredit": 20}, None),
        ({"SeniorNotes": 500, "LineOfCredit": 0}, 500),
        ({"SeniorNotes": 500, "SeniorNotesCurrent": 20}, None),
        ({"SeniorNotes": 500, "DebtCurrent": 20}, None),
        ({"NotesPayable": 12, "ShortTermBorrowings": 5}, None),
        ({"NotesPayable": 12, "LongTermNotesPayable": 10}, 10),
        ({"SeniorNotes": 500, "LongTermDebtNoncurrent": 700}, 700),
        ({"SeniorNotes": 500, "LongTermDebt": 900}, 900),
        ({"SecuredDebt": 500}, None),
        ({"LineOfCredit": 20}, None),
        ({"DebtCurrent": 20}, None),
        ({"ShortTermBorrowings": 20}, None),
        ({"LongTermNotesPayable": 76, "DebtCurrent": 10}, 86),
        ({"SeniorLongTermNotes": 76, "DebtCurrent": 10}, 86),
    ],
)
def test_notes_of_one_kind_are_all_debt_where_no_other_is_told(lines: dict[str, int], debt: int | None) -> None:
    assert year_of({"Revenues": 100} | lines).total_debt == debt


def test_notes_are_not_all_debt_where_the_line_for_it_is_missing_this_once() -> None:
    """It stood in the balance sheet of the year before."""
    before = said((None, "2023-12-31"), 700, "2024-02-01")
    assert year_of({"Revenues": 100, "SeniorNotes": 500, "LongTermDebtNoncurrent": [before]}).total_debt is None
    assert year_of({"Revenues": 100, "SeniorNotes": 500, "LongTermDebtNoncurrent": [before | {"val": 0}]}).total_debt


@pytest.mark.parametrize("tag", ["SeniorNotes", "LineOfCredit"])
def test_a_note_that_cannot_be_read_costs_the_lines_of_the_balance_sheet_nothing(tag: str) -> None:
    unread = [said(AT_YEAR_END, 10), said(AT_YEAR_END, 25)]
    assert year_of({"Revenues": 100, "LongTermDebtNoncurrent": 300, tag: unread}).total_debt == 300
    assert year_of({"Revenues": 100, "NotesPayable": 12, tag: unread}).total_debt is None


@pytest.mark.parametrize("tag", ["ConvertibleDebtNoncurrent", "CommercialPaper", "SeniorNotesCurrent"])
def test_a_row_in_no_currency_costs_its_own_day_and_no_other(tag: str) -> None:
    """Years ago somebody filed a ratio under a tag of debt."""
    balance = {"LongTermDebtNoncurrent": 300, "LongTermDebtCurrent": 50}
    made = {name: {"label": None, "units": {"USD": [row(AT_YEAR_END, val)]}} for name, val in balance.items()}
    made["Revenues"] = {"label": None, "units": {"USD": [row(YEAR, 100)]}}

    def debt(at: tuple[str | None, str]) -> Decimal | None:
        facts = {"us-gaap": {**made, tag: {"label": None, "units": {"pure": [row(at, 1)]}}}}
        body = json.dumps({"cik": 42, "entityName": "Small", "facts": facts}).encode()
        data = read_earnings(parse_company_facts(body, earnings.CONCEPTS), Submissions(42, "Small", (), ()), origin)
        return data.reports[0].total_debt

    assert debt((None, "2012-12-31")) == 350
    assert debt(AT_YEAR_END) is None
