"""Documents on disk: always whole, always what the ledger says, whatever happens to their files."""

from __future__ import annotations

import asyncio
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.clock import MINUTE, SECOND
from scheduler_service.errors import StoreError
from scheduler_service.stores import atomic_files
from scheduler_service.stores import publisher as publisher_module
from scheduler_service.stores.atomic_files import check_files, read_files, sweep, write_files
from tests.ledger_support import House, named, open_house
from tests.virtual_time import VirtualClock, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture
async def house(tmp_path: Path, pool: ThreadPoolExecutor) -> AsyncIterator[House]:
    async with open_house(tmp_path, pool) as opened:
        yield opened


async def test_it_writes_what_is_due_and_strikes_it(house: House) -> None:
    await house.put("A", "BRK.B")
    assert await house.publisher.publish_due() == 2
    assert house.words("BRK.B") == ["first"]
    assert await house.waiting() == set()
    assert await house.publisher.publish_due() == 0
    for path in (house.folder, house.folder / "notes", house.path("A")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if path.is_file() else 0o700)
    assert [path.name for path in house.folder.rglob("*.tmp")] == []


async def test_it_writes_more_than_a_batch_at_once(house: House) -> None:
    symbols = [f"S{number}" for number in range(3 * publisher_module.BATCH + 1)]
    await house.put(*symbols)
    assert await house.publisher.publish_due() == len(symbols)
    assert sorted(path.stem for path in house.folder.rglob("*.json")) == sorted(symbols)
    assert house.ledger.commits == 1 + 4


async def test_a_version_that_came_while_the_file_was_written_goes_on_waiting(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write(*args: Any, **named: Any) -> Any:
        errors = await write_files(*args, **named)
        await house.put("A", words="second")
        return errors

    await house.put("A")
    with monkeypatch.context() as slow:
        slow.setattr(publisher_module, "write_files", write)
        await house.publisher.publish_due()
    assert (house.words("A"), await house.waiting()) == (["first"], {"A"})
    await house.publisher.publish_due()
    assert (house.words("A"), await house.waiting()) == (["second"], set())


async def test_what_was_written_but_not_struck_is_written_again_and_is_no_damage(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.put("A")
    await house.publisher.publish_due()
    await house.put("A", words="second")

    async def killed(*args: Any, **named: Any) -> Any:
        await write_files(*args, **named)
        raise StoreError("killed")

    with monkeypatch.context() as crash:
        crash.setattr(publisher_module, "write_files", killed)
        with pytest.raises(StoreError, match="killed"):
            await house.publisher.publish_due()
    assert house.words("A") == ["second"]
    assert await house.publisher.audit() == 0
    assert named(house.events, "document.repaired") == []
    assert await house.publisher.publish_due() == 1
    assert await house.publisher.audit() == 0


DAMAGES = ["deleted", "truncated", "flipped", "symlink", "fifo", "folder gone", "all gone"]


def break_it(path: Path, how: str) -> None:
    match how:
        case "truncated":
            os.truncate(path, 10)
        case "flipped":
            body = bytearray(path.read_bytes())
            body[len(body) // 2] ^= 1
            path.write_bytes(body)
        case "symlink":
            path.unlink()
            path.symlink_to(path.parent.parent.parent / "precious")
        case "fifo":
            path.unlink()
            os.mkfifo(path)
        case "folder gone":
            path.unlink()
            path.parent.rmdir()
        case "all gone":
            path.unlink()
            path.parent.rmdir()
            path.parent.parent.rmdir()
        case _:
            path.unlink()


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("audited_before", [False, True])
async def test_damage_is_noticed_told_once_and_mended_from_the_row(
    house: House, how: str, audited_before: bool, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"keep me")
    await house.put("A")
    await house.publisher.publish_due()
    if audited_before:
        assert await house.publisher.audit() == 0
    break_it(house.path("A"), how)
    assert await house.publisher.audit() == 1
    assert await house.publisher.audit() == 0, "known, and about to be written"
    [event] = named(house.events, "document.repaired")
    assert str(house.path("A")) in event.message
    assert await house.publisher.publish_due() == 1
    assert house.words("A") == ["first"]
    assert house.path("A").is_file()
    assert not house.path("A").is_symlink()
    assert precious.read_bytes() == b"keep me"
    assert await house.publisher.audit() == 0


async def test_a_file_is_read_once_and_then_only_if_it_was_touched(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = atomic_files._read
    monkeypatch.setattr(atomic_files, "_read", lambda path: read.append(path.name) or real(path))  # type: ignore[func-returns-value]
    await house.put("A", "B")
    await house.publisher.publish_due()
    for _ in range(3):
        assert await house.publisher.audit() == 0
    assert sorted(read) == ["A.json", "B.json"]
    os.utime(house.path("A"))
    assert await house.publisher.audit() == 0
    assert sorted(read) == ["A.json", "A.json", "B.json"]


async def test_an_audit_goes_through_all_documents_in_pieces(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher_module, "AUDIT_BATCH", 3)
    symbols = [f"S{number}" for number in range(10)]
    await house.put(*symbols)
    await house.put(*symbols[:4], domain="letters")
    await house.publisher.publish_due()
    for symbol in symbols[::3]:
        house.path(symbol).unlink()
    (house.folder / "letters" / "S2.json").unlink()
    assert await house.publisher.audit() == 5
    assert await house.publisher.publish_due() == 5


async def test_an_audit_sees_no_damage_in_what_is_published_meanwhile(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside: list[asyncio.Task[int]] = []

    async def check(*args: Any, **named: Any) -> Any:
        await house.put("A", words="second")
        beside.append(asyncio.create_task(house.publisher.publish_due()))
        await asyncio.wait(beside, timeout=0.05)
        return await check_files(*args, **named)

    await house.put("A")
    await house.publisher.publish_due()
    monkeypatch.setattr(publisher_module, "check_files", check)
    assert await house.publisher.audit() == 0
    assert await beside[0] == 1
    assert named(house.events, "document.repaired") == []


async def test_a_folder_in_place_of_a_document_is_left_alone_told_once_and_holds_nobody_up(house: House) -> None:
    await house.put("A")
    (house.path("A") / "mine").mkdir(parents=True)
    for round_ in range(3):
        await house.put("B", "C", words=f"round {round_}")
        assert await house.publisher.publish_due() == 2
        assert house.words("C") == [f"round {round_}"]
    assert await house.waiting() == {"A"}
    [event] = named(house.events, "document.failed")
    assert str(house.path("A")) in event.message
    assert "Is a directory" in event.message
    assert list(house.folder.rglob("*.tmp")) == []
    (house.path("A") / "mine").rmdir()
    house.path("A").rmdir()
    assert await house.publisher.publish_due() == 1
    assert house.words("A") == ["first"]
    house.path("A").unlink()
    house.path("A").mkdir()
    await house.put("A", words="second")
    await house.publisher.publish_due()
    assert len(named(house.events, "document.failed")) == 2, "it had been well in between"


async def test_a_domain_that_cannot_be_written_does_not_starve_the_others(house: House) -> None:
    blocked = [f"S{number}" for number in range(2 * publisher_module.BATCH)]
    house.folder.mkdir()
    (house.folder / "letters").write_bytes(b"a file where a folder should be")
    await house.put(*blocked, domain="letters")
    await house.put("A", "B")
    assert await house.publisher.publish_due() == 2
    assert await house.waiting() == set(blocked)


async def test_a_directory_that_was_moved_away_is_not_made_anew(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    folder = tmp_path / "data" / "documents"
    path = folder / "notes" / "A.json"
    [error] = await write_files([(path, b"{}")], root=folder, executor=pool)
    assert isinstance(error, FileNotFoundError)
    assert list(tmp_path.iterdir()) == []
    folder.parent.mkdir()
    assert await write_files([(path, b"{}")], root=folder, executor=pool) == [None]


async def test_it_never_opens_what_is_in_a_files_place(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    target, fifo, folder, link = (tmp_path / name for name in ("target", "fifo", "folder", "link"))
    target.write_bytes(b"x")
    os.mkfifo(fifo)
    folder.mkdir()
    link.symlink_to(target)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        results = await read_files([target, fifo, folder, link, tmp_path / "absent"], executor=pool)
        assert results[0] == b"x"
        assert all(isinstance(result, OSError) for result in results[1:])
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2, "descriptors leak"


async def test_what_a_crash_left_in_part_is_swept(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    (tmp_path / "notes").mkdir()
    for name in ("A.json", "A.json.0a1b2c3d.tmp", "TMP.json"):
        (tmp_path / "notes" / name).write_bytes(b"{")
    assert await sweep([tmp_path, tmp_path / "absent"], executor=pool) == 1
    assert sorted(path.name for path in tmp_path.rglob("*.json*")) == ["A.json", "TMP.json"]


async def test_a_reader_sees_the_old_or_the_new_and_never_a_part(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    path = tmp_path / "A.json"
    bodies = [bytes([65 + number]) * 200_000 for number in range(8)]
    await write_files([(path, bodies[0])], executor=pool)
    writing = asyncio.gather(*(write_files([(path, body)], executor=pool) for body in bodies for _ in range(5)))
    while not writing.done():
        assert path.read_bytes() in bodies
        await asyncio.sleep(0)
    assert await writing == [[None]] * 40


def test_it_publishes_lazily_at_most_once_a_minute(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    async def story(clock: VirtualClock) -> list[int]:
        async with open_house(tmp_path, pool, clock) as house:
            publishing = asyncio.create_task(house.publisher.publish_forever())
            await house.put("A")
            start = clock.now()
            for _ in range(40):
                house.publisher.notify()
                await clock.sleep(5)
                await house.refresh("A")
            house.publisher.stop()
            await publishing
            return [round((clock.now() - start) / SECOND), len(named(house.events, "document.published"))]

    seconds, published = run(story)
    assert seconds in (200, 201)
    assert published == 1 + seconds * SECOND // MINUTE + 1  # and, when it stops, what still waited


def test_its_own_audit_mends_within_two_minutes_without_being_told(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    async def story(clock: VirtualClock) -> None:
        async with open_house(tmp_path, pool, clock) as house:
            publishing = asyncio.create_task(house.publisher.publish_forever())
            await house.put("A")
            await clock.sleep(10)
            house.path("A").unlink()
            await clock.sleep(120)
            assert house.words("A") == ["first"]
            house.publisher.stop()
            await publishing

    run(story)


def test_it_goes_on_after_the_ledger_failed_and_publishes_the_rest_at_the_end(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(clock: VirtualClock) -> list[str]:
        async with open_house(tmp_path, pool, clock) as house:
            publishing = asyncio.create_task(house.publisher.publish_forever())
            with monkeypatch.context() as failing:

                async def fail(unit: object) -> None:
                    raise StoreError("the ledger could not be read: disk I/O error")

                failing.setattr(house.ledger, "read", fail)
                await clock.sleep(30)
            await clock.sleep(10)
            await house.put("A")
            house.publisher.notify()
            await clock.sleep(1)
            assert house.words("A") == ["first"]
            await house.put("B")
            house.publisher.stop()
            await publishing
            assert house.words("B") == ["first"]
            return [event.message for event in named(house.events, "document.failed")]

    assert run(story) == ["the ledger could not be read: disk I/O error"]
