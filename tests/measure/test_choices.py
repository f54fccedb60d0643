"""Answers that are one of several classes: read strictly, counted, and forced on request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from unspoken import recipe
from unspoken.common.errors import DataError, RecipeError, SettingError
from unspoken.data.example import Example
from unspoken.measure.choices import ClassCounts, read_choice
from unspoken.measure.decode import Completion, Decoder, Draws
from unspoken.measure.evaluate import EvaluateOptions, evaluate, evaluate_folder
from unspoken.measure.grade import grade
from unspoken.measure.only_choices import ChoiceDecoder
from unspoken.measure.predictions import judge, summarize
from unspoken.measure.score import score_file
from unspoken.models.card import ModelCard
from unspoken.models.load import load_model
from unspoken.models.template import Template, encode_prompts, token_ids
from unspoken.report.show.summary import metrics_lines

QUEUES = ("billing", "login", "other")
_ASKED = Example("I was charged twice.", "", "billing")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("billing", "billing"),
        ("Billing.", "billing"),
        ("The category is **billing**.", "billing"),
        ("__LOGIN__", "login"),
        ("Final Answer: The category is **billing**.", "billing"),
        ("Final Answer: login (the customer was not billed)", "login"),
        ("Final Answer: billing, because the customer cannot pay", "billing"),
        ("It could be billing.\nFinal Answer: login", "login"),
        ("They cannot get in.\nThe answer is login.", "login"),
        ("They cannot get in.\n\nlogin", "login"),
        ("<think>billing or login?</think>\nother", "other"),
        (r"\boxed{\text{login}}", "login"),
        ('{"queue": "billing"}', "billing"),
    ],
)
def test_the_choice_that_an_answer_names_is_read(text: str, label: str) -> None:
    assert read_choice(text, QUEUES) == (label, label, False)


@pytest.mark.parametrize(
    "text",
    [
        "Final Answer: billing or login",
        "Final Answer: billing, or something else",
        "Final Answer: not billing",
        "Final Answer: it isn't billing",
        "Final Answer: anything but login",
        "Final Answer: billing?",
        "Final Answer: maybe billing",
        "Final Answer: nicht billing",
        "Final Answer: login / billing",
        "It could be billing.\nSo it is login.",
        "It could be login or billing.\nbilling",
        # cut off: a long line without a marker is a step on the way
        "First of all let me see whether what this customer writes to us has to do with billing",
    ],
)
def test_what_names_a_choice_but_not_plainly_is_undecided(text: str) -> None:
    found = read_choice(text, QUEUES)
    assert (found.label, found.is_open) == (None, True)
    judged = grade(text, "billing", QUEUES)
    assert (judged.correct, judged.undecided) == (False, True)


@pytest.mark.parametrize("before", ["login or what?", "This is about login. " * 9])
def test_a_class_that_is_left_open_counts_as_none_of_them(before: str, tmp_path: Path) -> None:
    text = f"{before}\nbilling"
    found = judge(_ASKED, text, num_prompt_tokens=1, num_tokens=1, stopped=True, choices=QUEUES)
    assert not found.correct and found.pred.endswith(" billing") and len(found.pred) < 90
    metrics = summarize([found], seconds=1.0, batch_size=1, choices=QUEUES)
    (tmp_path / "in.jsonl").write_text(json.dumps({"generated": text, "gold": "billing"}))
    scored = score_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", choices=QUEUES)
    for classes in (metrics.to_json()["classes"], scored["classes"]):
        assert classes["confusion"]["billing"] == [0, 0, 0, 1]
        assert classes["figures"]["billing"]["recall"] == 0.0


@pytest.mark.parametrize(
    "text", ["refund", "", "Final Answer: non-billing", "Final Answer: billings", "logins", "b"]
)
def test_what_names_no_choice_is_none(text: str) -> None:
    found = read_choice(text, QUEUES)
    assert (found.label, found.is_open) == (None, False)
    assert grade(text, "billing", QUEUES).correct is False


@pytest.mark.parametrize(
    ("text", "choices", "label"),
    [
        ("not spam", ("spam", "not spam"), "not spam"),
        ("It is not spam.", ("spam", "not spam"), "not spam"),
        ("It is not  spam.", ("spam", "ham"), None),
        ("C++", ("C", "C++"), "C++"),
        ("written in C++", ("C", "Java"), None),
        ("Final Answer: a B", ("A", "B"), "B"),
        ("(b)", ("A", "B"), "B"),
        ("5", ("1", "5"), "5"),
        ("-1", ("1", "5"), None),
        ("rated 4.5", ("4", "5"), None),
        ("5%", ("5", "6"), None),
        ("3 of 5", ("3", "5"), None),
        ("I/O", ("I", "O"), None),
    ],
)
def test_a_part_of_a_longer_word_or_number_is_no_choice(
    text: str, choices: tuple[str, ...], label: str | None
) -> None:
    assert read_choice(text, choices).label == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("He left.\n#### U.S.", "U.S."),
        ("Final Answer: It happened in the U.S.", "U.S."),
        ("Final Answer: in the U.S. or the U.K.", None),
        ("#### (A)", "(A)"),
        ("A dog.", None),
        ("#### no!", None),  # which of two that only differ in such signs is not known
        ("#### no?", "no?"),
    ],
)
def test_signs_at_the_ends_of_a_choice_belong_to_it(text: str, label: str | None) -> None:
    assert read_choice(text, ("U.S.", "U.K.", "(A)", "no?", "no.", "(no)")).label == label


def test_a_choice_that_reads_like_a_marker_is_a_gold_answer() -> None:
    assert grade("The first one.\n#### #1", "#1", ("#1", "#2")).correct
    assert grade("#### #2", "The first one.\n#### #1", ("#1", "#2")).correct is False


def test_a_gold_answer_is_one_of_the_choices_in_any_case() -> None:
    assert grade("login", "Login", QUEUES) == ("login", "login", True, False)
    assert grade("login", "because of this\n#### login", QUEUES).correct
    assert grade("login", "", QUEUES).correct is None
    with pytest.raises(DataError, match="'refund'; needed: one of the choices 'billing, login"):
        grade("login", "refund", QUEUES)


@pytest.mark.parametrize("given", ["billing", "a,A", "a,,b", "", ["x", True], "a,...", 3])
def test_what_is_no_list_of_classes_is_refused(given: Any) -> None:
    with pytest.raises(SettingError, match=r"^choices: found"):
        EvaluateOptions(choices=given)
    with pytest.raises(RecipeError, match=r"data\.choices"):
        _recipe(data={"choices": given})


def test_a_recipe_takes_classes_as_a_list_or_a_text() -> None:
    assert _recipe(data={"choices": "billing, log in ,other"}).data.choices == (
        "billing", "log in", "other",
    )  # fmt: skip
    assert _recipe(data={"choices": [1, 2, 3]}).data.choices == ("1", "2", "3")
    with pytest.raises(RecipeError, match=r"evaluate\.only_choices: found it without data\.choi"):
        _recipe(evaluate={"only_choices": True})
    with pytest.raises(RecipeError, match="whose answers are no classes"):
        _recipe(data={"task": "arithmetic", "train": None, "choices": "a,b"})


def _recipe(**sections: Any) -> recipe.Recipe:
    data = {"train": "train.jsonl", **sections.pop("data", {})}
    values = {"data": data, "model": {"name": "gpt2"}, "train": {"epochs": 1}, **sections}
    return recipe.recipe_from(values)


def test_confusion_precision_and_recall_are_those_of_the_textbook() -> None:
    counts = ClassCounts(QUEUES)
    pairs = [
        ("billing", "billing"), ("billing", "billing"), ("billing", "login"),
        ("login", "login"), ("login", "refund"), ("other", "billing"),
    ]  # fmt: skip
    for gold, pred in pairs:
        counts.add(gold, pred)
    found = counts.to_record()
    assert found is not None
    assert found.confusion == {
        "billing": [2, 1, 0, 0], "login": [0, 1, 0, 1], "other": [1, 0, 0, 0],
    }  # fmt: skip
    billing, login, other = (found.figures[label] for label in QUEUES)
    assert (billing.precision, billing.recall, billing.f1) == (2 / 3, 2 / 3, 2 / 3)
    assert (login.precision, login.recall, login.f1) == (1 / 2, 1 / 2, 1 / 2)
    assert (other.precision, other.recall, other.f1) == (None, 0.0, 0.0)
    assert found.macro_f1 == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert (found.num_outside, found.outside) == (1, {"refund": 1})
    assert ClassCounts(QUEUES).to_record() is None


def test_answers_in_a_file_are_scored_by_class(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    answers = [("The category is **billing**.", "billing"), ("refund", "Login")]
    records = [{"generated": generated, "gold": gold} for generated, gold in answers]
    source.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    summary = score_file(source, tmp_path / "out.jsonl", choices=QUEUES)
    assert summary["correct"] == 1
    assert summary["classes"]["confusion"]["login"] == [0, 0, 0, 1]
    scored = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [record["pred"] for record in scored] == ["billing", "refund"]
    shown = "\n".join(metrics_lines(summary))
    assert "precision" in shown and "'refund' (1)" in shown
    source.write_text(json.dumps({"generated": "login", "gold": "refund"}))
    with pytest.raises(DataError, match=r"in\.jsonl:1: gold: found 'refund'; needed: one of"):
        score_file(source, tmp_path / "out.jsonl", overwrite=True, choices=QUEUES)


# ---- asking a model --------------------------------------------------------------------------

SETTINGS = recipe.Model(
    tokenizer="characters",
    config={"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 128},
)
TICKETS = [Example(f"ticket {n}", "", QUEUES[n % 3]) for n in range(7)]


@pytest.fixture
def model(tokenizer: Any) -> Any:
    return load_model(SETTINGS, tokenizer, seed=1)


@pytest.mark.parametrize("name", ["plain", "compact", "qa"])
@pytest.mark.parametrize("options", [{}, {"num_samples": 2, "temperature": 1.0}])
def test_nothing_but_a_choice_can_be_answered(
    model: Any, tokenizer: Any, name: Any, options: Any
) -> None:
    template = Template(name, tokenizer, QUEUES)
    asked = EvaluateOptions(max_new_tokens=8, batch_size=3, only_choices=True, **options)
    predictions, metrics = evaluate(model, tokenizer, template, TICKETS, asked)
    assert {prediction.pred for prediction in predictions} <= set(QUEUES)
    assert all(prediction.stopped for prediction in predictions)
    assert metrics.classes is not None and metrics.classes.num_outside == 0
    free, _ = evaluate(model, tokenizer, template, TICKETS, EvaluateOptions(max_new_tokens=8))
    assert {prediction.pred for prediction in free}.isdisjoint(QUEUES)


def test_the_likeliest_choice_is_what_the_model_finds_likeliest_token_by_token(
    model: Any, tokenizer: Any
) -> None:
    template = Template("plain", tokenizer)
    prompts = encode_prompts([template.prompt("which?"), "a"], tokenizer, template)
    decoder = Decoder(model, eos_token_id=1, pad_token_id=0, batch_size=4)
    free = [found for _, found in sorted(decoder.stream(prompts, 5))]
    settled = dict(ChoiceDecoder(decoder, tokenizer, template, QUEUES).settle(prompts, free))
    answers = [[*ids, 1] for ids in token_ids(tokenizer, [f"#### {one}" for one in QUEUES])]
    for number, prompt in enumerate(prompts):
        thought = tokenizer.decode(free[number].token_ids) + "\n"
        begin = [*prompt, *token_ids(tokenizer, [thought])[0]]
        own: list[int] = []
        while own not in answers:
            allowed = {ids[len(own)] for ids in answers if ids[: len(own)] == own}
            with torch.no_grad():
                scores = model(torch.tensor([[*begin, *own]])).logits[0, -1]
            own.append(max(allowed, key=lambda token: float(scores[token])))
        assert [*settled[number].token_ids, 1] == [*begin[len(prompt) :], *own]


def test_a_choice_is_drawn_by_its_whole_probability(model: Any, tokenizer: Any) -> None:
    template, temperature, count = Template("plain", tokenizer), 0.7, 600
    (prompt,) = encode_prompts([template.prompt("which?")], tokenizer, template)
    decoder = Decoder(model, eos_token_id=1, pad_token_id=0, batch_size=2)
    only = ChoiceDecoder(decoder, tokenizer, template, QUEUES)
    found = Completion([5, 6], False)
    (begin,) = token_ids(tokenizer, [tokenizer.decode([5, 6]) + "\n"])
    answers = [[*ids, 1] for ids in token_ids(tokenizer, [f"#### {one}" for one in QUEUES])]
    chances = []
    for ids in answers:
        with torch.no_grad():
            scores = model(torch.tensor([[*prompt, *begin, *ids]])).logits[0].double() / temperature
        own = scores.log_softmax(-1)[-len(ids) - 1 : -1]
        chances.append(float(own[range(len(ids)), ids].sum().exp()))
    expected = [chance / sum(chances) for chance in chances]
    assert max(expected) < 0.9  # or nothing would be seen
    counts: dict[int, int] = {}
    draws = Draws(temperature, 1.0, range(count))
    for _, drawn in only.settle([prompt] * count, [found] * count, draws):
        number = answers.index([*drawn.token_ids[len(begin) :], 1])
        counts[number] = counts.get(number, 0) + 1
    for number, share in enumerate(expected):
        spread = (share * (1 - share) / count) ** 0.5
        assert abs(counts.get(number, 0) / count - share) < 4 * spread + 1e-9


def test_a_choice_that_has_no_room_is_said_before_it_is_asked_for(model: Any) -> None:
    decoder = Decoder(model, eos_token_id=1, pad_token_id=0, batch_size=2)
    room = model.config.n_positions
    with pytest.raises(DataError, match="the model 2 positions after it; needed: 3 for the long"):
        decoder.score([5] * (room - 2), [[6], [6, 7, 1]], 1.0)


def test_a_completion_that_answers_with_a_choice_stays(model: Any, tokenizer: Any) -> None:
    template = Template("plain", tokenizer)
    decoder = Decoder(model, eos_token_id=1, pad_token_id=0, batch_size=4)
    (ids,) = token_ids(tokenizer, ["so it is\n#### login"])
    own = ChoiceDecoder(decoder, tokenizer, template, QUEUES)
    completion = next(iter(decoder.stream([[5, 6]], 3)))[1]._replace(token_ids=ids, stopped=True)
    assert dict(own.settle([[5, 6]], [completion])) == {}
    cut = completion._replace(stopped=False)  # it might have gone on
    assert list(dict(own.settle([[5, 6]], [cut]))) == [0]


def test_only_choices_without_choices_is_refused(model: Any, tokenizer: Any) -> None:
    with pytest.raises(SettingError, match="only_choices: found it without choices"):
        evaluate(
            model, tokenizer, Template("plain"), TICKETS, EvaluateOptions(only_choices=True)
        )  # fmt: skip


@pytest.mark.parametrize("learned", [None, ("billing", "login")])
def test_a_model_is_asked_as_it_was_trained_and_read_as_one_wishes(
    model: Any, tokenizer: Any, tmp_path: Path, learned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ModelCard("plain", None, 8, 1, "", choices=learned).write(folder)
    prompts: list[str] = []
    write = Template.prompt
    monkeypatch.setattr(
        Template, "prompt", lambda own, text: prompts.append(write(own, text)) or prompts[-1]
    )
    metrics = evaluate_folder(
        recipe.Model(name=str(folder)),
        TICKETS,
        tmp_path / "out.jsonl",
        EvaluateOptions(choices=QUEUES),
    )
    line = "\nChoices: billing, login" if learned else ""
    assert prompts[0] == f"ticket 0{line}\n"
    assert list(metrics["classes"]["confusion"]) == list(QUEUES)


def test_a_test_file_with_another_answer_is_refused_before_anything_is_asked(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match="question 'ticket 0': answer: found 'billing'"):
        evaluate_folder(
            recipe.Model(name="nowhere"),
            TICKETS,
            tmp_path / "out.jsonl",
            EvaluateOptions(choices=("a", "b")),
        )
