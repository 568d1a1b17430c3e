"""Structured logging: one line an event, ``time=… level=… process=… event=… key=value``.

Every record of the process goes through it, those of uvicorn and other libraries too: a
library's sentence becomes ``event=log logger=… message="…"``. Lines go to standard output, where
the supervisor reads them (``event=ready`` is how a process says that it serves).
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime

# Set by whoever starts or receives a traced call; every line logged within carries it.
current_trace_id: ContextVar[str | None] = ContextVar("current_trace_id", default=None)

LEVELS = ("debug", "info", "warning", "error")

_PLAIN = re.compile(r"[^\s\"=\x00-\x1f\x7f]+")


class Log:
    """A logger of events: ``log.info("task-submitted", task_id=task_id, slots=96)``.

    The event is a constant in lower-case-with-dashes; what varies goes into the fields.
    """

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        self._write(logging.DEBUG, event, fields, with_traceback=False)

    def info(self, event: str, **fields: object) -> None:
        self._write(logging.INFO, event, fields, with_traceback=False)

    def warning(self, event: str, **fields: object) -> None:
        self._write(logging.WARNING, event, fields, with_traceback=False)

    def error(self, event: str, **fields: object) -> None:
        self._write(logging.ERROR, event, fields, with_traceback=False)

    def exception(self, event: str, **fields: object) -> None:
        """An error with the traceback of the exception being handled."""
        self._write(logging.ERROR, event, fields, with_traceback=True)

    def _write(
        self, level: int, event: str, fields: dict[str, object], *, with_traceback: bool
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(
                level,
                event,
                exc_info=with_traceback,
                extra={"gridpact_fields": fields},
            )


class KeyValueFormatter(logging.Formatter):
    """Renders a record as one line of ``key=value`` pairs; line breaks are escaped."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        instant = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        pairs: dict[str, object] = {
            "time": instant.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "process": self._process,
        }
        fields: dict[str, object] | None = getattr(record, "gridpact_fields", None)
        if fields is None:
            pairs |= {"event": "log", "logger": record.name, "message": record.getMessage()}
        else:
            pairs |= {"event": record.msg, **fields}
        trace_id = current_trace_id.get()
        if trace_id is not None:
            pairs.setdefault("trace_id", trace_id)
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            pairs.setdefault("error", f"{type(error).__name__}: {error}")
            pairs["traceback"] = "".join(traceback.format_exception(error))
        return " ".join(f"{key}={_render(value)}" for key, value in pairs.items())


def configure_logging(process: str, level: str = "info") -> None:
    """Sends every record of this process to standard output as key=value lines.

    Called once, at the start of a process. Raises ValueError for a level not in LEVELS.
    uvicorn must be run with ``log_config=None``, or it installs handlers of its own.
    """
    if level not in LEVELS:
        raise ValueError(f"the log level must be one of {', '.join(LEVELS)}")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(KeyValueFormatter(process))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)


def _render(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
