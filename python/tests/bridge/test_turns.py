"""Whose turn it is, and what the settings say of kinds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.bridge.bootstrap import lane_rules
from gridpact.bridge.domain import LONGEST_URGENT_RUN, LaneRules, Turns
from gridpact.contracts.channels import KINDS, QUEUE_ENGINES
from gridpact.kit.settings import Address, BridgeSettings, SettingsError

URGENT: tuple[str, ...] = ("u1", "u2")
OTHERS: tuple[str, ...] = ("n1", "n2", "n3")


@given(st.lists(st.sets(st.sampled_from([*URGENT, *OTHERS]), min_size=1), max_size=100))
def test_the_urgent_go_first_but_nobody_waits_for_ever(waiting_each_time: list[set[str]]) -> None:
    turns = Turns(URGENT, OTHERS)
    run = 0
    for waiting in waiting_each_time:
        chosen = next(each for each in turns.order() if each in waiting)
        others_wait = bool(waiting & set(OTHERS))
        if waiting & set(URGENT) and (run < LONGEST_URGENT_RUN or not others_wait):
            assert chosen in URGENT
        else:
            assert chosen in OTHERS
        run = run + 1 if chosen in URGENT and others_wait else 0
        turns.served(chosen, others_wait=others_wait)


@given(st.sampled_from([URGENT, OTHERS]), st.integers(1, 20))
def test_equals_take_turns(equals: tuple[str, ...], rounds: int) -> None:
    turns = Turns(URGENT, OTHERS)
    served: list[str] = []
    for _ in range(rounds * len(equals)):
        served.append(next(each for each in turns.order() if each in equals))
        turns.served(served[-1], others_wait=False)
    assert served == [*equals] * rounds


def settings(
    kind_concurrency: tuple[str, ...] = (), kind_priority: tuple[str, ...] = ()
) -> BridgeSettings:
    return BridgeSettings(
        redis_url="",
        rpc_address=Address("h", 1),
        compute_urls=(),
        compute_secret="",
        bridge_secret="",
        kind_concurrency=kind_concurrency,
        kind_priority=kind_priority,
    )


def test_without_settings_the_contract_counts() -> None:
    rules = {(rule.choice, rule.kind): rule for rule in lane_rules(settings())}
    assert len(rules) == len(QUEUE_ENGINES) * len(KINDS)
    assert rules["auto", "mpc-step"] == LaneRules("auto", "mpc-step", is_urgent=True)
    assert rules["julia", "dispatch"] == LaneRules("julia", "dispatch")
    assert rules["python", "probe"].concurrency == KINDS["probe"].concurrency


def test_settings_go_before_the_contract() -> None:
    rules = lane_rules(
        settings(
            kind_concurrency=("dispatch=3",), kind_priority=("replay=urgent", "mpc-step=normal")
        )
    )
    assert {rule.concurrency for rule in rules if rule.kind == "dispatch"} == {3}
    assert {rule.kind for rule in rules if rule.is_urgent} == {"replay"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"kind_concurrency": ("dispatch=0",)},
            "GRIDPACT_KIND_CONCURRENCY: dispatch takes a whole",
        ),
        ({"kind_concurrency": ("dispatch",)}, "'dispatch' is not kind=value"),
        ({"kind_priority": ("horoscope=urgent",)}, "the kinds are dispatch, "),
        ({"kind_priority": ("dispatch=high",)}, "dispatch is urgent or normal, not 'high'"),
    ],
)
def test_settings_that_cannot_be_meant_are_named(
    changed: dict[str, tuple[str, ...]], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        lane_rules(settings(**changed))
