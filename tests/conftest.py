"""Shared by the tests: a tiny model, tokenizer and data, built in memory; no network, ever."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["TACIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real data sets, or a skip where it is not there."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data sets are not on this machine")
    return folder


@pytest.fixture
def tokenizer() -> Any:
    """One token per character."""
    from tacit.tokenizer import character_tokenizer

    return character_tokenizer()


def tiny_recipe(folder: Path, **sections: Any) -> Any:
    """A recipe that trains in a second: 2x1-digit multiplication, a one-layer GPT-2."""
    from tacit.recipe import recipe_from

    values: dict[str, Any] = {
        "name": "tiny",
        "output": str(folder),
        "template": "compact",
        "data": {
            "task": "multiplication",
            "digits": [[2, 2]],
            "num_train": 500,
            "num_valid": 20,
            "num_test": 30,
        },
        "model": {
            "tokenizer": "characters",
            "config": {
                "model_type": "gpt2",
                "n_layer": 1,
                "n_head": 2,
                "n_embd": 16,
                "n_positions": 64,
                "resid_pdrop": 0.1,
            },
        },
        "schedule": {"removal": "linear", "delta": 4},
        "train": {
            "max_steps": 24,
            "batch_size": 16,
            "learning_rate": 1e-3,
            "evaluate_every": 12,
            "checkpoint_every": 6,
            "log_every": 1,
            "num_valid": 8,
            "threads": 1,
        },
        "evaluate": {"num_latency": 2},
    }
    for name, section in sections.items():
        if isinstance(section, dict) and isinstance(values.get(name), dict):
            values[name] = {**values[name], **section}
        else:
            values[name] = section
    return recipe_from(values)
