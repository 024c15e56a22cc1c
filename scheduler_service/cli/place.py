"""Which configuration a command goes by, and where the data lie. Imports little: ``status`` needs no more than this."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler_service.cli.terminal import line
from scheduler_service.errors import ConfigurationError, Problem
from scheduler_service.settings.load import find_config, find_data_dir
from scheduler_service.settings.yaml_file import NOT_THERE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_service.settings.load import Found


def find(given: Sequence[Path]) -> Found:
    """The configuration files to use."""
    return find_config(given, os.environ, Path.cwd())


def data_dir_of(given: Sequence[Path]) -> Path:
    """Where the running service's data lies, also while the configuration is being edited: it need not be valid.

    Says on standard error which configuration that is, where no one named it, and what in it cannot be read.
    Raises ``ConfigurationError`` for a file that is not there: whatever lies beside it was not meant.
    """
    found = find(given)
    absent = [Problem(str(path), "", *NOT_THERE) for path in found.paths if not path.exists()]
    if absent:
        raise ConfigurationError(absent)
    if not given:
        line(found.sentence, err=True)
    data_dir, problems = find_data_dir(found.paths, os.environ)
    for problem in problems:
        line(str(problem), err=True)
    return data_dir
