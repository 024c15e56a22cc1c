"""The metrics a model states, checked against those that follow from filings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.models import Kind
from scheduler_service.parsers.checking import Claim, all_checks, checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.models import Check, Contribution
    from scheduler_service.parsers.fundamental_analysis import FundamentalsData, Metric

PERIOD = "metric"


def check_fundamentals(contributions: Sequence[Contribution[FundamentalsData]]) -> tuple[Check, ...]:
    """Every metric of every model, against the filings alone; what is merged already keeps its checks."""
    filed = [
        _claim(name, metric)
        for said in contributions
        if said.kind is Kind.FILING
        for name, metric in said.data.metrics.items()
        if metric.check == "filing" and metric.value is not None
    ]
    found = [check for said in contributions for check in said.data.checks]
    for said in contributions:
        if said.kind is Kind.MODEL:
            stated = [_claim(name, one) for name, one in said.data.metrics.items() if one.value is not None]
            found += checked(said.source, stated, filed)
    return all_checks(found)


def _claim(name: str, metric: Metric) -> Claim:
    assert metric.value is not None
    return Claim(name, PERIOD, metric.as_of, metric.value, metric.unit, metric.provenance, metric.derived)
