"""What calls cost: reserved before they leave, settled after, and never counted for less than the upstream takes."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler_service.calls import FREE, Response
from scheduler_service.clock import DAY, SECOND, from_iso, utc_day
from scheduler_service.errors import Held, PermanentClientError, StoreError, TransientClientError
from scheduler_service.gates.breaker import REMEMBERED_FOR
from scheduler_service.models import Reason
from tests.integration.gates_support import NEVER, KilledOnTheWay, every, house, plain, response, rows, sandbox
from tests.integration.paid_support import EXPECTED, PRIMARY, PaidUpstream, answered, keys, paid
from tests.virtual_time import VirtualClock, run, run_until_killed

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from scheduler_service.calls import Transport
    from tests.integration.gates_support import House

RESERVED = EXPECTED.usd_micros
MIDNIGHT = from_iso("2026-11-24T00:00:00Z")


def opened(
    folder: Path, clock: VirtualClock, upstream: Transport, *, usd: float | None = None, **more: Any
) -> AbstractAsyncContextManager[House]:
    """``usd``: the budget of a day."""
    options = keys(PRIMARY) | {"budget": {"usd_per_day": usd}} | more
    return house(folder, clock, sandbox(clock), transport=upstream, paid=options)


def never_left() -> TransientClientError:
    error = TransientClientError("connection refused", Reason.PROVIDER_DOWN)
    error.cost = FREE
    return error


def cut() -> TransientClientError:
    return TransientClientError("not answered within 90 s", Reason.TIMEOUT)


def charged(folder: Path) -> list[int]:
    """Of every call, in order."""
    return [usd for (usd,) in rows(folder, "SELECT usd_micros FROM call ORDER BY id")]


def spend(folder: Path) -> list[tuple[str, int, int, int]]:
    """(day, calls, millionths of a US dollar, tokens) of the paid provider."""
    return rows(folder, "SELECT day, calls, usd_micros, tokens FROM spend WHERE provider = 'paid' ORDER BY day")


def accounts_agree(folder: Path, it: House | None = None) -> None:
    """The calls, the days' sums and, of a living process, what its gate goes by."""
    by_day: dict[str, list[int]] = {}
    for at, usd, tokens in rows(folder, "SELECT reserved_at, usd_micros, tokens FROM call WHERE provider = 'paid'"):
        sums = by_day.setdefault(utc_day(at).isoformat(), [0, 0, 0])
        sums[:] = [sums[0] + 1, sums[1] + usd, sums[2] + tokens]
    assert {day: sums for day, *sums in spend(folder)} == by_day
    if it is not None:
        remembered = it.gates.by_provider["paid"].account.by_day
        assert {day: [s.calls, s.usd_micros, s.tokens] for day, s in remembered.items() if s.calls} == by_day


# reserved and settled


def test_a_call_is_reserved_while_it_is_in_the_air_and_settled_by_what_its_answer_says(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, answered(1_200, 900), seconds=5)
        async with opened(tmp_path, clock, upstream) as it:
            asking = asyncio.create_task(it.ask(paid()))
            await clock.sleep(2)
            assert len(upstream.seen) == 1
            assert spend(tmp_path) == [("2026-11-23", 1, RESERVED, EXPECTED.tokens)]
            await asking
            assert spend(tmp_path) == [("2026-11-23", 1, 1_200, 900)]
            (done,) = [event for event in it.events if event.name == "call.completed"]
            assert done.fields["cost_usd"] == 0.0012
            accounts_agree(tmp_path, it)
        async with opened(tmp_path, clock, upstream) as it:
            accounts_agree(tmp_path, it)

    run(story)


@pytest.mark.parametrize(
    ("reply", "each"),
    [
        (answered(1_200), [1_200]),
        (answered(90_000), [90_000]),
        (answered(0), [0]),
        (answered(None), [RESERVED]),
        (answered(700, failed="for good"), [700]),
        (answered(None, failed="for good"), [RESERVED]),
        (answered(0, failed="again"), [0] * 4),
        (answered(700, failed="again"), [700] * 2),
        (answered(None, failed="again"), [RESERVED] * 2),
        (response(400), [0]),
        (response(401), [0]),
        (response(404), [0]),
        (response(410), [0]),
        (response(429), [0]),
        (response(302), [RESERVED]),
        (response(500), [RESERVED] * 2),
        (response(504), [RESERVED] * 2),
        (response(501), [0] * 4),
        (response(503, retry_after="60"), [0]),
        (never_left(), [0] * 4),
        (cut(), [RESERVED] * 2),
        (PermanentClientError("larger than 5 MB", Reason.TOO_LARGE), [RESERVED]),
        (ZeroDivisionError("a fault"), [RESERVED]),
    ],
)
def test_each_ending_has_its_price_and_its_number_of_tries(
    tmp_path: Path, reply: Response | BaseException, each: list[int]
) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, *[reply] * 5)
        async with opened(tmp_path, clock, upstream) as it:
            await every(it.ask(paid(), await it.task()))
            assert charged(tmp_path) == each
            assert len(upstream.seen) == len(each)
            accounts_agree(tmp_path, it)

    run(story)


def test_a_paid_request_that_times_out_twice_is_not_asked_a_third_time_and_a_free_one_four_times(
    tmp_path: Path,
) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, *[cut() for _ in range(20)])
        async with opened(tmp_path, clock, upstream) as it:
            with pytest.raises(PermanentClientError, match="may have been charged, and is not asked again") as caught:
                await it.ask(paid())
            assert (caught.value.reason, len(upstream.seen)) == (Reason.TIMEOUT, 2)
            for resource in (paid("free", FREE), plain()):
                await clock.sleep(REMEMBERED_FOR / SECOND)
                with pytest.raises(TransientClientError):
                    await it.ask(resource)
            assert len(upstream.seen) == 2 + 4 + 4
            assert charged(tmp_path) == [RESERVED] * 2 + [0] * 8

    run(story)


def test_what_never_left_or_was_refused_with_an_error_does_not_count_as_a_try_that_may_have_been_charged(
    tmp_path: Path,
) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, never_left(), response(503), cut(), answered(1_200))
        async with opened(tmp_path, clock, upstream) as it:
            assert (await it.ask(paid())).asked
            assert charged(tmp_path) == [0, 0, RESERVED, 1_200]
            accounts_agree(tmp_path, it)

    run(story)


def test_an_answer_that_has_not_changed_costs_nothing(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        first = answered(1_200, 900)
        tagged = Response(200, {**first.headers, "etag": '"a"'}, first.body, first.url)
        upstream = PaidUpstream(clock, tagged, response(304))
        async with opened(tmp_path, clock, upstream) as it:
            await it.ask(paid())
            await clock.sleep(DAY / SECOND)
            assert (await it.ask(paid())).asked
            assert [usd for _, _, usd, _ in spend(tmp_path)] == [1_200, 0]
            done = [event.fields["cost_usd"] for event in it.events if event.name == "call.completed"]
            assert done == [0.0012, 0]
            accounts_agree(tmp_path, it)

    run(story)


def test_a_call_that_never_left_the_house_costs_nothing(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, response(429, retry_after="60"))
        async with opened(tmp_path, clock, upstream, requests_per_second=1.0) as it:
            results = await every(*(it.ask(paid(str(n)), task) for n, task in enumerate(await it.tasks(3))))
            assert [type(result) for result in results] == [Held] * 3
            assert len(upstream.seen) == 1
            assert set(charged(tmp_path)) == {0}
            accounts_agree(tmp_path, it)

    run(story)


def test_an_answer_that_cannot_be_kept_is_charged_what_it_says_that_it_cost(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        (tmp_path / "raw").write_text("no folder")
        dear = answered(90_000)
        body = b"".join(n.to_bytes(4) for n in range(40_000))
        upstream = PaidUpstream(clock, Response(200, dear.headers, body, dear.url))
        async with opened(tmp_path, clock, upstream) as it:
            with pytest.raises(StoreError):
                await it.ask(paid())
            assert it.settled() == [("lost", Reason.DISK_FAILED)]
            assert charged(tmp_path) == [90_000]
            accounts_agree(tmp_path, it)

    run(story)


def test_an_end_in_the_middle_of_settling_settles_once(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, answered(1_200, 900))
        async with opened(tmp_path, clock, upstream) as it:
            commit = it.ledger.run
            slow = False

            async def slowly(unit: Any) -> Any:
                done = await commit(unit)
                if slow:
                    await clock.sleep(20)
                return done

            it.ledger.run = slowly  # type: ignore[method-assign]
            asking = asyncio.create_task(it.ask(paid()))
            while not upstream.seen:
                await clock.sleep(0.001)
            slow = True
            await clock.sleep(1)
            assert charged(tmp_path) == [1_200], "committed, and nobody has learned of it yet"
            ending = asyncio.create_task(it.gates.close())
            await clock.sleep(5.1)
            slow = False
            await ending
            assert isinstance((await every(asking))[0], asyncio.CancelledError)
            assert spend(tmp_path) == [("2026-11-23", 1, 1_200, 900)]
            accounts_agree(tmp_path, it)

    run(story)


@pytest.mark.parametrize("cost", [1_200, 90_000])
def test_a_call_lost_by_a_crash_stays_reserved(tmp_path: Path, cost: int) -> None:
    clock = VirtualClock()
    upstream = PaidUpstream(clock, answered(cost))

    async def life(clock: VirtualClock) -> None:
        async with opened(tmp_path, clock, KilledOnTheWay(upstream)) as it:
            await it.ask(paid())

    async def last(clock: VirtualClock) -> None:
        async with opened(tmp_path, clock, upstream, usd=0.03) as it:
            assert [call.state for call in it.calls()] == ["lost"]
            accounts_agree(tmp_path, it)
            with pytest.raises(Held, match=r"0\.03 USD of today are spent"):
                await it.ask(paid())
            assert charged(tmp_path) == [RESERVED]

    assert run_until_killed(life, hop=NEVER, clock=clock)
    run(last, clock=clock)


# budgets


def test_a_budget_in_dollars_is_checked_with_what_the_next_try_may_cost(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock)
        async with opened(tmp_path, clock, upstream, usd=0.05) as it:
            results = await every(*(it.ask(paid(str(n)), task) for n, task in enumerate(await it.tasks(4))))
            refused = [result for result in results if isinstance(result, Held)]
            assert {(held.reason, held.until) for held in refused} == {(Reason.BUDGET_EXHAUSTED, MIDNIGHT)}
            assert (len(refused), len(upstream.seen)) == (2, 2)
            (event,) = [event for event in it.events if event.name == "provider.budget_exhausted"]
            assert (event.level, "0.05 USD of today are spent" in event.message) == ("WARNING", True)

    run(story)


@pytest.mark.parametrize("lives", [1, 6])
def test_what_was_reserved_and_not_spent_is_free_again(tmp_path: Path, lives: int) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock)
        for life in range(lives):
            async with opened(tmp_path, clock, upstream, usd=0.05) as it:
                for n in range(5 if life < lives - 1 else 26 - 5 * (lives - 1)):
                    await it.ask(paid(f"{life} {n}"))
                accounts_agree(tmp_path, it)
        async with opened(tmp_path, clock, upstream, usd=0.05) as it:
            assert spend(tmp_path)[0][2] == 26 * 1_200
            with pytest.raises(Held, match=r"0\.05 USD"):
                await it.ask(paid("one too many"))
            assert len(upstream.seen) == 26

    run(story)


def test_an_answer_dearer_than_expected_uses_the_budget_up(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, answered(90_000))
        for restart in (False, True):
            async with opened(tmp_path, clock, upstream, usd=0.1) as it:
                if not restart:
                    await it.ask(paid())
                with pytest.raises(Held) as caught:
                    await it.ask(paid("other"), await it.task(force=True))
                assert caught.value.reason is Reason.BUDGET_EXHAUSTED
                assert (await it.ask(plain(str(restart)))).asked, "each provider has its own"
        assert [shown.key for shown in upstream.seen] == [PRIMARY, None, None]

    run(story)


def test_every_try_is_checked_against_the_budget(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, *[cut() for _ in range(4)])
        async with opened(tmp_path, clock, upstream, usd=0.03) as it:
            with pytest.raises(Held, match=r"0\.03 USD"):
                await it.ask(paid())
            assert len(upstream.seen) == 1

    run(story)


def test_a_budget_of_a_month_lasts_over_its_days_and_opens_with_the_next(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, answered(90_000))
        budget = {"usd_per_month": 0.1, "usd_per_day": 0.1}
        async with opened(tmp_path, clock, upstream, budget=budget) as it:
            await it.ask(paid())
            await clock.sleep(DAY / SECOND)
            with pytest.raises(Held, match=r"0\.10 USD of this month") as caught:
                await it.ask(paid("other"))
            assert caught.value.until == from_iso("2026-12-01T00:00:00Z")
            await clock.sleep((caught.value.until - clock.now()) / SECOND)
            assert (await it.ask(paid("other"))).asked

    run(story)


@pytest.mark.parametrize("cost", [1_200, 90_000])
def test_a_call_that_is_settled_after_midnight_corrects_the_day_it_was_reserved_on(tmp_path: Path, cost: int) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = PaidUpstream(clock, answered(cost), seconds=5)
        async with opened(tmp_path, clock, upstream) as it:
            await it.ask(paid())
            assert clock.now() > MIDNIGHT
            assert spend(tmp_path) == [("2026-11-23", 1, cost, 900)]
            assert it.gates.by_provider["paid"].spent_today(clock.now()).usd_micros == 0
            accounts_agree(tmp_path, it)

    run(story, start=MIDNIGHT - 2 * SECOND)


# the law


class Reply(NamedTuple):
    """What the upstream answers, and what it takes for it; where nobody can know, what was expected."""

    said: Response | BaseException
    takes: int


REPLIES = st.one_of(
    st.integers(0, 100_000).map(lambda usd: Reply(answered(usd, usd // 2), usd)),
    st.integers(0, 100_000).map(lambda usd: Reply(answered(usd, failed="again"), usd)),
    st.integers(0, 100_000).map(lambda usd: Reply(answered(usd, failed="for good"), usd)),
    st.sampled_from(
        [
            Reply(answered(None), RESERVED),
            Reply(answered(None, failed="again"), RESERVED),
            Reply(response(500), RESERVED),
            Reply(response(503), 0),
            Reply(response(429, retry_after="2"), 0),
            Reply(response(401), 0),
            Reply(response(400), 0),
            Reply(never_left(), 0),
            Reply(cut(), RESERVED),
        ]
    ),
)
LIVES = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["closed", "cut off", "killed"])), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(replies=st.lists(REPLIES, max_size=12), lives=LIVES, before_midnight=st.integers(0, 5))
def test_the_calls_the_days_and_the_gate_agree_with_what_the_upstream_took(
    replies: list[Reply], lives: list[tuple[int, str]], before_midnight: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        taken = _lived(Path(folder), replies, lives, VirtualClock(MIDNIGHT - before_midnight * SECOND))
        accounts_agree(Path(folder))
        assert sum(charged(Path(folder))) == taken


def _lived(folder: Path, replies: list[Reply], lives: list[tuple[int, str]], clock: VirtualClock) -> int:
    """What the upstream took, where nobody can know: what was expected."""
    upstream = PaidUpstream(clock, *(reply.said for reply in replies))
    takes: list[int] = [reply.takes for reply in replies]
    unknown: set[int] = set()

    def life(number: int, asks: int, end: str) -> Any:
        async def story(clock: VirtualClock) -> None:
            transport: Transport = KilledOnTheWay(upstream) if end == "killed" else upstream
            upstream.seconds = 30 if end == "cut off" else 0.3
            async with opened(folder, clock, transport) as it:
                accounts_agree(folder, it)
                tasks = await it.tasks(asks)
                wanted = [it.ask(paid(f"{number} {n}"), task) for n, task in enumerate(tasks)]
                if end == "killed":
                    for one in wanted:
                        await every(one)
                elif end == "cut off":
                    asking = [asyncio.create_task(one) for one in wanted]
                    await clock.sleep(1)
                    await it.gates.close()
                    await every(*asking)
                else:
                    await every(*wanted)
                accounts_agree(folder, it)

        return story

    for number, (asks, end) in enumerate(lives):
        before = len(upstream.seen)
        if run_until_killed(life(number, asks, end), hop=NEVER, clock=clock, seed=number) or end == "cut off":
            unknown |= set(range(before, len(upstream.seen)))
    usual = 1_200
    known = [takes[n] if n < len(takes) else usual for n in range(len(upstream.seen))]
    return sum(RESERVED if n in unknown else usd for n, usd in enumerate(known))
