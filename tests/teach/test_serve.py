"""A server that the run starts: it answers, dies, never gets ready, and is never left over."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from helpers.paths import ROOT
from helpers.patience import Deadline
from helpers.processes import Forked
from helpers.recipes import tiny_recipe
from helpers.servers import QUESTIONS
from unspoken.cli.main import main
from unspoken.common.errors import RecipeError
from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.recipe import recipe_from
from unspoken.teach.engines import EngineError
from unspoken.teach.engines.make import EngineOptions, connect
from unspoken.teach.engines.serve import ServedEngine
from unspoken.teach.traces.write import generate_traces

SCRIPT = ROOT / "tests" / "helpers" / "fake_serve.py"
#: So long what a killed run has started may need to end; it takes 10 s where it ignores SIGTERM.
LIMIT_S = 60


def command_of(folder: Path, *options: str) -> str:
    words = [sys.executable, str(SCRIPT), "--folder", str(folder), *options]
    return f"{shlex.join(words)} --port {{port}}"


def engine_of(folder: Path, *options: str, timeout_s: float = 60.0, **more: Any) -> ServedEngine:
    return ServedEngine(
        command_of(folder, *options),
        "large",
        folder / "server.log",
        lambda url: connect(EngineOptions(base_url=url, model="large", concurrency=2)),
        timeout_s=timeout_s,
        **more,
    )


def started(folder: Path) -> list[int]:
    """Process ids of servers and their children; none where a busy machine has not begun."""
    file = folder / "starts"
    return [int(word) for word in file.read_text().split()] if file.exists() else []


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def require_gone(pids: list[int]) -> None:
    deadline = Deadline(LIMIT_S)
    while any(map(is_alive, pids)):
        assert not deadline.has_passed, f"left over: {[pid for pid in pids if is_alive(pid)]}"
        time.sleep(0.05)


def ids(traces: Path) -> list[str]:
    return [json.loads(line)["id"] for line in traces.read_text().splitlines()]


@contextmanager
def asking(folder: Path, *options: str, **settings: Any) -> Iterator[Any]:
    """Asks all questions when it is called; afterwards no process is left."""
    with closing(engine_of(folder, *options, **settings)) as engine:
        yield lambda: generate_traces(engine, QUESTIONS, folder / "traces.jsonl")
    require_gone(started(folder))


@pytest.mark.integration
def test_a_server_is_started_once_and_ended(tmp_path: Path) -> None:
    with asking(tmp_path, "--loads", "2", "--model", "large", "--child") as ask:
        summary = ask()
        assert all(map(is_alive, started(tmp_path)))
    assert summary.num_written == 20
    assert ids(tmp_path / "traces.jsonl") == [f"{n}#0" for n in range(20)]
    assert len(started(tmp_path)) == 2  # and its child
    assert "starting" in (tmp_path / "server.log").read_text()


@pytest.mark.integration
def test_nothing_is_started_where_all_is_answered(tmp_path: Path) -> None:
    with asking(tmp_path) as ask:
        ask()
    with asking(tmp_path) as ask:
        assert ask().num_done_before == 20
    assert len(started(tmp_path)) == 1


@pytest.mark.integration
def test_a_server_that_dies_is_started_again(tmp_path: Path) -> None:
    with asking(tmp_path, "--dies_after", "7", "--takes", "0.02") as ask:
        summary = ask()
    assert summary.num_written == 20
    assert summary.num_tokens == 20 * 5
    assert ids(tmp_path / "traces.jsonl") == [f"{n}#0" for n in range(20)]
    assert len(started(tmp_path)) == 2


@pytest.mark.integration
def test_a_port_that_another_took_meanwhile_is_not_the_last(tmp_path: Path) -> None:
    """Neither counts as a death, and there is an end to it."""
    with asking(tmp_path, "--taken", "2", "--dies_after", "0", "0", "5") as ask:
        assert ask().num_written == 20
    assert len(started(tmp_path)) == 4
    (tmp_path / "always").mkdir()
    with (
        asking(tmp_path / "always", "--taken", "9") as ask,
        pytest.raises(EngineError, match=r"ended before it answered.*Address already in use"),
    ):
        ask()
    assert len(started(tmp_path / "always")) == 3


@pytest.mark.integration
def test_a_server_that_dies_twice_ends_it_and_loses_nothing(tmp_path: Path) -> None:
    """Must show 6, first half: what was answered is kept, and asked no more."""
    options = ["--dies_after", "6", "5", "--takes", "0.02"]
    with asking(tmp_path, *options) as ask, pytest.raises(EngineError) as caught:
        ask()
    assert f"its log is {tmp_path / 'server.log'}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "status 137" in str(caught.value)
    before = ids(tmp_path / "traces.jsonl")
    # what was under way as it died may have been answered and not read
    assert 5 <= len(before) <= 11
    with asking(tmp_path, *options) as ask:
        summary = ask()
    assert summary.num_done_before == len(before)
    assert summary.num_written == 20 - len(before)
    assert ids(tmp_path / "traces.jsonl") == [f"{n}#0" for n in range(20)]
    assert len(started(tmp_path)) == 3


@pytest.mark.integration
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--ends", "3"],
            r"ended before it answered.*status 3; .*first line \| no such model here",
        ),
        (["--silent"], r"has not answered within 2 s .*it runs; it says at last:"),
        (["--model", "other"], r"refuses \(asked for large: .*no model large"),
        (["--silent", "--child", "--deaf"], "has not answered within 2 s"),
    ],
)
def test_a_server_that_never_gets_ready_is_an_error_and_gone(
    tmp_path: Path, options: list[str], said: str
) -> None:
    timeout_s = 2.0 if "--silent" in options else 60.0
    with asking(tmp_path, *options, timeout_s=timeout_s, settle_s=0.5) as ask:
        with pytest.raises(EngineError, match=said) as caught:
            ask()
        require_gone(started(tmp_path))  # at once, not at the end of the run
    assert "\n" not in str(caught.value)
    # who waits longer for a server that has ended, or refuses, gets nothing for it
    assert ("or raise serve_timeout" in str(caught.value)) == ("--silent" in options)


@pytest.mark.integration
def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    engine = ServedEngine(
        "no-such-program --port {port}", "large", tmp_path / "server.log",
        lambda url: connect(EngineOptions(base_url=url, model="large")),
    )  # fmt: skip
    with pytest.raises(EngineError, match=r"status 127; .*no-such-program: No such file"):
        generate_traces(engine, QUESTIONS, tmp_path / "traces.jsonl")


# --- runs -----------------------------------------------------------------------------------------


def write_recipe(folder: Path, *options: str) -> Path:
    questions = folder / "questions.jsonl"
    questions.write_text("".join(f"{json.dumps(record)}\n" for record in QUESTIONS))
    shape = {"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 16, "n_positions": 512}
    teacher = {
        "serve": command_of(folder, "--takes", "0.1", *options),
        "model": {"name": "large"},
        "concurrency": 2,
        "evaluate": False,
    }
    values = {
        "name": "served", "output": str(folder / "run"),
        "data": {"train": str(questions), "num_valid": 0},
        "teacher": teacher, "distil": {}, "internalize": False, "train": {"max_steps": 1},
        "model": {"tokenizer": "characters", "config": shape},
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(json.dumps(values))
    return folder / "recipe.yaml"


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_server(tmp_path: Path, number: signal.Signals) -> None:
    """Must show 6, second half: with a child that left its group and ignores SIGTERM, too."""
    hard = ["--deaf", "--child"] if number != signal.SIGINT else []
    recipe = write_recipe(tmp_path, *hard)
    running = Forked("-m", "unspoken", "run", str(recipe))
    traces = tmp_path / "run" / "traces" / "traces.jsonl"
    while not traces.exists() or traces.read_bytes().count(b"\n") < 4:
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)
    running.send_signal(number)
    done = running.wait()
    if number != signal.SIGKILL:
        assert done.returncode == EXIT_INTERRUPTED, done.stderr
        assert not any(map(is_alive, started(tmp_path))), "a run waits for its server to end"
    require_gone(started(tmp_path))
    before = [line for line in traces.read_text().splitlines() if line.endswith("}")]
    assert 4 <= len(before) < 20
    (tmp_path / "starts").unlink()
    write_recipe(tmp_path)
    assert main(["run", str(recipe)]) in (None, 0)
    assert ids(traces) == [f"{n}#0" for n in range(20)]
    assert set(before) <= set(traces.read_text().splitlines())
    assert len(started(tmp_path)) == 1
    require_gone(started(tmp_path))
    assert (tmp_path / "run" / "traces" / "server.log").read_text().count("starting") == 2


@pytest.mark.integration
def test_each_share_has_a_server_of_its_own(tmp_path: Path) -> None:
    recipe = str(write_recipe(tmp_path))
    main(["shard", recipe, "--prepare"])
    for number in (1, 2):
        main(["shard", recipe, "--shard", f"{number}/2"])
    shards = tmp_path / "run" / "traces" / "shards"
    assert len(list(shards.glob("server-0000*-of-00002.log"))) == 2
    main(["shard", recipe, "--merge", "2"])
    traces = tmp_path / "run" / "traces" / "traces.jsonl"
    assert ids(traces) == [f"{n}#0" for n in range(20)]
    assert len(started(tmp_path)) == 2
    require_gone(started(tmp_path))


# --- the recipe -----------------------------------------------------------------------------------

SERVE = "vllm serve {model} --port {port}"


def served_recipe(folder: Path, **teacher: Any) -> Any:
    given = {"serve": SERVE, "model": {"name": "large"}, **teacher}
    return tiny_recipe(folder, teacher=given, distil={})


def test_a_served_teacher_is_asked_as_a_server(tmp_path: Path) -> None:
    recipe = served_recipe(tmp_path)
    assert recipe.teacher.engine == "openai"
    assert recipe_from(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        ({"serve": "vllm serve"}, r"found no \{port\} in 'vllm serve'"),
        ({"serve": f"{SERVE} --host {{host}}"}, r"found \{host\} in"),
        ({"serve": f"{SERVE} 'x"}, "No closing quotation"),
        ({"serve": ""}, "it is empty"),
        ({"engine": "transformers"}, "found it with teacher.engine=transformers"),
        ({"base_url": "http://localhost:1/v1"}, "found it with teacher.base_url, which"),
        ({"model": None}, "found it without teacher.model.name"),
        ({"serve_timeout": 0}, "serve_timeout"),
    ],
)
def test_a_command_that_cannot_serve(tmp_path: Path, teacher: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        served_recipe(tmp_path, **teacher)


def test_options_in_json_are_no_places(tmp_path: Path) -> None:
    words = """--speculative-config '{"model": "small", "n": {"x": 1}}'"""
    assert served_recipe(tmp_path, serve=f"{SERVE} {words}").teacher.serve.endswith(words)
