"""A price at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scheduler_service.cli.figures import percent
from scheduler_service.cli.terminal import line
from scheduler_service.parsers.quotes import QuotesData

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD: Final = QuotesData
PLACE: Final = 1


def detail(data: QuotesData, *, whole: bool) -> None:
    del whole
    for told in brief(data):
        line(told)


def brief(data: QuotesData) -> Iterator[str]:
    said = f"{data.price:,f} {data.currency or ''}".rstrip()
    if data.change is not None and data.previous_close is not None:
        share = percent(data.change_ratio, signed=True, digits=2)
        said += f", {data.change:+,f} ({share}) from {data.previous_close:,f}"
    yield f"{said}, {data.as_of[:16].replace('T', ' ')} UTC, by {data.provenance.source}"
