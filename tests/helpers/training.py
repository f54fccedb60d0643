"""A training without a run: the loop, and what it left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from helpers.recipes import tiny_recipe
from unspoken.data.tasks.multiplication import examples
from unspoken.models.load import load_model, load_tokenizer
from unspoken.models.template import Template
from unspoken.parallel.processes import Processes
from unspoken.train.checkpoint import TrainState
from unspoken.train.encode import encode_examples
from unspoken.train.loop import StepwiseInternalization, TrainResult
from unspoken.train.recovery import Recovery


def trainer(
    recipe: Any, folder: Path, *, dtype: str = "float32", **arguments: Any
) -> StepwiseInternalization:
    """A trainer on freshly made data and a freshly made model, its weights of this dtype."""
    data = examples(recipe.data.digits, 500, 20, 30, seed=recipe.seed)
    tokenizer = load_tokenizer(recipe.model)
    template = Template(recipe.template, tokenizer)
    return StepwiseInternalization(
        load_model(recipe.model, tokenizer, seed=recipe.seed, lora=recipe.lora, dtype=dtype),
        tokenizer,
        template,
        recipe,
        train=encode_examples(data["train"], tokenizer, template),
        valid=arguments.pop("valid", data["valid"]),
        data_sha256=f"of {recipe.data.digits} with seed {recipe.seed}",
        folder=folder,
        progress=False,
        **arguments,
    )


def stop_after(step: int, recipe: Any, folder: Path, **arguments: Any) -> StepwiseInternalization:
    """A trainer that is asked to stop in this step, counted from 0, as by SIGTERM."""

    def watch(moment: str, state: TrainState) -> None:
        if moment == "step" and state.step >= step:
            stopping.stop.requested = True

    stopping = trainer(recipe, folder, watch=watch, **arguments)
    return stopping


def run(folder: Path, **sections: Any) -> TrainResult:
    recipe = tiny_recipe(folder, **sections)
    return trainer(recipe, folder).run()


def dtype_of_products(processes: Processes) -> torch.dtype:
    """Of what fp32 matrices give in the arithmetic of a training step."""
    with processes.arithmetic():
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


#: Adaptive removal that measures at every step, and gives nothing time to recover.
IMPATIENT: dict[str, Any] = {
    "schedule": {
        "removal": "adaptive",
        "delta": None,
        "margin": 99.0,
        "answer_margin": None,
        "measure_every": 1,
        "patience": 2,
        "tries": 2,
    },
    "train": {"max_steps": 60, "learning_rate": 3e-3, "settle_steps": 6},
}


def put_wall(recovered: int = 4) -> None:
    """From now on no level with more tokens removed than these recovers, whatever it learned."""
    measure = Recovery.measure

    def with_a_wall(self: Recovery, model: Any, removed: int) -> list[float]:
        found = measure(self, model, removed)
        return found if removed <= recovered else [999.0, 999.0]

    Recovery.measure = with_a_wall


def losses(folder: Path) -> list[float]:
    return logged(folder, "loss")


def logged(folder: Path, name: str) -> list[float]:
    """What the lines of steps have of this name, where they have it."""
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [each[name] for each in records if each["event"] == "train" and name in each]


def events(folder: Path) -> list[tuple[int, str]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [(record["step"], record["event"]) for record in map(json.loads, lines)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


NO_DROPOUT = {
    "tokenizer": "characters",
    "config": {
        "model_type": "gpt2",
        "n_layer": 1,
        "n_head": 2,
        "n_embd": 16,
        "n_positions": 64,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    },
}
