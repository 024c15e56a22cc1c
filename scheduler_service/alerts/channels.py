"""From what is configured to channels."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scheduler_service.alerts.apprise_channel import AppriseChannel
from scheduler_service.alerts.channel import WEBHOOK_SCHEMES, channel_id
from scheduler_service.alerts.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scheduler_service.alerts.channel import Channel
    from scheduler_service.calls import Limits, Request, Response
    from scheduler_service.clock import Clock
    from scheduler_service.settings.watching import Alerts


def channels_of(
    alerts: Alerts, send: Callable[[Request, Limits], Awaitable[Response]], clock: Clock
) -> dict[str, Channel]:
    """By id. ``send``: one request, by the rules of the house."""
    return {
        channel_id(url.get_secret_value()): (
            Webhook(url, send, clock) if is_webhook(url.get_secret_value()) else AppriseChannel(url)
        )
        for url in alerts.urls
    }


def is_webhook(url: str) -> bool:
    return urlsplit(url).scheme in WEBHOOK_SCHEMES
