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
from scheduler_service.cli.arguments import TIMES, WholeNumber, as_json
from scheduler_service.cli.backup_commands import register_backups
from scheduler_service.cli.looking_commands import register_looks
from scheduler_service.cli.operating_commands import FORCE, WAIT, register_operations
from scheduler_service.cli.reader_gone import to_nowhere
from scheduler_service.errors import AlreadyRunning, ConfigurationError, NotRunning, SchedulerServiceError
from scheduler_service.redaction import escape, redact

EXIT_CODES = ((ConfigurationError, 2), (NotRunning, 3), (AlreadyRunning, 4))
"""Every other error is 1."""
INTERRUPTED = 130


class Commands(click.Group):
    """A group whose commands return their exit code and may raise the errors of the house."""

    def invoke(self, ctx: click.Context) -> Any:
        code = 0
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except SchedulerServiceError as error:
            complain(str(error))
            code = next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)
        except KeyboardInterrupt:
            code = INTERRUPTED
        except OSError as error:
            if error.errno == errno.EPIPE:
                to_nowhere(sys.stdout)
            else:
                complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
                code = 1
        ctx.exit(code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def complain(sentence: str) -> None:
    """What went wrong, on standard error, without secrets and control characters."""
    click.echo(escape(redact(sentence), keep="\n"), err=True)


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
@click.option("--days", type=WholeNumber(1, 3660), help="Slots of this many days; 7 where neither is given.")
@click.option("--count", type=WholeNumber(1, 1_000_000), help="Only the first so many.")
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
@click.option("--force", is_flag=True, help=FORCE)
@click.option("--wait", metavar="DURATION", default="1m", show_default=True, help=WAIT)
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


register_looks(cli)


@cli.command()
@click.option("--days", type=WholeNumber(1, 366), default=7, show_default=True, help="How many days.")
@click.option("--from", "start", metavar="DATE", help="The first day, such as 2027-01-04; today by default.")
@click.option("--seed", type=WholeNumber(0, 2**31), default=0, show_default=True, help="What chance is drawn from.")
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


register_operations(cli)
register_backups(cli)


@cli.command()
@as_json
def version(as_json: bool) -> int:
    """Show the version of this program."""
    click.echo(json.dumps({"version": __version__}) if as_json else f"scheduler-service {__version__}")
    return 0
