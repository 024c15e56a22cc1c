"""Alerts through the real apprise, by its own webhooks to this machine: it may fail, hang and chatter."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from scheduler_service.alerts import apprise_channel
from scheduler_service.alerts.apprise_channel import AppriseChannel, unusable
from scheduler_service.alerts.channel import Message, why
from scheduler_service.clock import from_iso
from scheduler_service.errors import TransientClientError
from scheduler_service.models import Reason
from tests.integration.webhook_support import Hook, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "hush-hush-token"
MESSAGE = Message(
    key="risk.breach:stop:A:1@2026-11-23T15:00:00Z",
    event="risk.breach",
    level="ERROR",
    text="A at 9 <b>is past</b> its *stop*",
    at=from_iso("2026-11-23T15:00:00Z"),
    symbol="A",
)


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    hook = Hook()
    async with serving(hook) as base:
        hook.address = base.removeprefix("http://")
        yield hook


def channel(hook: Hook, deadline: float = 30.0) -> AppriseChannel:
    return AppriseChannel(SecretStr(f"json://user:{SECRET}@{hook.address}/{SECRET}"), deadline=deadline)


async def test_it_is_delivered_with_its_key_in_the_text_and_nothing_of_it_is_markup(hook: Hook) -> None:
    await channel(hook).send(MESSAGE)
    [(_, body)] = hook.taken
    assert body["title"] == "ERROR risk.breach A"
    assert body["message"] == f"{MESSAGE.text}\n\n[{MESSAGE.key}]"
    assert body["type"] == "failure"


async def test_what_it_cannot_send_may_be_sent_later_and_its_address_and_log_are_told_nowhere(
    hook: Hook, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    hook.always = 503
    with caplog.at_level(logging.DEBUG), pytest.raises(TransientClientError) as failed:
        await channel(hook).send(MESSAGE)
    assert why(failed.value) == "it answered 503"
    written = caplog.text + "".join(capfd.readouterr()) + str(failed.value)
    assert SECRET not in written
    assert "apprise" not in caplog.text


async def test_one_that_hangs_is_ended_at_its_deadline(hook: Hook) -> None:
    hook.hangs = asyncio.Event()
    with pytest.raises(TransientClientError) as failed:
        await channel(hook, deadline=0.5).send(MESSAGE)
    assert failed.value.reason is Reason.TIMEOUT
    hook.hangs.set()


def test_what_apprise_does_not_understand_is_said_without_it() -> None:
    found = unusable([f"json://127.0.0.1/{SECRET}", f"nosuch://{SECRET}", f"tgram://{SECRET}"])
    assert {number: wrong for number, (wrong, _) in found.items()} == {
        1: "apprise does not understand this nosuch:// address",
        2: "apprise does not understand this tgram:// address",
    }


def test_where_it_is_not_installed_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apprise_channel, "find_spec", lambda name: None)
    [(wrong, right)] = unusable(["mailto://a:b@example.com"]).values()
    assert wrong == "mailto:// is no webhook, and apprise, which may know it, is not installed"
    assert "-m pip install 'apprise" in right


def test_without_such_addresses_no_process_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apprise_channel, "_carry_out", None)
    assert unusable([]) == {}
