"""What ``doctor`` finds in data directories of which something is wrong, and that it harms none."""

from __future__ import annotations

import errno
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from scheduler_service.alerts.channel import channel_id
from scheduler_service.checkup import check_up, send_test_alerts
from scheduler_service.cli.doctor import doctor
from scheduler_service.clock import DAY, HOUR, MINUTE
from scheduler_service.errors import ConfigurationError
from scheduler_service.stores import channel_troubles, delivery_store, notice_store
from scheduler_service.stores.channel_troubles import FAILING
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.delivery_store import WAITING
from scheduler_service.stores.snapshot import note_backup_state
from scheduler_service.web.client import ControlClient
from tests.backup_support import lived_in, noticed, settings_in
from tests.fakes import FakeClock
from tests.integration.webhook_support import Hook, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scheduler_service.settings.loaded import Settings
    from scheduler_service.stores.database import Connection


async def wrong(settings: Settings, clock: FakeClock | None = None) -> dict[str, str]:
    """What is wrong, by what it is about."""
    found = await check_up(settings, clock or FakeClock())
    assert all(finding.said for finding in found)
    return {finding.about: f"{finding.said}; {finding.todo}" for finding in found if not finding.is_fine}


@asynccontextmanager
async def at_rest(folder: Path, more: str = "") -> AsyncIterator[Settings]:
    settings = settings_in(folder, more)
    async with lived_in(settings):
        pass
    settings.service.data_dir.chmod(0o700)
    yield settings


async def test_where_nothing_has_run_all_is_well_and_nothing_is_made(tmp_path: Path) -> None:
    assert await wrong(settings_in(tmp_path)) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["scheduler.yaml"]


async def test_a_directory_that_was_lived_in_is_well_and_stays_as_it_is(tmp_path: Path) -> None:
    async with at_rest(tmp_path) as settings:
        before = {path: path.read_bytes() for path in settings.service.data_dir.rglob("*") if path.is_file()}
        assert await wrong(settings) == {}
        after = {path: path.read_bytes() for path in settings.service.data_dir.rglob("*") if path.is_file()}
        assert after == before


async def test_a_damaged_ledger_and_jobs_file_are_told(tmp_path: Path) -> None:
    async with at_rest(tmp_path) as settings:
        directory = DataDirectory(settings.service.data_dir)
        directory.ledger.write_bytes(b"no database" * 1000)
        directory.jobs.write_bytes(b"no database" * 1000)
        found = await wrong(settings)
        assert "restore a backup" in found["ledger"]
        assert "restart the service" in found["jobs"]


async def test_a_ledger_that_cannot_be_opened_is_not_called_damaged_nor_is_it_to_be_moved_away(tmp_path: Path) -> None:
    async with at_rest(tmp_path) as settings:
        directory = DataDirectory(settings.service.data_dir)
        for path in (directory.ledger, directory.jobs):
            path.unlink(missing_ok=True)
            path.mkdir()
        found = await wrong(settings)
        for about in ("ledger", "jobs"):
            assert "cannot be looked at: " in found[about]
            assert "; see that there is space" in found[about]
            assert "damaged" not in found[about]


async def test_a_place_where_nothing_can_be_written_is_told_before_the_first_run_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path)
    nowhere = settings.service.model_copy(update={"data_dir": Path("/proc/nowhere")})
    assert "/proc/nowhere cannot be written: " in (await wrong(replace(settings, service=nowhere)))["data directory"]
    async with at_rest(tmp_path, "monitors: {health: {disk_floor: 0B}}\n") as settings:

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        assert (
            "cannot be written: No space left on device; see that there is room"
            in (await wrong(settings))["data directory"]
        )


async def test_a_port_that_another_has_is_told_unless_the_service_itself_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_in(tmp_path, f"http: {{port: {taken.getsockname()[1]}}}\n")
        assert "cannot be had: address already in use; stop what uses it" in (await wrong(settings))["port"]
        async with lived_in(settings):
            assert "port" in await wrong(settings)
            directory = DataDirectory(settings.service.data_dir)
            directory.hold()
            try:
                assert "port" not in await wrong(settings)
            finally:
                directory.release()


def test_what_is_to_be_looked_at_is_a_note_and_then_it_does_not_say_that_all_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings_in(tmp_path)
    files = [tmp_path / "scheduler.yaml"]
    assert doctor(files, alert=False, as_json=False) == 0
    assert capsys.readouterr().out.endswith("All is well.\n")
    settings_in(tmp_path, "backup: {directory: nowhere/of/this}\n")
    assert doctor(files, alert=False, as_json=False) == 0
    printed = capsys.readouterr().out
    assert "NOTE  configuration: " in printed
    assert "so no backup can be made" in printed
    assert printed.endswith("Nothing is wrong; see what is noted.\n")


async def test_documents_without_their_ledger_are_told(tmp_path: Path) -> None:
    async with at_rest(tmp_path) as settings:
        DataDirectory(settings.service.data_dir).ledger.unlink()
        assert "restore a backup, or move the documents away" in (await wrong(settings))["ledger"]


async def test_a_directory_that_is_full_open_to_others_is_told(tmp_path: Path) -> None:
    async with at_rest(tmp_path, "monitors: {health: {disk_floor: 9999999GB}}\n") as settings:
        assert "make room there" in (await wrong(settings))["data directory"]
    async with at_rest(tmp_path) as settings:
        settings.service.data_dir.chmod(0o722)
        assert "chmod 700" in (await wrong(settings))["data directory"]


async def test_a_document_that_is_not_what_was_written_is_told(tmp_path: Path) -> None:
    async with at_rest(tmp_path) as settings:
        document = settings.service.data_dir / "documents/news/AAPL.json"
        async with lived_in(settings) as ledger:
            await ledger.run(published)
            assert "news/AAPL.json: gone, or not as the ledger has them" in (await wrong(settings))["documents"]
            document.unlink()
            assert "news/AAPL.json: gone" in (await wrong(settings))["documents"]


async def test_what_only_a_person_may_remove_is_shown_with_its_room_and_is_nothing_wrong(tmp_path: Path) -> None:
    (tmp_path / "my stocks").mkdir()
    async with at_rest(tmp_path / "my stocks") as settings:
        root = settings.service.data_dir
        ledger, beside, within = (
            root / "backups/ledger-schema-4.sqlite",
            root.with_name("data.before-restore-20261124T100000Z"),
            root / "before-restore-20261124T110000Z",
        )
        for path, size in ((ledger, 1_500_000), (beside / "raw/1", 2_000_000), (within / "ledger.sqlite", 100_000)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(size))
        (beside / "shared").hardlink_to(within / "ledger.sqlite")
        (root.with_name("data.before-restore-list.txt")).write_text("no directory")
        found = await check_up(settings, FakeClock())
        assert [finding for finding in found if not finding.is_fine] == []
        assert [finding.said for finding in found if finding.about == "kept for you"] == [
            "the ledger from before an update, 1.5 MB, perhaps the only copy; if all is well without it: "
            f"rm '{ledger}'",
            "the data from before a restore, 0.0 MB, perhaps the only copy; if all is well without it: "
            f"rm -r '{within}'",
            "the data from before a restore, 2.0 MB, perhaps the only copy; if all is well without it: "
            f"rm -r '{beside}'",
        ]


def published(conn: Connection) -> None:
    columns = "domain, symbol, version, published_version, published_sha256, data, changed_at"
    conn.exec_driver_sql(f"INSERT INTO document ({columns}) VALUES ('news', 'AAPL', 1, 1, x'00', x'7b7d', 1)")


async def test_an_impossible_clock_is_told(tmp_path: Path) -> None:
    clock = FakeClock()
    clock.advance(-50 * 365 * DAY)
    assert "set the clock" in (await wrong(settings_in(tmp_path), clock))["clock"]


async def test_backups_that_fail_and_a_channel_that_does_are_told(tmp_path: Path) -> None:
    clock = FakeClock()
    async with at_rest(tmp_path, "alerts: {urls: ['http://127.0.0.1:9/SEKRIT']}\n") as settings:
        async with lived_in(settings) as ledger:

            def unit(conn: Connection) -> None:
                note_backup_state(conn, json.dumps({"failing_since": clock.now()}))
                noticed(conn, "key", 1)
                row = notice_store.notice(conn, 1)
                mine = channel_id("http://127.0.0.1:9/SEKRIT")
                for channel in (mine, "tgram#12345678"):
                    delivery_store.add(conn, row, channel, WAITING, clock.now(), clock.now())
                channel_troubles.note_trouble(conn, mine, FAILING, "it answered 503", clock.now())

            await ledger.run(unit)
        clock.advance(HOUR + MINUTE)
        found = await check_up(settings, clock)
        said = [finding.said for finding in found if not finding.is_fine]
        assert [sentence.partition(",")[0] for sentence in said] == [
            "none was made since 2026-11-23T14:30:00Z",
            "webhook 127.0.0.1:9 does not take alerts since 2026-11-23T14:30:00Z (it answered 503); 1 wait",
            "tgram: 1 wait",
        ]


async def test_a_test_alert_says_of_each_channel_whether_it_arrived(tmp_path: Path) -> None:
    async with serving(good := Hook()) as base, serving(bad := Hook()) as other:
        bad.always = 403
        urls = f"alerts: {{urls: ['{base}/SEKRIT', '{other}/SEKRIT']}}\n"
        told = await send_test_alerts(settings_in(tmp_path, urls), FakeClock())
    assert [(one.arrived, one.said) for one in told] == [(True, None), (False, "it answered 403")]
    assert good.keys == bad.keys == ["doctor.alert@2026-11-23T14:30:00Z"]
    assert "SEKRIT" not in str(told)


def test_its_exit_code_and_its_json_say_whether_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings_in(tmp_path)
    files = [tmp_path / "scheduler.yaml"]
    assert doctor(files, alert=False, as_json=True) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["fine"], said["alerts"]) == (True, None)
    assert {"about": "configuration", "said": "it is valid", "todo": "", "note": False, "fine": True} in said[
        "findings"
    ]
    assert doctor(files, alert=True, as_json=False) == 1
    assert "there is no channel to send it to" in capsys.readouterr().out
    settings_in(tmp_path, "alerts: {urls: ['nosuch://SEKRIT']}\n")
    assert doctor(files, alert=False, as_json=True) == 2
    printed = capsys.readouterr().out
    assert json.loads(printed)["problems"][0]["path"] == "alerts.urls[0]"
    assert "SEKRIT" not in printed
    with pytest.raises(ConfigurationError, match="apprise does not understand"):
        doctor(files, alert=False, as_json=False)


async def test_a_directory_that_is_held_by_one_who_does_not_answer_is_told(tmp_path: Path) -> None:
    async with at_rest(tmp_path) as settings:
        directory = DataDirectory(settings.service.data_dir)
        directory.hold()
        try:
            assert "does not answer" in (await wrong(settings))["service"]
        finally:
            directory.release()


async def test_what_a_running_service_says_is_wrong_is_told_with_what_it_says_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = ("news: the last fetch of 2 of 3 failed; see history --status failed", "everything is late")
    said = SimpleNamespace(problems=problems, pid=7, readiness=None)

    async def status(_: ControlClient) -> object:
        return said

    monkeypatch.setattr(ControlClient, "status", status)
    async with at_rest(tmp_path) as settings:
        directory = DataDirectory(settings.service.data_dir)
        directory.hold()
        try:
            found = [finding for finding in await check_up(settings, FakeClock()) if finding.about == "service"]
        finally:
            directory.release()
    assert [(finding.said, finding.todo) for finding in found] == [
        ("news: the last fetch of 2 of 3 failed", "see history --status failed"),
        ("everything is late", "see its log, and: scheduler-service status"),
    ]
