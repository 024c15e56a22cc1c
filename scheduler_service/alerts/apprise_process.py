"""The process that knows apprise: it looks at addresses, or sends one message. Nobody imports it.

An order comes as JSON on standard input, because a command line is for everyone to read:
``{"urls": [...], "message": null}``, or one address and a message of ``title``, ``body`` and ``kind``. The answer goes
as JSON to standard output: ``{"wrong": [0]}``, or ``{"arrived": false, "status": 503}``. What apprise and its libraries
print or log reaches nobody, for it may hold an address: whoever starts this reads no standard error.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
from typing import Any

LONGEST = 60
"""Seconds after which it ends by itself: whoever started it may be gone."""
_STATUS = re.compile(r"error=(\d{3})\b")


class _Statuses(logging.Handler):
    """The statuses that apprise says it was answered with: the one thing of its log that is told."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen += map(int, _STATUS.findall(record.getMessage()))


def _answer(order: dict[str, Any]) -> dict[str, Any]:
    import apprise  # noqa: PLC0415 - only once nobody hears what is printed

    statuses = _Statuses()
    logging.getLogger("apprise").addHandler(statuses)
    asset = apprise.AppriseAsset(
        app_id="scheduler-service", async_mode=False, secure_logging=True, storage_mode="memory", http_redirects=False
    )
    message = order["message"]
    if message is None:
        found = [apprise.Apprise.instantiate(url, asset=asset) for url in order["urls"]]
        return {"wrong": [number for number, channel in enumerate(found) if channel is None]}
    channel = apprise.Apprise(asset=asset)
    arrived = channel.add(order["urls"]) and channel.notify(
        title=message["title"], body=message["body"], notify_type=message["kind"], body_format="text"
    )
    return {"arrived": bool(arrived), "status": None if arrived or not statuses.seen else statuses.seen[-1]}


def main() -> None:
    signal.alarm(LONGEST)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    answer = _answer(json.load(sys.stdin))
    with answers:
        json.dump(answer, answers)


if __name__ == "__main__":
    main()
