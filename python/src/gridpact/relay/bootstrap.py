"""Wires the relay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from gridpact.broker.bootstrap import connected_broker
from gridpact.kit.background import running
from gridpact.kit.database import Database
from gridpact.kit.settings import RelaySettings
from gridpact.relay.repository import PostgresOutbox
from gridpact.relay.service import Relay


@asynccontextmanager
async def serving(settings: RelaySettings) -> AsyncIterator[Mapping[str, object]]:
    """The relay, publishing while entered."""
    database = Database(settings.database_url, max_connections=2)
    async with (
        database.opened(),
        connected_broker(settings) as broker,
        running(Relay(PostgresOutbox(database), broker).run(), "relay"),
    ):
        yield {"broker": settings.broker}
