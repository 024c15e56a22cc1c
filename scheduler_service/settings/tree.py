"""What was written, and where: the configuration as a tree whose every node knows its place. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Scalar: TypeAlias = "str | int | float | bool | None"
Loc: TypeAlias = "tuple[str | int, ...]"

KEYED = {("schedules",): "id", ("watchlist",): "symbol"}
"""The lists whose items have a name: they are merged and shown by it."""

LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a file; lines and columns count from 1. An environment variable has neither."""

    source: str
    line: int = 0
    column: int = 0
    folder: Path = Path()
    """What a relative path written here starts from."""
    variable: str = ""

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands; ``key`` is where its key stands, in a mapping."""

    value: Scalar | list[Node] | dict[str, Node]
    where: Where
    key: Where | None = None


class Written(str):
    """Text that remembers the folder its file is in, for paths; and whether a variable holds it, where all is text."""

    __slots__ = ("folder", "in_variable")
    folder: Path
    in_variable: bool

    @classmethod
    def at(cls, text: str, where: Where) -> Written:
        written = cls(text)
        written.folder, written.in_variable = where.folder, bool(where.variable)
        return written


def name_of(item: Node, key: str) -> str | None:
    """The name by which an item of a keyed list goes; None where it has no usable one."""
    named = item.value.get(key) if isinstance(item.value, dict) else None
    if named is None or not isinstance(named.value, str):
        return None
    return named.value.strip().upper() if key == "symbol" else named.value


def plain(node: Node) -> object:
    """The values alone."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return Written.at(node.value, node.where) if isinstance(node.value, str) else node.value


def merge(base: Node, over: Node, loc: Loc = (), *, by_name: bool = True) -> Node:
    """``over`` on ``base``: mappings merge, everything else is replaced; with ``by_name`` the keyed lists merge too."""
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        merged = dict(base.value)
        for key, child in over.value.items():
            merged[key] = merge(merged[key], child, (*loc, key), by_name=by_name) if key in merged else child
        return replace(over, value=merged)
    if by_name and loc in KEYED and isinstance(base.value, list) and isinstance(over.value, list):
        return replace(over, value=_merge_by_name(base.value, over.value, KEYED[loc]))
    return over


def _merge_by_name(base: list[Node], over: list[Node], key: str) -> list[Node]:
    items = list(base)
    places = {name: i for i, item in enumerate(base) if (name := name_of(item, key)) is not None}
    for item in over:
        name = name_of(item, key)
        if name in places:
            items[places[name]] = merge(items[places[name]], item)
        else:
            items.append(item)
    return items


def without(node: Node, unwanted: set[Loc], loc: Loc = ()) -> Node:
    """The tree less the nodes at these places."""
    if isinstance(node.value, dict):
        pairs = ((key, child, (*loc, key)) for key, child in node.value.items())
        return replace(node, value={k: without(c, unwanted, at) for k, c, at in pairs if at not in unwanted})
    if isinstance(node.value, list):
        items = ((child, (*loc, i)) for i, child in enumerate(node.value))
        return replace(node, value=[without(c, unwanted, at) for c, at in items if at not in unwanted])
    return node


def walk(node: Node, path: str = "", loc: Loc = ()) -> Iterator[tuple[str, Node]]:
    """Every node with its path as people read it: ``http.port``, ``schedules[news-intraday].trigger``."""
    yield path, node
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from walk(child, join(path, key), (*loc, key))
    elif isinstance(node.value, list):
        for i, child in enumerate(node.value):
            yield from walk(child, f"{path}[{label(child, i, loc)}]", (*loc, i))


def label(item: Node, index: int, loc: Loc) -> str:
    """How an item of the list at ``loc`` is shown: by its name, or its number."""
    return printable((name_of(item, KEYED[loc]) if loc in KEYED else None) or str(index))


def join(path: str, key: str) -> str:
    """The path of what stands under ``key``."""
    return f"{path}.{printable(key)}" if path else printable(key)


def printable(name: str) -> str:
    """A name as paths show it: without control characters, and not endless."""
    text = name if name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= LONGEST_NAME else text[:LONGEST_NAME] + "..."


def find(root: Node, loc: Loc) -> tuple[str, Node, Loc]:
    """The deepest node on the way to ``loc``, its path, and the steps that exist.

    Steps that name no node are passed over: validation puts the names of union members and the like among them.
    """
    path, node, taken = "", root, ()  # type: tuple[str, Node, Loc]
    for step in loc:
        if isinstance(node.value, dict) and isinstance(step, str) and step in node.value:
            path = join(path, step)
            node, taken = node.value[step], (*taken, step)
        elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
            path = f"{path}[{label(node.value[step], step, taken)}]"
            node, taken = node.value[step], (*taken, step)
    return path, node, taken
