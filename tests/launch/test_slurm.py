"""Against a real SLURM, started here: two nodes on loopback, everything in one temporary folder."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.paths import CONFIGS
from helpers.patience import Deadline
from helpers.processes import warm_program
from helpers.recipes import tiny_recipe
from helpers.training import NO_DROPOUT, losses
from unspoken.cli.main import main
from unspoken.recipe import load_recipe
from unspoken.run.run import run_recipe

pytestmark = pytest.mark.cluster

_DAEMONS = ("munged", "slurmctld", "slurmd")
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_CONFIGURATION = """\
ClusterName=unspoken
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort={ports[0]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
PlugStackConfig={folder}/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
ReturnToService=2
JobRequeue=1
KillWait=10
MinJobAge=3600
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 State=UNKNOWN
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 State=UNKNOWN
PartitionName=all Nodes=localhost,{host} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a cluster of two nodes, both this machine; SLURM_CONF names it."""
    missing = [name for name in (*_DAEMONS, "sbatch") if shutil.which(name, path=_PATH) is None]
    if missing:
        pytest.skip(
            f"not installed: {', '.join(missing)} (Debian: apt-get install slurmctld slurmd "
            "slurm-client munge)"
        )
    folder = tmp_path_factory.mktemp("slurm")
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool-localhost", f"spool-{host}"):
        (folder / name).mkdir()
    configuration = folder / "slurm.conf"
    configuration.write_text(
        _CONFIGURATION.format(host=host, user=getpass.getuser(), folder=folder, ports=_ports(3))
    )
    (folder / "plugstack.conf").touch()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    places = {"key-file": key, "socket": folder / "munge.sock", "pid-file": folder / "munged.pid"}
    places |= {"log-file": folder / "munged.log", "seed-file": folder / "munge.seed"}
    munged = ["munged", "--foreground", "--force", *(f"--{k}={v}" for k, v in places.items())]
    os.environ["SLURM_CONF"] = str(configuration)
    started: list[subprocess.Popen[bytes]] = []
    try:
        started.append(_started(folder, *munged))
        until((folder / "munge.sock").exists, 10, "munged")
        started.append(_started(folder, "slurmctld", "-D"))
        for node in ("localhost", host):
            started.append(_started(folder, "slurmd", "-D", "-N", node))
        until(lambda: slurm("sinfo", "-hNo", "%T").split() == ["idle", "idle"], 30, "idle nodes")
        yield folder
    finally:
        if len(started) == 4:
            slurm("scancel", f"--user={getpass.getuser()}")
            until(lambda: not slurm("squeue", "-h"), 30, "the end of all jobs")
        for daemon in reversed(started):
            daemon.terminate()
            daemon.wait(20)
        del os.environ["SLURM_CONF"]


def _ports(count: int) -> list[int]:
    """Free ones."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _started(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    program = str(shutil.which(command[0], path=_PATH))
    with (folder / "daemons.out").open("ab") as out:
        return subprocess.Popen([program, *command[1:]], stdout=out, stderr=out)


def slurm(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def until(holds: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = Deadline(timeout_s)
    while not holds():
        assert not deadline.has_passed, f"waited {timeout_s} s for {what}"
        time.sleep(0.1)


def job(name: str) -> dict[str, str]:
    """What SLURM says of one job, such as 12 or 12_3."""
    told = slurm("scontrol", "--oneliner", "show", "job", name)
    return {word.split("=", 1)[0]: word.split("=", 1)[1] for word in told.split() if "=" in word}


def ended(name: str, timeout_s: float = 120) -> str:
    """The state in which a job ended; a requeued one waits three seconds instead of 120."""

    def over() -> bool:
        found = job(name)
        if found["JobState"] == "PENDING" and found["Reason"] == "BeginTime":
            time.sleep(3)  # or it would be taken for the one that was killed, and be refused
            slurm("scontrol", "update", f"JobId={name}", "StartTime=now")
        return found["JobState"] not in ("PENDING", "RUNNING", "COMPLETING", "STOPPED")

    until(over, timeout_s, f"the end of job {name}")
    return job(name)["JobState"]


class Launched:
    """A recipe that was launched: its run folder, and the ids of its jobs by name."""

    def __init__(self, folder: Path, recipe: Any, *flags: str, warm: bool = True) -> None:
        """Launches it; warm: its processes are forked ones, which cannot be held by SIGSTOP."""
        self.run = folder / "run folder"  # sbatch and the shell have to read this, too
        self.recipe = folder / "recipe.yaml"
        folder.mkdir(exist_ok=True)
        self.recipe.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
        self.flags = [str(self.recipe), f"output={self.run}", *flags]
        with pytest.MonkeyPatch.context() as patch:
            if warm:
                patch.setattr(sys, "executable", str(warm_program()))  # which the jobs start
            main(["launch", "slurm", *self.flags])
        self.folder = self.run / "slurm" / "1"
        known = json.loads((self.folder / "jobs.json").read_text())["jobs"]
        self.jobs = {one["name"]: one["id"] for one in known}

    def events(self) -> str:
        path = self.folder / "events.log"
        return path.read_text() if path.exists() else ""

    def happened(self, text: str, timeout_s: float = 180) -> None:
        until(lambda: text in self.events(), timeout_s, f"{text!r} in events.log")

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


def weights(run: Path, name: str = "internalized") -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(run / name / "model" / "model.safetensors")


def assert_equal_weights(one: Path, other: Path) -> None:
    found, expected = weights(one), weights(other)
    assert found.keys() == expected.keys()
    assert all(found[name].equal(expected[name]) for name in expected)


def uninterrupted(launched: Launched, folder: Path) -> Path:
    """The run folder of the same recipe, run here from start to end."""
    run_recipe(load_recipe(launched.recipe, [f"output={folder}"]), progress=False)
    return folder


@pytest.mark.usefixtures("cluster")
def test_a_run_goes_on_after_the_time_limit_as_if_nothing_had_been(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        tmp_path / "unused",
        train={"max_steps": 400, "evaluate_every": 200, "checkpoint_every": 5_000},
    )
    launched = Launched(
        tmp_path / "own", recipe, "--time=60", "--save_s=30", "--cpus_per_task=1", warm=False
    )
    run = launched.jobs["run"]
    metrics = launched.run / "internalized" / "metrics.jsonl"
    until(lambda: metrics.exists() and len(metrics.read_text()) > 500, 180, "some steps")
    # held until its time is nearly over, so that the limit comes in the middle on any machine
    slurm("scancel", "--signal=STOP", run)
    reference = uninterrupted(launched, tmp_path / "reference")
    hours, minutes, seconds = map(int, job(run)["RunTime"].split(":"))
    limit = 60 * hours + minutes + (1 if seconds < 25 else 2)  # of whole minutes
    slurm("scontrol", "update", f"JobId={run}", f"TimeLimit={limit}")
    launched.happened("the time limit is near", timeout_s=120)
    slurm("scancel", "--signal=CONT", run)
    launched.happened("goes on where it was; requeued")
    until(lambda: job(run)["JobState"] == "PENDING", 20, "the requeued job")
    slurm("scontrol", "update", f"JobId={run}", "TimeLimit=60")  # once is enough
    assert ended(run) == "COMPLETED"
    assert job(run)["Restarts"] == "1"
    events = launched.events().splitlines()
    assert [event.split(f"{run}: ")[1].split()[0] for event in events] == [
        "starts", "the", "stopped", "starts", "done",
    ]  # fmt: skip
    log = launched.log(f"run-{run}")
    assert "stopped by a signal after step" in log
    assert "internalize: goes on" in log
    assert_equal_weights(launched.run, reference)
    assert losses(launched.run / "internalized") == losses(reference / "internalized")


@pytest.mark.usefixtures("cluster")
def test_an_array_writes_every_trace_once_and_the_run_goes_on_from_there(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        tmp_path / "unused",
        data={"num_train": 150},
        teacher={"engine": "worked"},
        distil={"max_steps": 8},
        train={"max_steps": 8},
    )
    launched = Launched(tmp_path / "own", recipe, "--time=10", "--save_s=60", "--array=4")
    array = launched.jobs["generate"]
    # the last one bears the id of the whole array, and may not take the others with it
    launched.happened(f"generate {array}_4: starts")
    slurm("scancel", "--signal=USR1", "--batch", f"{array}_4")
    launched.happened(f"generate {array}_4: stopped")
    reference = uninterrupted(launched, tmp_path / "reference")
    assert [ended(f"{array}_{number}") for number in range(1, 5)] == ["COMPLETED"] * 4
    assert [job(f"{array}_{number}")["Restarts"] for number in range(1, 5)] == ["0", "0", "0", "1"]
    assert ended(launched.jobs["run"]) == "COMPLETED"
    traces = [folder / "traces" / "traces.jsonl" for folder in (launched.run, reference)]
    assert len(traces[0].read_text().splitlines()) == 150
    assert traces[0].read_bytes() == traces[1].read_bytes()
    log = launched.log(f"run-{launched.jobs['run']}")
    assert "data: done" in log
    assert "generate: goes on" in log
    assert_equal_weights(launched.run, reference)


@pytest.mark.usefixtures("cluster")
def test_a_failed_job_ends_those_that_wait_for_it_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = tmp_path / "questions.jsonl"
    lines = [{"question": f"{i} * 3", "thought": "3", "answer": str(3 * i)} for i in range(50)]
    questions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    values = tiny_recipe(
        tmp_path / "unused", teacher={"engine": "worked"}, distil={"max_steps": 4}
    ).model_dump(mode="json")
    values["data"] = {"task": "jsonl", "train": str(questions)}
    recipe = type(tiny_recipe(tmp_path)).model_validate(values)
    launched = Launched(tmp_path / "own", recipe, "--time=10", "--array=2", "--extra=--hold")
    questions.unlink()
    for name in launched.jobs.values():
        slurm("scontrol", "release", name)
    prepare, run = launched.jobs["prepare"], launched.jobs["run"]
    assert ended(prepare) == "FAILED"
    assert job(prepare)["ExitCode"] == "2:0"
    for later in (f"{launched.jobs['generate']}_1", run):
        assert ended(later, 20) == "CANCELLED"
        assert job(later)["Reason"] == "DependencyNeverSatisfied"
    log = launched.log(f"prepare-{prepare}")
    assert f"error: data.train={questions}: " in log
    assert "Traceback" not in log
    assert "failed with exit status 2; jobs that wait for this one are cancelled" in log
    capsys.readouterr()
    main(["launch", "slurm", *launched.flags, "--status"])
    told = capsys.readouterr().out
    assert f"prepare {prepare}: FAILED (NonZeroExitCode), exit status 2" in told
    assert f"run {run}: CANCELLED (DependencyNeverSatisfied)" in told
    assert "failed with exit status 2" in told


@pytest.mark.usefixtures("cluster")
def test_two_nodes_train_as_one_process_also_when_stopped(tmp_path: Path) -> None:
    """Under FSDP2, which each of them hears of through the script's environment."""
    recipe = tiny_recipe(
        tmp_path / "unused",
        model=NO_DROPOUT,
        train={"max_steps": 300, "evaluate_every": 300, "checkpoint_every": 5_000},
    )
    launched = Launched(
        tmp_path / "own",
        recipe,
        "--time=10",
        "--nodes=2",
        f"--config_file={CONFIGS / 'fsdp2.yaml'}",
        "--extra=--export=NONE",  # as some sites have it: what --setup exports is all there is
        f"--setup=export GLOO_SOCKET_IFNAME=lo UNSPOKEN_CACHE={os.environ['UNSPOKEN_CACHE']}",
    )
    run = launched.jobs["run"]
    metrics = launched.run / "internalized" / "metrics.jsonl"
    until(lambda: metrics.exists() and len(metrics.read_text()) > 500, 90, "some steps")
    slurm("scancel", "--signal=USR1", "--batch", run)
    launched.happened("stopped with exit status 75")
    assert ended(run) == "COMPLETED"
    assert job(run)["Restarts"] == "1"
    assert "note: accelerate's configuration says mixed_precision bf16" in launched.log(
        f"run-{run}"
    )
    reference = uninterrupted(launched, tmp_path / "reference")
    found, expected = (losses(path / "internalized") for path in (launched.run, reference))
    assert len(expected) == 300
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.usefixtures("cluster")
def test_a_cancelled_job_does_not_come_back(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "unused", train={"max_steps": 100_000})
    launched = Launched(tmp_path / "own", recipe, "--time=10")
    run = launched.jobs["run"]
    metrics = launched.run / "internalized" / "metrics.jsonl"
    until(lambda: metrics.exists() and len(metrics.read_text()) > 500, 180, "some steps")
    slurm("scancel", run)
    assert ended(run) == "CANCELLED"
    launched.happened("ended by SLURM")
    assert "stopped by a signal" in launched.log(f"run-{run}")


@pytest.mark.usefixtures("cluster")
def test_one_launch_at_a_time_and_what_sbatch_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe(tmp_path / "unused")
    with pytest.raises(SystemExit) as caught:
        Launched(tmp_path / "refused", recipe, "--time=10", "--partition=nowhere")
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "slurm/1/run.sbatch: sbatch refuses it" in error
    assert "nowhere" in error or "invalid partition" in error
    launched = Launched(tmp_path / "own", recipe, "--time=10", "--extra=--hold")
    with pytest.raises(SystemExit) as caught:
        main(["launch", "slurm", *launched.flags])
    assert caught.value.code == 2
    assert f"its jobs {launched.jobs['run']} (run, PENDING)" in capsys.readouterr().err
    slurm("scancel", launched.jobs["run"])
