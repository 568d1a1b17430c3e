"""W3C trace context: one trace id follows a request through every process."""

from __future__ import annotations

import re
import secrets

from gridpact.kit.log import current_trace_id

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-.*")


def begin_trace(traceparent: str | None = None) -> str:
    """Makes the trace that ``traceparent`` names, or a new one, the current one; gives its id."""
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    trace_id = match[1] if match else secrets.token_hex(16)
    current_trace_id.set(trace_id)
    return trace_id


def traceparent() -> str:
    """The ``traceparent`` of a call going out: the current trace (or a new one), a new span."""
    trace_id = current_trace_id.get() or begin_trace()
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"
