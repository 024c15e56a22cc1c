"""``backup`` and ``restore``: through the running service where one runs, with a bar where a person looks on."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from scheduler_service.backing_up import back_up_stopped
from scheduler_service.backups.archive import summing
from scheduler_service.backups.restore import Restorer, open_archive, verified
from scheduler_service.cli.configuration import settings_of
from scheduler_service.cli.figures import several
from scheduler_service.cli.terminal import console, line, print_json
from scheduler_service.clock import SystemClock
from scheduler_service.errors import NotRunning, SchedulerServiceError
from scheduler_service.stores.carrying_over import CarriedOver
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.mode import LIVE, SANDBOX
from scheduler_service.web.client import ControlClient
from scheduler_service.web.views import BackupReport, BackupRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
    from pathlib import Path

    from scheduler_service.backups.manifest import Manifest
    from scheduler_service.settings.loaded import Settings

_CARRIED_OVER = {
    CarriedOver.ALL: "What was spent, delivered, paused and put off since the backup was taken over from there.",
    CarriedOver.SPENT: "The ledger there was another one, or damaged: only what was spent was taken over from it.",
    CarriedOver.NOTHING: "What was spent since the backup is not known here: budgets count from what they were then.",
}
_PHASES = {"ledger": "copying the ledger", "archive": "packing", "verify": "reading back", "unpack": "unpacking"}


def make_backup(paths: Sequence[Path], directory: Path | None, *, as_json: bool) -> int:
    """Raises ``SchedulerServiceError`` where none was made."""
    settings = settings_of(paths)
    request = BackupRequest(directory=None if directory is None else str(directory.absolute()))
    made = asyncio.run(_follow(settings, request))
    if as_json:
        told = made.model_dump(mode="json", include={"path", "members", "removed", "left_out"})
        print_json({**told, "bytes": made.total})
        return 0
    line(f"Backed up and read back: {several(made.members, 'file')}, {made.total:,} bytes")
    line(f"  {made.path}")
    for name in made.removed:
        line(f"Removed, as newer ones are kept: {name}")
    for sentence in made.left_out:
        line(f"Left out: {sentence}", err=True)
    return 0


async def _follow(settings: Settings, request: BackupRequest) -> BackupReport:
    """The last report."""
    last: BackupReport | None = None
    with _bar("backup") as show:
        async with aclosing(_reports(settings, request)) as reports:
            async for report in reports:
                last = report
                if report.phase != "done":
                    show(report.phase, report.done, report.total)
    if last is None or last.phase != "done":
        raise SchedulerServiceError("the service went away before the backup was made; its log says why")
    return last


async def _reports(settings: Settings, request: BackupRequest) -> AsyncGenerator[BackupReport, None]:
    """From the running service; where none runs, from this process."""
    try:
        async with aclosing(ControlClient(settings.service.data_dir).backup(request)) as reports:
            async for report in reports:
                yield report
    except NotRunning:
        pass
    else:
        return
    async with aclosing(back_up_stopped(settings, request)) as reports:
        async for report in reports:
            yield report


def verify_backup(file: Path, *, as_json: bool) -> int:
    """Raises ``BackupRefused`` for one that is not good."""
    with _bar("verify") as show, open_archive(file) as opened:
        total = os.fstat(opened.fileno()).st_size
        manifest = verified(opened, file, summing(lambda done: show("verify", done, total)))
    _print(manifest, "Good", file, as_json=as_json, more={"good": True})
    return 0


def restore_backup(paths: Sequence[Path], file: Path, *, dry_run: bool, as_json: bool) -> int:
    """Raises ``BackupRefused``, ``AlreadyRunning`` or ``DataDirectoryError``; then everything is as it was."""
    settings = settings_of(paths)
    data_dir = settings.service.data_dir.absolute()
    with _bar("restore") as show:
        restorer = Restorer(
            file,
            data_dir,
            mode=SANDBOX if settings.sandbox else LIVE,
            now=SystemClock().now(),
            tell=lambda progress: show(*progress),
        )
        if dry_run:
            manifest = restorer.check()
        else:
            restored = restorer.restore()
    if dry_run:
        place, pid = restorer.old_place(), DataDirectory(data_dir).holder()
        would_keep = None if place is None else str(place)
        plan: dict[str, object] = {"restored": False, "to": str(data_dir), "old": would_keep, "in_use": pid is not None}
        _print(manifest, "Would be restored", file, as_json=as_json, more=plan)
        if not as_json:
            keeps = f"; what is there now would be kept in {would_keep} (with the time of then)" if would_keep else ""
            line(f"To: {data_dir}{keeps}")
            if pid is not None:
                line(f"Refused as long as the service runs (pid {pid or 'unknown'}): stop it first")
        return 0
    old = None if restored.old is None else str(restored.old)
    more = {
        "restored": True,
        "to": str(restored.directory),
        "old": old,
        "carried_over": restored.carried_over is CarriedOver.ALL,
        "spend_carried_over": restored.carried_over is not CarriedOver.NOTHING,
    }
    _print(restored.manifest, "Restored", file, as_json=as_json, more=more)
    if as_json:
        return 0
    line(f"To: {restored.directory}" + (f"; what was there is kept in {old}" if old else ""))
    line(_CARRIED_OVER[restored.carried_over])
    line("Start the service: it catches up by the policies of its schedules.")
    return 0


def _print(manifest: Manifest, word: str, file: Path, *, as_json: bool, more: dict[str, object]) -> None:
    if as_json:
        head = manifest.model_dump(mode="json", exclude={"members"})
        print_json({**more, "file": str(file), **head, "members": len(manifest.members), "bytes": manifest.size})
        return
    line(f"{word}: {file}")
    by = f"version {manifest.program_version} (schema {manifest.schema_version})"
    size = f"{several(len(manifest.members), 'file')}, {manifest.size:,} bytes unpacked"
    line(f"Of {manifest.service}, {manifest.mode} data, made {manifest.created_at} by {by}; {size}")
    for sentence in manifest.left_out:
        line(f"Left out: {sentence}")


@contextmanager
def _bar(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal; elsewhere nothing is shown."""
    if not sys.stderr.isatty():
        yield lambda phase, done, total: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(err=True), transient=True) as progress:
        bar = progress.add_task(what, total=None)

        def show(phase: str, done: int, total: int) -> None:
            progress.update(bar, description=_PHASES[phase], completed=done, total=total)

        yield show
