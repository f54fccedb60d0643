"""Full disks, links, and what killed processes leave: told in a line, or cleared away."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from unspoken.common.errors import DataError, OutputExistsError, PlaceError
from unspoken.common.files import (
    atomic_output,
    atomic_outputs,
    link_folder,
    seal,
    set_aside,
    unseal,
    write_folder,
    write_text,
)
from unspoken.common.locks import locked
from unspoken.common.places import human, place_error, require_room, writing


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_says_what_is_needed_and_what_is_kept(tmp_path: Path, number: int) -> None:
    with pytest.raises(PlaceError) as caught, writing(tmp_path / "out", 5_000_000):
        raise OSError(number, os.strerror(number))
    told = str(caught.value)
    assert told.startswith(f"{tmp_path / 'out'}: the disk is full (found ")
    assert "needed: room for 5.0 MB; free some, or name another output" in told
    assert told.endswith("what was whole before is kept, and the same command goes on")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO])
def test_another_trouble_with_a_place_is_told_as_that(tmp_path: Path, number: int) -> None:
    with (
        pytest.raises(PlaceError, match=r"out: cannot be written \(.*\); needed: a place"),
        writing(tmp_path / "out"),
    ):
        raise OSError(number, os.strerror(number))


def test_a_name_that_is_too_long_is_told_as_that_and_not_as_rights(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 254)  # by itself it would do, but not beside it while it is written
    told = rf"^{path}: its name is too long .* needed: a shorter one; name another output$"
    with pytest.raises(PlaceError, match=told):
        write_text(path, "x")
    with pytest.raises(PlaceError, match=told), locked(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_is_about_something_else_is_left_alone(tmp_path: Path) -> None:
    for error in (KeyError("x"), ConnectionResetError(104, "reset"), OSError("a library's own")):
        with pytest.raises(type(error)) as caught, writing(tmp_path / "out"):
            raise error
        assert caught.value is error
    with (
        pytest.raises(PlaceError, match=r"^/elsewhere/file: cannot be written"),
        writing(tmp_path / "out"),
    ):
        raise PermissionError(errno.EACCES, "denied", "/elsewhere/file")
    assert place_error(ValueError("x")) is None


def test_a_library_that_hides_a_full_disk_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(PlaceError, match="model: the disk is full"):
        write_folder(tmp_path / "model", lambda folder: (_ for _ in ()).throw(RuntimeError("zip")))
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(PlaceError, match=r"too little room \(found .*\); needed: 1000.0 TB"):
        write_folder(tmp_path / "new" / "model", lambda folder: None, num_bytes=10**15)
    require_room(tmp_path, 1)
    assert human(999), human(1_500_000) == ("999 bytes", "1.5 MB")


def test_a_folder_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_folder(folder, lambda target: write_text(target / "a", "old"))

    def fail(target: Path) -> None:
        write_text(target / "a", "new")
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(PlaceError, match="model: the disk is full"):
        write_folder(folder, fail)
    assert (folder / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]
    with pytest.raises(PlaceError, match="cannot be written"):
        link_folder(tmp_path / "absent", tmp_path / "linked")


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with (
        pytest.raises(PlaceError, match="file: the disk is full"),
        atomic_output(path, overwrite=True) as file,
    ):
        file.write(b"new")
        raise OSError(errno.ENOSPC, "full")
    assert [path.read_text(), *tmp_path.iterdir()] == ["old", path]
    blocked = tmp_path / "file" / "below"
    with pytest.raises(
        DataError, match=r"below: cannot be written \(Not a directory|file: found a file; needed"
    ):
        write_text(blocked, "x")


@pytest.mark.parametrize("target_exists", [True, False])
def test_no_link_of_our_names_is_followed(tmp_path: Path, target_exists: bool) -> None:
    target = tmp_path / "precious"
    if target_exists:
        target.write_text("kept")
    (tmp_path / ".run.lock").symlink_to(target)
    with pytest.raises(PlaceError, match=r"\.run\.lock: cannot be"), locked(tmp_path / "run"):
        pass
    (tmp_path / ".writing-model").symlink_to(target)
    write_folder(tmp_path / "model", lambda folder: write_text(folder / "a", "x"))
    assert (tmp_path / "model" / "a").read_text() == "x"
    assert target.read_text() == "kept" if target_exists else not target.exists()


def test_the_owner_of_a_lock_may_be_anything(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        (tmp_path / ".run.lock").write_bytes(b"\xff" * 100)
        with (
            pytest.raises(DataError, match="run: another process is writing to it"),
            locked(tmp_path / "run"),
        ):
            pass


def test_a_link_that_leads_nowhere_is_not_replaced_without_leave(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.symlink_to(tmp_path / "absent")
    with pytest.raises(OutputExistsError, match="exists already"), atomic_output(path):
        pass
    assert path.is_symlink()
    with atomic_output(path, overwrite=True) as file:
        file.write(b"new")
    assert not path.is_symlink()
    assert path.read_bytes() == b"new"


def test_of_several_files_none_is_there_where_one_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is the last to take its name, so it is looked at before any other has its own."""
    paths = [tmp_path / "first", tmp_path / "second"]
    with (
        pytest.raises(PlaceError, match="first: the disk is full"),
        atomic_outputs(paths) as (first, second),
    ):
        to_disk = os.fsync

        def full(number: int) -> None:
            if number == first.fileno():
                raise OSError(errno.ENOSPC, "full")
            to_disk(number)

        monkeypatch.setattr(os, "fsync", full)
        second.write(b"whole")
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = [tmp_path / f".out.jsonl.{name}.tmp" for name in ("12", "beef")]
    for path in left:
        path.write_bytes(b"half")
    other, busy = tmp_path / ".other.jsonl.12.tmp", tmp_path / ".out.jsonl.cafe.tmp"
    new = tmp_path / ".out.jsonl.new.tmp"  # made this very moment, and not held yet
    other.touch()
    new.touch()
    with busy.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b"half")  # an empty one would be spared for being new
        file.flush()
        write_text(tmp_path / "out.jsonl", "whole")
    assert sorted(tmp_path.iterdir()) == sorted([other, busy, new, tmp_path / "out.jsonl"])


def test_two_may_write_one_file_and_the_last_counts(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with atomic_output(path) as one:
        one.write(b"first")
        one.flush()
        write_text(path, "second")
        path.unlink()
    assert [path.read_text(), *tmp_path.iterdir()] == ["first", path]


def test_a_sealed_line_that_was_changed_is_not_read() -> None:
    record = {"seconds": 1.5, "text": 'of "crc32": "00000000"}'}
    line = seal(record)
    assert unseal(line) == record
    assert unseal(b'{"seconds": 1.5}\n') == {"seconds": 1.5}  # of an older unspoken
    for place in range(len(line)):
        for sign in b'0"x':
            damaged = line[:place] + bytes([sign]) + line[place + 1 :]
            if damaged == line:
                continue
            try:
                read = unseal(damaged)
            except ValueError:
                continue
            assert set(read) - {"seconds", "text"}  # the name of the checksum was hit
    for end in range(len(line)):
        with pytest.raises(ValueError, match=r"not whole"):
            unseal(line[:end])


def test_what_is_set_aside_gets_a_name_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.partial"
    for number in (1, 2):
        path.write_text("x")
        assert set_aside(path) == tmp_path / f"a.partial.damaged-{number}"
