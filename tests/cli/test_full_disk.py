"""Every verb on a disk that is full: one line, status 2, and the same command goes on."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.disks import SmallDisk, small_disk
from helpers.recipes import tiny_gpt2, tiny_recipe
from unspoken.cli.main import main
from unspoken.recipe import dump_recipe

pytestmark = [pytest.mark.integration, pytest.mark.root]


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


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands read, on a disk with room."""
    folder = tmp_path_factory.mktemp("given")
    tiny_gpt2(folder / "model")
    recipe = tiny_recipe(folder / "run", schedule={"delta": 40}, train={"max_steps": 12})
    (folder / "recipe.yaml").write_text(dump_recipe(recipe))
    for words in (
        "data arithmetic --output {given}/data --num_train 40",
        "run {given}/recipe.yaml",
        f"generate --engine worked --input {_RAW} --output {{given}}/traces.jsonl",
        "vet --input {given}/traces.jsonl --output {given}/train.jsonl",
    ):
        assert _call(words.format(given=folder).split()) == 0
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


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    with small_disk(tmp_path_factory.mktemp("small") / "disk") as found:
        yield found


@pytest.fixture
def _cache_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNSPOKEN_CACHE", str(tmp_path / "cache"))


def _call(words: list[str]) -> int:
    try:
        main(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _contents(case: Case, folder: Path) -> dict[str, bytes]:
    found = [path for pattern in case.results for path in folder.glob(pattern) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("_cache_elsewhere")
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    name: str, given: Path, disk: SmallDisk, capfd: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    words = case.words(given, disk.path)

    def begin() -> None:
        disk.clear()
        if name == "report":
            shutil.copytree(given / "run", disk.path / "run")
            shutil.rmtree(disk.path / "run" / "plots")
            for each in (disk.path / "run").glob("report.*"):
                each.unlink()

    begin()
    before = disk.num_used
    assert _call(words) == 0, capfd.readouterr().err
    needed, wanted = disk.num_used - before, _contents(case, disk.path)
    assert wanted
    num_full = 0
    for share in case.shares:
        begin()
        disk.leave(int(needed * share))
        capfd.readouterr()
        status = _call(words)
        errors = [line for line in capfd.readouterr().err.splitlines() if "error:" in line]
        if status != 0:
            num_full += 1
            assert status == 2
            assert len(errors) == 1 and errors[0].startswith("error: "), errors
            assert "the disk is full (found" in errors[0] or "too little room (found" in errors[0]
            assert "needed: " in errors[0] and "the same command goes on" in errors[0]
            disk.make_room()
            assert _call(words) == 0, capfd.readouterr().err
        assert _contents(case, disk.path) == wanted
    assert num_full
    disk.make_room()
    left = [path for path in disk.path.rglob("*") if path.name.endswith((".tmp", ".partial"))]
    assert left == []


def test_a_cache_on_a_full_disk_is_told(
    given: Path, disk: SmallDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("UNSPOKEN_CACHE", str(disk.path / "cache"))
    disk.clear()
    disk.leave(0)
    words = CASES["internalize"].words(given, tmp_path)
    assert _call(words) == 2
    told = capfd.readouterr().err
    assert "the disk is full" in told and "set UNSPOKEN_CACHE to another folder" in told


def test_standard_output_on_a_full_disk_is_told(given: Path, disk: SmallDisk) -> None:
    import subprocess

    disk.clear()
    disk.leave(0)
    with (disk.path / "out").open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "unspoken", "recipes"],
            stdout=file, stderr=subprocess.PIPE, text=True, check=False, env=dict(os.environ),
        )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "the disk is full" in line
