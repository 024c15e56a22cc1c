"""The figures of a company's statements: the tags they are filed under, and how those that have no single one follow.

A tag stands in for another only where both mean the same; a figure that is not certain is None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
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
# A bank's revenue is what its interest leaves, and its fees: so the totals of those that state one are meant, too.
NET_INTEREST_INCOME = Concept(("us-gaap:InterestIncomeExpenseNet",))
NONINTEREST_INCOME = Concept(("us-gaap:NoninterestIncome",))
INTEREST_INCOME = Concept(("us-gaap:InterestAndDividendIncomeOperating",))
INTEREST_EXPENSE = Concept(("us-gaap:InterestExpense", "us-gaap:InterestExpenseOperating"))
COST_OF_REVENUE = Concept(("us-gaap:CostOfRevenue", "us-gaap:CostOfGoodsAndServicesSold", "ifrs-full:CostOfSales"))
COST_OF_GOODS = Concept(("us-gaap:CostOfGoodsSold",))
# Costs beside those of the goods, of companies whose gross profit is not revenue less the cost of goods.
COST_OF_SERVICES = Concept(("us-gaap:CostOfServices", "us-gaap:CostOfServicesLicensesAndServices"))
CLAIMS = Concept(
    ("us-gaap:PolicyholderBenefitsAndClaimsIncurredNet", "us-gaap:PolicyholderBenefitsAndClaimsIncurredHealthCare")
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
PROFIT_OF_SOME_MINORITIES = Concept(
    (
        "us-gaap:ComprehensiveIncomeNetOfTaxAttributableToNoncontrollingInterest",
        "us-gaap:NetIncomeLossAttributableToRedeemableNoncontrollingInterest",
        "us-gaap:NetIncomeLossAttributableToNonredeemableNoncontrollingInterest",
        "us-gaap:IncomeLossFromContinuingOperationsAttributableToNoncontrollingEntity",
    )
)
"""Not what the minorities earned, but a sign that they did."""
INCOME_TAX = Concept(("us-gaap:IncomeTaxExpenseBenefit", "ifrs-full:IncomeTaxExpenseContinuingOperations"))
EPS_DILUTED = Concept(
    (
        "us-gaap:EarningsPerShareDiluted",
        "us-gaap:EarningsPerShareBasicAndDiluted",
        "us-gaap:NetIncomeLossNetOfTaxPerOutstandingLimitedPartnershipUnitDiluted",
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
        "us-gaap:PartnersCapital",
        "us-gaap:MembersEquity",
        "ifrs-full:EquityAttributableToOwnersOfParent",
    )
)
GROUP_EQUITY = Concept(
    (
        "us-gaap:StockholdersEquityIncludingPortionAttributableToNoncontrollingInterest",
        "us-gaap:PartnersCapitalIncludingPortionAttributableToNoncontrollingInterest",
        "ifrs-full:Equity",
    )
)
MINORITY_EQUITY = Concept(
    (
        "us-gaap:MinorityInterest",
        "us-gaap:PartnersCapitalAttributableToNoncontrollingInterest",
        "ifrs-full:NoncontrollingInterests",
    )
)
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
OTHER_CAPITAL_EXPENDITURE = tuple(
    Concept((f"us-gaap:{tag}",))
    for tag in (
        "PaymentsToAcquireProductiveAssets",
        "PaymentsToAcquireOtherProductiveAssets",
        "PaymentsToAcquireOtherPropertyPlantAndEquipment",
        "PaymentsToAcquireMachineryAndEquipment",
        "PaymentsForCapitalImprovements",
        "PaymentsForConstructionInProcess",
        "PaymentsToAcquireOilAndGasPropertyAndEquipment",
        "PaymentsToExploreAndDevelopOilAndGasProperties",
        "PaymentsToAcquireOilAndGasProperty",
        "PaymentsToAcquireRealEstate",
        "PaymentsToAcquireRealEstateHeldForInvestment",
        "PaymentsToDevelopRealEstateAssets",
        "PaymentsToAcquireEquipmentOnLease",
    )
)
"""Where one is larger than what is taken for the capital expenditure, that is a lesser line of it."""
CASH_FLOWS = (OPERATING_CASH_FLOW, CAPITAL_EXPENDITURE, *OTHER_CAPITAL_EXPENDITURE)
"""All that ``free_cash_flow`` looks at."""
INCOME = (REVENUE, NET_INTEREST_INCOME, NONINTEREST_INCOME, NET_INCOME, GROUP_PROFIT, MINORITY_PROFIT)
"""What ``revenue`` and ``net_income`` look at; of a bank also ``INTEREST``, which alone is no income of a period."""
INTEREST = (INTEREST_INCOME, INTEREST_EXPENSE)
COSTS = (COST_OF_REVENUE, COST_OF_GOODS, COST_OF_SERVICES, CLAIMS)
"""What ``gross_profit`` looks at where none is reported, beside what ``revenue`` does."""
OWNED = (EQUITY, GROUP_EQUITY, MINORITY_EQUITY, PROFIT_OF_SOME_MINORITIES)
"""All that ``equity`` looks at, and ``net_income`` for signs of minorities."""
_LATELY = timedelta(days=800)

Pick: TypeAlias = Callable[[Concept], Figure | None]
"""Gives a concept's figure for the period meant."""


def revenue(pick: Pick) -> Figure | None:
    """The reported revenue; of a bank that reports none, its net interest income and its other income."""
    if (reported := pick(REVENUE)) is not None:
        return reported
    interest = pick(NET_INTEREST_INCOME) or minus(pick(INTEREST_INCOME), pick(INTEREST_EXPENSE))
    return plus(interest, pick(NONINTEREST_INCOME))


def net_income(facts: CompanyFacts, pick: Pick) -> Figure | None:
    """The shareholders' profit; where only the group's is reported, without that of minorities."""
    if (reported := pick(NET_INCOME)) is not None:
        return reported
    told = (MINORITY_PROFIT, PROFIT_OF_SOME_MINORITIES)
    return _without_minorities(facts, pick(GROUP_PROFIT), pick(MINORITY_PROFIT), told)


def equity(facts: CompanyFacts, at: date) -> Figure | None:
    """The shareholders' equity at a date; where only the group's is reported, without that of minorities."""
    if (reported := facts[EQUITY].instants.get(at)) is not None:
        return reported
    group, minorities = facts[GROUP_EQUITY].instants.get(at), facts[MINORITY_EQUITY].instants.get(at)
    return _without_minorities(facts, group, minorities, (MINORITY_EQUITY,))


def _without_minorities(
    facts: CompanyFacts, group: Figure | None, minorities: Figure | None, concepts: Sequence[Concept]
) -> Figure | None:
    if minorities is not None:
        return minus(group, minorities)
    if group is None or any(facts[concept].unread.stretches for concept in concepts):
        return None
    return None if any(facts[concept].tells(group.end, within=_LATELY) for concept in concepts) else group


def free_cash_flow(pick: Pick) -> Figure | None:
    """What operations brought less what was paid for property and equipment; None where that is not all of it."""
    spent = pick(CAPITAL_EXPENDITURE)
    if spent is None or spent.value < 0:
        return None
    larger = (other for c in OTHER_CAPITAL_EXPENDITURE if (other := pick(c)) is not None and other.value > spent.value)
    return None if any(larger) else minus(pick(OPERATING_CASH_FLOW), spent)


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
    """The reported gross profit, else revenue less its cost; None where that is of some of it only, or of more.

    Insurers also sell goods, and most of what they pay is claims.
    """
    sales = revenue(pick)
    if (reported := pick(GROSS_PROFIT)) is not None:
        return reported if sales is None or reported.value <= sales.value else None
    if pick(CLAIMS) is not None:
        return None
    cost = pick(COST_OF_REVENUE) or (None if pick(COST_OF_SERVICES) else pick(COST_OF_GOODS))
    return minus(pick(REVENUE), cost)


def filing_of(facts: Sequence[Fact]) -> FiledIn:
    """The filing that carries the most of these facts; the oldest of several."""
    counts: dict[FiledIn, int] = {}
    for fact in facts:
        for filing in fact.filings:
            counts[filing] = counts.get(filing, 0) + 1
    return min(counts, key=lambda filing: (-counts[filing], filing))
