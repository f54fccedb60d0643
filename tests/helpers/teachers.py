"""Tiny teachers on disk, with and without a chat template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unspoken import recipe
from unspoken.models.load import load_model

CHAT = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


#: Short ones, of seven lengths.
QUESTIONS = [{"question": "1" * (n % 7 + 1) + " * 2", "answer": "2"} for n in range(20)]


def build(model_type: str, tokenizer: Any, **config: Any) -> Any:
    sizes: dict[str, dict[str, Any]] = {
        "gpt2": {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 512},
        "qwen2": {
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "hidden_size": 16,
            "intermediate_size": 32,
            "max_position_embeddings": 512,
        },
    }
    sizes["llama"] = sizes["qwen2"]
    values = {"model_type": model_type, "initializer_range": 0.8, **sizes[model_type], **config}
    return load_model(recipe.Model(tokenizer="characters", config=values), tokenizer, seed=1)


def save(folder: Path, tokenizer: Any, chat_template: str | None = None, **config: Any) -> Path:
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    # not qwen: AutoTokenizer makes another tokenizer of what stands beside such a model, and
    # `transformers serve` reads its chat in the form of the real ones only
    build("llama", tokenizer, **config).save_pretrained(folder)
    return folder


def records_of(path: Path) -> list[dict[str, Any]]:
    """The records of a JSONL file."""
    return [json.loads(line) for line in path.read_text().splitlines()]
