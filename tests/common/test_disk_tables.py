from __future__ import annotations

import sqlite3

import pytest

from unspoken.common.disk_tables import disk_tables, text_key
from unspoken.common.errors import DataError


def test_what_is_stored_is_found_and_gone_with_the_block() -> None:
    with disk_tables("CREATE TABLE keys (key BLOB PRIMARY KEY) WITHOUT ROWID") as tables:
        for number in range(1000):
            tables.execute("INSERT INTO keys VALUES (?)", (text_key(str(number)),))
        assert tables.execute("SELECT COUNT(*) FROM keys").fetchone() == (1000,)
    with pytest.raises(sqlite3.ProgrammingError):
        tables.execute("SELECT 1")


def test_a_place_that_cannot_be_written_is_told_in_one_line() -> None:
    full = sqlite3.OperationalError("database or disk is full")
    with (
        pytest.raises(DataError, match=r"database or disk is full.*TMPDIR") as caught,
        disk_tables(),
    ):
        raise full
    assert "\n" not in str(caught.value)


def test_keys_differ_where_texts_do() -> None:
    assert (
        len({text_key("a", "b"), text_key("ab"), text_key("a", "b", ""), text_key("\ud800")}) == 4
    )
