"""Everything an upstream can do wrong, over a real socket: what the client, then the parser, makes of it.

``told`` goes the way of an answer: one request, the client's judgement of it, the model's text, the JSON in it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import pytest

from scheduler_service.calls import Limits
from scheduler_service.clients.edgar_client import EdgarClient
from scheduler_service.clients.feed_client import FeedClient
from scheduler_service.clients.http import AiohttpTransport
from scheduler_service.clients.perplexity_client import PerplexityClient, Question
from scheduler_service.clock import SystemClock, from_iso
from scheduler_service.errors import (
    ClientError,
    ParseError,
    PermanentClientError,
    RateLimited,
    Refused,
    TransientClientError,
)
from scheduler_service.models import Reason, Symbol
from scheduler_service.parsers.feed import parse_feed
from scheduler_service.parsers.model_answer import read_answer, read_object
from scheduler_service.parsers.submissions import parse_submissions
from scheduler_service.sandbox.faults import Fault, FaultKind, ModelFault, WrongData
from scheduler_service.sandbox.server import SandboxServer
from scheduler_service.sandbox.upstream import SandboxUpstream, urls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from scheduler_service.calls import Client, Resource

SCHEMA = b"""{"type": "object", "properties": {
  "ticker": {"type": ["string", "null"]},
  "analysis": {"type": ["string", "null"]},
  "reports": {"type": "array", "items": {"type": "object", "properties": {
    "period_end": {"type": "string"}, "revenue": {"type": ["number", "null"]}, "source": {"type": ["integer", "null"]}
  }}}
}}"""
APPLE = Symbol("AAPL", name="Apple Inc.")
QUESTION = Question("faults", "Answer with JSON.", "What did Apple Inc. (ticker AAPL) report?", SCHEMA)
KEY = "canary-key"
MOST_BYTES = 900_000
PATIENCE = 0.15
"""Seconds, where only the end of patience ends it."""
Dialect: TypeAlias = Literal["agent", "chat"]
TEN_YEARS = "315360000"


class Noon(SystemClock):
    """Sleeps for real, at one instant."""

    def now(self) -> int:
        return from_iso("2026-11-23T12:00:00Z")


class Bench(NamedTuple):
    base: str
    upstream: SandboxUpstream
    transport: AiohttpTransport

    def perplexity(self, api: Dialect = "agent") -> PerplexityClient:
        return PerplexityClient(PerplexityClient.Options(api=api, **urls(self.base)["perplexity"]), Noon())

    async def told(self, api: Dialect = "agent", timeout: float = 10.0) -> Any:
        """The object the model answered with, or the error on the way to it."""
        client = self.perplexity(api)
        resource = client.answer(APPLE, QUESTION)
        limits = Limits(max_bytes=MOST_BYTES, timeout=timeout)
        response = await self.transport.send(client.signed(resource.request, KEY), limits)
        client.check(resource, response)
        return read_object(read_answer(response.body).text)

    async def refused(self, *faults: Fault, api: Dialect = "agent", timeout: float = 10.0) -> ClientError | ParseError:
        """The error that these faults end in."""
        self.upstream.faults.add(*faults)
        with pytest.raises((ClientError, ParseError)) as caught:
            await self.told(api, timeout)
        assert KEY not in str(caught.value)
        error = caught.value
        assert isinstance(error, ClientError | ParseError)
        return error


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    upstream = SandboxUpstream(Noon())
    server, transport = SandboxServer(upstream, Noon()), AiohttpTransport(["127.0.0.1"])
    yield Bench(await server.start(), upstream, transport)
    await transport.close()
    await server.stop()


both_dialects = pytest.mark.parametrize("api", ["agent", "chat"])


@both_dialects
async def test_without_faults_the_answer_is_an_object(bench: Bench, api: Dialect) -> None:
    said = await bench.told(api)
    assert (said["ticker"], said["reports"][0]["revenue"]) == ("AAPL", 143_756_000_000)


# the wire

DOWN = (TransientClientError, Reason.PROVIDER_DOWN)
UNSOUND = (ParseError, Reason.UNREADABLE)
REDIRECTED = (PermanentClientError, Reason.REDIRECTED)
WIRE: dict[FaultKind, tuple[type[Exception], Reason]] = {
    FaultKind.STATUS: DOWN,
    FaultKind.ERROR: DOWN,
    FaultKind.OUT_OF_CREDIT: (Refused, Reason.REFUSED),
    FaultKind.THRESHOLD: (Refused, Reason.REFUSED),
    FaultKind.UNDECLARED: (Refused, Reason.REFUSED),
    FaultKind.HTML: DOWN,
    FaultKind.EMPTY: DOWN,
    FaultKind.NAN: UNSOUND,
    FaultKind.HUGE_INT: UNSOUND,
    FaultKind.DUPLICATE_KEYS: UNSOUND,
    FaultKind.BRACKETS: (PermanentClientError, Reason.TOO_LARGE),
    FaultKind.NOISE: DOWN,
    FaultKind.TRUNCATED: UNSOUND,
    FaultKind.BODY: DOWN,
    FaultKind.REDIRECT: REDIRECTED,
    FaultKind.REDIRECT_LOOP: REDIRECTED,
    FaultKind.GZIP_BOMB: (PermanentClientError, Reason.TOO_LARGE),
    FaultKind.ENDLESS: (PermanentClientError, Reason.TOO_LARGE),
    FaultKind.SLOW: (TransientClientError, Reason.TIMEOUT),
    FaultKind.DRIP: (TransientClientError, Reason.TIMEOUT),
    FaultKind.BLACKHOLE: (TransientClientError, Reason.TIMEOUT),
    FaultKind.CUT: DOWN,
    FaultKind.RESET: DOWN,
    FaultKind.NOT_HTTP: DOWN,
}
WAITING = (FaultKind.SLOW, FaultKind.DRIP, FaultKind.BLACKHOLE)


@both_dialects
@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind is not FaultKind.WRONG_COMPANY])
async def test_each_fault_of_the_wire_ends_in_its_error_and_then_all_is_well(
    bench: Bench, kind: FaultKind, api: Dialect
) -> None:
    fault = Fault(kind=kind, seconds=9, status=500, count=1)
    error = await bench.refused(fault, api=api, timeout=PATIENCE if kind in WAITING else 10)
    assert (type(error), error.reason) == WIRE[kind], error
    assert (await bench.told(api))["ticker"] == "AAPL"


@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind is not FaultKind.WRONG_COMPANY])
@pytest.mark.parametrize("provider", ["edgar", "feeds"])
async def test_no_provider_s_client_lets_a_fault_of_the_wire_through(
    bench: Bench, kind: FaultKind, provider: str
) -> None:
    edgar = EdgarClient(EdgarClient.Options(user_agent="Tests tests@example.com", **urls(bench.base)["edgar"]), Noon())
    feeds = FeedClient(FeedClient.Options(**urls(bench.base)["feeds"]), Noon())
    providers: dict[str, tuple[Client, Resource, Callable[[bytes], object]]] = {
        "edgar": (edgar, edgar.submissions(320193), parse_submissions),
        "feeds": (feeds, feeds.feeds(APPLE)[0], parse_feed),
    }
    client, resource, parse = providers[provider]
    limits = replace(resource.limits, max_bytes=MOST_BYTES, timeout=PATIENCE if kind in WAITING else 10)
    bench.upstream.faults.add(Fault(kind=kind, seconds=9, status=500))

    async def read() -> object:
        response = await bench.transport.send(resource.request, limits)
        client.check(resource, response)
        return parse(response.body)

    with pytest.raises((ClientError, ParseError)):
        await read()


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (400, PermanentClientError, Reason.BAD_REQUEST),
        (401, Refused, Reason.REFUSED),
        (402, Refused, Reason.REFUSED),
        (403, Refused, Reason.REFUSED),
        (429, RateLimited, Reason.RATE_LIMITED),
        (500, TransientClientError, Reason.PROVIDER_DOWN),
        (502, TransientClientError, Reason.PROVIDER_DOWN),
        (503, TransientClientError, Reason.PROVIDER_DOWN),
        (529, TransientClientError, Reason.PROVIDER_DOWN),
    ],
)
@pytest.mark.parametrize("kind", [FaultKind.STATUS, FaultKind.ERROR])
async def test_a_status_means_the_same_as_a_page_and_as_json(
    bench: Bench, status: int, error: type[Exception], reason: Reason, kind: FaultKind
) -> None:
    told = await bench.refused(Fault(kind=kind, status=status))
    assert (type(told), told.reason) == (error, reason)


@pytest.mark.parametrize(
    ("header", "value", "least", "most"),
    [
        ("retry-after", "7", 7, 7),
        ("retry-after", "Mon, 23 Nov 2026 12:05:00 GMT", 300, 300),
        ("retry-after", "-5", 60, 3600),
        ("retry-after", TEN_YEARS, 60, 86400),
        ("retry-after", "Sat, 23 Nov 2036 12:05:00 GMT", 60, 86400),
        ("retry-after", "soon", 60, 3600),
        ("x-ratelimit-reset", "30", 30, 30),
    ],
)
async def test_a_429_says_how_long_to_wait_and_is_believed_within_reason(
    bench: Bench, header: str, value: str, least: float, most: float
) -> None:
    error = await bench.refused(Fault(kind=FaultKind.ERROR, status=429, headers={header: value}))
    assert isinstance(error, RateLimited)
    assert error.retry_after is not None
    assert least <= error.retry_after <= most


async def test_a_429_that_says_nothing_leaves_the_wait_to_us(bench: Bench) -> None:
    limits = {"x-ratelimit-limit": "50", "x-ratelimit-remaining": "0"}
    error = await bench.refused(Fault(kind=FaultKind.ERROR, status=429, headers=limits))
    assert isinstance(error, RateLimited)
    assert error.retry_after is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(
    "location", ["http://127.0.0.2:{port}/steal", "file:///etc/passwd", "//127.0.0.2:{port}/", "?x"]
)
async def test_no_redirect_carries_a_question_or_its_key_away(bench: Bench, status: int, location: str) -> None:
    visits: list[bytes] = []

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(await reader.read(1000))
        writer.close()

    async with await asyncio.start_server(visited, "127.0.0.2", 0) as elsewhere:
        there = location.format(port=elsewhere.sockets[0].getsockname()[1])
        error = await bench.refused(Fault(kind=FaultKind.REDIRECT, location=there, status=status))
    assert error.reason is Reason.REDIRECTED
    assert visits == []
    assert len(bench.upstream.seen) == 1


async def test_a_storm_passes(bench: Bench) -> None:
    bench.upstream.faults.add(Fault(kind=FaultKind.STATUS, status=503, count=5))
    for _ in range(5):
        assert (await bench.refused()).reason is Reason.PROVIDER_DOWN
    assert (await bench.told())["ticker"] == "AAPL"


# the model


@pytest.mark.parametrize(
    ("kind", "api", "error", "reason"),
    [
        (ModelFault.FAILED, "agent", TransientClientError, Reason.PROVIDER_DOWN),
        (ModelFault.FAILED, "chat", TransientClientError, Reason.PROVIDER_DOWN),
        (ModelFault.CANCELLED, "agent", TransientClientError, Reason.PROVIDER_DOWN),
        (ModelFault.CANCELLED, "chat", TransientClientError, Reason.PROVIDER_DOWN),
        (ModelFault.QUEUED, "agent", TransientClientError, Reason.PROVIDER_DOWN),
        (ModelFault.QUEUED, "chat", ParseError, Reason.UNREADABLE),
        *(
            (kind, api, ParseError, reason)
            for api in ("agent", "chat")
            for kind, reason in (
                (ModelFault.INCOMPLETE, Reason.TRUNCATED),
                (ModelFault.NO_RESULTS, Reason.UNGROUNDED),
                (ModelFault.PROSE, Reason.UNREADABLE),
                (ModelFault.TEXT_NAN, Reason.UNREADABLE),
                (ModelFault.TEXT_HUGE, Reason.UNREADABLE),
            )
        ),
    ],
)
async def test_a_model_that_fails_ends_in_an_error(
    bench: Bench, kind: ModelFault, api: Dialect, error: type[Exception], reason: Reason
) -> None:
    told = await bench.refused(Fault(kind=kind, count=1), api=api)
    assert (type(told), told.reason) == (error, reason), told
    assert (await bench.told(api))["ticker"] == "AAPL"


async def test_json_that_breaks_off_is_not_read_in_part(bench: Bench) -> None:
    error = await bench.refused(Fault(kind=ModelFault.TEXT_CUT))
    assert isinstance(error, ParseError)
    assert error.reason in (Reason.UNREADABLE, Reason.TRUNCATED)


@both_dialects
@pytest.mark.parametrize("kind", [ModelFault.FENCED, ModelFault.THINKING, ModelFault.NO_COST, ModelFault.ABSURD_COST])
async def test_what_is_only_around_the_answer_changes_nothing(bench: Bench, kind: ModelFault, api: Dialect) -> None:
    good = await bench.told(api)
    bench.upstream.faults.add(Fault(kind=kind))
    assert await bench.told(api) == good


async def struck(bench: Bench, kind: ModelFault | WrongData | FaultKind) -> tuple[Any, Any]:
    """What the parser sees: without the fault, and with it."""
    good = await bench.told()
    bench.upstream.faults.add(Fault(kind=kind))
    return good, await bench.told()


async def test_invented_sources_are_ids_of_no_result(bench: Bench) -> None:
    good, bad = await struck(bench, ModelFault.INVENTED_SOURCES)
    assert all(row["source"] > 90 for row in bad["reports"])
    assert [row["revenue"] for row in bad["reports"]] == [row["revenue"] for row in good["reports"]]


async def test_invented_addresses_stand_in_every_text(bench: Bench) -> None:
    _, bad = await struck(bench, ModelFault.INVENTED_URLS)
    assert "https://invented.invalid/" in bad["analysis"]
    assert "https://invented.invalid/" in bad["ticker"]


async def test_text_is_hostile_where_told(bench: Bench) -> None:
    _, bad = await struck(bench, ModelFault.TEXT_HOSTILE)
    for part in ("{{7*7}}", "${HOME}", "<script>", "\u202e", "\x00", "\x1b["):
        assert part in bad["analysis"]


async def test_numbers_come_as_words(bench: Bench) -> None:
    _, bad = await struck(bench, ModelFault.TEXT_NUMBERS)
    assert bad["reports"][0]["revenue"] == "$143,756,000,000 (approx.)"
    assert isinstance(bad["reports"][0]["source"], int)


async def test_fields_are_renamed_and_added(bench: Bench) -> None:
    _, renamed = await struck(bench, ModelFault.RENAMED_FIELDS)
    assert renamed.keys() == {"theTicker", "theAnalysis", "theReports"}
    bench.upstream.faults.clear()
    _, extended = await struck(bench, ModelFault.EXTRA_FIELDS)
    assert extended.keys() >= {"ticker", "confidence", "note"}
    assert extended["reports"][0].keys() >= {"period_end", "confidence", "note"}


async def test_data_is_plausible_and_wrong(bench: Bench) -> None:
    good, other = await struck(bench, FaultKind.WRONG_COMPANY)
    assert (good["ticker"], other["ticker"]) == ("AAPL", "ACMEX")
    for kind, told in (
        (WrongData.EMPTY_LISTS, []),
        (WrongData.HALF, good["reports"][::2]),
        (WrongData.ZEROS, [row | {"revenue": 0} for row in good["reports"]]),
    ):
        bench.upstream.faults.clear()
        _, bad = await struck(bench, kind)
        assert bad["reports"] == told
    bench.upstream.faults.clear()
    _, older = await struck(bench, WrongData.OLDER)
    assert older["reports"][0]["period_end"] == "2025-06-28"


@pytest.mark.parametrize("fault", [ModelFault.NO_RESULTS, WrongData.EMPTY_LISTS])
async def test_a_search_finds_nothing(bench: Bench, fault: ModelFault | WrongData) -> None:
    client = bench.perplexity()
    bench.upstream.faults.add(Fault(kind=fault))
    resource: Resource = client.search(APPLE, "news about Apple Inc.")
    response = await bench.transport.send(client.signed(resource.request, KEY), resource.limits)
    assert json.loads(response.body)["results"] == []


async def test_a_key_is_seen_by_its_number_alone(bench: Bench) -> None:
    await bench.told()
    (seen,) = bench.upstream.seen
    assert (seen.provider, seen.key, seen.headers["authorization"]) == ("perplexity", 1, "***")
    assert KEY not in str(seen)


# TLS


ASK = """
import asyncio, sys
from scheduler_service.calls import Limits, Request
from scheduler_service.clients.http import AiohttpTransport
from scheduler_service.errors import ClientError

async def ask():
    transport = AiohttpTransport(["127.0.0.1"])
    try:
        print((await transport.send(Request(sys.argv[1]), Limits(timeout=10))).status)
    except ClientError as error:
        print(type(error).__name__, error.reason, error)
    await transport.close()

asyncio.run(ask())
"""
"""Run on its own: which certificates are trusted is read once, when a process starts."""


def openssl(*arguments: str | Path) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("there is no openssl to make a certificate with")
    subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)


def certificate(folder: Path, name: str, days: int) -> Path:
    """A self-signed one, for ``DNS:host`` or ``IP:address``; with its key in one file."""
    key, request, extension, made = (folder / file for file in ("key.pem", "csr.pem", "extension", "made.pem"))
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    openssl("req", "-new", "-key", key, "-subj", "/CN=sandbox", "-out", request)
    extension.write_text(f"subjectAltName={name}\n")
    openssl("x509", "-req", "-in", request, "-signkey", key, "-days", str(days), "-extfile", extension, "-out", made)
    both = folder / "both.pem"
    both.write_bytes(made.read_bytes() + key.read_bytes())
    return both


@pytest.mark.parametrize(
    ("name", "days", "trusted", "told"),
    [
        ("IP:127.0.0.1", 1, True, "200"),
        ("IP:127.0.0.1", 1, False, "PermanentClientError provider_down"),
        ("DNS:elsewhere.invalid", 1, True, "PermanentClientError provider_down"),
        ("IP:127.0.0.1", -1, True, "PermanentClientError provider_down"),
    ],
    ids=["sound", "self-signed", "of another host", "expired"],
)
async def test_only_a_sound_certificate_is_accepted(
    tmp_path: Path, name: str, days: int, trusted: bool, told: str
) -> None:
    made = certificate(tmp_path, name, days)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made)
    # The server's side of a handshake that the client breaks off.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    upstream = SandboxUpstream(Noon())
    server = SandboxServer(upstream, Noon(), tls=context)
    base = await server.start()
    assert base.startswith("https://127.0.0.1:")
    environment = os.environ | ({"SSL_CERT_FILE": str(made)} if trusted else {})
    asking = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ASK, f"{base}/v1/models"), stdout=asyncio.subprocess.PIPE, env=environment
    )
    printed = (await asking.communicate())[0].decode()
    await server.stop()
    assert printed.startswith(told)
    assert ("TLS" in printed) is (told != "200")
    assert len(upstream.seen) == (told == "200")
