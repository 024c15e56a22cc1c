from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from scheduler_service.events.event_bus import EventBus
from scheduler_service.events.event_handler import connect, write_to_log
from scheduler_service.log_setup import setup, stop_logging
from scheduler_service.models import Event, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    setup("INFO", "json", stream=stream)
    yield stream
    stop_logging()


def names(heard: list[Event]) -> list[str]:
    return [event.name for event in heard]


def test_a_listener_hears_what_it_asked_for_once() -> None:
    bus, everything, tasks, two = EventBus(), list[Event](), list[Event](), list[Event]()
    bus.subscribe("*", everything.append)
    bus.subscribe(["task.*", "task.failed"], tasks.append)
    bus.subscribe(["task.failed", "slot.closed"], two.append)
    for name in ("task.started", "task.failed", "slot.closed"):
        bus.publish(Event(name, "x"))
    assert names(everything) == ["task.started", "task.failed", "slot.closed"]
    assert names(tasks) == ["task.started", "task.failed"]
    assert names(two) == ["task.failed", "slot.closed"]


def test_whoever_unsubscribed_hears_no_more_even_in_the_midst_of_an_event() -> None:
    bus, heard = EventBus(), list[Event]()

    def once(event: Event) -> None:
        heard.append(event)
        unsubscribe()
        unsubscribe()

    unsubscribe = bus.subscribe("*", once)
    bus.subscribe("*", heard.append)
    bus.publish(Event("a", "x"))
    bus.publish(Event("b", "x"))
    assert names(heard) == ["a", "a", "b"]


def test_the_same_listener_may_subscribe_twice_and_leave_once() -> None:
    bus, heard = EventBus(), list[Event]()
    bus.subscribe("a", heard.append)
    unsubscribe = bus.subscribe("a", heard.append)
    unsubscribe()
    bus.publish(Event("a", "x"))
    assert names(heard) == ["a"]


def test_a_listener_that_fails_is_logged_and_the_others_still_hear(log: io.StringIO) -> None:
    bus, heard = EventBus(), list[Event]()

    def broken(event: Event) -> None:
        raise ValueError(event.message)

    bus.subscribe("*", broken)
    bus.subscribe("*", heard.append)
    bus.publish(Event("task.failed", "no {answer}"))
    stop_logging()
    line = json.loads(log.getvalue())
    assert names(heard) == ["task.failed"]
    assert (line["event"], line["about"], line["level"]) == ("listener.failed", "task.failed", "ERROR")
    assert line["error"].startswith("ValueError: no {answer}")


def test_an_event_becomes_a_log_line_with_its_fields_and_braces_as_they_are(log: io.StringIO) -> None:
    bus = EventBus()
    disconnect = connect(bus, log=write_to_log, works_again=lambda event: None)
    fields = {"symbol": "AAPL", "reason": Reason.TIMEOUT, "event": "forged", "attempt": 2}
    bus.publish(Event("task.failed", "AAPL: {timeout} {0}", fields, level="WARNING"))
    bus.publish(Event("task.started", "one of many", level="DEBUG"))
    disconnect()
    bus.publish(Event("task.failed", "unheard"))
    stop_logging()
    [line] = [json.loads(text) for text in log.getvalue().splitlines()]
    del line["time"]
    assert line == {
        "level": "WARNING",
        "event": "task.failed",
        "message": "AAPL: {timeout} {0}",
        "symbol": "AAPL",
        "reason": "timeout",
        "attempt": 2,
    }


def test_an_unknown_level_does_not_reach_the_publisher(log: io.StringIO) -> None:
    bus = EventBus()
    connect(bus, log=write_to_log, works_again=lambda event: None)
    bus.publish(Event("task.failed", "x", level="LOUD"))
    stop_logging()
    assert json.loads(log.getvalue())["event"] == "listener.failed"
