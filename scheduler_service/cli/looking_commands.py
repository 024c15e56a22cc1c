"""The commands that look: their arguments and their help. What they need is imported when they run."""
# ruff: noqa: PLC0415 - as in commands.py

from __future__ import annotations

from pathlib import Path

import click

from scheduler_service.cli.arguments import STATUSES, TIMES, as_json


def register_looks(cli: click.Group) -> None:
    """Adds them to the program's commands."""
    for command in (show, status, history, freshness, why, budget, doctor, schema):
        cli.add_command(command)


@click.command()
@click.argument("symbol")
@click.argument("domain", required=False)
@as_json
@click.pass_obj
def show(paths: tuple[Path, ...], symbol: str, domain: str | None, as_json: bool) -> int:
    """Show what is known of a stock."""
    from scheduler_service.cli.show import show as show_documents

    return show_documents(paths, symbol, domain, as_json=as_json)


@click.command()
@click.option("--ready", "only_ready", is_flag=True, help="Only whether it is ready; degraded is ready too.")
@as_json
@click.pass_obj
def status(paths: tuple[Path, ...], only_ready: bool, as_json: bool) -> int:
    """Show how the running service is.

    Exit code 1 when it is degraded (with --ready: when it is not ready), 3 when none runs.
    """
    from scheduler_service.cli.status import status as show_status

    return show_status(paths, only_ready=only_ready, as_json=as_json)


@click.command()
@click.option("--job", metavar="ID", help="Only of this schedule.")
@click.option("--symbol", help="Only tasks of this symbol.")
@click.option("--status", type=click.Choice(STATUSES), help="Only tasks in this state, and slots with this outcome.")
@click.option("--last", metavar="DURATION", default="7d", show_default=True, help="How far back, such as 12h or 7d.")
@click.option("--strategy", is_flag=True, help="Instead: the strategy log, what was noticed and decided.")
@as_json
@click.pass_obj
def history(
    paths: tuple[Path, ...],
    job: str | None,
    symbol: str | None,
    status: str | None,
    last: str,
    strategy: bool,
    as_json: bool,
) -> int:
    """Show what happened: slots, runs and tasks, newest first."""
    from scheduler_service.cli.history import history as show_history
    from scheduler_service.cli.strategy import strategy as show_strategy

    if strategy and (job or status):
        raise click.UsageError("the strategy log knows no schedules and no states: give --strategy without them")
    if strategy:
        return show_strategy(paths, symbol=symbol, last=last, as_json=as_json)
    return show_history(paths, job=job, symbol=symbol, status=status, last=last, as_json=as_json)


@click.command()
@click.option("--breach", "only_breach", is_flag=True, help="Only what is overdue, failing or was never fetched.")
@as_json
@click.pass_obj
def freshness(paths: tuple[Path, ...], only_breach: bool, as_json: bool) -> int:
    """Show how old what is known of each stock is, by domain and source.

    What is stale until its next slot is in order. Exit code 1 with --breach when there is one. Works beside the
    running service and without one.
    """
    from scheduler_service.cli.freshness import freshness as show_freshness

    return show_freshness(paths, only_breach=only_breach, as_json=as_json)


@click.command()
@click.argument("name", metavar="JOB|DOMAIN")
@click.argument("symbol", required=False)
@click.option("--at", metavar="TIME", help="Of this time, past or future; now by default. " + TIMES)
@as_json
@click.pass_obj
def why(paths: tuple[Path, ...], name: str, symbol: str | None, at: str | None, as_json: bool) -> int:
    """Say why something was, is or will be fetched, or not, and which setting decided."""
    from scheduler_service.cli.why import why as explain_why

    return explain_why(paths, name, symbol, at=at, as_json=as_json)


@click.command()
@as_json
@click.pass_obj
def budget(paths: tuple[Path, ...], as_json: bool) -> int:
    """Show what was spent at each provider, what is left, and how long it lasts.

    Works beside the running service and without one.
    """
    from scheduler_service.cli.budget import budget as show_budget

    return show_budget(paths, as_json=as_json)


@click.command()
@click.option("--alert", is_flag=True, help="Also send a test to each channel of alerts.urls, now.")
@as_json
@click.pass_obj
def doctor(paths: tuple[Path, ...], alert: bool, as_json: bool) -> int:
    """Look whether all is well, and say what is not, and what to do.

    No upstream is asked. Works beside the running service and without one. Exit code 1 when something is wrong.
    """
    from scheduler_service.cli.doctor import doctor as look_at_everything

    return look_at_everything(paths, alert=alert, as_json=as_json)


@click.command()
@click.argument("domain")
@as_json
def schema(domain: str, as_json: bool) -> int:
    """Print the JSON Schema of a domain's documents, with and without --json."""
    from scheduler_service.cli.schema import schema as print_schema

    del as_json
    return print_schema(domain)
