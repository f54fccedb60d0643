"""Recipes that train in a second, and a tiny model as a hub would give it."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

from unspoken.models.load import load_model, load_tokenizer
from unspoken.models.tokenizer import character_tokenizer

#: Symbols of the models here, whose random weights follow from how many there are.
ALPHABET = string.digits + string.ascii_letters + string.punctuation + " \n"
#: Where a stage of a run leaves the weights, in its folder.
WEIGHTS = "model/model.safetensors"


def run(recipe: Any) -> Path:
    """Runs a recipe to its end; the run folder."""
    from unspoken.run.run import run_recipe

    return run_recipe(recipe, command="unspoken run tiny", progress=False).parent


def read(path: Path) -> Any:
    """What a JSON file holds."""
    return json.loads(path.read_text())


def tiny_recipe(folder: Path, **sections: Any) -> Any:
    """A recipe that trains in a second: 2x1-digit multiplication, a one-layer GPT-2."""
    from unspoken.recipe import recipe_from

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
            "alphabet": ALPHABET,
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


def tiny_qwen2(folder: Path, *, seed: int = 0, chat: bool = False) -> Path:
    """A random Qwen2 with a byte-level BPE tokenizer, saved as a download from a hub would be."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate(alphabet)}
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(specials)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>" if chat else "<|endoftext|>"
    )
    if chat:
        tokenizer.chat_template = (
            "{% for message in messages %}<|im_start|>{{ message.role }}\n"
            "{{ message.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}{# <think> #}"
        )
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(seed)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_gpt2(folder: Path) -> Path:
    """A random GPT-2 in a local folder, as a hub model would be."""
    tokenizer = character_tokenizer(ALPHABET)
    settings = tiny_recipe(
        folder,
        model={
            "config": {
                "model_type": "gpt2",
                "n_layer": 1,
                "n_head": 2,
                "n_embd": 16,
                "n_positions": 1024,
            }
        },
    ).model
    model = load_model(settings, tokenizer, seed=0)
    model.save_pretrained(folder)
    load_tokenizer(settings).save_pretrained(folder)
    return folder


def write_sums(path: Path, numbers: range) -> Path:
    """A file of examples, one for each number."""
    lines = [{"question": f"{n} + 1", "thought": f"{n} , 1", "answer": str(n + 1)} for n in numbers]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
