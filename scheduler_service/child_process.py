"""A Python script in a process of its own: for what blocks, chatters, or loads more than the service should hold.

It is given no secret of the environment, and ended at its deadline or when whoever waits for it is cancelled.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHOME", "SYSTEMROOT", "TMPDIR", "TZDIR")


@dataclass(frozen=True, slots=True)
class Ended:
    """``complained``: what it wrote to standard error, where somebody listened."""

    exit_code: int
    printed: bytes
    complained: bytes


async def run_script(
    script: Path,
    arguments: Sequence[str] = (),
    *,
    deadline: float,
    told: bytes | None = None,
    passed_on: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    hears_complaints: bool = True,
) -> Ended:
    """``told``: its standard input. ``passed_on``: variables of our own environment that it needs beside the usual
    ones; ``variables``: others. ``deadline``: seconds.

    Raises ``TimeoutError``, and ``OSError`` where it did not start.
    """
    environment = {name: os.environ[name] for name in (*_PASSED_ON, *passed_on) if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # its folder holds modules of the project, with names of others
        str(script),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL if told is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE if hears_complaints else asyncio.subprocess.DEVNULL,
        env=environment | dict(variables or {}),
    )
    try:
        async with asyncio.timeout(deadline):
            printed, complained = await process.communicate(told)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(process.returncode or 0, printed, complained or b"")
