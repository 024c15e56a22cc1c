"""The figures of a company's statements: their tags, and the two that have no single one (gross profit, debt)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from scheduler_service.models import Provenance
from scheduler_service.parsers.series import Figure
from scheduler_service.parsers.xbrl import Concept, Measure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from scheduler_service.parsers.series import Fact, FiledIn
    from scheduler_service.parsers.xbrl import CompanyFacts

Origin: TypeAlias = Callable[[str | None], Provenance]
"""The provenance of what a filing, named by its accession number, says; of the whole answer for None."""

REVENUE = Concept(
    (
        "us-gaap:RevenuesNetOfInterestExpense",
        "us-gaap:Revenues",
        "us-gaap:RevenueFromContractWithCustomerExcludingAssessedTax",
        "us-gaap:RevenueFromContractWithCustomerIncludingAssessedTax",
        "us-gaap:SalesRevenueNet",
        "us-gaap:SalesRevenueGoodsNet",
        "ifrs-full:Revenue",
        "ifrs-full:RevenueFromContractsWithCustomers",
    )
)
COST_OF_REVENUE = Concept(
    ("us-gaap:CostOfRevenue", "us-gaap:CostOfGoodsAndServicesSold", "us-gaap:CostOfGoodsSold", "ifrs-full:CostOfSales")
)
GROSS_PROFIT = Concept(("us-gaap:GrossProfit", "ifrs-full:GrossProfit"))
OPERATING_INCOME = Concept(("us-gaap:OperatingIncomeLoss", "ifrs-full:ProfitLossFromOperatingActivities"))
# What belongs to the shareholders of the company comes first: the profit of the group also holds that of minorities.
NET_INCOME = Concept(
    (
        "us-gaap:NetIncomeLoss",
        "us-gaap:ProfitLoss",
        "ifrs-full:ProfitLossAttributableToOwnersOfParent",
        "ifrs-full:ProfitLoss",
    )
)
EPS_DILUTED = Concept(
    (
        "us-gaap:EarningsPerShareDiluted",
        "us-gaap:EarningsPerShareBasicAndDiluted",
        "ifrs-full:DilutedEarningsLossPerShare",
    ),
    Measure.PER_SHARE,
)
SHARES_DILUTED = Concept(
    (
        "us-gaap:WeightedAverageNumberOfDilutedSharesOutstanding",
        "us-gaap:WeightedAverageNumberOfShareOutstandingBasicAndDiluted",
        "ifrs-full:AdjustedWeightedAverageShares",
    ),
    Measure.SHARES,
)
EQUITY = Concept(
    (
        "us-gaap:StockholdersEquity",
        "us-gaap:StockholdersEquityIncludingPortionAttributableToNoncontrollingInterest",
        "ifrs-full:EquityAttributableToOwnersOfParent",
        "ifrs-full:Equity",
    )
)
CASH = Concept(
    (
        "us-gaap:CashAndCashEquivalentsAtCarryingValue",
        "us-gaap:CashCashEquivalentsRestrictedCashAndRestrictedCashEquivalents",
        "ifrs-full:CashAndCashEquivalents",
    )
)
OPERATING_CASH_FLOW = Concept(
    (
        "us-gaap:NetCashProvidedByUsedInOperatingActivities",
        "us-gaap:NetCashProvidedByUsedInOperatingActivitiesContinuingOperations",
        "ifrs-full:CashFlowsFromUsedInOperatingActivities",
    )
)
CAPITAL_EXPENDITURE = Concept(
    (
        "us-gaap:PaymentsToAcquirePropertyPlantAndEquipment",
        "us-gaap:PaymentsToAcquireProductiveAssets",
        "ifrs-full:PurchaseOfPropertyPlantAndEquipmentClassifiedAsInvestingActivities",
    )
)
LONG_TERM_DEBT = Concept(
    (
        "us-gaap:LongTermDebtNoncurrent",
        "us-gaap:LongTermDebtAndCapitalLeaseObligations",
        "us-gaap:LongTermNotesPayable",
        "us-gaap:ConvertibleLongTermNotesPayable",
        "us-gaap:ConvertibleDebtNoncurrent",
        "ifrs-full:LongtermBorrowings",
    )
)
CURRENT_DEBT = Concept(("us-gaap:DebtCurrent",))
CURRENT_PART_OF_LONG_TERM_DEBT = Concept(
    ("us-gaap:LongTermDebtCurrent", "us-gaap:ConvertibleDebtCurrent", "ifrs-full:CurrentPortionOfLongtermBorrowings")
)
SHORT_TERM_BORROWINGS = Concept(("us-gaap:ShortTermBorrowings", "ifrs-full:ShorttermBorrowings"))
COMMERCIAL_PAPER = Concept(("us-gaap:CommercialPaper",))
WHOLE_LONG_TERM_DEBT = Concept(("us-gaap:LongTermDebt",))
WHOLE_DEBT = Concept(("us-gaap:DebtLongtermAndShorttermCombinedAmount",))
BORROWINGS = Concept(("ifrs-full:Borrowings",))
DEBT = (
    LONG_TERM_DEBT,
    CURRENT_DEBT,
    CURRENT_PART_OF_LONG_TERM_DEBT,
    SHORT_TERM_BORROWINGS,
    COMMERCIAL_PAPER,
    WHOLE_LONG_TERM_DEBT,
    WHOLE_DEBT,
    BORROWINGS,
)


def gross_profit(pick: Callable[[Concept], Figure | None]) -> Figure | None:
    """The reported gross profit, else revenue less its cost. ``pick`` gives a concept's figure for the period meant."""
    if (reported := pick(GROSS_PROFIT)) is not None:
        return reported
    revenue, cost = pick(REVENUE), pick(COST_OF_REVENUE)
    if revenue is None or cost is None or revenue.start != cost.start:
        return None
    return Figure(revenue.start, revenue.end, revenue.value - cost.value, revenue.parts + cost.parts, revenue.derived)


def total_debt(facts: CompanyFacts, at: date) -> Figure | None:
    """Interest-bearing debt at a date, leases left out; None where its long-term part is not known.

    A missing current part counts as none, as in a balance sheet without such a line.
    """
    if (borrowings := facts[BORROWINGS].instants.get(at)) is not None:
        return borrowings
    if (long_term := facts[LONG_TERM_DEBT].instants.get(at)) is not None:
        return _sum(at, [long_term, *_current_debt(facts, at)])
    if (whole := facts[WHOLE_DEBT].instants.get(at)) is not None:
        return whole
    # The whole of long-term debt already holds its current part; it may be the principal, so it only stands in.
    if (whole := facts[WHOLE_LONG_TERM_DEBT].instants.get(at)) is not None:
        return _sum(at, [whole, *_borrowed_short(facts, at)])
    return None


def _current_debt(facts: CompanyFacts, at: date) -> list[Figure]:
    if (current := facts[CURRENT_DEBT].instants.get(at)) is not None:
        return [current]
    part = facts[CURRENT_PART_OF_LONG_TERM_DEBT].instants.get(at)
    short = _borrowed_short(facts, at)
    if part is None or any(figure.value == part.value for figure in short):
        # Two equal amounts are one amount under two names.
        return short
    return [part, *short]


def _borrowed_short(facts: CompanyFacts, at: date) -> list[Figure]:
    """Short-term borrowings include commercial paper; without them, the paper alone."""
    figures = (facts[concept].instants.get(at) for concept in (SHORT_TERM_BORROWINGS, COMMERCIAL_PAPER))
    return [f for f in figures if f is not None][:1]


def _sum(at: date, figures: Sequence[Figure]) -> Figure:
    total = sum((f.value for f in figures), Decimal())
    return Figure(None, at, total, tuple(part for f in figures for part in f.parts), derived=len(figures) > 1)


def filing_of(facts: Sequence[Fact]) -> FiledIn:
    """The filing that carries the most of these facts; the oldest of several."""
    counts: dict[FiledIn, int] = {}
    for fact in facts:
        for filing in fact.filings:
            counts[filing] = counts.get(filing, 0) + 1
    return min(counts, key=lambda filing: (-counts[filing], filing))
