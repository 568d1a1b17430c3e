"""The parts of the fault harness that could let a fault pass unseen: wire, sums, table."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.faults.checker import Verdict
from bench.faults.report import rows
from bench.faults.run import Played
from bench.faults.table import FAULTS
from bench.faults.wire import Wire
from bench.machine import ROOT
from gridpact.kit.settings import Address


@asynccontextmanager
async def echoing() -> AsyncIterator[Wire]:
    """A wire to a server that says everything again."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    async with server, Wire(lambda: address).laid() as wire:
        yield wire


async def test_a_held_wire_lets_nothing_through_until_it_is_healed() -> None:
    async with echoing() as wire:
        reader, writer = await asyncio.open_connection(wire.address.host, wire.address.port)
        wire.there.hold()
        writer.write(b"hello")
        while not wire.there.held_bytes:  # noqa: ASYNC110  # a counter announces nothing
            await asyncio.sleep(0)
        assert (wire.there.moved_bytes, wire.back.moved_bytes) == (0, 0)
        wire.heal()
        assert await reader.readexactly(5) == b"hello"
        assert (wire.there.held_bytes, wire.there.moved_bytes) == (5, 5)
        writer.close()


async def test_a_wire_cuts_into_single_bytes_and_loses_none() -> None:
    async with echoing() as wire:
        reader, writer = await asyncio.open_connection(wire.address.host, wire.address.port)
        wire.there.slice_bytes = 1
        writer.write(bytes(range(200)))
        assert await reader.readexactly(200) == bytes(range(200))
        assert wire.there.slice_count == 200
        writer.close()


@pytest.mark.parametrize("how", ["truncate", "reset"])
async def test_a_wire_breaks_in_the_middle_of_what_is_sent(how: str) -> None:
    async with echoing() as wire:
        reader, writer = await asyncio.open_connection(wire.address.host, wire.address.port)
        wire.back.breaks = how
        writer.write(b"0123456789")
        try:
            heard = await reader.read()
        except ConnectionResetError:
            heard = b""
            assert how == "reset"
        assert len(heard) < 10
        assert wire.back.broken_count == 1
        writer.close()


def test_seeds_are_added_up_and_their_worst_is_told() -> None:
    fault = FAULTS[0]

    def played(seed: int, injected: int, lost: int, recovery_s: float) -> Played:
        verdict = Verdict(acknowledged=10, lost=lost)
        words = ["lost one"] if lost else []
        return Played(
            fault, "redis", "python", seed, injected, verdict, None, recovery_s, 1, 1, None, words
        )

    (row,) = rows([played(1, 2, 0, 3.0), played(2, 0, 1, 5.0)])

    assert (row["seeds"], row["seeds_fired"], row["injected"]) == (2, 1, 2)
    assert (row["acknowledged"], row["lost"]) == (20, 1)
    assert (row["recovery_s"], row["recovery_median_s"], row["detection_s"]) == (5.0, 4.0, None)
    assert row["violations"] == ["seed 2: lost one"]


def test_the_document_lists_the_faults_that_are_played_and_where() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| (\d+) \| (B?) ?\|", text, flags=re.MULTILINE)
    assert listed == [(str(fault.number), "B" if fault.on_both_brokers else "") for fault in FAULTS]
