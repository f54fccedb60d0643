"""What the tests on a GPU share: a run of the CPU beside it, and answers that may tie."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.recipes import tiny_recipe
from helpers.training import NO_DROPOUT, losses, trainer
from unspoken.cli.main import main
from unspoken.models.load import load_model, load_tokenizer
from unspoken.recipe import Model

#: Runs the tests on a CPU as far as one can, where there is no GPU.
VARIABLE = "UNSPOKEN_GPU_TESTS"

#: Of every file of these tests: what libraries call deprecated is for the other tests to find.
ON_A_GPU = [pytest.mark.timeout(60), pytest.mark.filterwarnings("default")]

#: Two layers, and attention heads as wide as real ones, so that the usual kernels are taken.
SMALL = {**NO_DROPOUT, "config": {**NO_DROPOUT["config"], "n_layer": 2, "n_head": 2, "n_embd": 128}}


@contextmanager
def on_the_cpu() -> Iterator[None]:
    """Within the block, unspoken finds no GPU, and Accelerate begins anew."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(torch.cuda, "device_count", lambda: 0)
        yield
    AcceleratorState._reset_state(reset_partial_state=True)


@contextmanager
def deterministic() -> Iterator[None]:
    """Within the block, torch takes kernels that give the same sums every time, or refuses."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def train(folder: Path, **sections: Any) -> list[float]:
    """The losses of a run without dropout, on the GPU where there is one."""
    recipe = tiny_recipe(folder, **{"model": SMALL, **sections})
    trainer(recipe, folder).run()
    return losses(folder)


def train_on_the_cpu(folder: Path, **sections: Any) -> list[float]:
    """The losses of the same run in fp32 on the CPU."""
    sections["train"] = {**sections.get("train", {}), "precision": "fp32"}
    with on_the_cpu():
        return train(folder, **sections)


def largest_difference(one: Sequence[float], other: Sequence[float]) -> float:
    """Between losses of the same steps."""
    assert len(one) == len(other) > 0
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def unspoken(*arguments: object) -> None:
    """Calls the command line in this process, where the GPU is in use already."""
    main([str(argument) for argument in arguments])


def records_of(path: Path) -> list[dict[str, Any]]:
    """The records of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def require_same_answers(
    model: Path, prompts: Sequence[str], one: Sequence[str], other: Sequence[str]
) -> None:
    """Checks that two greedy completions of each prompt are the same, or part at a tie.

    Sums in another order differ in their last bits, so two tokens whose logits are that close may
    change places, and what follows with them. Where two completions part, both next tokens must
    have logits within 1e-3 of each other, which the model is asked for on the CPU in fp32; other
    tokens are apart by far more (the differences of the logits themselves are some 1e-6).

    Args:
        model: its folder; one token is one character.
        prompts: as the model reads them.
        one, other: what was written, without an end token.
    """
    tokenizer = load_tokenizer(Model(name=str(model)))
    asked = load_model(Model(name=str(model)), tokenizer, purpose="merge").eval()
    assert len(prompts) == len(one) == len(other) > 0
    for prompt, first, second in zip(prompts, one, other, strict=True):
        if first == second:
            continue
        place = next(
            (i for i, pair in enumerate(zip(first, second, strict=False)) if len(set(pair)) > 1),
            min(len(first), len(second)),
        )
        ids: Any = tokenizer(prompt + first[:place], return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            logits = asked(ids).logits[0, -1]
        ends = [
            tokenizer(text[place])["input_ids"][-1] if place < len(text) else tokenizer.eos_token_id
            for text in (first, second)
        ]
        apart = float((logits[ends[0]] - logits[ends[1]]).abs())
        assert apart < 1e-3, f"{prompt!r}: {first!r} and {second!r} part where logits are {apart}"
