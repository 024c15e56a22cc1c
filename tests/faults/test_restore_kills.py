"""A restore that is killed at any step: the old directory or the restored one is there, and it can be repeated."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from scheduler_service.backups.making import Maker
from scheduler_service.backups.restore import Restorer
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.snapshot import check_copy
from tests.acceptance.commands import ROOT
from tests.backup_support import lived_in, settings_in
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

NOW = FakeClock("2026-11-24T10:00:00Z").now()
STEPS = ["verified", "unpacked", "carried over", "complete", "ready", "swapped", "done"]
BODY = """\
import errno, os, signal, sys
from pathlib import Path
from scheduler_service.backups import restore
archive, root, step, exchange = sys.argv[1:]
def reached(name):
    if name == step:
        os.kill(os.getpid(), signal.SIGKILL)
def cannot(one, other):
    raise OSError(errno.ENOSYS, "")
if exchange == "no":
    restore.exchange = cannot
restore.Restorer(Path(archive), Path(root), mode="sandbox", now={now}, reached=reached).restore()
"""


def prepare(folder: Path) -> Path:
    async def make() -> Path:
        settings = settings_in(folder)
        async with lived_in(settings) as ledger:
            with ThreadPoolExecutor(1) as pool:
                made = await Maker(settings, ledger, now=FakeClock().now(), tell=lambda progress: None).make(pool)
        return made.path

    archive = asyncio.run(make())
    (folder / "data/documents/news/AAPL.json").write_text('{"newer": 1}')
    safe = folder / archive.name
    safe.hardlink_to(archive)
    return safe


@pytest.mark.parametrize(
    ("step", "exchange"), [(step, "yes") for step in STEPS] + [(step, "no") for step in (*STEPS, "old one moved")]
)
def test_a_kill_leaves_one_or_the_other(tmp_path: Path, step: str, exchange: str) -> None:
    archive, root = prepare(tmp_path), tmp_path / "data"
    killed = subprocess.run(
        [sys.executable, "-c", BODY.format(now=NOW), str(archive), str(root), step, exchange],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    started = DataDirectory(root)
    started.take()  # as the next start does
    started.release()
    check_copy(root / "ledger.sqlite")
    restored = step in ("swapped", "done", "old one moved")
    assert (root / "documents/news/AAPL.json").read_text() == ("{}" if restored else '{"newer": 1}')
    again = Restorer(archive, root, mode="sandbox", now=NOW).restore()
    assert (root / "documents/news/AAPL.json").read_text() == "{}"
    assert again.old is not None
    kept = [path for path in tmp_path.iterdir() if path.name.startswith("data.before-restore-")]
    assert len(kept) == 1 + restored  # what was there at first is kept, whatever was cut off
    assert any((path / "documents/news/AAPL.json").read_text() == '{"newer": 1}' for path in kept)
    assert {path.name for path in tmp_path.iterdir()} == {
        "data",
        "scheduler.yaml",
        archive.name,
        *(path.name for path in kept),
    }


WITHIN = """\
import os, signal, sys
from pathlib import Path
from scheduler_service.backups.restore import Restorer
archive, root, at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
os.path.ismount = lambda path: path == root
renames, rename = 0, Path.rename
def dies(self, target):
    global renames
    renames += 1
    if renames == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = dies
Restorer(archive, root, mode="sandbox", now={now}).restore()
"""


def test_a_kill_before_any_rename_within_a_mount_point_leaves_one_or_the_other(tmp_path: Path) -> None:
    restored = 0
    for at in range(1, 30):
        folder = tmp_path / str(at)
        folder.mkdir()
        archive, root = prepare(folder), folder / "data"
        done = subprocess.run(
            [sys.executable, "-c", WITHIN.format(now=NOW), str(archive), str(root), str(at)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=False,
        )
        started = DataDirectory(root)
        started.take()
        started.release()
        check_copy(root / "ledger.sqlite")
        new = (root / "documents/news/AAPL.json").read_text() == "{}"
        assert new == (at > 1)  # from the moment on at which all is ready
        if new:
            old = root / "before-restore-20261124T100000Z"
            assert (old / "documents/news/AAPL.json").read_text() == '{"newer": 1}'
            check_copy(old / "ledger.sqlite")
        assert not [path.name for path in root.iterdir() if path.name.startswith(".restoring-")]
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        restored += new
    assert done.returncode == 0
    assert restored > 5
