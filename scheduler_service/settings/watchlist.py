"""The watchlist's short forms written out: bare symbols, and a file of its own.

The file is CSV with a header: ``symbol``, and where wanted ``name``, ``exchange``, ``tags`` (separated by spaces or
semicolons) and ``priority``. Everything in it is text, so ``ON``, ``TRUE`` and ``0700`` need no quotes.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from scheduler_service.errors import Problem
from scheduler_service.settings.explain import did_you_mean
from scheduler_service.settings.tree import KEYED, Loc, Node, Where, join, name_of, printable
from scheduler_service.settings.units import shown
from scheduler_service.settings.yaml_file import read_text

COLUMNS = ("symbol", "name", "exchange", "tags", "priority")
MAX_BYTES = 10_000_000


def write_out(root: Node, problems: list[Problem]) -> Node:
    """The file's tree with a watchlist of mappings; names that stand twice in one list are problems."""
    if not isinstance(root.value, dict):
        return root
    value = dict(root.value)
    if "watchlist" in value:
        value["watchlist"] = _watchlist(value["watchlist"], problems)
    for loc, key in KEYED.items():
        if str(loc[0]) in value:
            _refuse_doubles(value[str(loc[0])], loc, key, problems)
    return replace(root, value=value)


def _watchlist(node: Node, problems: list[Problem]) -> Node:
    if isinstance(node.value, list):
        return replace(node, value=[_entry(item) for item in node.value])
    if not isinstance(node.value, dict):
        return node
    file = node.value.get("file")
    for key, child in node.value.items():
        if key != "file":
            right = did_you_mean(key, ["file"])
            problems.append(
                Problem(
                    str(child.key or child.where), join("watchlist", key), f"there is no setting {shown(key)}", right
                )
            )
    if file is None or not isinstance(file.value, str) or not file.value.strip() or "\0" in file.value:
        wrong = "a watchlist is a list of symbols or {file: watchlist.csv}"
        problems.append(Problem(str((file or node).where), "watchlist", wrong, "write one of them"))
        return replace(node, value=[])
    path = file.where.folder / Path(file.value)
    return replace(node, value=_read_csv(path, file.where, problems))


def _entry(item: Node) -> Node:
    if isinstance(item.value, (dict, list)):
        return item
    return replace(item, value={"symbol": Node(item.value, item.where)})


def _read_csv(path: Path, named_at: Where, problems: list[Problem]) -> list[Node]:
    unreadable: list[Problem] = []
    text = read_text(path, unreadable, MAX_BYTES)
    if text is None:
        problems.extend(Problem(str(named_at), "watchlist.file", f"{p.where}: {p.wrong}", p.right) for p in unreadable)
        return []
    file = Where(str(path), folder=path.absolute().parent)
    rows = csv.reader(text.splitlines(), strict=True)
    items: list[Node] = []
    begins = 1
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
        if not _check_header(header, replace(file, line=1, column=1), problems):
            return []
        begins = rows.line_num + 1
        for row in rows:
            if any(cell.strip() for cell in row):
                items.append(_row(header, row, replace(file, line=begins, column=1), problems))
            begins = rows.line_num + 1
    except csv.Error as error:  # an unclosed quote runs to the end of the file: it is in the row that began
        wrong = f"the row that begins here is not CSV: {error}"
        problems.append(Problem(f"{path}:{begins}:1", "watchlist", wrong, "check its quotes"))
    return items


def _check_header(header: list[str], where: Where, problems: list[Problem]) -> bool:
    before = len(problems)
    for name in header:
        if name not in COLUMNS:
            problems.append(
                Problem(str(where), "watchlist", f"there is no column {shown(name)}", did_you_mean(name, COLUMNS))
            )
        elif header.count(name) > 1:
            problems.append(Problem(str(where), "watchlist", f"the column {name} stands twice", "keep one"))
    if "symbol" not in header:
        wrong = "the first line must name the columns, and symbol among them"
        problems.append(Problem(str(where), "watchlist", wrong, f"write {','.join(COLUMNS)}"))
    return len(problems) == before


def _row(header: list[str], row: list[str], where: Where, problems: list[Problem]) -> Node:
    if len(row) > len(header):
        wrong = f"{len(row)} values stand under {len(header)} columns"
        problems.append(Problem(str(where), "watchlist", wrong, "put a value with a comma in double quotes"))
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=False)}
    value = {name: Node(cell, where) for name, cell in cells.items() if cell or name == "symbol"}
    if "tags" in value:
        value["tags"] = Node([Node(tag, where) for tag in cells["tags"].replace(";", " ").split()], where)
    return Node(value, where)


def _refuse_doubles(node: Node, loc: Loc, key: str, problems: list[Problem]) -> None:
    first: dict[str, Where] = {}
    for item in node.value if isinstance(node.value, list) else []:
        name = name_of(item, key)
        if name is None:
            continue
        if name in first:
            wrong = f"the {key} {shown(name)} stands here a second time"
            problems.append(
                Problem(
                    str(item.where), f"{loc[0]}[{printable(name)}]", wrong, f"the first is at {first[name]}; keep one"
                )
            )
        first.setdefault(name, item.where)
