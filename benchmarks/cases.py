"""The two models and data sets that the benchmarks measure, and what they write down.

`quickstart`: model and data of recipes/quickstart.yaml, 3x2 digits. `gpt2`: GPT-2 small with
random weights and 9x9 digits, one token for each digit and sign as in the paper's tokenization
(20 prompt, 246 thought and 20 answer tokens) and a vocabulary of GPT-2's size. Dropout is off, so
that two ways of doing the same step can be compared number by number.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unspoken.common.files import write_text
from unspoken.data.example import Example
from unspoken.data.tasks.multiplication import generate
from unspoken.models.load import load_model, load_tokenizer, width_of
from unspoken.models.prepacked import prepack
from unspoken.models.template import Template
from unspoken.recipe import Recipe, load_recipe, recipe_from
from unspoken.train.dataset import CoTDataset
from unspoken.train.encode import encode_examples

CASES = ("quickstart", "gpt2")
GPT2_VOCABULARY = 50257


@dataclass(frozen=True)
class Case:
    """A model and its data; `model()` always gives the same weights."""

    name: str
    recipe: Recipe
    tokenizer: Any
    template: Template

    def model(self) -> Any:
        """The model from scratch, in fp32."""
        return load_model(self.recipe.model, self.tokenizer, seed=self.recipe.seed)

    def examples(self, count: int) -> list[Example]:
        """Problems of the case's size."""
        return list(generate(self.recipe.data.digits, count, 0, 0)["train"].examples())

    def dataset(self, count: int) -> CoTDataset:
        """The same, encoded in memory."""
        return encode_examples(self.examples(count), self.tokenizer, self.template)


def load_case(name: str, *overrides: str) -> Case:
    """The case of this name, with recipe overrides such as `train.precision=bf16`."""
    if name == "quickstart":
        path = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
        recipe = load_recipe(path, overrides)
    else:
        recipe = recipe_from(_gpt2_recipe(), overrides)
    tokenizer = load_tokenizer(recipe.model)
    return Case(name, recipe, tokenizer, Template(recipe.template, tokenizer))


def _gpt2_recipe() -> dict[str, Any]:
    """The paper's 9x9 setting; all ids of the vocabulary are characters, so text tells ids."""
    signs = "0123456789*+=()#"
    others = [chr(0x20000 + n) for n in range(GPT2_VOCABULARY - len(signs) - 3)]
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return {
        "template": "compact",
        "data": {"task": "multiplication", "digits": [[9, 9]]},
        "model": {
            "tokenizer": "characters",
            "alphabet": signs + "".join(others),
            "config": {"model_type": "gpt2", **dropout},
        },
        "train": {"max_steps": 1_000_000, "batch_size": 32, "learning_rate": 5e-5},
    }


#: What is read before and after a measurement. On a machine that others use as well, processor
#: seconds of one thread (`--clock processor --threads 1`) tell what wall time cannot.
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def run_cases(
    parser: argparse.ArgumentParser,
    measure_case: Callable[[str, argparse.Namespace], Any],
    default: Sequence[str] = CASES,
) -> None:
    """Measures the cases that the command line names, and writes the figures.

    Args:
        parser: has the benchmark's own options; those that all cases share are added.
        measure_case: name of a case, options -> figures; prints what it found.
        default: cases where none are named.
    """
    import torch

    parser.add_argument("--cases", nargs="+", choices=CASES, default=default)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    load = os.getloadavg()
    if arguments.device == "auto":
        arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results = {}
    for name in arguments.cases:
        results[name] = measure_case(name, arguments)
        write_results(arguments.output, results, load)


def plain_model(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """A model as transformers alone loads it, to be held against."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def as_asked(model: Any) -> Any:
    """A copy of a model, with its weights laid out as unspoken does it to ask."""
    asked = copy.deepcopy(model)
    prepack(asked, width_of(asked.config))
    return asked


def write_results(path: Path | None, results: Any, load_before: tuple[float, ...]) -> None:
    """Writes figures with what is needed to judge and to repeat them."""
    from unspoken.common.machine import environment

    if path is None:
        return
    values = {
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "load_before": [round(value, 2) for value in load_before],
        "num_cores": os.cpu_count(),
        **environment(),
        "results": results,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(_rounded(values), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    """Four significant digits are more than the measurement has."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
