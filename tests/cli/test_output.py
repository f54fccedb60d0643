"""Standard output that nobody reads, that is full, or in a locale without the signs to print."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: A locale of ASCII alone, in which Python is told not to take UTF-8 nevertheless.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}


def in_ascii(*words: str, folder: Path) -> tuple[int, bytes, bytes]:
    """What a Python said and ended with."""
    environment = {name: value for name, value in {**os.environ, **ASCII}.items() if value}
    command = [sys.executable, *words]
    done = subprocess.run(
        command, capture_output=True, check=False, cwd=folder, env=environment, timeout=100
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.integration
@pytest.mark.parametrize(
    ("command", "status"), [("| head -c 1", 0), (">&-", 0), ("<&- >&- 2>&-", 0)]
)
def test_output_that_nobody_reads_is_no_traceback(command: str, status: int) -> None:
    line = f"{sys.executable} -m unspoken recipes quickstart {command}"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (status, "")


@pytest.mark.integration
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("words", "unbuffered"), [("--help", ""), ("recipes", "1")])
def test_standard_output_that_is_full_is_told_as_that(words: str, unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "unspoken", *words.split()],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    told = (
        "error: standard output: the disk is full; needed: room for it; free some, or send it "
        "elsewhere; what was whole before is kept, and the same command goes on\n"
    )
    assert (ended.returncode, ended.stderr) == (2, told)


@pytest.mark.integration
def test_what_an_encoding_cannot_print_is_replaced() -> None:
    code = "from unspoken.cli.output import open_output, say; open_output(); say('2 \u00d7 3')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, env=environment) == b"2 ? 3\n"


@pytest.mark.integration
def test_in_a_locale_of_ascii_utf_8_is_printed_and_a_path_as_its_bytes(tmp_path: Path) -> None:
    code = (
        "import os, sys; from unspoken.cli.output import open_output, say; open_output(); "
        "say('2 ' + chr(215) + os.fsdecode(bytes([255])) + chr(0xD800)); "
        "sys.stderr.write(chr(215))"
    )
    assert in_ascii("-c", code, folder=tmp_path) == (0, b"2 \xc3\x97\xff\\ud800\n", b"\xc3\x97")


@pytest.mark.integration
def test_in_a_locale_of_ascii_a_path_beyond_it_works_or_ends_in_one_sentence(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "größe"
    folder.mkdir()
    (folder / "ü.csv").write_text("question,answer\n2 × 3,6\n1,1\n3,3\n", encoding="utf-8")
    words = ("-m", "unspoken", "data", "questions", "--input", "größe/ü.csv", "--output")
    done = in_ascii(*words, "größe/ö.jsonl", folder=tmp_path)
    assert done == (0, "größe/ö.jsonl: 3 questions\n".encode(), b"")
    assert '"2 × 3"' in (folder / "ö.jsonl").read_text("utf-8")

    words = ("-m", "unspoken", "data", "split", "--input", "größe/ü.csv", "--output", "größe/b")
    status, _, said = in_ascii(*words, folder=tmp_path)
    (line,) = said.decode().splitlines()
    assert status == 2 and line.startswith("error: ")
    assert line.endswith("needed: UTF-8; set PYTHONUTF8=1, or LC_ALL to a locale such as C.UTF-8")


@pytest.mark.integration
def test_a_run_goes_on_where_nobody_reads_what_it_says() -> None:
    code = "import time; from unspoken.cli.output import say; time.sleep(0.5); say('a'); say('b')"
    line = f'{sys.executable} -c "{code}; import sys; sys.stderr.write(str(7))" | true'
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    told = "nobody reads standard output any more: going on without it\n7"
    assert ended.stderr == told
