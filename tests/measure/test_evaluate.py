from __future__ import annotations

import json
import shutil
import signal
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from unspoken import recipe
from unspoken.cli.main import main
from unspoken.common.errors import DataError, ModelError, OutputExistsError, RecipeError
from unspoken.data.example import Example
from unspoken.data.jsonl import write_jsonl
from unspoken.measure.decode import Completion, Decoder, decode
from unspoken.measure.evaluate import EvaluateOptions, evaluate, evaluate_folder
from unspoken.measure.latency import Asked, Taken
from unspoken.measure.predictions import Prediction, judge, summarize, with_latencies
from unspoken.measure.stats import clustered_interval, wilson_interval
from unspoken.models.adapter import add_adapter
from unspoken.models.card import ModelCard
from unspoken.models.load import load_model
from unspoken.models.template import Template, encode_prompts
from unspoken.report import print_metrics

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
SHORT = EvaluateOptions(max_new_tokens=3)
QUESTIONS = [Example("1" * (n % 7 + 1) + " * 2", "", str(n)) for n in range(20)]


@pytest.fixture
def model(tokenizer: Any) -> Any:
    return load_model(SETTINGS, tokenizer, seed=1)


def test_batched_decoding_equals_one_at_a_time_in_the_given_order(
    model: Any, tokenizer: Any
) -> None:
    template = Template("plain")
    prompts = encode_prompts([template.prompt(e.question) for e in QUESTIONS], tokenizer, template)
    limits: dict[str, Any] = {"eos_token_id": 1, "pad_token_id": 0, "max_new_tokens": 12}
    together = decode(model, prompts, **limits)
    alone = [decode(model, [prompt], **limits)[0] for prompt in prompts]
    assert together == alone
    assert len({tuple(completion.token_ids) for completion in together}) > 1


def test_the_end_token_stops_and_costs_a_token(model: Any, tokenizer: Any) -> None:
    with torch.no_grad():
        model.lm_head.weight.zero_()  # every token is as likely: the first one, 0, is written
    limits: dict[str, Any] = {"pad_token_id": 0, "max_new_tokens": 5}
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


def test_metrics_count_what_the_predictions_say() -> None:
    texts = ["4 + 4\n#### 1 2 3", "#### 1 2 4", "1 2 3", ""]
    stopped = [True, True, False, True]
    predictions = [
        judge(
            Example("q", "", "1 2 3"),
            text,
            num_prompt_tokens=3,
            num_tokens=len(text) + end,
            stopped=end,
        )
        for text, end in zip(texts, stopped, strict=True)
    ]
    assert [prediction.correct for prediction in predictions] == [True, False, True, False]
    assert [prediction.pred for prediction in predictions] == ["1 2 3", "1 2 4", "1 2 3", ""]
    untimed = summarize(predictions, seconds=2.0, batch_size=4)
    assert (untimed.latency_p50_s, untimed.examples_per_s_single) == (None, None)
    assert with_latencies(untimed, []) == untimed
    metrics = with_latencies(untimed, [1.0, 3.0])
    assert (metrics.num_questions, metrics.num_correct, metrics.accuracy) == (4, 2, 0.5)
    assert metrics.digit_accuracy == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)
    assert metrics.unstopped == 0.25
    assert metrics.mean_tokens == (len(texts[0]) + 1 + len(texts[1]) + 1 + len(texts[2]) + 1) / 4
    assert (metrics.examples_per_s, metrics.examples_per_s_single) == (2.0, 0.5)
    assert metrics.latency_p50_s == 2.0
    slow_once = with_latencies(untimed, [1.0, 1.0, 7.0])  # as the report has it: 1 / median
    assert (slow_once.latency_p50_s, slow_once.examples_per_s_single) == (1.0, 1.0)
    assert metrics.interval == pytest.approx((0.15, 0.85), abs=0.001)


def test_what_nobody_can_tell_is_counted_and_wrong() -> None:
    counts = {"num_prompt_tokens": 3, "num_tokens": 5, "stopped": True}
    texts = ["Final Answer: 9^{9^{9^{9}}}", "Final Answer: 3", "Final Answer: 2"]
    predictions = [judge(Example("q", "", "2"), text, **counts) for text in texts]
    metrics = summarize(predictions, seconds=1.0, batch_size=3)
    assert (metrics.num_graded, metrics.num_correct, metrics.num_undecided) == (3, 1, 1)
    records = [prediction.to_json() for prediction in predictions]
    assert [record["correct"] for record in records] == [False, False, True]
    assert [record.get("undecided") for record in records] == [True, None, None]


def test_questions_without_gold_are_answered_but_not_graded(model: Any, tokenizer: Any) -> None:
    some = [Example("1 * 2", "", ""), Example("2 * 2", "", "4")]
    predictions, metrics = evaluate(model, tokenizer, Template(), some, SHORT)
    assert (predictions[0].gold, predictions[0].correct) == (None, None)
    assert (metrics.num_questions, metrics.num_graded) == (2, 1)
    _, none = evaluate(model, tokenizer, Template(), some[:1], SHORT)
    assert (none.accuracy, none.interval) == (None, None)


def test_a_question_that_the_model_cannot_read_is_named(model: Any, tokenizer: Any) -> None:
    long = "9" * model.config.n_positions
    examples = [Example("1 + 1", "", "2"), Example(long, "", "3", id="long-1")]
    with pytest.raises(
        DataError, match=r"long-1 \('9+\.\.\.\): a prompt has .* positions and needs"
    ):
        evaluate(model, tokenizer, Template(), examples, SHORT)


def test_evaluate_folder_writes_predictions(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    output = tmp_path / "predictions.jsonl"
    metrics = evaluate_folder(
        recipe.Model(name=str(tmp_path / "model")),
        QUESTIONS,
        output,
        EvaluateOptions(max_new_tokens=8, num_latency=3),
    )
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert [record["question"] for record in records] == [e.question for e in QUESTIONS]
    assert {"generated", "pred", "gold", "correct", "num_tokens", "stopped"} <= records[0].keys()
    assert metrics["num_correct"] == sum(record["correct"] for record in records)
    assert metrics["latency_p95_s"] > 0


def test_predictions_are_there_before_anything_is_timed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever ends the timing loses nothing; what was timed up to then counts."""
    output = folder.parent / "out.jsonl"
    there: list[bool] = []

    def ended(loaders: Any, number: int, seconds: float, **more: Any) -> Taken:
        there.append(output.exists() and not list(output.parent.glob(".*.partial")))
        signal.raise_signal(signal.SIGINT)
        assert more["stopping"]()
        return Taken({"": [Asked(0.5, 3)]}, None)

    monkeypatch.setattr("unspoken.measure.evaluate.take_turns", ended)
    metrics = ask(folder, output, num_latency=3, latency_seconds=7.0)
    assert there == [True]
    assert metrics["latency_p50_s"] == 0.5
    assert ask(folder, output, overwrite=True)["latency_p50_s"] is None
    assert there == [True]


def test_an_answer_of_blanks_is_no_gold_answer() -> None:
    for answer in ("", " \n"):
        counts = {"num_prompt_tokens": 1, "num_tokens": 1}
        judged = judge(Example("q", "", answer), "", **counts, stopped=True)
        assert (judged.gold, judged.correct, judged.pred) == (None, None, "")


# --- categories and samples -------------------------------------------------------------------


def prediction(question: str, pred: str, gold: str | None, **more: Any) -> Prediction:
    correct = None if gold is None else pred == gold
    figures = {"num_prompt_tokens": 2, "num_tokens": 3, "stopped": True, **more}
    return Prediction(question, pred, pred, gold, correct, **figures)


def test_each_category_has_its_own_accuracy() -> None:
    metrics = summarize(
        [
            prediction("a", "1", "1", category="ratios"),
            prediction("b", "1", "2", category="ratios"),
            prediction("c", "1", "1", category="algebra"),
            prediction("d", "1", "1"),
            prediction("e", "1", None, category="riddles"),
        ],
        seconds=2.0,
        batch_size=5,
    )
    assert list(metrics.categories) == ["ratios", "algebra"]
    ratios = metrics.categories["ratios"]
    assert (ratios.num_graded, ratios.num_correct, ratios.accuracy) == (2, 1, 0.5)
    assert ratios.interval == wilson_interval(1, 2)
    assert (metrics.num_graded, metrics.num_correct, metrics.samples) == (4, 3, None)
    assert (metrics.num_tokens, metrics.seconds, metrics.tokens_per_s) == (15, 2.0, 7.5)
    assert json.loads(json.dumps(metrics.to_json()))["categories"]["algebra"]["accuracy"] == 1


def test_pass_and_majority_over_the_first_samples() -> None:
    answers = {"a": ["7", "5", "5.0", "5"], "b": ["1", "9", "8", ""], "c": ["", "2", "3", "4"]}
    golds, right = {"a": "5", "b": "1", "c": "6"}, {("a", "5"), ("a", "5.0"), ("b", "1")}
    predictions = [
        Prediction(q, text, text, golds[q], (q, text) in right, 1, 1, True, sample=sample)
        for q, texts in answers.items()
        for sample, text in enumerate(texts)
    ]
    metrics = summarize(predictions, seconds=1.0, batch_size=4)
    samples = metrics.samples
    assert samples is not None
    assert (metrics.num_questions, metrics.num_graded, metrics.num_correct) == (3, 12, 4)
    assert metrics.accuracy == pytest.approx(4 / 12)
    # a: 3 of 4 right, b: 1 of 4, c: none
    expected = {"1": (3 / 4 + 1 / 4) / 3, "2": (1 + 1 / 2) / 3, "4": 2 / 3}
    assert samples.pass_at_k == pytest.approx(expected)
    # one sample: 7, 1 and nothing; four: 5 has three votes, 1 comes before 9 and 8
    assert samples.majority_at_k == pytest.approx({"1": 1 / 3, "2": 1 / 3, "4": 2 / 3})
    assert samples.majority_at_k_interval["4"] == wilson_interval(2, 3)
    assert metrics.interval == samples.pass_at_k_interval["1"]
    three = summarize([p for p in predictions if p.sample < 3], seconds=1.0, batch_size=4).samples
    assert three is not None
    assert list(three.pass_at_k) == ["1", "2", "3"]


def test_a_vote_is_graded_as_its_samples_are() -> None:
    example = Example("How many clips?", "", "72")
    # without a marker, a sentence at the end of a longer text is no answer
    text = "She sold some.\nNatalia sold 72 clips"
    predictions = [
        judge(example, text, num_prompt_tokens=1, num_tokens=1, stopped=True, sample=sample)
        for sample in range(2)
    ]
    metrics = summarize(predictions, seconds=1.0, batch_size=2)
    assert metrics.samples is not None
    assert metrics.accuracy == 0
    assert metrics.samples.majority_at_k == metrics.samples.pass_at_k == {"1": 0, "2": 0}


def test_samples_that_agree_count_as_one_question() -> None:
    for right in (0, 3, 10):
        shares = [1.0] * right + [0.0] * (10 - right)
        assert clustered_interval(shares, 80) == pytest.approx(wilson_interval(right, 10))
    low, high = clustered_interval([0.25, 0.5, 0.5, 0.75] * 5, 160)
    naive = wilson_interval(80, 160)
    assert naive[0] >= low > wilson_interval(10, 20)[0]
    assert naive[1] <= high < wilson_interval(10, 20)[1]
    assert clustered_interval([0.5] * 4, 32) == pytest.approx(wilson_interval(16, 32))


def test_samples_depend_on_the_seed_and_not_on_the_batches(model: Any, tokenizer: Any) -> None:
    settings: dict[str, Any] = {"max_new_tokens": 8, "num_samples": 3, "temperature": 0.9}

    def answers(**more: Any) -> list[tuple[str, int, str]]:
        some = QUESTIONS[:6]
        options = EvaluateOptions(**{**settings, **more})
        found, _ = evaluate(model, tokenizer, Template(), some, options)
        return [(one.question, one.sample, one.generated) for one in found]

    ours = answers()
    asked = [(example.question, sample) for example in QUESTIONS[:6] for sample in range(3)]
    assert [one[:2] for one in ours] == asked
    assert len({text for _, _, text in ours}) > 6
    assert ours == answers(batch_size=4) == answers(num_latency=2)
    assert ours != answers(seed=1)
    assert [one for one in ours if one[1] < 2] == answers(num_samples=2)
    greedy = {text for _, _, text in answers(temperature=0.0, num_samples=1)}
    assert greedy == {text for _, _, text in answers(temperature=1e-4)}


# --- folders ----------------------------------------------------------------------------------


@pytest.fixture
def folder(model: Any, tokenizer: Any, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def ask(folder: Path, output: Path, **settings: Any) -> dict[str, Any]:
    settings = {"max_new_tokens": 6, "batch_size": 6, **settings}
    examples = settings.pop("examples", QUESTIONS)
    names = [field.name for field in fields(EvaluateOptions) if field.name in settings]
    options = EvaluateOptions(**{name: settings.pop(name) for name in names})
    model = recipe.Model(name=str(folder))
    return evaluate_folder(model, examples, output, options, **settings)


def test_signs_that_the_model_cannot_read_are_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ask(folder, folder / "known.jsonl")
    assert "no token" not in caplog.text
    strange = [Example("1 × 漢", "", "1"), Example("漢字?", "", "2"), *QUESTIONS[:4]]
    ask(folder, folder / "strange.jsonl", examples=strange)
    assert "2 of 6 questions have signs that the model has no token for, such as " in caplog.text
    assert "'漢' in '1 × 漢'" in caplog.text


def test_the_file_tells_category_and_sample_only_where_there_are_some(folder: Path) -> None:
    output = folder.parent / "out.jsonl"
    examples = [Example("1", "", "1"), Example("2", "", "2", category="ratios")]
    ask(folder, output, examples=examples)
    one, other = map(json.loads, output.read_text().splitlines())
    assert list(one)[:4] == ["question", "generated", "pred", "gold"]
    assert not {"sample", "category"} & one.keys()
    assert (other["category"], "sample" in other) == ("ratios", False)
    sampled = ask(folder, output, examples=examples, num_samples=2, temperature=1.0, overwrite=True)
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert [record["sample"] for record in records] == [0, 1, 0, 1]
    assert sampled["samples"]["num_samples"] == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_samples": 4}, "num_samples: found 4 with temperature=0"),
        ({"top_p": 0.9}, "top_p: found 0.9 with temperature=0"),
        (
            {"temperature": float("nan")},
            "temperature: found nan; needed: a finite number, at least 0",
        ),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p: found 0.0; needed: above 0, at most 1"),
        ({"batch_size": 0}, "batch_size: found 0"),
        ({"max_new_tokens": 0}, "max_new_tokens: found 0"),
        ({"num_samples": 0}, "num_samples: found 0"),
        ({"num_latency": -1}, "num_latency: found -1"),
        ({"latency_seconds": 0}, "latency_seconds: found 0"),
    ],
)
def test_settings_that_make_no_sense(folder: Path, settings: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        ask(folder, folder.parent / "out.jsonl", **settings)
    assert not (folder.parent / "out.jsonl").exists()


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def break_after(monkeypatch: pytest.MonkeyPatch, num_answers: int | None) -> list[list[int]]:
    """Lets decoding end after so many answers; returns the prompts that were answered."""
    answered: list[list[int]] = []

    class Breaking(Decoder):
        def stream(self, prompts: Any, *arguments: Any, **settings: Any) -> Any:
            for number, completion in super().stream(prompts, *arguments, **settings):
                if len(answered) == num_answers:
                    raise Killed
                answered.append(list(prompts[number]))
                yield number, completion

    monkeypatch.setattr("unspoken.measure.evaluate.Decoder", Breaking)
    return answered


@pytest.mark.parametrize("sampling", [{}, {"num_samples": 3, "temperature": 1.0}])
def test_a_killed_evaluation_goes_on_where_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch, sampling: dict[str, Any]
) -> None:
    whole, output = folder.parent / "whole.jsonl", folder.parent / "out.jsonl"
    partial = folder.parent / ".out.jsonl.partial"
    all_prompts = break_after(monkeypatch, None)
    ask(folder, whole, **sampling)
    first = break_after(monkeypatch, 12)
    with pytest.raises(Killed):
        ask(folder, output, **sampling)
    assert not output.exists()
    kept = partial.read_bytes()
    partial.write_bytes(kept + kept[-50:-2])  # a torn batch
    seconds = [json.loads(line)["seconds"] for line in kept.splitlines()[1:]]
    assert len(seconds) == 2
    rest = break_after(monkeypatch, None)
    metrics = ask(folder, output, **sampling)
    assert sorted([*first, *rest]) == sorted(all_prompts)
    assert output.read_bytes() == whole.read_bytes()
    assert metrics["seconds"] > sum(seconds)
    assert metrics["examples_per_s"] == len(whole.read_text().splitlines()) / metrics["seconds"]
    assert sorted(path.name for path in folder.parent.iterdir()) == [
        "model", "out.jsonl", "whole.jsonl",
    ]  # fmt: skip


def test_a_smaller_batch_keeps_what_is_done(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = folder.parent / "out.jsonl"
    break_after(monkeypatch, 12)
    with pytest.raises(Killed):
        ask(folder, output)
    rest = break_after(monkeypatch, None)
    ask(folder, output, batch_size=4)
    assert len(rest) == 8


def test_another_model_or_other_questions_begin_anew(
    folder: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = folder.parent / "out.jsonl"

    def prompts_after(change: Any, **settings: Any) -> int:
        output.unlink(missing_ok=True)
        break_after(monkeypatch, 12)
        with pytest.raises(Killed):
            ask(folder, output)
        change()
        answered = break_after(monkeypatch, None)
        ask(folder, output, **settings)
        return len(answered)

    def nothing() -> None:
        pass

    def train() -> None:
        changed = load_model(SETTINGS, tokenizer, seed=2)
        changed.save_pretrained(folder)

    assert prompts_after(nothing) == 8
    assert prompts_after(nothing, temperature=0.5) == 20
    assert prompts_after(nothing, template="compact") == 20
    assert prompts_after(nothing, max_new_tokens=5) == 20
    assert prompts_after(nothing, dtype="bfloat16") == 20
    assert prompts_after(nothing, examples=QUESTIONS[:-1]) == 19
    assert prompts_after(train) == 20


def test_an_output_that_exists_is_left_alone(folder: Path) -> None:
    output = folder.parent / "out.jsonl"
    output.write_text("mine")
    with pytest.raises(OutputExistsError):
        ask(folder, output)
    assert output.read_text() == "mine"
    with pytest.raises(DataError, match="found no questions"):
        ask(folder, output, examples=[], overwrite=True)
    ask(folder, output, overwrite=True)
    assert len(output.read_text().splitlines()) == len(QUESTIONS)


# --- a base model and an adapter --------------------------------------------------------------


def save_adapter(model: Any, folder: Path) -> Any:
    """A LoRA adapter that changes the answers, whose config names a base that is not there."""
    adapted = add_adapter(model, recipe.Lora())
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(generator=torch.Generator().manual_seed(3))
    adapted.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "nobody/has-this"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return adapted


def answers_in(path: Path) -> list[str]:
    return [json.loads(line)["generated"] for line in path.read_text().splitlines()]


def test_an_adapter_is_laid_over_the_base_that_is_named(
    folder: Path, model: Any, tokenizer: Any
) -> None:
    output, adapter = folder.parent / "out.jsonl", folder.parent / "adapter"
    ask(folder, output)
    base_alone = answers_in(output)
    adapted = save_adapter(model, adapter)
    options = EvaluateOptions(max_new_tokens=6)
    expected, _ = evaluate(adapted, tokenizer, Template(), QUESTIONS, options)
    ask(folder, output, adapter=str(adapter), overwrite=True)
    assert answers_in(output) == [one.generated for one in expected]
    assert answers_in(output) != base_alone


def test_the_card_of_the_adapter_comes_before_that_of_the_base(
    folder: Path, model: Any, tokenizer: Any
) -> None:
    output, adapter = folder.parent / "out.jsonl", folder.parent / "adapter"
    save_adapter(model, adapter)
    ModelCard("plain", None, 9, 1, "").write(folder)
    length = ask(folder, output, adapter=str(adapter), max_new_tokens=None)["mean_tokens"]
    ModelCard("compact", None, 2, 1, "").write(adapter)
    tokenizer.save_pretrained(adapter)
    (folder / "tokenizer.json").unlink()  # the adapter has its own
    (folder / "tokenizer_config.json").unlink()
    short = ask(folder, output, adapter=str(adapter), max_new_tokens=None, overwrite=True)
    assert short["mean_tokens"] <= 2 < length
    record = json.loads(output.read_text().splitlines()[0])
    assert record["num_prompt_tokens"] == len("1*2=")


def test_what_is_no_adapter_is_said_so(folder: Path, model: Any) -> None:
    output, adapter = folder.parent / "out.jsonl", folder.parent / "adapter"
    with pytest.raises(ModelError, match=r"adapter=.*/model: found no adapter_config\.json"):
        ask(folder, output, adapter=str(folder))
    with pytest.raises(ModelError, match="found no such folder; needed: the folder of a LoRA"):
        ask(folder, output, adapter=str(adapter))
    save_adapter(model, adapter)
    checkpoint = folder.parent / "run" / "distilled" / "checkpoint-5"
    checkpoint.parent.mkdir(parents=True)
    shutil.copytree(adapter, checkpoint)
    for named in (folder.parent / "run" / "checkpoint-5", folder.parent / "run"):
        with pytest.raises(ModelError, match=f"did you mean {checkpoint}"):
            ask(folder, output, adapter=str(named))
    with pytest.raises(ModelError, match="found an adapter, with adapter besides"):
        ask(adapter, output, adapter=str(adapter))
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"found no adapter_model\.safetensors in it"):
        ask(folder, output, adapter=str(adapter))
    assert not output.exists()


def test_an_adapter_of_another_model_is_refused(folder: Path, tokenizer: Any) -> None:
    adapter = folder.parent / "adapter"
    wider = {**(SETTINGS.config or {}), "n_embd": 32}
    other = load_model(SETTINGS.model_copy(update={"config": wider}), tokenizer, seed=1)
    save_adapter(other, adapter)
    with pytest.raises(ModelError, match=r"cannot be laid over .*/model: .*size mismatch"):
        ask(folder, folder.parent / "out.jsonl", adapter=str(adapter))


# --- the command ------------------------------------------------------------------------------


def test_the_command_of_the_seed_prints_categories_and_samples(
    folder: Path, model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, output = folder.parent / "questions.jsonl", folder.parent / "new" / "out.jsonl"
    save_adapter(model, folder.parent / "adapter")
    records: list[dict[str, Any]] = [
        {"question": f"{n} * 2", "answer": str(2 * n), "category": "ratios" if n % 2 else "algebra"}
        for n in range(7)
    ]
    write_jsonl(questions, [*records, {"question": "why?", "category": "riddles"}])
    command = ["evaluate", "--base_model", str(folder), "--input", str(questions)]
    command += ["--lora_model", str(folder.parent / "adapter"), "--max_new_tokens", "6"]
    command += ["--num_latency", "1"]
    main([*command, "--output", str(output)])
    text = capsys.readouterr().out
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert rows[-4:-1] == [
        "category accuracy 95 % interval right",
        "algebra 0.0 % 0.0 to 49.0 % 0 of 4",
        "ratios 0.0 % 0.0 to 56.1 % 0 of 3",
    ]
    assert "riddles" not in text
    assert "pass@k" not in text
    assert text.isascii()
    assert json.loads(output.read_text().splitlines()[-1])["correct"] is None
    sampled = ["--num_samples", "3", "--temperature", "0.7", "--overwrite"]
    main([*command, *sampled, "--output", str(output)])
    text = capsys.readouterr().out
    assert "(0 of 21 samples right)" in text
    assert "pass@k" in text
    assert "majority@k" in text
    assert len([line for line in text.splitlines() if line[:3] in ("1  ", "2  ", "3  ")]) == 3
    assert max(map(len, text.splitlines()[:-1])) <= 80


def test_questions_without_any_gold_answer_have_no_tables(
    model: Any, tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    some = [Example("1", "", "", category="ratios")]
    options = EvaluateOptions(max_new_tokens=3, num_samples=2, temperature=1.0)
    _, metrics = evaluate(model, tokenizer, Template(), some, options)
    assert (metrics.categories, metrics.samples, metrics.accuracy) == ({}, None, None)
    print_metrics(metrics.to_json())
    text = capsys.readouterr().out
    assert "accuracy" not in text
    assert "tokens written" in text


def test_ctrl_c_says_how_to_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(folder.parent / "questions.jsonl", [{"question": "1 * 2"}])
    output = folder.parent / "out.jsonl"

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unspoken.measure.evaluate.Decoder.stream", interrupted)
    command = ["evaluate", "--model", str(folder), "--output", str(output)]
    with pytest.raises(SystemExit) as caught:
        main([*command, "--input", str(folder.parent / "questions.jsonl")])
    assert caught.value.code == 75
    assert "run the command again to go on" in capsys.readouterr().out
    assert not output.exists()
