"""Models kept between tasks."""

from __future__ import annotations

from gridpact.compute.solve.warm_models import WarmModels


def test_takes_a_model_as_it_was_kept_once() -> None:
    models = WarmModels(2)
    assert models.take("a") is None
    models.keep("a", "model")
    assert models.take("b") is None
    assert models.take("a") == "model"
    assert models.take("a") is None


def test_the_one_used_longest_ago_makes_room() -> None:
    models = WarmModels(2)
    models.keep("a", 1)
    models.keep("b", 2)
    models.keep("a", 3)
    models.keep("c", 4)
    assert [models.take(key) for key in "abc"] == [3, None, 4]


def test_forgets_everything() -> None:
    models = WarmModels(2)
    models.keep("a", 1)
    models.clear()
    assert models.take("a") is None


def test_what_is_kept_under_one_affinity_key_is_not_found_under_another() -> None:
    models = WarmModels(2)
    models.affinity_key = "one"
    models.keep("a", 1)
    models.affinity_key = "another"
    assert models.take("a") is None
    models.keep("a", 2)
    models.affinity_key = None
    assert models.take("a") is None
    models.affinity_key = "one"
    assert models.take("a") == 1
