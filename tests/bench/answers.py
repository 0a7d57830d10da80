"""A market's answer as large as they come, served by a process of its own."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shopperd.simulator.market import build_vast_market
from shopperd.simulator.vastai_rows import Pricing, offer_row

OFFERS = 64_000
NOW = 1_790_000_000.0
PIECE_BYTES = 2**18


def market_body(offers: int = OFFERS) -> bytes:
    """A search answer with rows of the recorded shape: a hundred fields, 2.8 KB, cheapest first."""
    pricing = Pricing(disk_gb=16.0)
    market = build_vast_market(random.Random(1), offers, NOW)
    cheapest_first = sorted(market.offers.values(), key=pricing.total)
    return json.dumps({"offers": [offer_row(offer, pricing, NOW) for offer in cheapest_first]}).encode()


@contextmanager
def served(body: bytes, folder: Path) -> Iterator[str]:
    """The origin of a server that gives this answer to every request."""
    path = folder / "answer.json"
    path.write_bytes(body)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.answers", str(path)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


async def _serve(path: Path) -> None:
    body = path.read_bytes()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                await reader.readexactly(int(line.split(b":")[1]))
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            % len(body)
        )
        for start in range(0, len(body), PIECE_BYTES):
            writer.write(body[start : start + PIECE_BYTES])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
