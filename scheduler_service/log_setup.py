"""The log: loguru in front, one thread behind, one stream for our records and the libraries'.

::

    logger, logging -> patcher (redact, escape, cap) -> bounded queue -> thread -> stdout, file

Logging never waits: where nobody reads, lines are dropped and counted. Text is for a person at a terminal, a sentence
a line; JSON has a flat object a line. Context is bound with ``logger.contextualize``, which follows tasks and
``to_thread``.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loguru import logger

from scheduler_service.clock import from_datetime
from scheduler_service.log_writer import Entry, FileOutput, LogWriter, StreamOutput, in_json, in_text
from scheduler_service.redaction import escape, redact, register_secret

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TextIO

    from loguru import Message, Record

    from scheduler_service.clock import Clock
    from scheduler_service.log_writer import LogFile, Output, Scalar

__all__ = ["register_secret", "setup", "stop_logging"]

FIELD_CAP: Final = 2_048
"""Bytes of UTF-8 a field may take."""
TRACEBACK_CAP: Final = 8_192
NO_EVENT: Final = "log"
"""The ``event`` of a line that no event stands behind: a library's, say."""

_LARGEST_WHOLE: Final = 2**53
_FRAMES_SHOWN: Final = 6
_CAUSES_SHOWN: Final = 4
_LEVELS: Final = ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO"), (10, "DEBUG"))
_LIBRARY_LEVELS: Final = {
    "TRACE": logging.DEBUG,
    "DEBUG": logging.INFO,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
}


@dataclass(frozen=True)
class _Running:
    """What ``setup`` changed, so that ``stop_logging`` can put it back."""

    writer: LogWriter
    handlers: tuple[logging.Handler, ...]
    level: int


_running: list[_Running] = []


def setup(
    level: str = "INFO",
    format: str = "text",  # noqa: A002 - the configuration's word
    file: LogFile | None = None,
    stream: TextIO | None = None,
    clock: Clock | None = None,
) -> None:
    """Sends everything logged from now on to ``stream`` (standard output) and ``file``.

    ``format`` is ``text`` or ``json``; ``clock`` replaces loguru's time. Called again, it
    replaces what it set up before. Raises ``ConfigurationError`` where the file cannot be opened.
    """
    stop_logging()
    stream = stream or sys.stdout
    json = format == "json"
    outputs: list[Output] = [StreamOutput(stream, in_json if json else in_text(colour=_wants_colour(stream)))]
    if file is not None:
        outputs.append(FileOutput(file, in_json if json else in_text(colour=False)))
    writer = LogWriter(outputs)

    def sink(message: Message) -> None:
        writer.put(_entry(message.record, clock))

    logger.remove()
    logger.configure(patcher=_patch)
    logger.add(sink, level=level, format="{message}", colorize=False, backtrace=False, diagnose=False, catch=True)
    root = logging.getLogger()
    _running.append(_Running(writer, tuple(root.handlers), root.level))
    root.handlers[:] = [InterceptHandler()]
    root.setLevel(_LIBRARY_LEVELS.get(level, logging.WARNING))
    # At INFO it would format every statement for the log.
    logging.getLogger("sqlalchemy").setLevel(logging.NOTSET if level == "TRACE" else logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _report_crash
    atexit.register(stop_logging)


def stop_logging(timeout: float = 2.0) -> int:
    """Writes what waits, for about ``timeout`` seconds at most; returns how many lines were lost."""
    atexit.unregister(stop_logging)
    if not _running:
        return 0
    running = _running.pop()
    logger.remove()
    logging.captureWarnings(False)
    root = logging.getLogger()
    root.handlers[:] = running.handlers
    root.setLevel(running.level)
    return running.writer.stop(timeout)


class InterceptHandler(logging.Handler):
    """Passes what libraries log on to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # a library's arguments that do not fit its own message
            message = str(record.msg)
        level = next((name for number, name in _LEVELS if record.levelno >= number), "TRACE")
        logger.opt(exception=record.exc_info).bind(event=NO_EVENT, library=record.name).log(level, message)


def _entry(record: Record, clock: Clock | None) -> Entry:
    fields: dict[str, Scalar] = dict(record["extra"])
    event = str(fields.pop("event", NO_EVENT))
    at = clock.now() if clock is not None else from_datetime(record["time"])
    return Entry(at, record["level"].name, event, record["message"], fields)


def _patch(record: Record) -> None:
    """Makes a record safe to write, wherever it goes.

    Raises nothing: loguru would pass it on to whoever only wanted to log.
    """
    try:
        extra = {_safe(str(name)): _scalar(value) for name, value in record["extra"].items() if value is not None}
        error = record["exception"]
        if error is not None and error.value is not None:
            extra["error"] = _safe(_in_one_line(error.value))
            extra["traceback"] = _safe_traceback(error.value)
        record["message"] = _safe(record["message"])
        record["extra"] = extra
    except Exception as error:
        record["message"] = f"A log line could not be made: {type(error).__name__}"
        record["extra"] = {}
    record["exception"] = None


def _scalar(value: object) -> Scalar:
    """What a flat JSON object can hold; anything else as text."""
    if isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) <= _LARGEST_WHOLE:
        return int(value)
    try:
        return _safe(str(value))
    except Exception:  # someone's __str__
        return f"<{type(value).__name__}>"


def _safe(text: str) -> str:
    return _cap(escape(redact(text)))


def _safe_traceback(error: BaseException) -> str:
    """Where an error came from, with line breaks: its beginning and, what matters most, its end."""
    text = escape(redact("".join(traceback.format_exception(error))), keep="\n")
    if len(text) <= TRACEBACK_CAP // 4:
        return text
    raw = text.encode()
    if len(raw) <= TRACEBACK_CAP:
        return text
    head, tail = raw[: TRACEBACK_CAP // 4], raw[-TRACEBACK_CAP * 3 // 4 + 16 :]
    return head.decode(errors="ignore") + "\n  ...\n" + tail.decode(errors="ignore")


def _cap(text: str) -> str:
    if len(text) <= FIELD_CAP // 4:
        return text
    raw = text.encode()
    if len(raw) <= FIELD_CAP:
        return text
    return raw[: FIELD_CAP - 3].decode(errors="ignore") + "…"


def _in_one_line(error: BaseException, causes: int = _CAUSES_SHOWN) -> str:
    """``ValueError: no number (parse news.py:12 < process base.py:88)``, then what caused it: for a line of text."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_SHOWN:]
    trail = " < ".join(f"{frame.name} {Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    said = "".join(traceback.format_exception_only(error)).strip()
    line = f"{said} ({trail})" if trail else said
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if isinstance(error, BaseExceptionGroup):
        cause = error.exceptions[0]
    if cause is None or causes == 0:
        return line
    return f"{line}, from {_in_one_line(cause, causes - 1)}"


def _report_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What Python would print of an error nobody caught, without the secrets."""
    text = "".join(traceback.format_exception(kind, error, trace))
    if sys.stderr is not None:
        sys.stderr.write(escape(redact(text), keep="\n"))


def _wants_colour(stream: TextIO) -> bool:
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
