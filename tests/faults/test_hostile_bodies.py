"""Answers made to harm their reader: what is made of each, and that none of them takes memory or holds up the loop.

Memory and time are measured in a process of its own, which does with an answer what the service does: send, judge on
the loop, parse (a large one in a thread).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import zlib
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.calls import Limits, Request
from scheduler_service.clients.edgar_client import EdgarClient
from scheduler_service.clients.feed_client import FeedClient
from scheduler_service.clients.http import AiohttpTransport
from scheduler_service.clients.inflating import Inflating
from scheduler_service.clients.perplexity_client import PerplexityClient, Question
from scheduler_service.clock import SystemClock
from scheduler_service.errors import ClientError, ParseError, TransientClientError
from scheduler_service.models import Reason, Symbol
from scheduler_service.parsers import earnings, fundamental_analysis
from scheduler_service.parsers.feed import parse_feed
from scheduler_service.parsers.feed_text import MOST_MARKUP, feed_text
from scheduler_service.parsers.model_answer import read_answer
from scheduler_service.parsers.submissions import parse_submissions
from scheduler_service.parsers.xbrl import parse_company_facts
from scheduler_service.sandbox.faults import Fault, FaultKind, HostileBody
from scheduler_service.sandbox.memory import BASE, MemoryTransport
from scheduler_service.sandbox.server import SandboxServer
from scheduler_service.sandbox.upstream import SandboxUpstream, urls
from scheduler_service.strict_json import DEEPEST, load, members

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from scheduler_service.calls import Client, Resource, Transport

MOST_GROWTH = 16_000_000
LONGEST_HOLD = 0.1
APPLE = Symbol("AAPL", name="Apple Inc.")
SCHEMA = b'{"type":"object","properties":{"ticker":{"type":"string"}}}'
ASKED = Question("bodies", "Answer with JSON.", "What did Apple Inc. (ticker AAPL) report?", SCHEMA)
CONCEPTS = (*earnings.CONCEPTS, *fundamental_analysis.CONCEPTS)

HARMLESS = (HostileBody.MARKED, HostileBody.WRONG_CHARSET)
"""What a careful reader may read, and does."""
HARMLESS_TO = {
    "submissions": (*HARMLESS, HostileBody.BLANKS, HostileBody.ATTRIBUTES),
    "companyfacts": (*HARMLESS, HostileBody.BLANKS, HostileBody.ATTRIBUTES),
    "answer": (*HARMLESS, HostileBody.BLANKS, HostileBody.ATTRIBUTES),
    "feed": (*HARMLESS, HostileBody.UTF16, HostileBody.INFINITE, HostileBody.HALF_CHARACTER),
}
GREEDY = (FaultKind.GZIP_BOMB, FaultKind.ENDLESS, FaultKind.BRACKETS, FaultKind.HUGE_INT, FaultKind.NOISE)


class Reading(NamedTuple):
    """One kind of answer: who judges it, what is asked, who parses it."""

    client: Client
    resource: Resource
    parse: Callable[[bytes], object]


def readings(base: str) -> dict[str, Reading]:
    """By name, of the sandbox at ``base``."""
    clock, at = SystemClock(), urls(base)
    edgar = EdgarClient(EdgarClient.Options(user_agent="Tests tests@example.com", **at["edgar"]), clock)
    feeds = FeedClient(FeedClient.Options(**at["feeds"]), clock)
    model = PerplexityClient(PerplexityClient.Options(**at["perplexity"]), clock)
    answer = model.answer(APPLE, ASKED)
    facts: Callable[[bytes], object] = partial(parse_company_facts, concepts=CONCEPTS)
    return {
        "submissions": Reading(edgar, edgar.submissions(320193), parse_submissions),
        "companyfacts": Reading(edgar, edgar.company_facts(320193, None), facts),
        "feed": Reading(feeds, feeds.feeds(APPLE)[0], parse_feed),
        "answer": Reading(model, replace(answer, request=model.signed(answer.request, "a-key")), read_answer),
    }


async def made_of(transport: Transport, reading: Reading) -> tuple[type[Exception], Reason] | None:
    """The error that an answer ends in, or None."""
    try:
        response = await transport.send(reading.resource.request, reading.resource.limits)
        reading.client.check(reading.resource, response)
        reading.parse(response.body)
    except (ClientError, ParseError) as error:
        return type(error), error.reason
    return None


class Sandbox(NamedTuple):
    base: str
    upstream: SandboxUpstream
    wire: AiohttpTransport


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    upstream = SandboxUpstream(SystemClock())
    server, wire = SandboxServer(upstream, SystemClock()), AiohttpTransport(["127.0.0.1"])
    yield Sandbox(await server.start(), upstream, wire)
    await wire.close()
    await server.stop()


@pytest.mark.parametrize("kind", HostileBody)
async def test_a_hostile_answer_is_refused_in_words_on_the_wire_and_in_memory(
    sandbox: Sandbox, kind: HostileBody
) -> None:
    sandbox.upstream.faults.add(Fault(kind=kind))
    in_memory = MemoryTransport(sandbox.upstream, SystemClock())
    made = {name: await made_of(sandbox.wire, one) for name, one in readings(sandbox.base).items()}
    assert made == {name: await made_of(in_memory, one) for name, one in readings(BASE).items()}
    assert {name for name, error in made.items() if error is None} == {
        n for n, fine in HARMLESS_TO.items() if kind in fine
    }


@asynccontextmanager
async def answering(head: bytes, body: bytes) -> AsyncIterator[str]:
    """A server that says these bytes to everyone; yields where it is."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(body) + head + b"\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_bytes_that_are_no_text_do_not_get_past_the_headers(sandbox: Sandbox) -> None:
    async with answering(b'ETag: "\xff\xfe"\r\nLast-Modified: \x80\r\nContent-Type: text/xml', b"here") as url:
        response = await sandbox.wire.send(Request(url), Limits(timeout=5))
    assert (response.body, dict(response.headers)) == (b"here", {"content-length": "4", "content-type": "text/xml"})


async def test_a_compressed_body_without_its_end_is_cut_off(sandbox: Sandbox) -> None:
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(feed(STORY)) + packer.flush()
    async with answering(b"Content-Encoding: gzip", packed) as url:
        assert (await sandbox.wire.send(Request(url), Limits(timeout=5))).body == feed(STORY)
    async with answering(b"Content-Encoding: gzip", packed[:-1]) as url:
        with pytest.raises(TransientClientError) as caught:
            await sandbox.wire.send(Request(url), Limits(timeout=5))
    assert caught.value.reason is Reason.PROVIDER_DOWN


# memory and time


MEASURE = """
import asyncio, ctypes, gc, json, sys, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from scheduler_service.clients.http import AiohttpTransport
from scheduler_service.errors import ClientError, ParseError
from scheduler_service.gates.ask import SMALL_BODY
from tests.faults.test_hostile_bodies import readings

def memory(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

def rest():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)

async def ticking(worst):
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        worst[0] = max(worst[0], time.perf_counter() - before - 0.001)

async def read(transport, reading, pool):
    with suppress(ClientError, ParseError):
        response = await transport.send(reading.resource.request, reading.resource.limits)
        reading.client.check(reading.resource, response)
        if len(response.body) <= SMALL_BODY:
            reading.parse(response.body)
        else:
            await asyncio.get_running_loop().run_in_executor(pool, reading.parse, response.body)

async def main(base, names):
    transport, pool = AiohttpTransport(["127.0.0.1"]), ThreadPoolExecutor(1)
    for turn in range(len(names) + 1):  # the first one warms up: nothing strikes yet
        for name, reading in readings(base).items():
            growth, hold = 0, 1.0
            for _ in range(3):  # the machine may do other things meanwhile: the shortest hold is the answer's own
                rest()
                with open("/proc/self/clear_refs", "w") as peaks:
                    peaks.write("5")
                before, worst = memory("VmRSS"), [0.0]
                ticks = asyncio.create_task(ticking(worst))
                await asyncio.sleep(0.002)
                await read(transport, reading, pool)
                ticks.cancel()
                growth, hold = max(growth, memory("VmHWM") - before), min(hold, worst[0])
                if hold < 0.1:
                    break
            print(json.dumps([turn, name, growth, hold]), flush=True)
        sys.stdin.readline()
    await transport.close()

asyncio.run(main(sys.argv[1], sys.argv[2:]))
"""
"""Prints a line per turn and kind of answer: what memory grew by at most, in bytes, and how long the loop was held, in
seconds. After each turn it waits for a line, so that the next fault can be set.
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="there is no peak of memory to reset here")
async def test_no_hostile_answer_takes_memory_or_holds_up_the_loop(sandbox: Sandbox) -> None:
    kinds = (*HostileBody, *GREEDY)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MEASURE, sandbox.base, *kinds),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    grown: dict[tuple[str, str], int] = {}
    held: dict[tuple[str, str], float] = {}
    for kind in ("nothing", *kinds):
        if kind != "nothing":
            sandbox.upstream.faults.clear()
            sandbox.upstream.faults.add(Fault(kind=kind))
            child.stdin.write(b"\n")
        for _ in HARMLESS_TO:
            _, name, growth, hold = json.loads(await child.stdout.readline())
            grown[kind, name], held[kind, name] = growth, hold
    child.stdin.write(b"\n")
    assert await child.wait() == 0
    assert {key: growth for key, growth in grown.items() if growth > MOST_GROWTH and key[0] != "nothing"} == {}
    assert {key: hold for key, hold in held.items() if hold > LONGEST_HOLD and key[0] != "nothing"} == {}


def facts_of(size: int) -> bytes:
    """Companyfacts of about so many bytes; the figures looked for are a small part, as in real ones."""
    tags = [tag.partition(":")[2] for concept in CONCEPTS for tag in concept.tags]
    rows = [
        {"start": f"{year}-01-01", "end": f"{year}-12-31", "val": 10**9 + n, "accn": f"0000320193-{n:02}-{year:06}"}
        | {"fy": year, "fp": "FY", "form": "10-K", "filed": f"{year + 1}-02-01", "frame": f"CY{year}"}
        for year in range(2008, 2026)
        for n in range(4)
    ]
    tag = json.dumps({"label": "A figure", "description": "What it is.", "units": {"USD": rows}})
    count = size // len(tag)
    names = [*dict.fromkeys(tags), *(f"Other{n}" for n in range(count))][:count]
    body = ",".join(f'"{name}":{tag}' for name in names)
    return f'{{"cik":320193,"entityName":"Apple Inc.","facts":{{"us-gaap":{{{body}}}}}}}'.encode()


async def test_four_megabytes_of_figures_hold_the_loop_up_for_no_tenth_of_a_second() -> None:
    body, loop = facts_of(4_500_000), asyncio.get_running_loop()
    parse = partial(parse_company_facts, concepts=CONCEPTS)
    holds = []
    for _ in range(3):  # the machine may do other things meanwhile: the best of three is the parser's own
        parsing, worst = loop.run_in_executor(None, parse, body), 0.0
        while not parsing.done():
            before = loop.time()
            await asyncio.sleep(0.001)
            worst = max(worst, loop.time() - before)
        holds.append(worst)
        assert (await parsing).cik == 320193
    assert min(holds) < LONGEST_HOLD


# JSON


@pytest.mark.parametrize(
    "said",
    [
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": -1e999}',
        '{"a": 1, "a": 1}',
        '{"a": {"b": 1, "b": 2}}',
        f'{{"a": {"9" * 5000}}}',
        '{"a": "\\ud800"}',
        '{"a": "\\udc00\\ud800"}',
        '{"a": 01}',
        '{"a": .5}',
        f'{{"a": -{"9" * 26}}}',
        '{"a": 1,}',
        "{'a': 1}",
        '{"a": "\x01"}',
        '{"a": 1} {"a": 1}',
        f'{{"a": {"[" * (DEEPEST + 2)}{"]" * (DEEPEST + 2)}}}',
        '{"a": ' + "[" * 100000,
        "{" + '"a": {' * 100000,
        '{"a": ' + "[]," * 200000,
        "",
        "{",
        '{"a"',
        '{"a":',
        '{"a":1',
    ],
)
def test_what_is_no_sound_json_is_refused_whole_and_in_parts(said: str) -> None:
    for read in (load, partial(all_members, levels=1), partial(all_members, levels=3)):
        with pytest.raises(ParseError) as caught:
            read(said.encode("utf-8", "surrogatepass"))
        assert caught.value.reason is Reason.UNREADABLE


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-32-be", "latin-1"])
def test_json_in_another_encoding_is_refused(encoding: str) -> None:
    body = '{"é": "\U0001f600+"}'.replace("\U0001f600", "" if encoding == "latin-1" else "\U0001f600").encode(encoding)
    for read in (load, partial(all_members, levels=2)):
        with pytest.raises(ParseError):
            read(body)


def test_what_nobody_wants_of_an_object_must_be_sound_too() -> None:
    for value in (b'"\xff"', b"NaN", b"9" * 26, b'{"c": 1, "c": 1}', b'"\x01"'):
        with pytest.raises(ParseError):
            list(members(b'{"a": {"b": ' + value + b"}}", 2, lambda keys: False))


def all_members(body: bytes, levels: int) -> dict[tuple[str, ...], Any]:
    return dict(members(body, levels, lambda keys: True))


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS
)
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4))
_OBJECTS = st.dictionaries(_TEXTS, _VALUES, max_size=5)


def members_of(
    value: dict[str, Any], levels: int, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict) and inner and levels > 1:
            yield from members_of(inner, levels - 1, (*above, key))
        else:
            yield (*above, key), inner


@given(_OBJECTS, st.booleans(), st.sampled_from([None, 2]), st.integers(1, 4))
def test_sound_json_is_read_as_it_was_written_whole_and_in_parts(
    said: dict[str, Any], ascii_only: bool, indent: int | None, levels: int
) -> None:
    body = json.dumps(said, ensure_ascii=ascii_only, indent=indent).encode()
    assert load(body) == said
    assert all_members(body, levels) == dict(members_of(said, levels))


@given(st.binary(max_size=200) | st.text('{}[]",:0123456789.eE+-truefalsn \\ud8', max_size=60).map(str.encode))
def test_any_bytes_are_json_or_a_parse_error(body: bytes) -> None:
    try:
        said = load(body)
    except ParseError:
        said = None
    assert said is None or said == json.loads(body.decode("utf-8-sig"))
    try:
        parts = all_members(body, 2)
    except ParseError:
        return
    assert parts == dict(members_of(load(body), 2))


# feeds


STORY = b"<item><title>Plenty</title><link>https://news.invalid/1</link></item>"


def feed(inside: bytes, head: bytes = b"") -> bytes:
    return head + b'<rss version="2.0"><channel><title>t</title>' + inside + b"</channel></rss>"


@pytest.mark.parametrize(
    "body",
    [
        feed(STORY)[: -len("</channel></rss>")],
        feed(STORY * 3)[: -len("</channel></rss>") - 30],
        feed(STORY)[:-2],
        feed(STORY)[:-6],
        b'<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>a</title></entry>',
        feed(STORY) + STORY,
    ],
)
def test_a_feed_that_breaks_off_is_refused_though_it_could_be_read_as_far_as_it_goes(body: bytes) -> None:
    with pytest.raises(ParseError):
        parse_feed(body)
    assert len(parse_feed(feed(STORY) + b"\n<!-- cached --> ").stories) == 1


@pytest.mark.parametrize("times", [1_000, 500_000])
def test_pages_that_are_quoted_and_never_end_cost_no_more_than_their_length(times: int) -> None:
    """Five megabytes of them once took hours, in which nothing else went on."""
    with pytest.raises(ParseError):
        feed_text(b"<rss><channel>" + b"<![CDATA[" * times)
    with pytest.raises(ParseError, match="declares entities"):
        feed_text(b"<rss><![CDATA[<!DOCTYPE a>]]><![CDATA[" + b"x" * times + b"<!ENTITY a 'b'></rss>")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be", "cp1252", "gb18030"])
def test_a_feed_is_read_in_the_encoding_it_declares(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>' + feed(STORY).decode()
    (story,) = parse_feed(text.replace("Plenty", "Größe").encode(encoding)).stories
    assert story.title == "Größe"


@pytest.mark.parametrize(("declared", "meant"), [("gb2312", "gb18030"), ("us-ascii", "utf-8")])
def test_an_encoding_that_is_declared_for_a_larger_one_is_read_as_that(declared: str, meant: str) -> None:
    head = f'<?xml version="1.0" encoding="{declared}"?>'.encode()
    assert parse_feed(feed(STORY.replace(b"Plenty", "镕".encode(meant)), head)).stories[0].title == "镕"


def test_a_feed_that_declares_the_wrong_encoding_is_read_all_the_same() -> None:
    head = b'<?xml version="1.0" encoding="utf-8"?>'
    assert parse_feed(feed(STORY.replace(b"Plenty", b"Gr\xf6\xdfe"), head)).stories[0].title == "Größe"


@pytest.mark.parametrize("encoding", ["utf-7", "cp037", "iso-2022-jp", "hz", "rot13", "zlib", "no-such"])
def test_an_encoding_that_can_hide_a_tag_is_not_read(encoding: str) -> None:
    with pytest.raises(ParseError, match="encoding"):
        parse_feed(feed(STORY, f'<?xml version="1.0" encoding="{encoding}"?>'.encode()))


@pytest.mark.parametrize(
    "inside",
    [
        STORY * MOST_MARKUP,
        b"<a>" * 5_000,
        b"<item " + b"a " * 5_000 + b"/>",
        b"<item " + b" ".join(b'a%d=">"' % n for n in range(5_000)) + b"/>",
        b"<item a='" + b"x=" * 5_000 + b"/>",
        b"<item" + b" " * 5_000 + b"a='1'/>",
    ],
    ids=["many", "deep", "long", "long with angles in it", "with an open quote", "blank"],
)
def test_more_markup_than_a_feed_has_is_refused_before_it_is_read(inside: bytes) -> None:
    with pytest.raises(ParseError, match="more tags"):
        parse_feed(feed(inside))


def test_html_that_nobody_escaped_is_no_attack() -> None:
    story = STORY.replace(b"</item>", b"<description><p>One<br>two<br><img src=x></description></item>")
    assert len(parse_feed(feed(story * 100)).stories) == 100
    page = b"<![CDATA[" + b"<p>One<br>two " * 20 + b"x" * 5_000 + b"]]>"
    whole = STORY.replace(b"</item>", b"<description>" + page + b"</description></item>")
    assert len(parse_feed(feed(whole * 50)).stories) == 50


@given(st.binary(max_size=100) | st.text("<>/!?[]-=\"' &;arsitemCDATx\n", max_size=200).map(str.encode))
def test_any_bytes_are_a_feeds_text_or_a_parse_error(body: bytes) -> None:
    for said in (body, feed(body)):
        try:
            text = feed_text(said)
        except ParseError:
            continue
        assert "<!doctype" not in text.lower()


# compressed


@given(st.binary(max_size=5_000), st.sampled_from([31, 15, -15]), st.integers(1, 700))
def test_what_was_compressed_comes_back_however_it_is_cut(body: bytes, wbits: int, size: int) -> None:
    packer = zlib.compressobj(wbits=wbits)
    packed = packer.compress(body) + packer.flush()
    whole = inflated("gzip" if wbits == 31 else "deflate", packed, size)
    assert whole == (body, True)
    assert inflated("gzip" if wbits == 31 else "deflate", packed[:-1], size)[1] is False
    assert inflated("", body, size) == (body, True)


def test_gzip_may_come_in_members_and_with_padding() -> None:
    packer = zlib.compressobj(wbits=31)
    one = packer.compress(b"one") + packer.flush()
    assert inflated("gzip", one + one + b"\0\0", 7) == (b"oneone", True)


def inflated(encoding: str, packed: bytes, size: int) -> tuple[bytes, bool]:
    inflating = Inflating(encoding)
    parts = [part for at in range(0, len(packed), size) for part in inflating.steps(packed[at : at + size])]
    return b"".join(parts), inflating.is_whole
