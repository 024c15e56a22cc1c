"""What models stated, beside what filings say of the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.cli.figures import amount, percent
from scheduler_service.cli.terminal import line, table
from scheduler_service.parsers.checking import shares

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    from scheduler_service.models import Check


def trust(checks: Sequence[Check]) -> Iterator[str]:
    """How far the models can be trusted."""
    for source, counts in sorted(shares(checks).items()):
        told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("verified", "conflicting", "unverified"))
        yield f"Figures stated by {source}, beside the filings: {told}"


def in_short(checks: Sequence[Check]) -> Iterator[str]:
    for source, counts in sorted(shares(checks).items()):
        told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("verified", "conflicting", "unverified"))
        yield f"  stated by {source}: {told}"


def print_checks(checks: Sequence[Check]) -> None:
    """That, and where they say something else than the filings."""
    for told in trust(checks):
        line(told)
    wrong = [check for check in checks if check.verdict == "conflicting"]
    if wrong:
        table(
            "Conflicting: the filing's value is kept",
            ["figure", "to", "stated", "filed", "difference"],
            [
                (
                    c.figure.replace("_", " "),
                    c.period_end,
                    _value(c, c.stated),
                    _value(c, c.filed),
                    _value(c, c.difference),
                )
                for c in wrong
            ],
            numbers=("stated", "filed", "difference"),
        )
        for note in dict.fromkeys(check.note for check in wrong if check.note):
            of = dict.fromkeys(check.figure.replace("_", " ") for check in wrong if check.note == note)
            line(f"{', '.join(of)}: {note}")


def _value(check: Check, value: Decimal | None) -> str:
    return percent(value) if check.unit == "ratio" else amount(value)
