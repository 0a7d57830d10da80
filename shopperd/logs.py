"""Log lines: one shape for ours and the libraries', JSON for machines or columns for a terminal, and no secret in either."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, TextIO

import structlog
from structlog.processors import ExceptionRenderer, StackInfoRenderer, TimeStamper, format_exc_info
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from shopperd.redaction import mask_known, plain, redact
from shopperd.settings import LogSettings

_Event = MutableMapping[str, Any]

_FIRST_KEYS = ("timestamp", "level", "event", "logger")
_TRACEBACK_KEYS = frozenset({"exception", "stack"})

_STEPS_OF_ALL: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    TimeStamper(fmt="iso", utc=True),
    StackInfoRenderer(),
)

_OWN_STEPS: list[Processor] = [
    # First in the list would be merge_contextvars, but a line that nobody wants should cost nothing.
    structlog.stdlib.filter_by_level,
    *_STEPS_OF_ALL,
    structlog.stdlib.PositionalArgumentsFormatter(),
    ProcessorFormatter.wrap_for_formatter,
]
"""One list for the life of the process: loggers keep it, so a reload changes levels and format but never the list."""

_QUIET = {
    # A line per run would say nothing that the jobs' own lines do not.
    "apscheduler": logging.ERROR,
    "aiohttp.access": logging.WARNING,
    "alembic": logging.WARNING,
    "asyncio": logging.INFO,
}
"""The least level of libraries that say too much, unless everything is wanted (level ``debug``)."""

_ALWAYS_QUIET = {"sqlalchemy": logging.WARNING}
"""Its lines below a warning hold the parameters of statements, and so whatever is stored."""

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that could move a terminal's cursor, recolour it, or begin a line that looks like one of ours."""


def configure_logging(log: LogSettings, stream: TextIO) -> None:
    """Send the log lines of the whole process to `stream`. Called again, it replaces what it set up before."""
    console = log.format == "console" or (log.format == "auto" and stream.isatty())
    handler = _Handler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=list(_STEPS_OF_ALL),
            processors=_console_steps(stream) if console else _json_steps(),
        )
    )
    root = logging.getLogger()
    for other in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(log.level.upper())
    logging.getLogger("shopperd.ready").setLevel(logging.INFO)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(logging.NOTSET if log.level == "debug" else level)
    for name, level in _ALWAYS_QUIET.items():
        logging.getLogger(name).setLevel(level)
    structlog.configure(
        processors=_OWN_STEPS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines. One that cannot be written is reported without its content, which nobody has redacted yet."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        error = sys.exception()
        if isinstance(error, BrokenPipeError):
            return
        if sys.stderr is not None:
            sys.stderr.write(f"a log line of {redact(record.name)} was lost: {type(error).__name__}\n")


def _json_steps() -> Sequence[Processor]:
    return (
        ProcessorFormatter.remove_processors_meta,
        # The default transformer would show the locals of every frame, keys included.
        ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
        _redacted,
        _as_json,
    )


def _console_steps(stream: TextIO) -> Sequence[Processor]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=stream.isatty() and not os.environ.get("NO_COLOR"),
        exception_formatter=structlog.dev.plain_traceback,
    )

    def rendered(logger: Any, name: str, event: _Event) -> str:
        return _encodable(mask_known(str(renderer(logger, name, event))), stream)

    return (ProcessorFormatter.remove_processors_meta, format_exc_info, _redacted, _neutralised, rendered)


def _redacted(_: Any, __: str, event: _Event) -> _Event:
    shown = plain(event)
    if not isinstance(shown, dict):  # a mapping is always made a dict
        raise TypeError("a log event is a mapping")
    return {**{key: shown[key] for key in _FIRST_KEYS if key in shown}, **shown}


def _neutralised(_: Any, __: str, event: _Event) -> _Event:
    return {
        _safe(key, _UNSAFE): _safe(value, _UNSAFE_LINES if key in _TRACEBACK_KEYS else _UNSAFE)
        for key, value in event.items()
    }


def _safe(value: Any, unsafe: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return unsafe.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), value)
    if isinstance(value, Mapping):
        return {_safe(key, unsafe): _safe(item, unsafe) for key, item in value.items()}
    return [_safe(item, unsafe) for item in value] if isinstance(value, list) else value


def _as_json(_: Any, __: str, event: _Event) -> str:
    # Pure ASCII: no stream's encoding can refuse it, and no viewer can be led astray by what it holds.
    return mask_known(json.dumps(event, default=str))


def _encodable(text: str, stream: TextIO) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
