"""One process at a time, and what is said where a file system cannot see to that."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from unspoken.common.errors import DataError
from unspoken.common.locks import locked

HOLD = """
import sys, time
from pathlib import Path
from unspoken.common.locks import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.mark.integration
def test_a_second_process_is_told_who_has_the_file_and_a_killed_one_leaves_no_lock(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        for _ in range(2):  # whoever asks does not wipe the owner's name away
            with (
                pytest.raises(DataError, match=rf"process {other.pid} on .* is writing to it"),
                locked(path),
            ):
                pass
        other.kill()
    with locked(path):
        owner = f"process {os.getpid()} on {socket.gethostname()}\n"
        assert (tmp_path / ".file.lock").read_text() == owner
    assert list(tmp_path.iterdir()) == []


def test_the_same_process_does_not_get_it_twice_and_folders_above_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with locked(path):
        with pytest.raises(DataError, match="is writing to it"), locked(path):
            pass
        with locked(path.with_name("other")):
            pass
    with locked(path):
        pass
    assert list(path.parent.iterdir()) == []


def test_a_block_that_fails_gives_the_lock_back(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped"), locked(tmp_path / "file"):
        raise RuntimeError("stopped")
    with locked(tmp_path / "file"):
        pass


@pytest.mark.integration
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said_once(number: int, tmp_path: Path) -> None:
    code = """if True:
        from unspoken.common.locks import locked
        with locked(one), locked(one), locked(other):
            print("within")
    """
    done = run_without_locks(number, code, str(tmp_path / "one"), str(tmp_path / "other"))
    assert done.stdout == "within\n"
    assert done.stderr.startswith(f"{tmp_path / 'one'}: its file system has no locks")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
def test_the_warning_reaches_a_user_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text('{"question": "2 1 * 3"}\n')
    code = "from unspoken.cli.main import main; main(sys.argv[1:])"
    flags = ["--input", str(tmp_path / "questions.jsonl"), "--output", str(tmp_path / "traces")]
    done = run_without_locks(errno.ENOLCK, code, "generate", "--engine", "worked", *flags)
    assert done.stderr.count("its file system has no locks") == 1


def run_without_locks(number: int, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python where every lock fails with this errno; the first two arguments are paths."""
    without = f"""if True:
        import fcntl, os, sys
        from pathlib import Path
        def flock(*_):
            raise OSError({number}, os.strerror({number}))
        fcntl.flock = flock
        one, other = map(Path, sys.argv[1:3])
    """
    return subprocess.run(
        [sys.executable, "-c", f"{without}\n{code}", *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(DataError, match="found a file; needed: a folder"),
        locked(tmp_path / "file" / "below"),
    ):
        pass
