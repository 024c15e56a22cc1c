"""Answers: one flight per resource, kept before parsed, never paid twice. See ``gates_support`` for the stage."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clock import SECOND
from scheduler_service.errors import (
    Held,
    NotFound,
    ParseError,
    PermanentClientError,
)
from scheduler_service.gates.ask import Asker
from scheduler_service.models import Reason
from scheduler_service.parsers.feed import parse_feed
from scheduler_service.parsers.submissions import parse_tickers
from scheduler_service.sandbox.faults import Fault, FaultKind
from tests.integration.gates_support import (
    AAPL,
    Told,
    every,
    house,
    plain,
    response,
    sandbox,
)
from tests.virtual_time import VirtualClock, run

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler_service.models import Task


# one flight


def test_it_sends_one_request_for_fifty_who_ask_at_once_and_notes_who_joined(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock)) as it:
            tasks = await it.tasks(50)
            answers = await every(*(it.ask(it.edgar.submissions(AAPL), task) for task in tasks))
            assert {answer.call_id for answer in answers} == {"1"}
            assert len(it.asked) == len(it.calls()) == it.spent() == 1
            assert it.uses() == [(1, 1, "asked"), *((n, 1, "joined") for n in range(2, 51))]

    run(story)


@pytest.mark.parametrize("failures", [0, 1])
@pytest.mark.parametrize("seed", range(3))
def test_it_notes_those_who_join_at_any_moment_of_a_flight(tmp_path: Path, seed: int, failures: int) -> None:
    async def story(clock: VirtualClock) -> None:
        told = Told(*[response(500)] * failures, response())
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            tasks = await it.tasks(80)

            async def late(n: int, task: Task) -> bool:
                await clock.sleep(n * 0.001)
                asked: bool = (await it.ask(plain(), task)).asked
                return asked

            asked = await asyncio.gather(*(late(n, task) for n, task in enumerate(tasks)))
            assert [call.state for call in it.calls()] == ["failed"] * failures + ["kept"]
            noted = {task for task, call, _ in it.uses() if call == failures + 1}
            assert len(noted) >= 40  # the rest found it kept
            assert noted == {task.id for task, waited in zip(tasks, asked, strict=True) if waited}

    run(story, seed=seed)


def test_it_fails_all_who_joined_and_lets_the_next_one_ask_again(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        upstream.faults.add(Fault(kind=FaultKind.STATUS, status=404, count=1))
        async with house(tmp_path, clock, upstream) as it:
            tasks = await it.tasks(3)
            failed = await every(*(it.ask(it.edgar.submissions(AAPL), task) for task in tasks))
            assert [type(error) for error in failed] == [NotFound] * 3
            assert (await it.ask(it.edgar.submissions(AAPL))).asked
            assert it.settled() == [("failed", Reason.UNKNOWN_SYMBOL), ("kept", None)]

    run(story)


def test_it_holds_all_who_joined_a_flight_that_a_gate_holds(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock), edgar={"budget": {"calls_per_day": 0}}) as it:
            tasks = await it.tasks(5)
            held = await every(*(it.ask(it.edgar.submissions(AAPL), task) for task in tasks))
            assert [(type(error), error.reason) for error in held] == [(Held, Reason.BUDGET_EXHAUSTED)] * 5
            assert (it.calls(), it.uses(), it.asked) == ([], [], [])

    run(story)


@pytest.mark.parametrize("leader_cancelled", [True, False])
def test_it_goes_on_when_a_caller_gives_up(tmp_path: Path, leader_cancelled: bool) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock)) as it:
            resource = it.edgar.submissions(AAPL)
            asking = [asyncio.create_task(it.ask(resource, task)) for task in await it.tasks(2)]
            await clock.sleep(0.03)
            asking.pop(0 if leader_cancelled else 1).cancel()
            assert (await asking[0]).call_id == "1"
            assert it.settled() == [("kept", None)]

    run(story)


def test_it_keeps_the_answer_of_a_flight_that_everyone_left(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock)) as it:
            asking = asyncio.create_task(it.ask(it.edgar.submissions(AAPL)))
            await clock.sleep(0.03)
            asking.cancel()
            await clock.sleep(1)
            assert it.settled() == [("kept", None)]
            assert not (await it.ask(it.edgar.submissions(AAPL))).asked

    run(story)


def test_it_does_not_serve_a_joiner_what_was_good_enough_for_the_leader_alone(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock)) as it:
            leader = await it.task()
            old = await it.ask(it.edgar.submissions(AAPL), leader)
            await clock.sleep(3600)
            asking = [it.ask(it.edgar.submissions(AAPL), task) for task in (leader, *await it.tasks(3))]
            mine, *others = await every(*asking)
            assert (mine.call_id, mine.asked) == (old.call_id, False)
            assert {(other.call_id, other.asked) for other in others} == {("1", True)}, "it says the same again"
            assert len(it.asked) == 2

    run(story)


def test_it_serves_who_forces_and_who_does_not_from_one_request(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock)) as it:
            await it.ask(it.edgar.submissions(AAPL))
            await clock.sleep(10)
            forcing, other = await it.task(force=True), await it.task()
            lax, strict = await every(
                it.ask(it.edgar.submissions(AAPL), other), it.ask(it.edgar.submissions(AAPL), forcing)
            )
            assert (lax.asked, strict.asked) == (False, True)
            again = await it.ask(it.edgar.submissions(AAPL), forcing)
            assert (again.call_id, again.asked) == ("1", False)
            await clock.sleep(600)
            forcing = await it.task(force=True)
            answers = await every(*(it.ask(it.edgar.submissions(AAPL), t) for t in (forcing, *await it.tasks(2))))
            assert {(answer.call_id, answer.asked) for answer in answers} == {("1", True)}
            assert len(it.asked) == 3

    run(story)


# kept answers


def test_it_asks_once_while_the_answer_is_fresh(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock)) as it:
            first = await it.ask(it.edgar.submissions(AAPL))
            await clock.sleep(200)
            second = await it.ask(it.edgar.submissions(AAPL))
            assert (first.asked, second.asked) == (True, False)
            assert (second.value, second.fetched_at) == (first.value, first.fetched_at)
            await clock.sleep(200)
            assert (await it.ask(it.edgar.submissions(AAPL))).asked
            assert len(it.asked) == 2

    run(story)


def test_it_keeps_a_revision_until_there_is_another(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock)) as it:
            await it.ask(it.edgar.company_facts(AAPL, "first"))
            await clock.sleep(90 * 86_400)
            assert not (await it.ask(it.edgar.company_facts(AAPL, "first"))).asked
            assert (await it.ask(it.edgar.company_facts(AAPL, "second"))).asked
            assert (await it.ask(it.edgar.company_facts(AAPL, "first"))).asked
            await clock.sleep(2 * 86_400)
            # asked for without a revision, the newer answer stands for the last one too
            assert (await it.ask(it.edgar.company_facts(AAPL, None))).asked
            assert not (await it.ask(it.edgar.company_facts(AAPL, "first"))).asked

    run(story)


def test_what_says_the_same_again_is_confirmed_and_not_kept_twice(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock)) as it:
            first = await it.ask(it.edgar.submissions(AAPL))
            await clock.sleep(900)
            second = await it.ask(it.edgar.submissions(AAPL))
            assert (second.asked, second.call_id, second.fetched_at) == (True, "1", first.fetched_at)
            assert it.settled() == [("kept", None), ("unchanged", None)]
            assert [call.status for call in it.calls()] == [200, 200]
            await clock.sleep(100)
            assert not (await it.ask(it.edgar.submissions(AAPL))).asked, "it counts as checked"

    run(story)


@pytest.mark.parametrize("harm", [{"etag": '"v2"'}, {"body": b"other"}])
def test_what_comes_under_another_name_or_says_more_is_kept(tmp_path: Path, harm: dict[str, Any]) -> None:
    async def story(clock: VirtualClock) -> None:
        told = Told(response(body=b"body", etag='"v1"'), response(**{"body": b"body", "etag": '"v1"'} | harm))
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            await it.ask(plain(max_age=60 * SECOND))
            await clock.sleep(900)
            assert (await it.ask(plain(max_age=60 * SECOND))).call_id == "2"
            assert it.settled() == [("kept", None), ("kept", None)]

    run(story)


def test_it_asks_only_whether_anything_changed_where_the_upstream_can_tell(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock)) as it:
            first = await it.ask(it.feed())
            await clock.sleep(600)
            second = await it.ask(it.feed())
            assert (second.value, second.call_id, second.fetched_at) == (first.value, "1", first.fetched_at)
            assert second.asked
            assert it.settled() == [("kept", None), ("unchanged", None)]
            assert "if-none-match" in it.upstream.seen[-1].headers
            await clock.sleep(200)
            assert not (await it.ask(it.feed())).asked
            await clock.sleep(8 * 3600)
            assert (await it.ask(it.feed())).call_id == "3"

    run(story)


@pytest.mark.parametrize("etag", [None, '"v1"'])
def test_it_takes_no_304_for_an_answer_it_did_not_ask_about(tmp_path: Path, etag: str | None) -> None:
    async def story(clock: VirtualClock) -> None:
        told = Told(response(304), response(etag=etag), response(304), response(304))
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            with pytest.raises(PermanentClientError, match="304"):
                await it.ask(plain())
            await it.ask(plain())
            await clock.sleep(2 * 86_400)
            if etag:
                assert (await it.ask(plain())).value == b"body"
                elsewhere = replace(plain(), request=replace(plain().request, url="http://127.0.0.1/else"))
                with pytest.raises(PermanentClientError, match="304"):
                    await it.ask(elsewhere)
            else:
                with pytest.raises(PermanentClientError, match="304"):
                    await it.ask(plain())

    run(story)


@pytest.mark.parametrize("harm", ["gone", "cut", "emptied", "lying header"])
def test_it_asks_anew_and_for_the_whole_when_the_kept_body_is_gone_or_damaged(tmp_path: Path, harm: str) -> None:
    async def story(clock: VirtualClock) -> None:
        body = b"".join(n.to_bytes(4) for n in range(40_000))
        told = Told(response(body=body, etag='"v1"'), response(body=body, etag='"v1"'))
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            await it.ask(plain())
            raw = tmp_path / "raw" / "1.zst"
            assert not (await it.ask(plain())).asked
            packed = raw.read_bytes()
            lying = packed[:4] + bytes([packed[4] | 0xC0]) + b"\xff" * 7 + b"\x7f" + packed[6:]
            raw.write_bytes({"cut": packed[:-9], "emptied": b"", "lying header": lying, "gone": b""}[harm])
            if harm == "gone":
                raw.unlink()
            answer = await it.ask(plain())
            assert (answer.asked, answer.value, answer.call_id) == (True, body, "2")
            assert told.seen[1].headers == ()

    run(story)


def test_it_keeps_a_large_body_in_a_file_and_gives_it_back(tmp_path: Path) -> None:
    body = bytes(n * n % 251 for n in range(1_000)) * 700 + b"".join(n.to_bytes(3) for n in range(60_000))

    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock), transport=Told(response(body=body))) as it:
            assert (await it.ask(plain())).value == body
        assert [path.name for path in (tmp_path / "raw").iterdir()] == ["1.zst"]
        async with house(tmp_path, clock, sandbox(clock), transport=Told()) as it:
            assert (await it.ask(plain())).value == body

    run(story)


def test_it_parses_a_kept_answer_again_without_asking(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        upstream.faults.add(Fault(kind=FaultKind.TRUNCATED, count=1))
        async with house(tmp_path, clock, upstream) as it:
            for _ in range(2):
                with pytest.raises(ParseError):
                    await it.gates.for_task(await it.task())(it.edgar.tickers(), parse_tickers)
            assert (await it.ask(it.edgar.tickers())).value.startswith(b"{")  # a parser that has learned to read it
            assert it.settled() == [("kept", None)]

    run(story)


def test_it_asks_anew_for_what_nobody_could_read_for_an_hour_without_confirming_it(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = sandbox(clock)
        upstream.faults.add(Fault(kind=FaultKind.BODY, body="nonsense", count=2))
        async with house(tmp_path, clock, upstream) as it:
            for ask, parse in ((it.feed(), parse_feed), (it.edgar.tickers(), parse_tickers)):
                task = await it.task()
                with pytest.raises(ParseError):
                    await it.gates.for_task(task)(ask, parse)
            await clock.sleep(3700)
            with pytest.raises(ParseError):  # what a task has paid for is not paid for again
                await it.gates.for_task(task)(it.edgar.tickers(), parse_tickers)
            tasks = await it.tasks(10)
            answers = await every(*(it.gates.for_task(task)(it.edgar.tickers(), parse_tickers) for task in tasks))
            assert {answer.call_id for answer in answers} == {"3"}
            assert (await it.gates.for_task(await it.task())(it.feed(), parse_feed)).value
            assert [call.state for call in it.calls()] == ["kept", "kept", "kept", "unchanged", "kept"]

    run(story)


def test_it_serves_no_confirmed_body_to_a_joiner_who_wants_a_new_one(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with house(tmp_path, clock, sandbox(clock)) as it:
            await it.ask(it.feed())
            await clock.sleep(600)
            content, picky = (task.id for task in await it.tasks(2))
            answers = await asyncio.gather(
                it.gates.kept(it.feed(), Asker(content)),
                it.gates.kept(it.feed(), Asker(picky, fetched_since=clock.now())),
            )
            assert [answer.row.call_id for answer in answers] == [1, 3]
            assert [call.state for call in it.calls()] == ["kept", "unchanged", "kept"]

    run(story)


def test_it_parses_a_large_body_once_for_all_who_read_it_alike(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        parsed: list[int] = []

        def parse(body: bytes) -> int:
            parsed.append(len(body))
            return len(body)

        async with house(tmp_path, clock, sandbox(clock)) as it:
            for _ in range(2):
                tasks = await it.tasks(10)
                asks = [it.gates.for_task(task)(it.edgar.company_facts(AAPL, "r"), parse) for task in tasks]
                assert len({answer.value for answer in await every(*asks)}) == 1
            assert len(parsed) == 1

    run(story)


def test_it_does_not_parse_again_what_is_read_all_the_time(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        parsed: list[bytes] = []

        def parse(body: bytes) -> bytes:
            parsed.append(body[:2])
            return body[:2]

        told = Told(*(response(body=b"%02d" % n * 40_000) for n in range(12)))
        async with house(tmp_path, clock, sandbox(clock), transport=told) as it:
            for n in range(12):
                for name in (str(n), "0"):
                    await it.gates.for_task(await it.task())(plain(name), parse)
            assert len(parsed) == len(set(parsed)) == 12

    run(story)
