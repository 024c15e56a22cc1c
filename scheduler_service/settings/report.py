"""What the checks find: problems that stop the program, and warnings that do not, each with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.errors import Problem
from scheduler_service.settings.loaded import nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from scheduler_service.settings.tree import Where


class Report:
    """Collects problems and warnings; ``file`` is the place of what is written nowhere.

    Nothing is said again of ``faulty`` paths. ``at`` is a place that is no setting of a file, such as a variable.
    """

    def __init__(self, origins: Mapping[str, Where], faulty: Collection[str], file: str) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self._origins = origins
        self._faulty = faulty
        self._file = file

    def written(self, path: str) -> bool:
        return path in self._origins

    def is_faulty(self, path: str) -> bool:
        return any(path == bad or path.startswith((f"{bad}.", f"{bad}[")) for bad in self._faulty)

    def wrong(self, path: str, wrong: str, right: str = "", *, at: str = "") -> None:
        if not self.is_faulty(path):
            self.problems.append(Problem(at or self._where(path), path, wrong, right))

    def warn(self, path: str, text: str, *, at: str = "") -> None:
        if not self.is_faulty(path):
            self.warnings.append(str(Problem(at or self._where(path), path, text)))

    def origin(self, path: str) -> Where | None:
        """Where a setting is written, or what encloses it."""
        return nearest(self._origins, path)

    def _where(self, path: str) -> str:
        return str(self.origin(path) or self._file)
