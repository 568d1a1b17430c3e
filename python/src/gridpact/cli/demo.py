"""`gridpact demo`: the main job on real input, through every boundary, shown and measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import msgspec
from rich.console import Console

from gridpact.cli.access import client_of
from gridpact.cli.client import Client
from gridpact.cli.demo_site import DemoSite, read_demo_site
from gridpact.cli.report import PlanView, plan_report
from gridpact.cli.run import Finished, finished_by
from gridpact.contracts.rest import (
    DispatchInput,
    DispatchResult,
    DispatchSubmission,
    EngineChoice,
    SeriesDraft,
    Site,
    Task,
)
from gridpact.platform.error import PlatformError
from gridpact.platform.options import PlatformOptions
from gridpact.platform.report import Report
from gridpact.platform.running import RunningPlatform, find_platform, running_platform
from gridpact.platform.state import write_private

HORIZONS_SLOTS = (96, 672)
REPEATS = 5


class Measured(msgspec.Struct, frozen=True):
    """One horizon; times are medians over the repeats."""

    slots: int
    cost: float
    baseline_cost: float
    savings: float
    currency: str
    request_to_push_ms: float
    solve_ms: float


class DemoRecord(msgspec.Struct, frozen=True):
    """The content of demo.json in the state folder."""

    engine: str
    engine_version: str
    broker: str
    repeats: int
    runs: list[Measured]


@dataclass(frozen=True, slots=True)
class Timed:
    """A finished task, its parsed result, and the time from before the request until then."""

    task: Task
    result: DispatchResult
    request_to_push_ms: float


async def demonstrate(
    options: PlatformOptions, folder: Path, output: Console, progress: Console
) -> None:
    """Runs the whole demo; the plans go to ``output``, what happens meanwhile to ``progress``.

    Raises PlatformError, ApiError, UnreachableError and TaskFailedError.
    """
    site = read_demo_site(folder)
    async with _platform(options, progress) as platform, client_of(platform) as client:
        progress.print(f"logging in at {platform.api_url}")
        values = await _fill(client, site, folder, progress)
        runs: list[Measured] = []
        task: Task | None = None
        for slots in HORIZONS_SLOTS:
            wanted = site.dispatch_input(slots, values)
            finished = await _plan(client, wanted, _engine(platform), progress)
            runs.append(_measured(finished))
            task = finished[-1].task
            _show(output, PlanView.of(wanted, finished[-1].result, site.time_zone), runs[-1], task)
        assert task is not None
        record = DemoRecord(
            engine=str(task.engine),
            engine_version=str(task.engine_version),
            broker=platform.broker,
            repeats=REPEATS,
            runs=runs,
        )
        file = platform.folder.path / "demo.json"
        write_private(file, msgspec.json.format(msgspec.json.encode(record)))
        output.print(f"measured: {file}", soft_wrap=True)
        output.print(
            "API documentation: `gridpact status` tells its address while `gridpact up` runs",
            highlight=False,
            soft_wrap=True,
        )


@asynccontextmanager
async def _platform(options: PlatformOptions, progress: Console) -> AsyncGenerator[RunningPlatform]:
    """The platform that runs on the folder, which then stays; or one for the demo alone."""
    running = find_platform(options.state_dir)
    if running is not None:
        # Redis is what nobody asked for.
        if options.broker not in ("redis", running.broker):
            words = f"a platform runs here already, on {running.broker}: `gridpact down` stops it"
            raise PlatformError(words)
        progress.print(f"a platform runs here already, on {running.broker}: using it")
        yield running
        return

    def show(report: Report) -> None:
        seconds = report.elapsed_ms / 1000
        progress.print(f"{report.process:<16} {report.state:<6} {seconds:6.2f} s", highlight=False)

    progress.print("starting the platform")
    async with running_platform(options, show) as started:
        yield started
        progress.print("stopping the platform")


async def _fill(
    client: Client, demo: DemoSite, folder: Path, progress: Console
) -> dict[str, list[float]]:
    """Creates what is missing of the site, imports the CSV files and reads them back."""
    sites = {site.name: site for site in await client.list_sites()}
    site = sites.get(demo.site.name) or await client.create_site(demo.site)
    series_ids = await _series(client, demo, site)
    standing = {asset.name for asset in await client.list_assets(site.site_id)}
    tariff = demo.tariff_asset(series_ids[demo.tariff.import_price_series])
    for asset in (*demo.assets, tariff):
        if asset.name not in standing:
            await client.create_asset(site.site_id, asset)
    progress.print(f"site {site.name} with battery, PV, load and tariff")

    values: dict[str, list[float]] = {}
    for file, series_id in series_ids.items():
        csv = (folder / file).read_text(encoding="utf-8")
        written = await client.ingest_csv(series_id, csv)
        window = await client.query_values(
            series_id, demo.start_of(0), demo.start_of(written.written_count)
        )
        values[file] = [value for value in window.values if value is not None]
        progress.print(f"imported {file}: {written.written_count} values", highlight=False)
    return values


async def _series(client: Client, demo: DemoSite, site: Site) -> dict[str, str]:
    """The id of each series, by its file; created where missing."""
    known = {series.name: series.series_id for series in await client.list_series(site.site_id)}
    for file, quantity in demo.series.items():
        if file not in known:
            draft = SeriesDraft.model_validate(
                {
                    "site_id": site.site_id,
                    "name": file,
                    "quantity": quantity,
                    "slot_duration_s": demo.slot_duration_s,
                }
            )
            known[file] = (await client.create_series(draft)).series_id
    return {file: known[file] for file in demo.series}


def _engine(platform: RunningPlatform) -> EngineChoice:
    """Julia where the platform runs it: right after the start `auto` might still take turns."""
    return "julia" if "compute-julia" in platform.addresses else "auto"


async def _plan(
    client: Client, wanted: DispatchInput, engine: EngineChoice, progress: Console
) -> list[Timed]:
    """Submits the same schedule several times, one after the other, and measures each."""
    submission = DispatchSubmission(kind="dispatch", input=wanted, engine=engine).to_json()
    timed: list[Timed] = []
    for repeat in range(REPEATS):
        started = time.perf_counter()
        finished = await _finish(client, submission)
        result = DispatchResult.model_validate_json(finished.result)
        milliseconds = (time.perf_counter() - started) * 1000
        timed.append(Timed(finished.task, result, milliseconds))
        progress.print(
            f"{wanted.slots} slots, {repeat + 1} of {REPEATS}: {finished.task.state.lower()} by "
            f"{finished.task.engine} after {milliseconds:.1f} ms",
            highlight=False,
        )
    return timed


async def _finish(client: Client, submission: bytes) -> Finished:
    task = await client.submit(submission, str(uuid4()))
    async for update in client.follow(task.task_id):
        if (finished := finished_by(update)) is not None:
            return finished
    raise AssertionError("follow() ends with the task")


def _measured(timed: list[Timed]) -> Measured:
    result = timed[-1].result
    return Measured(
        slots=result.slots,
        cost=result.cost,
        baseline_cost=result.baseline_cost,
        savings=result.savings,
        currency=result.currency,
        request_to_push_ms=round(statistics.median(run.request_to_push_ms for run in timed), 3),
        solve_ms=round(statistics.median(run.task.solve_ms or 0.0 for run in timed), 3),
    )


def _show(output: Console, view: PlanView, measured: Measured, task: Task) -> None:
    output.print()
    output.rule(f"{measured.slots} slots from {view.start_of(0):%A %d %B %Y}", align="left")
    output.print(plan_report(view, output))
    output.print(
        f"engine {task.engine} {task.engine_version}: {measured.request_to_push_ms:.1f} ms from "
        f"request to pushed result, of which {measured.solve_ms:.1f} ms in the worker "
        f"(medians of {REPEATS})",
        highlight=False,
        soft_wrap=True,
    )
    output.print()
