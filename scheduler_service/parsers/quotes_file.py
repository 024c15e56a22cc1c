"""A file of quotes that another program writes, as CSV or JSON. Pure.

CSV: the first line names the columns ``symbol``, ``price`` and ``time``, and perhaps ``previous_close`` and
``currency``, in any order and among others; between commas, semicolons or tabs. JSON: a list of objects with these
keys, or an object of them by symbol, each perhaps under the one key ``quotes``. What is wrong with one line is said of
that line; the others are used.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scheduler_service.errors import ParseError
from scheduler_service.models import Reason
from scheduler_service.parsers.json_values import as_object, as_text
from scheduler_service.parsers.quotes import Quoted, number_of, time_of, wrong_quote
from scheduler_service.settings.model import parse_symbol
from scheduler_service.strict_json import load

if TYPE_CHECKING:
    from decimal import Decimal

NEEDED = ("symbol", "price", "time")
MOST_LINES = 100_000
MOST_KEPT = 1_000
"""Of the lines that are wrong; the rest is counted."""
NAMED = 3
_DELIMITERS = ",;\t"
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class WrongLine:
    """``where``: ``line 3``, or ``entry 3`` of a JSON list."""

    where: str
    symbol: str | None
    why: str

    def __str__(self) -> str:
        return f"{self.where}{f' ({self.symbol})' if self.symbol else ''}: {self.why}"


@dataclass(frozen=True, slots=True)
class QuotesFile:
    """The newest quote of each symbol, and the lines that hold none. ``wrong_in_all`` counts also those not kept."""

    quotes: Mapping[str, Quoted]
    wrong: tuple[WrongLine, ...]
    wrong_in_all: int

    def of(self, symbol: str) -> Quoted:
        """``ParseError`` where there is none: it says which line should have held it."""
        name = symbol.upper()
        if (quoted := self.quotes.get(name)) is not None:
            return quoted
        mine = next((line for line in self.wrong if line.symbol == name), None)
        if mine is not None:
            raise ParseError(f"no quote of {name}: {mine.where}: {mine.why}", Reason.NO_DATA)
        raise ParseError(f"it has no line of {name}", Reason.NO_DATA)

    def in_words(self) -> str | None:
        """``2 lines hold no quote: line 4 (ACME): ...``; None where all do."""
        if not self.wrong:
            return None
        more = self.wrong_in_all - NAMED
        named = "; ".join(map(str, self.wrong[:NAMED])) + (f"; and {more} more" if more > 0 else "")
        count = "1 line holds" if self.wrong_in_all == 1 else f"{self.wrong_in_all} lines hold"
        return f"{count} no quote, and the rest is used: {named}"


def read_quotes_file(body: bytes) -> QuotesFile:
    """``ParseError(UNREADABLE)`` where it is no such file at all."""
    start = body.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if start in (b"{", b"[", b"<", b""):
        return _collected(_entries(load(body)))
    try:
        lines = body.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ParseError(f"the file is not UTF-8 at byte {error.start}", Reason.UNREADABLE) from None
    return _collected(_rows(lines))


def _collected(found: Iterable[tuple[str, Mapping[str, Any] | str]]) -> QuotesFile:
    """``found``: where it stands, and its fields, or why it has none."""
    quotes: dict[str, Quoted] = {}
    wrong: list[WrongLine] = []
    count = 0
    for where, fields in found:
        symbol, read = (None, fields) if isinstance(fields, str) else _read(fields)
        if isinstance(read, Quoted):
            assert symbol is not None
            if symbol not in quotes or read.at >= quotes[symbol].at:
                quotes[symbol] = read
            continue
        count += 1
        if len(wrong) < MOST_KEPT or symbol is not None:
            wrong.append(WrongLine(where, symbol, read))
    return QuotesFile(quotes, tuple(wrong), count)


def _read(fields: Mapping[str, Any]) -> tuple[str | None, Quoted | str]:
    """The symbol, where it can be read, and its quote, or why that is none."""
    try:
        symbol = parse_symbol(fields.get("symbol"))
    except ValueError:
        return None, "there is no symbol"
    price, at = number_of(fields.get("price")), time_of(fields.get("time"))
    if price is None:
        return symbol, f"price is {_shown(fields.get('price'))}, not a number such as 189.25"
    if at is None:
        return symbol, f"time is {_shown(fields.get('time'))}; write one such as 2027-01-04T15:30:00Z"
    before = _previous(fields.get("previous_close"))
    if isinstance(before, str):
        return symbol, before
    currency = as_text(fields.get("currency")) or None
    if currency is not None and not _CURRENCY.fullmatch(currency):
        return symbol, f"currency is {_shown(currency)}; write one such as USD, or GBX for pence"
    quoted = Quoted(price, before, currency, at)
    return symbol, wrong_quote(quoted) or quoted


def _previous(value: Any) -> Decimal | str | None:
    """None where nothing is written."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    number = number_of(value)
    return f"previous_close is {_shown(value)}, not a number" if number is None else number


def _rows(lines: list[str]) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    """Each line by itself, so that a quotation mark that nobody closes spoils no other one."""
    if len(lines) > MOST_LINES:
        raise ParseError(f"the file has more than {MOST_LINES} lines", Reason.UNREADABLE)
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip() and line.lstrip()[:1] != "#")
    number, head = next(numbered, (1, ""))
    delimiter = max(_DELIMITERS, key=head.count)
    names = _cells(head, delimiter)
    columns = [] if isinstance(names, str) else [name.lower().replace(" ", "_") for name in names]
    if missing := [name for name in NEEDED if name not in columns]:
        said = f"line {number} names no column {' and no column '.join(missing)}"
        raise ParseError(f"{said}; the first line names symbol, price, time, ...", Reason.UNREADABLE)
    for number, line in numbered:
        cells = _cells(line, delimiter)
        if isinstance(cells, str):
            yield f"line {number}", cells
        elif len(cells) < len(columns) or any(cells[len(columns) :]):
            yield f"line {number}", f"it has {len(cells)} cells, and the first line {len(columns)}"
        else:
            yield f"line {number}", dict(zip(columns, cells, strict=False))


def _cells(line: str, delimiter: str) -> list[str] | str:
    try:
        (cells,) = csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True)
    except (csv.Error, ValueError):
        return "it is no line of CSV"
    return [cell.strip() for cell in cells]


def _entries(value: Any) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    quotes = as_object(value).get("quotes", value)
    if isinstance(quotes, dict):
        listed = [{"symbol": symbol, **as_object(said)} for symbol, said in quotes.items()]
    elif isinstance(quotes, list):
        listed = [said if isinstance(said, dict) else {} for said in quotes]
    else:
        raise ParseError("the file is JSON, but neither a list nor an object of quotes", Reason.UNREADABLE)
    for number, said in enumerate(listed, 1):
        yield f"entry {number}", said


def _shown(value: Any) -> str:
    text = repr(value)
    return "missing" if value in (None, "") else text if len(text) <= 40 else f"{text[:40]}..."
