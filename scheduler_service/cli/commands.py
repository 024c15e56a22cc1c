"""The commands, their arguments and their help.

What a command needs is imported when it runs, so that ``--help`` and shell completion answer at once.
"""
# ruff: noqa: PLC0415 - the imports within functions are what the text above promises

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any

import click

from scheduler_service import __version__
from scheduler_service.cli.backup_commands import register_backups
from scheduler_service.errors import AlreadyRunning, ConfigurationError, NotRunning, SchedulerServiceError
from scheduler_service.redaction import escape, redact

EXIT_CODES = ((ConfigurationError, 2), (NotRunning, 3), (AlreadyRunning, 4))
"""Every other error is 1."""
INTERRUPTED = 130

STATUSES = ("queued", "running", "completed", "skipped", "failed", "ran", "caught_up", "coalesced", "missed")
"""States of tasks and outcomes of slots."""
TIMES = "Such as 2027-01-04T09:00:00Z; by the clocks of service.timezone 2027-01-04T09:00, 2027-01-04 or 09:00; now."


class Commands(click.Group):
    """A group whose commands return their exit code and may raise the errors of the house."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()  # whoever reads may have gone; click knows what to do about that
        except SchedulerServiceError as error:
            complain(str(error))
            code = next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)
        except KeyboardInterrupt:
            code = INTERRUPTED
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
            code = 1
        ctx.exit(code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def complain(sentence: str) -> None:
    """What went wrong, on standard error, without secrets and control characters."""
    click.echo(escape(redact(sentence), keep="\n"), err=True)


as_json = click.option("--json", "as_json", is_flag=True, help="One JSON value on standard output.")


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 degraded or failed, 2 usage or configuration, 3 not running, "
    "4 another instance holds the data directory.",
)
@click.option(
    "-c",
    "--config",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Configuration file; repeatable, later ones override. Without it: $SCHEDULER_CONFIG, "
    "./config/scheduler.yaml, /etc/scheduler-service/scheduler.yaml, or the packaged sandbox.",
)
@click.version_option(__version__, prog_name="scheduler-service", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, paths: tuple[Path, ...]) -> None:
    """Keeps the news, earnings and fundamentals of a stock watchlist fresh, on schedule."""
    ctx.obj = paths


@cli.command()
@click.pass_obj
def run(paths: tuple[Path, ...]) -> int:
    """Run the service in the foreground; Ctrl-C or SIGTERM stops it."""
    from scheduler_service.cli.run import run as run_service

    return run_service(paths)


@cli.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--user-agent", metavar="TEXT", help='Who asks EDGAR, such as "Jane Doe jane.doe@example.com".')
@click.option("--symbols", metavar="LIST", help="The stocks to watch, separated by commas, such as AAPL,NVDA.")
def init(folder: Path, user_agent: str | None, symbols: str | None) -> int:
    """Write a live configuration to fill in: it goes into DIR, and nothing there is overwritten."""
    from scheduler_service.cli.init import init as write_configuration

    return write_configuration(folder, user_agent=user_agent, symbols=symbols)


@cli.command()
@as_json
@click.pass_obj
def check(paths: tuple[Path, ...], as_json: bool) -> int:
    """Check the configuration, and say what it will do."""
    from scheduler_service.cli.check import check as check_configuration

    return check_configuration(paths, as_json=as_json)


@cli.command("next")
@click.option("--job", metavar="ID", help="Only this schedule.")
@click.option("--days", type=click.IntRange(1, 3660), help="Slots of this many days; 7 where neither is given.")
@click.option("--count", type=click.IntRange(1, 1_000_000), help="Only the first so many.")
@click.option("--at", metavar="TIME", help="As seen from this time; now by default. " + TIMES)
@as_json
@click.pass_obj
def next_slots(
    paths: tuple[Path, ...], job: str | None, days: int | None, count: int | None, at: str | None, as_json: bool
) -> int:
    """List the slots to come."""
    from scheduler_service.cli.upcoming import upcoming

    return upcoming(paths, job=job, days=days, count=count, at=at, as_json=as_json)


@cli.command()
@click.argument("domain")
@click.argument("symbols", nargs=-1, required=True, metavar="SYMBOL...")
@click.option("--source", help="Only from this source.")
@click.option(
    "--force",
    is_flag=True,
    help="Also what is fresh, backing off or quarantined. Never past rate, budget or a closed gate.",
)
@click.option(
    "--wait",
    metavar="DURATION",
    default="1m",
    show_default=True,
    help="Give up what a provider that is shut holds for longer, such as 10m; 0s: do not wait.",
)
@click.option("--reparse", is_flag=True, help="Ask nobody: parse the kept answers anew, say after an update.")
@as_json
@click.pass_obj
def fetch(
    paths: tuple[Path, ...],
    domain: str,
    symbols: tuple[str, ...],
    source: str | None,
    force: bool,
    wait: str,
    reparse: bool,
    as_json: bool,
) -> int:
    """Fetch now, through the running service or without one."""
    from scheduler_service.cli.fetch import fetch as fetch_now

    return fetch_now(paths, domain, symbols, source=source, force=force, reparse=reparse, wait=wait, as_json=as_json)


@cli.command()
@click.argument("symbol")
@click.argument("domain", required=False)
@as_json
@click.pass_obj
def show(paths: tuple[Path, ...], symbol: str, domain: str | None, as_json: bool) -> int:
    """Show what is known of a stock."""
    from scheduler_service.cli.show import show as show_documents

    return show_documents(paths, symbol, domain, as_json=as_json)


@cli.command()
@click.option("--ready", "only_ready", is_flag=True, help="Only whether it is ready; degraded is ready too.")
@as_json
@click.pass_obj
def status(paths: tuple[Path, ...], only_ready: bool, as_json: bool) -> int:
    """Show how the running service is.

    Exit code 1 when it is degraded (with --ready: when it is not ready), 3 when none runs.
    """
    from scheduler_service.cli.status import status as show_status

    return show_status(paths, only_ready=only_ready, as_json=as_json)


@cli.command()
@click.option("--job", metavar="ID", help="Only of this schedule.")
@click.option("--symbol", help="Only tasks of this symbol.")
@click.option("--status", type=click.Choice(STATUSES), help="Only tasks in this state, and slots with this outcome.")
@click.option("--last", metavar="DURATION", default="7d", show_default=True, help="How far back, such as 12h or 7d.")
@as_json
@click.pass_obj
def history(
    paths: tuple[Path, ...], job: str | None, symbol: str | None, status: str | None, last: str, as_json: bool
) -> int:
    """Show what happened: slots, runs and tasks, newest first."""
    from scheduler_service.cli.history import history as show_history

    return show_history(paths, job=job, symbol=symbol, status=status, last=last, as_json=as_json)


@cli.command()
@click.argument("name", metavar="JOB|DOMAIN")
@click.argument("symbol", required=False)
@click.option("--at", metavar="TIME", help="Of this time, past or future; now by default. " + TIMES)
@as_json
@click.pass_obj
def why(paths: tuple[Path, ...], name: str, symbol: str | None, at: str | None, as_json: bool) -> int:
    """Say why something was, is or will be fetched, or not, and which setting decided."""
    from scheduler_service.cli.why import why as explain_why

    return explain_why(paths, name, symbol, at=at, as_json=as_json)


@cli.command()
@click.option("--days", type=click.IntRange(1, 366), default=7, show_default=True, help="How many days.")
@click.option("--from", "start", metavar="DATE", help="The first day, such as 2027-01-04; today by default.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="What chance is drawn from.")
@click.option(
    "--fault",
    "faults",
    metavar="SPEC",
    multiple=True,
    help="What goes wrong, repeatable: outage:PROVIDER:2h@day3, 429:PROVIDER:30m@day3T14:30, 500:..., slow:..., "
    "crash@day3, clock:+1h@day3.",
)
@as_json
@click.pass_obj
def simulate(
    paths: tuple[Path, ...], days: int, start: str | None, seed: int, faults: tuple[str, ...], as_json: bool
) -> int:
    """Run that many days on a virtual clock, against the sandbox: what will be done, and what it will cost."""
    from scheduler_service.cli.simulate import simulate_configuration

    return simulate_configuration(paths, days=days, start=start, seed=seed, faults=faults, as_json=as_json)


@cli.command()
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


@cli.command()
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


@cli.command()
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


@cli.command()
@as_json
@click.pass_obj
def budget(paths: tuple[Path, ...], as_json: bool) -> int:
    """Show what was spent at each provider, what is left, and how long it lasts.

    Works beside the running service and without one.
    """
    from scheduler_service.cli.budget import budget as show_budget

    return show_budget(paths, as_json=as_json)


@cli.command()
@as_json
@click.pass_obj
def reload(paths: tuple[Path, ...], as_json: bool) -> int:
    """Have the running service read its configuration anew.

    Exit code 2 when it is not valid: the service goes on with the one it has. 3 when none runs.
    """
    from scheduler_service.cli.reload import reload as reload_service

    return reload_service(paths, as_json=as_json)


@cli.command()
@click.argument("domain")
@as_json
def schema(domain: str, as_json: bool) -> int:
    """Print the JSON Schema of a domain's documents, with and without --json."""
    from scheduler_service.cli.schema import schema as print_schema

    del as_json
    return print_schema(domain)


register_backups(cli)


@cli.command()
@as_json
def version(as_json: bool) -> int:
    """Show the version of this program."""
    click.echo(json.dumps({"version": __version__}) if as_json else f"scheduler-service {__version__}")
    return 0
