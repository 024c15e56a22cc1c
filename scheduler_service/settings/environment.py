"""Environment variables as a tree: ``SCHEDULER_HTTP__PORT=9000`` is ``http: {port: 9000}``.

Lists and mappings are JSON: lists replace what the files say, mappings merge. ``null`` is null; everything else is
text, which validation turns into what the setting needs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler_service.errors import Problem
from scheduler_service.settings.tree import Node, Where, merge
from scheduler_service.settings.yaml_file import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "SCHEDULER_"
CONFIG_VARIABLE = "SCHEDULER_CONFIG"


def read_environment(environ: Mapping[str, str], folder: Path, problems: list[Problem]) -> Node:
    """Every ``SCHEDULER_`` variable but ``SCHEDULER_CONFIG``; ``folder`` is what relative paths start from."""
    root = Node({}, Where("environment", folder=folder))
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable != CONFIG_VARIABLE:
            where = Where(f"environment {variable}", folder=folder, variable=variable)
            node = _value(environ[variable], where, problems)
            if node is None:
                continue
            for key in reversed(variable.removeprefix(PREFIX).lower().split("__")):
                node = Node({key: node}, where, where)
            root = merge(root, node, by_name=False)
    return root


def respelled(variable: str, depth: int, name: str) -> str | None:
    """The variable with the setting at this depth spelled as ``name``; None where it does not go that deep."""
    parts = variable.removeprefix(PREFIX).split("__") if variable else []
    return PREFIX + "__".join([*parts[:depth], name.upper(), *parts[depth + 1 :]]) if depth < len(parts) else None


def _value(text: str, where: Where, problems: list[Problem]) -> Node | None:
    if not text.lstrip().startswith(("[", "{")):
        return Node(None if text == "null" else text, where, where)
    try:
        return _node(json.loads(text, parse_constant=_refuse), where, 0)
    except (ValueError, RecursionError) as error:
        said = (
            f"{error.msg} at character {error.pos + 1}"
            if isinstance(error, json.JSONDecodeError)
            else "it cannot be read"
        )
        problems.append(Problem(str(where), "", f"this is not JSON: {said}", 'write a list as ["AAPL", "NVDA"]'))
        return None


def _node(value: object, where: Where, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise ValueError("too deep")
    if isinstance(value, dict):
        return Node({str(k): _node(v, where, depth + 1) for k, v in value.items()}, where, where)
    if isinstance(value, list):
        return Node([_node(v, where, depth + 1) for v in value], where, where)
    if value is None or isinstance(value, (str, int, float)):
        return Node(value, where, where)
    raise ValueError("not JSON")


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
