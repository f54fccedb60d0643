"""Every verb where it may not read or write: one line that names the place, never a traceback."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.disks import SmallDisk, small_disk
from helpers.rights import like_another_user
from helpers.verbs import CASES, call, make_given

pytestmark = [pytest.mark.integration, pytest.mark.root]

_TRAINS = ("distil", "internalize", "run")
_USES_TEMPORARY = ("vet", "score", "compare", "merge")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_given(tmp_path_factory.mktemp("given"))


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that others may look into, and nobody may write to."""
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def _errors(words: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """The exit status, and what was said of errors."""
    capfd.readouterr()
    with like_another_user():
        status = call(words)
    said = capfd.readouterr().err
    assert "Traceback" not in said, said
    return status, [line for line in said.splitlines() if "error:" in line]


@pytest.mark.parametrize("name", [name for name in CASES if name != "report"])
def test_a_folder_that_may_not_be_written_is_one_line(
    name: str, given: Path, closed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, errors = _errors(CASES[name].words(given, closed), capfd)
    (line,) = errors
    assert status == 2
    assert line.startswith("error: ") and str(closed) in line
    assert "needed: " in line
    assert list(closed.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("data ")])
def test_an_input_that_may_not_be_read_is_one_line(
    name: str, given: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = CASES[name].words(given, tmp_path)
    if name == "report":
        words = ["report", str(given / "run")]
    inputs = {Path(word) for word in words if Path(word).is_relative_to(given)}
    assert inputs or name == "data arithmetic"
    for path in inputs:
        before = path.stat().st_mode
        path.chmod(0)
        try:
            status, errors = _errors(words, capfd)
        finally:
            path.chmod(before)
        (line,) = errors
        assert status == 2
        assert line.startswith("error: ") and str(path) in line
        assert "needed: " in line


@pytest.mark.parametrize("name", _TRAINS)
def test_a_cache_that_may_not_be_written_is_one_line_or_done_without(
    *, name: str, given: Path, closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("UNSPOKEN_CACHE", str(closed / "cache"))
    monkeypatch.setenv("HOME", str(closed))
    monkeypatch.setenv("XDG_CACHE_HOME", str(closed / "cache"))
    status, errors = _errors(CASES[name].words(given, tmp_path), capfd)
    assert (status, len(errors)) in ((0, 0), (2, 1))
    for line in errors:
        assert str(closed) in line and "UNSPOKEN_CACHE" in line


@pytest.mark.parametrize("name", _USES_TEMPORARY)
@pytest.mark.parametrize("trouble", ["closed", "full", "absent"])
def test_a_temporary_folder_that_cannot_be_used_is_one_line_and_the_same_command_goes_on(
    *, name: str, trouble: str, given: Path, closed: Path, disk: SmallDisk, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    place = {"closed": closed, "full": disk.path, "absent": tmp_path / "absent"}[trouble]
    disk.clear()
    disk.leave(0)
    words = CASES[name].words(given, tmp_path)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TMPDIR", str(place))
        elsewhere.setattr(tempfile, "tempdir", str(place))
        status, errors = _errors(words, capfd)
    if status != 0:  # merge and score may do without
        (line,) = errors
        assert status == 2
        assert line.startswith("error: ") and str(place) in line
        assert "TMPDIR" in line
        assert call(words) == 0, capfd.readouterr().err


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    with small_disk(tmp_path_factory.mktemp("small") / "disk") as found:
        yield found
