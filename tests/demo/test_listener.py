import hashlib
import hmac
from collections.abc import AsyncIterator

import aiohttp
import pytest

from shopperd.demo.listener import Listener
from shopperd.demo.setting import HOOK_SECRET

BODY = b'{"version": 1}'


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    yield listener
    await listener.stop()


async def told(url: str, number: int, secret: str) -> int:
    mark = hmac.new(secret.encode(), b"1795813200." + BODY, hashlib.sha256).hexdigest()
    headers = {
        "Shopperd-Delivery": str(number),
        "Shopperd-Timestamp": "1795813200",
        "Shopperd-Signature": f"v1={mark}",
    }
    async with aiohttp.ClientSession() as session, session.post(url, data=BODY, headers=headers) as answer:
        return answer.status


async def test_what_is_signed_is_heard_once(listener: Listener) -> None:
    url = await listener.start()
    assert [await told(url, number, HOOK_SECRET) for number in (7, 7, 8)] == [204, 204, 204]
    assert listener.heard == {7, 8}


async def test_what_is_signed_with_another_secret_is_not_believed(listener: Listener) -> None:
    url = await listener.start()
    assert await told(url, 7, "another secret") == 403
    assert (listener.heard, listener.forged) == (set(), 1)
