"""How far each model can be trusted: what became of the figures that it states, over all documents."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Text, case, cast, distinct, func, select, true

from scheduler_service.stores.schema import document

if TYPE_CHECKING:
    from sqlalchemy import Connection

_CHECK = func.json_each(cast(document.c.data, Text), "$.checks").table_valued("value")
_SOURCE = func.json_extract(_CHECK.c.value, "$.source")
_VERDICT = func.json_extract(_CHECK.c.value, "$.verdict")
_COUNTS = (
    select(
        _SOURCE,
        *(func.sum(case({one: 1}, value=_VERDICT, else_=0)) for one in ("verified", "conflicting", "unverified")),
        func.json_group_array(distinct(document.c.symbol)).filter(_VERDICT == "conflicting"),
    )
    .select_from(document.join(_CHECK, true()))
    .where(func.instr(document.c.data, b'"checks":[{') > 0)  # most documents have none, and are not read
    .group_by(_SOURCE)
    .order_by(_SOURCE)
)


@dataclass(frozen=True, slots=True)
class CheckCount:
    """Of one source: how many of its figures a filing bears out, how many it contradicts, and how many no filing
    covers. ``conflicting_symbols``: the stocks whose figures are contradicted.
    """

    source: str
    verified: int
    conflicting: int
    unverified: int
    conflicting_symbols: tuple[str, ...] = ()


def check_counts(conn: Connection) -> list[CheckCount]:
    found = []
    for row in conn.execute(_COUNTS):
        source, verified, conflicting, unverified, symbols = tuple(row)
        found.append(CheckCount(source, verified, conflicting, unverified, tuple(sorted(json.loads(symbols)))))
    return found
