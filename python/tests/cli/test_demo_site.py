"""The data of the demo, as it lies in the repository."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import pytest

from gridpact.cli.demo_site import DemoSite, default_demo_folder, read_demo_site

FOLDER = default_demo_folder()


@pytest.fixture
def demo() -> DemoSite:
    return read_demo_site(FOLDER)


def values_of(file: str) -> tuple[list[datetime], list[float]]:
    header, *lines = (FOLDER / file).read_text(encoding="utf-8").splitlines()
    assert header == "time,value"
    pairs = [line.split(",") for line in lines]
    return [datetime.fromisoformat(time) for time, _ in pairs], [float(value) for _, value in pairs]


def test_series_are_a_week_without_gaps(demo: DemoSite) -> None:
    for file in demo.series:
        times, _ = values_of(file)
        assert times[0] == demo.first_slot
        steps = {(later - time).total_seconds() for time, later in pairwise(times)}
        assert steps == {float(demo.slot_duration_s)}
        assert len(times) == 672


def test_generation_is_negative_and_within_the_plant(demo: DemoSite) -> None:
    _, power = values_of(demo.pv.power_series)
    assert max(power) == 0.0
    assert -demo.pv.pv.peak_power_kw <= min(power) < -1.0


def test_load_is_a_household(demo: DemoSite) -> None:
    _, power = values_of(demo.load.power_series)
    annual = demo.load.load.annual_energy_kwh
    assert annual is not None
    assert 0.7 < sum(power) / 4 / (annual / 52) < 1.3


def test_prices_are_those_of_the_readme(demo: DemoSite) -> None:
    times, prices = values_of(demo.tariff.import_price_series)
    by_hour = {time.hour: price for time, price in zip(times, prices, strict=True)}
    assert {hour for hour, price in by_hour.items() if price == 0.3355} == {1, 2, 3}
    assert {hour for hour, price in by_hour.items() if price == 0.4234} == {17, 18}
    assert {price for hour, price in by_hour.items() if hour not in {1, 2, 3, 17, 18}} == {0.397}


def test_input_begins_at_local_midnight_and_turns_generation_round(demo: DemoSite) -> None:
    values = {file: values_of(file)[1] for file in demo.series}
    wanted = demo.dispatch_input(96, values)
    assert wanted.start_time == "2025-03-09T23:00:00Z"
    assert demo.start_of(672) == "2025-03-16T23:00:00Z"
    assert min(wanted.pv[0].available_power_kw) == 0.0
    assert max(wanted.pv[0].available_power_kw) > 1.0


def test_the_data_stays_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 200_000
