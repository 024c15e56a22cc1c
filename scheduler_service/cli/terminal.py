"""Printing. Text from upstream is shown as it is written: neither control sequences nor markup in it take effect."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scheduler_service.cli.reader_gone import to_nowhere
from scheduler_service.redaction import escape, redact

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

    A cell is made safe unless it is a ``Text``.
    """
    made = Table(box=box.SIMPLE_HEAD, title=safe(title), title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        justify: JustifyMethod = "right" if column in numbers else "left"
        made.add_column(column, justify=justify, no_wrap=column not in long, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else safe(cell) for cell in row))
    console().print(made)
