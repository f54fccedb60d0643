"""Numbered folders come in the order of their numbers; the next has the number after them."""

from __future__ import annotations

from pathlib import Path

from unspoken.common.numbered import next_numbered, number_in, numbered


def test_they_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("10", "9", "old-3", "old-x", "x-old-4", "²", "1.5", "notes"):
        (tmp_path / name).mkdir()
    assert list(numbered(tmp_path).items()) == [(9, tmp_path / "9"), (10, tmp_path / "10")]
    assert numbered(tmp_path, "old-") == {3: tmp_path / "old-3"}
    assert [number_in(name, "old-") for name in ("old-3", "old-x", "old-²", "x-old-4", "9")] == [
        3, None, None, None, None,
    ]  # fmt: skip
    assert next_numbered(tmp_path) == tmp_path / "11"
    assert next_numbered(tmp_path, "old-") == tmp_path / "old-4"


def test_where_nothing_is_there_is_the_first(tmp_path: Path) -> None:
    assert numbered(tmp_path / "none") == {}
    assert next_numbered(tmp_path / "none") == tmp_path / "none" / "1"
    assert list(tmp_path.iterdir()) == []
