"""Flags are frozen, described and the same in both training verbs."""

from __future__ import annotations

import inspect
import json
import shlex
from pathlib import Path

import pytest

from helpers.flags import FILE, all_flags, flag_lines, require_words
from unspoken.cli.flags import default_of, field_of
from unspoken.cli.main import main
from unspoken.cli.options import TrainingFlags
from unspoken.cli.verbs import VERBS, application, find_verb
from unspoken.recipe.layout import STAGES

APP = application()


def test_no_flag_comes_goes_or_changes_unnoticed() -> None:
    wanted = FILE.read_text(encoding="utf-8").splitlines()
    assert flag_lines() == wanted, "PYTHONPATH=tests python tests/helpers/flags.py"


def test_the_help_of_from_names_every_stage() -> None:
    (told,) = (one.help for verb, one in all_flags() if (verb, one.names[0]) == ("run", "--from"))
    named = " ".join((told or "").split()).partition(": ")[2].replace(" or ", ", ")
    assert tuple(named.split(", ")) == STAGES


def test_every_flag_has_a_help_text() -> None:
    bare = [f"{verb} {flag.names[0]}" for verb, flag in all_flags() if not flag.help]
    assert bare == []


@pytest.mark.parametrize("name", VERBS)
def test_the_list_of_verbs_says_what_a_verb_says_of_itself(name: str) -> None:
    command = find_verb(APP, name).default_command
    assert (inspect.getdoc(command) or "").splitlines()[0] == VERBS[name].text


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_an_example_that_can_be_typed(name: str) -> None:
    words = shlex.split(VERBS[name].example)
    assert words[: 1 + len(name.split())] == ["unspoken", *name.split()]
    require_words(words[1:])


def test_both_training_verbs_take_the_same_words() -> None:
    names = {verb: {} for verb in ("distil", "internalize")}
    for verb, flag in all_flags():
        if verb in names:
            names[verb][flag.name] = set(flag.names)
    removal = {"removal", "delta", "per", "smoothing", "auxiliary_loss", "baselines"}
    assert names["internalize"].keys() - names["distil"].keys() == removal
    assert names["distil"].keys() - names["internalize"].keys() == {"resume_from_checkpoint"}
    for flag in names["distil"].keys() & names["internalize"].keys():
        assert names["distil"][flag] == names["internalize"][flag]
    assert {"--lr", "--learning_rate"} in names["distil"].values()
    assert {"--out_dir", "--output"} in names["internalize"].values()


def test_a_setting_is_described_once() -> None:
    flag = TrainingFlags.flags["learning_rate"]
    assert field_of("train.learning_rate").default == default_of(flag) == 5e-5
    shown = {each.name: each.help for verb, each in all_flags() if verb == "internalize"}
    assert shown["learning_rate"] == field_of("train.learning_rate").description


@pytest.mark.parametrize("typed", ["q_proj v_proj", "q_proj,v_proj", "all-linear"])
def test_modules_are_one_word_or_several(typed: str) -> None:
    words = ["internalize", "--target_modules", *typed.split()]
    _, bound, _ = APP.parse_args(words, exit_on_error=False, print_error=False)
    modules = {"target_modules": typed.replace(" ", ",")}
    assert bound.arguments["lora"].to_recipe() == {"lora": modules}


@pytest.mark.parametrize("typed", ["ratios algebra", "ratios,algebra"])
def test_categories_are_one_word_or_several(typed: str, tmp_path: Path) -> None:
    asked = ["--num_train", "20", "--num_test", "5", "--categories", *typed.split()]
    main(["data", "arithmetic", "--output", str(tmp_path), *asked])
    lines = (tmp_path / "raw_questions.jsonl").read_text().splitlines()
    assert {json.loads(line)["category"] for line in lines} == {"ratios", "algebra"}


def test_null_is_a_value_and_not_a_flag_that_was_left_out() -> None:
    words = ["internalize", "--smoothing", "null", "--data", "none"]
    _, bound, _ = APP.parse_args(words, exit_on_error=False, print_error=False)
    assert bound.arguments["removal"].to_recipe() == {"schedule": {"smoothing": None}}
    assert str(bound.arguments["data"].data) == "none"
