# /// script
# requires-python = ">=3.11"
# dependencies = ["demandlib==0.2.2", "pvlib==0.16.1", "pyyaml"]
# ///
"""Writes the three CSV files of the demo site; the README beside this file names the sources.

    uv run demo/generate.py

demandlib carries the weather and the load profile, pvlib turns weather into PV power.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pvlib
import yaml
from demandlib.bdew import H25

FOLDER = Path(__file__).parent
TIME_ZONE = "Europe/Berlin"
WEEK = pd.date_range("2025-03-10", "2025-03-17", freq="15min", tz=TIME_ZONE, inclusive="left")

TRY_REGION = 7  # DWD test reference year 2010 of Kassel, 45 km from the site
# Columns of the file that matter here, counted as its head lists them.
TRY_COLUMNS = {
    2: "month",
    3: "day",
    4: "hour",
    7: "wind_speed",
    8: "temp_air",
    13: "direct_horizontal",
    14: "diffuse",
}

# ct/kWh without VAT: time-variable network fee of EWF, first and fourth quarter of 2025
LOW_FEE, STANDARD_FEE, HIGH_FEE = 3.45, 8.62, 10.84
LOW_HOURS, HIGH_HOURS = range(1, 4), range(17, 19)
HOUSEHOLD_PRICE = 39.7  # ct/kWh with VAT, all parts, with the standard fee
VAT = 0.19


def main() -> None:
    site = yaml.safe_load((FOLDER / "site.yaml").read_text(encoding="utf-8"))
    # Generation is negative in every series of power.
    write("pv-power.csv", -pv_power_kw(site))
    write("load-power.csv", load_power_kw(site))
    write("import-price.csv", import_price_per_kwh())


def pv_power_kw(site: dict[str, Any]) -> pd.Series:
    """AC power of the plant in each quarter of an hour of the week."""
    pv = site["pv"]["pv"]
    place = pvlib.location.Location(
        site["site"]["latitude"], site["site"]["longitude"], tz=TIME_ZONE, altitude=200
    )
    middle = WEEK + pd.Timedelta("7.5min")
    sun = place.get_solarposition(middle)
    sky = hourly_weather(middle)

    # The hour's mean is spread over its quarters as a clear sky would be.
    clear = place.get_clearsky(middle, model="haurwitz")["ghi"]
    hourly_clear = clear.groupby(middle.floor("h")).transform("mean")
    shape = (clear / hourly_clear).where(hourly_clear > 0, 1.0)
    diffuse = sky["diffuse"] * shape
    height = np.cos(np.radians(sun["apparent_zenith"])).clip(lower=0.065)
    direct = (sky["direct_horizontal"].clip(lower=0) * shape / height).where(
        sun["apparent_elevation"] > 0, 0.0
    )

    plane = pvlib.irradiance.get_total_irradiance(
        pv["tilt_deg"],
        pv["azimuth_deg"],
        sun["apparent_zenith"],
        sun["azimuth"],
        dni=direct,
        ghi=diffuse + sky["direct_horizontal"].clip(lower=0) * shape,
        dhi=diffuse,
        dni_extra=pvlib.irradiance.get_extra_radiation(middle),
        model="haydavies",
    )["poa_global"]
    cell = pvlib.temperature.pvsyst_cell(plane, sky["temp_air"], sky["wind_speed"])
    dc_watts = pvlib.pvsystem.pvwatts_dc(plane, cell, pv["peak_power_kw"] * 1000, -0.0035)
    losses = 1 - pvlib.pvsystem.pvwatts_losses(soiling=1, shading=2, snow=0, age=0) / 100
    ac_watts = pvlib.inverter.pvwatts(dc_watts * losses, pv["peak_power_kw"] * 1000 / 0.96)
    return pd.Series(np.asarray(ac_watts) / 1000, index=WEEK).fillna(0.0)


def hourly_weather(times: pd.DatetimeIndex) -> pd.DataFrame:
    """The weather of the hour that each time lies in."""
    path = files("demandlib.vdi") / "resources_weather" / f"TRY2010_{TRY_REGION:02}_Jahr.dat"
    text = path.read_text(encoding="latin-1")
    rows = [line.split() for line in text.partition("***\n")[2].splitlines()]
    year = pd.DataFrame(rows)[list(TRY_COLUMNS)].rename(columns=TRY_COLUMNS).apply(pd.to_numeric)
    # Hour 1 of the file is the first of the day, in Central European Time all year round.
    year = year.set_index(["month", "day", "hour"])
    winter = times.tz_convert("Etc/GMT-1")
    weather = year.loc[list(zip(winter.month, winter.day, winter.hour + 1, strict=True))]
    return weather.set_axis(times)


def load_power_kw(site: dict[str, Any]) -> pd.Series:
    """The household's standard load profile, scaled to its annual consumption."""
    per_gwh = H25(WEEK.tz_localize(None))
    annual_energy_kwh = site["load"]["load"]["annual_energy_kwh"]
    return pd.Series(per_gwh.to_numpy() * annual_energy_kwh / 1e6, index=WEEK)


def import_price_per_kwh() -> pd.Series:
    """The household price, its network fee replaced by the time-variable one. EUR/kWh."""
    fee = pd.Series(STANDARD_FEE, index=WEEK)
    fee[WEEK.hour.isin(LOW_HOURS)] = LOW_FEE
    fee[WEEK.hour.isin(HIGH_HOURS)] = HIGH_FEE
    return (HOUSEHOLD_PRICE + (fee - STANDARD_FEE) * (1 + VAT)) / 100


def write(name: str, values: pd.Series) -> None:
    """Local time without offset, as the series API takes it in the site's time zone."""
    lines = [
        f"{time:%Y-%m-%dT%H:%M:%S},{round(value, 4) + 0.0:g}" for time, value in values.items()
    ]
    (FOLDER / name).write_text("\n".join(["time,value", *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
