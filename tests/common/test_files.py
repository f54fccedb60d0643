from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from unspoken.common.errors import DataError
from unspoken.common.files import count_lines, sha256, write_folder


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
