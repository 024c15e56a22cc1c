"""Quotes from end to end: asked for while the exchange is open, once while it is closed, and never a wrong document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from scheduler_service.clock import DAY, HOUR, MINUTE, from_iso
from scheduler_service.models import Reason, TaskState
from scheduler_service.sandbox.faults import Fault, FaultKind, WrongData
from scheduler_service.sandbox.prices import price_at
from scheduler_service.windows import usual_hours
from tests.contract.bench import on_the_bench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.contract.bench import Bench

CLOSE = from_iso("2026-11-23T21:00:00Z")
SYMBOL = "AAPL"
OPEN = from_iso("2026-11-23T14:30:00Z")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with on_the_bench(tmp_path, "quotes", "finnhub") as bench:
        yield bench


async def document(bench: Bench) -> dict[str, Any]:
    said = await bench.on_disk(SYMBOL)
    assert said is not None
    found: dict[str, Any] = said["data"]
    return found


def body(**changed: Any) -> bytes:
    good = {"c": 150, "pc": 149, "t": OPEN // 10**6}
    return orjson.dumps(good | changed)


async def test_at_night_one_look_is_enough_and_finds_the_close(bench: Bench) -> None:
    bench.clock.advance(CLOSE - 10 * MINUTE - bench.clock.now())
    assert (await bench.fetch(SYMBOL)).state is TaskState.COMPLETED
    bench.clock.advance(10 * HOUR)
    assert (await bench.fetch(SYMBOL)).reason is Reason.FRESH, "ten minutes of session, and it is good for twenty"
    assert (await bench.fetch(SYMBOL, force=True)).state is TaskState.COMPLETED
    assert (await document(bench))["as_of"] == "2026-11-23T21:00:00Z"
    bench.asked()
    for _ in range(3):
        bench.clock.advance(HOUR)
        assert (await bench.fetch(SYMBOL)).reason is Reason.FRESH
    assert bench.asked() == []
    bench.clock.advance(OPEN + DAY + 20 * MINUTE - bench.clock.now())
    assert (await bench.fetch(SYMBOL)).state is TaskState.COMPLETED
    assert (await document(bench))["as_of"] == "2026-11-24T14:50:00Z"


async def test_what_was_never_fetched_is_fetched_at_night_too(bench: Bench) -> None:
    bench.clock.advance(CLOSE + 5 * HOUR - bench.clock.now())
    assert (await bench.fetch(SYMBOL)).state is TaskState.COMPLETED
    assert (await document(bench))["as_of"] == "2026-11-23T21:00:00Z"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"c": 0}, Reason.NO_DATA),
        ({"c": -5}, Reason.NO_DATA),
        ({"c": 15_000}, Reason.NO_DATA),
        ({"t": (OPEN + DAY) // 10**6}, Reason.NO_DATA),
        ({"t": OPEN // 10**6 - 3_600}, Reason.DOUBTFUL),
        ({"c": 400, "pc": None}, Reason.DOUBTFUL),
        ({"c": 0, "pc": 0, "t": 0}, Reason.UNKNOWN_SYMBOL),
    ],
)
async def test_a_wrong_quote_changes_no_document(bench: Bench, changed: dict[str, Any], reason: Reason) -> None:
    good = Fault(kind=FaultKind.BODY, body=body().decode(), count=1)
    bench.upstream.faults.add(good)
    await bench.fetch(SYMBOL)
    before = await bench.stored(SYMBOL)
    bench.upstream.faults.add(good.model_copy(update={"body": body(**changed).decode()}))
    bench.clock.advance(MINUTE)
    await bench.fetch(SYMBOL, force=True)
    state = await bench.state(SYMBOL)
    assert (state.status, state.reason) == ("failed", reason)
    assert await bench.stored(SYMBOL) == before
    assert (await document(bench))["price"] == 150


async def test_zeros_and_old_prices_of_an_upstream_stay_out(bench: Bench) -> None:
    await bench.fetch(SYMBOL)
    before = await bench.stored(SYMBOL)
    for kind in (WrongData.ZEROS, WrongData.OLDER):
        bench.clock.advance(MINUTE)
        bench.upstream.faults.add(Fault(kind=kind, count=1))
        await bench.fetch(SYMBOL, force=True)
        assert (await bench.state(SYMBOL)).status == "failed"
        assert await bench.stored(SYMBOL) == before


def test_prices_in_the_sandbox_are_a_function_of_seed_and_time_and_quiet_at_night() -> None:
    calendar = usual_hours("XNYS")

    def at(instant: int, seed: int = 0) -> tuple[float, float, int]:
        price = price_at(SYMBOL, instant, calendar, seed)
        return price.now, price.previous_close, price.at

    assert at(OPEN + HOUR) == at(OPEN + HOUR)
    assert at(OPEN + HOUR) != at(OPEN + HOUR, seed=1)
    assert {at(CLOSE + n * HOUR) for n in range(17)} == {at(CLOSE)}
    assert at(CLOSE)[2] == CLOSE
    assert len({at(OPEN + n * MINUTE)[0] for n in range(390)}) > 50
    days = [at(OPEN + n * DAY) for n in (0, 1, 2, 3, 4, 7, 8, 9)]
    assert len({before for _, before, _ in days}) == len(days)
    assert all(abs(now / before - 1) < 0.15 for now, before, _ in days)
