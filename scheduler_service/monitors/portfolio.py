"""A portfolio as a person writes it: CSV lines to positions, and what is wrong with the others. Pure."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from scheduler_service.settings.model import parse_symbol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_LINES = 200_000
MOST_PROBLEMS = 20
LARGEST = Decimal(10) ** 12
LOWEST = Decimal(1) / 10**9
_PLAIN = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_WITH_COMMA = re.compile(r"[+-]?(?:[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]+),[0-9]+")
_AMBIGUOUS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
_NAMES = {
    "symbol": ("symbol", "ticker"),
    "quantity": ("quantity", "qty", "shares"),
    "average_price": ("average price", "average cost", "avg price", "avg cost", "price", "cost", "cost price"),
    "stop": ("stop", "stop loss", "stop price"),
}


@dataclass(frozen=True, slots=True)
class Position:
    """``quantity`` is negative for a short one. ``stop``: the price at which it is a breach, where one is written."""

    symbol: str
    quantity: Decimal
    average_price: Decimal
    stop: Decimal | None = None
    lines: tuple[int, ...] = ()

    @property
    def is_short(self) -> bool:
        return self.quantity < 0


@dataclass(frozen=True, slots=True)
class Portfolio:
    """By symbol, lots added up. ``problems``: ``line 7: ...``, the first of them; ``bad_lines``: how many there are."""

    positions: Mapping[str, Position]
    problems: tuple[str, ...] = ()
    bad_lines: int = 0


def parse_portfolio(text: str) -> Portfolio:
    """The lines that can be read, each by itself, so that a quotation mark that nobody closes spoils no other one.

    Raises ``ValueError`` where none could: there is no header, or far too much.
    """
    if max(text.count("\n"), text.count("\r")) > MOST_LINES:
        raise ValueError(f"it has more than {MOST_LINES:,} lines")
    lines = [line.rstrip("\n") for line in io.StringIO(text.removeprefix("\ufeff"), newline=None)]
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip() and line.lstrip()[:1] != "#")
    _, head = next(numbered, (0, ""))
    if not head:
        raise ValueError("it has no header; the first line names symbol, quantity and average_price")
    delimiter = max(",;\t", key=head.count)
    try:
        header = _cells(head, delimiter)
    except ValueError as error:
        raise ValueError(f"its header cannot be read: {error}") from None
    columns, width = _columns(header), len(header)
    lots: dict[str, list[Position]] = {}
    problems: list[str] = []
    bad = 0
    for number, line in numbered:
        try:
            row = _cells(line, delimiter)
            if not any(row):
                continue
            if any(row[width:]):
                raise ValueError(f"it has {len(row)} cells, and the header {width}")
            lot = _lot(row, columns, number)
        except ValueError as error:
            bad += 1
            if bad <= MOST_PROBLEMS:
                problems.append(f"line {number}: {error}")
        else:
            lots.setdefault(lot.symbol, []).append(lot)
    positions = {symbol: whole for symbol, held in lots.items() if (whole := _together(held)) is not None}
    return Portfolio(positions, tuple(problems), bad)


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        (cells,) = csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True)
    except (csv.Error, ValueError):
        raise ValueError("it is no line of CSV; is a quotation mark not closed?") from None
    return [cell.strip() for cell in cells]


def _columns(header: Sequence[str]) -> dict[str, int]:
    names = [" ".join(cell.strip().lower().replace("_", " ").split()) for cell in header]
    found = {
        field: next((names.index(name) for name in spellings if name in names), -1)
        for field, spellings in _NAMES.items()
    }
    missing = [field for field, place in found.items() if place < 0 and field != "stop"]
    if missing:
        raise ValueError(f"its header names no {' and no '.join(missing)}; write symbol,quantity,average_price,stop")
    return found


def _lot(row: Sequence[str], columns: Mapping[str, int], number: int) -> Position:
    def cell(field: str) -> str:
        place = columns[field]
        return row[place].strip() if 0 <= place < len(row) else ""

    quantity, price = _number(cell("quantity"), "quantity"), _number(cell("average_price"), "average price")
    if quantity == 0:
        raise ValueError("the quantity is 0")
    if price <= 0:
        raise ValueError("the average price is not above 0")
    stop = _number(cell("stop"), "stop") if cell("stop") else None
    if stop is not None and stop <= 0:
        raise ValueError("the stop is not above 0")
    return Position(parse_symbol(cell("symbol")), quantity, price, stop, (number,))


def _number(text: str, what: str) -> Decimal:
    """With a point, or with a comma where that can be nothing else: ``1,234.50``, ``1.234,50``, ``175,50``."""
    plain = text.removeprefix("$")
    if _AMBIGUOUS.fullmatch(plain):
        raise ValueError(f"the {what} {text[:20]!r} may be two numbers; write it with a point, and nothing else in it")
    if _GROUPED.fullmatch(plain):
        plain = plain.replace(",", "")
    elif _WITH_COMMA.fullmatch(plain):
        plain = plain.replace(".", "").replace(",", ".")
    if not _PLAIN.fullmatch(plain):
        raise ValueError(f"the {what} {text[:20]!r} is no number")
    value = Decimal(plain)
    if value and not LOWEST <= abs(value) <= LARGEST:
        raise ValueError(f"the {what} {text[:20]!r} cannot be")
    return value


def _together(lots: Sequence[Position]) -> Position | None:
    """Lots of one symbol; None where they cancel out. The tightest stop counts."""
    quantity = sum((lot.quantity for lot in lots), Decimal(0))
    if quantity == 0:
        return None
    same = [lot for lot in lots if lot.is_short == (quantity < 0)]
    average = sum((lot.quantity * lot.average_price for lot in same), Decimal(0)) / sum(lot.quantity for lot in same)
    stops = [lot.stop for lot in same if lot.stop is not None]
    stop = (min(stops) if quantity < 0 else max(stops)) if stops else None
    return Position(lots[0].symbol, quantity, average, stop, tuple(line for lot in lots for line in lot.lines))
