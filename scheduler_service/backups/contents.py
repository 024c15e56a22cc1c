"""What goes into a backup: files of the data directory, logs, and the configuration without its secrets."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, SecretStr

from scheduler_service.redaction import MARK, Secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from scheduler_service.settings.loaded import Settings

LARGEST_CONFIGURATION = 10_000_000
TREES = ("documents", "strategy_log", "calendars")
TEMPORARY = ".tmp"

_PLAIN = re.compile(r"[^A-Za-z0-9._-]")
_LIKE_SECRETS = (
    # also in comments, of which nobody knows whether they were ever good
    re.compile(
        r"(?i)\b((?:api_keys?|\w*password|\w*secret|\w*token|ping_url)[\"']?\s*:\s*)(\[[^\]]*\]|[^\s,}\]#][^,}\n]*)"
    ),
    re.compile(r"(?i)([a-z][a-z0-9+.-]*://)([^/\s@\"']+)(?=@)"),
    re.compile(r"(?i)([?&][\w-]*(?:key|token|secret|password|sig)[\w-]*=)([^&\s\"']+)"),
)


class Item(NamedTuple):
    """A file to be, by its name in the archive; ``body`` where it is not simply read from ``path``."""

    name: str
    path: Path
    body: bytes | None = None


def data_files(root: Path, current_answers: Iterable[int]) -> Iterator[Item]:
    """Documents, strategy log, calendars, and the large answers that are current."""
    for tree in TREES:
        for path in sorted(_files_below(root / tree)):
            yield Item(f"data/{path.relative_to(root).as_posix()}", path)
    for call_id in current_answers:
        yield Item(f"data/raw/{call_id}.zst", root / "raw" / f"{call_id}.zst")


def log_files(settings: Settings) -> Iterator[Item]:
    """The log and those it was rotated to."""
    if settings.logging.file is None:
        return
    log = settings.logging.file.path
    rotated = re.compile(rf"{re.escape(log.stem)}(\.\d{{8}}T\d{{12}}Z)?{re.escape(log.suffix)}")
    try:
        names = sorted(path.name for path in log.parent.iterdir() if rotated.fullmatch(path.name))
    except OSError:
        return
    for name in names:
        yield Item(f"logs/{_PLAIN.sub('_', name)}", log.parent / name)


def configuration_files(settings: Settings) -> Iterator[Item]:
    """Every file the configuration was read from, and the portfolio; without what is secret in them."""
    secrets = Secrets()
    for secret in secrets_in(vars_of(settings)):
        secrets.register(secret)
    read = dict.fromkeys([*map(str, settings.files), *(w.source for w in settings.origins.values() if w.line)])
    paths = list(map(Path, read))
    if settings.monitors.risk.portfolio is not None:
        paths.append(settings.monitors.risk.portfolio)
    for number, path in enumerate(dict.fromkeys(paths), 1):
        name = f"configuration/{number}-{_PLAIN.sub('_', path.name).strip('.') or 'file'}"
        try:
            if not path.is_file() or path.stat().st_size > LARGEST_CONFIGURATION:
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        yield Item(name, path, without_secrets(text, secrets).encode())


def without_secrets(text: str, secrets: Secrets) -> str:
    """What is known to be secret is taken out, and what only looks so."""
    text = secrets.redact(text)
    for pattern in _LIKE_SECRETS:
        text = pattern.sub(lambda match: match[1] + MARK, text)
    return text


def secrets_in(value: object) -> Iterator[str]:
    """Every secret in settings, however deep."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from secrets_in([inner for _, inner in value])
    elif isinstance(value, Mapping):
        yield from secrets_in(list(value.values()))
    elif isinstance(value, list | tuple | frozenset):
        for inner in value:
            yield from secrets_in(inner)


def vars_of(settings: Settings) -> Mapping[str, object]:
    """The settings' sections by name."""
    return {field.name: getattr(settings, field.name) for field in fields(settings)}


def open_plain(path: Path) -> tuple[IO[bytes], int]:
    """A plain file and its size now. Raises ``OSError`` also for what is none, and waits for none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a plain file")
    return os.fdopen(descriptor, "rb"), status.st_size


def _files_below(folder: Path) -> Iterator[Path]:
    for inner, _, names in os.walk(folder):
        for name in names:
            if not name.endswith(TEMPORARY):
                yield Path(inner) / name
