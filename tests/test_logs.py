"""Log lines: their shape, and that nothing planted anywhere comes out."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from shopperd.logs import configure_logging
from shopperd.secrets import remember
from shopperd.settings import LogSettings

CANARY = "canary-9b1c-77"

JSON = LogSettings(format="json", level="debug")
CONSOLE = LogSettings(format="console", level="debug")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    names = ("apscheduler", "aiohttp.access", "alembic", "asyncio", "sqlalchemy")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _known_canary() -> None:
    remember(CANARY)


def logger() -> structlog.stdlib.BoundLogger:
    bound: structlog.stdlib.BoundLogger = structlog.get_logger("shopperd.jobs.sweep")
    return bound


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def refuse(api_key: str) -> None:
    raise ValueError(f"Authorization: Bearer {api_key}")


def fail_with_a_key() -> None:
    api_key = f"local-{CANARY}-and-more"
    try:
        refuse(api_key)
    except ValueError as error:
        error.add_note(f"https://host/?api_key={api_key}")
        raise RuntimeError(f"wrapped {api_key}") from error


class TestShape:
    def test_a_line_is_one_json_object_with_time_level_event_and_logger_first(self) -> None:
        stream = io.StringIO()
        configure_logging(JSON, stream)
        with structlog.contextvars.bound_contextvars(account="a"):
            logger().info("orphan.destroyed", instance_id="7", count=3)
        (line,) = lines(stream)
        assert list(line)[:4] == ["timestamp", "level", "event", "logger"]
        assert line["timestamp"].endswith("Z")
        del line["timestamp"]
        assert line == {
            "level": "info",
            "event": "orphan.destroyed",
            "logger": "shopperd.jobs.sweep",
            "account": "a",
            "instance_id": "7",
            "count": 3,
        }

    @pytest.mark.parametrize("name", ["aiohttp.server", "apscheduler.executors.default", "alembic.runtime", "asyncio"])
    def test_a_library_s_line_has_the_same_shape(self, name: str) -> None:
        stream = io.StringIO()
        configure_logging(JSON, stream)
        with structlog.contextvars.bound_contextvars(account="a"):
            logging.getLogger(name).warning("run %s of %d", "one", 2)
        (line,) = lines(stream)
        assert line.keys() == {"timestamp", "level", "event", "logger", "account"}
        assert (line["event"], line["logger"], line["account"]) == ("run one of 2", name, "a")

    def test_a_traceback_has_frames_and_no_locals(self) -> None:
        stream = io.StringIO()
        configure_logging(JSON, stream)
        try:
            fail_with_a_key()
        except RuntimeError:
            logger().exception("failed")
        (line,) = lines(stream)
        assert line["exception"][0]["exc_type"] == "RuntimeError"
        assert line["exception"][0]["frames"][-1]["name"] == "fail_with_a_key"
        assert '"locals"' not in stream.getvalue()

    @pytest.mark.parametrize(
        ("format", "stream", "console"),
        [
            ("auto", io.StringIO(), False),
            ("auto", Terminal(), True),
            ("json", Terminal(), False),
            ("console", io.StringIO(), True),
        ],
    )
    def test_auto_is_columns_on_a_terminal_and_json_elsewhere(
        self, format: Any, stream: io.StringIO, console: bool
    ) -> None:
        configure_logging(LogSettings(format=format), stream)
        logger().info("hello")
        assert stream.getvalue().startswith("{") is not console

    def test_columns_are_coloured_on_a_terminal_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        terminal, file = Terminal(), io.StringIO()
        for stream in (terminal, file):
            configure_logging(CONSOLE, stream)
            logger().info("hello", a=1)
        assert "\x1b[" in terminal.getvalue()
        assert "\x1b" not in file.getvalue()


class TestLevels:
    def test_a_line_below_the_level_is_left_out(self) -> None:
        stream = io.StringIO()
        configure_logging(LogSettings(level="warning", format="json"), stream)
        logger().info("no")
        logging.getLogger("aiohttp").info("no")
        logger().warning("yes")
        assert [line["event"] for line in lines(stream)] == ["yes"]

    def test_a_reload_changes_level_and_format_of_loggers_already_in_use(self) -> None:
        first, second = io.StringIO(), io.StringIO()
        configure_logging(LogSettings(level="error", format="json"), first)
        bound = logger().bind(account="a")
        bound.info("no")
        configure_logging(LogSettings(level="info", format="console"), second)
        bound.info("yes")
        assert first.getvalue() == ""
        assert "yes" in second.getvalue()
        assert len(second.getvalue().splitlines()) == 1

    def test_talkative_libraries_are_quiet_unless_all_is_wanted(self) -> None:
        stream = io.StringIO()
        configure_logging(LogSettings(level="info", format="json"), stream)
        logging.getLogger("apscheduler.executors").info("no")
        configure_logging(JSON, stream)
        logging.getLogger("apscheduler.executors").info("yes")
        assert [line["event"] for line in lines(stream)] == ["yes"]

    def test_statements_parameters_are_never_logged(self) -> None:
        stream = io.StringIO()
        configure_logging(JSON, stream)
        logging.getLogger("sqlalchemy.engine.Engine").info("INSERT ... ('%s')", CANARY)
        assert stream.getvalue() == ""

    def test_structlog_s_own_capture_works_with_loggers_already_in_use(self) -> None:
        configure_logging(JSON, io.StringIO())
        log = logger()
        log.info("before")
        with structlog.testing.capture_logs() as captured:
            log.info("within", a=1)
        assert captured == [{"event": "within", "a": 1, "log_level": "info"}]


@pytest.mark.parametrize("settings", [JSON, CONSOLE], ids=["json", "console"])
class TestSecrets:
    def test_none_comes_out_of_any_place(self, settings: LogSettings) -> None:
        stream = io.StringIO()
        configure_logging(settings, stream)
        unknown = "opaque-value-31"
        log = logger()
        log.info(f"event {CANARY}", value=f"x{CANARY}y", nested={"a": [{"b": (CANARY, CANARY.encode())}]})
        log.info("keys", authorization=unknown, headers={"Authorization": unknown, "X-Api-Key": [unknown]})
        log.info("urls", url=f"https://user:{unknown}@host/?api_key={unknown}&a=1")
        log.info("positional %s", CANARY)
        log.info("objects", error=ValueError(CANARY), key={CANARY: CANARY}, kind=type(CANARY, (), {}))
        with structlog.contextvars.bound_contextvars(api_token=unknown, note=CANARY):
            logging.getLogger("aiohttp.client").warning("sent %s", {"Authorization": f"Bearer {unknown}"})
        try:
            fail_with_a_key()
        except RuntimeError:
            log.exception("failed", stack_info=True)
            logging.getLogger("asyncio").exception("Task exception was never retrieved")
        logging.getLogger(CANARY).error("a logger's name")
        assert len(stream.getvalue().splitlines()) >= 9
        assert "canary" not in stream.getvalue()
        assert unknown not in stream.getvalue()

    def test_an_exception_that_nobody_caught_in_a_task_is_clean(self, settings: LogSettings) -> None:
        stream = io.StringIO()
        configure_logging(settings, stream)

        async def run() -> None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"lost {CANARY}", "exception": ValueError(f"token={CANARY}"), "what": CANARY}
            )

        asyncio.run(run())
        assert "lost" in stream.getvalue()
        assert "canary" not in stream.getvalue()

    def test_a_line_that_cannot_be_made_is_told_without_its_content(
        self, settings: LogSettings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stream = io.StringIO()
        # The test runner's own handlers fail aloud on such a line.
        logging.getLogger().handlers.clear()
        configure_logging(settings, stream)
        logging.getLogger("library").warning("%d", CANARY)
        assert capsys.readouterr().err == "a log line of library was lost: TypeError\n"
        stream.close()
        logger().info(CANARY)
        assert capsys.readouterr().err == "a log line of shopperd.jobs.sweep was lost: ValueError\n"


class TestForgedLines:
    EVIL = "a\n2026-01-01 [error] forged\r\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp\u2028\x00\x7f"

    def test_a_terminal_sees_no_control_characters(self) -> None:
        stream = io.StringIO()
        configure_logging(CONSOLE, stream)
        logger().info(self.EVIL, value=self.EVIL, nested=[{self.EVIL: self.EVIL}], **{self.EVIL: "x"})
        logging.getLogger("aiohttp").error(self.EVIL)
        text = stream.getvalue()
        assert len(text.splitlines()) == 2
        assert not set(text) & set("\r\x1b\x07\x9b\u202e\u2028\x00\x7f")

    def test_the_text_of_an_error_keeps_its_lines_and_loses_the_rest(self) -> None:
        stream = io.StringIO()
        configure_logging(CONSOLE, stream)
        logger().error("failed", exc_info=ValueError("a\nb\x1b[2J"))
        assert "\nb\\x1b[2J" in stream.getvalue()
        assert "\x1b" not in stream.getvalue()

    def test_a_json_line_stays_one_line_of_ascii(self) -> None:
        stream = io.StringIO()
        configure_logging(JSON, stream)
        logger().info(self.EVIL, value="\ud800é")
        assert stream.getvalue().isascii()
        (line,) = lines(stream)
        assert (line["event"], line["value"]) == (self.EVIL, "\ud800é")

    def test_what_a_stream_cannot_encode_is_written_as_an_escape(self) -> None:
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding="ascii")
        configure_logging(CONSOLE, stream)
        logger().info("é\ud800")
        stream.flush()
        assert b"\\xe9" in raw.getvalue()
