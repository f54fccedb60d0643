"""Model + examples -> predictions and metrics: accuracy against tokens written and time spent."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tacit import recipe
from tacit.answers import answers_equal, digit_accuracy, extract_answer
from tacit.atomic import refuse_existing
from tacit.dataset import encode_prompts
from tacit.decode import Completion, decode
from tacit.example import Example, write_jsonl
from tacit.stats import percentile, wilson_interval
from tacit.template import Template, TemplateName

_LONGEST = 200  # characters of an answer whose digits are compared


@dataclass(frozen=True)
class Prediction:
    """What a model wrote for one question; one line of predictions.jsonl.

    Attributes:
        question, gold: from the example.
        generated: everything that the model wrote, without the end token.
        pred: the answer in it.
        correct: whether it equals `gold`; None where there is no gold answer.
        num_prompt_tokens, num_tokens: read and written; the end token counts as written.
        stopped: whether the model ended by itself.
    """

    question: str
    generated: str
    pred: str
    gold: str | None
    correct: bool | None
    num_prompt_tokens: int
    num_tokens: int
    stopped: bool


@dataclass(frozen=True)
class Metrics:
    """Figures of one model on one set of questions.

    Attributes:
        num_questions: that were asked.
        num_graded, num_correct, accuracy: of those with a gold answer; None without any.
        interval: Wilson's 95 % interval of the accuracy.
        digit_accuracy: mean share of right digits, over answers that are numbers, or None.
        unstopped: share of completions that never ended by themselves.
        mean_tokens: tokens written per question.
        examples_per_s: questions per second when decoded in batches.
        batch_size: of these batches.
        latency_p50_s, latency_p95_s: seconds for one question alone, or None if not timed.
        examples_per_s_single: questions per second one at a time, or None.
    """

    num_questions: int
    num_graded: int
    num_correct: int
    accuracy: float | None
    interval: tuple[float, float] | None
    digit_accuracy: float | None
    unstopped: float
    mean_tokens: float
    examples_per_s: float
    batch_size: int
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None
    examples_per_s_single: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def evaluate(
    model: Any,
    tokenizer: Any,
    template: Template,
    examples: Sequence[Example],
    *,
    max_new_tokens: int,
    batch_size: int = 64,
    num_latency: int = 0,
    progress: str | None = None,
) -> tuple[list[Prediction], Metrics]:
    """Predictions, in the order of the examples, and what they amount to.

    Args:
        model, tokenizer, template: as they were trained together.
        examples: questions with gold answers; thoughts are not looked at.
        max_new_tokens: limit per question.
        batch_size: questions decoded together.
        num_latency: so many of the questions are asked again, one at a time, and timed.
        progress: description of a progress bar; None shows none.
    """
    questions = [template.prompt(example.question) for example in examples]
    prompts = encode_prompts(questions, tokenizer, template)
    limits = {
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "max_new_tokens": max_new_tokens,
    }
    begin = time.perf_counter()
    completions = decode(model, prompts, batch_size=batch_size, progress=progress, **limits)
    seconds = time.perf_counter() - begin
    predictions = [
        judge(example, completion, len(prompt), tokenizer)
        for example, completion, prompt in zip(examples, completions, prompts, strict=True)
    ]
    latencies = []
    for prompt in [*prompts[:1], *prompts[:num_latency]] if num_latency else []:
        begin = time.perf_counter()
        decode(model, [prompt], batch_size=1, **limits)
        latencies.append(time.perf_counter() - begin)
    latencies = latencies[1:]  # the first one warms up
    return predictions, summarize(predictions, seconds, batch_size, latencies)


def evaluate_folder(
    model: recipe.Model,
    examples: Sequence[Example],
    output: Path,
    *,
    template: TemplateName | None = None,
    dtype: str = "float32",
    max_new_tokens: int | None = None,
    batch_size: int = 64,
    num_latency: int = 0,
    overwrite: bool = False,
    progress: str | None = None,
) -> dict[str, Any]:
    """Predictions of a saved model, written to `output`; returns the figures.

    Args:
        model: the name is a folder or hub name, of a model or of an adapter.
        examples: questions, with gold answers where there are some.
        output: JSONL, one `Prediction` a line.
        template: default what the folder's tacit.json says, else plain.
        dtype: of the weights.
        max_new_tokens: default what tacit.json says, else 256.
        batch_size, num_latency, progress: as in `evaluate`.
        overwrite: replace `output`.
    """
    import torch

    from tacit.model import ModelCard, load_model, load_tokenizer

    refuse_existing([output], overwrite=overwrite)
    card = ModelCard.read(str(model.name))
    tokenizer = load_tokenizer(model)
    loaded = load_model(model, tokenizer, dtype=dtype)
    if model.quantization is None:
        loaded.to("cuda" if torch.cuda.is_available() else "cpu")
    predictions, metrics = evaluate(
        loaded,
        tokenizer,
        Template(template or (card.template if card else "plain"), tokenizer),
        examples,
        max_new_tokens=max_new_tokens or (card.max_new_tokens if card else 256),
        batch_size=batch_size,
        num_latency=num_latency,
        progress=progress,
    )
    write_jsonl(output, (asdict(prediction) for prediction in predictions), overwrite=overwrite)
    return metrics.to_json()


def judge(
    example: Example, completion: Completion, num_prompt_tokens: int, tokenizer: Any
) -> Prediction:
    """One completion, read and compared with the gold answer."""
    generated = tokenizer.decode(completion.token_ids, skip_special_tokens=True)
    pred = extract_answer(generated)
    return Prediction(
        question=example.question,
        generated=generated,
        pred=pred,
        gold=example.answer or None,
        correct=answers_equal(pred, example.answer) if example.answer else None,
        num_prompt_tokens=num_prompt_tokens,
        num_tokens=completion.num_tokens,
        stopped=completion.stopped,
    )


def summarize(
    predictions: Sequence[Prediction],
    seconds: float,
    batch_size: int,
    latencies: Sequence[float] = (),
) -> Metrics:
    """The figures of these predictions, made in `seconds` seconds."""
    count = len(predictions)
    graded = [prediction for prediction in predictions if prediction.gold is not None]
    correct = sum(bool(prediction.correct) for prediction in graded)
    # cut, so that an endless answer counts as a wrong one and not as none
    digits = [digit_accuracy(each.pred[:_LONGEST], each.gold or "") for each in graded]
    known = [value for value in digits if value is not None]
    return Metrics(
        num_questions=count,
        num_graded=len(graded),
        num_correct=correct,
        accuracy=correct / len(graded) if graded else None,
        interval=wilson_interval(correct, len(graded)) if graded else None,
        digit_accuracy=sum(known) / len(known) if known else None,
        unstopped=sum(not prediction.stopped for prediction in predictions) / count,
        mean_tokens=sum(prediction.num_tokens for prediction in predictions) / count,
        examples_per_s=count / seconds,
        batch_size=batch_size,
        latency_p50_s=percentile(latencies, 50) if latencies else None,
        latency_p95_s=percentile(latencies, 95) if latencies else None,
        examples_per_s_single=len(latencies) / sum(latencies) if latencies else None,
    )
