"""Everything that is to be known from a GPU, in ten minutes and one command: see gpu.md.

Parts come in order of worth. Each is a process of its own with a limit of seconds, and leaves
gpu-NAME.json with machine, versions, command and date the moment it ends, whether it is done, has
failed or was cut off; the others run all the same. Nothing is installed.

    python benchmarks/gpu.py                              all parts, ten minutes
    python benchmarks/gpu.py --only works step            some of them
    python benchmarks/gpu.py --toy --output /tmp/toy      the same at toy size, on a CPU too
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import functools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

HERE = Path(__file__).parent
ROOT = HERE.parent
SAVING_SECONDS = 10  # between SIGINT and SIGKILL
LAST_LINES = 40  # of a failed part's output, for its JSON


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the parts are told.

    Attributes:
        toy: sizes that a CPU does in seconds.
        device: cuda or cpu.
        output: folder of the JSON files.
        smollm2: SmolLM2-135M-Instruct, a GGUF file or a folder, or a path where it is not.
        seconds: the limit of the part that is being run.
    """

    toy: bool
    device: str
    output: Path
    smollm2: Path
    seconds: float = 0.0

    @property
    def toy_precision(self) -> str:
        """Of a step at toy size: a CPU may emulate bf16, in a minute or two for a step."""
        return "fp32" if self.device == "cpu" else "bf16"

    def scratch_folder(self, name: str) -> Path:
        """An empty folder for what a part makes and nobody keeps."""
        folder = ROOT / "runs" / f"gpu-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        return folder


@dataclasses.dataclass(frozen=True)
class Part:
    """A question to the GPU.

    Attributes:
        name: as --only takes it.
        seconds: its limit.
        toy_seconds: its limit at toy size.
        arguments: what follows `python`, given the settings and the JSON file to write; text: why
            it cannot run.
    """

    name: str
    seconds: float
    toy_seconds: float
    arguments: Callable[[Settings, Path], list[str] | str]


# --- the parts ----------------------------------------------------------------------------------


def works(settings: Settings, output: Path) -> list[str]:
    """The tests marked gpu; eight files at a time on a GPU, whose machines have the cores.

    At toy size on a CPU only one of them.
    """
    tests = str(ROOT / "tests" / "gpu")
    if settings.toy and settings.device == "cpu":
        tests += "/test_arithmetic.py::test_fp32_losses_are_the_cpus"
    beside = [] if settings.device == "cpu" else ["-n", "8", "--dist", "loadfile"]
    return [
        *("-m", "pytest", "-m", "gpu", tests, "-q", "--durations=8"),
        *("-W", "default", "-p", "no:cacheprovider"),  # libraries may warn of what is to come
        *(f"--junitxml={output.with_suffix('.xml')}", *beside),
    ]


def step(settings: Settings, output: Path) -> list[str]:
    """GPT-2 small on 9x9: bf16 against the straightforward way in three precisions."""
    sizes = ["--batch_size", "32", "--micro_batch_size", "32", "--steps", "15"]
    ours, precisions = "bf16", ["bf16", "tf32", "fp32"]
    if settings.toy:
        sizes = ["--batch_size", "2", "--micro_batch_size", "2", "--steps", "1", "--layers", "1"]
        sizes += ["--width", "24", "--product", "256"]
        ours = settings.toy_precision
        precisions = [ours]
    return [
        *(str(HERE / "training_step.py"), "--cases", "gpt2", "--device", settings.device),
        *("--precision", ours, "--plain_precision", *precisions, *sizes),
        *("--output", str(output)),
    ]


def scratch(settings: Settings, output: Path) -> list[str]:
    """4x4 from scratch, until 1,000 held-out questions are right without a thought."""
    overrides = [
        *("schedule.removal=adaptive", "schedule.delta=null", "schedule.positions=gap"),
        *("schedule.patience=1000", "schedule.most_at_once=4", "schedule.warmup_steps=1000"),
        *("train.precision=auto", "train.epochs=null", "train.max_steps=1000000"),
        *("train.batch_size=128", "train.learning_rate=5e-4", "train.warmup_steps=200"),
        *("train.settle_steps=3000", "train.evaluate_every=1000", "train.num_valid=1000"),
        *("train.level_every=0", "train.checkpoint_every=10000", "evaluate.batch_size=1000"),
        *(f"model.config.{name}_pdrop=0.0" for name in ("resid", "embd", "attn")),
        *("baselines.no_cot=false", "baselines.explicit='off'"),
    ]
    if settings.toy:
        overrides += [
            *("data.num_train=200", "data.num_valid=20", "data.num_test=20"),
            *("model.config.n_embd=32", "model.config.n_layer=1", "train.num_valid=4"),
            *("train.max_steps=20", "train.evaluate_every=10", "train.batch_size=8"),
            *("evaluate.max_new_tokens=4", "evaluate.num_latency=2"),
        ]
    return run_within("multiplication-4x4-scratch", overrides, settings, output)


def evaluation(settings: Settings, output: Path) -> list[str]:
    """1,000 questions of 9x9 in batches against one at a time."""
    sizes = ["--questions", "1000", "--batch_size", "1000", "--alone", "5"]
    if settings.toy:
        sizes = ["--questions", "4", "--alone", "1", "--layers", "1", "--width", "24"]
        sizes += ["--outputs", "internalized"]
    return [
        *(str(HERE / "evaluation.py"), "--cases", "gpt2", "--device", settings.device),
        *("--dtype", "bfloat16", *sizes, "--output", str(output)),
    ]


def generation(settings: Settings, output: Path) -> list[str]:
    """256 traces of skewed length in batches against one at a time."""
    sizes = ["--questions", "256", "--alone", "32"]
    if settings.toy:
        sizes = ["--questions", "8", "--alone", "4"]
    return [
        *(str(HERE / "generation.py"), "--skewed", "--device", settings.device, *sizes),
        *("--output", str(output)),
    ]


def smollm2(settings: Settings, output: Path) -> list[str] | str:
    """A pretrained model: fine-tuned on 100,000 worked solutions, then internalized."""
    if not settings.smollm2.exists():
        return f"{settings.smollm2} is not there: see gpu.md for how it is carried"
    overrides = [
        f"model.name={settings.smollm2}",
        *("baselines.untrained=false", "evaluate.batch_size=1000"),
        *("train.batch_size=256", "train.warmup_steps=20", "train.evaluate_every=1000"),
        *("data.num_valid=1000", "train.num_valid=1000", "train.level_every=0"),
        # what two and a half minutes allow: two thirds of an epoch, then half of one
        *("distil.epochs=null", "distil.max_steps=260", "distil.learning_rate=4e-4"),
        *("train.epochs=null", "train.max_steps=200", "train.learning_rate=2e-4"),
    ]
    if settings.toy:
        overrides += [
            *("data.num_train=64", "data.num_valid=8", "data.num_test=8", "train.max_steps=2"),
            *("train.batch_size=4", "distil.max_steps=2", "evaluate.num_latency=1"),
            *("evaluate.max_new_tokens=8", f"train.precision={settings.toy_precision}"),
        ]
    return run_within("smollm2-gpu", overrides, settings, output)


def decoding(settings: Settings, output: Path) -> list[str]:
    """One question at a time: an explicit against an internalized model, and plain generate."""
    sizes = ["--questions", "4", "--alone", "2", "--cases", "quickstart", "gpt2"]
    if settings.toy:
        sizes = ["--questions", "2", "--alone", "1", "--layers", "1", "--cases", "quickstart"]
    return [
        *(str(HERE / "evaluation.py"), "--batch_size", "1", "--device", settings.device),
        *("--dtype", "bfloat16", *sizes, "--output", str(output)),
    ]


def run_within(
    recipe: str, overrides: Sequence[str], settings: Settings, output: Path
) -> list[str]:
    """A whole run that saves and ends before the part's limit."""
    folder = settings.scratch_folder(recipe)
    limit = max(5.0, settings.seconds - 15)
    return [
        *(str(HERE / "run_within.py"), recipe, "--seconds", f"{limit:.0f}"),
        *("--folder", str(folder), "--output", str(output), *overrides),
    ]


PARTS = (
    Part("works", 90, 150, works),
    Part("step", 90, 150, step),
    Part("scratch", 180, 150, scratch),
    Part("evaluation", 45, 150, evaluation),
    Part("generation", 15, 150, generation),
    Part("smollm2", 150, 150, smollm2),
    Part("decoding", 30, 150, decoding),
)


# --- running them -------------------------------------------------------------------------------


def run_part(part: Part, settings: Settings, revision: str | None) -> dict[str, Any]:
    """Runs a part within its limit and completes its JSON; returns what stands there."""
    path = settings.output / f"gpu-{part.name}.json"
    path.unlink(missing_ok=True)
    arguments = part.arguments(settings, path)
    limit = round(settings.seconds, 1)
    told: dict[str, Any] = {"part": part.name, "toy": settings.toy, "limit_s": limit}
    if isinstance(arguments, str):
        told |= {"status": "skipped", "reason": arguments, "seconds": 0.0}
    else:
        begin = time.perf_counter()
        status, lines = run_command([sys.executable, *arguments], settings)
        told |= {"status": status, "seconds": round(time.perf_counter() - begin, 1)}
        if status != "done":
            told["last_lines"] = lines[-LAST_LINES:]
    xml = path.with_suffix(".xml")
    if xml.exists():
        told["results"] = read_tests(xml)
        xml.unlink()
    values = json.loads(path.read_text(encoding="utf-8")) if path.exists() else describe(arguments)
    values["git_revision"] = revision or values.get("git_revision")
    # from the repository's root, wherever that and the output are
    command = values["command"].replace(f"{settings.output}/", "").replace(f"{ROOT}/", "")
    values["command"] = command
    write(path, {**told, **values})
    return told


def run_command(command: list[str], settings: Settings) -> tuple[str, list[str]]:
    """Whether it was done, failed or cut off, and the lines that it printed."""
    log = settings.output / "gpu.log"
    environment = with_sources()
    if settings.device == "cpu":
        environment |= {"UNSPOKEN_GPU_TESTS": "cpu", "ACCELERATE_USE_CPU": "true"}
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\n$ {shlex.join(command)}\n")
        start = file.tell()
        file.flush()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        status = "done"
        try:
            process.wait(settings.seconds)
        except subprocess.TimeoutExpired:
            status = "cut off"
            process.send_signal(signal.SIGINT)  # pytest still writes its report
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SAVING_SECONDS)
        finally:
            kill_group(process)
        if status == "done" and process.returncode:
            status = "failed"
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(start)
        text = file.read().replace(f"{ROOT}/", "").replace(f"{sys.prefix}/", "")
    return status, text.splitlines()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read_tests(path: Path) -> dict[str, Any]:
    """Counts and single tests of a JUnit file."""
    tests, counts = [], {"passed": 0, "failed": 0, "skipped": 0}
    for case in ElementTree.parse(path).iter("testcase"):
        problem = next((e for e in case if e.tag in ("failure", "error", "skipped")), None)
        kind = "passed" if problem is None else problem.tag.replace("failure", "failed")
        kind = kind.replace("error", "failed")
        counts[kind] += 1
        test: dict[str, Any] = {"name": case.get("name"), "outcome": kind}
        test["seconds"] = float(case.get("time", "0"))
        if problem is not None:
            test["message"] = problem.get("message")
            if kind == "failed":
                test["text"] = (problem.text or "")[-3000:]
        tests.append(test)
    return {**counts, "tests": tests}


def describe(arguments: list[str] | str) -> dict[str, Any]:
    """Machine, versions, command and date for a part that wrote nothing itself."""
    command = [] if isinstance(arguments, str) else ["python", *arguments]
    return {
        "command": shlex.join(command),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        **find_environment(),
    }


@functools.cache
def find_environment() -> dict[str, Any]:
    """Machine and versions; asked of another process, as `find_device` is; empty if it fails."""
    code = (
        "import json; from unspoken.common.machine import environment as e; print(json.dumps(e()))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=with_sources(),
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(found.stdout) if found.returncode == 0 else {}


def with_sources() -> dict[str, str]:
    """The environment in which this working tree is imported, installed or not."""
    path = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    offline = {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **offline, "PYTHONPATH": os.pathsep.join(path)}


def write(path: Path, values: dict[str, Any]) -> None:
    """Writes JSON, whole or not at all."""
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def main() -> int:
    """Runs the parts, prints a line for each; 1 where one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [part.name for part in PARTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--seconds",
        type=float,
        help="for all parts together: limits shrink or grow with what is left",
    )
    parser.add_argument("--toy", action="store_true", help="sizes that a CPU does in seconds")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), help="default: cuda where there is one"
    )
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the JSON")
    parser.add_argument(
        "--smollm2", type=Path, default=ROOT / "models" / "smollm2", help="GGUF file or folder"
    )
    parser.add_argument("--revision", help="of git, where what was copied does not tell")
    arguments = parser.parse_args()
    device = arguments.device or find_device()
    if device is None:
        parser.error(
            f"found no torch that {sys.executable} can import; needed: one; take the Python of "
            "the project's environment, or install it first (gpu.md says what else)"
        )
    settings = Settings(
        arguments.toy,
        device,
        arguments.output.resolve(),
        arguments.smollm2.resolve(),
    )
    if settings.device == "cpu" and not settings.toy:
        parser.error("found no CUDA device; needed: one, or --toy for the same at toy size")
    settings.output.mkdir(parents=True, exist_ok=True)
    parts = [part for part in PARTS if part.name in arguments.only]
    limits = [part.toy_seconds if arguments.toy else part.seconds for part in parts]
    begin, failed = time.perf_counter(), False
    for number, part in enumerate(parts):
        limit = limits[number]
        if arguments.seconds is not None:  # what one part leaves, the others get
            left = arguments.seconds - (time.perf_counter() - begin)
            limit *= max(0.0, left) / sum(limits[number:])
        told = run_part(part, dataclasses.replace(settings, seconds=limit), arguments.revision)
        print(f"{part.name:>10}: {told['status']} after {told['seconds']:.0f} s", flush=True)
        for line in [told["reason"]] if "reason" in told else told.get("last_lines", [])[-8:]:
            print(f"{'':>12}{line}", flush=True)
        failed |= told["status"] == "failed"
    return int(failed)


def find_device() -> str | None:
    """cuda where torch sees a GPU; asked of another process, so that this one holds no memory.

    None where there is no torch.
    """
    code = "import torch; print('cuda' if torch.cuda.is_available() else 'cpu')"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None


if __name__ == "__main__":
    sys.exit(main())
