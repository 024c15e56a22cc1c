"""Below the disk floor nothing leaves the house: it is told once, what waits goes on by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scheduler_service.errors import Held
from scheduler_service.gates import room as rooms
from scheduler_service.gates.room import LOOK_AGAIN, Room
from scheduler_service.models import Reason
from tests.integration.gates_support import FAST, Told, house, plain, response, sandbox
from tests.virtual_time import VirtualClock, run

if TYPE_CHECKING:
    from pathlib import Path

FLOOR = 1_000


class Disk:
    """Says how much is free, and counts who asks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
        self.free = free
        self.looks = 0
        monkeypatch.setattr(rooms, "free_bytes", self._free)

    def _free(self, folder: Path) -> int | None:
        del folder
        self.looks += 1
        return self.free


@pytest.mark.parametrize(
    ("free", "held", "critical"), [(1_000, False, False), (999, True, False), (99, True, True), (None, False, False)]
)
def test_less_than_is_wanted_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int | None, held: bool, critical: bool
) -> None:
    async def story(clock: VirtualClock) -> None:
        Disk(monkeypatch, free)
        room = Room(tmp_path, FLOOR, clock, lambda event: None)
        await room.look()
        assert (room.problem is not None, room.is_critical) == (held, critical)

    run(story)


def test_it_is_told_once_each_way_and_looked_at_every_few_seconds_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(clock: VirtualClock) -> None:
        disk, told = Disk(monkeypatch, 10), list[str]()
        room = Room(tmp_path, FLOOR, clock, lambda event: told.append(event.name))
        for free in (10, 20, 5_000, 5_000, 10):
            disk.free = free
            for _ in range(100):
                await room.look()
            await clock.sleep(LOOK_AGAIN)
        assert told == ["disk.low", "disk.has_room", "disk.low"]
        assert disk.looks == 5

    run(story)


def test_a_floor_of_nothing_is_never_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(clock: VirtualClock) -> None:
        disk = Disk(monkeypatch, 0)
        await Room(tmp_path, 0, clock, lambda event: None).check()
        assert disk.looks == 0

    run(story)


def test_no_call_is_reserved_nor_leaves_while_there_is_too_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(clock: VirtualClock) -> None:
        disk, upstream = Disk(monkeypatch, 10), Told(response(), response())
        room = Room(tmp_path, FLOOR, clock, lambda event: None)
        async with house(tmp_path, clock, sandbox(clock), transport=upstream, room=room, plain=FAST) as it:
            with pytest.raises(Held, match="nothing is asked until there is room") as caught:
                await it.ask(plain())
            assert caught.value.reason is Reason.DISK_LOW
            assert (upstream.seen, it.calls()) == ([], [])
            disk.free = 5_000
            await clock.sleep(LOOK_AGAIN)
            assert (await it.ask(plain())).asked
            disk.free = 10
            await clock.sleep(LOOK_AGAIN)
            assert not (await it.ask(plain())).asked, "what is kept is read all the same"

    run(story)
