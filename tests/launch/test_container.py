from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.paths import CONFIGS, ROOT
from helpers.recipes import tiny_recipe
from unspoken.common.errors import RecipeError
from unspoken.launch.container import entry as container
from unspoken.launch.container.entry import _children, _environment, _lines, run_container
from unspoken.launch.container.files import final_model, place_run_folder, publish
from unspoken.launch.container.job import (
    ACCELERATE_FILE,
    ContainerError,
    ContainerJob,
    read_job,
    write_failure,
)
from unspoken.launch.container.metrics import MetricFollower, metric_definitions, metric_line
from unspoken.launch.container.requirements import install_missing
from unspoken.launch.container.whole_folders import WholeFolders
from unspoken.launch.sagemaker.pack import code_archive

SECRET = "wJalrPlantedSecretKey0123456789abcdefEXAMPLE"


def lay_out(
    root: Path,
    recipe: Path,
    *overrides: str,
    host: str = "algo-1",
    hosts: tuple[str, ...] = ("algo-1",),
) -> Path:
    """A folder as SageMaker lays out /opt/ml, with the code that a job really gets."""
    config = root / "input" / "config"
    config.mkdir(parents=True, exist_ok=True)
    (root / "output").mkdir(exist_ok=True)
    parameters = {"recipe": f"recipes/{recipe.name}"}
    parameters |= {f"override-{i:02d}": text for i, text in enumerate(overrides)}
    (config / "hyperparameters.json").write_text(json.dumps(parameters))
    resources = {"current_host": host, "hosts": list(hosts), "network_interface_name": "lo"}
    (config / "resourceconfig.json").write_text(json.dumps(resources))
    (config / "inputdataconfig.json").write_text(json.dumps({"code": {}}))
    with tarfile.open(fileobj=io.BytesIO(code_archive(recipe, ["torch>=2.6"]))) as archive:
        archive.extractall(root / "code", filter="data")
    return root


def write_recipe(folder: Path, **sections: Any) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe(Path("unused"), **sections).model_dump(mode="json")))
    return path


def start(root: Path, port: int) -> subprocess.Popen[str]:
    """The entry point, as the container's command runs it: in the code folder."""
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("SM_", "UNSPOKEN_", "PYTHONPA"))
    }
    environment = {
        **clean,
        "MASTER_ADDR": "127.0.0.1",  # algo-1 has no address here
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "SM_NUM_GPUS": "0",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "CUDA_VISIBLE_DEVICES": "",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "unspoken.launch.container.entry", "--root", str(root)],
        cwd=root / "code",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def launched() -> Iterator[list[subprocess.Popen[str]]]:
    """Entry points that a test started; they and their workers end with it."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        for pid in family(process.pid) if process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)


def family(pid: int) -> list[int]:
    """A process and all that it started, directly or not."""
    return [pid, *(each for child in _children(pid) for each in family(child))]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(condition: Any, process: subprocess.Popen[str], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def metrics(run: Path) -> list[dict[str, Any]]:
    text = (run / "internalized" / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_two_hosts_train_are_stopped_and_go_on(
    tmp_path: Path, launched: list[subprocess.Popen[str]]
) -> None:
    """Nothing is shared but the network; the second start has only what SageMaker keeps.

    The first start is DDP, and SIGTERM comes to one host later than to the other; the second is
    FSDP2.
    """
    settings = {"max_steps": 200, "checkpoint_every": 25, "evaluate_every": 100}
    recipe = write_recipe(tmp_path, train=settings, distil={"max_steps": 24})
    hosts = ("algo-1", "algo-2")
    roots = [lay_out(tmp_path / host, recipe, host=host, hosts=hosts) for host in hosts]
    port = free_port()
    processes = [start(root, port) for root in roots]
    launched += processes
    run = roots[0] / "checkpoints" / "run"
    wait_for(lambda: list(run.glob("internalized/checkpoint-*")), processes[0])
    processes[0].send_signal(signal.SIGTERM)
    first = [processes[0].communicate(timeout=100)[0]]
    time.sleep(3)  # its processes have ended by now
    assert processes[1].poll() is None, "it waits for its own SIGTERM"
    assert not _children(processes[1].pid)
    processes[1].send_signal(signal.SIGTERM)
    first.append(processes[1].communicate(timeout=10)[0])
    assert [process.returncode for process in processes] == [75, 75], first
    assert not any((root / "output" / "failure").exists() for root in roots)
    assert not (roots[0] / "model").exists()
    stopped = int(max(run.glob("internalized/checkpoint-*"), key=_number).name.split("-")[1])
    assert 25 <= stopped < 200

    before = metrics(run)
    for root in roots:  # new machines: only the checkpoints come back
        kept = root / "checkpoints"
        if kept.exists():
            kept.rename(tmp_path / f"kept-{root.name}")
        shutil.rmtree(root)
    roots = [lay_out(tmp_path / host, recipe, host=host, hosts=hosts) for host in hosts]
    kept = tmp_path / "kept-algo-1"
    shutil.copytree(kept, roots[1] / "checkpoints")  # SageMaker brings them back on every host
    (roots[1] / "checkpoints" / "run" / "internalized" / "stage.json").write_text("old")
    theirs = listing(roots[1] / "checkpoints")
    kept.rename(roots[0] / "checkpoints")
    for root in roots:
        shutil.copy(CONFIGS / "fsdp2.yaml", root / "code" / ACCELERATE_FILE)
    port = free_port()
    processes = [start(root, port) for root in roots]
    launched += processes
    second = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], second

    steps = [record["step"] for record in metrics(run) if record["event"] == "train"]
    assert steps == list(range(1, 201))
    assert metrics(run)[: len(before)] == before, "the first part was trained again"
    assert (roots[0] / "model" / "model.safetensors").is_file()
    assert (roots[0] / "model" / "unspoken.json").is_file()
    assert (roots[0] / "output" / "data" / "report.html").is_file()
    assert (roots[0] / "output" / "data" / "internalized" / "predictions.jsonl").is_file()
    assert not (roots[1] / "model").exists(), "only the first host publishes"
    assert listing(roots[1] / "checkpoints") == theirs, "only the first host is saved"
    copy = roots[1] / "unspoken" / "run"
    assert (copy / "data" / "train.jsonl").is_file(), "data was sent"
    assert (copy / "distilled" / "model" / "model.safetensors").is_file(), "the start was sent"
    assert not list(copy.rglob("levels")), "what only the first host reads was not"

    log = second[0]
    assert "mixed_precision bf16" in log, "fsdp2.yaml was read"
    assert re.search(r"^metric internalized train step=\d+ loss=[\d.]+ removed=\d+", log, re.M)
    told = {int(step) for step in re.findall(r"^metric internalized train step=(\d+)", log, re.M)}
    assert told == set(range(stopped + 1, 201)), "each step is told once"
    assert SECRET not in "".join(first + second)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_hosts_agree_where_a_resumed_job_has_another_setting(
    tmp_path: Path, launched: list[subprocess.Popen[str]]
) -> None:
    """The first sets aside what it has, and so the other must not go on from what it was sent."""
    roots = [tmp_path / "algo-1", tmp_path / "algo-2"]
    kept, run = roots[0] / "checkpoints", roots[0] / "checkpoints" / "run"

    def begin(learning_rate: float) -> list[subprocess.Popen[str]]:
        train = {"max_steps": 150, "checkpoint_every": 25, "learning_rate": learning_rate}
        recipe, hosts = write_recipe(tmp_path, train=train), ("algo-1", "algo-2")
        for root, host in zip(roots, hosts, strict=True):
            lay_out(root, recipe, host=host, hosts=hosts)
        if (tmp_path / "kept").exists():
            (tmp_path / "kept").rename(kept)
        port = free_port()
        return [start(root, port) for root in roots]

    processes = begin(learning_rate=1e-3)
    launched += processes
    wait_for(lambda: list(run.glob("internalized/checkpoint-*")), processes[0])
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(100) for process in processes] == [75, 75]
    kept.rename(tmp_path / "kept")
    for root in roots:  # new machines: only the checkpoints come back
        shutil.rmtree(root)
    processes = begin(learning_rate=5e-4)
    launched += processes
    output = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], output
    assert list((run / "old" / "1" / "internalized").glob("checkpoint-*"))
    steps = [record["step"] for record in metrics(run) if record["event"] == "train"]
    assert steps == list(range(1, 151))


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Files below -> bytes, time of change."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def _number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


@pytest.mark.slow
def test_a_bad_recipe_leaves_its_one_line_reason(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    root = lay_out(tmp_path / "ml", recipe, "train.learning_rat=1e-3")
    process = start(root, free_port())
    log = process.communicate(timeout=100)[0]
    assert process.returncode not in (0, 75), log
    reason = (root / "output" / "failure").read_text()
    assert "learning_rat" in reason
    assert reason.count("\n") == 1
    assert not (root / "model").exists()
    assert SECRET not in log + reason


def job_of(root: Path, **environment: str) -> ContainerJob:
    return read_job(root, environment)


def test_files_alone_say_hosts_rank_and_overrides(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    hosts = ("algo-10", "algo-2", "algo-1")
    root = lay_out(tmp_path / "ml", recipe, "seed=3", "name=x", host="algo-10", hosts=hosts)
    job = job_of(root)
    assert job.hosts == ("algo-1", "algo-2", "algo-10")
    assert (job.rank, job.is_first, job.master) == (2, False, "algo-1")
    assert job.overrides == ("seed=3", "name=x")
    assert job.network_interface == "lo"


def test_sm_variables_are_honoured(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "ml", write_recipe(tmp_path), "seed=3")
    parameters = json.dumps({"recipe": "recipes/tiny.yaml", "override-00": "seed=4"})
    job = job_of(
        root,
        SM_HOSTS='["algo-1", "algo-2"]',
        SM_CURRENT_HOST="algo-2",
        SM_NUM_GPUS="4",
        SM_NETWORK_INTERFACE_NAME="eth0",
        SM_HPS=parameters,
    )
    assert (job.rank, job.num_processes, job.network_interface) == (1, 4, "eth0")
    assert job.overrides == ("seed=4",)


def test_paths_of_channels_are_those_of_this_root(tmp_path: Path) -> None:
    override = 'data.train="/opt/ml/input/data/data-train/a.jsonl"'
    root = lay_out(tmp_path / "ml", write_recipe(tmp_path), override)
    with pytest.raises(ContainerError, match=r"channel data-train: an override needs it"):
        job_of(root)
    (root / "input" / "data" / "data-train").mkdir(parents=True)
    config = root / "input" / "config" / "inputdataconfig.json"
    config.write_text(json.dumps({"code": {}, "data-train": {}}))
    assert job_of(root).overrides == (f'data.train="{root}/input/data/data-train/a.jsonl"',)


def test_a_job_without_a_recipe_is_refused(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "ml", write_recipe(tmp_path))
    (root / "code" / "recipes" / "tiny.yaml").unlink()
    with pytest.raises(ContainerError, match=r"hyperparameter recipe: found 'recipes/tiny.yaml'"):
        run_container(root)
    shutil.rmtree(root / "input")
    with pytest.raises(ContainerError, match=r"hyperparameters.json: missing"):
        run_container(root)


def a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stopped: int) -> Path:
    """The second of two hosts, whose processes end with this status."""
    hosts = ("algo-1", "algo-2")
    root = lay_out(tmp_path / "ml", write_recipe(tmp_path), host="algo-2", hosts=hosts)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setattr(container, "_train", lambda *_: (stopped, "lost its partner"))
    return root


def test_stopped_through_another_host_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wish to stop is shared by all processes, so a host may end before its own SIGTERM."""
    monkeypatch.setattr(container, "_OWN_SIGTERM_S", 0.2)
    root = a_host(tmp_path, monkeypatch, stopped=75)
    assert run_container(root) == 75
    assert not (root / "output" / "failure").exists()


def test_a_failure_right_before_sigterm_is_its_consequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = a_host(tmp_path, monkeypatch, stopped=1)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert run_container(root) == 75
    assert not (root / "output" / "failure").exists()
    monkeypatch.setattr(container, "_SIGTERM_AFTER_FAILURE_S", 0.2)
    assert run_container(root) == 1
    assert (root / "output" / "failure").read_text() == "lost its partner\n"


@pytest.mark.parametrize("left", ["sleep 60 &", "setsid sleep 5 &"])
def test_a_job_ends_when_its_run_does(
    left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that outlives the run holds its output open; that must not be waited for."""
    monkeypatch.setattr(container, "_REST_OF_OUTPUT_S", 1)
    command = ["bash", "-c", f"{left} echo 'error: no memory'; exit 3"]
    monkeypatch.setattr(container, "_command", lambda job: command)
    job = job_of(lay_out(tmp_path / "ml", write_recipe(tmp_path)))
    run = place_run_folder(job, print)
    begin = time.monotonic()
    with container._Termination() as termination:
        assert container._train(job, run, termination) == (3, "no memory")
    assert time.monotonic() - begin < 4.5


def test_what_goes_wrong_beside_the_run_is_said_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(container, "_LOOK_EVERY_S", 0.01)
    ended = threading.Event()
    looked: list[str] = []

    def broken() -> None:
        looked.append("broken")
        raise (FileNotFoundError if len(looked) == 1 else PermissionError)("no space")

    def works() -> None:
        looked.append("works")
        if len(looked) >= 10:
            ended.set()

    container._watch([broken, works], ended)
    assert looked[:10] == ["broken", "works"] * 5
    assert capsys.readouterr().out.count("training goes on: no space") == 1


def test_a_configuration_of_accelerate_reaches_the_processes(tmp_path: Path) -> None:
    job = job_of(lay_out(tmp_path / "ml", write_recipe(tmp_path)))
    assert "ACCELERATE_USE_FSDP" not in _environment(job)
    shutil.copy(CONFIGS / "fsdp2.yaml", job.code / ACCELERATE_FILE)
    values = _environment(job)
    assert (values["ACCELERATE_USE_FSDP"], values["FSDP_VERSION"]) == ("true", "2")
    (job.code / ACCELERATE_FILE).write_text("nonsense: [")
    with pytest.raises(RecipeError, match=r"accelerate\.yaml: accelerate cannot use it"):
        _environment(job)


def test_of_a_progress_bar_only_the_end_is_kept() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"one\r\n10 %\r20 %\r100 %\ntwo\r\nend")
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        assert list(_lines(stream)) == ["one", "100 %", "two", "end"]


def test_workers_are_found_through_their_parent() -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '30']); print(p.pid, flush=True)"
    code += "; p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _children(parent.pid) == [child]
    os.kill(child, signal.SIGTERM)
    parent.wait(timeout=10)


def test_requirements_that_are_met_need_no_network(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text('torch>=2\nabsent-package; platform_system == "X"\n')
    said: list[str] = []
    install_missing(tmp_path, said.append)
    assert said == []
    (tmp_path / "requirements.txt").write_text("torch>=99\n")
    with pytest.raises(ContainerError, match=r"image: found torch .*torch>=99.*another image"):
        install_missing(tmp_path, said.append)


def test_a_container_starts_with_the_standard_library_alone() -> None:
    source = str(ROOT / "src")
    code = f"import sys; sys.path.insert(0, {source!r}); import unspoken.launch.container.entry"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_a_failure_is_one_short_line(tmp_path: Path) -> None:
    write_failure(tmp_path, "first\nsecond " + "x" * 5000)
    text = (tmp_path / "output" / "failure").read_text()
    assert text.startswith("first second xxx")
    assert len(text) <= 1001


def model_folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    for name, text in {"unspoken.json": "{}", "model.safetensors": "weights", **files}.items():
        (path / name).write_text(text)
    return path


def test_the_last_phase_is_the_final_model(tmp_path: Path) -> None:
    distilled = model_folder(tmp_path / "distilled" / "model")
    assert final_model(tmp_path) == distilled
    for name in ("1-small", "2-large", "10-last"):
        model_folder(tmp_path / "internalized" / name / "model")
    assert final_model(tmp_path) == tmp_path / "internalized" / "10-last" / "model"
    whole = model_folder(tmp_path / "internalized" / "model")
    assert final_model(tmp_path) == whole
    with pytest.raises(ContainerError, match="left no internalized or distilled model"):
        final_model(tmp_path / "nowhere")


def test_publishing_leaves_out_what_is_old(tmp_path: Path) -> None:
    run, root = tmp_path / "run", tmp_path / "ml"
    model_folder(run / "internalized" / "model")
    (run / "internalized" / "metrics.jsonl").write_text("{}\n")
    (run / "old" / "1" / "internalized").mkdir(parents=True)
    (run / "old" / "1" / "internalized" / "metrics.jsonl").write_text("{}\n")
    (run / "report.html").write_text("page")
    publish(run, root)
    assert (root / "model" / "model.safetensors").read_text() == "weights"
    data = root / "output" / "data"
    found = sorted(p.relative_to(data).as_posix() for p in data.rglob("*") if p.is_file())
    assert found == ["internalized/metrics.jsonl", "report.html"]


def checkpoint(folder: Path, step: int, *levels: str) -> Path:
    best = {level: {"accuracy": 1.0} for level in levels}
    state = json.dumps({"step": step, "best": best})
    path = folder / f"checkpoint-{step}"
    return model_folder(path, **{"training.pt": "moments", "state.json": state})


def test_checkpoints_that_came_back_incomplete_are_set_aside(tmp_path: Path) -> None:
    run, notes = tmp_path / "run", tmp_path / "whole.json"
    stage = run / "internalized"
    model_folder(stage / "levels" / "removed-0000")
    model_folder(stage / "levels" / "removed-0001")
    for step, levels in ((10, ("0000",)), (20, ("0000", "0001")), (30, ("0000",))):
        checkpoint(stage, step, *levels)
    WholeFolders(run, notes).note()
    assert WholeFolders(run, notes).set_aside_broken(tmp_path / "aside") == []
    (stage / "checkpoint-30" / "training.pt").unlink()
    assert WholeFolders(run, notes).set_aside_broken(tmp_path / "aside") == [
        "internalized/checkpoint-30"
    ]
    assert sorted(path.name for path in stage.glob("checkpoint-*")) == [
        "checkpoint-10",
        "checkpoint-20",
    ]
    assert (tmp_path / "aside" / "internalized" / "checkpoint-30" / "state.json").is_file()


def test_a_checkpoint_that_was_written_again_is_whole(tmp_path: Path) -> None:
    """Its validation was still due when it was written first."""
    run, notes = tmp_path / "run", tmp_path / "whole.json"
    checkpoint(run / "internalized", 10)
    state = run / "internalized" / "checkpoint-10" / "state.json"
    after = state.read_text()
    state.write_text(f"{after}{' ' * 50}")
    watched = WholeFolders(run, notes)
    watched.note()
    state.write_text(after)
    watched.note()
    assert WholeFolders(run, notes).set_aside_broken(tmp_path / "aside") == []


def test_checkpoints_forget_a_level_that_came_back_incomplete(tmp_path: Path) -> None:
    """They stay, and so does training; the next validation at this level keeps a model again."""
    run, notes = tmp_path / "run", tmp_path / "whole.json"
    stage = run / "internalized"
    for level in ("0000", "0001"):
        model_folder(stage / "levels" / f"removed-{level}", **{"valid.json": "{}"})
    for step in (10, 20):
        checkpoint(stage, step, "0000", "0001")
    WholeFolders(run, notes).note()
    (stage / "levels" / "removed-0000" / "valid.json").write_text("{ }")
    names = ["internalized/levels/removed-0000"]
    assert WholeFolders(run, notes).set_aside_broken(tmp_path / "aside") == names
    for step in (10, 20):
        state = json.loads((stage / f"checkpoint-{step}" / "state.json").read_text())
        assert state == {"step": step, "best": {"0001": {"accuracy": 1.0}}}
    again = WholeFolders(run, notes).set_aside_broken(tmp_path / "aside")
    assert again == [], "a checkpoint that was changed counts as whole"
    assert [path.name for path in (stage / "levels").iterdir()] == ["removed-0001"]


def test_what_came_too_late_for_a_note_counts_if_it_has_everything(tmp_path: Path) -> None:
    run, notes = tmp_path / "run", tmp_path / "whole.json"
    checkpoint(run / "internalized", 10)
    assert WholeFolders(run, notes).set_aside_broken(tmp_path / "aside") == []
    (run / "internalized" / "checkpoint-10" / "training.pt").unlink()
    gone = WholeFolders(run, notes).set_aside_broken(tmp_path / "aside")
    assert gone == ["internalized/checkpoint-10"]


def test_a_stage_that_is_done_without_a_whole_model_runs_again(tmp_path: Path) -> None:
    run, notes = tmp_path / "run", tmp_path / "whole.json"
    model = model_folder(run / "distilled" / "model")
    (run / "distilled" / "stage.json").write_text('{"status": "done"}')
    WholeFolders(run, notes).note()
    (model / "model.safetensors").unlink()
    WholeFolders(run, notes).set_aside_broken(tmp_path / "aside")
    assert not (run / "distilled").exists()
    assert (tmp_path / "aside" / "distilled" / "stage.json").is_file()


def test_every_metric_is_told_once_even_where_a_run_goes_back(tmp_path: Path) -> None:
    path = tmp_path / "internalized" / "metrics.jsonl"
    path.parent.mkdir()
    lines = [json.dumps({"step": step, "event": "train", "loss": step / 8}) for step in range(1, 6)]
    path.write_text("\n".join(lines[:2]) + "\n")
    follower = MetricFollower(tmp_path)
    assert list(follower.new_lines()) == []
    with path.open("a") as file:
        file.write(lines[2] + "\n" + lines[3][:10])
    assert list(follower.new_lines()) == ["metric internalized train step=3 loss=0.375"]
    path.unlink()
    path.write_text("\n".join(lines) + "\n")
    assert [line.split()[3] for line in follower.new_lines()] == ["step=4", "step=5"]


def test_cloudwatch_finds_the_numbers_that_are_printed() -> None:
    figures = {"loss": 1.5e-05, "removed": 7, "learning_rate": 0.1, "examples_per_s": 95.25}
    train = metric_line("internalized/2-large", {"step": 10, "event": "train", **figures})
    valid = metric_line("internalized", {"step": 20, "event": "valid", "accuracy": 0.9875})
    expected = {
        "internalized:train:loss": (train, "1.5e-05"),
        "internalized:train:removed": (train, "7"),
        "internalized:train:examples_per_s": (train, "95.25"),
        "internalized:valid:accuracy": (valid, "0.9875"),
    }
    definitions = {item["Name"]: item["Regex"] for item in metric_definitions()}
    assert len(definitions) <= 40, "SageMaker takes no more"
    for name, (line, number) in expected.items():
        match = re.search(definitions[name], line)
        assert match is not None, name
        assert match[1] == number
    assert not re.search(definitions["explicit:train:loss"], train)
    assert not re.search(definitions["internalized:train:loss"], valid)
