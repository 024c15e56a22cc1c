"""What debt is filed under: the lines of a balance sheet and of the notes to it, as the taxonomies name them."""

from __future__ import annotations

from scheduler_service.parsers.xbrl import Concept


def _us_gaap(*tags: str) -> Concept:
    return Concept(tuple(f"us-gaap:{tag}" for tag in tags))


def _ifrs(*tags: str) -> Concept:
    return Concept(tuple(f"ifrs-full:{tag}" for tag in tags))


LONG_TERM_DEBT = _us_gaap("LongTermDebtNoncurrent")
LONG_TERM_DEBT_AND_LEASES = _us_gaap("LongTermDebtAndCapitalLeaseObligations")
KINDS_OF_LONG_TERM_DEBT = (
    _us_gaap("ConvertibleDebtNoncurrent", "ConvertibleLongTermNotesPayable"),
    _us_gaap("LongTermNotesPayable", "SeniorLongTermNotes", "LongTermNotesAndLoans"),
    _us_gaap("LongTermLoansPayable", "LongTermLoansFromBank", "NotesPayableToBankNoncurrent"),
    _us_gaap("LongTermLineOfCredit"),
    _us_gaap("SecuredLongTermDebt"),
    _us_gaap("UnsecuredLongTermDebt"),
    _us_gaap("SubordinatedLongTermDebt", "ConvertibleSubordinatedDebtNoncurrent"),
    _us_gaap("LongTermTransitionBond"),
    _us_gaap("NotesPayableRelatedPartiesNoncurrent"),
    _us_gaap("OtherLongTermDebtNoncurrent"),
)
"""Each may be all of it or a part, and beside a line for long-term debt a part of that or another line."""
CURRENT_DEBT = _us_gaap("DebtCurrent")
CURRENT_PART = _us_gaap("LongTermDebtCurrent")
CURRENT_PART_AND_LEASES = _us_gaap("LongTermDebtAndCapitalLeaseObligationsCurrent")
KINDS_OF_CURRENT_PART = (
    _us_gaap("ConvertibleDebtCurrent", "ConvertibleNotesPayableCurrent"),
    _us_gaap("SecuredDebtCurrent"),
    _us_gaap("UnsecuredDebtCurrent"),
    _us_gaap("SeniorNotesCurrent"),
    _us_gaap("SubordinatedDebtCurrent"),
    _us_gaap("MediumtermNotesCurrent"),
    _us_gaap("OtherLongTermDebtCurrent"),
)
"""Beside the current part of long-term debt, a part of it or another line."""
SHORT_TERM_BORROWINGS = _us_gaap("ShortTermBorrowings", "LoansPayableCurrent", "NotesPayableCurrent")
NOTES_AND_LOANS = _us_gaap("NotesAndLoansPayable")
"""Short-term borrowings where they stand beside long-term debt and are less than it; else all debt."""
COMMERCIAL_PAPER = _us_gaap("CommercialPaper")
KINDS_OF_SHORT_TERM_BORROWINGS = (
    COMMERCIAL_PAPER,
    _us_gaap("OtherShortTermBorrowings"),
    _us_gaap("ShortTermBankLoansAndNotesPayable"),
    _us_gaap("ShortTermNonBankLoansAndNotesPayable"),
)
"""Held by short-term borrowings where those are stated; beside each other they add up."""
COMMERCIAL_PAPER_ISSUED = _us_gaap("ProceedsFromRepaymentsOfCommercialPaper")
ANY_CURRENT_DEBT = (
    _us_gaap("NotesAndLoansPayableCurrent"),
    _us_gaap("LinesOfCreditCurrent"),
    _us_gaap("LoansPayableToBankCurrent", "NotesPayableToBankCurrent"),
    _us_gaap("OtherNotesPayableCurrent", "OtherLoansPayableCurrent"),
    _us_gaap("NotesPayableRelatedPartiesClassifiedCurrent"),
    _us_gaap("LongtermTransitionBondCurrent"),
)
"""Some companies mean all of their current debt, some a line beside the others."""
WHOLE_LONG_TERM_DEBT = _us_gaap("LongTermDebt")
WHOLE_DEBT = _us_gaap("DebtLongtermAndShorttermCombinedAmount", "DebtAndCapitalLeaseObligations")
PRINCIPAL = _us_gaap("DebtInstrumentCarryingAmount")
"""Of all debt, or of one loan: it only tells which of two sums is meant."""
ONE_KIND_OF_DEBT = tuple(
    _us_gaap(tag)
    for tag in ("SeniorNotes", "ConvertibleNotesPayable", "ConvertibleDebt", "NotesPayable", "LoansPayable")
)
"""With its current part; often told in a note, of a part of the lines above."""
OTHER_KINDS_OF_DEBT = tuple(
    _us_gaap(tag)
    for tag in (
        "SecuredDebt",
        "UnsecuredDebt",
        "SubordinatedDebt",
        "JuniorSubordinatedNotes",
        "MediumtermNotes",
        "LineOfCredit",
        "LoansPayableToBank",
        "NotesPayableToBank",
        "OtherNotesPayable",
        "OtherLongTermDebt",
        "OtherBorrowings",
    )
)
"""Their like; they are only looked at as signs that one kind is not all."""

BORROWINGS = _ifrs("Borrowings")
NONCURRENT_BORROWINGS = _ifrs("LongtermBorrowings")
KINDS_OF_NONCURRENT_BORROWINGS = (
    _ifrs("NoncurrentPortionOfNoncurrentBondsIssued"),
    _ifrs("NoncurrentPortionOfNoncurrentNotesAndDebenturesIssued"),
    _ifrs("NoncurrentPortionOfNoncurrentLoansReceived"),
    _ifrs("NoncurrentPortionOfNoncurrentCommercialPapersIssued"),
    _ifrs("NoncurrentPortionOfOtherNoncurrentBorrowings"),
)
BONDS_ISSUED = _ifrs("BondsIssued")
"""With their current part."""
CURRENT_BORROWINGS = _ifrs("CurrentBorrowingsAndCurrentPortionOfNoncurrentBorrowings")
KINDS_OF_CURRENT_BORROWINGS = (_ifrs("ShorttermBorrowings"), _ifrs("CurrentPortionOfLongtermBorrowings"))
NONCURRENT_LIABILITIES = _ifrs("NoncurrentLiabilities")
OTHER_NONCURRENT_LIABILITIES = (_ifrs("DeferredTaxLiabilities"), _ifrs("NoncurrentLeaseLiabilities"))
LINES = (
    LONG_TERM_DEBT,
    LONG_TERM_DEBT_AND_LEASES,
    *KINDS_OF_LONG_TERM_DEBT,
    CURRENT_DEBT,
    CURRENT_PART,
    CURRENT_PART_AND_LEASES,
    *KINDS_OF_CURRENT_PART,
    SHORT_TERM_BORROWINGS,
    NOTES_AND_LOANS,
    *KINDS_OF_SHORT_TERM_BORROWINGS,
    COMMERCIAL_PAPER_ISSUED,
    *ANY_CURRENT_DEBT,
    WHOLE_LONG_TERM_DEBT,
    WHOLE_DEBT,
    BORROWINGS,
    NONCURRENT_BORROWINGS,
    *KINDS_OF_NONCURRENT_BORROWINGS,
    BONDS_ISSUED,
    CURRENT_BORROWINGS,
    *KINDS_OF_CURRENT_BORROWINGS,
    NONCURRENT_LIABILITIES,
    *OTHER_NONCURRENT_LIABILITIES,
)
"""Where one of them cannot be read, no total is known."""
DEBT = (*LINES, PRINCIPAL, *ONE_KIND_OF_DEBT, *OTHER_KINDS_OF_DEBT)
"""All that ``total_debt`` looks at."""
