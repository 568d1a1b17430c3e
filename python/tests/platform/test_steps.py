"""A step is taken again when, and only when, what it depends on has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gridpact.platform.options import PlatformOptions
from gridpact.platform.running import running_platform
from gridpact.platform.state import Secrets
from gridpact.platform.steps import Steps


def test_what_was_done_is_remembered_until_its_reason_changes(tmp_path: Path) -> None:
    secrets = Secrets.random()
    steps = Steps(tmp_path, secrets)
    assert steps.done() == frozenset()
    steps.note("migrate")
    steps.note("first-admin")
    steps.note("postgres")
    assert Steps(tmp_path, secrets).done() == {"migrate", "first-admin"}
    assert Steps(tmp_path, replace(secrets, admin_email="b@c")).done() == {"migrate"}
    steps.forget()
    assert steps.done() == frozenset()


async def test_the_schema_is_made_once_and_again_for_a_new_database(tmp_path: Path) -> None:
    options = PlatformOptions(state_dir=tmp_path, engine="python", only=("postgres", "migrate"))
    taken: list[str] = []
    for _ in range(2):
        async with running_platform(options, lambda report: taken.append(report.process)):
            pass
    assert taken == ["initdb", "postgres", "migrate", "platform", "postgres", "platform"]
    (tmp_path / "postgres" / "data").rename(tmp_path / "postgres" / "old")
    taken.clear()
    async with running_platform(options, lambda report: taken.append(report.process)):
        pass
    assert taken == ["initdb", "postgres", "migrate", "platform"]
