"""Who goes first: a source that costs money is asked after the others of its stock, or not at all."""

from __future__ import annotations

import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from scheduler_service.clock import HOUR, MINUTE, SECOND, Instant
from scheduler_service.dispatcher import Dispatcher
from scheduler_service.engine import Engine
from scheduler_service.errors import Held, NotFound
from scheduler_service.events.event_bus import EventBus
from scheduler_service.executors.fundamental_executor import FundamentalExecutor
from scheduler_service.executors.local_executor import SLOW
from scheduler_service.fetching import fetch_once, make_run
from scheduler_service.models import Contribution, Kind, Outcome, Reason, RunOrigin, Symbol, Task, TaskState
from scheduler_service.processors.base import Processor, SourcePolicy
from scheduler_service.sandbox.memory import MemoryTransport
from scheduler_service.sandbox.upstream import SandboxUpstream
from scheduler_service.stores import schedule_store, task_store
from scheduler_service.stores.schedule_store import NewRun
from scheduler_service.stores.schema import task as task_table
from scheduler_service.stores.task_store import NewTask, Rank
from scheduler_service.web.views import FetchRequest
from tests.contract.bench import sandbox_settings
from tests.ledger_support import LANE, NOW, Desk, NoteData, Notes, Workshop, open_ledger, said
from tests.virtual_time import VirtualClock, run, run_until_killed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from scheduler_service.calls import Ask
    from scheduler_service.models import StockState
    from scheduler_service.stores.database import Connection, Ledger
    from scheduler_service.stores.schedule_store import RunRow

PAID, OTHER = "paid" + SLOW, "other paid" + SLOW
LANES = {LANE: 2, PAID: 2}
SOURCES = {"desk": LANE, "attic": PAID}

FAILED = Outcome(TaskState.FAILED, Reason.UNKNOWN_SYMBOL, "never heard of it")
FRESH = Outcome(TaskState.SKIPPED, Reason.FRESH)


class Went(NamedTuple):
    """A task as it was carried out."""

    run_id: int
    symbol: str
    source: str
    began: float
    ended: float


class Diary:
    """What becomes of tasks, and when they were at work; ``takes`` seconds and ``ends`` by (symbol, source)."""

    def __init__(self, clock: VirtualClock) -> None:
        self.takes: dict[tuple[str, str], float] = {}
        self.ends: dict[tuple[str, str], list[Outcome | Held]] = {}
        self.went: list[Went] = []
        self._clock = clock

    async def act(self, task: Task, ask: Ask) -> Outcome:
        del ask
        began, key = self._clock.monotonic(), (task.symbol, task.source)
        await self._clock.sleep(self.takes.get(key, 1.0))
        self.went.append(Went(task.run_id, *key, began, self._clock.monotonic()))
        ends = self.ends.get(key)
        end = ends.pop(0) if ends else said(task.symbol)
        if isinstance(end, Held):
            raise end
        return end

    def began(self, symbol: str, source: str) -> float:
        return next(went.began for went in self.went if went[1:3] == (symbol, source))

    def ended(self, symbol: str, source: str) -> float:
        return next(went.ended for went in self.went if went[1:3] == (symbol, source))


def add_tasks(conn: Connection, symbols: Sequence[str], lanes: Mapping[str, str], now: Instant = NOW) -> RunRow:
    """A run of every symbol from every source; ``lanes`` by source."""
    made = schedule_store.add_run(conn, NewRun(RunOrigin.MANUAL, "notes", NOW, "{}"), now)
    new = [NewTask(symbol, source, lane, Rank.NORMAL, now) for symbol in symbols for source, lane in lanes.items()]
    task_store.add_tasks(conn, made, new, "", last=True, now=now)
    return made


async def queue(ledger: Ledger, *symbols: str, lanes: Mapping[str, str] | None = None) -> RunRow:
    return await ledger.run(partial(add_tasks, symbols=symbols, lanes=lanes or SOURCES))


async def states(ledger: Ledger) -> dict[tuple[str, str], str]:
    query = select(task_table.c.symbol, task_table.c.source, task_table.c.state, task_table.c.reason)
    rows = await ledger.read(lambda conn: conn.execute(query).all())
    return {(r.symbol, r.source): f"{r.state}({r.reason})" if r.reason else r.state for r in rows}


def shop_of(ledger: Ledger, clock: VirtualClock, diary: Diary, **different: Any) -> Workshop:
    usual: dict[str, Any] = {"lanes": LANES, "yielding": [PAID], "deadline": 1e9}
    return Workshop(ledger, clock, diary.act, **usual | different)


# the order


@pytest.mark.parametrize("end", [said("words"), FAILED, FRESH])
def test_what_costs_is_asked_once_the_others_of_its_stock_have_ended_however(tmp_path: Path, end: Outcome) -> None:
    async def story(clock: VirtualClock) -> None:
        diary = Diary(clock)
        diary.takes["A", "desk"] = 100.0
        diary.ends["A", "desk"] = [end]
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "A", "B")
            shop = shop_of(ledger, clock, diary)
            await clock.sleep(200)
            await shop.close()
            assert {state for (_, source), state in (await states(ledger)).items() if source == "attic"} == {
                "completed"
            }
        assert 0 <= diary.began("A", "attic") - diary.ended("A", "desk") < 1.5
        assert diary.began("B", "attic") < 5, "other stocks are not waited for"

    run(story)


def test_it_does_not_wait_for_what_its_gate_holds(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        diary = Diary(clock)
        diary.ends["A", "desk"] = [Held("quiet", Reason.RATE_LIMITED, clock.now() + 50 * SECOND)]
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "A")
            shop = shop_of(ledger, clock, diary)
            await clock.sleep(200)
            await shop.close()
            assert set((await states(ledger)).values()) == {"completed"}
        assert diary.ended("A", "desk") < diary.began("A", "attic") < 5

    run(story)


def test_what_costs_may_be_held_itself_and_goes_on(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        diary = Diary(clock)
        diary.ends["A", "attic"] = [Held("no money", Reason.BUDGET_EXHAUSTED, clock.now() + 50 * SECOND)]
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "A")
            shop = shop_of(ledger, clock, diary)
            await clock.sleep(60)
            await shop.close()
            assert set((await states(ledger)).values()) == {"completed"}

    run(story)


def test_another_run_of_the_same_stock_is_not_waited_for(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        diary = Diary(clock)
        diary.takes["A", "desk"] = 500.0
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "A", lanes={"desk": LANE})
            shop = shop_of(ledger, clock, diary)
            await queue(ledger, "A", lanes={"attic": PAID})
            await clock.sleep(10)
            assert diary.ended("A", "attic") < 10
            await shop.executor.drain(0)
            await shop.close()

    run(story)


def test_two_that_cost_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        diary = Diary(clock)
        diary.takes["A", "desk"] = 20.0
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "A", lanes={**SOURCES, "cellar": OTHER})
            shop = shop_of(ledger, clock, diary, lanes={**LANES, OTHER: 1}, yielding=[PAID, OTHER], processor=Houses())
            await clock.sleep(60)
            await shop.close()
            assert set((await states(ledger)).values()) == {"completed"}
        assert min(diary.began("A", "attic"), diary.began("A", "cellar")) > diary.ended("A", "desk")

    run(story)


def test_what_a_crash_cut_off_keeps_to_the_order_too(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, "A")
            await ledger.run(lambda conn: conn.execute(update(task_table).values(interrupted=1)))
            claim = partial(task_store.claim, now=NOW, most=5, yielding=[PAID])
            assert await ledger.read(partial(task_store.next_due, now=clock.now(), lane=PAID, yielding=[PAID])) is None
            assert await ledger.run(partial(claim, lane=PAID)) == []
            (desk,) = await ledger.run(partial(claim, lane=LANE))
            done = partial(task_store.end, mine=desk, outcome=FAILED, unchanged=False, now=NOW)
            await ledger.run(done)
            assert [task.source for task in await ledger.run(partial(claim, lane=PAID))] == ["attic"]

    run(story)


class Cellar(Desk):
    name: ClassVar[str] = "cellar"
    provider: ClassVar[str] = "other paid"
    slow: ClassVar[bool] = True


class Houses(Notes):
    """Three sources."""

    sources = (*Notes.sources, Cellar)

    def __init__(self) -> None:
        super().__init__()
        self.policies["cellar"] = SourcePolicy("cellar", HOUR)


@pytest.mark.parametrize("hop", range(2, 30, 3))
def test_a_kill_at_any_moment_starves_nobody_and_turns_nothing_round(tmp_path: Path, hop: int) -> None:
    lives: list[Diary] = []

    async def life(clock: VirtualClock) -> None:
        diary = Diary(clock)
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            if not await states(ledger):
                await queue(ledger, "A", "B")
            await ledger.run(partial(task_store.recover, now=clock.now()))
            shop = shop_of(ledger, clock, diary)
            await clock.sleep(60)
            await shop.close()
            assert set((await states(ledger)).values()) == {"completed"}
            lives.append(diary)

    clock = VirtualClock(NOW)
    if run_until_killed(life, hop=hop, clock=clock, seed=hop):
        run(life, clock=clock, seed=hop + 1)
    went = lives[-1].went
    for symbol in "AB":
        last_of_desk = max((w.ended for w in went if (w.symbol, w.source) == (symbol, "desk")), default=0)
        assert all(w.began >= last_of_desk for w in went if (w.symbol, w.source) == (symbol, "attic"))


WAITS = st.sampled_from([0.01, 0.7, 3.0, 40.0])
ENDS = st.sampled_from([said("words"), FAILED, FRESH, Held("quiet", Reason.RATE_LIMITED, NOW + 20 * SECOND)])
STOCKS = st.dictionaries(
    st.tuples(st.sampled_from("ABC"), st.sampled_from(["desk", "attic"])), st.tuples(WAITS, ENDS), max_size=6
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    runs=st.lists(st.sampled_from(["A", "AB", "ABC"]), min_size=1, max_size=3), stocks=STOCKS, seed=st.integers(0, 9)
)
def test_whatever_happens_the_order_holds_and_everything_ends(
    runs: list[str], stocks: dict[tuple[str, str], tuple[float, Outcome | Held]], seed: int
) -> None:
    async def story(clock: VirtualClock) -> None:
        diary = Diary(clock)
        for key, (seconds, end) in stocks.items():
            diary.takes[key], diary.ends[key] = seconds, [end]
        with tempfile.TemporaryDirectory() as folder:
            async with open_ledger(Path(folder) / "ledger.sqlite") as ledger:
                for symbols in runs:
                    await queue(ledger, *symbols)
                shop = shop_of(ledger, clock, diary)
                while {"queued", "running"} & set((await states(ledger)).values()):
                    assert clock.monotonic() < 600, "nothing is starved"
                    await clock.sleep(2)
                await shop.close()
        first = {(w.run_id, w.symbol): w.ended for w in reversed(diary.went) if w.source == "desk"}
        for went in diary.went:
            if went.source == "attic":
                assert went.began >= first[went.run_id, went.symbol]

    run(story, start=NOW, seed=seed)


# at rest


class Counting:
    """How often the ledger is read and written."""

    def __init__(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: Counter[str] = Counter()
        for name in ("read", "run"):
            monkeypatch.setattr(ledger, name, partial(self._count, name, getattr(ledger, name)))

    async def _count(self, name: str, real: Callable[[Any], Awaitable[Any]], unit: Any) -> Any:
        self.seen[name] += 1
        return await real(unit)


@pytest.mark.parametrize("waiting", [False, True])
def test_a_lane_that_yields_only_looks_and_not_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, waiting: bool
) -> None:
    async def story(clock: VirtualClock) -> None:
        diary = Diary(clock)
        diary.takes["A", "desk"] = 1e6
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            if waiting:
                await queue(ledger, "A")
            shop = shop_of(ledger, clock, diary)
            await clock.sleep(5)
            counting = Counting(ledger, monkeypatch)
            await clock.sleep(600)
            assert counting.seen["run"] == 0, "who waits or idles writes nothing"
            a_round = 600 / 5  # whoever waits is told when it may be its turn
            assert 0.4 * a_round <= counting.seen["read"] <= 3 * a_round + 5
            await shop.executor.drain(0)
            await shop.close()

    run(story)


def test_a_lane_whose_workers_are_all_busy_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(clock: VirtualClock) -> None:
        diary = Diary(clock)
        symbols = [f"S{n}" for n in range(6)]
        diary.takes |= {(symbol, "attic"): 1e6 for symbol in symbols}
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            await queue(ledger, *symbols)
            shop = shop_of(ledger, clock, diary)
            await clock.sleep(30)
            counting = Counting(ledger, monkeypatch)
            await clock.sleep(600)
            assert counting.seen["run"] == 0
            assert counting.seen["read"] <= 600 / 5 + 5
            await shop.executor.drain(0)
            await shop.close()

    run(story)


# only when missing


class Filed(Desk):
    """The script is its client: what it says of a stock, or raises."""

    def __init__(self, client: object) -> None:
        self._script = cast("Callable[[str, str], object]", client)

    async def collect(self, ask: Ask, state: StockState, symbol: Symbol) -> Contribution[NoteData]:
        del ask, state
        self._script(self.name, symbol.symbol)
        return Contribution(self.name, self.kind, NoteData(words=(self.name,)))


class Told(Filed):
    name: ClassVar[str] = "attic"
    provider: ClassVar[str] = "paid"
    kind: ClassVar[Kind] = Kind.MODEL
    slow: ClassVar[bool] = True


class Records(Notes):
    """Filed, or told where that is missing."""

    sources = (Filed, Told)

    def __init__(self, script: Callable[[str, str], object]) -> None:
        policies = [SourcePolicy("desk", HOUR), SourcePolicy("attic", 2 * HOUR, only_when_missing=True)]
        Processor.__init__(self, cast("Any", {LANE: script, "paid": script}), policies)

    async def process(
        self, task: Task, states: Mapping[str, StockState], symbol: Symbol, ask: Ask, now: Instant
    ) -> Outcome:
        return await Processor.process(self, task, states, symbol, ask, now)


class Desks:
    """Both sources behind a dispatcher, and who was asked."""

    def __init__(self, ledger: Ledger, clock: VirtualClock) -> None:
        self.asked: list[tuple[str, str]] = []
        self.unknown: set[str] = set()
        self.held: Held | None = None
        self.ledger = ledger
        self.clock = clock
        self.processors: dict[str, Processor[Any]] = {"notes": Records(self._script)}
        self.dispatcher = Dispatcher(
            ledger=ledger,
            schedules=[],
            watchlist=[],
            processors=self.processors,
            clock=clock,
            publish=lambda event: None,
            notify=lambda: None,
        )

    def _script(self, source: str, symbol: str) -> None:
        self.asked.append((symbol, source))
        if source == "desk" and self.held is not None:
            raise self.held
        if source == "desk" and symbol in self.unknown:
            raise NotFound("no such company", Reason.UNKNOWN_SYMBOL)

    async def fetch(self, symbol: str, source: str | None = None, *, force: bool = False) -> dict[str, str]:
        """A person's fetch; source to how its task ended."""
        self.asked.clear()
        request = FetchRequest(domain="notes", symbols=(symbol,), source=source, force=force)
        made = await make_run(cast("Engine", self), request)
        processor = cast("Notes", self.processors["notes"])
        shop = Workshop(
            self.ledger,
            self.clock,
            Diary(self.clock).act,
            lanes=LANES,
            yielding=[PAID],
            processor=processor,
            run_id=made.id,
        )
        await self.clock.sleep(10)
        await shop.close()
        of_run = select(task_table.c.source, task_table.c.state, task_table.c.reason, task_table.c.message).where(
            task_table.c.run_id == made.id
        )
        rows = await self.ledger.read(lambda conn: conn.execute(of_run).all())
        return {row.source: f"{row.state}({row.reason})" if row.reason else row.state for row in rows}


def test_what_is_asked_only_when_missing_costs_nothing_while_the_filing_is_fresh(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            desks = Desks(ledger, clock)
            assert await desks.fetch("A") == {"desk": "completed", "attic": "skipped(not_needed)"}
            assert desks.asked == [("A", "desk")]
            message = await ledger.read(
                lambda conn: conn.scalar(select(task_table.c.message).where(task_table.c.id == 2))
            )
            assert message == "desk said it already"
            desks.unknown.add("A")  # the filing was there half an hour ago: it is not missing
            await clock.sleep(30 * MINUTE / SECOND)
            assert await desks.fetch("A") == {"desk": "skipped(fresh)", "attic": "skipped(not_needed)"}
            assert desks.asked == []

    run(story, start=NOW)


def test_what_is_asked_only_when_missing_is_asked_where_the_filing_failed_or_is_out_of_date(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            desks = Desks(ledger, clock)
            desks.unknown.add("B")
            assert await desks.fetch("B") == {"desk": "failed(unknown_symbol)", "attic": "completed"}
            assert desks.asked == [("B", "desk"), ("B", "attic")]
            assert (await desks.fetch("B"))["attic"] == "skipped(fresh)", "its own freshness counts first"
            await desks.fetch("A")
            desks.unknown.add("A")
            await clock.sleep(2 * HOUR / SECOND)
            assert await desks.fetch("A") == {"desk": "failed(unknown_symbol)", "attic": "completed"}

    run(story, start=NOW)


def test_a_person_who_names_it_gets_it_and_one_who_only_forces_does_not(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        async with open_ledger(tmp_path / "ledger.sqlite") as ledger:
            desks = Desks(ledger, clock)
            await desks.fetch("A")
            assert await desks.fetch("A", "attic") == {"attic": "skipped(not_needed)"}
            assert await desks.fetch("A", "attic", force=True) == {"attic": "completed"}
            assert desks.asked == [("A", "attic")]
            assert await desks.fetch("A", force=True) == {"desk": "completed"}
            assert desks.asked == [("A", "desk")]

    run(story, start=NOW)


# the whole house


def test_the_lanes_of_paid_providers_yield_in_every_executor(tmp_path: Path) -> None:
    async def story(clock: VirtualClock) -> None:
        transport = MemoryTransport(SandboxUpstream(clock), clock)
        engine = Engine(sandbox_settings(tmp_path), clock, EventBus().publish, transport)
        await engine.open_gates()
        engine.build_executors()
        slow = {
            lane
            for executor in engine.executors
            for lane in executor.lanes
            if isinstance(executor, FundamentalExecutor)
        }
        assert [executor._yielding for executor in engine.executors] == [{"perplexity" + SLOW}] * 2
        assert "perplexity" + SLOW in slow

    run(story)


@pytest.mark.parametrize("domain", ["news", "earnings", "fundamentals"])
def test_a_persons_fetch_asks_perplexity_last(tmp_path: Path, domain: str) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = SandboxUpstream(clock, latency=0.5)
        request = FetchRequest(domain=domain, symbols=("AAPL",))
        transport = MemoryTransport(upstream, clock)
        reports = fetch_once(sandbox_settings(tmp_path), request, clock=clock, transport=transport)
        ends = {report.source: report.state async for report in reports}
        assert set(ends.values()) == {TaskState.COMPLETED}
        providers = [seen.provider for seen in upstream.seen]
        paid = providers.count("perplexity")
        assert paid >= 1
        assert "perplexity" not in providers[:-paid]

    run(story)
