from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from gridpact.api import http_protocol
from gridpact.api.http_protocol import HEAD_BYTES, BoundedProtocol

BEGIN = b"POST / HTTP/1.1\r\nHost: x\r\n"


class Echo:
    """Answers with the length of the body; at ``/endless``, for as long as somebody listens.

    At ``/refused`` it answers 413 and reads nothing.
    """

    def __init__(self) -> None:
        self.caller_gone = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/refused":
            headers = [(b"content-length", b"3"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 413, "headers": headers})
            await send({"type": "http.response.body", "body": b"no!"})
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        else:
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/endless":
            gone = asyncio.create_task(receive())
            while not gone.done():
                piece = {"type": "http.response.body", "body": b"x" * 65536, "more_body": True}
                await send(piece)
                await asyncio.sleep(0)
            self.caller_gone.set()
        else:
            await send({"type": "http.response.body", "body": b"%d bytes" % len(body)})


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def port(echo: Echo) -> AsyncIterator[int]:
    config = uvicorn.Config(echo, http=BoundedProtocol, ws="none", lifespan="off", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.startup(sockets=[listener])
    yield listener.getsockname()[1]
    await server.shutdown(sockets=[listener])


async def exchange(port: int, *pieces: bytes) -> bytes:
    """Everything that the server says until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()
    except ConnectionError:
        return b"cut off"
    finally:
        writer.close()


async def test_takes_requests_of_any_cut(port: int) -> None:
    whole = BEGIN + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello"
    slices = [whole[i : i + 1] for i in range(len(whole))]
    assert b"\r\n5 bytes\r\n" in await exchange(port, *slices)


async def test_takes_a_body_far_larger_than_a_head(port: int) -> None:
    size = 20 * HEAD_BYTES
    head = BEGIN + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % size
    assert b"\r\n%d bytes\r\n" % size in await exchange(port, head, b"x" * size)


async def test_takes_many_requests_on_a_connection(port: int) -> None:
    one = BEGIN + b"X: %s\r\nContent-Length: 1\r\n\r\nx" % (b"a" * 8000)
    last = BEGIN + b"Connection: close\r\nContent-Length: 1\r\n\r\nx"
    assert (await exchange(port, *[one] * 30, last)).count(b"HTTP/1.1 200 OK") == 31


@pytest.mark.parametrize(
    ("begin", "endless"),
    [
        (b"GET /", b"a"),
        (BEGIN + b"X: ", b"a"),
        (BEGIN, b"X: a\r\n"),
        (BEGIN + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a"),
        (BEGIN + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n"),
        (BEGIN + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a"),
    ],
    ids=["target", "value", "headers", "trailer", "trailers", "chunk-extension"],
)
async def test_hangs_up_on_what_is_endless(port: int, begin: bytes, endless: bytes) -> None:
    pieces = [endless * (HEAD_BYTES // len(endless))] * 20
    answer = await exchange(port, begin, *pieces)
    assert answer == b"cut off" or answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("begin", [b"", b"GET", BEGIN + b"X: a\r\n"])
async def test_hangs_up_when_a_head_does_not_end(
    port: int, begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_S", 0.05)
    assert await exchange(port, begin) == b""


async def test_hangs_up_on_who_does_not_read(
    port: int, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "STALL_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readexactly(1)  # from now on, what comes fills the buffers
    async with asyncio.timeout(10):
        await echo.caller_gone.wait()
    writer.close()


async def test_who_is_refused_in_the_middle_of_a_body_hears_of_it(port: int) -> None:
    size = 64 * HEAD_BYTES
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
    # The answer has been sent. A connection that is closed now is reset by what comes next.
    assert await reader.readexactly(1) == b"H"
    for _ in range(64):
        writer.write(b"x" * HEAD_BYTES)
        await writer.drain()
    answer = await reader.read()
    assert answer.startswith(b"TTP/1.1 413 ")
    assert answer.endswith(b"no!")
    writer.close()


async def test_hangs_up_on_who_is_refused_and_goes_on_and_on(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "LINGER_S", 0.05)
    head = b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    assert (await exchange(port, head, b"x")).endswith(b"no!")
