"""A webhook: each alert is posted there as JSON, with its key in a header."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from scheduler_service.calls import Limits, Request
from scheduler_service.clients.base import check_status
from scheduler_service.clock import to_iso

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import SecretStr

    from scheduler_service.alerts.channel import Message
    from scheduler_service.calls import Response
    from scheduler_service.clock import Clock

TIMEOUT = 10.0
MOST_OF_AN_ANSWER = 100_000


class Webhook:
    """``send``: one request, by the rules of the house."""

    def __init__(self, url: SecretStr, send: Callable[[Request, Limits], Awaitable[Response]], clock: Clock) -> None:
        self._url = url
        self._send = send
        self._clock = clock

    async def send(self, message: Message) -> None:
        answer = await self._send(self._request(message), Limits(MOST_OF_AN_ANSWER, TIMEOUT))
        check_status(answer, self._clock.now())

    def _request(self, message: Message) -> Request:
        body = {
            "key": message.key,
            "event": message.event,
            "level": message.level,
            "symbol": message.symbol,
            "message": message.text,
            "at": to_iso(message.at),
            "sandbox": message.sandbox,
            "facts": message.facts,
        }
        # header values are ASCII; keys are, but for a symbol that nobody can have
        key = message.key.encode("ascii", "replace").decode()
        headers = (("Content-Type", "application/json"), ("Idempotency-Key", key))
        return Request(self._url.get_secret_value(), "POST", headers, orjson.dumps(body))
