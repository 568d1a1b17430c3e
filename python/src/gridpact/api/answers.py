"""Answers: models and bytes as responses."""

from __future__ import annotations

from starlette.responses import Response

from gridpact.kit.rest import AnswerModel

JSON = "application/json"


def answer(model: AnswerModel, status: int = 200, *, location: str | None = None) -> Response:
    """The model as JSON."""
    return json_answer(model.to_json(), status, location=location)


def json_answer(body: bytes, status: int = 200, *, location: str | None = None) -> Response:
    """A body that is JSON already."""
    headers = None if location is None else {"Location": location}
    return Response(body, status, headers=headers, media_type=JSON)
