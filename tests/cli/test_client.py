"""How commands speak to the daemon, and what they say when they cannot."""

import socket
from collections.abc import Callable, Iterator

import pytest

from shopperd.cli.client import DEFAULT_URL, Client, Failed
from tests.cli.conftest import command
from tests.cli.served import Served, Stranger
from tests.web.deployment import TOKEN


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_without_a_daemon_it_says_what_to_do() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = command(url, "status")
    assert result.exit_code == 1
    assert f"no daemon answers at {url}" in result.output
    assert "shopperd run" in result.output
    assert "Traceback" not in result.output


def test_the_default_address_is_the_daemons() -> None:
    assert Client(DEFAULT_URL, None).url == "http://127.0.0.1:9877"


@pytest.mark.parametrize(
    "url", ["127.0.0.1:9877", "ftp://host", "http://", "http://host:port", "http://user:secret@host", "http://[::1"]
)
def test_an_address_that_is_none_is_wrong_usage_and_not_repeated(url: str) -> None:
    result = command(url, "status")
    assert result.exit_code == 2
    assert "SHOPPERD_URL" in result.output
    assert "secret" not in result.output


def test_a_problem_is_told_by_its_detail(served: Served) -> None:
    result = command(served.url, "plan", "nobody")
    assert result.exit_code == 1
    assert result.output == "Error: there is no account 'nobody'; there are: dock, main\n"


def test_a_request_that_makes_no_sense_is_wrong_usage(served: Served) -> None:
    result = command(served.url, "sessions", "list", "--state", "asleep")
    assert result.exit_code == 2
    assert "query.state: must be one of expected," in result.output


def test_a_change_carries_the_token_and_a_read_does_not(stranger: Callable[..., Stranger]) -> None:
    other = stranger(200, "application/json", b'{"frozen": true, "reason": "x"}')
    command(other.url, "freeze", "--reason", "x", token=TOKEN)
    command(other.url, "orphans", token=TOKEN)
    (_, _, changing), (_, _, reading) = other.asked
    assert changing["Authorization"] == f"Bearer {TOKEN}"
    assert "Authorization" not in reading


def test_the_right_token_opens_and_no_other_does(guarded: Served) -> None:
    for given, status in ((None, 1), ("a-wrong-one", 1), (TOKEN, 0)):
        result = command(guarded.url, "freeze", "--reason", "a drill", token=given)
        assert result.exit_code == status
        if status:
            assert "SHOPPERD_TOKEN" in result.output
            assert "a-wrong-one" not in result.output
    assert guarded.do(lambda deployment: deployment.context.frozen)


def test_a_token_that_is_none_is_never_shown() -> None:
    result = command("http://127.0.0.1:1", "freeze", "--reason", "x", token="se cret\n")
    assert result.exit_code == 2
    assert "cret" not in result.output


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (200, "text/html", b"<html>"),
        (404, "text/html", b"<html>"),
        (500, "text/plain", b"oops"),
        (302, "text/plain", b""),
        (200, "application/json", b"{"),
        (404, "application/problem+json", b"{"),
    ],
)
def test_what_is_no_shopperd_is_called_so(
    stranger: Callable[..., Stranger], status: int, content_type: str, body: bytes
) -> None:
    other = stranger(status, content_type, body)
    result = command(other.url, "status")
    assert result.exit_code == 1
    assert "is no shopperd" in result.output
    assert len(other.asked) == 1


def test_no_proxy_of_the_environment_is_asked(served: Served) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    result = command(served.url, "accounts", env={"http_proxy": proxy, "HTTP_PROXY": proxy, "all_proxy": proxy})
    assert result.exit_code == 0


def test_ids_are_quoted_in_paths(stranger: Callable[..., Stranger]) -> None:
    other = stranger(200, "application/json", b'{"id": "x"}')
    command(other.url, "instances", "exempt", "a/b", "c?d#e")
    assert other.asked[0][1] == "/api/v1/instances/a%2Fb/c%3Fd%23e/exempt"


def test_a_path_in_front_of_the_api_is_kept(stranger: Callable[..., Stranger]) -> None:
    other = stranger(200, "application/json", b'{"items": []}')
    command(f"{other.url}/prod/", "accounts", "--json")
    assert other.asked[0][1] == "/prod/api/v1/accounts"


def test_a_stream_that_ends_is_a_failure(stranger: Callable[..., Stranger]) -> None:
    other = stranger(200, "text/event-stream", b'id: 1\ndata: {"id": 1}\n\n')
    events = Client(other.url, None).follow("events")
    assert next(events) == {"id": 1}
    with pytest.raises(Failed, match="ended the stream"):
        next(events)


@pytest.fixture
def hung() -> Iterator[str]:
    """The address of a daemon that is stopped: the system takes connections for it, and nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_daemon_that_hangs_is_not_taken_for_one_that_does_not_run(hung: str) -> None:
    with pytest.raises(Failed, match=r"did not answer in time; is the daemon stopped or stuck\?"):
        Client(hung, None).get("status", seconds=0.1)


def test_a_change_that_is_not_answered_may_have_been_made(hung: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shopperd.cli.client.ANSWER_SECONDS_MAX", 0.1)
    with pytest.raises(Failed, match="may still do what was asked"):
        Client(hung, None).post("freeze")


def test_an_empty_word_is_wrong_usage(served: Served) -> None:
    result = command(served.url, "explain", "main", "")
    assert (result.exit_code, result.stderr) == (2, "Error: an empty word names nothing\n")
