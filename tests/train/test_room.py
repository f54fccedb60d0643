"""Memory that runs out while a model trains: what is told, and that the same command goes on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.no_memory import NO_MEMORY
from helpers.recipes import tiny_recipe
from helpers.training import IMPATIENT, run, same, trainer, weights
from unspoken.common.errors import TrainingError
from unspoken.recipe import Lora, Recipe
from unspoken.train.loop import StepwiseInternalization
from unspoken.train.room import AtOnce, memory_ran_out


def give_no_room(
    model: Any, error: BaseException, fails: Callable[[Any], bool] = lambda ids: True
) -> None:
    """From now on the model's forward pass raises `error` where `fails` says so of its input."""
    forward = model.forward

    @functools.wraps(forward)
    def without_room(*arguments: Any, **more: Any) -> Any:
        if model.training and fails(more["input_ids"]):
            raise error
        return forward(*arguments, **more)

    model.forward = without_room


@pytest.mark.parametrize("kind", NO_MEMORY)
def test_the_step_the_batch_and_what_helps_are_told_and_the_run_goes_on(
    kind: str, tmp_path: Path
) -> None:
    recipe, (error, amount) = tiny_recipe(tmp_path), NO_MEMORY[kind]
    shapes: list[tuple[int, int]] = []

    def watch(moment: str, state: Any) -> None:
        if moment == "step" and state.step == 8:
            give_no_room(broken.bare_model, error, lambda ids: not shapes.append(ids.shape))

    broken = trainer(recipe, tmp_path, watch=watch)
    with pytest.raises(TrainingError) as raised:
        broken.run()
    ((examples, tokens),) = shapes
    assert str(raised.value) == (
        f"{tmp_path}: step 9: memory ran out with {examples} examples of up to {tokens} tokens at "
        f"once ({amount}); needed: more memory, or less at once; the same command with "
        "train.micro_batch_size=8 and train.gradient_checkpointing=true, which change no result, "
        f"goes on from {tmp_path}/checkpoint-6; train.precision=bf16, train.optimizer=adamw_8bit, "
        "lora (adapters instead of all weights), a smaller data.max_length or a smaller model "
        "begin this training anew"
    )
    assert examples == 16
    whole = run(tmp_path / "whole")
    assert same(weights(trainer(recipe, tmp_path).run().folder), weights(whole.folder))


def test_what_was_told_makes_it_fit(tmp_path: Path) -> None:
    """Passes of more than so many examples fail; each error halves them, up to the end."""
    error, _ = NO_MEMORY["cuda"]
    sizes, micro = [], None
    while True:
        one = trainer(tiny_recipe(tmp_path, train={"micro_batch_size": micro}), tmp_path)
        give_no_room(one.bare_model, error, lambda ids: len(ids) > 3)
        try:
            one.run()
            break
        except TrainingError as told:
            (micro,) = (int(part.split("=")[1]) for part in str(told).split() if "micro_b" in part)
            sizes.append(micro)
    assert sizes == [8, 4, 2]


def test_an_error_of_another_kind_stays_what_it_is(tmp_path: Path) -> None:
    one = trainer(tiny_recipe(tmp_path), tmp_path)
    give_no_room(one.bare_model, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match=r"^shapes cannot be multiplied$"):
        one.run()


def test_memory_that_ends_after_the_passes_of_a_step_is_told_as_such(tmp_path: Path) -> None:
    one = trainer(tiny_recipe(tmp_path), tmp_path)

    def step(*_: Any, **__: Any) -> Any:
        raise NO_MEMORY["cpu"][0]

    one.processes.step = step
    with pytest.raises(TrainingError) as raised:
        one.run()
    told = str(raised.value)
    assert "step 1: memory ran out outside of its forward and backward passes (364 TiB" in told
    assert "micro_batch_size" not in told
    assert "begins again, without a checkpoint yet" in told


def test_memory_that_ends_before_the_first_step_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(*_: Any, **__: Any) -> Any:
        raise NO_MEMORY["cuda"][0]

    monkeypatch.setattr("unspoken.parallel.processes.Processes.prepare", prepare)
    with pytest.raises(TrainingError, match="before its first step: memory ran out outside of"):
        trainer(tiny_recipe(tmp_path), tmp_path)


def test_memory_that_ends_while_a_level_is_measured_names_the_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: Any, **__: Any) -> Any:
        raise NO_MEMORY["cuda"][0]

    monkeypatch.setattr("unspoken.train.loss.cross_entropy_of_each", measure)
    with pytest.raises(TrainingError, match=r"step 1: memory ran out with 8 examples of up to 20"):
        trainer(tiny_recipe(tmp_path, **IMPATIENT), tmp_path).run()


@pytest.mark.parametrize(
    ("train", "processes", "at_once", "size"),
    [
        ({"batch_size": 24}, 1, 24, 12),
        ({"batch_size": 24}, 1, 9, 4),
        ({"batch_size": 24}, 4, 6, 3),  # of the six of each process
        ({"batch_size": 14}, 1, 7, 2),
        ({"batch_size": 24}, 1, 1, None),
    ],
)
def test_the_next_smaller_pass_is_one_that_the_batch_can_be_cut_into(
    train: dict[str, Any], processes: int, at_once: int, size: int | None, tmp_path: Path
) -> None:
    told = str(_told(tiny_recipe(tmp_path, train=train), AtOnce(at_once, 9), processes))
    assert f"train.micro_batch_size={size} and" in told if size else "micro_batch" not in told
    if size:
        tiny_recipe(tmp_path, train={**train, "micro_batch_size": size})


def test_only_what_is_not_yet_done_is_advised(tmp_path: Path) -> None:
    small = {
        "micro_batch_size": 1,
        "gradient_checkpointing": True,
        "precision": "bf16",
        "optimizer": "sgd",
    }
    recipe = tiny_recipe(tmp_path, train=small).model_copy(update={"lora": Lora()})
    told = str(_told(recipe, AtOnce(1, 2048), 1))
    assert told == (
        "runs/a: step 3: memory ran out with 1 examples of up to 2048 tokens at once (2.50 GiB "
        "asked for); needed: more memory, or less at once; the same command goes on from "
        "runs/a/checkpoint-2; model.quantization=nf4, a smaller data.max_length or a smaller "
        "model begin this training anew"
    )


def _told(recipe: Recipe, at_once: AtOnce, num_processes: int) -> TrainingError:
    return memory_ran_out(
        NO_MEMORY["cuda"][0],
        recipe,
        "runs/a: step 3",
        at_once=at_once,
        checkpoint=Path("runs/a/checkpoint-2"),
        num_processes=num_processes,
    )


def test_a_run_ends_with_one_line_and_the_same_command_finishes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from unspoken.cli.main import main
    from unspoken.recipe import dump_recipe

    file, step = tmp_path / "recipe.yaml", StepwiseInternalization.step
    file.write_text(dump_recipe(tiny_recipe(tmp_path / "run", evaluate={"num_latency": 0})))

    def narrow(self: Any, state: Any) -> Any:
        give_no_room(self.bare_model, NO_MEMORY["cuda"][0], lambda ids: len(ids) > 8)
        return step(self, state)

    monkeypatch.setattr(StepwiseInternalization, "step", narrow)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(file)])
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert "Traceback" not in told
    assert "internalized: step 1: memory ran out with 16 examples" in told
    main(["run", str(file), "train.micro_batch_size=8"])
    assert (tmp_path / "run" / "internalized" / "model" / "model.safetensors").is_file()
