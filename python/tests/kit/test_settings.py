"""Settings name every fault and never a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.kit.settings import Address, SettingsError, read_settings


@dataclass(frozen=True, slots=True)
class Sample:
    secret: str = field(repr=False)
    rpc_address: Address
    compute_urls: tuple[str, ...]
    folder: Path = Path("here")
    workers: int = 2


GOOD = {
    "GRIDPACT_SECRET": "s3cret",
    "GRIDPACT_RPC_ADDRESS": "127.0.0.1:7420",
    "GRIDPACT_COMPUTE_URLS": "ws://a/compute, ws://b/compute",
}


def test_reads_each_field_from_its_variable() -> None:
    assert read_settings(Sample, GOOD | {"GRIDPACT_WORKERS": "5"}) == Sample(
        secret="s3cret",
        rpc_address=Address("127.0.0.1", 7420),
        compute_urls=("ws://a/compute", "ws://b/compute"),
        workers=5,
    )


def test_names_every_fault_at_once() -> None:
    environment = {"GRIDPACT_SECRET": "", "GRIDPACT_RPC_ADDRESS": "x", "GRIDPACT_WORKERS": "two"}
    with pytest.raises(SettingsError) as caught:
        read_settings(Sample, environment)
    assert str(caught.value) == (
        "GRIDPACT_SECRET is not set; GRIDPACT_RPC_ADDRESS must be host:port; "
        "GRIDPACT_COMPUTE_URLS is not set; GRIDPACT_WORKERS must be a whole number"
    )


def test_shows_no_secret() -> None:
    assert "s3cret" not in repr(read_settings(Sample, GOOD))


@given(host=st.from_regex(r"[a-z0-9.-]{1,20}|[0-9a-f:]{2,10}", fullmatch=True))
@pytest.mark.parametrize("port", [1, 7420, 65535])
def test_address_survives_its_own_text(host: str, port: int) -> None:
    assert Address.parse(str(Address(host, port))) == Address(host, port)


@pytest.mark.parametrize(
    "text", ["", "host", ":1", "host:", "host:0", "host:65536", "host:-1", "host:١"]
)
def test_refuses_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        Address.parse(text)
