"""`unspoken launch sagemaker` before AWS is asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.sagemaker import FLAGS, REGION, command, write_recipe
from unspoken.cli.main import main
from unspoken.common.errors import RecipeError
from unspoken.launch.sagemaker.clients import LaunchError


def test_a_dry_run_prints_the_request_and_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    recipe = write_recipe(tmp_path)
    command(recipe, "seed=1", *FLAGS, "--job-name", "tiny-1", "--max-run", 60, "--dry-run")
    printed = capsys.readouterr()
    request = json.loads(printed.out)
    assert request["TrainingJobName"] == "tiny-1"
    assert request["HyperParameters"]["override-00"] == "seed=1"
    assert request["StoppingCondition"]["MaxRuntimeInSeconds"] == 60
    assert "cost: not known without a file of prices" in printed.err


def test_without_boto3_the_command_to_install_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("boto3", "boto3.exceptions", "botocore", "botocore.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    for flag in ("--status", "--logs", "--stop", "--fetch"):
        with pytest.raises(LaunchError, match=r"pip install 'unspoken\[sagemaker\]'"):
            command(flag, "tiny-1", "--region", REGION)
    with pytest.raises(LaunchError, match=r"pip install 'unspoken\[sagemaker\]'"):
        command(write_recipe(tmp_path), *FLAGS)


def test_one_thing_at_a_time(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="found no recipe"):
        command("--region", REGION)
    with pytest.raises(RecipeError, match="found --status and --stop"):
        command("--status", "a", "--stop", "b")


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (("--stop", "a", "--dry-run"), "--dry_run"),
        (("--stop", "a", "--wait"), "--wait"),
        (("--status", "a", "--spot"), "--spot"),
        (("--logs", "a", "--prices", "b"), "--prices"),
        (("--fetch", "a", "--wait"), "--wait"),
        (("--fetch", "a", "--bucket", "other"), "--bucket"),
        (("--logs", "a", "--output", "b"), "--output"),
        (("a.yaml", "--output", "b"), "--output"),
        (("a.yaml", "--overwrite"), "--overwrite"),
        (("a.yaml", "--dry-run", "--wait"), "--wait"),
    ],
)
def test_flags_that_would_do_nothing_are_refused(arguments: tuple[str, ...], flag: str) -> None:
    with pytest.raises(RecipeError, match=f"{flag}: found it with"):
        command(*arguments)


def test_help_shows_no_empty_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    command("--help")
    told = capsys.readouterr().out
    assert "--role" in told
    assert 'default: ""' not in told


@pytest.mark.integration
def test_importing_the_launcher_imports_no_boto3() -> None:
    code = (
        "import sys, unspoken, unspoken.launch.sagemaker.submit, unspoken.cli.launch_sagemaker\n"
        "print([m for m in ('boto3', 'botocore', 'torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--role", "x"), "--role: found 'x'; needed: a role's ARN, such as arn:aws:iam::"),
        (("--retries", "31"), "--retries: found 31; needed: at least 0, at most 30; correct it"),
        (("--tag", "a"), "--tag: found 'a'; needed: key=value, such as team=research; correct it"),
        (
            ("--max_wait_s", "9"),
            "--max_wait_s: found 9 without --spot; needed: --spot, which waits",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_told_as_its_flag(
    flags: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["launch", "sagemaker", "recipes/quickstart.yaml", *flags])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {told}")
