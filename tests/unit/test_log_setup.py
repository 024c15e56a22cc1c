from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest
from loguru import logger

from scheduler_service import log_setup, log_writer
from scheduler_service.clock import DAY, SECOND, from_iso
from scheduler_service.errors import ConfigurationError
from scheduler_service.log_setup import register_secret, setup, stop_logging
from scheduler_service.log_writer import Entry, FileOutput, LogWriter, in_json, in_text
from scheduler_service.redaction import MARK, Secrets, escape
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOW_TEXT = "2026-11-23T14:30:00.123Z"
NOW = from_iso(NOW_TEXT)
CANARY = "SEKRIT/ä+\"7f3a 91&c\\d'e="


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass
class FileOptions:
    path: Path
    rotation: int = 1_000_000
    retention: int = 7 * DAY


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    yield
    stop_logging()


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    assert stop_logging() == 0
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def start(level: str = "TRACE", **options: Any) -> io.StringIO:
    stream = io.StringIO()
    setup(level, "json", stream=stream, clock=FakeClock(NOW_TEXT), **options)
    return stream


def test_json_is_a_flat_object_a_line_in_the_contracts_order() -> None:
    stream = start()
    logger.bind(event="task.completed", symbol="AAPL", attempt=1, duration_ms=12.5, reason=None).info("AAPL is fresh")
    [line] = read(stream)
    assert list(line.items()) == [
        ("time", "2026-11-23T14:30:00.123Z"),
        ("level", "INFO"),
        ("event", "task.completed"),
        ("message", "AAPL is fresh"),
        ("symbol", "AAPL"),
        ("attempt", 1),
        ("duration_ms", 12.5),
    ]


def test_text_is_a_sentence_without_colour_unless_a_terminal_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain, terminal = io.StringIO(), Terminal()
    for stream in (plain, terminal):
        setup("INFO", "text", stream=stream, clock=FakeClock(NOW_TEXT))
        logger.bind(event="service.ready").info("Ready; documents are in ./data")
        stop_logging()
    assert plain.getvalue().endswith(" INFO     Ready; documents are in ./data\n")
    assert terminal.getvalue().count("\x1b[") == 2
    monkeypatch.setenv("NO_COLOR", "1")
    quiet = Terminal()
    setup("INFO", "text", stream=quiet)
    logger.info("x")
    stop_logging()
    assert "\x1b" not in quiet.getvalue()


def test_a_field_cannot_take_the_place_of_time_or_level() -> None:
    stream = start()
    logger.bind(time="never", level="NONE").info("x")
    [line] = read(stream)
    assert (line["time"], line["level"]) == ("2026-11-23T14:30:00.123Z", "INFO")


def test_fields_that_json_does_not_know_become_text() -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

    stream = start()
    logger.bind(many=["a", "b"], huge=2**70, odd=Odd(), nan=float("nan")).info("x")
    [line] = read(stream)
    assert (line["many"], line["huge"], line["odd"], line["nan"]) == ("['a', 'b']", str(2**70), "<Odd>", None)


def test_library_records_and_warnings_join_the_stream() -> None:
    stream = start()
    logging.getLogger("aiohttp.access").info("GET %s", "/healthz")
    logging.getLogger("somebody").warning("does not %d fit", "x")
    logging.getLogger("somebody").log(35, "between the levels")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old habit", DeprecationWarning, stacklevel=1)
    lines = read(stream)
    assert [(line["library"], line["level"]) for line in lines] == [
        ("aiohttp.access", "INFO"),
        ("somebody", "WARNING"),
        ("somebody", "WARNING"),
        ("py.warnings", "WARNING"),
    ]
    assert [line["message"] for line in lines[:2]] == ["GET /healthz", "does not %d fit"]
    assert {line["event"] for line in lines} == {"log"}


@pytest.mark.parametrize(("level", "heard"), [("INFO", []), ("DEBUG", ["info"]), ("TRACE", ["debug", "info"])])
def test_libraries_speak_a_level_lower_than_we_do(level: str, heard: list[str]) -> None:
    stream = start(level)
    logging.getLogger("someone").debug("debug")
    logging.getLogger("someone").info("info")
    assert [line["message"] for line in read(stream)] == heard


async def test_context_follows_tasks_and_threads() -> None:
    stream = start()

    async def work(symbol: str) -> None:
        with logger.contextualize(symbol=symbol):
            await asyncio.to_thread(logger.info, "from a thread")
            logger.info("from the loop")

    async with asyncio.TaskGroup() as group:
        for symbol in ("AAPL", "NVDA"):
            group.create_task(work(symbol))
    logger.info("outside")
    lines = read(stream)
    assert sorted(line.get("symbol", "") for line in lines) == ["", "AAPL", "AAPL", "NVDA", "NVDA"]


HOSTILE = "AAPL\n2026-01-01 00:00:00 CRITICAL sold\r\x1b[2J\x9b1m \u202etxt.exe\u2066 \u2028x\U000e0041\ud800\x00"


@pytest.mark.parametrize("style", ["text", "json"])
def test_hostile_text_stays_one_line_and_harmless(style: str) -> None:
    stream = io.StringIO()
    setup("INFO", style, stream=stream)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logger.bind(**{"symbol": HOSTILE, HOSTILE: 1}).exception(HOSTILE)
    stop_logging()
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert len(text.splitlines()) == 1
    assert not set(text) & set("\r\x1b\x9b\u202e\u2066\u2028\U000e0041\ud800\x00")
    assert "\\x1b[2J" in text


def test_other_scripts_and_emoji_are_left_alone() -> None:
    text = "Société Générale 株式会社 👩\u200d💻 שלום"
    assert escape(text) == text


def test_a_field_is_capped_at_two_kilobytes_and_a_traceback_keeps_its_end() -> None:
    def deeper(depth: int) -> None:
        try:
            if depth == 0:
                raise ValueError("the end")
            deeper(depth - 1)
        except ValueError as error:
            raise ValueError("é" * 600) from error

    stream = start()
    try:
        deeper(20)
    except ValueError as error:
        logger.bind(headline="é" * 5_000).opt(exception=error).error("x" * 1_000_000)
    [line] = read(stream)
    assert {len(line[name].encode()) for name in ("message", "headline", "error")} <= {2_047, 2_048}
    assert len(line["traceback"].encode()) <= 8_192
    assert line["traceback"].endswith("é\n")
    assert "\n  ...\n" in line["traceback"]


def test_an_error_is_one_line_of_text_and_a_whole_traceback_in_json() -> None:
    def parse() -> None:
        raise KeyError("revenue")

    try:
        try:
            parse()
        except KeyError as error:
            raise ValueError("no revenue") from error
    except ValueError as error:
        caught = error
    stream = start()
    logger.opt(exception=caught).error("AAPL failed")
    logger.opt(exception=ExceptionGroup("two", [caught, caught])).error("both failed")
    [line, both] = read(stream)
    assert line["error"].startswith("ValueError: no revenue (test_an_error_is")
    assert ", from KeyError: 'revenue' (parse test_log_setup.py:" in line["error"]
    assert "Traceback (most recent call last)" in line["traceback"]
    assert "ExceptionGroup: two (2 sub-exceptions), from ValueError: no revenue" in both["error"]


def forms_of(secret: str) -> dict[str, str]:
    raw = secret.encode()
    return {
        "raw": secret,
        "quoted": quote(secret, safe=""),
        "quoted, slash left": quote(secret),
        "quoted, lower case": quote(secret, safe="").replace("%2F", "%2f").replace("%C3%A4", "%c3%a4"),
        "quoted, plus": quote_plus(secret),
        "json": json.dumps(secret),
        "json, not ascii": json.dumps(secret, ensure_ascii=False),
        "json, slash escaped": json.dumps(secret).replace("/", "\\/"),
        "repr": repr(secret),
        "repr of bytes": repr(raw),
        "base64": base64.b64encode(raw).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(raw).decode(),
        "basic authentication": base64.b64encode(b"user:" + raw).decode(),
        "base64, third place": base64.b64encode(b"me:" + raw + b"\n").decode(),
        "base64, second place": base64.b64encode(b"a" + raw).decode(),
    }


def traces_of(secret: str) -> set[str]:
    """Pieces of a secret's forms that must not be found."""
    pieces = {"SEKRIT", "7f3a", "91&c", "91%26c"} if secret == CANARY else {secret}
    for prefix in (b"", b"a", b"ab"):
        encoded = base64.b64encode(prefix + secret.encode()).decode()
        pieces |= {encoded[4:16], encoded[8:20]}
    return pieces


@pytest.mark.parametrize("secret", [CANARY, "pplx-0123456789abcdefSEKRIT"])
@pytest.mark.parametrize("style", ["text", "json"])
def test_no_form_of_a_secret_is_written_anywhere(secret: str, style: str, tmp_path: Path) -> None:
    register_secret(secret)
    file = tmp_path / "service.log"
    stream = io.StringIO()
    setup("TRACE", style, file=FileOptions(file), stream=stream)
    for name, form in forms_of(secret).items():
        logger.info(f"{name}: {form}")
        logger.info("as an argument: {}", form)
        logger.bind(url=f"https://example.com/?key={form}", nested={"deep": [form]}, raw=form.encode()).info(name)
        logger.bind(**{form: 1}).info(name)
        logging.getLogger("library").warning("GET %s", form)
        with logger.contextualize(key=form):
            logger.info("in the context")
        try:
            try:
                raise RuntimeError(form)
            except RuntimeError as error:
                raise ValueError(f"with {form!r}") from error
        except ValueError as error:
            error.add_note(form)
            logger.exception(f"failed: {form}")
            logging.getLogger("library").exception("failed")
            logger.opt(exception=ExceptionGroup(form, [error])).error("group")
    stop_logging()
    for written in (stream.getvalue(), file.read_text(encoding="utf-8")):
        assert MARK in written
        assert len(written.splitlines()) == 9 * len(forms_of(secret))
        assert [piece for piece in traces_of(secret) if piece in written] == []


def test_a_secret_that_begins_with_another_leaves_no_tail() -> None:
    secrets = Secrets()
    secrets.register("abcdef")
    secrets.register("abcdef-0123")
    assert secrets.redact("abcdef-0123 abcdef") == f"{MARK} {MARK}"


@pytest.mark.parametrize("value", ["", "  ", "abc"])
def test_what_is_too_short_to_be_a_secret_is_left(value: str) -> None:
    secrets = Secrets()
    secrets.register(value)
    assert secrets.redact("abc  def") == "abc  def"


def test_a_crash_is_reported_without_the_secret(capsys: pytest.CaptureFixture[str]) -> None:
    register_secret(CANARY)
    start()
    error = ValueError(CANARY)
    sys.excepthook(ValueError, error, None)
    assert capsys.readouterr().err == f"ValueError: {MARK}\n"


def test_the_patcher_raises_nothing() -> None:
    class Hostile(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError

    record: Any = {"message": "x", "extra": Hostile(), "exception": None}
    log_setup._patch(record)
    assert record["message"] == "A log line could not be made: RuntimeError"


def test_braces_and_tags_in_a_message_are_text() -> None:
    stream = start()
    logger.bind(event="x").info("{0} {missing} <red>{{7*7}}</red>")
    logger.exception("{nothing} is wrong")
    assert [line["message"] for line in read(stream)] == ["{0} {missing} <red>{{7*7}}</red>", "{nothing} is wrong"]


class Stuck:
    """An output that waits until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.entries: list[Entry] = []

    def write(self, entries: Sequence[Entry]) -> None:
        assert self.go.wait(10)
        self.entries += entries

    def close(self) -> None:
        pass


def entry(message: str = "x", at: int = NOW) -> Entry:
    return Entry(at, "INFO", "log", message, {})


def test_a_stuck_reader_holds_nobody_and_what_was_dropped_is_said() -> None:
    stuck = Stuck()
    writer = LogWriter([stuck], size=10)
    for number in range(100):
        writer.put(entry(str(number)))
    assert writer.dropped >= 89
    assert writer.stop(0.01) == writer.dropped + 10
    stuck.go.set()
    dropped = writer.dropped
    assert writer.stop(5) == dropped
    assert f"{dropped} log lines were dropped" in next(e.message for e in stuck.entries if e.event == "log.dropped")
    assert len([e for e in stuck.entries if e.event == "log"]) == 100 - dropped


def test_an_output_that_fails_does_not_stop_the_others() -> None:
    class Broken(Stuck):
        def write(self, entries: Sequence[Entry]) -> None:
            raise OSError(28, "No space left on device")

    broken, well = Broken(), Stuck()
    well.go.set()
    writer = LogWriter([broken, well])
    writer.put(entry())
    assert writer.stop(5) == 1
    assert [e.message for e in well.entries] == ["x"]


def test_a_closed_stdout_does_not_stop_the_service() -> None:
    script = """
import sys
from loguru import logger
from scheduler_service.log_setup import setup, stop_logging
setup("INFO", "json")
for number in range(20000):
    logger.info("line {}", number)
stop_logging()
print("the work is done", file=sys.stderr)
"""
    service = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert service.stdout is not None
    assert service.stderr is not None
    assert json.loads(service.stdout.readline())["message"] == "line 0"
    service.stdout.close()
    errors = service.stderr.read()
    service.stderr.close()
    assert (service.wait(30), errors.decode()) == (0, "the work is done\n")


def test_a_stream_that_speaks_no_utf8_gets_escapes(tmp_path: Path) -> None:
    with open(tmp_path / "out", "w", encoding="ascii") as stream:
        setup("INFO", "text", stream=stream)
        logger.info("Société")
        stop_logging()
    assert (tmp_path / "out").read_text(encoding="ascii").endswith("Soci\\xe9t\\xe9\n")


def test_stopping_twice_and_setting_up_again_are_harmless() -> None:
    before = logging.getLogger().handlers[:]
    first, second = io.StringIO(), io.StringIO()
    setup("INFO", "json", stream=first)
    setup("INFO", "json", stream=second)
    logger.info("x")
    assert (stop_logging(), stop_logging()) == (0, 0)
    logger.info("nobody listens")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1
    assert logging.getLogger().handlers == before


def test_a_file_is_private_appended_to_and_rotated(tmp_path: Path) -> None:
    options = FileOptions(tmp_path / "logs" / "service.log", rotation=1_000, retention=2 * DAY)
    for day in range(5):
        output = FileOutput(options, in_json)
        output.write([entry("y" * 600, NOW + day * DAY)])
        output.close()
    names = sorted(path.name for path in options.path.parent.iterdir())
    assert names == [
        "service.20261125T143000123000Z.log",
        "service.20261126T143000123000Z.log",
        "service.20261127T143000123000Z.log",
        "service.log",
    ]
    assert {os.stat(options.path.parent / name).st_mode & 0o777 for name in names} == {0o600}


def test_a_line_cut_off_by_a_full_disk_does_not_swallow_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = FileOutput(FileOptions(tmp_path / "service.log"), in_json)

    def half(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(log_writer, "_write_all", half)
        with pytest.raises(OSError, match="No space"):
            output.write([entry("lost")])
    output.write([entry("found")])
    output.close()
    last = (tmp_path / "service.log").read_text(encoding="utf-8").splitlines()[-1]
    assert json.loads(last)["message"] == "found"


def test_a_file_that_cannot_be_opened_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "service.log").mkdir()
    with pytest.raises(
        ConfigurationError, match=r"logging\.file\.path: .*service\.log cannot be written: Is a directory"
    ):
        setup("INFO", "text", file=FileOptions(tmp_path / "service.log"))


def test_a_library_is_named_in_text() -> None:
    line = in_text(colour=False)(Entry(NOW + SECOND, "WARNING", "log", "slow", {"library": "asyncio", "error": "E: x"}))
    assert line.endswith(" WARNING  asyncio: slow | E: x\n")
