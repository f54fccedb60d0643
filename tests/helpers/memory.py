"""A tiny model that knows a few prompts by heart, in a run folder: something to ask at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from unspoken import recipe
from unspoken.models.card import ModelCard
from unspoken.models.load import load_model, load_tokenizer, save_model
from unspoken.recipe.layout import DISTILLED, INTERNALIZED, MODEL, RECIPE_FILE
from unspoken.recipe.levels import level_folder

ALPHABET = "0123456789*=+()#"
SETTINGS = recipe.Model(
    tokenizer="characters",
    alphabet=ALPHABET,
    config={
        "model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 32, "n_positions": 32,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    },
)  # fmt: skip


def save_memory(folder: Path, known: Mapping[str, str], *, task: str | None = None) -> Path:
    """A model folder whose model writes `known[prompt]` after each of these prompts."""
    tokenizer: Any = load_tokenizer(SETTINGS)
    model = load_model(SETTINGS, tokenizer, seed=0)
    rows = [
        tokenizer(prompt + answer)["input_ids"] + [tokenizer.eos_token_id]
        for prompt, answer in known.items()
    ]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (longest - len(row)) for row in rows])
    labels = ids.masked_fill(ids == tokenizer.pad_token_id, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    loss = torch.tensor(9.0)
    while loss > 0.05:
        loss = model(input_ids=ids, labels=_answers_alone(labels, known)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    card = ModelCard("compact", None, 20, 1, next(iter(known)), task=task)
    folder.mkdir(parents=True)
    save_model(model, tokenizer, folder, card)
    return folder


def _answers_alone(labels: torch.Tensor, known: Mapping[str, str]) -> torch.Tensor:
    """The labels without those of the prompts."""
    alone = labels.clone()
    for row, prompt in zip(alone, known, strict=True):
        row[: len(prompt)] = -100
    return alone


def make_asked_run(folder: Path) -> Path:
    """A run of 3 by 2 digits, whose models know 123 * 45 and 111 * 22: one thinks, one does not."""
    folder.mkdir(parents=True)
    values = {"name": "asked", "data": {"task": "multiplication", "digits": [[3, 2]]}}
    (folder / RECIPE_FILE).write_text(yaml.safe_dump(values))
    answers = {"321*54=": "#53550", "111*22=": "#24420"}
    thoughts = {"321*54=": "5160+02940#53550", "111*22=": "2220+02220#24420"}
    save_memory(folder / INTERNALIZED / MODEL, answers)
    save_memory(folder / DISTILLED / MODEL, thoughts)
    save_memory(level_folder(folder / INTERNALIZED, "0007"), {"321*54=": "940#53550"})
    return folder
