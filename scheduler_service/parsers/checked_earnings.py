"""The periods a model states, checked figure by figure against those that were filed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.models import Kind
from scheduler_service.parsers.checking import Claim, all_checks, checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scheduler_service.models import Check, Contribution
    from scheduler_service.parsers.earnings import EarningsData, Report

AMOUNTS = ("revenue", "gross_profit", "net_income", "total_debt", "equity")
PER_SHARE = "eps_diluted"


def check_earnings(contributions: Sequence[Contribution[EarningsData]]) -> tuple[Check, ...]:
    """Every figure of every model, against the filings alone; what is merged already keeps its checks."""
    filed = [
        claim
        for said in contributions
        if said.kind is Kind.FILING
        for report in said.data.reports
        if report.accession is not None
        for claim in _claims(report)
    ]
    found = [check for said in contributions for check in said.data.checks]
    for said in contributions:
        if said.kind is Kind.MODEL:
            stated = [claim for report in said.data.reports for claim in _claims(report)]
            found += checked(said.source, stated, filed)
    return all_checks(found)


def _claims(report: Report) -> Iterator[Claim]:
    units = {**dict.fromkeys(AMOUNTS, report.currency), PER_SHARE: f"{report.currency}/share"}
    for figure, unit in units.items():
        value = getattr(report, figure)
        if value is not None:
            yield Claim(figure, report.kind, report.period_end, value, unit, report.provenance, report.derived)
