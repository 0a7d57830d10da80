"""What all tests share: a clock, metrics of their own, and aioresponses made fit for the installed aiohttp."""

import gc
import inspect
import os
from collections.abc import Iterator
from typing import Any

import aiohttp
import aioresponses.core
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader
from hypothesis import settings
from prometheus_client import CollectorRegistry

from shopperd.telemetry import Metrics
from tests.clocks import FakeClock

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("other", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
"""A run of the tests tries the same cases as the one before; HYPOTHESIS_PROFILE=other looks for new ones."""


def pytest_collection_finish() -> None:
    """The tests themselves are no garbage: whoever looks for some need not look through them."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(registry=CollectorRegistry())


@pytest.fixture
def http() -> Iterator[aioresponses.aioresponses]:
    with aioresponses.aioresponses() as mock:
        yield mock


class _NothingWritten:
    """Stands for the writer of the request, of which newer responses want to know the size."""

    output_size = 0


class _Unconnected(ResponseHandler):
    """A stream asks its protocol to pause when it is full; without a connection there is nothing to pause."""

    def pause_reading(self) -> None: ...

    def resume_reading(self, *args: Any, **kwargs: Any) -> None: ...


class _PretendResponse(aiohttp.ClientResponse):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["stream_writer"] = kwargs.get("stream_writer") or _NothingWritten()
        super().__init__(*args, **kwargs)


def _stream(loop: Any = None) -> StreamReader:
    return StreamReader(_Unconnected(loop=loop), limit=2**16, loop=loop)


# aioresponses 0.7.9 builds responses as aiohttp < 3.14 did. A version that knows better is left alone.
_WANTS_WRITER = "stream_writer" in inspect.signature(aiohttp.ClientResponse.__init__).parameters
if _WANTS_WRITER and aioresponses.core.ClientResponse is aiohttp.ClientResponse:
    aioresponses.core.ClientResponse = _PretendResponse
    aioresponses.core.stream_reader_factory = _stream
