"""``scheduler-service``, also ``python -m scheduler_service``."""

from __future__ import annotations

import io
import os
import sys

INTERRUPTED = 130


def main() -> None:
    """Runs the command that the arguments name, and exits."""
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no reason to fail
    try:
        from scheduler_service.cli.commands import cli  # noqa: PLC0415 - Ctrl-C may come while this is read

        cli(prog_name="scheduler-service")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _nowhere() -> io.TextIOWrapper:
    """In the place of a stream that whoever started this has closed."""
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - it stays open for as long as this runs


if __name__ == "__main__":
    main()
