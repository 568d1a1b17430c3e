from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.api.negotiation import chosen_media_type
from tests.api.examples import EXAMPLES
from tests.api.fakes import FakeServices

JSON, CSV = "application/json", "text/csv"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/csv", CSV),
        ("TEXT/CSV; q=0.5", CSV),
        ("text/*", CSV),
        ("text/csv;q=0.9, application/json;q=0.8", CSV),
        ("text/csv;q=0.5, */*", JSON),
        ("application/json;q=0, */*;q=0.1", CSV),
        ("text/html", None),
        ("text/csv;q=0", None),
        ("text/csv;q=x", None),
        ("application/problem+json", None),
    ],
)
def test_the_best_accepted_type_is_chosen(accept: str, chosen: str | None) -> None:
    assert chosen_media_type(accept, (JSON, CSV)) == chosen


@given(st.text(max_size=60))
def test_no_accept_breaks_it(accept: str) -> None:
    assert chosen_media_type(accept, (JSON, CSV)) in (None, JSON, CSV)


async def test_values_come_as_csv_or_json_with_gaps(
    client: httpx.AsyncClient, fakes: FakeServices
) -> None:
    example = EXAMPLES["queryValues"]
    fakes.series.answers["query_values"] = example.answer
    as_json = await client.get(example.path, params=example.params)
    assert as_json.json()["values"] == [0.25, None]
    as_csv = await client.get(example.path, params=example.params, headers={"Accept": CSV})
    assert as_csv.headers["content-type"].startswith(CSV)
    assert as_csv.text == "time,value\n2026-06-01T00:00:00Z,0.25\n2026-06-01T00:15:00Z,\n"
    refused = await client.get(example.path, params=example.params, headers={"Accept": "text/html"})
    assert (refused.status_code, refused.json()["reason"]) == (406, "NOT_ACCEPTABLE")
