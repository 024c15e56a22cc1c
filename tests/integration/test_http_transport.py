"""The transport against real loopback servers that misbehave. 127.0.0.2 stands for an inside address nobody named."""

from __future__ import annotations

import asyncio
import socket
import traceback
import tracemalloc
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from scheduler_service.calls import FREE, Limits, Request
from scheduler_service.clients.http import AiohttpTransport, is_public
from scheduler_service.errors import ClientError, PermanentClientError, TransientClientError
from scheduler_service.models import Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CANARY = "canary-5e3f"
ONE_SECOND = Limits(timeout=1.0)
HOPS = Limits(redirects=3, timeout=5.0)


class Names(AbstractResolver):
    """A DNS that answers from a table: name to addresses."""

    def __init__(self, **addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in self.addresses[host.replace(".", "_")].split()
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def serving(**handlers: Handler) -> AsyncIterator[str]:
    """An aiohttp server with a handler per first path segment; yields its origin."""
    app = web.Application()
    for name, handler in handlers.items():
        app.router.add_route("*", f"/{name}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving_raw(handler: RawHandler) -> AsyncIterator[str]:
    """A bare TCP server that reads the request's head and then does what ``handler`` does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def opened(*allowed: str, names: Names | None = None) -> AsyncIterator[AiohttpTransport]:
    transport = AiohttpTransport(allowed or ("127.0.0.1",), resolver=lambda: names or Names())
    try:
        yield transport
    finally:
        await transport.close()


async def failure(transport: AiohttpTransport, url: str, limits: Limits = ONE_SECOND) -> ClientError:
    """The error of a request that carries secrets everywhere; none of them may show in it."""
    request = Request(f"{url}?token={CANARY}", headers=(("X-Api-Key", CANARY), ("Authorization", CANARY)))
    with pytest.raises(ClientError) as caught:
        await transport.send(request, limits)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    return caught.value


async def echo(request: web.Request) -> web.Response:
    body = {"headers": dict(request.headers), "body": (await request.read()).decode(), "method": request.method}
    return web.json_response(body)


def redirect_to(location: str, status: int = 302) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": location})

    return handler


async def test_it_sends_a_request_as_it_is_and_brings_the_whole_answer() -> None:
    async def page(request: web.Request) -> web.Response:
        response = web.Response(body=b"x" * 5000, content_type="text/plain", headers={"X-Two": "1"}, status=203)
        response.headers.add("X-Two", "2")
        response.set_cookie("session", CANARY)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with serving(page=page, echo=echo) as origin, opened() as transport:
        answer = await transport.send(Request(f"{origin}/page"), ONE_SECOND)
        assert (answer.status, answer.body, answer.url) == (203, b"x" * 5000, f"{origin}/page")
        assert answer.content_type == "text/plain"
        assert answer.headers["x-two"] == "1, 2"
        assert "set-cookie" not in answer.headers
        told = await transport.send(Request(f"{origin}/echo", "POST", (("User-Agent", "me"),), b"asked"), ONE_SECOND)
        assert b'"body": "asked", "method": "POST"' in told.body
        assert b'"User-Agent": "me"' in told.body
        assert b"Cookie" not in told.body


async def test_what_hangs_before_a_connection_stands_was_never_sent_and_costs_nothing() -> None:
    class Nowhere(Names):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            await asyncio.Event().wait()
            raise AssertionError

    async with opened("127.0.0.1", names=Nowhere()) as transport:
        error = await failure(transport, "http://example.test/", Limits(timeout=0.2))
    assert isinstance(error, TransientClientError)
    assert (error.reason, error.cost) == (Reason.TIMEOUT, FREE)
    assert str(error) == "http://example.test/: no connection within 0.1 s"


async def test_who_was_asked_and_does_not_answer_may_have_charged() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving_raw(never) as origin, opened() as transport:
        error = await failure(transport, origin, Limits(timeout=0.2))
    assert (error.reason, error.cost) == (Reason.TIMEOUT, None)


async def test_a_lost_connection_is_transient() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async with serving_raw(reset) as origin, opened() as transport:
        error = await failure(transport, f"{origin}/x")
    assert type(error) is TransientClientError
    assert error.reason is Reason.PROVIDER_DOWN


async def test_a_kept_connection_that_was_closed_is_not_tried_again_in_secret() -> None:
    seen = 0

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.readuntil(b"\r\n\r\n")
        seen += 1

    async with serving_raw(answer_once) as origin, opened() as transport:
        assert (await transport.send(Request(f"{origin}/x"), ONE_SECOND)).body == b"ok"
        assert (await failure(transport, f"{origin}/x")).reason is Reason.PROVIDER_DOWN
    assert seen == 2


async def test_a_closed_port_is_transient() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with opened() as transport:
            error = await failure(transport, f"http://127.0.0.1:{unused.getsockname()[1]}/x")
    assert type(error) is TransientClientError
    assert error.reason is Reason.PROVIDER_DOWN


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nno gzip",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 1000 + b"\r\n",
    ],
    ids=["short", "not HTTP", "not gzip", "not chunks", "long header", "many headers"],
)
async def test_an_answer_that_is_cut_off_or_garbage_is_transient(bytes_sent: bytes) -> None:
    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes_sent)
        await writer.drain()

    async with serving_raw(send) as origin, opened() as transport:
        error = await failure(transport, f"{origin}/x")
    assert type(error) is TransientClientError
    assert error.reason is Reason.PROVIDER_DOWN


async def test_a_dripping_body_ends_at_the_deadline() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving_raw(drip) as origin, opened() as transport:
        error = await failure(transport, f"{origin}/x", Limits(timeout=0.2))
    assert type(error) is TransientClientError
    assert error.reason is Reason.TIMEOUT


async def test_a_silent_server_ends_at_the_deadline() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving_raw(silent) as origin, opened() as transport:
        error = await failure(transport, f"{origin}/x", Limits(timeout=0.1))
        assert error.reason is Reason.TIMEOUT


async def test_an_infinite_body_ends_at_the_cap() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)

    async with serving(endless=endless) as origin, opened() as transport:
        error = await failure(transport, f"{origin}/endless", Limits(max_bytes=1_000_000, timeout=10))
    assert type(error) is PermanentClientError
    assert error.reason is Reason.TOO_LARGE


async def test_a_gzip_bomb_ends_at_the_cap_and_takes_no_memory() -> None:
    squeeze = zlib.compressobj(wbits=31)
    bomb = b"".join(squeeze.compress(bytes(1_000_000)) for _ in range(200)) + squeeze.flush()

    async def explode(request: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    async with serving(bomb=explode) as origin, opened() as transport:
        tracemalloc.start()
        try:
            error = await failure(transport, f"{origin}/bomb", Limits(max_bytes=2_000_000, timeout=10))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert error.reason is Reason.TOO_LARGE
    assert peak < 8_000_000


async def test_a_body_of_exactly_the_cap_passes() -> None:
    async def full(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 1000)

    async with serving(full=full) as origin, opened() as transport:
        assert len((await transport.send(Request(f"{origin}/full"), Limits(max_bytes=1000))).body) == 1000
        assert (await failure(transport, f"{origin}/full", Limits(max_bytes=999))).reason is Reason.TOO_LARGE


async def test_a_redirect_is_an_answer_like_any_other_where_none_is_allowed() -> None:
    async with serving(a=redirect_to("/echo"), echo=echo) as origin, opened() as transport:
        answer = await transport.send(Request(f"{origin}/a"), ONE_SECOND)
    assert (answer.status, answer.headers["location"]) == (302, "/echo")


async def test_redirects_are_followed_without_any_credentials() -> None:
    async with (
        serving(a=redirect_to("/b"), b=redirect_to("/echo#top", 308), echo=echo) as origin,
        opened() as transport,
    ):
        secret = origin.replace("http://", f"http://user:{CANARY}@")
        headers = (("X-Api-Key", CANARY), ("Authorization", CANARY), ("Cookie", CANARY), ("Accept", "text/xml"))
        answer = await transport.send(Request(f"{origin}/a?token={CANARY}", headers=headers), HOPS)
        assert answer.url == f"{origin}/echo"
        assert CANARY.encode() not in answer.body
        assert b"text/xml" in answer.body
        answer = await transport.send(Request(f"{secret}/a"), HOPS)
        assert b"Authorization" not in answer.body


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:80/x",
        "http://127.0.0.1:1/x",
        "//127.0.0.2/x",
        "http://[::1]/x",
        "http://[::ffff:127.0.0.2]/x",
        "http://[64:ff9b::7f00:2]/x",
        "http://localhost/x",
        "http://0.0.0.0/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "javascript:alert(1)",
        "http://[broken/",
    ],
)
async def test_a_redirect_inside_or_off_http_is_refused(location: str) -> None:
    async with serving(a=redirect_to(location)) as origin, opened("127.0.0.1", "localhost") as transport:
        error = await failure(transport, f"{origin}/a", HOPS)
    assert type(error) is PermanentClientError
    assert error.reason is Reason.REDIRECTED


@pytest.mark.parametrize("location", ["http://2130706434/x", "http://127.2/x", "http://0x7f000002/x"])
async def test_a_redirect_to_an_address_in_disguise_is_refused(location: str) -> None:
    names = Names(**{"2130706434": "127.0.0.2", "127_2": "127.0.0.2", "0x7f000002": "127.0.0.2"})
    async with serving(a=redirect_to(location)) as origin, opened(names=names) as transport:
        error = await failure(transport, f"{origin}/a", HOPS)
    assert type(error) is PermanentClientError


async def test_redirects_in_a_circle_or_without_end_are_refused() -> None:
    async def onward(request: web.Request) -> web.Response:
        return web.Response(status=301, headers={"Location": f"/n?{int(request.query_string or 0) + 1}"})

    circle = {"a": redirect_to("/b"), "b": redirect_to("/a")}
    async with serving(n=onward, **circle) as origin, opened() as transport:
        assert "circle" in str(await _error(transport, f"{origin}/a"))
        assert "after 3 hops" in str(await _error(transport, f"{origin}/n"))


async def _error(transport: AiohttpTransport, url: str) -> PermanentClientError:
    with pytest.raises(PermanentClientError) as caught:
        await transport.send(Request(url), HOPS)
    assert caught.value.reason is Reason.REDIRECTED
    return caught.value


async def test_a_post_is_never_sent_on() -> None:
    async with serving(a=redirect_to("/echo", 307), echo=echo) as origin, opened() as transport:
        with pytest.raises(PermanentClientError, match="POST"):
            await transport.send(Request(f"{origin}/a", "POST", body=b"secret"), HOPS)


async def test_only_inside_addresses_the_user_wrote_are_asked() -> None:
    async with serving(echo=echo) as origin:
        port = origin.rpartition(":")[2]
        async with opened("127.0.0.2") as transport:
            assert (await failure(transport, f"{origin}/echo")).reason is Reason.BAD_REQUEST
            assert (await failure(transport, f"http://localhost:{port}/echo")).reason is Reason.BAD_REQUEST


async def test_localhost_may_be_asked_when_the_user_wrote_it() -> None:
    async with serving(echo=echo) as origin, opened("LocalHost", names=Names(localhost="127.0.0.1")) as transport:
        answer = await transport.send(Request(origin.replace("127.0.0.1", "localhost") + "/echo"), ONE_SECOND)
    assert answer.status == 200


@pytest.mark.parametrize("addresses", ["127.0.0.2", "::ffff:127.0.0.2", "::1", "::", "0.0.0.0"])
async def test_a_name_that_resolves_inside_is_refused_even_when_the_user_wrote_it(addresses: str) -> None:
    names = Names(rebound_example=addresses)
    async with opened("rebound.example", "127.0.0.2", names=names) as transport:
        error = await failure(transport, "http://rebound.example/x")
    assert type(error) is PermanentClientError
    assert error.reason is Reason.BAD_REQUEST
    assert names.asked == ["rebound.example"]


async def test_a_name_that_cannot_be_resolved_is_transient() -> None:
    class Dead(Names):
        async def resolve(self, *args: object, **kwargs: object) -> list[ResolveResult]:
            raise socket.gaierror(-3, "Temporary failure in name resolution")

    async with opened(names=Dead()) as transport:
        error = await failure(transport, "http://feeds.example/x")
    assert type(error) is TransientClientError
    assert error.reason is Reason.PROVIDER_DOWN


async def test_a_stuck_resolver_ends_at_the_deadline() -> None:
    class Stuck(Names):
        async def resolve(self, *args: object, **kwargs: object) -> list[ResolveResult]:
            await asyncio.sleep(30)
            return []

    async with opened(names=Stuck()) as transport:
        assert (await failure(transport, "http://feeds.example/x", Limits(timeout=0.1))).reason is Reason.TIMEOUT


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http://[broken/x", "no url", "http://127.0.0.1:99999/x"])
async def test_an_unusable_url_is_permanent(url: str) -> None:
    async with opened() as transport:
        error = await failure(transport, url)
    assert type(error) is PermanentClientError
    assert error.reason is Reason.BAD_REQUEST


async def test_a_header_that_would_inject_another_is_not_sent() -> None:
    async with serving(echo=echo) as origin, opened() as transport:
        with pytest.raises(PermanentClientError) as caught:
            await transport.send(Request(f"{origin}/echo", headers=(("User-Agent", "a\r\nX-Evil: 1"),)), ONE_SECOND)
    assert caught.value.reason is Reason.BAD_REQUEST


async def test_cancelling_a_request_passes_at_once() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving_raw(silent) as origin, opened() as transport:
        task = asyncio.create_task(transport.send(Request(f"{origin}/x"), Limits(timeout=30)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("64:ff9b::5db8:d822", True),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:0a00:0001::1", False),
        ("64:ff9b::a00:1", False),
        ("a.name", False),
    ],
)
def test_public_addresses_are_told_from_inside_ones(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_it_can_be_closed_without_ever_being_used() -> None:
    await AiohttpTransport().close()
