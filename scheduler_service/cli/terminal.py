"""Printing. Text from upstream is shown as it is written: neither control sequences nor markup in it take effect."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from scheduler_service.cli.reader_gone import to_nowhere
from scheduler_service.redaction import escape, redact

WIDEST = 10_000
LONGEST_WORD = 24
"""A longer one, an address say, may be broken where a column is narrow."""

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import JustifyMethod


def safe(text: object, style: str = "") -> Text:
    """Text that can do nothing but be read."""
    return Text(escape(redact(str(text))), style=style)


def line(text: str = "", *, err: bool = False) -> None:
    """One line, however long."""
    _echo(escape(redact(text)), err=err)


def print_json(value: Any) -> None:
    """One JSON value in ASCII, so that no terminal finds an order in it."""
    _echo(json.dumps(value, indent=2, ensure_ascii=True))


def console(*, err: bool = False) -> Console:
    """A rich console that takes nothing for markup."""
    return _Console(stderr=err, markup=False, emoji=False, highlight=False)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        to_nowhere(sys.stdout)


def _echo(text: str, *, err: bool = False) -> None:
    try:
        click.echo(text, err=err)
    except BrokenPipeError:
        to_nowhere(sys.stderr if err else sys.stdout)


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Sequence[str] = (),
    long: Sequence[str] = (),
) -> None:
    """Prints a table. The columns in ``numbers`` are aligned to the right, those in ``long`` may take several lines.

    A cell is made safe unless it is a ``Text``. On a narrow terminal no column or word is cut: lines break.
    """
    cells = [[cell if isinstance(cell, Text) else safe(cell) for cell in row] for row in rows]
    output = console()
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        justify: JustifyMethod = "right" if column in numbers else "left"
        made.add_column(column, justify=justify, no_wrap=column not in long, overflow="fold")
    for row in cells:
        made.add_row(*row)
    whole = Measurement.get(output, output.options.update(width=WIDEST), made).maximum
    if whole > output.width:
        wanted = [max(map(_width, (safe(name), *column))) for name, *column in zip(columns, *cells, strict=True)]
        least = [
            max(map(_longest_word, (safe(name), *column))) if name in long else width
            for (name, *column), width in zip(zip(columns, *cells, strict=True), wanted, strict=True)
        ]
        widths = shares(output.width - (whole - sum(wanted)), least, wanted)
        for shown, width in zip(made.columns, widths, strict=True):
            shown.width = width
        output.width = max(output.width, whole - sum(wanted) + sum(widths))
    if title:
        output.print(safe(title, "bold"), soft_wrap=True)
    output.print(made)


def shares(room: int, least: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """The widths of columns that share ``room``: each has what it needs at ``least``, also where that is more than the
    room; what is left goes to the narrowest first, of those that want more. Pure.
    """
    widths = list(least)
    for _ in range(room - sum(least)):
        short = [n for n, width in enumerate(widths) if width < wanted[n]]
        if not short:
            break
        widths[min(short, key=lambda n: (widths[n], n))] += 1
    return widths


def _width(text: Text) -> int:
    return max((cell_len(part) for part in text.plain.split("\n")), default=0)


def _longest_word(text: Text) -> int:
    return min(max(map(cell_len, text.plain.split()), default=0), LONGEST_WORD)
