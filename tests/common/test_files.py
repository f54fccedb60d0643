from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

import pytest

from unspoken.common.errors import DataError, OutputExistsError
from unspoken.common.files import (
    atomic_output,
    clean,
    count_lines,
    sha256,
    write_bytes,
    write_folder,
)


def test_the_hash_of_a_file_and_how_much_of_it_was_read(tmp_path: Path) -> None:
    path, content = tmp_path / "large", b"12" * (1 << 20)
    path.write_bytes(content)
    counts: list[int] = []
    assert sha256(path, counts.append) == sha256(path) == hashlib.sha256(content).hexdigest()
    assert len(counts) > 1
    assert sum(counts) == len(content)


def test_a_torn_last_line_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    assert count_lines(path) == 0
    path.write_text("{}\n{}\n{")
    assert count_lines(path) == 2


def test_a_missing_file_is_named_with_its_setting_where_that_is_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^/.*absent: no such file"):
        sha256(tmp_path / "absent")
    with pytest.raises(DataError, match=r"^data\.valid=/.*absent: no such file; needed: "):
        sha256(tmp_path / "absent", named="data.valid")


@pytest.mark.parametrize(("mask", "rights"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_of_a_folder_have_the_rights_that_the_umask_leaves(
    tmp_path: Path, mask: int, rights: int
) -> None:
    def write(folder: Path) -> None:
        for name, own in (("weights", 0o600), ("script", 0o700)):
            (folder / name).touch()
            (folder / name).chmod(own)

    before = os.umask(mask)
    try:
        write_folder(tmp_path / "model", write)
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "model").iterdir()}
    assert modes == {"weights": rights, "script": rights | 0o700}


def put(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "weights").write_text(text)


def test_what_a_kill_left_beside_folders_is_put_back_or_removed(tmp_path: Path) -> None:
    put(tmp_path / ".replaced-moved", "old")  # killed between the two renames: there is no other
    put(tmp_path / ".writing-moved", "new")
    put(tmp_path / "there", "new")  # killed after them
    put(tmp_path / ".replaced-there", "old")
    (tmp_path / ".writing-file").write_text("half")
    clean(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["moved", "there"]
    assert (tmp_path / "moved" / "weights").read_text() == "old"
    assert (tmp_path / "there" / "weights").read_text() == "new"


def test_a_folder_is_replaced_by_a_whole_one_or_stays(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "model"

    def half(temporary: Path) -> None:
        (temporary / "weights").write_text("half")
        raise ValueError("no more")

    for text in ("old", "new"):
        write_folder(folder, lambda temporary, text=text: put(temporary / "in", text))
        assert (folder / "in" / "weights").read_text() == text
        with pytest.raises(ValueError, match="no more"):
            write_folder(folder, half)
        assert (folder / "in" / "weights").read_text() == text
        assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_link_in_place_of_a_folder_is_replaced_again_and_again(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    put(elsewhere, "moved by a user")
    for target in (elsewhere, tmp_path / "gone"):
        folder.symlink_to(target)
        for text in ("new", "newer"):
            write_folder(folder, lambda temporary, text=text: put(temporary / "in", text))
            assert (folder / "in" / "weights").read_text() == text
            assert {path.name for path in tmp_path.iterdir()} == {"model", "elsewhere"}
        shutil.rmtree(folder)
    assert (elsewhere / "weights").read_text() == "moved by a user"


def test_a_file_is_replaced_by_a_whole_one_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "above" / "file"
    for text in (b"old", b"new"):
        write_bytes(path, text)
        with (
            pytest.raises(ValueError, match="no more"),
            atomic_output(path, overwrite=True) as file,
        ):
            file.write(b"half")
            raise ValueError("no more")
        assert path.read_bytes() == text
        assert [path.name for path in path.parent.iterdir()] == ["file"]
    with pytest.raises(OutputExistsError), atomic_output(path):
        pass
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("what", ["a link", "a link to nothing", "a file"])
def test_what_stands_in_a_folder_s_place_is_replaced_again_and_again(
    tmp_path: Path, what: str
) -> None:
    source, folder, parent = tmp_path / "source", tmp_path / "parent/model", tmp_path / "parent"
    parent.mkdir()
    source.mkdir()
    (source / "kept").touch()
    for number in range(2):
        if what == "a file":
            folder.touch()
        else:
            folder.symlink_to(source if what == "a link" else tmp_path / "absent")
        write_folder(folder, lambda new, number=number: write_bytes(new / f"{number}", b""))
        assert [each.name for each in parent.iterdir()] == ["model"]
        assert [each.name for each in folder.iterdir()] == [f"{number}"]
        folder.rename(tmp_path / f"moved-{number}")
    assert (source / "kept").exists()


def test_links_that_a_kill_left_beside_folders_are_removed(tmp_path: Path) -> None:
    parent, source = tmp_path / "parent", tmp_path / "source"
    (parent / "model").mkdir(parents=True)
    source.mkdir()
    for name in (".replaced-model", ".writing-model"):
        (parent / name).symlink_to(source)
    clean(parent)
    assert [path.name for path in parent.iterdir()] == ["model"]
    assert source.is_dir()


def test_a_pipe_or_a_device_is_no_file_to_replace(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (
        pytest.raises(DataError, match="found a device or a pipe; needed: the name of a file"),
        atomic_output(tmp_path / "pipe", overwrite=True),
    ):
        pass
    assert (tmp_path / "pipe").is_fifo()
