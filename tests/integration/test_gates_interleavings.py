"""Any order of asks, failures and kills: what the upstream saw is what the ledger says."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler_service.clock import MINUTE, SECOND
from scheduler_service.errors import ClientError, Held, StoreError
from scheduler_service.models import Reason
from scheduler_service.sandbox.faults import Fault, FaultKind
from scheduler_service.sandbox.memory import MemoryTransport
from tests.integration.gates_support import CIKS, calls, gaps, house, rows, sandbox, spent
from tests.virtual_time import VirtualClock, run, run_until_killed

if TYPE_CHECKING:
    from scheduler_service.calls import Limits, Request, Resource, Response
    from scheduler_service.models import Task
    from scheduler_service.sandbox.upstream import SandboxUpstream
    from tests.integration.gates_support import House

BUDGET = 9
PER_SECOND = 5.0
TASKS, FORCED = 4, 2
RESOURCES = 5

FAULTS = st.one_of(
    st.builds(
        Fault,
        kind=st.sampled_from((FaultKind.RESET, FaultKind.CUT, FaultKind.HTML, FaultKind.EMPTY, FaultKind.TRUNCATED)),
        count=st.integers(1, 3),
    ),
    st.builds(
        Fault,
        kind=st.just(FaultKind.STATUS),
        status=st.sampled_from((404, 500, 503)),
        count=st.integers(1, 5),
    ),
    st.builds(
        Fault,
        kind=st.just(FaultKind.STATUS),
        status=st.just(429),
        retry_after=st.sampled_from(("2", "30")),
        count=st.just(1),
    ),
)


class Step(NamedTuple):
    """After ``pause`` seconds a task asks for a resource; ``patience``: seconds until it gives up."""

    pause: float
    task: int
    resource: int
    patience: float | None


STEPS = st.lists(
    st.builds(
        Step,
        pause=st.sampled_from((0.0, 0.001, 0.02, 0.3, 20.0, 400.0)),
        task=st.integers(0, TASKS + FORCED - 1),
        resource=st.integers(0, RESOURCES - 1),
        patience=st.sampled_from((None, None, 0.01, 0.1)),
    ),
    min_size=1,
    max_size=16,
)


class Witness:
    """Stands at the door: notes which reserved call each request is; no resource may be asked for twice at once."""

    def __init__(self, inner: MemoryTransport, folder: Path) -> None:
        self._inner = inner
        self._folder = folder
        self.keys: list[tuple[str, str]] = []
        self.sent: list[int] = []
        self.in_flight: set[str] = set()

    async def send(self, request: Request, limits: Limits) -> Response:
        key = next(key for key, url in self.keys if url == request.url)
        (call,) = [c for c in calls(self._folder) if c.resource == key and c.state == "reserved"]
        assert call.id not in self.sent
        assert key not in self.in_flight
        self.sent.append(call.id)
        self.in_flight.add(key)
        try:
            return await self._inner.send(request, limits)
        finally:
            self.in_flight.discard(key)

    async def close(self) -> None: ...


def resources(it: House) -> list[Resource]:
    feeds = [it.feed("AAPL"), it.feed("NVDA")]
    return [*feeds, it.edgar.submissions(CIKS[0]), it.edgar.company_facts(CIKS[0], "r"), it.edgar.tickers()]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.lists(FAULTS, max_size=5), st.lists(st.integers(4, 60), max_size=3), st.integers(0, 99))
def test_it_accounts_for_every_request_in_any_order_of_asks_failures_and_kills(
    steps: list[Step], faults: list[Fault], kills: list[int], seed: int
) -> None:
    with TemporaryDirectory() as folder:
        _live(Path(folder), steps, faults, kills, seed)


def _live(folder: Path, steps: list[Step], faults: list[Fault], kills: list[int], seed: int) -> None:
    clock = VirtualClock()
    upstream = sandbox(clock)
    upstream.faults.add(*faults)
    witness = Witness(MemoryTransport(upstream, clock), folder)
    tasks: list[Task] = []
    limits = {"requests_per_second": PER_SECOND, "budget": {"calls_per_day": BUDGET}}

    async def life(clock: VirtualClock) -> None:
        witness.in_flight.clear()
        async with house(folder, clock, upstream, transport=witness, edgar=limits, feeds=limits) as it:
            asked = resources(it)
            witness.keys = [(resource.key, resource.request.url) for resource in asked]
            if not tasks:
                tasks[:] = [*await it.tasks(TASKS), *await it.tasks(FORCED, force=True)]
            asking = []
            for step in steps:
                await clock.sleep(step.pause)
                asking.append(asyncio.create_task(_ask(it, asked[step.resource], tasks[step.task], step.patience)))
            await asyncio.gather(*asking)
            await clock.sleep(2 * MINUTE / SECOND)  # whoever gave up leaves a flight behind
            for provider, gate in it.gates.by_provider.items():
                charged = sum(n for p, n in rows(folder, "SELECT provider, calls FROM spend") if p == provider)
                assert gate.spent_today(clock.now()).calls == charged
            assert not it.gates._flights
            assert all(call.settled for call in it.calls())

    for n, hop in enumerate(kills):
        run_until_killed(life, hop=hop, clock=clock, seed=seed + n)
    run(life, clock=clock, seed=seed)
    _check(folder, witness, upstream)


def _check(folder: Path, witness: Witness, upstream: SandboxUpstream) -> None:
    ledger = calls(folder)
    assert len(witness.sent) == len(upstream.seen)
    for call in ledger:
        if call.id not in witness.sent:  # reserved, and never sent: a kill, or a gate that closed at the last moment
            closed = (call.state, call.status, call.reason) == ("failed", None, Reason.RATE_LIMITED)
            assert call.state == "lost" or closed, call
    assert set(witness.sent) <= {call.id for call in ledger}
    assert spent(folder) == len(ledger)
    assert all(n <= BUDGET for (n,) in rows(folder, "SELECT calls FROM spend"))
    for provider in ("edgar", "feeds"):
        instants = [seen.at for seen in upstream.seen if seen.provider == provider]
        assert all(gap >= SECOND / PER_SECOND for gap in gaps(instants))
    lost = "SELECT u.task_id, c.resource_key FROM call c JOIN call_use u ON u.call_id = c.id WHERE c.state = 'lost'"
    asked = Counter(rows(folder, f"{lost} AND u.how = 'asked'"))
    assert all(n <= 2 for n in asked.values())


async def _ask(it: House, resource: Resource, task: Task, patience: float | None) -> None:
    try:
        async with asyncio.timeout(patience):
            await it.ask(resource, task)
    except (ClientError, Held, StoreError, TimeoutError):
        pass
