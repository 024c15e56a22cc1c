"""The commands that operate the running service. What they need is imported when they run."""
# ruff: noqa: PLC0415 - as in commands.py

from __future__ import annotations

from pathlib import Path

import click

from scheduler_service.cli.arguments import WholeNumber, as_json


def register_operations(cli: click.Group) -> None:
    """Adds them to the program's commands."""
    for command in (run_now, pause, resume, retry, cancel, release, reload, prune):
        cli.add_command(command)


FORCE = "Also what is fresh, backing off or quarantined. Never past rate, budget or a closed gate."
WAIT = "Give up what a provider that is shut holds for longer, such as 10m; 0s: do not wait."


@click.command("run-now")
@click.argument("job")
@click.argument("symbols", nargs=-1, metavar="[SYMBOL]...")
@click.option("--force", is_flag=True, help=FORCE)
@click.option("--wait", metavar="DURATION", default="1m", show_default=True, help=WAIT)
@as_json
@click.pass_obj
def run_now(paths: tuple[Path, ...], job: str, symbols: tuple[str, ...], force: bool, wait: str, as_json: bool) -> int:
    """Have the running service fetch now what a schedule covers, or some of it.

    Exit code 1 when a task failed, 3 when no service runs.
    """
    from scheduler_service.cli.fetch import run_now as run_schedule_now

    return run_schedule_now(paths, job, symbols, force=force, wait=wait, as_json=as_json)


@click.command()
@click.argument("task", type=WholeNumber(1, 2**63 - 1))
@click.option("--wait", metavar="DURATION", default="1m", show_default=True, help=WAIT)
@as_json
@click.pass_obj
def retry(paths: tuple[Path, ...], task: int, wait: str, as_json: bool) -> int:
    """Have the running service try a task again that failed or was skipped; its number is in history.

    Exit code 1 when it failed again, 3 when no service runs.
    """
    from scheduler_service.cli.fetch import retry as retry_task

    return retry_task(paths, task, wait=wait, as_json=as_json)


@click.command()
@click.argument("task", type=WholeNumber(1, 2**63 - 1))
@as_json
@click.pass_obj
def cancel(paths: tuple[Path, ...], task: int, as_json: bool) -> int:
    """Have the running service give up a task that waits or runs; its number is in history.

    Exit code 1 when it had ended already, 3 when no service runs.
    """
    from scheduler_service.cli.cancel import cancel as cancel_task

    return cancel_task(paths, task, as_json=as_json)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@as_json
@click.pass_obj
def prune(paths: tuple[Path, ...], dry_run: bool, as_json: bool) -> int:
    """Remove now what is older than the configuration keeps it: history, and answers as they came.

    The running service does so by itself, once a day. Works without it too.
    """
    from scheduler_service.cli.prune import prune as prune_directory

    return prune_directory(paths, dry_run=dry_run, as_json=as_json)


@click.command()
@click.argument("job", required=False)
@click.option("--all", "everything", is_flag=True, help="All schedules.")
@click.option("--for", "span", metavar="DURATION", help="So long, such as 2h or 7d; else until someone resumes.")
@click.option("--reason", metavar="TEXT", help="Why, for whoever asks.")
@as_json
@click.pass_obj
def pause(
    paths: tuple[Path, ...], job: str | None, everything: bool, span: str | None, reason: str | None, as_json: bool
) -> int:
    """Have the running service pause a schedule, or all.

    Slots are skipped and waiting tasks held; running tasks finish, and a person's fetch is not held. Exit code 3 when
    none runs.
    """
    from scheduler_service.cli.pause import pause as pause_schedule

    return pause_schedule(paths, job, everything=everything, span=span, reason=reason, as_json=as_json)


@click.command()
@click.argument("job", required=False)
@click.option("--all", "everything", is_flag=True, help="End every pause.")
@as_json
@click.pass_obj
def resume(paths: tuple[Path, ...], job: str | None, everything: bool, as_json: bool) -> int:
    """Have the running service end a pause.

    Exit code 3 when none runs.
    """
    from scheduler_service.cli.pause import resume as resume_schedule

    return resume_schedule(paths, job, everything=everything, as_json=as_json)


@click.command()
@click.argument("symbol", required=False)
@click.argument("domain", required=False)
@click.option("--provider", metavar="NAME", help="Instead: have a provider that keeps failing tried at once.")
@click.option("--reject", is_flag=True, help="Drop what was set aside as doubtful; the document stays as it is.")
@as_json
@click.pass_obj
def release(
    paths: tuple[Path, ...], symbol: str | None, domain: str | None, provider: str | None, reject: bool, as_json: bool
) -> int:
    """Have the running service ask again for a stock that it leaves alone, or believe what it set aside.

    What failed before counts no more: its sources are asked at their next slot, quarantined or not. An answer that was
    set aside as doubtful is accepted where its DOMAIN is named. With --provider one request finds out whether it works
    again; Retry-After, rate and budget hold as before. Exit code 3 when none runs.
    """
    from scheduler_service.cli.release import release as release_stock
    from scheduler_service.cli.release import try_provider

    if (provider is None) == (symbol is None) or (provider is not None and reject):
        raise click.UsageError("give a SYMBOL, or --provider NAME alone")
    if symbol is None:
        return try_provider(paths, str(provider), as_json=as_json)
    return release_stock(paths, symbol, domain, as_json=as_json, reject=reject)


@click.command()
@as_json
@click.pass_obj
def reload(paths: tuple[Path, ...], as_json: bool) -> int:
    """Have the running service read its configuration anew.

    Exit code 2 when it is not valid: the service goes on with the one it has. 3 when none runs.
    """
    from scheduler_service.cli.reload import reload as reload_service

    return reload_service(paths, as_json=as_json)
