"""Mail, chat and phone, by apprise: in a process of its own for each message, which is ended when it hangs.

apprise blocks for as long as its libraries like, and logs addresses. There it holds up nobody, and nobody hears it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scheduler_service.child_process import run_script
from scheduler_service.errors import TransientClientError
from scheduler_service.models import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

    from scheduler_service.alerts.channel import Message

DEADLINE = 30.0
"""Seconds for one message, the start of the process included."""
NEEDED = "apprise>=1.9.5,<3"
"""As in the extra ``alerts``."""

_SCRIPT = Path(__file__).with_name("apprise_process.py")
_PASSED_ON = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)
_KINDS = {"INFO": "info", "WARNING": "warning"}


class AppriseChannel:
    """One address that apprise knows. It says whether a message arrived, and hardly why not: every failure may pass."""

    def __init__(self, url: SecretStr, *, deadline: float = DEADLINE) -> None:
        self._url = url
        self._deadline = deadline

    async def send(self, message: Message) -> None:
        about = message.event if message.symbol is None else f"{message.event} {message.symbol}"
        told = {
            "title": f"{message.level} {about}",
            "body": f"{message.text}\n\n[{message.key}]",
            "kind": _KINDS.get(message.level, "failure"),
        }
        order = {"urls": [self._url.get_secret_value()], "message": told}
        answer = await _carry_out(order, self._deadline)
        if not answer.get("arrived"):
            raise TransientClientError("apprise could not send it", Reason.PROVIDER_DOWN, status=answer.get("status"))


def unusable(urls: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Of addresses that are no webhooks: which apprise cannot use, with what is wrong and what would be right.

    It starts a process, and must not be called where a loop runs.
    """
    if not urls:
        return {}
    if find_spec("apprise") is None:
        right = (
            f"install it: {sys.executable} -m pip install '{NEEDED}'; "
            "for a service under systemd: make install-service EXTRAS=alerts"
        )
        return {
            number: (
                f"{urlsplit(url).scheme}:// is no webhook, and apprise, which may know it, is not installed",
                right,
            )
            for number, url in enumerate(urls)
        }
    try:
        answer = asyncio.run(_carry_out({"urls": list(urls), "message": None}, DEADLINE))
    except TransientClientError as error:
        return {0: (f"apprise could not be asked about it: {error}", f"install it anew: {NEEDED}")}
    right = "see how it is written at https://appriseit.com, or name a webhook, https://..."
    return {
        number: (f"apprise does not understand this {urlsplit(urls[number]).scheme}:// address", right)
        for number in answer.get("wrong", ())
    }


async def _carry_out(order: dict[str, Any], deadline: float) -> dict[str, Any]:
    """What the process answers. Raises ``TransientClientError``."""
    told = json.dumps(order).encode()
    try:
        # What it complains of may hold an address, and is not heard.
        ended = await run_script(_SCRIPT, told=told, deadline=deadline, passed_on=_PASSED_ON, hears_complaints=False)
    except TimeoutError:
        raise TransientClientError(f"apprise was ended after {deadline:g} s", Reason.TIMEOUT) from None
    except OSError as error:
        raise TransientClientError(f"the process did not start: {error.strerror}", Reason.INTERNAL_ERROR) from error
    try:
        answer = json.loads(ended.printed)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        said = f"the process ended without an answer (exit code {ended.exit_code})"
        raise TransientClientError(said, Reason.INTERNAL_ERROR)
    return answer
