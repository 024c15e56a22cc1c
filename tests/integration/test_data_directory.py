"""The data directory: one process at a time, never begun anew over what was there."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from scheduler_service.errors import AlreadyRunning, DataDirectoryError
from scheduler_service.stores.data_directory import DataDirectory

HOLD = (
    "import sys, signal; from pathlib import Path\n"
    "from scheduler_service.stores.data_directory import DataDirectory\n"
    "DataDirectory(Path(sys.argv[1])).take(); print('held', flush=True); signal.pause()\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "a" / "data"


def test_it_makes_folders_that_are_the_users_alone(root: Path) -> None:
    directory = DataDirectory(root)
    directory.take()
    for folder in (root, directory.documents, directory.raw):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "lock").stat().st_mode) == 0o600
    directory.release()
    directory.release()


def test_a_second_process_is_told_who_holds_it_and_the_lock_goes_with_a_killed_one(root: Path) -> None:
    """Fault 46."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(root)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunning, match=f"pid {holder.pid}") as caught:
            DataDirectory(root).take()
        assert caught.value.pid == holder.pid
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (root / "lock").read_text() == f"{holder.pid}\n", "stale, and no matter"
    directory = DataDirectory(root)
    directory.take()
    assert (root / "lock").read_text() == f"{os.getpid()}\n"
    directory.release()


def test_a_holder_that_said_nothing_yet_is_unknown(root: Path) -> None:
    directory = DataDirectory(root)
    directory.take()
    (root / "lock").write_bytes(b"")
    with pytest.raises(AlreadyRunning, match="pid unknown"):
        DataDirectory(root).take()
    directory.release()


@pytest.mark.parametrize("ledger", ["missing", "empty"])
def test_it_does_not_begin_anew_beside_the_documents_of_a_ledger_that_is_gone(root: Path, ledger: str) -> None:
    """Fault 44."""
    document = root / "documents" / "news" / "A.json"
    document.parent.mkdir(parents=True)
    document.write_bytes(b"{}")
    if ledger == "empty":
        (root / "ledger.sqlite").touch()
    for _ in range(2):  # the refusal gives the lock back
        with pytest.raises(DataDirectoryError, match=r"its ledger, ledger\.sqlite, is missing or empty; restore"):
            DataDirectory(root).take()
    (root / "ledger.sqlite").write_bytes(b"something")
    directory = DataDirectory(root)
    directory.take()
    directory.release()


@pytest.mark.parametrize("place", [".", "documents", "lock"])
def test_what_cannot_be_used_is_said_in_words(root: Path, place: str) -> None:
    if place == "lock":
        (root / place).mkdir(parents=True)
    else:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(b"a file where a folder should be")
    with pytest.raises(DataDirectoryError, match=r"cannot be used: .*; make it writable for this user"):
        DataDirectory(root).take()


def test_it_does_not_write_through_a_link(root: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    root.mkdir(parents=True)
    (root / "lock").symlink_to(precious)
    with pytest.raises(DataDirectoryError):
        DataDirectory(root).take()
    assert precious.read_text() == "keep me"
