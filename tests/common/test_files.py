from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from unspoken.common.errors import DataError
from unspoken.common.files import sha256


def test_the_hash_of_a_file_and_how_much_of_it_was_read(tmp_path: Path) -> None:
    path, content = tmp_path / "large", b"12" * (1 << 20)
    path.write_bytes(content)
    counts: list[int] = []
    assert sha256(path, counts.append) == sha256(path) == hashlib.sha256(content).hexdigest()
    assert len(counts) > 1
    assert sum(counts) == len(content)


def test_a_missing_file_is_named_with_its_setting_where_that_is_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^/.*absent: no such file"):
        sha256(tmp_path / "absent")
    with pytest.raises(DataError, match=r"^data\.valid=/.*absent: no such file; needed: "):
        sha256(tmp_path / "absent", named="data.valid")
