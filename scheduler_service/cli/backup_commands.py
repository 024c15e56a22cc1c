"""``backup`` and ``restore``: their arguments and their help. What they need is imported when they run."""
# ruff: noqa: PLC0415 - as in commands.py

from __future__ import annotations

from pathlib import Path

import click

from scheduler_service.cli.arguments import as_json

_FILE = click.Path(path_type=Path, dir_okay=False)


def register_backups(cli: click.Group) -> None:
    """Adds both to the program's commands."""
    cli.add_command(backup)
    cli.add_command(restore)


@click.command()
@click.option(
    "--directory",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to, instead of backup.directory; older backups there are left alone.",
)
@click.option(
    "--verify", metavar="FILE", type=_FILE, help="Make none: read this one through, and say whether it is good."
)
@as_json
@click.pass_obj
def backup(paths: tuple[Path, ...], directory: Path | None, verify: Path | None, as_json: bool) -> int:
    """Back up ledger, documents, logs and configuration into one file that was read back.

    Works while the service runs, and without it. No key or other secret of the configuration is in it.
    """
    from scheduler_service.cli.backup import make_backup, verify_backup

    if verify is not None and directory is not None:
        raise click.UsageError("--verify makes no backup: give it without --directory")
    if verify is not None:
        return verify_backup(verify, as_json=as_json)
    return make_backup(paths, directory, as_json=as_json)


@click.command()
@click.argument("file", type=_FILE)
@click.option("--dry-run", is_flag=True, help="Read it through, and say what would be restored.")
@as_json
@click.pass_obj
def restore(paths: tuple[Path, ...], file: Path, dry_run: bool, as_json: bool) -> int:
    """Put a backup in the place of the data directory; the old one is kept beside it.

    The service must be stopped: exit code 4 while it runs.
    """
    from scheduler_service.cli.backup import restore_backup

    return restore_backup(paths, file, dry_run=dry_run, as_json=as_json)
