"""Our schedules are those of transformers, at every step, to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers.recipes import tiny_recipe
from unspoken.train.fit import Length
from unspoken.train.learning_rate import LearningRate

SCHEDULES = ("constant", "constant_with_warmup", "linear", "cosine", "polynomial")


@pytest.mark.parametrize("warmup", [0, 1, 7, 0.25])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_is_transformers_own(tmp_path: Path, schedule: str, warmup: float) -> None:
    from transformers import get_scheduler

    num_steps, rate = 40, 3e-4
    train = {"lr_schedule": schedule, "warmup_steps": warmup, "learning_rate": rate}
    recipe = tiny_recipe(tmp_path, train=train)
    ours = LearningRate(recipe, Length(num_steps, settle_steps=None))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    num_warmup = round(warmup * num_steps) if 0 < warmup < 1 else int(warmup)
    theirs = get_scheduler(
        schedule, optimizer, num_warmup_steps=num_warmup, num_training_steps=num_steps
    ).lr_lambdas[0]
    assert [ours.factor(step) for step in range(num_steps + 3)] == [
        theirs(step) for step in range(num_steps + 3)
    ]


def test_a_baseline_of_fixed_length_decays_over_its_last_steps(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, train={"settle_steps": 10, "learning_rate": 1e-3})
    fixed = LearningRate(recipe, Length(40, settle_steps=None))
    rates = [fixed.at(step, all_removed_at=0) for step in range(40)]
    assert rates == pytest.approx([1e-3] * 30 + [1e-3 * (1 - i / 10) for i in range(10)])


def test_where_something_is_left_of_the_thought_nothing_decays(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, train={"settle_steps": 10, "learning_rate": 1e-3})
    settling = LearningRate(recipe, Length(40, settle_steps=10))
    assert {settling.at(step, all_removed_at=None) for step in range(40)} == {1e-3}
    rates = [settling.at(step, all_removed_at=25) for step in range(20, 40)]
    decay = [1e-3 * (1 - i / 10) for i in range(10)]
    assert rates == pytest.approx([1e-3] * 5 + decay + [0.0] * 5)


def test_where_fewer_steps_are_left_the_rate_falls_to_0_over_these(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, train={"settle_steps": 10, "learning_rate": 1e-3})
    settling = LearningRate(recipe, Length(40, settle_steps=10))
    rates = [settling.at(step, all_removed_at=36) for step in range(35, 40)]
    assert rates == pytest.approx([1e-3, 1e-3, 0.75e-3, 0.5e-3, 0.25e-3])
    fixed = LearningRate(recipe, Length(4, settle_steps=None))
    rates = [fixed.at(step, all_removed_at=0) for step in range(4)]
    assert rates == pytest.approx([1e-3, 0.75e-3, 0.5e-3, 0.25e-3])
