"""The figures of a company's statements: the tags they are filed under, and how those that have no single one follow.

A tag stands in for another only where both mean the same; a figure that is not certain is None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
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
        "us-gaap:RegulatedAndUnregulatedOperatingRevenue",
        "us-gaap:RealEstateRevenueNet",
        "us-gaap:HealthCareOrganizationRevenue",
        "us-gaap:RevenueFromContractWithCustomerExcludingAssessedTax",
        "us-gaap:RevenueFromContractWithCustomerIncludingAssessedTax",
        "us-gaap:SalesRevenueNet",
        "us-gaap:SalesRevenueGoodsNet",
        "ifrs-full:Revenue",
        "ifrs-full:RevenueAndOperatingIncome",
    )
)
# A bank's revenue is what its interest leaves, and its fees; many state only these two.
NET_INTEREST_INCOME = Concept(("us-gaap:InterestIncomeExpenseNet",))
NONINTEREST_INCOME = Concept(("us-gaap:NoninterestIncome",))
COST_OF_REVENUE = Concept(
    ("us-gaap:CostOfRevenue", "us-gaap:CostOfGoodsAndServicesSold", "us-gaap:CostOfGoodsSold", "ifrs-full:CostOfSales")
)
GROSS_PROFIT = Concept(("us-gaap:GrossProfit", "ifrs-full:GrossProfit"))
OPERATING_INCOME = Concept(("us-gaap:OperatingIncomeLoss", "ifrs-full:ProfitLossFromOperatingActivities"))
# What belongs to the shareholders of the company; the profit of the group also holds that of minorities.
NET_INCOME = Concept(("us-gaap:NetIncomeLoss", "ifrs-full:ProfitLossAttributableToOwnersOfParent"))
GROUP_PROFIT = Concept(("us-gaap:ProfitLoss", "ifrs-full:ProfitLoss"))
MINORITY_PROFIT = Concept(
    (
        "us-gaap:NetIncomeLossAttributableToNoncontrollingInterest",
        "ifrs-full:ProfitLossAttributableToNoncontrollingInterests",
    )
)
INCOME_TAX = Concept(("us-gaap:IncomeTaxExpenseBenefit", "ifrs-full:IncomeTaxExpenseContinuingOperations"))
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
EQUITY = Concept(("us-gaap:StockholdersEquity", "ifrs-full:EquityAttributableToOwnersOfParent"))
GROUP_EQUITY = Concept(
    ("us-gaap:StockholdersEquityIncludingPortionAttributableToNoncontrollingInterest", "ifrs-full:Equity")
)
MINORITY_EQUITY = Concept(("us-gaap:MinorityInterest", "ifrs-full:NoncontrollingInterests"))
ASSETS = Concept(("us-gaap:Assets", "ifrs-full:Assets"))
CASH = Concept(
    (
        "us-gaap:CashAndCashEquivalentsAtCarryingValue",
        "us-gaap:CashAndDueFromBanks",
        "us-gaap:Cash",
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
LONG_TERM_DEBT = Concept(("us-gaap:LongTermDebtNoncurrent", "us-gaap:LongTermDebtAndCapitalLeaseObligations"))
KINDS_OF_LONG_TERM_DEBT = tuple(
    Concept(tuple(f"us-gaap:{tag}" for tag in tags))
    for tags in (
        ("ConvertibleDebtNoncurrent", "ConvertibleLongTermNotesPayable"),
        ("LongTermNotesPayable", "SeniorLongTermNotes"),
        ("LongTermLoansPayable", "LongTermLoansFromBank"),
        ("LongTermLineOfCredit",),
        ("SecuredLongTermDebt",),
        ("UnsecuredLongTermDebt",),
        ("OtherLongTermDebtNoncurrent",),
    )
)
"""Each may be all of it or a part; which, is certain only where there is one."""
CURRENT_DEBT = Concept(("us-gaap:DebtCurrent",))
CURRENT_PART_OF_LONG_TERM_DEBT = Concept(
    (
        "us-gaap:LongTermDebtCurrent",
        "us-gaap:LongTermDebtAndCapitalLeaseObligationsCurrent",
        "us-gaap:ConvertibleDebtCurrent",
        "us-gaap:ConvertibleNotesPayableCurrent",
    )
)
SHORT_TERM_BORROWINGS = Concept(
    ("us-gaap:ShortTermBorrowings", "us-gaap:LoansPayableCurrent", "us-gaap:NotesPayableCurrent")
)
OTHER_SHORT_TERM_BORROWINGS = Concept(("us-gaap:OtherShortTermBorrowings",))
COMMERCIAL_PAPER = Concept(("us-gaap:CommercialPaper",))
COMMERCIAL_PAPER_ISSUED = Concept(("us-gaap:ProceedsFromRepaymentsOfCommercialPaper",))
WHOLE_LONG_TERM_DEBT = Concept(("us-gaap:LongTermDebt",))
WHOLE_DEBT = Concept(("us-gaap:DebtLongtermAndShorttermCombinedAmount",))
BORROWINGS = Concept(("ifrs-full:Borrowings",))
NONCURRENT_BORROWINGS = Concept(("ifrs-full:LongtermBorrowings",))
CURRENT_BORROWINGS = Concept(("ifrs-full:CurrentBorrowingsAndCurrentPortionOfNoncurrentBorrowings",))
DEBT = (
    LONG_TERM_DEBT,
    *KINDS_OF_LONG_TERM_DEBT,
    CURRENT_DEBT,
    CURRENT_PART_OF_LONG_TERM_DEBT,
    SHORT_TERM_BORROWINGS,
    OTHER_SHORT_TERM_BORROWINGS,
    COMMERCIAL_PAPER,
    COMMERCIAL_PAPER_ISSUED,
    WHOLE_LONG_TERM_DEBT,
    WHOLE_DEBT,
    BORROWINGS,
    NONCURRENT_BORROWINGS,
    CURRENT_BORROWINGS,
)
"""All that ``total_debt`` looks at."""
INCOME = (REVENUE, NET_INTEREST_INCOME, NONINTEREST_INCOME, NET_INCOME, GROUP_PROFIT, MINORITY_PROFIT)
"""All that ``revenue`` and ``net_income`` look at."""
OWNED = (EQUITY, GROUP_EQUITY, MINORITY_EQUITY)
"""All that ``equity`` looks at."""
_LATELY = timedelta(days=800)
_PRINCIPAL = Decimal("0.98")
"""Debt is carried a little below its principal: by up to 2 %."""

Pick: TypeAlias = Callable[[Concept], Figure | None]
"""Gives a concept's figure for the period meant."""


def revenue(pick: Pick) -> Figure | None:
    """The reported revenue; of a bank that reports none, its net interest income and its other income."""
    if (reported := pick(REVENUE)) is not None:
        return reported
    return plus(pick(NET_INTEREST_INCOME), pick(NONINTEREST_INCOME))


def net_income(facts: CompanyFacts, pick: Pick) -> Figure | None:
    """The shareholders' profit; where only the group's is reported, without that of minorities."""
    if (reported := pick(NET_INCOME)) is not None:
        return reported
    return _without_minorities(facts, pick(GROUP_PROFIT), MINORITY_PROFIT, pick(MINORITY_PROFIT))


def equity(facts: CompanyFacts, at: date) -> Figure | None:
    """The shareholders' equity at a date; where only the group's is reported, without that of minorities."""
    if (reported := facts[EQUITY].instants.get(at)) is not None:
        return reported
    group, minorities = facts[GROUP_EQUITY].instants.get(at), facts[MINORITY_EQUITY].instants.get(at)
    return _without_minorities(facts, group, MINORITY_EQUITY, minorities)


def _without_minorities(
    facts: CompanyFacts, group: Figure | None, concept: Concept, minorities: Figure | None
) -> Figure | None:
    if minorities is not None:
        return minus(group, minorities)
    if group is None or facts[concept].unread.stretches:
        return None
    told = (fact for tag in facts[concept].tags for fact in tag.values() if fact.value)
    return None if any(abs(fact.end - group.end) <= _LATELY for fact in told) else group


def minus(one: Figure | None, other: Figure | None) -> Figure | None:
    """Their difference; None where one is not known, or they are not of one and the same period."""
    return None if other is None else plus(one, replace(other, value=-other.value))


def plus(one: Figure | None, other: Figure | None) -> Figure | None:
    """Their sum; None where one is not known, or they are not of one and the same period."""
    if one is None or other is None or (one.start, one.end) != (other.start, other.end):
        return None
    total, parts = one.value + other.value, one.parts + other.parts
    return Figure(one.start, one.end, total, parts, one.derived or other.derived)


def gross_profit(pick: Pick) -> Figure | None:
    """The reported gross profit, else revenue less its cost."""
    return pick(GROSS_PROFIT) or minus(pick(REVENUE), pick(COST_OF_REVENUE))


def total_debt(facts: CompanyFacts, at: date) -> Figure | None:
    """Interest-bearing debt at a date, leases left out; None where a part of it is not known.

    A missing current part counts as none, as in a balance sheet without such a line, unless the whole of long-term
    debt, or paper issued in the period, says that there must be one.
    """
    if any(at in facts[concept].unread for concept in DEBT):
        return None

    def pick(concept: Concept) -> Figure | None:
        return facts[concept].instants.get(at)

    if (borrowings := pick(BORROWINGS)) is not None:
        return borrowings
    if (noncurrent := pick(LONG_TERM_DEBT)) is not None:
        return _with_current(facts, at, noncurrent)
    if (whole := pick(WHOLE_DEBT)) is not None:
        return whole
    return _debt_without_a_line(facts, at, pick) or plus(pick(NONCURRENT_BORROWINGS), pick(CURRENT_BORROWINGS))


def _debt_without_a_line(facts: CompanyFacts, at: date, pick: Pick) -> Figure | None:
    """Debt of a balance sheet that has no line for all that is long-term."""
    if (kind := _only_kind(facts, at)) is not None:
        return _with_current(facts, at, kind)
    # The whole of long-term debt holds its current part; it may be the principal, so it only stands in, and not where
    # a balance sheet that splits the two should say more.
    whole, short = pick(WHOLE_LONG_TERM_DEBT), _borrowed_short(facts, at)
    if whole is None or short is None or pick(CURRENT_PART_OF_LONG_TERM_DEBT) is not None:
        return None
    return _sum(at, [whole, *short])


def _only_kind(facts: CompanyFacts, at: date) -> Figure | None:
    kinds = [f for concept in KINDS_OF_LONG_TERM_DEBT if (f := facts[concept].instants.get(at)) is not None]
    owed = [f for f in kinds if f.value] or kinds[:1]
    return owed[0] if len(owed) == 1 else None


def _with_current(facts: CompanyFacts, at: date, noncurrent: Figure) -> Figure | None:
    current = _current_debt(facts, at)
    if current is None:
        return None
    paper, whole = (facts[concept].instants.get(at) for concept in (COMMERCIAL_PAPER, WHOLE_LONG_TERM_DEBT))
    long_term = _sum(at, [noncurrent, *(figure for figure in current if figure != paper)])
    if whole is not None and whole.value * _PRINCIPAL > long_term.value:
        return None
    return _sum(at, [noncurrent, *current])


def _current_debt(facts: CompanyFacts, at: date) -> list[Figure] | None:
    if (current := facts[CURRENT_DEBT].instants.get(at)) is not None:
        return [current]
    part = facts[CURRENT_PART_OF_LONG_TERM_DEBT].instants.get(at)
    short = _borrowed_short(facts, at)
    if short is None or part is None or any(figure.value == part.value for figure in short):
        # Two equal amounts are one amount under two names.
        return short
    return [part, *short]


def _borrowed_short(facts: CompanyFacts, at: date) -> list[Figure] | None:
    """Short-term borrowings include commercial paper; without them, the paper and the rest. None: paper unknown."""
    if (borrowings := facts[SHORT_TERM_BORROWINGS].instants.get(at)) is not None:
        return [borrowings]
    paper, rest = (facts[concept].instants.get(at) for concept in (COMMERCIAL_PAPER, OTHER_SHORT_TERM_BORROWINGS))
    if paper is None and any(
        fact.end == at and fact.value for tag in facts[COMMERCIAL_PAPER_ISSUED].tags for fact in tag.values()
    ):
        return None
    return [figure for figure in (paper, rest) if figure is not None]


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
