from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tacit import recipe
from tacit.dataset import encode_prompts
from tacit.decode import Completion, decode
from tacit.evaluate import evaluate, evaluate_folder, judge, summarize
from tacit.example import Example
from tacit.model import load_model
from tacit.template import Template

SETTINGS = recipe.Model(
    tokenizer="characters",
    config={
        "model_type": "gpt2",
        "n_layer": 1,
        "n_head": 2,
        "n_embd": 16,
        "n_positions": 64,
        "initializer_range": 0.8,
    },
)
QUESTIONS = [Example("1" * (n % 7 + 1) + " * 2", "", str(n)) for n in range(20)]


@pytest.fixture
def model(tokenizer: Any) -> Any:
    return load_model(SETTINGS, tokenizer, seed=1)


def test_batched_decoding_equals_one_at_a_time_in_the_given_order(
    model: Any, tokenizer: Any
) -> None:
    template = Template("plain")
    prompts = encode_prompts([template.prompt(e.question) for e in QUESTIONS], tokenizer, template)
    limits = {"eos_token_id": 1, "pad_token_id": 0, "max_new_tokens": 12}
    together = decode(model, prompts, batch_size=7, **limits)
    alone = [decode(model, [prompt], **limits)[0] for prompt in prompts]
    assert together == alone
    assert len({tuple(completion.token_ids) for completion in together}) > 1


def test_the_end_token_stops_and_costs_a_token(model: Any, tokenizer: Any) -> None:
    with torch.no_grad():
        model.lm_head.weight.zero_()  # every token is as likely: the first one, 0, is written
    limits = {"pad_token_id": 0, "max_new_tokens": 5}
    never = decode(model, [[5, 6]], eos_token_id=1, **limits)
    at_once = decode(model, [[5, 6]], eos_token_id=0, **limits)
    assert never == [Completion([0] * 5, False)]
    assert at_once == [Completion([], True)]
    assert (never[0].num_tokens, at_once[0].num_tokens) == (5, 1)


def test_decoding_leaves_the_model_as_it_was(model: Any) -> None:
    for training in (True, False):
        model.train(training)
        decode(model, [[5]], eos_token_id=1, pad_token_id=0, max_new_tokens=1)
        assert model.training is training


def test_metrics_count_what_the_predictions_say(tokenizer: Any) -> None:
    texts = ["4 + 4\n#### 1 2 3", "#### 1 2 4", "1 2 3", ""]
    stopped = [True, True, False, True]
    predictions = [
        judge(
            Example("q", "", "1 2 3"),
            Completion(tokenizer(text)["input_ids"], end),
            num_prompt_tokens=3,
            tokenizer=tokenizer,
        )
        for text, end in zip(texts, stopped, strict=True)
    ]
    assert [prediction.correct for prediction in predictions] == [True, False, True, False]
    assert [prediction.pred for prediction in predictions] == ["1 2 3", "1 2 4", "1 2 3", ""]
    metrics = summarize(predictions, seconds=2.0, batch_size=4, latencies=[1.0, 3.0])
    assert (metrics.num_questions, metrics.num_correct, metrics.accuracy) == (4, 2, 0.5)
    assert metrics.digit_accuracy == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)
    assert metrics.unstopped == 0.25
    assert metrics.mean_tokens == (len(texts[0]) + 1 + len(texts[1]) + 1 + len(texts[2]) + 1) / 4
    assert (metrics.examples_per_s, metrics.examples_per_s_single) == (2.0, 0.5)
    assert metrics.latency_p50_s == 2.0
    assert metrics.interval == pytest.approx((0.15, 0.85), abs=0.001)


def test_questions_without_gold_are_answered_but_not_graded(model: Any, tokenizer: Any) -> None:
    some = [Example("1 * 2", "", ""), Example("2 * 2", "", "4")]
    predictions, metrics = evaluate(model, tokenizer, Template(), some, max_new_tokens=3)
    assert (predictions[0].gold, predictions[0].correct) == (None, None)
    assert (metrics.num_questions, metrics.num_graded) == (2, 1)
    _, none = evaluate(model, tokenizer, Template(), some[:1], max_new_tokens=3)
    assert (none.accuracy, none.interval) == (None, None)


def test_evaluate_folder_writes_predictions(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    output = tmp_path / "predictions.jsonl"
    metrics = evaluate_folder(
        recipe.Model(name=str(tmp_path / "model")),
        QUESTIONS,
        output,
        max_new_tokens=8,
        num_latency=3,
    )
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert [record["question"] for record in records] == [e.question for e in QUESTIONS]
    assert {"generated", "pred", "gold", "correct", "num_tokens", "stopped"} <= records[0].keys()
    assert metrics["num_correct"] == sum(record["correct"] for record in records)
    assert metrics["latency_p95_s"] > 0
