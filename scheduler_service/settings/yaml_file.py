"""YAML 1.2 text to a tree of values with their places.

Read from ruamel's event stream: every fault of a file is found in one pass, nothing is ever constructed from a tag, and
depth is bounded before anything recurses. Scalars follow the core schema of YAML 1.2
(https://yaml.org/spec/1.2.2/#103-core-schema) without its octal, hexadecimal and infinite numbers: ``NO``, ``ON``,
``12:30:45`` and ``2026-01-01`` are text.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML
from ruamel.yaml import events as e
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from scheduler_service.errors import Problem
from scheduler_service.settings.tree import Node, Scalar, Where, join

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
NOT_THERE = ("the file does not exist", "give the path of an existing one")

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,30}|[0-9]{1,30}(?:\.[0-9]{0,30})?)(?:[eE][-+]?[0-9]{1,3})?")


def read_text(path: Path, problems: list[Problem], max_bytes: int = MAX_BYTES) -> str | None:
    """The text of a file, or None and the problem why not. A byte order mark is dropped."""
    try:
        with path.open("rb") as file:
            body = file.read(max_bytes + 1)
    except FileNotFoundError:
        problems.append(Problem(str(path), "", *NOT_THERE))
        return None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        problems.append(Problem(str(path), "", f"the file cannot be read: {why}"))
        return None
    if len(body) > max_bytes:
        wrong = f"the file is larger than {max_bytes // 1000} KB"
        problems.append(
            Problem(str(path), "", wrong, "put a long watchlist into a file of its own: {file: watchlist.csv}")
        )
        return None
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = _position(body[: error.start].decode("utf-8-sig", "replace"), Where(str(path)))
        problems.append(
            Problem(str(where), "", f"byte 0x{body[error.start]:02x} is not UTF-8", "save the file as UTF-8")
        )
        return None


def read_yaml(path: Path, problems: list[Problem]) -> Node | None:
    """The file's top-level mapping. None where it could not be read; whatever is wrong is in ``problems``."""
    text = read_text(path, problems)
    return None if text is None else parse_yaml(text, Where(str(path), folder=path.absolute().parent), problems)


def parse_yaml(text: str, file: Where, problems: list[Problem]) -> Node | None:
    """As ``read_yaml``, of text already read; ``file`` is its name and folder."""
    building = _Building(file, problems)
    try:
        building.take(YAML(typ="safe", pure=True).parse(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = replace(file, line=mark.line + 1, column=mark.column + 1) if mark else file
        problems.append(_syntax_problem(where, str(error.problem or error.context or "it cannot be understood")))
        return None
    except ReaderError as error:
        where = _position(text[: error.position], file)
        problems.append(
            Problem(str(where), "", f"character U+{ord(text[error.position]):04X} is not allowed", "remove it")
        )
        return None
    except (YAMLError, ValueError, OverflowError, AssertionError, IndexError) as error:
        problems.append(Problem(str(file), "", f"this is not YAML: {str(error).splitlines()[0]}"))
        return None
    return building.mapping()


class _Building:
    """One document from events, with a stack instead of recursion."""

    def __init__(self, file: Where, problems: list[Problem]) -> None:
        self._file = file
        self._problems = problems
        self._open: list[Node] = []
        self._keys: list[Node | None] = []
        self._documents = 0
        self._stopped = False
        self._root: Node | None = None

    def take(self, events: Iterable[e.Event]) -> None:
        for event in events:
            where = replace(self._file, line=event.start_mark.line + 1, column=event.start_mark.column + 1)
            if isinstance(event, e.DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    self._problem(
                        where, "a second document starts here", "keep one per file; -c can be given several times"
                    )
                    return
            elif isinstance(event, e.NodeEvent):
                self._check(event, where)
                if len(self._open) >= MAX_DEPTH and not isinstance(event, e.ScalarEvent):
                    wrong = f"nested deeper than {MAX_DEPTH} levels"
                    self._problems.append(Problem(str(where), "", wrong, "no setting is that deep"))
                    self._stopped = True
                    return
                self._node(event, where)
            elif isinstance(event, (e.MappingEndEvent, e.SequenceEndEvent)):
                self._keys.pop()
                self._add(self._open.pop())

    def mapping(self) -> Node | None:
        """The finished top level."""
        if self._root is not None and isinstance(self._root.value, dict):
            return self._root
        if self._stopped:
            return None
        if self._root is None or self._root.value is None:
            where = replace(self._file, line=1, column=1)
            self._problem(where, "the file is empty", "write at least one setting, such as `watchlist: [AAPL]`")
        else:
            where = self._root.where
            self._problem(where, "the file must hold settings as `key: value`", "such as `watchlist: [AAPL]`")
        return None

    def _check(self, event: e.NodeEvent, where: Where) -> None:
        if isinstance(event, e.AliasEvent):
            self._problem(where, f"the alias *{event.anchor} is not supported", "write the value out")
        elif event.anchor is not None:
            self._problem(where, f"the anchor &{event.anchor} is not supported", "remove it, and write values out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            shown = str(tag).replace("tag:yaml.org,2002:", "!!")
            self._problem(where, f"the tag {shown} is not supported", "remove it; text can be put in quotes")

    def _node(self, event: e.NodeEvent, where: Where) -> None:
        if isinstance(event, e.MappingStartEvent):
            self._start(Node({}, where))
        elif isinstance(event, e.SequenceStartEvent):
            self._start(Node([], where))
        elif isinstance(event, e.ScalarEvent):
            is_key = bool(self._open) and isinstance(self._open[-1].value, dict) and self._keys[-1] is None
            is_plain = event.implicit[0] and event.tag is None and not is_key
            self._add(Node(_resolve(event.value) if is_plain else event.value, where))
        else:
            self._add(Node(None, where))

    def _start(self, node: Node) -> None:
        self._open.append(node)
        self._keys.append(None)

    def _add(self, node: Node) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1].value
        if isinstance(parent, list):
            parent.append(node)
        elif isinstance(parent, dict):
            key = self._keys[-1]
            if key is None:
                self._keys[-1] = node
                return
            self._keys[-1] = None
            self._pair(parent, key, node)

    def _pair(self, parent: dict[str, Node], key: Node, node: Node) -> None:
        if not isinstance(key.value, str):
            self._problem(key.where, "a key must be text", "write `key: value`")
            return
        first = parent.get(key.value)
        if first is not None and first.key is not None:
            wrong = f"the key {key.value!r} stands here a second time"
            self._problem(key.where, wrong, f"the first is at line {first.key.line}; keep one")
            return
        parent[key.value] = replace(node, key=key.where)

    def _problem(self, where: Where, wrong: str, right: str) -> None:
        self._problems.append(Problem(str(where), self._path(), wrong, right))

    def _path(self) -> str:
        path = ""
        for node, key in zip(self._open, self._keys, strict=True):
            if isinstance(node.value, list):
                path += f"[{len(node.value)}]"
            elif key is not None:
                path = join(path, str(key.value))
        return path


def _resolve(text: str) -> Scalar:
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _syntax_problem(where: Where, said: str) -> Problem:
    if "\\t" in said or "\t" in said:
        return Problem(str(where), "", "a tab stands where only spaces are allowed", "indent with spaces")
    return Problem(
        str(where), "", f"this is not YAML: {said}", "quoting the value, or two spaces of indentation, often helps"
    )


def _position(before: str, file: Where) -> Where:
    lines = before.split("\n")
    return replace(file, line=len(lines), column=len(lines[-1]) + 1)
