"""The envelope of a document: the contract that readers depend on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scheduler_service.clock import HOUR, MINUTE, SECOND
from scheduler_service.models import Reason, StockState
from scheduler_service.stores.document_store import DocumentRow
from scheduler_service.stores.publisher import render
from tests.ledger_support import NOW

ROW = DocumentRow("notes", "BRK.B", 7, 6, None, b'{"words":["caf\xc3\xa9"]}', NOW + 250_000)
OK = StockState(NOW, NOW + SECOND, NOW - HOUR, "ok")


def rendered(states: dict[str, StockState], required: tuple[str, ...] = (), *, sandbox: bool = False) -> Any:
    return json.loads(render(ROW, states, required, sandbox=sandbox))


def test_it_has_the_members_of_the_contract_and_no_others() -> None:
    failed = StockState(None, None, None, "failed", Reason.TIMEOUT, 3)
    assert rendered({"edgar": OK, "attic": failed}, ("edgar",)) == {
        "schema_version": 1,
        "domain": "notes",
        "symbol": "BRK.B",
        "sandbox": False,
        "checked_at": "2026-11-23T14:30:01Z",
        "changed_at": "2026-11-23T14:30:00Z",
        "sources": {
            "attic": {"checked_at": None, "changed_at": None, "status": "failed", "reason": "timeout"},
            "edgar": {
                "checked_at": "2026-11-23T14:30:01Z",
                "changed_at": "2026-11-23T13:30:00Z",
                "status": "ok",
                "reason": None,
            },
        },
        "data": {"words": ["café"]},
    }


def test_it_marks_sandbox_data() -> None:
    assert rendered({}, sandbox=True)["sandbox"] is True


@pytest.mark.parametrize(
    ("required", "checked_at"),
    [
        (("old", "new"), "2026-11-23T14:20:00Z"),
        (("new",), "2026-11-23T14:29:00Z"),
        (("new", "never"), None),
        (("new", "unknown"), None),
        ((), None),
    ],
)
def test_it_was_checked_when_the_required_source_was_that_was_checked_longest_ago(
    required: tuple[str, ...], checked_at: str | None
) -> None:
    states = {
        "old": StockState(checked_at=NOW - 10 * MINUTE),
        "new": StockState(checked_at=NOW - MINUTE),
        "never": StockState(),
    }
    assert rendered(states, required)["checked_at"] == checked_at


def test_it_is_the_same_bytes_for_the_same_facts_in_any_order() -> None:
    states = {"b": OK, "a": StockState(), "c": OK}
    twin = dict(sorted(states.items()))
    body = render(ROW, states, ("a", "b"), sandbox=True)
    assert body == render(ROW, twin, ("a", "b"), sandbox=True)
    assert body.endswith(b"}\n")
    assert "café".encode() in body, "UTF-8, not escapes"
