"""Fundamentals at a terminal."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from scheduler_service.cli.beside_filings import in_short, print_checks
from scheduler_service.cli.figures import UNKNOWN, amount, cut, percent
from scheduler_service.cli.terminal import line, table
from scheduler_service.parsers.fundamental_analysis import FundamentalsData

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler_service.parsers.fundamental_analysis import Metric

RECORD: Final = FundamentalsData
PLACE: Final = 3
TOLD = (
    ("revenue_ttm", "gross_margin"),
    ("net_income_ttm", "operating_margin"),
    ("free_cash_flow_ttm", "net_margin"),
    ("cash", "roe"),
    ("total_debt", "debt_to_equity"),
)
_MARKS = {"filing": " ", "verified": "✓", "conflicting": "✗", "unverified": "?"}


def detail(data: FundamentalsData, *, whole: bool) -> None:
    del whole
    table(
        "",
        ["metric", "value", "as of", "check"],
        [
            (name.replace("_", " "), metric_value(metric), metric.as_of, metric.check)
            for name, metric in data.metrics.items()
        ],
        numbers=("value",),
    )
    print_checks(data.checks)
    if data.analysis is not None:
        line(f"Analysis by {data.analysis.provenance.source}, {data.analysis.provenance.fetched_at[:10]}, unverified:")
        line(data.analysis.text)
        for source in data.analysis.sources:
            line(f"  {source}")


def brief(data: FundamentalsData) -> Iterator[str]:
    known = {name: metric for name, metric in data.metrics.items() if metric.value is not None}
    if not known:
        yield "No key figures"
        return
    newest = max(metric.as_of for metric in known.values())
    yield f"Key figures to {newest}, as filed (a model: ✓ agrees, ✗ differs, ? alone)"
    left, right = ([name for name in column if name in known] for column in zip(*TOLD, strict=True))
    for pair in zip_longest(left, right):
        yield "  " + "   ".join(_told(name, data, newest) for name in pair if name is not None)
    yield from in_short(data.checks)


def _told(name: str, data: FundamentalsData, newest: object) -> str:
    metric = data.metrics[name]
    wrong = any(check.verdict == "conflicting" and check.figure == name for check in data.checks)
    right = any(check.verdict == "verified" and check.figure == name for check in data.checks)
    mark = "✗" if wrong else "✓" if right and metric.check == "filing" else _MARKS[metric.check]
    since = "" if metric.as_of == newest else f" ({metric.as_of})"
    return f"{cut(name.replace('_', ' ') + since, 20):<20}{cut(metric_value(metric), 14):>14} {mark}"


def metric_value(metric: Metric) -> str:
    """``24.3 %``, ``6.08 USD/share``, ``391.04 B USD``."""
    if metric.value is None:
        return UNKNOWN
    return percent(metric.value) if metric.unit == "ratio" else f"{amount(metric.value)} {metric.unit}"
