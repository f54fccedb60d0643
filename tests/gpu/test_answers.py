"""What a model answers on a GPU, through the command line; and a batch that does not fit."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.adapters import recipe as adapter_recipe
from helpers.gpu import (
    ON_A_GPU,
    SMALL,
    on_the_cpu,
    records_of,
    require_same_answers,
    unspoken,
)
from helpers.recipes import tiny_recipe
from helpers.training import trainer
from unspoken.data.example import read_questions
from unspoken.data.jsonl import write_jsonl
from unspoken.data.tasks.multiplication import examples
from unspoken.measure.evaluate import EvaluateOptions, evaluate_folder
from unspoken.measure.slots import Slots
from unspoken.models.card import ModelCard
from unspoken.models.load import load_model, load_tokenizer, save_model
from unspoken.models.template import Template
from unspoken.recipe import Model

pytestmark = [*ON_A_GPU, pytest.mark.gpu]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that learned something on the GPU, so that its likeliest token stands out."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = tiny_recipe(
        folder,
        model=SMALL,
        schedule={"removal": "none"},
        train={"max_steps": 150, "learning_rate": 3e-3, "evaluate_every": 150},
    )
    return trainer(recipe, folder).run().folder


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    data = examples([(2, 2)], 500, 20, 40, seed=0)["test"]
    write_jsonl(path, ({"question": e.question, "answer": e.answer} for e in data))
    return path


def _prompts(model: Path, questions: Path) -> list[str]:
    template = Template("compact", load_tokenizer(Model(name=str(model))))
    return [template.prompt(record["question"]) for record in records_of(questions)]


def _evaluated(
    model: Path, questions: Path, output: Path, *flags: object, dtype: str = "float32"
) -> list[str]:
    """What `unspoken evaluate` has the model write."""
    inputs = ["--base_model", model, "--input", questions, "--output", output]
    unspoken("evaluate", *inputs, "--dtype", dtype, "--num_latency", 0, *flags)
    return [record["generated"] for record in records_of(output)]


def _generated(
    model: Path, questions: Path, output: Path, *flags: object, limit: int = 24
) -> list[str]:
    """What `unspoken generate` has the teacher write."""
    inputs = ["--teacher_dir", model, "--input", questions, "--output", output]
    unspoken("generate", *inputs, "--dtype", "float32", "--max_new_tokens", limit, *flags)
    return [record["cot"] for record in records_of(output)]


def test_evaluate_answers_as_the_cpu_does(tmp_path: Path, trained: Path, questions: Path) -> None:
    """In fp32; where two answers part, the model says that the tokens tie."""
    ours = _evaluated(trained, questions, tmp_path / "device.jsonl")
    with on_the_cpu():
        theirs = _evaluated(trained, questions, tmp_path / "cpu.jsonl")
    require_same_answers(trained, _prompts(trained, questions), ours, theirs)


def test_generate_writes_what_the_cpu_does(tmp_path: Path, trained: Path, questions: Path) -> None:
    ours = _generated(trained, questions, tmp_path / "device.jsonl")
    with on_the_cpu():
        theirs = _generated(trained, questions, tmp_path / "cpu.jsonl")
    require_same_answers(trained, _prompts(trained, questions), ours, theirs)


def test_batched_answers_are_those_of_one_at_a_time(
    tmp_path: Path, trained: Path, questions: Path
) -> None:
    batched = _evaluated(trained, questions, tmp_path / "64.jsonl")
    alone = _evaluated(trained, questions, tmp_path / "1.jsonl", "--batch_size", 1)
    require_same_answers(trained, _prompts(trained, questions), batched, alone)


@pytest.mark.parametrize("verb", [_evaluated, _generated])
def test_drawn_answers_follow_from_the_seed(
    tmp_path: Path, trained: Path, questions: Path, verb: Any
) -> None:
    """Each question has its own generator on the GPU, so the batch does not matter, but where the
    last bits of a probability do: one draw of forty may differ."""
    drawn = ["--temperature", 1, "--top_p", 0.95]
    first = verb(trained, questions, tmp_path / "first.jsonl", *drawn)
    again = verb(trained, questions, tmp_path / "again.jsonl", *drawn)
    small = verb(trained, questions, tmp_path / "small.jsonl", *drawn, "--batch_size", 7)
    other = verb(trained, questions, tmp_path / "other.jsonl", *drawn, "--seed", 1)
    assert first == again
    assert first != other
    assert sum(one != two for one, two in zip(first, small, strict=True)) <= 1


def test_answers_in_the_dtype_that_evaluate_chooses(
    tmp_path: Path, trained: Path, questions: Path
) -> None:
    """bf16 on a GPU: most answers stay the same."""
    ours = _evaluated(trained, questions, tmp_path / "auto.jsonl", dtype="auto")
    exact = _evaluated(trained, questions, tmp_path / "fp32.jsonl")
    assert sum(one == two for one, two in zip(ours, exact, strict=True)) >= len(ours) // 2


def test_single_answers_are_timed(tmp_path: Path, trained: Path, questions: Path) -> None:
    figures = evaluate_folder(
        Model(name=str(trained)),
        read_questions(questions),
        tmp_path / "predictions.jsonl",
        EvaluateOptions(num_latency=3),
    )
    assert figures["latency_p50_s"] > 0
    assert min(figures["examples_per_s"], figures["examples_per_s_single"]) > 0


@contextmanager
def _short_of_memory(device: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within the block, the GPU has 200 MB left; without a GPU, room for 20 prompts at once."""
    if device == "cpu":
        fill = Slots.fill

        def small(slots: Slots, *arguments: Any) -> Any:
            if slots.size > 20:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return fill(slots, *arguments)

        monkeypatch.setattr(Slots, "fill", small)
        yield
        return
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 200e6) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_batch_that_does_not_fit_is_halved_and_the_answers_stay(
    tmp_path: Path,
    device: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tokenizer: Any,
) -> None:
    """A real error of the allocator: 64 prompts of 900 tokens take four times what is there.

    The weights are drawn, so one answer of 64 may part from its like where two tokens tie.
    """
    config = {**SMALL["config"], "n_layer": 1, "n_embd": 256, "n_positions": 1024}
    settings = tiny_recipe(tmp_path, model={**SMALL, "config": config}).model
    card = ModelCard("plain", removed=0, max_new_tokens=8, step=0, example_prompt="1")
    save_model(load_model(settings, tokenizer, seed=0), tokenizer, tmp_path / "model", card)
    path, length = tmp_path / "questions.jsonl", 150 if device == "cuda" else 20
    write_jsonl(path, ({"question": f"{n} + " * length + "1"} for n in range(100, 164)))

    def written(batch_size: int) -> list[str]:
        output = tmp_path / f"{batch_size}.jsonl"
        return _generated(tmp_path / "model", path, output, "--batch_size", batch_size, limit=4)

    expected = written(4)
    with _short_of_memory(device, monkeypatch), caplog.at_level(logging.WARNING):
        found = written(64)
    assert "memory ran out with 64 prompts" in caplog.text
    assert "going on with" in caplog.text
    assert sum(one != two for one, two in zip(found, expected, strict=True)) <= 1


def test_a_model_trained_on_the_gpu_is_exported_and_loads_on_the_cpu(
    tmp_path: Path, trained: Path, questions: Path
) -> None:
    served = tmp_path / "served"
    unspoken("export", "--model", trained, "--output", served)
    ours = _evaluated(trained, questions, tmp_path / "device.jsonl")
    with on_the_cpu():
        theirs = _evaluated(served, questions, tmp_path / "cpu.jsonl", "--template", "compact")
    require_same_answers(trained, _prompts(trained, questions), ours, theirs)


def test_an_adapter_trained_on_the_gpu_is_exported_and_loads_on_the_cpu(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    load: Any = AutoModelForCausalLM.from_pretrained
    recipe = adapter_recipe(tmp_path, lora={"r": 16}, train={"learning_rate": 1e-2})
    adapter = trainer(recipe, tmp_path / "run").run().folder
    assert (adapter / "adapter_model.safetensors").is_file()
    unspoken("export", "--model", adapter, "--output", tmp_path / "served")
    served = _logits(load(tmp_path / "served"))
    beside = _logits(PeftModel.from_pretrained(load(tmp_path / "base"), str(adapter)))
    torch.testing.assert_close(served, beside, atol=1e-4, rtol=1e-4)
    assert float((served - _logits(load(tmp_path / "base"))).abs().max()) > 0.01
    config = json.loads((tmp_path / "served" / "config.json").read_text())
    assert config["model_type"] == "qwen2"


def _logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(torch.arange(3, 40)[None]).logits
