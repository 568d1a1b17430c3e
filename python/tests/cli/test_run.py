"""What `gridpact run` makes of a file."""

from __future__ import annotations

import pytest

from gridpact.cli.run import InputError, submission_of, words_for
from gridpact.contracts.rest import TaskProgress


def read(text: bytes, **options: object) -> dict[str, object]:
    chosen = {"kind": None, "engine": None, "timeout_s": None} | options
    return submission_of(text, **chosen)  # pyright: ignore[reportArgumentType]


def test_bare_input_is_a_dispatch() -> None:
    assert read(b'{"slots": 1}') == {"kind": "dispatch", "input": {"slots": 1}}


def test_kind_and_engine_and_timeout_come_from_the_options() -> None:
    assert read(b"{}", kind="probe", engine="python", timeout_s=2.5) == {
        "kind": "probe",
        "input": {},
        "engine": "python",
        "timeout_s": 2.5,
    }


def test_whole_submission_stays_and_options_override_it() -> None:
    text = b'{"kind": "probe", "input": {}, "engine": "julia", "label": "x"}'
    assert read(text, engine="python") == {
        "kind": "probe",
        "input": {},
        "engine": "python",
        "label": "x",
    }


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"1", b"\xff"])
def test_refuses_what_is_no_json_object(text: bytes) -> None:
    with pytest.raises(InputError):
        read(text)


def test_refuses_another_kind_than_the_file_says() -> None:
    with pytest.raises(InputError):
        read(b'{"kind": "probe", "input": {}}', kind="dispatch")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, ""),
        ({"bound": -2.5}, "at least -2.50"),
        (
            {"objective": 0.0, "bound": 0.0, "relative_gap": 0.0},
            "cost 0.00, at least 0.00, gap 0.00%",
        ),
        (
            {"objective": 1234567.0, "bound": 1.2e6, "relative_gap": 0.028},
            "cost 1,234,567.00, at least 1,200,000.00, gap 2.80%",
        ),
    ],
)
def test_progress_says_what_is_known(found: dict[str, float], words: str) -> None:
    assert words_for(TaskProgress(fraction=0.5, stage="solve", **found)) == words
