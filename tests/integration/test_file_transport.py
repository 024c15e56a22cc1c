"""Files that are read as if they were asked: whole or not at all, and only those that the configuration names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scheduler_service.calls import FREE, Limits, Request, Response
from scheduler_service.clients.file_transport import FileTransport
from scheduler_service.clients.quotes_file_client import SETTLED_AFTER, QuotesFileClient
from scheduler_service.clock import SECOND
from scheduler_service.errors import ClientError, PermanentClientError, TransientClientError
from scheduler_service.models import Reason
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WHOLE = b"symbol,price,time\nAAPL,1,2026-11-23T14:00:00Z\n"
LIMITS = Limits(max_bytes=1_000, timeout=5)


class Elsewhere:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def send(self, request: Request, limits: Limits) -> Response:
        del limits
        self.asked.append(request.url)
        return Response(200, {}, b"", request.url)

    async def close(self) -> None:
        self.asked.append("closed")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "a b.csv"
    file.write_bytes(WHOLE)
    return file


@pytest.fixture
async def transport(path: Path) -> AsyncIterator[FileTransport]:
    transport = FileTransport(Elsewhere(), [path])
    yield transport
    await transport.close()


async def failed(transport: FileTransport, url: str) -> ClientError:
    with pytest.raises(ClientError) as caught:
        await transport.send(Request(url), LIMITS)
    assert caught.value.cost == FREE
    return caught.value


async def test_a_file_is_read_and_one_that_has_not_changed_is_not_read_again(
    path: Path, transport: FileTransport
) -> None:
    first = await transport.send(Request(path.as_uri()), LIMITS)
    assert (first.status, first.body) == (200, WHOLE)
    again = Request(path.as_uri(), headers=(("If-None-Match", first.headers["etag"]),))
    assert (await transport.send(again, LIMITS)).status == 304
    path.write_bytes(WHOLE + b"NVDA,2,2026-11-23T14:00:00Z\n")
    assert (await transport.send(again, LIMITS)).body.endswith(b"NVDA,2,2026-11-23T14:00:00Z\n")


async def test_only_files_that_are_named_are_read(path: Path, transport: FileTransport, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_bytes(WHOLE)
    for url in (other.as_uri(), "file:///etc/passwd", f"{path.parent.as_uri()}/x/../a%20b.csv", "file:"):
        assert (await failed(transport, url)).reason is Reason.BAD_REQUEST
    with pytest.raises(PermanentClientError):
        await transport.send(Request(path.as_uri(), "POST", body=b"x"), LIMITS)


async def test_everything_else_goes_on_as_it_is() -> None:
    elsewhere = Elsewhere()
    transport = FileTransport(elsewhere, [])
    await transport.send(Request("https://x.invalid/"), LIMITS)
    await transport.close()
    assert elsewhere.asked == ["https://x.invalid/", "closed"]


async def test_a_file_that_is_not_there_may_come(path: Path, transport: FileTransport) -> None:
    path.unlink()
    error = await failed(transport, path.as_uri())
    assert isinstance(error, TransientClientError)
    assert error.reason is Reason.PROVIDER_DOWN
    assert "No such file" in str(error)


async def test_what_is_no_file_is_neither_read_nor_waited_for(path: Path, transport: FileTransport) -> None:
    path.unlink()
    os.mkfifo(path)
    assert (await failed(transport, path.as_uri())).reason is Reason.UNREADABLE
    path.unlink()
    path.mkdir()
    assert (await failed(transport, path.as_uri())).reason is Reason.UNREADABLE


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not list what is open")
async def test_what_is_no_file_is_not_held_open(path: Path, transport: FileTransport) -> None:
    path.unlink()
    path.mkdir()
    await failed(transport, path.as_uri())
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        await failed(transport, path.as_uri())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_a_file_that_is_too_large_is_not_taken_into_memory(path: Path, transport: FileTransport) -> None:
    path.write_bytes(b"x" * 1_001)
    assert (await failed(transport, path.as_uri())).reason is Reason.TOO_LARGE


async def test_a_file_that_changes_under_the_reader_is_tried_again(
    path: Path, transport: FileTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = os.fstat

    def writes_between(descriptor: int) -> os.stat_result:
        found = look(descriptor)
        with path.open("ab") as opened:
            opened.write(b"more\n")
        return found

    monkeypatch.setattr("scheduler_service.clients.file_transport.os.fstat", writes_between)
    error = await failed(transport, path.as_uri())
    assert isinstance(error, TransientClientError)
    assert error.reason is Reason.TRUNCATED


@pytest.mark.parametrize(
    "torn", [b"", b"\n", WHOLE[:-1], b'[{"symbol": "AAPL"', b'{"AAPL": {}\n', b"\xef\xbb\xbf[\n"], ids=repr
)
async def test_a_half_written_file_is_tried_again_until_nobody_writes_any_more(
    path: Path, transport: FileTransport, torn: bytes
) -> None:
    path.write_bytes(torn)
    clock = FakeClock()
    client = QuotesFileClient(QuotesFileClient.Options(path=path), clock)
    resource = client.whole()
    os.utime(path, ns=(clock.now() * 1_000, clock.now() * 1_000))
    answer = await transport.send(resource.request, resource.limits)
    with pytest.raises(TransientClientError):
        client.check(resource, answer)
    clock.advance(SETTLED_AFTER + SECOND)
    client.check(resource, answer)


async def test_a_whole_file_is_taken_at_once(path: Path, transport: FileTransport) -> None:
    clock = FakeClock()
    client = QuotesFileClient(QuotesFileClient.Options(path=path), clock)
    for body in (WHOLE, b'[{"symbol": "AAPL"}]', b'{"AAPL": {}}\n', b"\xef\xbb\xbf[]"):
        path.write_bytes(body)
        os.utime(path, ns=(clock.now() * 1_000, clock.now() * 1_000))
        client.check(client.whole(), await transport.send(client.whole().request, LIMITS))
