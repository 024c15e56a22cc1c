"""CONTRIBUTING.md says that two files make a domain: this takes them from there and runs them."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from scheduler_service.calls import Answer
from scheduler_service.clients.edgar_client import EdgarClient
from scheduler_service.clock import DAY, HOUR
from scheduler_service.models import RunOrigin, StockState, Symbol, Task, TaskState
from scheduler_service.processors.base import SourcePolicy, discover
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scheduler_service.calls import Resource

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
PLACE = re.compile(r"`scheduler_service/([a-z_]+)/([a-z_]+)\.py`:\n\n```python\n(.*?)```", re.DOTALL)

COLUMNS = {
    "accessionNumber": ["0000000007-26-000002", "0000000007-26-000001"],
    "filingDate": ["2026-11-20", "2026-08-20"],
    "reportDate": ["2026-09-30", "2026-06-30"],
    "form": ["10-Q", "8-K"],
    "items": ["", "2.02"],
    "primaryDocument": ["q3.htm", "release.htm"],
    "primaryDocDescription": ["10-Q", "8-K"],
    "isXBRL": [1, 0],
}
TICKERS = json.dumps({"0": {"cik_str": 7, "ticker": "ACME", "title": "Acme"}}).encode()
SUBMISSIONS = json.dumps({"cik": "7", "name": "Acme", "tickers": ["ACME"], "filings": {"recent": COLUMNS}}).encode()


async def ask(resource: Resource, parse: Callable[[bytes], T]) -> Answer[T]:
    body = TICKERS if "tickers" in resource.request.url else SUBMISSIONS
    return Answer(parse(body), "call-1", resource.request.url, FakeClock().now(), sandbox=False, asked=True)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The two files, in a package of their own beside ours."""
    blocks = PLACE.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert [folder for folder, _, _ in blocks] == ["parsers", "processors"]
    own = "|".join(rf"{folder}\.{name}" for folder, name, _ in blocks)
    for folder, name, code in blocks:
        (tmp_path / "addition" / folder).mkdir(parents=True)
        moved = re.sub(rf"scheduler_service\.({own})\b", r"addition.\1", code)
        (tmp_path / "addition" / folder / f"{name}.py").write_text(moved, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "addition.processors"
    for module in [module for module in sys.modules if module.split(".")[0] == "addition"]:
        del sys.modules[module]


async def test_two_files_make_a_domain(package: str) -> None:
    found: dict[str, Any] = discover(package)
    assert list(found) == ["filings"]
    clock = FakeClock()
    processor = found["filings"](
        {"edgar": EdgarClient(EdgarClient.Options(user_agent="Test test@example.com"), clock)},
        [SourcePolicy("edgar", fresh_for=6 * HOUR)],
    )
    task = Task(1, 1, None, RunOrigin.MANUAL, "filings", "ACME", "edgar", due_at=clock.now(), attempt=1)

    outcome = await processor.process(task, {}, Symbol("ACME"), ask, clock.now())

    assert outcome.state is TaskState.COMPLETED
    data = processor.read(outcome.contribution)
    assert [(f.form, f.filed.isoformat(), f.provenance.accession) for f in data.filings] == [
        ("10-Q", "2026-11-20", "0000000007-26-000002"),
        ("8-K", "2026-08-20", "0000000007-26-000001"),
    ]
    fresh = {task.source: StockState(checked_for=clock.now() - HOUR)}
    assert (await processor.process(task, fresh, Symbol("ACME"), ask, clock.now())).state is TaskState.SKIPPED
    old = {task.source: StockState(checked_for=clock.now() - DAY)}
    assert (await processor.process(task, old, Symbol("ACME"), ask, clock.now())).state is TaskState.COMPLETED
