"""``scheduler-service``, also ``python -m scheduler_service``."""

from __future__ import annotations

import io
import sys

from scheduler_service.cli.commands import cli


def main() -> None:
    """Runs the command that the arguments name, and exits."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no reason to fail
    cli(prog_name="scheduler-service")


if __name__ == "__main__":
    main()
