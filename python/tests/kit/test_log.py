"""A record is one line of key=value pairs, whatever its fields hold."""

from __future__ import annotations

import json
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.kit.log import KeyValueFormatter, Log, configure_logging, current_trace_id

PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|\S+)(?: |$)', re.DOTALL)


def pairs(line: str) -> dict[str, str]:
    found = {
        match[1]: json.loads(match[2], strict=False) if match[2].startswith('"') else match[2]
        for match in PAIR.finditer(line)
    }
    assert sum(len(match[0]) for match in PAIR.finditer(line)) == len(line), "nothing but pairs"
    return found


def record(event: str, fields: dict[str, object] | None) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "lib", "levelname": "INFO", "msg": event})
    if fields is not None:
        made.gridpact_fields = fields
    return made


@given(value=st.text(), event=st.from_regex(r"[a-z-]+", fullmatch=True))
def test_any_text_survives_on_one_line(value: str, event: str) -> None:
    line = KeyValueFormatter("api").format(record(event, {"value": value}))
    assert "\n" not in line
    assert pairs(line)["value"] == value
    assert pairs(line)["event"] == event


def test_a_library_sentence_becomes_a_log_event() -> None:
    line = KeyValueFormatter("api").format(record("Started server [1]", None))
    assert pairs(line) | {
        "event": "log",
        "logger": "lib",
        "message": "Started server [1]",
    } == pairs(line)


def test_carries_the_trace_id() -> None:
    token = current_trace_id.set("4bf92f3577b34da6a3ce929d0e0e4736")
    try:
        line = KeyValueFormatter("api").format(record("task-submitted", {}))
    finally:
        current_trace_id.reset(token)
    assert pairs(line)["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_ready_is_found_by_the_supervisor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gridpact.platform.supervisor import READY_EVENT

    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.INFO)
    configure_logging("relay")
    Log("gridpact.relay").info("ready", broker="redis")
    line = capsys.readouterr().out
    logging.captureWarnings(capture=False)
    assert pairs(line.rstrip())["process"] == "relay"
    assert READY_EVENT.search(line)


def test_an_exception_comes_with_its_traceback() -> None:
    try:
        raise KeyError("lost")
    except KeyError as error:
        made = record("relay-failed", {})
        made.exc_info = (type(error), error, error.__traceback__)
    found = pairs(KeyValueFormatter("relay").format(made))
    assert found["error"] == "KeyError: 'lost'"
    assert "test_log.py" in found["traceback"]
