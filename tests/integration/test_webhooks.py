"""Alerts before a webhook that misbehaves: in order, at least once with their key, and no channel waits for another."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.alerts.deliveries import Deliveries
from scheduler_service.clients.http import AiohttpTransport
from scheduler_service.clock import DAY, HOUR, MINUTE, SECOND
from scheduler_service.errors import StoreError
from scheduler_service.models import Event, Notice
from scheduler_service.redaction import register_secret
from scheduler_service.settings.watching import Alerts
from scheduler_service.stores import notice_store
from scheduler_service.stores.delivery_store import DELIVERED, GIVEN_UP, HELD, SUMMED_UP, SUPPRESSED, WAITING
from scheduler_service.stores.notice_schema import delivery
from tests.fakes import FakeClock
from tests.integration.webhook_support import Hook, serving
from tests.ledger_support import open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from scheduler_service.clock import Instant
    from scheduler_service.stores.database import Connection, Ledger


def said_of(about: str, number: int, **one: Any) -> Notice:
    """How something is: a key that ends in a time."""
    return replace(notice(number, **one), key=f"{about}@{number}")


def notice(number: int, event: str = "risk.breach", symbol: str | None = "A", level: str = "WARNING") -> Notice:
    return Notice(f"key-{number}", event, f"words {number}", {"n": str(number)}, symbol, level, is_alert=True)


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

    def webhooks(self, *urls: str, **alerts: Any) -> Deliveries:
        settings = Alerts.model_validate({"urls": urls or (f"{self.base}/T0/secret-token",), **alerts})
        return Deliveries(
            settings,
            "UTC",
            sandbox=True,
            ledger=self.ledger,
            clock=self.clock,
            publish=self.hear,
            send=self.transport.send,
        )

    async def tell(self, webhooks: Deliveries, *notices: Notice) -> None:
        def unit(conn: Connection, now: Instant) -> None:
            notice_store.add(conn, notices, now)
            rows = notice_store.unhandled(conn, 5_000)
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


async def deliver(webhooks: Deliveries, times: int = 1) -> float:
    [name] = webhooks.channels
    rest = 0.0
    for _ in range(times):
        rest = await webhooks.deliver(name)
    return rest


async def deliver_all(webhooks: Deliveries) -> None:
    for name in webhooks.channels:
        await webhooks.deliver(name)


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


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_what_is_refused_is_given_up_and_said_without_the_address(bench: Bench, status: int) -> None:
    webhooks = bench.webhooks()
    bench.hook.answers = [status]
    await bench.tell(webhooks, notice(1), notice(2, symbol="B"))
    await deliver(webhooks, 2)
    assert await bench.states() == [GIVEN_UP, DELIVERED]
    assert [event.name for event in bench.events] == ["alert.given_up"]
    assert "secret-token" not in str(bench.events)


@pytest.mark.parametrize("status", [401, 403, 404, 410, 302, 500])
async def test_a_fault_of_the_channel_is_tried_on_for_three_days(bench: Bench, status: int) -> None:
    webhooks = bench.webhooks()
    bench.hook.always = status
    await bench.tell(webhooks, notice(1))
    for _ in range(3):
        await deliver(webhooks)
        assert await bench.states() == [WAITING]
        bench.clock.advance(DAY)
    await deliver(webhooks)
    assert await bench.states() == [GIVEN_UP]
    assert [event.name for event in bench.events] == ["alert.failed", "alert.given_up"]


async def test_a_channel_that_is_mended_within_three_days_is_told_what_waited(bench: Bench) -> None:
    webhooks = bench.webhooks()
    bench.hook.answers = [404]
    await bench.tell(webhooks, notice(1))
    await deliver(webhooks)
    bench.clock.advance(2 * DAY)
    await deliver(webhooks)
    assert await bench.states() == [DELIVERED]


async def test_a_clock_that_is_set_forward_has_nothing_given_up(bench: Bench) -> None:
    webhooks = bench.webhooks()
    bench.hook.answers = [500, 500]
    await bench.tell(webhooks, notice(1))
    bench.clock.advance(3_650 * DAY)
    await deliver(webhooks)
    assert await bench.states() == [WAITING]
    bench.clock.advance(3_650 * DAY)
    await deliver(webhooks)
    assert await bench.states() == [WAITING]
    bench.clock.advance(DAY)
    await deliver(webhooks)
    assert await bench.states() == [DELIVERED]


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
        await bench.tell(webhooks, said_of("A:low", number))
        bench.clock.advance(MINUTE)
    await bench.tell(webhooks, said_of("B:low", 4, symbol="B"))
    await deliver(webhooks, 3)
    assert bench.hook.keys == ["A:low@1", "B:low@4"]
    bench.clock.advance(HOUR)
    await bench.tell(webhooks, said_of("A:low", 5))
    await deliver(webhooks)
    assert bench.hook.taken[-1][1]["message"] == "SANDBOX: words 5 (and 2 like it since)"
    assert await bench.states() == [DELIVERED, SUPPRESSED, SUPPRESSED, DELIVERED, DELIVERED]


async def test_whatever_flaps_within_the_cool_down_the_last_that_was_told_is_how_it_is(bench: Bench) -> None:
    webhooks = bench.webhooks()
    for number, state in enumerate(["bad", "good", "bad", "bad", "good"]):
        await bench.tell(webhooks, said_of(f"health:{state}", number, symbol=None))
        bench.clock.advance(MINUTE)
    for number, word in enumerate(["failed", "works_again", "failed"]):
        await bench.tell(webhooks, said_of(f"backup.{word}", number, event=f"backup.{word}", symbol=None))
        bench.clock.advance(MINUTE)
    await deliver(webhooks, 9)
    assert bench.hook.keys == [
        *("health:bad@0", "health:good@1", "health:bad@2", "health:good@4"),
        *("backup.failed@0", "backup.works_again@1", "backup.failed@2"),
    ]


async def test_what_a_clock_ahead_has_noted_silences_nobody_later(bench: Bench) -> None:
    webhooks = bench.webhooks()
    bench.clock.advance(3_650 * DAY)
    await bench.tell(webhooks, said_of("A:low", 1), notice(1, symbol="B"))
    bench.hook.answers = [200, 400]
    await deliver(webhooks, 2)
    bench.clock.advance(-3_650 * DAY)
    await bench.tell(webhooks, said_of("A:low", 2), notice(2, symbol="B"))
    assert await webhooks.troubles() == []
    await deliver(webhooks, 2)
    assert bench.hook.keys == ["A:low@1", "key-1", "A:low@2", "key-2"]


async def test_other_stories_of_a_stock_within_the_cool_down_are_told_together_at_its_end(bench: Bench) -> None:
    webhooks = bench.webhooks()
    for number in range(1, 4):
        await bench.tell(webhooks, notice(number), notice(10 * number, symbol="B" if number < 3 else "C"))
        bench.clock.advance(MINUTE)
    assert await deliver(webhooks, 4) == 57 * 60
    assert bench.hook.keys == ["key-1", "key-10", "key-30"]
    bench.clock.advance(57 * MINUTE)
    webhooks = bench.webhooks()  # after a restart
    await deliver(webhooks, 4)
    [(key, together), (alone, _)] = sorted(bench.hook.taken[3:], reverse=True)
    assert key.startswith("risk.breach:A:webhook 127.0.0.1:")
    assert (together["event"], together["symbol"]) == ("risk.breach", "A")
    assert together["message"] == "SANDBOX: 2 more: words 2; words 3"
    assert together["facts"] == {
        "count": 2,
        "held_back": [{"key": "key-2", "message": "words 2"}, {"key": "key-3", "message": "words 3"}],
    }
    assert alone == "key-20", "one that was held back alone comes as it is"
    await bench.tell(webhooks, notice(4))
    assert (await bench.states())[-1] == HELD, "the cool-down begins anew"


async def test_what_was_held_back_and_could_not_be_told_comes_again_the_same(bench: Bench) -> None:
    webhooks = bench.webhooks()
    await bench.tell(webhooks, *(notice(number) for number in range(5)))
    await deliver(webhooks)
    bench.clock.advance(HOUR)
    bench.hook.answers = [503]
    await deliver(webhooks, 2)
    bench.clock.advance(MINUTE)
    await deliver(bench.webhooks(), 2)
    [first, second] = bench.hook.taken[1:]
    assert first == second
    assert (await bench.states()) == [DELIVERED, *[SUMMED_UP] * 4, DELIVERED]


async def test_what_is_critical_is_never_held_back(bench: Bench) -> None:
    webhooks = bench.webhooks()
    await bench.tell(webhooks, notice(1), notice(2, level="CRITICAL"))
    await deliver(webhooks, 2)
    assert bench.hook.keys == ["key-1", "key-2"]


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
        "risk.breach:stop:A:1@2026-11-23T15:02:00Z",
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


async def test_what_waited_because_its_channel_was_down_waits_through_the_quiet_hours_too(bench: Bench) -> None:
    webhooks = bench.webhooks(quiet_hours="15:00-16:00")
    bench.hook.answers = [500]
    await bench.tell(webhooks, notice(1), notice(2))
    await deliver(webhooks)
    bench.clock.advance(HOUR + MINUTE)  # the cool-down of the second has ended, too
    assert await deliver(webhooks) == 29 * 60
    await bench.tell(webhooks, notice(3, symbol="B", level="CRITICAL"))
    await deliver(webhooks, 3)
    assert bench.hook.keys == ["key-1", "key-3"]
    bench.clock.advance(29 * MINUTE)
    await deliver(webhooks, 3)
    assert bench.hook.keys == ["key-1", "key-3", "key-1", "key-2"]


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


async def test_what_quiet_hours_hold_holds_up_nothing_that_is_critical(bench: Bench) -> None:
    webhooks = bench.webhooks(quiet_hours="14:00-15:00")
    await bench.tell(webhooks, notice(1), notice(2, event="health.changed", level="CRITICAL"))
    await deliver(webhooks, 2)
    assert bench.hook.keys == ["key-2"]


async def test_what_was_sent_and_could_not_be_noted_is_noted_before_anything_is_sent_again(bench: Bench) -> None:
    webhooks = bench.webhooks()
    await bench.tell(webhooks, notice(1), notice(2, symbol="B"))

    async def locked(unit: Callable[[Connection], Any]) -> Any:
        del unit
        raise StoreError("the ledger is locked")

    whole, bench.ledger.run = bench.ledger.run, locked  # type: ignore[method-assign]
    for _ in range(5):
        with pytest.raises(StoreError):
            await deliver(webhooks)
    bench.ledger.run = whole  # type: ignore[method-assign]
    await deliver(webhooks, 2)
    assert bench.hook.keys == ["key-1", "key-2"]
    assert await bench.states() == [DELIVERED, DELIVERED]


def flood(first: int, last: int, **one: Any) -> list[Notice]:
    return [notice(number, **{"symbol": f"S{number}", **one}) for number in range(first, last)]


async def test_of_a_flood_the_first_come_alone_and_the_rest_in_one_message_but_what_is_critical_comes(
    bench: Bench,
) -> None:
    webhooks = bench.webhooks(most_per_hour=5)
    await bench.tell(webhooks, *flood(0, 600), *flood(600, 999, event="news.high_impact"))
    await bench.tell(webhooks, notice(2000, symbol="C", level="CRITICAL"))
    await deliver(webhooks, 20)
    assert bench.hook.keys[:4] == [f"key-{n}" for n in range(4)]
    [digest, critical] = bench.hook.taken[4:]
    [channel] = webhooks.channels
    assert digest[0] == f"alert.digest:{channel}@2026-11-23T14:30:00Z"
    assert digest[1]["message"] == (
        "SANDBOX: and 995 more: 596 risk.breach, 399 news.high_impact; see: scheduler-service history --strategy"
    )
    assert digest[1]["facts"] == {"counts": {"news.high_impact": 399, "risk.breach": 596}}
    assert critical[0] == "key-2000"
    states = await bench.states()
    assert (states.count(SUMMED_UP), states.count(DELIVERED)) == (995, 6)


async def test_when_the_hour_is_over_what_came_in_it_is_summed_up_and_then_all_comes_alone_again(bench: Bench) -> None:
    webhooks = bench.webhooks(most_per_hour=3)
    await bench.tell(webhooks, *flood(0, 3))
    await deliver(webhooks, 3)
    bench.clock.advance(10 * MINUTE)
    await bench.tell(webhooks, *flood(3, 8))
    assert await deliver(webhooks, 2) == 50 * 60
    assert len(bench.hook.keys) == 3
    bench.clock.advance(50 * MINUTE)
    await bench.tell(webhooks, *flood(8, 11))
    await deliver(webhooks, 6)
    assert bench.hook.keys == [f"key-{n}" for n in (0, 1, 2, 3, 4)] + [bench.hook.keys[5]]
    assert "and 6 more: 6 risk.breach" in bench.hook.taken[5][1]["message"]


async def test_after_an_outage_of_the_channel_what_waited_is_summed_up(bench: Bench) -> None:
    webhooks = bench.webhooks(most_per_hour=3)
    bench.hook.always = 503
    for n in range(8):
        await bench.tell(webhooks, *flood(n, n + 1))
        await deliver(webhooks)
        bench.clock.advance(2 * HOUR)
    bench.hook.always, bench.hook.taken = 200, []
    await deliver(webhooks, 6)
    assert bench.hook.keys[:2] == ["key-0", "key-1"]
    assert "and 6 more" in bench.hook.taken[2][1]["message"]
    assert len(bench.hook.taken) == 3


async def test_a_digest_that_did_not_arrive_comes_again_the_same_before_anything_else(bench: Bench) -> None:
    webhooks = bench.webhooks(most_per_hour=1)
    bench.hook.answers = [500]
    await bench.tell(webhooks, *flood(0, 3))
    await deliver(webhooks, 2)
    await bench.tell(webhooks, *flood(3, 5))
    bench.clock.advance(MINUTE)
    await deliver(bench.webhooks(most_per_hour=1), 3)
    [first, second] = bench.hook.taken
    assert first == second
    assert "and 3 more" in second[1]["message"]


async def test_what_is_still_being_queued_belongs_to_what_is_summed_up(bench: Bench) -> None:
    webhooks = bench.webhooks(most_per_hour=1)
    await bench.tell(webhooks, *flood(0, 3))
    await bench.ledger.run(lambda conn: notice_store.add(conn, flood(3, 4), bench.clock.now()))
    assert await deliver(webhooks) == 1
    await bench.tell(webhooks)
    await deliver(webhooks, 2)
    assert "and 4 more" in bench.hook.taken[0][1]["message"]


async def test_what_was_summed_up_counts_as_told_for_the_cool_down(bench: Bench) -> None:
    webhooks = bench.webhooks(most_per_hour=1)
    await bench.tell(webhooks, *flood(0, 3))
    await deliver(webhooks, 2)
    await bench.tell(webhooks, notice(9, symbol="S2"))
    assert (await bench.states())[-1] != WAITING


async def test_a_channel_that_comes_goes_or_moves_gets_nothing_of_another_s(bench: Bench) -> None:
    first, second, new = (f"{bench.base}/{path}" for path in ("one", "two", "three"))
    webhooks = bench.webhooks(first, second)
    assert len(set(webhooks.channels)) == 2
    bench.hook.answers = [500]
    await bench.tell(webhooks, notice(1))
    await deliver_all(webhooks)
    bench.clock.advance(MINUTE)
    await deliver_all(bench.webhooks(new, second, first))
    assert bench.hook.paths == ["one", "two", "one"]


async def test_what_waits_for_a_channel_that_is_gone_is_given_up_and_that_is_said_once_without_its_address(
    bench: Bench,
) -> None:
    before, after = bench.webhooks(f"{bench.base}/secret-path"), bench.webhooks(f"{bench.base}/other")
    bench.hook.always = 503
    await bench.tell(before, notice(1), notice(2, symbol="B"))
    await deliver(before)
    [gone] = set(await after.counts()) - set(after.channels)
    await after.give_up_orphans()
    await after.give_up_orphans()
    assert await bench.states() == [GIVEN_UP, GIVEN_UP]
    said = [event.message for event in bench.events if event.name == "alert.given_up"]
    assert said == [
        f"2 alerts that waited for webhook {bench.base.removeprefix('http://')}: given up, for alerts.urls does not "
        "name that address any more"
    ]
    assert gone not in await after.counts()
    assert "secret-path" not in f"{bench.events}{gone}"
    bench.hook.always = 200
    assert await deliver(after) == 60
    await bench.tell(before, notice(3))
    await deliver(before)
    assert bench.hook.keys == ["key-1", "key-3"], "when it comes back it is told what is new"


async def test_nothing_secret_leaves_in_an_alert(bench: Bench) -> None:
    secret = 'SEKRIT-"in-an-alert'
    register_secret(secret)
    webhooks = bench.webhooks()
    facts = {"said": secret, "deep": [{secret: f"a {secret} b", "n": 1.5, "none": None}]}
    await bench.tell(webhooks, replace(notice(1), message=f"it said {secret}", facts=facts))
    await deliver(webhooks)
    [(_, body)] = bench.hook.taken
    assert "SEKRIT" not in str(body)
    assert body["message"] == "SANDBOX: it said [redacted]"
    assert body["facts"] == {"said": "[redacted]", "deep": [{"[redacted]": "a [redacted] b", "n": 1.5, "none": None}]}


async def test_a_channel_that_fails_for_an_hour_is_a_trouble_until_it_works_also_over_a_restart(bench: Bench) -> None:
    webhooks = bench.webhooks()
    bench.hook.always = 503
    await bench.tell(webhooks, notice(1))
    await deliver(webhooks)
    assert await webhooks.troubles() == []
    bench.clock.advance(HOUR)
    webhooks = bench.webhooks()
    await deliver(webhooks)
    [trouble] = await webhooks.troubles()
    assert trouble.endswith("does not take alerts (it answered 503), since 2026-11-23T14:30:00Z")
    bench.hook.always = 200
    bench.clock.advance(HOUR)
    await deliver(webhooks)
    assert await webhooks.troubles() == []
    assert [event.name for event in bench.events] == ["alert.failed", "alert.works_again"]


async def test_a_channel_that_refuses_is_a_trouble_for_a_day(bench: Bench) -> None:
    webhooks = bench.webhooks()
    bench.hook.always = 422
    await bench.tell(webhooks, notice(1))
    await deliver(webhooks)
    assert "refuses alerts (it answered 422)" in (await webhooks.troubles())[0]
    bench.clock.advance(DAY)
    assert await webhooks.troubles() == []


async def test_one_that_hangs_is_tried_again_and_holds_up_no_other(bench: Bench) -> None:
    async with serving(good := Hook()) as other:
        webhooks = bench.webhooks(f"{bench.base}/a", f"{other}/b")
        hanging, works = webhooks.channels
        bench.hook.hangs = asyncio.Event()
        await bench.tell(webhooks, notice(1))
        waits = asyncio.create_task(webhooks.deliver(hanging))
        while not bench.hook.taken:
            await asyncio.sleep(0)
        await webhooks.deliver(works)
        assert good.keys == ["key-1"]
        assert not waits.done()
        waits.cancel()  # as a stop of the service does
        await asyncio.gather(waits, return_exceptions=True)
        bench.hook.hangs.set()
        bench.hook.hangs = None
        await bench.webhooks(f"{bench.base}/a", f"{other}/b").deliver(hanging)
        assert bench.hook.keys == ["key-1", "key-1"]
