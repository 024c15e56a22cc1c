"""Storms of asks, outages, wishes for quiet, crashes and restarts: what the upstream saw keeps every promise.

The witness is the upstream's own record. Of what it asked for, only what the ledger knew is demanded over a crash: an
answer on its way when the process died was never heard.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scheduler_service.background_scheduler import BackgroundScheduler
from scheduler_service.calls import Request, Resource, Response
from scheduler_service.clients.base import discover as discover_clients
from scheduler_service.clients.feed_client import MAX_AGE as FEED_MAX_AGE
from scheduler_service.clock import DAY, MINUTE, SECOND
from scheduler_service.errors import ClientError, Held, StoreError, TransientClientError
from scheduler_service.models import Reason, Symbol
from scheduler_service.processors.base import discover as discover_processors
from scheduler_service.sandbox.bundle import bundled
from scheduler_service.sandbox.faults import Fault, FaultKind
from scheduler_service.sandbox.memory import MemoryTransport
from scheduler_service.sandbox.upstream import SandboxUpstream
from scheduler_service.settings.load import load
from tests.integration.gates_support import NEVER, house, plain, rows, sandbox
from tests.integration.paid_support import EXPECTED, keys, paid
from tests.virtual_time import VirtualClock, run, run_until_killed

if TYPE_CHECKING:
    from scheduler_service.calls import Limits
    from scheduler_service.models import Task
    from scheduler_service.settings.loaded import Settings
    from tests.integration.gates_support import House

KEYS = ("pplx-one-1111", "pplx-two-2222")
LONGEST_ANSWER = 9.0
COST = 15_000
CALLS_A_DAY, CALLS_IN_24_HOURS, USD_A_DAY = 40, 6, 0.11
CONCURRENCY = {"plain": 3, "paid": 1, "feeds": 2}
SPACING = {"plain": SECOND // 2, "paid": 3 * SECOND, "a.example": SECOND, "b.example": SECOND}
OPTIONS = {
    "plain": {"requests_per_second": 2.0, "concurrency": 3, "budget": {"calls_per_day": CALLS_A_DAY}},
    "paid": keys(*KEYS)
    | {"requests_per_minute": 20, "concurrency": 1, "requests_per_day": CALLS_IN_24_HOURS}
    | {"budget": {"usd_per_day": USD_A_DAY}},
    "feeds": {
        "urls": ["https://a.example/{symbol}", "https://b.example/{symbol}"],
        "requests_per_minute": 60,
        "concurrency": 2,
    },
}
RETRY_AFTER = ("2", "7", "45", "1800", "-3", "soon", "315360000", "Mon, 23 Nov 2026 15:10:00 GMT", None)


class Weather(NamedTuple):
    """For ``lasts`` seconds from ``after`` seconds on, whoever asks at ``where`` gets this."""

    where: str
    after: float
    lasts: float
    status: int
    retry_after: str | None
    takes: float


class Step(NamedTuple):
    """After ``pause`` seconds, the next of the tasks asks for a thing; ``patience``: seconds until it gives up."""

    pause: float
    what: int
    force: bool
    patience: float | None


WEATHER = st.builds(
    Weather,
    where=st.sampled_from(("plain", "paid", "a.example", "b.example", "")),
    after=st.one_of(st.just(0.0), st.floats(0, 1500)),
    lasts=st.sampled_from((5.0, 60.0, 1800.0)),
    status=st.sampled_from((500, 503, 429, 429, 404, 401, 0)),
    retry_after=st.sampled_from(RETRY_AFTER),
    takes=st.sampled_from((0.05, 1.0, LONGEST_ANSWER)),
)
STEPS = st.lists(
    st.builds(
        Step,
        pause=st.sampled_from((0.0, 0.0, 0.0, 0.01, 0.4, 5.0, 61.0, 700.0, 40_000.0)),
        what=st.integers(0, 11),
        force=st.booleans(),
        patience=st.sampled_from((None, None, None, 0.02, 3.0)),
    ),
    min_size=6,
    max_size=50,
)
KILLS = st.one_of(st.integers(3, 150), st.sampled_from((0.3, 1.6, 4.0, 8.0, 75.0)))
"""A touch of the disk, or so many seconds after the start."""
USUAL = st.sampled_from((0.05, 2.0, LONGEST_ANSWER))
"""Seconds that an answer takes in fair weather."""


@dataclass
class Seen:
    """One request as the upstream saw it: it worked from ``at`` until ``done``, whether or not anyone listened."""

    life: int
    where: str
    url: str
    key: str | None
    at: int
    done: int
    status: int = 200
    wait: int | None = None
    heard: bool = False


@dataclass
class Upstream:
    """Everyone's upstream, in any weather; its record outlives the processes that ask."""

    clock: VirtualClock
    weather: list[Weather]
    usual: float
    life: int = 0
    seen: list[Seen] = field(default_factory=list)
    begins: int = 0

    def __post_init__(self) -> None:
        self.begins = self.clock.now()

    async def send(self, request: Request, limits: Limits) -> Response:
        now = self.clock.now()
        where = _where(request.url)
        weather = next((w for w in self.weather if self._rules(w, where, now)), None)
        takes = weather.takes if weather else self.usual
        key = dict(request.headers).get("Authorization", "").removeprefix("Bearer ") or None
        seen = Seen(self.life, where, request.url, key, now, now + round(takes * SECOND))
        self.seen.append(seen)
        await self.clock.sleep(min(takes, limits.timeout))
        seen.heard = True
        if weather is None:
            return Response(200, {"cost": str(COST), "tokens": "10"} if where == "paid" else {}, b"body", request.url)
        seen.status = weather.status
        if weather.status == 0:
            raise TransientClientError("cut", Reason.PROVIDER_DOWN)
        seen.wait = _asked_for(weather, self.clock.now())
        headers = {} if weather.retry_after is None else {"retry-after": weather.retry_after}
        return Response(weather.status, headers, b"", request.url)

    async def close(self) -> None: ...

    def _rules(self, weather: Weather, where: str, now: int) -> bool:
        since = (now - self.begins) / SECOND - weather.after
        return weather.where in ("", where) and 0 <= since < weather.lasts


def _where(url: str) -> str:
    parts = urlsplit(url)
    return "paid" if parts.port == 8999 else parts.hostname if (parts.hostname or "").endswith("example") else "plain"  # type: ignore[return-value]


def _asked_for(weather: Weather, now: int) -> int | None:
    """The shortest wait that was asked for, in microseconds; None where none was."""
    if weather.status not in (429, 503):
        return None
    text = weather.retry_after
    if text is None:
        return 60 * SECOND if weather.status == 429 else None
    if text.isdigit() and int(text) <= 86_400:
        return int(text) * SECOND
    if text.startswith("Mon"):
        until = 1795446600 * SECOND  # that date
        return until - now if until > now else 3600 * SECOND
    return 3600 * SECOND


def _things(it: House) -> list[Resource]:
    two = [resource for symbol in ("AAPL", "NVDA") for resource in it.feeds.feeds(Symbol(symbol))]
    return [*(plain(f"p{n}", max_age=7 * DAY) for n in range(4)), *(paid(f"q{n}") for n in range(4)), *two]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.lists(WEATHER, max_size=6), st.lists(KILLS, max_size=4), USUAL, st.integers(0, 99))
@example([Step(0.0, 4, False, None), Step(0.4, 5, False, None)], [], [1.6], LONGEST_ANSWER, 0)
def test_no_storm_makes_it_ask_too_often_too_soon_too_dear_or_twice(
    steps: list[Step], weather: list[Weather], kills: list[int | float], usual: float, seed: int
) -> None:
    with TemporaryDirectory() as folder:
        _storm(Path(folder), steps, weather, kills, usual, seed)


def _storm(
    folder: Path, steps: list[Step], weather: list[Weather], kills: list[int | float], usual: float, seed: int
) -> None:
    clock = VirtualClock()
    upstream = Upstream(clock, weather, usual)
    remembered: list[tuple[int, str, int]] = []

    async def life(clock: VirtualClock, lasts: float | None = None) -> None:
        upstream.life += 1
        if lasts is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(lasts, loop.die)  # type: ignore[attr-defined]
        async with house(folder, clock, sandbox(clock), transport=upstream, room=None, **OPTIONS) as it:
            remembered.extend((upstream.life, name, until) for name, until in _shut(folder))
            things = _things(it)
            asking = []
            for step in steps:
                await clock.sleep(step.pause)
                task = await it.task(force=step.force)
                asking.append(asyncio.create_task(_ask(it, things[step.what], task, step.patience)))
            await asyncio.gather(*asking)
            await clock.sleep(2 * MINUTE / SECOND)
            assert not it.gates._flights
            _no_key_in(str([event.message for event in it.events]).encode())

    for n, kill in enumerate(kills):
        if isinstance(kill, int):
            run_until_killed(life, hop=kill, clock=clock, seed=seed + n)
        else:
            run_until_killed(partial(life, lasts=kill), hop=NEVER, clock=clock, seed=seed + n)
    run(life, clock=clock, seed=seed)
    _rates(upstream.seen)
    _quiet(upstream.seen, remembered)
    _budgets(folder, upstream.seen)
    _once(folder, upstream.seen)
    _keys_where_they_belong(folder, upstream.seen)


async def _ask(it: House, resource: Resource, task: Task, patience: float | None) -> None:
    with suppress(ClientError, Held, StoreError, TimeoutError):
        async with asyncio.timeout(patience):
            await it.ask(resource, task)


def _shut(folder: Path) -> list[tuple[str, int]]:
    """What the ledger says to leave alone: ``paid`` stands for each of its keys."""
    found = rows(folder, "SELECT provider, name, until_at FROM gate_state WHERE name NOT LIKE 'rate%'")
    said = []
    for provider, name, until in found:
        if name.startswith("closed"):
            said.append((name.partition("@")[2] or provider, until))
    return said


def _rates(seen: list[Seen]) -> None:
    by_line = defaultdict(list)
    for request in seen:
        by_line[request.where].append(request.at)
    for where, instants in by_line.items():
        assert all(b - a >= SPACING[where] for a, b in pairwise(instants)), where
    for provider, most in CONCURRENCY.items():
        mine = [s for s in seen if _provider(s) == provider]
        for request in mine:
            assert sum(other.at <= request.at < other.done for other in mine) <= most, provider
    at = by_line["paid"]
    assert all(b - a >= DAY for a, b in zip(at, at[CALLS_IN_24_HOURS:], strict=False))


def _quiet(seen: list[Seen], remembered: list[tuple[int, str, int]]) -> None:
    for life, where, until in remembered:
        assert not [s for s in seen if s.life >= life and s.where == where and _begins(seen, life) <= s.at < until]
    for asked in seen:
        if asked.wait is None or not asked.heard:
            continue
        until = asked.done + asked.wait
        later = [s for s in seen if s.life == asked.life and s.where == asked.where and asked.done < s.at < until]
        if asked.where == "paid" and asked.status == 429:
            later = [s for s in later if s.key == asked.key]  # another key may do
        assert not later, (asked, later)


def _begins(seen: list[Seen], life: int) -> int:
    return min((s.at for s in seen if s.life == life), default=0)


def _budgets(folder: Path, seen: list[Seen]) -> None:
    days = Counter((s.where, s.at // DAY) for s in seen)
    assert all(count <= CALLS_A_DAY for (where, _), count in days.items() if where == "plain")
    charged = dict(rows(folder, "SELECT provider, SUM(calls) FROM spend GROUP BY provider"))
    asked = Counter(map(_provider, seen))
    assert all(charged.get(provider, 0) >= count for provider, count in asked.items()), "never under-counted"
    good = Counter(s.at // DAY for s in seen if s.where == "paid" and s.status == 200)
    in_flight = CONCURRENCY["paid"] * EXPECTED.usd_micros
    assert all(count * COST <= USD_A_DAY * 1e6 + in_flight for count in good.values())


def _once(folder: Path, seen: list[Seen]) -> None:
    for place, request in enumerate(seen):
        twins = [s for s in seen[place + 1 :] if s.life == request.life and s.url == request.url]
        assert not [twin for twin in twins if twin.at < request.done], "one in flight per key"
    kept = rows(folder, "SELECT c.resource_key, a.url, a.fetched_at FROM call c JOIN answer a ON a.call_id = c.id")
    forced = {key for (key,) in rows(folder, FORCED)}
    for key, url, fetched_at in kept:
        if key not in forced:
            age = FEED_MAX_AGE if key.startswith("feeds") else DAY
            again = [s for s in seen if s.url == url and fetched_at < s.at < fetched_at + age]
            assert not again, "no call when fresh, no second paid call for a kept answer"


FORCED = """
SELECT DISTINCT c.resource_key FROM call c JOIN call_use u ON u.call_id = c.id
JOIN task t ON t.id = u.task_id JOIN run r ON r.id = t.run_id WHERE r.force
"""


def _keys_where_they_belong(folder: Path, seen: list[Seen]) -> None:
    assert all((s.key in KEYS) if s.where == "paid" else s.key is None for s in seen)
    for file in folder.rglob("*"):
        if file.is_file():
            _no_key_in(file.read_bytes())


def _no_key_in(data: bytes) -> None:
    assert not [key for key in KEYS if key.encode() in data]


def _provider(seen: Seen) -> str:
    return "feeds" if seen.where.endswith("example") else seen.where


# the whole service

INTERVAL = 15 * MINUTE
STORM = 30 * MINUTE
STOCKS = [company.profile.symbol for company in bundled()]
CONFIG = f"""
service: {{data_dir: data}}
watchlist: {STOCKS}
providers: {{sandbox: {{enabled: true}}, feeds: {{requests_per_minute: 600}}}}
domains: {{news: {{sources: [{{use: feeds, fresh_for: 12m}}, {{use: edgar_filings, fresh_for: 12m}}]}}}}
schedules: [{{id: news, domain: news, symbols: all, trigger: {{every: 15m}}}}]
"""


@pytest.mark.parametrize(
    ("status", "retry_after", "most"), [(500, None, 26), (503, "20", 40), (429, None, 70), (429, "600", 10)]
)
def test_half_an_hour_of_it_costs_few_calls_and_is_over_before_the_second_slot(
    tmp_path: Path, status: int, retry_after: str | None, most: int
) -> None:
    async def story(clock: VirtualClock) -> None:
        upstream = SandboxUpstream(clock, latency=0.05)
        transport = MemoryTransport(upstream, clock)
        service = BackgroundScheduler(_settings(tmp_path), clock=clock, transport=transport, web=False)
        await service.start()
        await clock.sleep(40 * MINUTE / SECOND)
        before = {p: n / 40 for p, n in Counter(seen.provider for seen in upstream.seen).items()}
        begins, ends = clock.now(), clock.now() + STORM
        upstream.faults.add(Fault(kind=FaultKind.STATUS, status=status, retry_after=retry_after, until=ends))
        await clock.sleep((STORM + 2 * INTERVAL) / SECOND)
        fresh = rows(tmp_path / "data", f"SELECT count(*) FROM stock_state WHERE checked_at >= {ends}")
        assert fresh == [(2 * len(STOCKS),)]
        for provider in before:
            during = [seen.at for seen in upstream.seen if seen.provider == provider and begins <= seen.at < ends]
            assert 0 < len(during) <= most, provider
            busiest = max(sum(at <= other < at + MINUTE for other in during) for at in during)
            assert busiest <= 12, provider
            after = [seen.at for seen in upstream.seen if seen.provider == provider and seen.at >= ends]
            assert after[0] - ends < INTERVAL
        await service.stop()

    run(story, start="2026-11-23T14:31:00Z")


def _settings(folder: Path) -> Settings:
    (config := folder / "config.yaml").write_text(CONFIG)
    return load(
        [config],
        {},
        providers={name: client.Options for name, client in discover_clients().items()},
        sources={
            domain: {source.name: source.provider for source in processor.sources}
            for domain, processor in discover_processors().items()
        },
    )
