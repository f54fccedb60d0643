"""docs/tickets.md: its commands, from a table of tickets to a served student, on a tiny model."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from helpers.flags import require_words
from helpers.guides import guide_commands, run_guide
from helpers.paths import ROOT
from helpers.patience import Deadline
from helpers.teachers import save
from unspoken.data.jsonl import read_jsonl

pytestmark = pytest.mark.integration

GUIDE = (ROOT / "docs" / "tickets.md").read_text(encoding="utf-8")
SHORTER = {
    "distil": ["train.max_steps=2", "train.threads=1", "evaluate.num_latency=1"],
    "internalize": ["train.max_steps=2", "train.threads=1", "evaluate.num_latency=1"],
    "evaluate": ["--max_new_tokens", "8", "--num_latency", "1"],
}
QUEUES = {"billing", "login", "other"}


def commands(language: str) -> list[list[str]]:
    """The words of the commands in the fences of this language."""
    return list(guide_commands(GUIDE, language, ("unspoken", "transformers", "curl")))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all commands of unspoken on the page have run."""
    from unspoken.models.tokenizer import character_tokenizer

    folder = tmp_path_factory.mktemp("tickets")
    save(folder / "models" / "smollm2", character_tokenizer())
    shutil.copytree(ROOT / "examples", folder / "examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_guide(GUIDE, SHORTER)
    return folder


def test_the_commands_lead_from_a_table_to_a_student_that_names_queues(workplace: Path) -> None:
    work = workplace / "tickets"
    sizes = [len(list(read_jsonl(work / "data" / f"{name}.jsonl"))) for name in ("train", "test")]
    assert sizes == [46, 20]
    kept = [record for _, record in read_jsonl(work / "dataset.jsonl")]
    assert len(kept) == 46 and {record["answer"] for record in kept} == QUEUES
    for model in ("student", "at_once/internalized/model"):
        card = json.loads((work / model / "unspoken.json").read_text())
        assert set(card["choices"]) == QUEUES
    predictions = [record for _, record in read_jsonl(work / "predictions.jsonl")]
    assert len(predictions) == 20 and {record["pred"] for record in predictions} <= QUEUES
    assert "Classes: explicit student" in (work / "student" / "report.html").read_text()


def test_the_other_commands_of_unspoken_exist() -> None:
    others = [words for words in commands("text") if words[0] == "unspoken"]
    assert others
    for words in others:
        require_words(words[1:])


def test_the_figures_in_the_guide_are_of_as_many_tickets_as_are_shipped() -> None:
    matrix = re.findall(r"^(\w+) +(\d+) +(\d+) +(\d+) +(\d+) .*%$", GUIDE, re.MULTILINE)
    assert {row[0] for row in matrix} == QUEUES
    counts = [sum(map(int, row[1:])) for row in matrix]
    assert [sum(counts[:3]), sum(counts[3:])] == [20, 20]


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "openai")),
    reason="the extra 'serving' of transformers (fastapi, uvicorn, openai) is not installed",
)
def test_the_student_is_served_and_asked_over_http(workplace: Path) -> None:
    serve, curl = (
        next(words for words in commands("text") if words[0] == name)
        for name in ("transformers", "curl")
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    program = str(Path(sys.executable).with_name("transformers"))
    command = [program, *(port if word == "8000" else word for word in serve[1:])]
    asked = json.loads(curl[curl.index("-d") + 1]) | {"max_tokens": 8}
    url = f"http://{curl[1].replace('8000', port).replace('localhost', '127.0.0.1')}"
    with subprocess.Popen(
        command, cwd=workplace, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            answer = _answer(url, asked, server)
        finally:
            server.kill()
    # as the same folder answers here: the server's prompt names the choices, too
    from unspoken import load

    here = load(workplace / "tickets" / "served", max_new_tokens=8)
    question = asked["messages"][0]["content"]
    assert answer["choices"][0]["message"]["content"] == here.ask(question).written
    prompt = here.template.prompt(question)
    assert answer["usage"]["prompt_tokens"] == len(here.tokenizer(prompt)["input_ids"])


def _answer(url: str, asked: dict[str, Any], server: subprocess.Popen[bytes]) -> Any:
    """What a server says, once it answers."""
    request = urllib.request.Request(
        url, json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    deadline = Deadline(120)
    while True:
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{error}: {error.read()[:500]!r}")
        except OSError:
            assert server.poll() is None and not deadline.has_passed
            time.sleep(0.2)
