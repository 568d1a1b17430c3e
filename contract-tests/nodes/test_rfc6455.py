"""The nodes' WebSocket servers frame by frame, over bare sockets: RFC 6455 as a table.

The groups follow the sections of the RFC. What a case sends is built here byte by byte, because a
client library would refuse to send most of it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from gridpact.contracts.channels import COMPUTE_ADDRESS, LIMITS, RECEIVE_FROM_NODE
from gridpact.contracts.messages import Result, Welcome
from gridpact.kit.wire import decode_one_of, encode
from tests.nodes import HELLO, Node, a_bearer

SOON_S = 20.0
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GREETING = encode(HELLO)

NORMAL, PROTOCOL, NO_TEXT, NO_UTF8, POLICY, TOO_BIG = 1000, 1002, 1003, 1007, 1008, 1009
EMPTY = 1005  # stands for a close frame without a code
REFUSED_TEXT = {NO_TEXT, POLICY}  # text is valid, but no message of the contract

# ------------------------------------------------------------------------------------ frames


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    final: bool = True,
    reserved: int = 0,
    masked: bool = True,
    claims: int | None = None,
) -> bytes:
    """One frame; ``claims`` is the length it tells where that is not the payload's."""
    count = len(payload) if claims is None else claims
    head = bytes([final << 7 | reserved << 4 | opcode])
    mask_bit = masked << 7
    if count <= 125:
        head += bytes([mask_bit | count])
    elif count <= 0xFFFF:
        head += struct.pack(">BH", mask_bit | 126, count)
    else:
        head += struct.pack(">BQ", mask_bit | 127, count)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack(">H", code) + reason)


def fragments(opcode: int, *parts: bytes) -> list[bytes]:
    opcodes = [opcode, *[CONTINUATION] * (len(parts) - 1)]
    return [
        frame(code, part, final=i == len(parts) - 1)
        for i, (code, part) in enumerate(zip(opcodes, parts, strict=True))
    ]


def cut(data: bytes, *at: int) -> list[bytes]:
    return [data[one:other] for one, other in pairwise((0, *at, len(data)))]


class Peer:
    """A client of bare bytes."""

    def __init__(self, node: Node) -> None:
        host, port = node.address.host, node.address.port
        self.socket = socket.create_connection((host, port), timeout=SOON_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._came = b""

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        # It may have seen enough and gone; what it said is still to be read.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def request(self, change: dict[str, str | None], line: str) -> tuple[int, dict[str, str]]:
        """Sends an upgrade request; the status of its answer, and the headers in lower case."""
        headers = {
            "Host": str(self.socket.getpeername()[0]),
            "Authorization": a_bearer(),
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        } | change
        said = "".join(
            f"{name}: {value}\r\n" for name, value in headers.items() if value is not None
        )
        self.send(f"{line}\r\n{said}\r\n".encode("latin-1"))
        while b"\r\n\r\n" not in self._came:
            more = self.socket.recv(65536)
            assert more, "no answer to the request"
            self._came += more
        head, _, self._came = self._came.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        answer = {
            name.lower(): value.strip() for name, _, value in (it.partition(":") for it in lines)
        }
        if key := headers["Sec-WebSocket-Key"]:
            guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()
            assert answer.get("sec-websocket-accept", accept) == accept
        return int(first.split()[1]), answer

    def upgrade(self) -> dict[str, str]:
        status, headers = self.request({}, GET)
        assert status == 101
        return headers

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """What the node sends until it closes the connection: no mask, no fragments."""
        while len(head := self._take(2)) == 2:
            assert head[0] & 0xF0 == 0x80, "the last fragment, and no reserved bit"
            assert head[1] & 0x80 == 0, "no mask"
            count = head[1] & 0x7F
            if count == 126:
                (count,) = struct.unpack(">H", self._take(2))
            elif count == 127:
                (count,) = struct.unpack(">Q", self._take(8))
            yield head[0] & 0x0F, self._take(count)

    def _take(self, count: int) -> bytes:
        while len(self._came) < count:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                break
            self._came += more
        taken, self._came = self._came[:count], self._came[count:]
        return taken


GET = f"GET {COMPUTE_ADDRESS} HTTP/1.1"

# ------------------------------------------------------------------------------------- cases


@dataclass(frozen=True)
class Case:
    """Frames after the handshake, and what must come of them."""

    name: str
    sent: list[bytes]
    closes: set[int] = field(default_factory=set[int])  # the codes it may end with
    pongs: list[bytes] = field(default_factory=list[bytes])
    after_welcome: list[bytes] | None = None  # sent once the greeting came through, where it does
    slices: bool = False  # every byte in a packet of its own


BYE = closing(NORMAL)


def framing() -> Iterator[Case]:
    for count in (0, 1, 124, 125):
        load = os.urandom(count)
        yield Case(f"ping of {count} bytes", [frame(PING, load), BYE], {NORMAL}, [load])
    yield Case("ping of 126 bytes", [frame(PING, bytes(126))], {PROTOCOL})
    yield Case("pong of 126 bytes", [frame(PONG, bytes(126))], {PROTOCOL})
    yield Case(
        "pong nobody asked for", [frame(PONG, b"x"), frame(PING, b"y"), BYE], {NORMAL}, [b"y"]
    )
    many = [bytes([i]) for i in range(10)]
    yield Case("ten pings", [*(frame(PING, it) for it in many), BYE], {NORMAL}, many)
    sliced = [frame(PING, b"slow"), frame(BINARY, GREETING)]
    yield Case("one byte a packet", sliced, {NORMAL}, [b"slow"], [BYE], slices=True)
    yield Case("greeting", [frame(BINARY, GREETING)], {NORMAL}, [], [BYE])
    for count in (0, 1, 125, 126, 127, 128, 65535, 65536, 65537):
        # What is no message of the contract is refused by name, not as a broken frame.
        yield Case(f"message of {count} bytes", [frame(BINARY, bytes(count))], {POLICY})
    for opcode in (BINARY, TEXT, PING, CLOSE):
        unmasked = frame(opcode, b"", masked=False)
        yield Case(f"opcode {opcode} without a mask", [unmasked], {PROTOCOL})
    yield Case("greeting without a mask", [frame(BINARY, GREETING, masked=False)], {PROTOCOL})


def reserved() -> Iterator[Case]:
    for bits in range(1, 8):
        for opcode in (BINARY, PING, CLOSE):
            name = f"reserved bits {bits:03b} with opcode {opcode}"
            yield Case(name, [frame(opcode, b"", reserved=bits)], {PROTOCOL})
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield Case(f"opcode {opcode}", [frame(opcode)], {PROTOCOL})
        after = [frame(PING, b"a"), frame(opcode, b"text"), frame(PING, b"b")]
        yield Case(f"opcode {opcode} after a ping", after, {PROTOCOL}, [b"a"])


def fragmentation() -> Iterator[Case]:
    def whole(name: str, parts: list[bytes], pongs: list[bytes] | None = None) -> Case:
        return Case(name, parts, {NORMAL}, pongs or [], [BYE])

    two = fragments(BINARY, *cut(GREETING, 7))
    yield whole("two fragments", two)
    yield whole("a fragment a byte", fragments(BINARY, *cut(GREETING, *range(1, len(GREETING)))))
    yield whole("empty first fragment", fragments(BINARY, b"", GREETING))
    yield whole("empty last fragment", fragments(BINARY, GREETING, b""))
    yield whole(
        "empty fragments", fragments(BINARY, b"", b"", GREETING[:3], b"", GREETING[3:], b"")
    )
    yield whole("ping between fragments", [two[0], frame(PING, b"in"), two[1]], [b"in"])
    yield whole("pong between fragments", [two[0], frame(PONG, b"in"), two[1]])
    for opcode in (PING, PONG, CLOSE):
        name = f"fragmented control frame {opcode}"
        yield Case(name, [frame(opcode, b"", final=False)], {PROTOCOL})
    for final in (True, False):
        alone = frame(CONTINUATION, b"x", final=final)
        yield Case(f"continuation of nothing, final {final}", [alone], {PROTOCOL})
        name = f"continuation after a message, final {final}"
        yield Case(name, [frame(BINARY, GREETING)], {PROTOCOL}, [], [alone])
    for opcode in (TEXT, BINARY):
        inside = [frame(BINARY, b"x", final=False), frame(opcode, b"y")]
        yield Case(f"message {opcode} inside a message", inside, {PROTOCOL})
    # Allowed, but whoever closes there has broken its message off.
    yield Case("close inside a message", [two[0], BYE], {NORMAL, PROTOCOL})


NO_UNICODE = {
    "overlong slash": b"\xc0\xaf",
    "overlong nul": b"\xe0\x80\x80",
    "overlong of four": b"\xf0\x80\x80\xaf",
    "surrogate": b"\xed\xa0\x80",
    "pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "no first byte": b"\x80",
    "cut off": b"\xce\xba\xe1",
    "fe": b"\xfe",
    "latin-1": b"gr\xfcn",
}


def utf8() -> Iterator[Case]:
    word = "κόσμε 𝄞".encode()
    yield Case("text", [frame(TEXT, word)], REFUSED_TEXT)
    yield Case("empty text", [frame(TEXT)], REFUSED_TEXT)
    split = fragments(TEXT, *cut(word, *range(1, len(word))))
    yield Case("characters split between fragments", split, REFUSED_TEXT)
    for name, wrong in NO_UNICODE.items():
        yield Case(f"text: {name}", [frame(TEXT, word + wrong)], {NO_UTF8})
        yield Case(f"text in fragments: {name}", fragments(TEXT, word, wrong), {NO_UTF8})
        yield Case(f"close: {name}", [closing(NORMAL, wrong)], {NO_UTF8})


def close() -> Iterator[Case]:
    yield Case("close without a code", [frame(CLOSE)], {NORMAL, EMPTY})
    yield Case("close of one byte", [frame(CLOSE, b"\x03")], {PROTOCOL})
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        yield Case(f"close code {code}", [closing(code)], {code})
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield Case(f"close code {code}", [closing(code)], {PROTOCOL})
    yield Case("close with a reason", [closing(NORMAL, "tschüß".encode())], {NORMAL})
    yield Case("longest reason", [closing(NORMAL, b"x" * 123)], {NORMAL})
    yield Case("reason too long", [closing(NORMAL, b"x" * 124)], {PROTOCOL})
    yield Case("two closes", [closing(1001), BYE], {1001})
    yield Case("ping after close", [BYE, frame(PING, b"late")], {NORMAL})
    yield Case("message after close", [BYE, frame(BINARY, GREETING)], {NORMAL})


def limits() -> Iterator[Case]:
    most = LIMITS.message_bytes
    yield Case("a byte too many", [frame(BINARY, claims=most + 1)], {TOO_BIG})
    yield Case("2^62 bytes", [frame(BINARY, claims=1 << 62)], {TOO_BIG})
    yield Case("2^63 bytes", [frame(BINARY, claims=1 << 63)], {TOO_BIG, PROTOCOL})
    together = [frame(BINARY, b"x", final=False), frame(CONTINUATION, claims=most)]
    yield Case("a byte too many in two fragments", together, {TOO_BIG})


CASES = [*framing(), *reserved(), *fragmentation(), *utf8(), *close(), *limits()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_frames(node: Node, case: Case) -> None:
    with Peer(node) as peer:
        peer.upgrade()
        data = b"".join(case.sent)
        for part in cut(data, *range(1, len(data))) if case.slices else [data]:
            peer.send(part)
        pongs, welcomed, closed = [], False, []
        for opcode, payload in peer.frames():
            assert opcode in (BINARY, CLOSE, PONG), "a node sends nothing else"
            assert not closed, "nothing comes after close"
            if opcode == PONG:
                pongs.append(payload)
            elif opcode == CLOSE:
                closed.append(struct.unpack(">H", payload[:2])[0] if payload else EMPTY)
                payload[2:].decode()
                peer.socket.shutdown(socket.SHUT_WR)
            elif isinstance(decode_one_of(RECEIVE_FROM_NODE, payload, LIMITS), Welcome):
                welcomed = True
                for part in case.after_welcome or []:
                    peer.send(part)
        assert len(closed) == 1, "it closes with a code, and then the connection"
        assert closed[0] in case.closes
        assert pongs == case.pongs
        assert welcomed == (case.after_welcome is not None)


def test_node_is_none_the_worse(node: Node) -> None:
    with node.bridge() as bridge:
        bridge.ask("probe", {})
        assert isinstance(bridge.answer(), Result)


# --------------------------------------------------------------------------------- handshake

REQUESTS: dict[str, tuple[dict[str, str | None], str, set[int]]] = {
    "as it should be": ({}, GET, {101}),
    "names in capitals": (
        {"Upgrade": "WebSocket", "Connection": "keep-alive, UPGRADE"},
        GET,
        {101},
    ),
    "an extension": ({"Sec-WebSocket-Extensions": "permessage-deflate"}, GET, {101}),
    "a protocol": ({"Sec-WebSocket-Protocol": "chat"}, GET, {101, 400}),
    "POST": ({}, f"POST {COMPUTE_ADDRESS} HTTP/1.1", {400, 405}),
    "HTTP/1.0": ({}, f"GET {COMPUTE_ADDRESS} HTTP/1.0", {400, 426, 505}),
    "no host": ({"Host": None}, GET, {400}),
    "no upgrade": ({"Upgrade": None}, GET, {400, 426}),
    "another upgrade": ({"Upgrade": "h2c"}, GET, {400, 426}),
    "no connection": ({"Connection": None}, GET, {400, 426}),
    "no version": ({"Sec-WebSocket-Version": None}, GET, {400, 426}),
    "version 8": ({"Sec-WebSocket-Version": "8"}, GET, {400, 426}),
    "no key": ({"Sec-WebSocket-Key": None}, GET, {400}),
    "a short key": ({"Sec-WebSocket-Key": "c2hvcnQ="}, GET, {400}),
    "a key that is no base64": ({"Sec-WebSocket-Key": "!" * 24}, GET, {400}),
    "another address": ({}, "GET /other HTTP/1.1", {404}),
    "no token": ({"Authorization": None}, GET, {401}),
    "a wrong token": ({"Authorization": "Bearer abc"}, GET, {401}),
    "a browser": ({"Origin": "https://example.com"}, GET, {403}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_handshake(node: Node, name: str) -> None:
    change, line, statuses = REQUESTS[name]
    with Peer(node) as peer:
        status, headers = peer.request(change, line)
        assert status in statuses
        if status == 101:
            assert headers["upgrade"].lower() == "websocket"
            assert headers["connection"].lower() == "upgrade"
            assert "sec-websocket-extensions" not in headers, "no compression is agreed to"
            assert "sec-websocket-protocol" not in headers
            peer.send(BYE)
            assert [opcode for opcode, _ in peer.frames()] == [CLOSE]
        else:
            assert "sec-websocket-accept" not in headers
