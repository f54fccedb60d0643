"""Where encoded data sets are kept, also where there is no home to write to."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import pytest

from helpers.rights import like_another_user
from unspoken.common.cache import default_cache


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.delenv("UNSPOKEN_CACHE", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_it_is_what_was_chosen_and_else_in_the_home(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "unspoken"
    monkeypatch.setenv("UNSPOKEN_CACHE", "/chosen")
    assert default_cache() == Path("/chosen")
    assert list(temporary.iterdir()) == []


@pytest.mark.root
def test_without_a_home_to_write_to_it_is_a_folder_that_nobody_else_can_write_to(
    tmp_path: Path,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    monkeypatch.setenv("HOME", str(tmp_path / "closed" / "home"))
    with like_another_user(), caplog.at_level(logging.WARNING):
        found = default_cache()
        assert default_cache() == found
    assert found == temporary / f"unspoken-{os.geteuid()}"
    assert found.stat().st_mode & 0o777 == 0o700
    (told,) = caplog.messages
    assert "closed/home/.cache/unspoken: cannot be written" in told and "UNSPOKEN_CACHE" in told


@pytest.mark.root
@pytest.mark.parametrize("trouble", ["link", "open", "closed"])
def test_a_folder_of_others_in_the_temporary_one_is_not_taken(
    trouble: str, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    monkeypatch.setenv("HOME", str(tmp_path / "closed"))
    own = temporary / f"unspoken-{os.geteuid()}"
    if trouble == "link":
        own.symlink_to(tmp_path)
    elif trouble == "open":
        own.mkdir()
        own.chmod(0o777)
    else:
        temporary.chmod(0o555)
    with like_another_user():
        assert default_cache() == tmp_path / "closed" / ".cache" / "unspoken"
