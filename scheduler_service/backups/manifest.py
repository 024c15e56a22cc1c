"""What an archive says of itself, and which names and sizes are believed. Pure."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from scheduler_service.errors import SchedulerServiceError
from scheduler_service.models import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 1
NAME = "manifest.json"
LEDGER = "data/ledger.sqlite"
MOST_MEMBERS = 200_000
MOST_NAME_CHARACTERS = 50_000_000
MOST_PARTS = 8
LONGEST_NAME = 1_024
LONGEST_PART = 255
MOST_LEFT_OUT = 1_000
LONGEST_SENTENCE = 300

_BYTES_PER_MEMBER = 200
_BYTES_OF_THE_REST = 2_000_000

_PLACES = ("configuration", "logs")
_IN_DATA = ("documents", "raw", "strategy_log", "calendars")
"""Nothing else is put into a data directory: no lock, no socket, and no stored job, which would be code."""


class BackupRefused(SchedulerServiceError):
    """An archive is damaged, or not what it says, or not for here."""


class Member(Record):
    """A file of the archive; ``sha256`` in hexadecimal digits."""

    name: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(Record):
    """``created_at`` in ISO-8601 UTC; ``identity``: of the ledger, which it keeps when it is restored. ``left_out``:
    what could not be read, in sentences.
    """

    format: int = FORMAT
    program_version: str
    schema_version: int
    mode: Literal["sandbox", "live"]
    service: str
    identity: str
    created_at: str
    members: tuple[Member, ...]
    left_out: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all members."""
        return sum(member.size for member in self.members)


class Names:
    """The names of one archive so far: a name that could lead elsewhere, or meet another, is refused, and so are more
    than can be remembered.
    """

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: dict[str, str] = {}
        self._characters = 0

    def add(self, name: str) -> None:
        """Raises ``BackupRefused``, and remembers nothing of the name then."""
        check_name(name)
        *folders, path = accumulate(name.split("/"), "{}/{}".format)
        if path.lower() in self._files or path.lower() in self._folders:
            raise BackupRefused(f"{path!r} is there twice, or as a file and as a folder, on some disks")
        for folder in folders:
            if folder.lower() in self._files:
                raise BackupRefused(f"{folder!r} is there as a file and as a folder")
            if self._folders.get(folder.lower(), folder) != folder:
                raise BackupRefused(f"{folder!r} and {self._folders[folder.lower()]!r} are the same on some disks")
        new = {folder.lower(): folder for folder in folders if folder.lower() not in self._folders}
        self._characters += len(path) + sum(map(len, new))
        if len(self._files) >= MOST_MEMBERS or self._characters > MOST_NAME_CHARACTERS:
            raise BackupRefused("it has more names than a backup has")
        self._files.add(path.lower())
        self._folders |= new


def check_name(name: str) -> None:
    """Only plain files in the places an archive has. Raises ``BackupRefused``."""
    if name == NAME:
        return
    parts = name.split("/")
    plain = (
        len(name) <= LONGEST_NAME
        and name.isascii()  # so no two of them are the same to a disk, but for the case of their letters
        and name.isprintable()
        and "\\" not in name
        and ":" not in name
        and len(parts) <= MOST_PARTS
        and all(part not in ("", ".", "..") and len(part) <= LONGEST_PART for part in parts)
        and not any(part.endswith((" ", ".")) for part in parts)
    )
    if not plain:
        raise BackupRefused(f"{name[:200]!r} is no name of a file in a backup")
    known = name == LEDGER or (parts[0] in _PLACES and len(parts) == 2) or _in_data(parts)
    if not known:
        raise BackupRefused(f"{name[:200]!r} has no place in a backup")


def _in_data(parts: list[str]) -> bool:
    return parts[0] == "data" and len(parts) >= 3 and parts[1] in _IN_DATA


def longest_manifest(members: Sequence[Member]) -> int:
    """Bytes of a manifest of these members, at most."""
    return _BYTES_OF_THE_REST + sum(2 * len(member.name) + _BYTES_PER_MEMBER for member in members)


def parse_manifest(body: bytes) -> Manifest:
    """Raises ``BackupRefused``."""
    try:
        manifest = Manifest.model_validate_json(body)
    except ValidationError as error:
        if (newer := _format(body)) is not None and newer > FORMAT:
            raise BackupRefused(
                f"it was made by a newer version (format {newer}; this one knows {FORMAT}); install that version"
            ) from error
        raise BackupRefused("its manifest cannot be read") from error
    if manifest.format != FORMAT:
        raise BackupRefused(
            f"it was made by version {manifest.program_version} (format {manifest.format}; this one knows {FORMAT}); "
            "install that version"
        )
    return manifest


def _format(body: bytes) -> int | None:
    class Head(Record, extra="ignore"):
        format: int

    try:
        return Head.model_validate_json(body).format
    except ValidationError:
        return None


def check_fits(manifest: Manifest, *, mode: str, schema_version: int) -> None:
    """Whether this program and this configuration can go on with it. Raises ``BackupRefused``."""
    if manifest.schema_version > schema_version:
        raise BackupRefused(
            f"it was made by a newer version ({manifest.program_version}, schema {manifest.schema_version}; this one "
            f"knows {schema_version}); install that version"
        )
    if manifest.mode != mode:
        raise BackupRefused(
            f"it holds {manifest.mode} data, and this configuration is {mode}; name the configuration it is for with -c"
        )
