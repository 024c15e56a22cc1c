"""Upstream faults 24 to 32 from end to end: the document on disk before, during and after, and what the upstream saw.

The real gates, processors, commit and publisher, before the sandbox in memory; sleeping takes no time.
"""

from __future__ import annotations

import ast
import asyncio
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.calls import Limits, Request
from scheduler_service.clients.http import AiohttpTransport
from scheduler_service.clock import DAY, HOUR, MINUTE
from scheduler_service.errors import ClientError, Held
from scheduler_service.models import Reason, TaskState
from scheduler_service.sandbox.faults import Fault, FaultKind, HostileBody, Kind, WrongData
from tests.contract.bench import on_the_bench

if TYPE_CHECKING:
    from tests.contract.bench import Bench

PACKAGE = Path(__file__).resolve().parents[2] / "scheduler_service"
FEEDS, EDGAR, MODEL = ("news", "feeds"), ("earnings", "edgar"), ("fundamentals", "perplexity")
every_source = pytest.mark.parametrize("source", [FEEDS, EDGAR, MODEL], ids="-".join)
TRIES = 4
"""One, and three more; of what is paid for and may have been charged, one more alone."""

UNREACHABLE: dict[Kind, Reason] = {
    FaultKind.RESET: Reason.PROVIDER_DOWN,
    FaultKind.BLACKHOLE: Reason.TIMEOUT,
    FaultKind.SLOW: Reason.TIMEOUT,
    FaultKind.DRIP: Reason.TIMEOUT,
    FaultKind.CUT: Reason.PROVIDER_DOWN,
    FaultKind.NOT_HTTP: Reason.PROVIDER_DOWN,
    HostileBody.MANY_HEADERS: Reason.PROVIDER_DOWN,
    HostileBody.LONG_HEADER: Reason.PROVIDER_DOWN,
}
NONSENSE: tuple[Kind, ...] = (
    *(FaultKind.EMPTY, FaultKind.HTML, FaultKind.NOISE, FaultKind.NAN, FaultKind.HUGE_INT, FaultKind.DUPLICATE_KEYS),
    *(FaultKind.TRUNCATED, FaultKind.BODY, FaultKind.BRACKETS),
    *(HostileBody.DEEP, HostileBody.HALF_CHARACTER, HostileBody.MANY_VALUES, HostileBody.ENTITIES, HostileBody.FILES),
    *(HostileBody.HIDDEN_ENTITIES, HostileBody.UNCLOSED, HostileBody.BROTLI),
)
TOO_LARGE: tuple[Kind, ...] = (FaultKind.GZIP_BOMB, FaultKind.ENDLESS, HostileBody.DEFLATE_BOMB)
ELSEWHERE: tuple[Kind, ...] = (FaultKind.REDIRECT, FaultKind.REDIRECT_LOOP)


def _asked(bench: Bench) -> list[str]:
    """Without what a feed can do without: the table of what companies are called."""
    return [path for path in bench.asked() if bench.source != "feeds" or not path.endswith("tickers.json")]


async def struck(bench: Bench, fault: Fault) -> tuple[Reason | None, int]:
    """Why a fetch failed under this fault, and how often the upstream was asked.

    Meanwhile the document says what it said before, and that its source fails; afterwards all is well again.
    """
    assert (await bench.fetch("AAPL", force=True)).state is TaskState.COMPLETED
    good = await bench.on_disk("AAPL")
    assert good is not None
    bench.asked()
    bench.clock.advance(2 * DAY)
    bench.upstream.faults.add(fault)
    outcome = await bench.fetch("AAPL", force=True)
    assert (outcome.state, outcome.contribution) == (TaskState.FAILED, None), outcome
    asked = len(_asked(bench))
    then = await bench.on_disk("AAPL")
    assert then is not None
    assert then["data"] == good["data"]
    (before,), (source,) = good["sources"].values(), then["sources"].values()
    assert (source["status"], source["reason"]) == ("failed", outcome.reason)
    assert source["checked_at"] == before["checked_at"], "nobody may believe that it was looked at"

    bench.upstream.faults.clear()
    bench.clock.advance(DAY)
    assert (await bench.fetch("AAPL", force=True)).state is TaskState.COMPLETED
    later = await bench.on_disk("AAPL")
    assert later is not None
    (after,) = later["sources"].values()
    assert after["checked_at"] > before["checked_at"]
    return outcome.reason, asked


@every_source
async def test_a_broken_connection_is_tried_a_few_times_and_the_document_stays(
    tmp_path: Path, source: tuple[str, str]
) -> None:
    async with on_the_bench(tmp_path, *source) as bench:
        for kind, reason in UNREACHABLE.items():
            tries = 2 if source == MODEL else TRIES
            assert await struck(bench, Fault(kind=kind, seconds=1_000)) == (reason, tries), kind


NO_HARM_TO_FEEDS = (FaultKind.NAN, FaultKind.HUGE_INT, FaultKind.DUPLICATE_KEYS, HostileBody.HALF_CHARACTER)


@every_source
async def test_an_answer_that_is_nonsense_replaces_no_document(tmp_path: Path, source: tuple[str, str]) -> None:
    async with on_the_bench(tmp_path, *source) as bench:
        for kind in NONSENSE:
            if source != FEEDS or kind not in NO_HARM_TO_FEEDS:
                reason, asked = await struck(bench, Fault(kind=kind))
                assert reason in (Reason.UNREADABLE, Reason.TRUNCATED, Reason.PROVIDER_DOWN, Reason.TOO_LARGE), kind
                assert asked == 1 or (asked == 2 and source == MODEL), kind


@every_source
async def test_a_body_without_end_is_left_at_the_limit_and_not_asked_for_again(
    tmp_path: Path, source: tuple[str, str]
) -> None:
    async with on_the_bench(tmp_path, *source) as bench:
        for kind in TOO_LARGE:
            assert await struck(bench, Fault(kind=kind)) == (Reason.TOO_LARGE, 1), kind


@every_source
async def test_a_redirect_away_is_an_error_and_the_document_stays(tmp_path: Path, source: tuple[str, str]) -> None:
    async with on_the_bench(tmp_path, *source) as bench:
        for kind in ELSEWHERE:
            reason, asked = await struck(bench, Fault(kind=kind))
            assert reason is Reason.REDIRECTED, kind
            assert asked <= 1 + 3 * (source == FEEDS), "feeds may go on three times, on the same host"


@pytest.mark.parametrize("status", [401, 403])
@every_source
async def test_a_refusal_is_asked_about_once_and_its_key_is_in_no_file(
    tmp_path: Path, source: tuple[str, str], status: int
) -> None:
    async with on_the_bench(tmp_path, *source) as bench:
        reason, asked = await struck(bench, Fault(kind=FaultKind.ERROR, status=status))
    assert (reason, asked) == (Reason.REFUSED, 1)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"a-key-nobody-has" not in file.read_bytes(), file


@pytest.mark.parametrize("wait", ["7200", "Tue, 24 Nov 2026 16:30:00 GMT", None, "-5", "315360000", "soon"])
@every_source
async def test_a_429_is_waited_out_and_the_document_stays(
    tmp_path: Path, source: tuple[str, str], wait: str | None
) -> None:
    async with on_the_bench(tmp_path, *source) as bench:
        await bench.fetch("AAPL")
        good = await bench.on_disk("AAPL")
        bench.asked()
        bench.clock.advance(DAY)
        path = "/feeds/AAPL.rss" if source == FEEDS else "/"
        bench.upstream.faults.add(Fault(kind=FaultKind.ERROR, status=429, retry_after=wait, count=1, path=path))
        with pytest.raises(Held) as caught:
            await bench.fetch("AAPL", force=True)
        until = caught.value.until - bench.clock.now()
        assert caught.value.reason is Reason.RATE_LIMITED
        assert (2 * HOUR - MINUTE < until <= 2 * HOUR) if wait and wait[0] in "7T" else (0 < until <= HOUR)
        assert len(_asked(bench)) == 1
        bench.clock.advance(until - MINUTE)
        with pytest.raises(Held):
            await bench.fetch("AAPL", force=True)
        assert _asked(bench) == []
        assert good is not None
        then = await bench.on_disk("AAPL")
        assert then is not None
        assert then["data"] == good["data"]
        bench.clock.advance(2 * MINUTE)
        assert (await bench.fetch("AAPL", force=True)).state is TaskState.COMPLETED


@pytest.mark.parametrize("kind", [FaultKind.WRONG_COMPANY, WrongData.EMPTY_LISTS])
@pytest.mark.parametrize("source", [EDGAR, MODEL], ids="-".join)
async def test_another_company_s_figures_or_none_replace_no_document(
    tmp_path: Path, source: tuple[str, str], kind: Kind
) -> None:
    async with on_the_bench(tmp_path, *source) as bench:
        reason, _ = await struck(bench, Fault(kind=kind))
    assert reason in (Reason.WRONG_COMPANY, Reason.NO_DATA, Reason.UNREADABLE, Reason.UNKNOWN_SYMBOL)


@pytest.mark.parametrize("kind", [WrongData.EMPTY_LISTS, WrongData.OLDER, WrongData.HALF])
async def test_news_that_a_feed_no_longer_lists_stay_in_the_document(tmp_path: Path, kind: WrongData) -> None:
    async with on_the_bench(tmp_path, *FEEDS) as bench:
        await bench.fetch("AAPL")
        good = await bench.on_disk("AAPL")
        assert good is not None
        bench.clock.advance(HOUR)
        bench.upstream.faults.add(Fault(kind=kind))
        await bench.fetch("AAPL", force=True)
        then = await bench.on_disk("AAPL")
        assert then is not None
        assert {item["id"] for item in then["data"]["items"]} >= {item["id"] for item in good["data"]["items"]}


async def test_lookups_that_hang_hold_up_no_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, asked = threading.Event(), threading.Semaphore(0)

    def hang(*_: object, **__: object) -> list[Any]:
        asked.release()
        answers.wait()
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    transport = AiohttpTransport()
    stuck = [
        asyncio.create_task(transport.send(Request(f"http://feed-{n}.example/"), Limits(timeout=60))) for n in range(50)
    ]
    await asyncio.to_thread(asked.acquire)
    try:
        async with asyncio.timeout(20), on_the_bench(tmp_path, *FEEDS) as bench:
            assert (await bench.fetch("AAPL")).state is TaskState.COMPLETED
            assert await bench.on_disk("AAPL") is not None
        assert not any(task.done() for task in stuck)
    finally:
        answers.set()
    for error in await asyncio.gather(*stuck, return_exceptions=True):
        assert isinstance(error, ClientError)
        assert error.reason is Reason.PROVIDER_DOWN
    await transport.close()


def test_nothing_turns_the_check_of_certificates_off() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword):
                off = isinstance(node.value, ast.Constant) and node.value.value is False
                assert not (off and node.arg in ("ssl", "verify", "verify_ssl", "check_hostname")), path
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("CERT_NONE", "_create_unverified_context"), path
