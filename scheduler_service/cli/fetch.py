"""``fetch``: tasks run now, with their progress, through the running service or in this process."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scheduler_service import log_setup
from scheduler_service.cli.configuration import choose, perhaps, read_symbol, settings_of, source_providers
from scheduler_service.cli.figures import several
from scheduler_service.cli.terminal import console, line, print_json, safe
from scheduler_service.clock import MILLISECOND
from scheduler_service.errors import NotRunning, SchedulerServiceError
from scheduler_service.fetching import fetch_once
from scheduler_service.models import Reason, TaskState
from scheduler_service.settings.units import format_duration, parse_duration
from scheduler_service.stores.data_directory import DataDirectory
from scheduler_service.stores.file_names import file_name
from scheduler_service.web.client import ControlClient
from scheduler_service.web.views import DEFAULT_WAIT_MS, LONGEST_PAUSE_MS, FetchRequest, RetryRequest, RunNowRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from scheduler_service.settings.loaded import Settings
    from scheduler_service.web.views import TaskReport

THERE_ALREADY = (Reason.FRESH, Reason.NOT_NEEDED)
NOTHING_TO_DO = (*THERE_ALREADY, Reason.NOT_KEPT)
GATES = frozenset({Reason.RATE_LIMITED, Reason.PROVIDER_DOWN, Reason.BUDGET_EXHAUSTED})
FILES_SHOWN = 4
DEFAULT_WAIT = format_duration(DEFAULT_WAIT_MS * MILLISECOND)


def fetch(
    paths: Sequence[Path],
    domain: str,
    symbols: Sequence[str],
    *,
    source: str | None,
    force: bool,
    reparse: bool = False,
    wait: str = DEFAULT_WAIT,
    as_json: bool,
) -> int:
    """1 when a task failed, or was not carried out for another reason than that nothing was to be done."""
    settings = settings_of(paths)
    request = request_of(settings, domain, symbols, source=source, force=force, reparse=reparse, wait=wait)
    return _carry_out(settings, _reports(settings, request), as_json=as_json)


def run_now(
    paths: Sequence[Path], job: str, symbols: Sequence[str], *, force: bool, wait: str = DEFAULT_WAIT, as_json: bool
) -> int:
    """As ``fetch``, of what a schedule covers. Raises ``NotRunning``, and ``ConfigurationError`` where the service does
    not know it.
    """
    settings = settings_of(paths)
    wanted = tuple(dict.fromkeys(map(read_symbol, symbols)))
    request = RunNowRequest(schedule_id=job, symbols=wanted, force=force, wait_ms=_wait_ms(wait))
    return _carry_out(settings, ControlClient(settings.service.data_dir).run_now(request), as_json=as_json)


def retry(paths: Sequence[Path], task: int, *, wait: str = DEFAULT_WAIT, as_json: bool) -> int:
    """As ``fetch``, of a task that was not completed. Raises as ``run_now``."""
    settings = settings_of(paths)
    request = RetryRequest(task_id=task, wait_ms=_wait_ms(wait))
    return _carry_out(settings, ControlClient(settings.service.data_dir).retry(request), as_json=as_json)


def _carry_out(settings: Settings, reports: AsyncGenerator[TaskReport, None], *, as_json: bool) -> int:
    try:
        latest = asyncio.run(_follow(reports, as_json=as_json))
    except KeyboardInterrupt:
        line("Interrupted: what had not ended goes on in the running service, or waits for its next start", err=True)
        raise
    summary = summary_of(latest)
    files = _documents(settings, latest)
    if as_json:
        tasks = [report.model_dump(mode="json") for report in latest]
        print_json({**summary, "documents": [str(path) for path in files], "tasks": tasks})
    else:
        counts = ", ".join(f"{count} {word}" for word, count in summary.items() if count)
        line(f"{several(len(latest), 'task')}: {counts or 'nothing to do'}.")
        some = files if len(files) <= FILES_SHOWN else [files[0].parent]
        for path in some:
            line(f"  {path}")
    given_up = [report for report in latest if report.state is TaskState.SKIPPED and report.reason in GATES]
    if given_up:
        line(_how_to_go_on(given_up), err=True)
    unfinished = [report for report in latest if not report.state.ended]
    if unfinished:
        raise SchedulerServiceError(f"{several(len(unfinished), 'task')} had not ended when the report of them did")
    return 0 if all(map(_is_well, latest)) and not all(r.reason is Reason.NOT_KEPT for r in latest) else 1


def request_of(
    settings: Settings,
    domain: str,
    symbols: Sequence[str],
    *,
    source: str | None,
    force: bool,
    reparse: bool = False,
    wait: str = DEFAULT_WAIT,
) -> FetchRequest:
    """What is asked for, in the names that are known here. Raises ``click.UsageError``."""
    if force and reparse:
        raise click.UsageError("--reparse asks nobody, --force asks again: give one of them")
    choose("domain", domain, source_providers())
    choose("configured domain", domain, settings.domains)
    if source is not None:
        choose(f"source of {domain}", source, source_providers()[domain])
        choose(f"enabled source of {domain}", source, [s.use for s in settings.domains[domain].enabled_sources])
    watched = {symbol.symbol for symbol in settings.watchlist}
    wanted = tuple(dict.fromkeys(map(read_symbol, symbols)))
    for symbol in wanted:
        if symbol not in watched and not reparse:
            line(f"{symbol} is not on the watchlist and is fetched this once{perhaps(symbol, watched)}", err=True)
    wait_ms = _wait_ms(wait)
    return FetchRequest(domain=domain, symbols=wanted, source=source, force=force, reparse=reparse, wait_ms=wait_ms)


def _wait_ms(wait: str) -> int:
    try:
        return min(parse_duration(wait) // MILLISECOND, LONGEST_PAUSE_MS)
    except ValueError as error:
        raise click.UsageError(f"--wait: {error}") from error


async def _follow(following: AsyncGenerator[TaskReport, None], *, as_json: bool) -> list[TaskReport]:
    """The last report of each task."""
    latest: dict[int, TaskReport] = {}
    told: dict[int, str] = {}
    bar = sys.stderr.isatty()
    with _bar() if bar else _lines(err=as_json) as show:
        async with aclosing(following) as reports:
            async for report in reports:
                latest[report.task_id] = report
                held = "" if report.state.ended else (report.message or "").partition("(")[2].partition(" until ")[0]
                if not held or told.get(report.task_id) != held:  # that it is held again is no news
                    show(report, sum(known.state.ended for known in latest.values()))
                told[report.task_id] = held or told.get(report.task_id, "")
    return list(latest.values())


async def _reports(settings: Settings, request: FetchRequest) -> AsyncGenerator[TaskReport, None]:
    """From the running service; where none runs, from this process."""
    try:
        async with aclosing(ControlClient(settings.service.data_dir).fetch(request)) as reports:
            async for report in reports:
                yield report
    except NotRunning:
        pass
    else:
        return
    log_setup.setup("ERROR", settings.logging.format, stream=sys.stderr)
    try:
        async with aclosing(fetch_once(settings, request)) as reports:
            async for report in reports:
                yield report
    finally:
        log_setup.stop_logging()


@contextmanager
def _bar() -> Iterator[Callable[[TaskReport, int], None]]:
    """A bar for a terminal; what failed or waits is listed above it."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(err=True)) as progress:
        bar = progress.add_task("fetching", total=None)

        def show(report: TaskReport, ended: int) -> None:
            progress.update(bar, total=report.of, completed=ended, description=safe(report.symbol).plain)
            if report.state is TaskState.FAILED or (not report.state.ended and report.message):
                progress.console.print(safe(in_words(report)), soft_wrap=True)

        yield show


@contextmanager
def _lines(*, err: bool) -> Iterator[Callable[[TaskReport, int], None]]:
    """A line for each task that ended or waits."""

    def show(report: TaskReport, ended: int) -> None:
        if report.state.ended or report.message:
            line(f"[{ended}/{report.of}] {in_words(report)}", err=err)

    yield show


def in_words(report: TaskReport) -> str:
    """``AAPL from feeds: updated (120 ms)``."""
    took = f" ({report.duration_ms:,} ms)" if report.duration_ms is not None else ""
    why = ": ".join(text for text in (report.reason, report.message) if text)
    match report.state:
        case TaskState.COMPLETED:
            said = ("nothing new" if report.unchanged else "updated") + took
        case TaskState.SKIPPED | TaskState.FAILED:
            said = f"{report.state}, {why}"
        case _:
            said = report.message or report.state
    return f"{report.symbol} {report.domain} from {report.source}: {said}"


def summary_of(latest: Sequence[TaskReport]) -> dict[str, int]:
    """How many tasks ended in which way."""
    completed = [report for report in latest if report.state is TaskState.COMPLETED]
    unchanged = sum(report.unchanged for report in completed)
    return {
        "updated": len(completed) - unchanged,
        "unchanged": unchanged,
        "skipped": sum(report.state is TaskState.SKIPPED for report in latest),
        "failed": sum(report.state is TaskState.FAILED for report in latest),
    }


def _how_to_go_on(given_up: Sequence[TaskReport]) -> str:
    """Of what a gate held for longer than was to be waited."""
    said = f"{several(len(given_up), 'task')} given up, for nobody may be asked before the time given"
    said += "; --wait 10m waits longer"
    failing = {source_providers()[r.domain][r.source] for r in given_up if r.reason is Reason.PROVIDER_DOWN}
    if failing:
        how = " or ".join(f"scheduler-service release --provider {name}" for name in sorted(failing))
        said += f"; what keeps failing is tried at once after {how}"
    return said


def _is_well(report: TaskReport) -> bool:
    return report.state is TaskState.COMPLETED or report.reason in NOTHING_TO_DO


def _documents(settings: Settings, latest: Sequence[TaskReport]) -> list[Path]:
    """Where the documents of what did not fail are; of what was skipped there may be none yet."""
    folder = DataDirectory(settings.service.data_dir.absolute()).documents
    there = {(r.domain, r.symbol) for r in latest if r.state is TaskState.COMPLETED or r.reason in THERE_ALREADY}
    known = dict.fromkeys((r.domain, r.symbol) for r in latest if r.state in (TaskState.COMPLETED, TaskState.SKIPPED))
    files = {key: folder / key[0] / file_name(key[1]) for key in known}
    return [path for key, path in files.items() if key in there or path.exists()]
