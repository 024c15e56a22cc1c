"""The sandbox's two ends: over a socket as in memory, whether all goes well or not."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import pytest

from scheduler_service.calls import Limits, Request
from scheduler_service.clients.http import AiohttpTransport
from scheduler_service.clock import SystemClock
from scheduler_service.errors import ClientError
from scheduler_service.models import Reason
from scheduler_service.sandbox.faults import Fault, FaultKind
from scheduler_service.sandbox.memory import BASE, MemoryTransport
from scheduler_service.sandbox.server import SandboxServer
from scheduler_service.sandbox.upstream import SandboxUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scheduler_service.calls import Response, Transport

PATHS = (
    "/files/company_tickers.json",
    "/submissions/CIK0001045810.json",
    "/api/xbrl/companyfacts/CIK0001640147.json",
    "/submissions/CIK0000000001.json",
    "/Archives/missing",
    "/feeds/NVDA.rss",
    "/feeds/NOPE.rss",
    "/v1/models",
    "/v1/missing",
    "/v1/agent",
)
LIMITS = Limits(max_bytes=900_000, timeout=10, redirects=2)
SHORT = replace(LIMITS, timeout=0.1)


class Noon(SystemClock):
    """Sleeps for real, at one instant, so that both ends have the same headlines."""

    def now(self) -> int:
        return 1_795_435_200_000_000


@pytest.fixture
async def upstream() -> SandboxUpstream:
    return SandboxUpstream(Noon())


@pytest.fixture
async def base(upstream: SandboxUpstream) -> AsyncIterator[str]:
    server = SandboxServer(upstream, Noon())
    yield await server.start()
    await server.stop()


@pytest.fixture
async def wire() -> AsyncIterator[Transport]:
    transport = AiohttpTransport(["127.0.0.1"])
    yield transport
    await transport.close()


async def told(transport: Transport, url: str, limits: Limits = LIMITS) -> tuple[object, ...]:
    """What a caller learns: the answer, or the error's type, reason and status."""
    try:
        response: Response = await transport.send(Request(url), limits)
    except ClientError as error:
        return type(error), error.reason, error.status
    kept = {name: response.headers.get(name) for name in ("content-type", "etag", "last-modified", "retry-after")}
    return response.status, kept, response.body


@pytest.mark.parametrize("path", PATHS)
async def test_both_ends_give_the_same_answer(upstream: SandboxUpstream, base: str, wire: Transport, path: str) -> None:
    assert await told(wire, base + path) == await told(MemoryTransport(upstream, Noon()), BASE + path)
    first, second = upstream.seen
    assert first.headers["user-agent"] == second.headers["user-agent"]


@pytest.mark.parametrize("kind", FaultKind)
async def test_both_ends_fail_in_the_same_words(
    upstream: SandboxUpstream, base: str, wire: Transport, kind: FaultKind
) -> None:
    upstream.faults.add(Fault(kind=kind, seconds=0.2 if kind is FaultKind.DRIP else 9, retry_after="5", body="{}"))
    limits = SHORT if kind in (FaultKind.SLOW, FaultKind.DRIP, FaultKind.BLACKHOLE) else LIMITS
    path = "/submissions/CIK0001045810.json"
    in_memory = await told(MemoryTransport(upstream, Noon()), BASE + path, limits)
    assert await told(wire, base + path, limits) == in_memory


async def test_a_drip_within_the_time_arrives_whole(upstream: SandboxUpstream, base: str, wire: Transport) -> None:
    upstream.faults.add(Fault(kind=FaultKind.BODY, body="slow", count=1), Fault(kind=FaultKind.DRIP, seconds=0))
    assert (await wire.send(Request(f"{base}/feeds/AAPL.rss"), LIMITS)).body == b"slow"
    assert (await wire.send(Request(f"{base}/feeds/AAPL.rss"), LIMITS)).body.startswith(b"<?xml")


async def test_a_bomb_is_small_on_the_wire_and_stopped_at_the_limit(
    upstream: SandboxUpstream, base: str, wire: Transport
) -> None:
    upstream.faults.add(Fault(kind=FaultKind.GZIP_BOMB))
    assert len(upstream.answer(Request(f"{BASE}/feeds/AAPL.rss")).body) < 200_000
    with pytest.raises(ClientError) as caught:
        await wire.send(Request(f"{base}/feeds/AAPL.rss"), Limits(max_bytes=1_000_000))
    assert caught.value.reason is Reason.TOO_LARGE


async def test_faults_and_requests_are_managed_over_http(upstream: SandboxUpstream, base: str) -> None:
    async with aiohttp.ClientSession(base) as session:
        told = {"kind": "status", "status": 429, "retry_after": "3", "path": "/feeds/", "count": 1}
        added = await session.post("/_sandbox/faults", json=told)
        assert added.status == 200
        (listed,) = await (await session.get("/_sandbox/faults")).json()
        assert listed.items() >= told.items()
        assert (await session.get("/feeds/AAPL.rss")).status == 429
        assert (await session.get("/feeds/AAPL.rss")).status == 200
        seen = await (await session.get("/_sandbox/requests")).json()
        assert [(one["provider"], one["path"]) for one in seen] == [("feeds", "/feeds/AAPL.rss")] * 2

        await session.post("/_sandbox/faults", json=[told, told])
        assert len(upstream.faults.listed()) == 2
        assert (await session.delete("/_sandbox/faults")).status == 204
        assert (await session.delete("/_sandbox/requests")).status == 204
        assert upstream.faults.listed() == ()
        assert not upstream.seen


async def test_a_fault_it_does_not_know_is_refused_with_what_is_wrong(upstream: SandboxUpstream, base: str) -> None:
    async with aiohttp.ClientSession(base) as session:
        for body in ("[", json.dumps({"kind": "sulk"}), json.dumps({"kind": "slow", "secs": 3})):
            refused = await session.post("/_sandbox/faults", data=body)
            assert refused.status == 400
            assert (await refused.json())["error"]
    assert upstream.faults.listed() == ()


async def test_an_endless_body_ends_when_nobody_listens_any_more(
    upstream: SandboxUpstream, base: str, wire: Transport
) -> None:
    upstream.faults.add(Fault(kind=FaultKind.ENDLESS, count=1))
    with pytest.raises(ClientError) as caught:
        await wire.send(Request(base + PATHS[0]), LIMITS)
    assert caught.value.reason is Reason.TOO_LARGE
    assert (await wire.send(Request(base + PATHS[0]), LIMITS)).status == 200


@pytest.mark.parametrize("kind", [FaultKind.SLOW, FaultKind.BLACKHOLE])
async def test_nothing_goes_on_for_a_caller_who_has_hung_up(
    upstream: SandboxUpstream, base: str, wire: Transport, kind: FaultKind
) -> None:
    upstream.faults.add(Fault(kind=kind, seconds=3600))
    before = asyncio.all_tasks()
    with pytest.raises(ClientError):
        await wire.send(Request(base + PATHS[0]), SHORT)
    for _ in range(100):
        if asyncio.all_tasks() == before:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(asyncio.all_tasks() - before)


async def test_stopping_does_not_wait_for_a_slow_reply(upstream: SandboxUpstream, wire: Transport) -> None:
    server = SandboxServer(upstream, Noon())
    base = await server.start()
    upstream.faults.add(Fault(kind=FaultKind.SLOW, seconds=3600))
    with pytest.raises(ClientError):
        await wire.send(Request(base + PATHS[0]), SHORT)
    await server.stop()
    await server.stop()


async def test_a_taken_port_is_an_error_at_once(upstream: SandboxUpstream, base: str) -> None:
    with pytest.raises(OSError, match="in use"):
        await SandboxServer(upstream, Noon(), port=int(base.rsplit(":", 1)[1])).start()
