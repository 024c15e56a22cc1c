"""The entry: closed streams, and Ctrl-C while the program is still being read."""

from __future__ import annotations

import subprocess
import sys

import pytest

PRESSED = """
import sys
class Pressed:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Pressed())
sys.argv[1:] = ["show", "AAPL"]
from scheduler_service.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["scheduler_service.cli.commands", "click", "scheduler_service.cli.show"])
def test_ctrl_c_while_the_program_is_read_ends_it_without_a_traceback(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRESSED.format(module=module)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_reason_for_a_traceback(closed: str) -> None:
    command = f'exec "{sys.executable}" -m scheduler_service version {closed}'
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
