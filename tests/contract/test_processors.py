"""What every domain and every source must do, whichever they are: a new one arrives already tested."""

from __future__ import annotations

import json
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clock import DAY, HOUR, MINUTE, from_iso
from scheduler_service.models import Contribution, Kind, Reason, TaskState
from scheduler_service.processors.base import discover
from scheduler_service.sandbox.faults import Fault, FaultKind
from tests.contract.bench import on_the_bench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.contract.bench import Bench

SOURCES = [(domain, source.name) for domain, processor in discover().items() for source in processor.sources]
SYMBOL = "AAPL"
OTHERS = ("NVDA", "ACMEX")
KINDS = (Kind.FILING, Kind.FEED, Kind.MODEL)
STRANGE = {
    "html": Fault(kind=FaultKind.HTML),
    "empty": Fault(kind=FaultKind.EMPTY),
    "nan": Fault(kind=FaultKind.NAN),
    "brackets": Fault(kind=FaultKind.BRACKETS),
    "truncated": Fault(kind=FaultKind.TRUNCATED),
    "wrong_company": Fault(kind=FaultKind.WRONG_COMPANY),
    "404": Fault(kind=FaultKind.STATUS, status=404),
    "500": Fault(kind=FaultKind.STATUS, status=500),
}

pytestmark = pytest.mark.parametrize(("domain", "source"), SOURCES, ids=[f"{d}-{s}" for d, s in SOURCES])


@pytest.fixture
async def bench(tmp_path: Path, domain: str, source: str) -> AsyncIterator[Bench]:
    async with on_the_bench(tmp_path, domain, source) as bench:
        yield bench


async def test_the_first_fetch_completes_with_a_contribution_that_validates(bench: Bench) -> None:
    outcome = await bench.fetch(SYMBOL)
    assert (outcome.state, outcome.reason) == (TaskState.COMPLETED, None)
    assert outcome.contribution is not None
    data = bench.processor.read(outcome.contribution)
    assert type(data) is bench.processor.record
    assert data.model_dump_json().encode() == outcome.contribution
    assert isinstance(outcome.kind, Kind)
    assert outcome.calls
    assert outcome.as_of == bench.clock.now()
    assert bench.asked()


async def test_a_second_fetch_in_the_same_minute_asks_nobody(bench: Bench) -> None:
    await bench.fetch(SYMBOL)
    bench.asked()
    before = await bench.stored(SYMBOL)
    bench.clock.advance(MINUTE // 2)
    outcome = await bench.fetch(SYMBOL)
    assert (outcome.state, outcome.reason) == (TaskState.SKIPPED, Reason.FRESH)
    assert bench.asked() == []
    assert await bench.stored(SYMBOL) == before


async def test_force_asks_again_and_nothing_new_changes_nothing(bench: Bench) -> None:
    await bench.fetch(SYMBOL)
    first = bench.asked()
    before = await bench.stored(SYMBOL)
    bench.clock.advance(MINUTE // 2)
    assert (await bench.fetch(SYMBOL, force=True)).state is TaskState.COMPLETED
    assert bench.asked() == first
    assert await bench.stored(SYMBOL) == before


async def test_every_fact_says_where_it_comes_from(bench: Bench) -> None:
    outcome = await bench.fetch(SYMBOL)
    assert outcome.contribution is not None
    origins = list(_origins(json.loads(outcome.contribution), None))
    assert origins
    answers = {str(call_id) for call_id in outcome.calls}
    for origin in origins:
        assert origin is not None, "a figure without provenance"
        assert origin["kind"] == Kind.SANDBOX
        assert origin["call_id"] in answers
        assert from_iso(origin["fetched_at"]) <= bench.clock.now()
        assert origin["url"] or origin["accession"]


async def test_what_is_merged_does_not_depend_on_the_order_and_merging_again_changes_nothing(bench: Bench) -> None:
    said = [await _said(bench, symbol) for symbol in (SYMBOL, *OTHERS)]
    processor = bench.processor
    contributions = [
        Contribution(f"source-{n}", kind, data) for n, (kind, data) in enumerate(zip(KINDS, said, strict=True))
    ]
    contributions.append(Contribution("source-3", KINDS[0], said[-1]))
    merged = {
        processor.merge(processor.order({c.source: c for c in order})).model_dump_json()
        for order in permutations(contributions)
    }
    assert len(merged) == 1
    once = processor.read(merged.pop().encode())
    assert type(once) is processor.record
    alone = Contribution("source-0", KINDS[0], once)
    assert processor.merge([alone]) == once
    assert processor.merge(processor.order({c.source: c for c in (alone, *contributions[1:])})) == once


@pytest.mark.parametrize("fault", STRANGE)
async def test_a_strange_answer_fails_with_a_reason_and_disturbs_nothing(bench: Bench, fault: str) -> None:
    await bench.fetch(SYMBOL)
    paths = list(dict.fromkeys(bench.asked()))
    before, state = await bench.stored(SYMBOL), await bench.state(SYMBOL)
    struck = [path for path in paths if _can_tell(path, STRANGE[fault], bench.source)]
    for path in struck:
        bench.clock.advance(MINUTE)
        bench.upstream.faults.add(STRANGE[fault].model_copy(update={"path": path}))
        outcome = await bench.fetch(SYMBOL, force=True)
        assert (outcome.state, outcome.contribution) == (TaskState.FAILED, None), path
        assert isinstance(outcome.reason, Reason)
        assert outcome.reason is not Reason.INTERNAL_ERROR
        assert outcome.message
        assert await bench.stored(SYMBOL) == before
        assert (await bench.state(SYMBOL)).checked_at == state.checked_at
        bench.upstream.faults.clear()
    bench.clock.advance(2 * HOUR)
    assert (await bench.fetch(SYMBOL)).state is TaskState.COMPLETED


async def test_a_broken_answer_is_not_believed_for_ever(tmp_path: Path, domain: str, source: str) -> None:
    async with on_the_bench(tmp_path, domain, source) as bench:
        await bench.fetch(SYMBOL)
        paths = dict.fromkeys(bench.asked())
    for n, path in enumerate(path for path in paths if _can_tell(path, STRANGE["empty"], source)):
        async with on_the_bench(tmp_path / str(n), domain, source) as bench:
            bench.upstream.faults.add(STRANGE["empty"].model_copy(update={"path": path}))
            assert (await bench.fetch(SYMBOL)).state is TaskState.FAILED
            bench.upstream.faults.clear()
            bench.clock.advance(DAY)
            assert (await bench.fetch(SYMBOL)).state is TaskState.COMPLETED, path


async def test_an_unknown_symbol_says_so_in_words(bench: Bench) -> None:
    outcome = await bench.fetch("NOSUCH")
    assert (outcome.state, outcome.contribution) == (TaskState.FAILED, None)
    assert outcome.reason in (Reason.UNKNOWN_SYMBOL, Reason.NO_DATA)
    assert outcome.message is not None
    assert "NOSUCH" in outcome.message
    assert (await bench.stored("NOSUCH")).document is None


def _can_tell(path: str, fault: Fault, source: str) -> bool:
    """Whether this source could see this fault there: the table of all companies is no one's, and a feed names none. A
    404 from where questions are posted is about the endpoint, and no answer: the gates and the news go round it. A link
    to an exhibit is no reason to do without figures, nor a company's name one to do without a feed.
    """
    if path.endswith("-index.htm") or (source == "feeds" and path.endswith("tickers.json")):
        return False
    if fault.kind is FaultKind.WRONG_COMPANY:
        return "CIK" in path or path == "/v1/agent"
    return fault.status != 404 or path not in ("/v1/agent", "/search")


async def _said(bench: Bench, symbol: str) -> Any:
    outcome = await bench.fetch(symbol)
    assert outcome.contribution is not None
    return bench.processor.read(outcome.contribution)


def _origins(value: Any, nearest: dict[str, Any] | None) -> Iterator[dict[str, Any] | None]:
    """Every provenance, and for every figure the one nearest around it."""
    if isinstance(value, dict):
        nearest = value.get("provenance", nearest)
        if "provenance" in value:
            yield value["provenance"]
        for inner in value.values():
            yield from _origins(inner, nearest)
    elif isinstance(value, list):
        for inner in value:
            yield from _origins(inner, nearest)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield nearest
