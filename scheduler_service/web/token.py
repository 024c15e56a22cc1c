"""The token of the TCP port: read from its file, and made there where the service owns the folder."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from loguru import logger

from scheduler_service.errors import SchedulerServiceError
from scheduler_service.redaction import register_secret
from scheduler_service.stores.atomic_files import write_files

if TYPE_CHECKING:
    from pathlib import Path

SHORTEST = 16
"""Characters."""
BYTES = 32
"""Of randomness in a token that the service makes; written as hexadecimal."""


async def token_of(path: Path, data_dir: Path) -> str:
    """The token, never shown from now on. The caller holds ``data_dir``.

    A missing file directly in the data directory is made, mode 0600: what lies there is the service's own. Anywhere
    else it is a path somebody mistyped. Raises ``SchedulerServiceError``.
    """
    if await asyncio.to_thread(_is_missing_in, data_dir, path):
        await _make(path)
    token = await asyncio.to_thread(_read, path)
    register_secret(token)
    return token


def _is_missing_in(folder: Path, path: Path) -> bool:
    return not path.exists() and path.parent.resolve() == folder.resolve()


def _read(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SchedulerServiceError(f"http.token_file {path} cannot be read: {error}") from error
    if len(token) < SHORTEST:
        raise SchedulerServiceError(
            f"http.token_file {path} holds {len(token)} characters; a token needs {SHORTEST} "
            "or more, such as `openssl rand -hex 32` writes"
        )
    return token


async def _make(path: Path) -> None:
    token = secrets.token_hex(BYTES)
    register_secret(token)
    (error,) = await write_files([(path, f"{token}\n".encode())])
    if error is not None:
        raise SchedulerServiceError(f"http.token_file {path} cannot be made: {error.strerror}") from error
    logger.bind(event="service.token_made").info("a token for the HTTP port was made; it is in {}", path)
