"""What describes the API: the contract itself, a page to read it by, and a page a reason."""

from __future__ import annotations

import html
from importlib.resources import files
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gridpact.contracts.errors import REASONS, Reason
from gridpact.kit.errors import GridpactError

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = {"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-cache"}
_ASSETS = {"docs.js": "text/javascript", "docs.css": "text/css"}


def contract() -> dict[str, Any]:
    """contracts/openapi.yaml in one piece, as it was generated."""
    return orjson.loads((files("gridpact.contracts") / "openapi.json").read_bytes())


def document_routes() -> list[Route]:
    """The paths beside the contract's operations."""
    return [
        Route("/", _root, methods=["GET"]),
        Route("/openapi.json", _openapi, methods=["GET"]),
        Route("/docs", _docs, methods=["GET"]),
        Route("/docs/{asset}", _docs_asset, methods=["GET"]),
        Route("/problems/{slug}", _problem, methods=["GET"]),
    ]


async def _root(request: Request) -> Response:
    """Who opens the address of the API in a browser wants to read about it."""
    return RedirectResponse("/docs", 302)


async def _openapi(request: Request) -> Response:
    body = (files("gridpact.contracts") / "openapi.json").read_bytes()
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-cache"})


async def _docs(request: Request) -> Response:
    page = (files("gridpact.api") / "docs" / "index.html").read_bytes()
    return Response(page, media_type="text/html", headers=_PAGE_HEADERS)


async def _docs_asset(request: Request) -> Response:
    name = request.path_params["asset"]
    if name not in _ASSETS:
        raise GridpactError(Reason.NOT_FOUND, "there is no such file", resource="path", id=name)
    content = (files("gridpact.api") / "docs" / name).read_bytes()
    return Response(content, media_type=_ASSETS[name], headers=_PAGE_HEADERS)


async def _problem(request: Request) -> Response:
    slug = request.path_params["slug"]
    path = f"/problems/{slug}"
    entry = next((each for each in REASONS.values() if each.problem_type == path), None)
    if entry is None:
        raise GridpactError(Reason.NOT_FOUND, "there is no such problem", resource="path", id=slug)
    again = "The same request may succeed later." if entry.retryable else ""
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8">
<title>{html.escape(entry.title)}</title><link rel="stylesheet" href="/docs/docs.css">
<main><h1>{html.escape(entry.title)}</h1>
<p><code>{entry.reason}</code> · HTTP {entry.http_status} · gRPC {entry.grpc_code.name}</p>
<p>{html.escape(entry.way_out)} {again}</p></main></html>
"""
    return Response(page, media_type="text/html", headers=_PAGE_HEADERS)
