"""Every verb on a disk that is full: one line, status 2, and the same command goes on."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.disks import SmallDisk, small_disk
from helpers.verbs import CASES, Case, call, make_given

pytestmark = [pytest.mark.integration, pytest.mark.root]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands read, on a disk with room."""
    return make_given(tmp_path_factory.mktemp("given"))


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    with small_disk(tmp_path_factory.mktemp("small") / "disk") as found:
        yield found


@pytest.fixture
def _cache_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNSPOKEN_CACHE", str(tmp_path / "cache"))


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
    assert call(words) == 0, capfd.readouterr().err
    needed, wanted = disk.num_used - before, _contents(case, disk.path)
    assert wanted
    num_full = 0
    for share in case.shares:
        begin()
        disk.leave(int(needed * share))
        capfd.readouterr()
        status = call(words)
        errors = [line for line in capfd.readouterr().err.splitlines() if "error:" in line]
        if status != 0:
            num_full += 1
            assert status == 2
            assert len(errors) == 1 and errors[0].startswith("error: "), errors
            assert "the disk is full (found" in errors[0] or "too little room (found" in errors[0]
            assert "needed: " in errors[0] and "the same command goes on" in errors[0]
            disk.make_room()
            assert call(words) == 0, capfd.readouterr().err
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
    assert call(words) == 2
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
    assert line.startswith("error: standard output: the disk is full")
