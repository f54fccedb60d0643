"""Tables that live on disk for as long as a block runs: more rows than memory should hold.

They are SQLite's, in a file without a name in the folder for temporary files, which is gone at the
end, also after kill -9.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from unspoken.common.errors import DataError

_CACHE_KIB = 32 * 1024


@contextmanager
def disk_tables(*statements: str) -> Iterator[sqlite3.Connection]:
    """Yields a connection to an empty database, in which statements such as CREATE TABLE ran.

    Raises:
        DataError: where the folder for temporary files cannot take what is written.
    """
    connection = sqlite3.connect("", isolation_level=None)
    try:
        settings = ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}")
        for statement in (*(f"PRAGMA {each}" for each in settings), *statements, "BEGIN"):
            connection.execute(statement)
        yield connection
    except sqlite3.OperationalError as error:
        raise DataError(
            f"{tempfile.gettempdir()}: the folder for temporary files cannot be written ({error}); "
            "needed: about 100 bytes for each line that is read; make room there, or name another "
            "folder in the environment variable TMPDIR"
        ) from error
    finally:
        connection.close()


def text_key(*texts: str) -> bytes:
    """Returns 16 bytes that stand for texts: two different ones never have the same in practice."""
    joined = "\0".join(texts).encode("utf-8", errors="surrogatepass")
    return hashlib.blake2b(joined, digest_size=16).digest()
