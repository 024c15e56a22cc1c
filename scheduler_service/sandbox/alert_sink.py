"""Webhooks that take every alert, and a record of what came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler_service.sandbox.reply import Reply

if TYPE_CHECKING:
    from scheduler_service.clock import Instant

PROVIDER = "alerts"
FOLDER = "/alerts/"


@dataclass(frozen=True, slots=True)
class Told:
    """One alert that came. ``is_taken``: it was answered as it should be; else who sent it cannot know that it came."""

    at: Instant
    path: str
    key: str
    body: bytes
    is_taken: bool


def answer(method: str) -> Reply:
    """A POST is an alert; a GET asks only whether somebody is there."""
    return Reply(200) if method in ("GET", "POST") else Reply(405, {"allow": "GET, POST"})
