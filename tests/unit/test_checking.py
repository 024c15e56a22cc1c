"""Figures of models beside those of filings."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.models import Check, Contribution, Kind, Provenance
from scheduler_service.parsers.checked_earnings import check_earnings
from scheduler_service.parsers.checked_fundamentals import check_fundamentals
from scheduler_service.parsers.checking import agrees, all_checks, shares
from scheduler_service.parsers.earnings import EarningsData, Report
from scheduler_service.parsers.fundamental_analysis import FundamentalsData, Metric
from scheduler_service.processors.earnings_processor import EarningsProcessor

END = dt.date(2025, 9, 27)
NAME = "0000320193-25-000079"


def origin(kind: Kind) -> Provenance:
    accession = NAME if kind is Kind.FILING else None
    return Provenance(source=kind.value, accession=accession, fetched_at="2026-01-01T00:00:00Z", call_id="1", kind=kind)


def report(kind: Kind, revenue: str, end: dt.date = END, eps: str | None = None, currency: str = "USD") -> Report:
    return Report(
        period_end=end,
        period_start=end - dt.timedelta(days=90),
        kind="quarter",
        revenue=Decimal(revenue),
        net_income=None,
        eps_diluted=None if eps is None else Decimal(eps),
        currency=currency,
        filed=end + dt.timedelta(days=30),
        accession=NAME if kind is Kind.FILING else None,
        provenance=origin(kind),
    )


def said(kind: Kind, *reports: Report) -> Contribution[EarningsData]:
    return Contribution("edgar" if kind is Kind.FILING else "perplexity", kind, EarningsData(reports=reports))


def verdicts(*stated: Report) -> list[str]:
    filed = said(Kind.FILING, report(Kind.FILING, "102466000000", eps="1.85"))
    return [check.verdict for check in check_earnings([said(Kind.MODEL, *stated), filed])]


@pytest.mark.parametrize(
    ("stated", "filed", "unit", "same"),
    [
        ("102466000000", "102466000000", "USD", True),
        ("102500000000", "102466000000", "USD", True),
        ("102400000000", "102466000000", "USD", False),
        ("3400000000", "3412000000", "USD", True),
        ("3430000000", "3412000000", "USD", False),
        ("100000000000", "102466000000", "USD", False),
        ("102466", "102466000000", "USD", False),
        ("-1300000000", "1300000000", "USD", False),
        ("0", "5", "USD", False),
        ("1.85", "1.85", "USD/share", True),
        ("1.84", "1.85", "USD/share", False),
        ("1.9", "1.85", "USD/share", False),
        ("0.24", "0.242971", "ratio", True),
        ("0.243", "0.242971", "ratio", True),
        ("0.25", "0.242971", "ratio", False),
        ("14900000000", "14948500000", "shares", True),
        ("149000000000", "14948500000", "shares", False),
    ],
)
def test_figures_agree_within_rounding_and_no_further(stated: str, filed: str, unit: str, *, same: bool) -> None:
    assert agrees(Decimal(stated), Decimal(filed), unit) is same


def test_derived_earnings_per_share_may_be_a_cent_off() -> None:
    assert agrees(Decimal("7.47"), Decimal("7.46"), "USD/share", derived=True)
    assert not agrees(Decimal("7.49"), Decimal("7.46"), "USD/share", derived=True)


@given(
    st.decimals(-(10**12), 10**12, places=2),
    st.decimals(-(10**12), 10**12, places=2),
    st.sampled_from(["USD", "shares"]),
)
def test_what_is_off_by_more_than_a_hundredth_never_agrees(stated: Decimal, filed: Decimal, unit: str) -> None:
    assert agrees(filed, filed, unit)
    if abs(stated - filed) > abs(filed) / 100:
        assert not agrees(stated, filed, unit)


def test_a_figure_is_verified_conflicting_or_unverified() -> None:
    model = Kind.MODEL
    assert verdicts(report(model, "102500000000")) == ["verified"]
    assert verdicts(report(model, "94900000000")) == ["conflicting"]
    assert verdicts(report(model, "102466000000", dt.date(2025, 9, 30), "2.01")) == ["conflicting", "verified"]
    assert verdicts(report(model, "94900000000", dt.date(2025, 6, 28))) == ["unverified"]
    assert verdicts(report(model, "94900000000", currency="EUR")) == ["unverified"]


def test_a_conflict_shows_both_values_and_the_document_keeps_the_filings() -> None:
    filed = said(Kind.FILING, report(Kind.FILING, "102466000000"))
    stated = said(Kind.MODEL, report(Kind.MODEL, "94900000000", dt.date(2025, 9, 30)))
    merged = EarningsProcessor({}, []).merge([filed, stated])
    assert merged == EarningsProcessor({}, []).merge([stated, filed])
    assert [r.revenue for r in merged.reports] == [Decimal(102466000000)]
    (check,) = merged.checks
    assert [check.stated, check.filed, check.difference] == [
        Decimal(94900000000),
        Decimal(102466000000),
        Decimal(-7566000000),
    ]
    assert check.filing is not None
    assert (check.filing.accession, check.provenance.kind, check.verdict) == (NAME, Kind.MODEL, "conflicting")
    assert {source: dict(counts) for source, counts in shares(merged.checks).items()} == {
        "perplexity": {"conflicting": 1}
    }


def test_metrics_are_checked_against_filings_of_the_same_day_alone() -> None:
    def metric(kind: Kind, value: str, as_of: dt.date = END) -> Metric:
        check = "filing" if kind is Kind.FILING else "unverified"
        return Metric.model_validate(
            {"value": Decimal(value), "unit": "USD", "as_of": as_of, "provenance": origin(kind), "check": check}
        )

    filed = {"cash": metric(Kind.FILING, "35934000000"), "equity": metric(Kind.FILING, "73733000000")}
    stated = {
        "cash": metric(Kind.MODEL, "35900000000"),
        "equity": metric(Kind.MODEL, "7", dt.date(2025, 6, 28)),
        "total_debt": metric(Kind.MODEL, "7"),
    }
    found: tuple[Check, ...] = check_fundamentals(
        [
            Contribution("perplexity", Kind.MODEL, FundamentalsData(metrics=stated)),
            Contribution("edgar", Kind.FILING, FundamentalsData(metrics=filed)),
        ]
    )
    verdicts = {check.figure: check.verdict for check in found}
    assert verdicts == {"cash": "verified", "equity": "unverified", "total_debt": "unverified"}
    assert all_checks(reversed(found)) == found
