"""How a process of the platform lives: it starts, says ``event=ready``, and ends on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import uvloop

from gridpact.kit.log import Log, configure_logging
from gridpact.kit.settings import SettingsError, read_settings

log = Log(__name__)

Settings = TypeVar("Settings")

# So many more objects than were freed: about what fifty calls leave in cycles.
_COLLECTED_COUNT = 10_000

Serving = Callable[[Settings], AbstractAsyncContextManager[Mapping[str, object]]]


def run_process(name: str, settings_kind: type[Settings], serving: Serving[Settings]) -> int:
    """Runs a process to its end and gives its exit status.

    ``serving(settings)`` is entered (it then serves; what it yields goes into the log line
    ``event=ready``) and left on SIGTERM or SIGINT, which should take less than five seconds. An
    exception out of it, of one of its background tasks too, is logged and ends the process with 1.
    """
    try:
        settings = read_settings(settings_kind)
        configure_logging(name, getattr(settings, "log_level", "info"))
    except (SettingsError, ValueError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 2
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, serving))
    except SettingsError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 2
    except Exception:
        log.exception("crashed")
        return 1
    return 0


def _spare_collector() -> None:
    """Keeps the garbage collector from what lives as long as the process.

    Collected in the middle of a call, it costs milliseconds; and most of what a call makes is gone
    by reference count before there is anything to collect.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_COUNT, 10, 10)


async def _serve(settings: Settings, serving: Serving[Settings]) -> None:
    task = asyncio.current_task()
    assert task is not None
    stop = asyncio.Event()
    ready = False

    def on_signal() -> None:
        stop.set()
        # What is still starting may wait for something that never comes.
        if not ready:
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    try:
        async with serving(settings) as facts:
            ready = True
            _spare_collector()
            log.info("ready", **facts)
            await stop.wait()
            log.info("stopping")
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    log.info("stopped")
