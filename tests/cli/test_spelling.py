"""An error names a setting as its reader gave it: a flag, as typed, or a recipe's key."""

from __future__ import annotations

from pathlib import Path

import pytest

from unspoken.cli import internalize
from unspoken.cli.main import main
from unspoken.cli.spelling import flags_of, require_paths, spelling_of, with_known_flags
from unspoken.cli.verbs import VERBS, application, find_verb
from unspoken.common.errors import RecipeError, setting
from unspoken.recipe import Recipe

APP = application()
FLAGS = {verb: flags_of(find_verb(APP, verb)) for verb in VERBS}


def told(verb: str, typed: str, name: str, value: object = None) -> str:
    """A setting as the verb with these words spells it."""
    return RecipeError(setting(name, value)).told(spelling_of(FLAGS[verb], typed.split()))


@pytest.mark.parametrize("verb", VERBS)
def test_every_setting_of_a_verb_is_spelled_as_its_flag(verb: str) -> None:
    for flag in FLAGS[verb]:
        dashed = "--" + flag.names[-1][2:].replace("_", "-")
        for name in flag.settings:
            assert told(verb, verb, name) == flag.names[0], name
            assert told(verb, f"{verb} {dashed} 1", name) == dashed


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_flag_of_the_verb_is_told_as_a_key(verb: str) -> None:
    assert told(verb, verb, "schedule.window", 3) == "schedule.window=3"


@pytest.mark.parametrize(
    ("verb", "typed", "name", "expected"),
    [
        ("run", "run quickstart", "teacher.temperature", "teacher.temperature=1"),
        ("check", "check quickstart", "train.learning_rate", "train.learning_rate=1"),
        ("run", "run quickstart", "output", "output=1"),
        ("run", "run quickstart", "overwrite", "--overwrite 1"),
        ("run", "run quickstart --from distil", "from", "--from 1"),
        ("internalize", "internalize --lr 0", "train.learning_rate", "--lr 1"),
        ("internalize", "internalize", "train.learning_rate", "--learning_rate 1"),
        ("internalize", "internalize train.learning_rate=0", "train.learning_rate",
         "train.learning_rate=1"),
        ("internalize", "internalize", "evaluate.batch_size", "evaluate.batch_size=1"),
        ("distil", "distil", "train.learning_rate", "--lr 1"),
        ("distil", "distil", "model.name", "--student_dir 1"),
        ("distil", "distil --save-steps 0", "train.checkpoint_every", "--save-steps 1"),
        ("generate", "generate", "teacher_dir", "--teacher_dir 1"),
        ("evaluate", "evaluate", "lora_model", "--lora_model 1"),
        ("launch slurm", "launch slurm", "gpus_per_node", "--gpus_per_node 1"),
    ],
)  # fmt: skip
def test_a_setting_is_spelled_as_its_user_typed_it(
    verb: str, typed: str, name: str, expected: str
) -> None:
    assert told(verb, typed, name, 1) == expected


def test_a_switch_is_spelled_without_a_value() -> None:
    assert told("run", "run x", "overwrite", True) == "--overwrite"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("internalize --learning_rate 0", "error: --learning_rate: found 0.0; needed: above 0"),
        ("internalize --lr 0", "error: --lr: found 0.0; needed: above 0; correct it"),
        ("internalize --task multiplication train.learning_rate=0",
         "error: train.learning_rate: found 0; "),
        ("run quickstart train.learning_rate=0", "error: train.learning_rate: found 0; "),
        ("check quickstart train.learning_rat=1", "error: train.learning_rat: unknown key; "),
        ("distil --student_dir x --out_dir y --data z --r 0", "error: --r: found 0; "),
        ("distil --student_dir x --out_dir y --data z --lora-r 0", "error: --lora-r: found 0; "),
        ("distil --student_dir x --out_dir y --data z --per_device_train_batch_size 0",
         "error: --per_device_train_batch_size: found 0; needed: at least 1"),
        ("distil --student_dir x --out_dir y", "error: --data: found nothing to learn from"),
        ("distil --student_dir x --data z", "error: --out_dir: missing"),
        ("internalize --digits 0 4", "error: --digits.0.0: found 0; "),
        ("internalize --lr 1 --learning-rate 2", "error: --lr, --learning-rate: found more than"),
        ("distil --student_dir x --model_name y", "error: --student_dir, --model_name: found more"),
        ("distil --student_dir x --out_dir y --output z", "error: --out_dir, --output: found more"),
        ("internalize --batch_size 7 --gradient_accumulation_steps 2 --task multiplication",
         "error: --batch_size: found 7 with --gradient_accumulation_steps 2, "),
        ("distil --student_dir x --out_dir y --data z --batch_size 8 --micro_batch_size 3",
         "error: --batch_size (8) must be a multiple of --micro_batch_size (3)"),
        ("distil --student_dir x --out_dir y --data z --full_finetuning --r 8",
         "error: --full_finetuning: found it with --r, which is for adapters"),
        ("shard distil --shard 5/4", "error: distil: no such recipe"),
        ("shard quickstart --merge 0", "error: --merge: found 0; needed: at least 1"),
        ("distil --student_dir x --out_dir README.md --data z",
         "error: --out_dir: found README.md, a file; needed: a folder"),
        ("run quickstart --learning_rate 1", "error: --learning_rate: unspoken run has no such "
         "flag; a recipe's setting is given as train.learning_rate=VALUE. Try: "),
        ("check quickstart --settle-steps=3", "error: --settle-steps: unspoken check has no such "
         "flag; a recipe's setting is given as train.settle_steps=VALUE. Try: "),
        ("run quickstart --input q.jsonl", "error: --input: unspoken run has no such flag; a "
         "recipe's questions are given as data.task=jsonl data.train=FILE. Try: "),
        ("run quickstart --batch_size 4", "error: --batch_size: unspoken run has no such flag; a "
         "recipe's setting is given as evaluate.batch_size=VALUE or teacher.batch_size=VALUE or "
         "train.batch_size=VALUE. Try: "),
        ("run quickstart --form data", "error: --form: unspoken run has no such flag; did you "
         "mean --from? Try: unspoken run --help"),
        ("evaluate --base_model x --input y --output z --epochs 3", "error: --epochs: unspoken "
         "evaluate has no such flag; unspoken distil and unspoken internalize have it. Try: "),
        ("distil --student_dir x --out_dir y --delta 3",
         "error: --delta: unspoken distil has no such flag; unspoken internalize has it. Try: "),
        ("distil --student_dir x --out_dir y -x 3", "error: -x: unspoken distil has no such flag."),
        ("distil --student_dir x --out_dir y --epochs many",
         "error: --epochs: found 'many'; needed: a number; correct it. Try: unspoken distil "),
        ("distil --student_dir x --out_dir y --max_length none",
         "error: --max_length: found 'none'; needed: a whole number; correct it. Try: "),
        ("internalize --smoothing off", "error: --smoothing: found 'off'; needed: a number, or one "
         "of auto, null; correct it. Try: "),
        ("choose runs/x --tokens few", "error: --tokens: found 'few'; needed: a number; "),
        ("evaluate --base_model x --input y --output z --batch_size few",
         "error: --batch_size: found 'few'; needed: a whole number; correct it."),
        ("generate --engine opanai --input x --output y", "error: --engine: found 'opanai'; "
         "needed: one of transformers, openai, worked; did you mean openai? Try: "),
        ("internalize --digits 3", "error: --digits: found '3'; needed: digits of both factors"),
        ("score", "error: --input: missing; needed: JSONL with generated and gold; for example: "
         "unspoken score --input answers.jsonl --output judged.jsonl. Try: unspoken score --help"),
        ("score a.jsonl", "error: --input: missing; needed: JSONL with generated and gold; did you "
         "mean --input a.jsonl? Try: "),
        ("score --inputs x", "error: --inputs: unspoken score has no such flag; did you mean "
         "--input? Try: "),
        ("score --input x --output", "error: --output: found nothing after it; needed: the same "
         "records with pred and correct. Try: "),
        ("choose", "error: FOLDER: missing; needed: a folder that `unspoken run` made; for "
         "example: unspoken choose runs/quickstart --within 2. Try: "),
        ("report a b", "error: b: found a word too many; needed: unspoken report without it. Try"),
        ("--versio", "error: --versio: no such verb; did you mean unspoken --version? Try: "),
        ("train --epochs 3", "error: train: no such verb; did you mean unspoken distil or unspoken "
         "internalize? Try: unspoken --help"),
        ("eval_cot", "error: eval_cot: no such verb; did you mean unspoken evaluate? Try: "),
        ("scripts/train_cot_lora.py --epochs 3", "error: scripts/train_cot_lora.py: no such verb; "
         "did you mean unspoken distil? Try: "),
        ("./run_pipeline.sh", "error: ./run_pipeline.sh: no such verb; did you mean unspoken run?"),
        ("evaluate --base_model x --input y --output z --load_in_4bit", "error: --load_in_4bit: "
         "unspoken evaluate has no such flag; did you mean --quantization nf4? Try: "),
        ("distil --student_dir x --out_dir y --rank 8",
         "error: --rank: unspoken distil has no such flag; did you mean --r? Try: "),
        ("-v", "error: -v: no such verb; a verb stands first. Try: unspoken --help"),
        ("ask no/such/folder 1+1", "error: no/such/folder: no such folder, and no such model"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_the_words_that_were_typed(
    words: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(expected)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("internalize --remove_per_epoch 8", "did you mean --delta?"),
        ("internalize --accumulate 2", "did you mean --micro_batch_size (train.batch_size counts "
         "the examples of a whole step)?"),
        ("internalize --keep_position", "a recipe's setting is given as schedule.positions=gap."),
        ("internalize --truncation 9", "did you mean --max_length (longer examples are dropped, "),
        ("run quickstart --bf16", "a recipe's setting is given as train.precision=bf16."),
        ("distil --load_in_4bit", "did you mean --quantization nf4?"),
        ("distil --packing", "nothing is packed; batches are of examples of like length."),
        ("distil --lr_scheduler_type cosine", "a recipe's setting is given as train.lr_schedule="),
        ("evaluate --tasks gsm8k", "did you mean --input?"),
        ("evaluate --torch_dtype bfloat16", "did you mean --dtype?"),
        ("evaluate --num_fewshot 5", "a student is asked as it was trained; unspoken generate "),
        ("evaluate --packing", "Try: "),
    ],
)  # fmt: skip
def test_flags_of_other_programs_are_told_ours(
    words: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words.split())
    told = capsys.readouterr().err.partition(" has no such flag")
    assert told[1] and told[2][2:].startswith(hint)


@pytest.mark.parametrize("given", [["3x2", "4x4"], ["3", "2", "4", "4"]])
def test_sizes_are_given_to_training_as_the_help_says(
    given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes: list[Recipe] = []
    monkeypatch.setattr(
        internalize, "run_and_report", lambda recipe, **options: recipes.append(recipe)
    )
    monkeypatch.setattr("unspoken.check.hub.require_hub_or_files", lambda *_, **__: None)
    main(["internalize", "--task", "multiplication", "--model_name", "x", "--digits", *given])
    assert recipes[0].data.digits == [(3, 2), (4, 4)]


def test_a_recipe_names_its_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("data: {task: multiplication}\nmodel: {name: x}\ntrain:\n  epochs: 0\n")
    for words in (["run", str(file)], ["internalize", str(file), "--lr", "1"]):
        with pytest.raises(SystemExit):
            main(words)
        assert f"{file}:4: train.epochs: found 0" in capsys.readouterr().err


def test_both_spellings_of_known_flags_are_one_and_the_rest_stays() -> None:
    flags = FLAGS["launch slurm"]
    words = ["quickstart", "--gpus-per-node=4", "--extra", "--cpus-per-task=3", "--no-such-flag"]
    assert with_known_flags(words, flags) == [
        "quickstart", "--gpus_per_node=4", "--extra", "--cpus-per-task=3", "--no-such-flag",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("score --input answers.jsonl --output=", "--output"),
        ("distil --student_dir x --data d.jsonl --out-dir EMPTY", "--out-dir"),
        ("internalize --task gsm8k --output EMPTY --max_steps 1", "--output"),
        ("vet --output kept.jsonl --input EMPTY", "--input"),
        ("report runs/some --pictures=", "--pictures"),
        ("launch slurm quickstart --venv=", "--venv"),
    ],
)
def test_an_empty_path_is_not_the_working_directory(
    words: str,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main([word.replace("EMPTY", "") for word in words.split()])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {name}: found nothing; needed: a path; set ")
    assert not list(tmp_path.iterdir())


def test_an_empty_word_that_is_no_path_may_be_meant() -> None:
    words = ["generate", "--output", "x", "--system_prompt", "", "--answer_field="]
    require_paths(words, FLAGS["generate"])
