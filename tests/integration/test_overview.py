"""What status says of providers: their keys, their money, why they are not asked."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from scheduler_service.calls import Cost
from scheduler_service.clock import HOUR, MINUTE, to_iso, to_iso_seconds
from scheduler_service.engine import Engine
from scheduler_service.errors import Held
from scheduler_service.events.event_bus import EventBus
from scheduler_service.gates.keys import KeyPool
from scheduler_service.initialisation import OwnedTasks
from scheduler_service.models import Reason
from scheduler_service.overview import overview
from scheduler_service.sandbox.memory import BASE, MemoryTransport
from scheduler_service.stores.document_store import put_document
from scheduler_service.web.views import KeyView, ModelTrust, ProviderState, Readiness
from tests.contract.bench import sandbox_settings
from tests.integration.gates_support import sandbox
from tests.integration.paid_support import PRIMARY, SPARE, THIRD
from tests.integration.scheduling_bench import a_schedule
from tests.virtual_time import VirtualClock, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from scheduler_service.clock import Micros
    from scheduler_service.gates.gate import Gate
    from scheduler_service.web.views import Status

READY = Readiness(ready=True, state="ready", steps=())


@asynccontextmanager
async def opened(folder: Path, clock: VirtualClock) -> AsyncIterator[Engine]:
    engine = Engine(sandbox_settings(folder), clock, EventBus().publish, MemoryTransport(sandbox(clock), clock))
    owned = OwnedTasks(lambda problem: None)
    engine.directory.take()
    await engine.open_ledger()
    owned.start("ledger writer", engine.ledger.write_forever())
    await engine.open_gates()
    await engine.recover()
    try:
        yield engine
    finally:
        owned.stopping()
        engine.ledger.stop_writing()
        await owned.join("ledger writer")
        await engine.close()


async def look(engine: Engine) -> tuple[Status, ProviderState]:
    status = await overview(engine, READY, engine.clock.now(), [])
    return status, next(state for state in status.providers if state.provider == "perplexity")


def perplexity(engine: Engine, *secrets: str) -> Gate:
    """Its gate, with these keys."""
    gate = engine.gates.by_provider["perplexity"]
    gate.keys = KeyPool("perplexity", secrets, BASE)
    return gate


def set_aside(engine: Engine, gate: Gate, reason: Reason, micros: Micros) -> str:
    """The key in use; returns until when."""
    assert gate.keys is not None
    now = engine.clock.now()
    gate.keys.set_aside(gate.keys.take(BASE, now), reason, now + micros, now)
    return to_iso_seconds(now + micros)


def test_keys_are_shown_by_their_place_and_how_they_stand(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with opened(tmp_path, clock) as engine:
            gate = perplexity(engine, PRIMARY, SPARE, THIRD)
            refused = set_aside(engine, gate, Reason.REFUSED, 6 * HOUR)
            status, state = await look(engine)
            assert state.keys == (
                KeyView(name="key 1 of 3", state="refused", until=refused),
                KeyView(name="key 2 of 3", state="in_use"),
                KeyView(name="key 3 of 3", state="spare"),
            )
            assert (state.closed_until, state.reason) == (None, None)
            assert [problem for problem in status.problems if "refuses key 1 of 3 until" in problem]
            assert not [key for key in (PRIMARY, SPARE, THIRD) if key in status.model_dump_json()]

    run(story)


def test_a_provider_whose_keys_are_all_set_aside_is_shut_until_the_first_is_ready(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with opened(tmp_path, clock) as engine:
            gate = perplexity(engine, PRIMARY, SPARE)
            set_aside(engine, gate, Reason.REFUSED, 6 * HOUR)
            cools = set_aside(engine, gate, Reason.RATE_LIMITED, MINUTE)
            status, state = await look(engine)
            assert (state.closed_until, state.reason) == (cools, Reason.RATE_LIMITED)
            assert [key.state for key in state.keys] == ["refused", "cooling_down"]
            assert f"perplexity is not asked until {cools} (rate_limited)" in status.problems
            await clock.sleep(61)
            status, state = await look(engine)
            assert (state.closed_until, [key.state for key in state.keys]) == (None, ["refused", "in_use"])

    run(story)


def test_the_money_of_today_stands_beside_its_limit_and_a_spent_budget_is_a_problem(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with opened(tmp_path, clock) as engine:
            gate = engine.gates.by_provider["perplexity"]
            per_call = gate.options.usd_per_call
            await gate.enter(Cost(1_000_000 - round(per_call * 1e6)), urgent=True)
            status, state = await look(engine)
            assert (state.calls_today, state.usd_today, state.usd_limit) == (1, 1 - per_call, 1.0)
            assert "but for 0.20 USD kept for people and high priority" in status.problems[0]
            await clock.sleep(2)
            await gate.enter(Cost(1), urgent=True)
            with pytest.raises(Held, match=r"the budget's 1\.00 USD of today are spent; it starts anew at"):
                await gate.enter(Cost(round(per_call * 1e6)), urgent=True)
            edgar = next(state for state in status.providers if state.provider == "edgar")
            assert (edgar.keys, edgar.usd_limit) == ((), None)

    run(story)


def test_a_follow_up_is_among_the_next_slots(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with opened(tmp_path, clock) as engine:
            due = clock.now() + MINUTE
            await engine.dispatcher.add_follow_up(
                a_schedule("after-AAPL", domain="news", symbols=("AAPL",), trigger={"at": to_iso(due)})
            )
            status, _ = await look(engine)
            assert (status.next[0].schedule_id, status.next[0].due_at) == ("after-AAPL", to_iso_seconds(due))
            assert status.next[0].in_words == f"once, at {to_iso(due)}"

    run(story)


def test_a_provider_that_is_off_says_why(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with opened(tmp_path, clock) as engine:
            engine.settings = replace(engine.settings, off={"oracle": "it has no key"})
            status, _ = await look(engine)
            assert status.providers[-1] == ProviderState(provider="oracle", off="it has no key")
            assert not status.problems

    run(story)


def test_what_filings_say_of_a_models_figures_is_counted_over_all_documents(tmp_path: Path) -> None:
    verdicts = {"AAPL": ["verified", "verified", "conflicting"], "NVDA": ["unverified"], "SNOW": []}

    async def story(clock: VirtualClock) -> None:
        async with opened(tmp_path, clock) as engine:
            for symbol, found in verdicts.items():
                checks = [{"source": "perplexity", "verdict": verdict} for verdict in found]
                data = json.dumps({"reports": [], "checks": checks}, separators=(",", ":")).encode()
                await engine.ledger.run(
                    partial(put_document, domain="earnings", symbol=symbol, data=data, now=clock.now())
                )
            for _ in range(3):  # however often it is asked
                status, _ = await look(engine)
                counts = {"verified": 2, "conflicting": 1, "unverified": 1}
                assert status.models == (ModelTrust(source="perplexity", **counts, conflicting_symbols=("AAPL",)),)

    run(story)
