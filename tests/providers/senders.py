"""A `Sender` that answers from a list and remembers what it was asked."""

from collections.abc import Callable

from shopperd.providers.transport import HttpRequest, Reply

Answer = Reply | Exception | Callable[[HttpRequest], Reply]


class ListSender:
    """Gives its answers in turn; the last one again and again."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[HttpRequest] = []
        self.closed = False

    async def send(self, request: HttpRequest) -> Reply:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Reply) else answer(request)

    async def close(self) -> None:
        self.closed = True


class Pieces:
    """An intake that keeps what it is fed, and leaves a word."""

    def __init__(self) -> None:
        self.fed: list[bytes] = []

    def feed(self, chunk: bytes) -> None:
        self.fed.append(chunk)

    def finish(self) -> bytes:
        return b"left"
