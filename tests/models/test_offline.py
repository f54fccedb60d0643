"""Everything but `unspoken download` works without a network, with no variable set that says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.adapters import recipe
from unspoken.data.example import read_questions

pytestmark = pytest.mark.integration

#: Every way out is written down with the stack: a library may catch the error and go on.
GUARD = """
import json, os, socket, sys, traceback
from pathlib import Path

folder = Path(sys.argv[1])

def refuse(name, arguments):
    with (folder / "network.log").open("a") as log:
        log.write(f"{name} {arguments}\\n" + "".join(traceback.format_stack()) + "\\n")
    raise OSError("no network in this test")

def refusing(name, inner):
    def call(*arguments, **keywords):
        if getattr(arguments[0], "family", None) == socket.AF_UNIX:
            return inner(*arguments, **keywords)
        refuse(name, arguments)
    return call

for owner, names in (
    (socket.socket, ("connect", "connect_ex", "sendto")),
    (socket, ("create_connection", "getaddrinfo", "gethostbyname")),
):
    for name in names:
        setattr(owner, name, refusing(name, getattr(owner, name)))
"""

PIPELINE = """
from unspoken.cli.main import call
from unspoken.run.run import run_recipe
from unspoken.recipe import recipe_from

def unspoken(words):
    call(words.split())

os.chdir(folder)
unspoken("data arithmetic --output data --num-train 12 --num-test 4")
unspoken("generate --teacher-dir base --input data/raw_questions.jsonl --output traces.jsonl "
      "--max-new-tokens 4 --num-samples 2")
unspoken("generate --engine worked --input multiply.jsonl --output worked.jsonl")
unspoken("vet --input worked.jsonl --output dataset.jsonl")
run_recipe(recipe_from(json.loads(Path("recipe.json").read_text())), progress=False)
test = "--input run/data/test.jsonl --limit 2 --num-latency 0"
model = "run/internalized/model"
unspoken(f"evaluate --base-model base --lora-model {model} --output predictions.jsonl {test}")
unspoken(f"export --model {model} --output served")
unspoken(f"evaluate --base-model served --output again.jsonl {test}")
print("everything was done")
"""

_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")


def python(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process that has not heard of being offline and may not connect."""
    environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", GUARD + code, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "HF_HOME": str(folder / "hub")},  # nothing was downloaded before
    )


def test_the_guard_sees_what_asks_the_network(tmp_path: Path) -> None:
    done = python(tmp_path, "import huggingface_hub\nhuggingface_hub.HfApi().model_info('gpt2')")
    assert done.returncode != 0
    assert "huggingface.co" in (tmp_path / "network.log").read_text()


def test_from_data_to_export_nothing_asks_the_network(tmp_path: Path) -> None:
    made = recipe(tmp_path, lora={}, data={"num_test": 4}, train={"max_steps": 6})
    values = made.model_dump(mode="json")
    assert values["model"]["local_files_only"] is False
    (tmp_path / "recipe.json").write_text(json.dumps(values))
    (tmp_path / "multiply.jsonl").write_text('{"question": "1 2 * 3 4", "answer": "3 0 9 0"}\n')
    done = python(tmp_path, PIPELINE)
    log = tmp_path / "network.log"
    assert not log.exists(), log.read_text()
    assert done.returncode == 0, done.stderr[-4000:]
    assert "everything was done" in done.stdout
    assert len(read_questions(tmp_path / "dataset.jsonl")) == 1
    assert (tmp_path / "predictions.jsonl").read_text() == (tmp_path / "again.jsonl").read_text()
