"""docs/distil.md: its commands run on tiny models, and every flag and setting in it exists."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.flags import require_words
from helpers.paths import ROOT
from helpers.recipes import tiny_qwen2
from unspoken.cli.main import main
from unspoken.cli.spelling import flags_of
from unspoken.cli.verbs import VERBS, application, find_verb
from unspoken.data.jsonl import read_jsonl, write_jsonl
from unspoken.models.adapter import is_adapter
from unspoken.recipe import load_recipe

pytestmark = pytest.mark.integration

GUIDE = (ROOT / "docs" / "distil.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OVERRIDE = re.compile(r"[a-z_]+(\.[a-z_]+)*=.+")
#: Flags in running text that are not unspoken's.
OTHERS = {"--model_path", "--help"}
APP = application()

_STEPS = ["train.max_steps=2", "train.threads=1"]
_ASKED = ["train.num_valid=2", "evaluate.limit=2", "evaluate.max_new_tokens=4"]
#: What makes a command short; flags replace those that the guide gives.
SHORTER: dict[str, dict[str, str]] = {
    "generate": {"--num_samples": "4", "--max_new_tokens": "8"},
    "evaluate": {"--limit": "2", "--max_new_tokens": "4", "--num_latency": "1"},
}
SHORTER_SETTINGS = {
    "distil": _STEPS,
    "internalize": [*_STEPS, *_ASKED],
    "run": [*_STEPS, *_ASKED, "distil.max_steps=2"],
}


def section(number: int) -> str:
    """The text of one section of the guide."""
    return re.split(r"^## \d+\. ", GUIDE, flags=re.MULTILINE)[number]


def commands(text: str, language: str) -> Iterator[str]:
    """The commands in the fences of this language, one line each."""
    for found, block in FENCE.findall(text):
        if found == language:
            yield from filter(None, block.replace("\\\n", " ").splitlines())


def shorter(arguments: list[str]) -> list[str]:
    """The same command, with little to do."""
    verb = arguments[0]
    flags = SHORTER.get(verb, {})
    if verb == "generate" and "--teacher_dir" not in arguments:
        flags = {}
    result = list(arguments)
    for flag, value in flags.items():
        if flag in result:
            result[result.index(flag) + 1] = value
        else:
            result += [flag, value]
    return [*result, *SHORTER_SETTINGS.get(verb, [])]


def unspoken(arguments: list[str]) -> None:
    """Runs a verb in this process; fails where it would exit with an error."""
    try:
        main(arguments)
    except SystemExit as error:
        pytest.fail(f"unspoken {shlex.join(arguments)}: exit status {error.code}")


def run(line: str) -> None:
    """Runs one command of the guide in the working folder."""
    tokens = shlex.split(line, comments=True)
    if tokens[0] != "unspoken":
        subprocess.run(["bash", "-c", line], check=True)
        return
    expanded: list[str] = []
    for token in tokens[1:]:
        expanded += sorted(map(str, Path().glob(token))) if "*" in token else [token]
    unspoken(shorter(expanded))
    if "models/teacher" in expanded and "data/cot_dataset.jsonl" in expanded:
        solve("data/cot_dataset.jsonl")


def solve(path: str) -> None:
    """A random teacher solves nothing: puts worked solutions there, the first two cut off."""
    worked = ["--input", "data/raw_questions.jsonl", "--output", "worked.jsonl"]
    unspoken(["generate", "--engine", "worked", *worked, "--num_samples", "30"])
    records = [record for _, record in read_jsonl("worked.jsonl")]
    for record in records[:2]:
        record["cot"] = "Step 1: I do not know"
    write_jsonl(path, records, overwrite=True)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as it is after `unspoken download`, with tiny models."""
    tiny_qwen2(tmp_path / "models" / "teacher", chat=True, seed=1)
    tiny_qwen2(tmp_path / "models" / "student")
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def num_lines(path: str) -> int:
    return len(Path(path).read_text(encoding="utf-8").splitlines())


def test_the_commands_by_hand_run_one_after_the_other(workplace: Path) -> None:
    for number in (3, 4, 5, 6):
        for line in commands(section(number), "bash"):
            run(line)
    assert num_lines("data/dataset.jsonl") == 28
    assert num_lines("data/retry.jsonl") == 2
    recipe = load_recipe("results/student_cot_lora/recipe.yaml")
    assert recipe.model.quantization == "nf4"
    for folder in ("results/student_cot_lora", "results/internalized/internalized/model"):
        assert is_adapter(folder)
    for name in ("student", "internalized"):
        assert Path("exported", name, "model.safetensors").is_file()
    fields = next(read_jsonl("results/predictions.jsonl"))[1]
    assert {"question", "generated", "pred", "gold", "correct"} <= fields.keys()
    assert num_lines("data/shared.jsonl") == 377
    assert num_lines("drawn.jsonl") == 5
    assert next(read_jsonl("from_csv.jsonl"))[1]["answer"] == "8"


def test_the_one_command_leaves_the_folders_that_are_listed(workplace: Path) -> None:
    for line in commands(section(2), "bash"):
        run(line)
    folder = Path("runs/try")
    for name in re.findall(r"([a-z]+)/ +(?:[a-z]+\.jsonl|model/)", section(2)):
        if name != "teacher":  # worked solutions are not asked the test questions
            assert (folder / name).is_dir(), name
    assert (folder / "report.html").is_file()
    assert (folder / "internalized" / "levels").is_dir()


def test_the_examples_of_records_are_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unspoken(["data", "arithmetic", "--output", "data"])
    first = Path("data/raw_questions.jsonl").read_text(encoding="utf-8").splitlines()[0]
    assert first in GUIDE
    assert (num_lines("data/raw_questions.jsonl"), num_lines("data/test_questions.jsonl")) == (
        377, 95,
    )  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [line for language in ("bash", "text") for line in commands(GUIDE, language)],
)
def test_every_command_has_the_flags_and_settings_that_it_names(line: str) -> None:
    tokens = shlex.split(line, comments=True)
    if "./run_pipeline.sh" in tokens:
        named = [token.partition("=")[2] for token in tokens if token.startswith("RECIPE=")]
        recipe = named[0] if named else "recipes/distill-qwen.yaml"
        load_recipe(ROOT / recipe, [token for token in tokens if OVERRIDE.fullmatch(token)])
    if "unspoken" not in tokens:
        return
    arguments = tokens[tokens.index("unspoken") + 1 :]
    require_words(arguments)
    if arguments[0] in ("run", "check"):
        overrides = [token for token in arguments[2:] if OVERRIDE.fullmatch(token)]
        load_recipe(ROOT / arguments[1], overrides)


def test_every_setting_in_running_text_exists() -> None:
    spans = [span.split() for span in re.findall(r"`([^`\n]+)`", FENCE.sub("", GUIDE))]
    settings = [
        [word for word in span if OVERRIDE.fullmatch(word) and "." in word.partition("=")[0]]
        for span in spans
    ]
    assert sum(map(bool, settings)) > 10
    for overrides in filter(None, settings):
        load_recipe(ROOT / "recipes" / "distill-qwen.yaml", overrides)


def test_every_flag_in_running_text_exists() -> None:
    flags = [flag for verb in VERBS for flag in flags_of(find_verb(APP, verb))]
    known = {name for flag in flags for name in flag.names} | OTHERS
    named = {
        flag.replace("-", "_").replace("__", "--", 1)
        for flag in re.findall(r"--[a-z][a-z_-]*", FENCE.sub("", GUIDE))
    }
    assert len(named) > 40
    assert named <= known, named - known
