"""Alerts before a webhook that misbehaves: in order, at least once with their key, and no channel waits for another."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from scheduler_service.alerts.webhooks import Webhooks
from scheduler_service.clients.http import AiohttpTransport
from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND
from scheduler_service.models import Event, Notice
from scheduler_service.settings.watching import Alerts
from scheduler_service.stores import notice_store
from scheduler_service.stores.delivery_store import DELIVERED, GIVEN_UP, SUPPRESSED
from scheduler_service.stores.notice_schema import delivery
from tests.fakes import FakeClock
from tests.ledger_support import open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from scheduler_service.clock import Instant
    from scheduler_service.stores.database import Connection, Ledger


def notice(number: int, event: str = "risk.breach", symbol: str | None = "A", level: str = "WARNING") -> Notice:
    return Notice(f"key-{number}", event, f"words {number}", {"n": str(number)}, symbol, level, is_alert=True)


class Hook:
    """A webhook. ``answers``: statuses to give, then 200; ``taken``: what it was sent, with its headers."""

    def __init__(self) -> None:
        self.answers: list[int | str] = []
        self.headers: dict[str, str] = {}
        self.taken: list[tuple[str, dict[str, Any]]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.taken.append((request.headers["Idempotency-Key"], json.loads(await request.text())))
        answer = self.answers.pop(0) if self.answers else 200
        if answer == "drop":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return web.Response(status=int(answer), headers=self.headers)

    @property
    def keys(self) -> list[str]:
        return [key for key, _ in self.taken]


class Bench:
    def __init__(self, ledger: Ledger, hook: Hook, base: str) -> None:
        self.ledger = ledger
        self.hook = hook
        self.base = base
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.transport = AiohttpTransport(("127.0.0.1",))

    def hear(self, event: Event) -> None:
        self.events.append(event)

    def webhooks(self, *urls: str, **alerts: Any) -> Webhooks:
        settings = Alerts.model_validate({"urls": urls or (f"{self.base}/T0/secret-token",), **alerts})
        return Webhooks(
            settings,
            "UTC",
            sandbox=True,
            ledger=self.ledger,
            clock=self.clock,
            publish=self.hear,
            send=self.transport.send,
        )

    async def tell(self, webhooks: Webhooks, *notices: Notice) -> None:
        def unit(conn: Connection, now: Instant) -> None:
            notice_store.add(conn, notices, now)
            rows = notice_store.unhandled(conn)
            webhooks.queue(conn, rows, now)
            notice_store.note_handled(conn, [row.id for row in rows], now)

        await self.ledger.run(partial(unit, now=self.clock.now()))

    async def states(self) -> list[str]:
        def unit(conn: Connection) -> list[str]:
            return [row.state for row in conn.execute(delivery.select().order_by("notice_id")).all()]

        return await self.ledger.read(unit)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    hook = Hook()
    async with serving(hook) as base, open_ledger(tmp_path / "ledger.sqlite") as ledger:
        bench = Bench(ledger, hook, base)
        yield bench
        await bench.transport.close()


@asynccontextmanager
async def serving(hook: Hook) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/{path:.*}", hook.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server: Any = site._server
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


async def deliver(webhooks: Webhooks, times: int = 1) -> float:
    [name] = webhooks.channels
    rest = 0.0
    for _ in range(times):
        rest = await webhooks.deliver(name)
    return rest


async def test_an_alert_is_posted_with_its_key_its_facts_and_that_it_is_of_a_sandbox(bench: Bench) -> None:
    webhooks = bench.webhooks()
    await bench.tell(webhooks, notice(1), Notice("quiet", "market.opened", "not for people"))
    assert await deliver(webhooks, 2) == 60
    [(key, body)] = bench.hook.taken
    assert key == "key-1"
    assert body == {
        "key": "key-1",
        "event": "risk.breach",
        "level": "WARNING",
        "symbol": "A",
        "message": "SANDBOX: words 1",
        "at": "2026-11-23T14:30:00Z",
        "sandbox": True,
        "facts": {"n": "1"},
    }
    assert await bench.states() == [DELIVERED]


@pytest.mark.parametrize("answer", [500, 503, 429, 408, "drop"])
async def test_what_may_not_have_arrived_comes_again_with_its_key_and_in_order(bench: Bench, answer: int | str) -> None:
    webhooks = bench.webhooks()
    bench.hook.answers = [answer]
    await bench.tell(webhooks, notice(1), notice(2, symbol="B"))
    await deliver(webhooks)
    assert 0 < await deliver(webhooks) <= 1, "the second waits for the first"
    bench.clock.advance(2 * SECOND)
    await deliver(webhooks, 2)
    assert bench.hook.keys == ["key-1", "key-1", "key-2"]
    assert await bench.states() == [DELIVERED, DELIVERED]
    assert [event.name for event in bench.events] == ["alert.failed", "alert.works_again"]


async def test_a_retry_after_is_waited_out(bench: Bench) -> None:
    webhooks = bench.webhooks()
    bench.hook.answers, bench.hook.headers = [429], {"Retry-After": "600"}
    await bench.tell(webhooks, notice(1))
    await deliver(webhooks)
    assert await deliver(webhooks) == pytest.approx(600, abs=1)
    bench.clock.advance(9 * MINUTE)
    assert await deliver(webhooks) > 50
    assert bench.hook.keys == ["key-1"]


@pytest.mark.parametrize("status", [400, 401, 404, 410, 302])
async def test_what_is_refused_is_given_up_and_said_without_the_address(bench: Bench, status: int) -> None:
    webhooks = bench.webhooks()
    bench.hook.answers = [status]
    await bench.tell(webhooks, notice(1), notice(2, symbol="B"))
    await deliver(webhooks, 2)
    assert await bench.states() == [GIVEN_UP, DELIVERED]
    assert [event.name for event in bench.events] == ["alert.given_up"]
    assert "secret-token" not in str(bench.events)


async def test_after_three_days_it_is_given_up(bench: Bench) -> None:
    webhooks = bench.webhooks()
    bench.hook.answers = [500, 500]
    await bench.tell(webhooks, notice(1))
    await deliver(webhooks)
    bench.clock.advance(3 * DAY)
    await deliver(webhooks)
    assert await bench.states() == [GIVEN_UP]


async def test_one_that_fails_holds_up_no_other(bench: Bench) -> None:
    async with serving(good := Hook()) as other:
        webhooks = bench.webhooks(f"{bench.base}/a", f"{other}/b")
        bench.hook.answers = [500]
        await bench.tell(webhooks, notice(1))
        for name in webhooks.channels:
            await webhooks.deliver(name)
        assert good.keys == ["key-1"]


async def test_the_same_is_not_told_again_within_the_cool_down_and_the_next_says_how_many_were_not(
    bench: Bench,
) -> None:
    webhooks = bench.webhooks()
    for number in (1, 2, 3):
        await bench.tell(webhooks, notice(number))
        bench.clock.advance(MINUTE)
    await bench.tell(webhooks, notice(4, symbol="B"))
    await deliver(webhooks, 3)
    assert bench.hook.keys == ["key-1", "key-4"]
    bench.clock.advance(HOUR)
    await bench.tell(webhooks, notice(5))
    await deliver(webhooks)
    assert bench.hook.taken[-1][1]["message"] == "SANDBOX: words 5 (and 2 like it since)"
    assert await bench.states() == [DELIVERED, SUPPRESSED, SUPPRESSED, DELIVERED, DELIVERED]


async def test_another_limit_or_a_worse_breach_is_not_the_same(bench: Bench) -> None:
    def breach(about: str, minute: int) -> Notice:
        return replace(notice(0), key=f"risk.breach:{about}@2026-11-23T15:{minute:02}:00Z")

    webhooks = bench.webhooks()
    await bench.tell(
        webhooks, breach("stop:A:1", 0), breach("move:A:1", 0), breach("stop:A:2", 1), breach("stop:A:1", 2)
    )
    await deliver(webhooks, 4)
    assert bench.hook.keys == [
        "risk.breach:stop:A:1@2026-11-23T15:00:00Z",
        "risk.breach:move:A:1@2026-11-23T15:00:00Z",
        "risk.breach:stop:A:2@2026-11-23T15:01:00Z",
    ]
    bench.clock.advance(2 * HOUR)
    await bench.tell(webhooks, breach("move:A:1", 50), breach("stop:A:1", 50))
    await deliver(webhooks, 2)
    assert [body["message"] for _, body in bench.hook.taken[-2:]] == [
        "SANDBOX: words 0",
        "SANDBOX: words 0 (and 1 like it since)",
    ]


async def test_quiet_hours_hold_what_is_not_critical_until_their_end(bench: Bench) -> None:
    webhooks = bench.webhooks(quiet_hours="14:00-15:00")
    await bench.tell(webhooks, notice(1, level="CRITICAL"), notice(2, event="health.changed"))
    await deliver(webhooks)
    assert await deliver(webhooks) == 30 * 60
    assert bench.hook.keys == ["key-1"]
    bench.clock.advance(30 * MINUTE)
    await deliver(webhooks)
    assert bench.hook.keys == ["key-1", "key-2"]


async def test_killed_between_sending_and_noting_it_the_same_key_comes_twice_and_is_never_lost(bench: Bench) -> None:
    webhooks = bench.webhooks()
    await bench.tell(webhooks, notice(1))

    async def broken(unit: Callable[[Connection], Any]) -> Any:
        del unit
        raise asyncio.CancelledError

    whole, bench.ledger.run = bench.ledger.run, broken  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await deliver(webhooks)
    bench.ledger.run = whole  # type: ignore[method-assign]
    await deliver(bench.webhooks(), 1)
    assert bench.hook.keys == ["key-1", "key-1"]
    assert await bench.states() == [DELIVERED]
