"""Every verb once, on tiny inputs: what tests do with disks, places and rights of all of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from helpers.recipes import tiny_gpt2, tiny_recipe
from unspoken.cli.main import main
from unspoken.recipe import dump_recipe


@dataclass(frozen=True)
class Case:
    """A command that writes onto the disk.

    Attributes:
        command: with {given}, the folder with what it reads, and {disk}.
        results: patterns of the files that have to be equal, however often it was interrupted.
        shares: of the room that it needs, left for it.
    """

    command: str
    results: tuple[str, ...] = ("**/*",)
    shares: tuple[float, ...] = (0, 0.2, 0.5, 0.8, 0.95)

    def words(self, given: Path, disk: Path) -> list[str]:
        """The arguments of the command."""
        return self.command.format(given=given, disk=disk).split()


_TRAINED = ("**/model/*.safetensors", "**/predictions.jsonl")
_SHORT = "--max_steps 6 --batch_size 4 --save_steps 2"
_STUDENT = (
    f"{{given}}/model --data {{given}}/train.jsonl --full_finetuning --template plain {_SHORT}"
)
_SIZES = "--num_train 900 --num_valid 9 --num_test 9"
_RAW = "{given}/data/raw_questions.jsonl"
_TWO = "{given}/predictions.jsonl {given}/predictions.jsonl"
_ASKED = "--input {given}/test.jsonl --max_new_tokens 8 --template plain"
CASES = {
    "data arithmetic": Case("data arithmetic --output {disk}/out --num_train 300"),
    "data multiplication": Case(f"data multiplication --digits 2 2 --output {{disk}}/out {_SIZES}"),
    "data questions": Case("data questions --input {given}/train.jsonl --output {disk}/q.jsonl"),
    "data icot": Case("data icot --input {given}/run/data/train.jsonl --output {disk}/q.txt"),
    "generate": Case(
        f"generate --engine worked --input {_RAW} --output {{disk}}/t.jsonl", ("t.jsonl",)
    ),
    "merge": Case("merge {given}/traces.jsonl --output {disk}/t.jsonl", ("t.jsonl",)),
    "vet": Case("vet --input {given}/traces.jsonl --output {disk}/d.jsonl"),
    "evaluate": Case(
        f"evaluate --base_model {{given}}/model {_ASKED} --output {{disk}}/p.jsonl", ("p.jsonl",)
    ),
    "score": Case("score --input {given}/answers.jsonl --output {disk}/s.jsonl"),
    "compare": Case(f"compare {_TWO} --output {{disk}}/c.json", shares=(0,)),
    "distil": Case(f"distil --student_dir {_STUDENT} --out_dir {{disk}}/out", _TRAINED, (0, 0.5)),
    "internalize": Case(
        f"internalize --model_name {_STUDENT} --output {{disk}}/out", _TRAINED, (0, 0.5)
    ),
    "run": Case("run {given}/recipe.yaml output={disk}/run", _TRAINED, (0, 0.1, 0.4, 0.9)),
    "report": Case("report {disk}/run", ("**/*.png",), (0, 0.3, 0.9)),
    "export": Case(
        "export --model {given}/run/internalized/model --output {disk}/served",
        ("served/*.safetensors",),
        (0, 0.5, 0.9),
    ),
    "shard --prepare": Case(
        "shard {given}/taught.yaml --prepare output={disk}/run", ("run/data/*.jsonl",), (0, 0.5)
    ),
}


def call(words: list[str]) -> int:
    """The exit status of a command."""
    try:
        main(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def make_given(folder: Path) -> Path:
    """What the commands read, in a folder; returns it."""
    tiny_gpt2(folder / "model")
    recipe = tiny_recipe(folder / "run", schedule={"delta": 40}, train={"max_steps": 12})
    (folder / "recipe.yaml").write_text(dump_recipe(recipe))
    for words in (
        "data arithmetic --output {given}/data --num_train 40",
        "run {given}/recipe.yaml",
        f"generate --engine worked --input {_RAW} --output {{given}}/traces.jsonl",
        "vet --input {given}/traces.jsonl --output {given}/train.jsonl",
    ):
        assert call(words.format(given=folder).split()) == 0
    shutil.copy(folder / "data" / "test_questions.jsonl", folder / "test.jsonl")
    lines = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    answers = [{**line, "generated": line["answer"], "gold": line["answer"]} for line in lines]
    (folder / "answers.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in answers))
    shutil.copy(folder / "run" / "internalized" / "predictions.jsonl", folder)
    taught = {
        "name": "taught",
        "teacher": {"engine": "worked"},
        "data": {"task": "arithmetic", "num_train": 90},
        "model": {"name": str(folder / "model")},
        "train": {"max_steps": 2},
    }
    (folder / "taught.yaml").write_text(json.dumps(taught))
    return folder
