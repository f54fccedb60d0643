"""`unspoken ask`: the answer alone into a pipe, and a terminal that shows how it is written."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.memory import make_asked_run
from unspoken.cli.main import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_asked_run(tmp_path_factory.mktemp("asked") / "run")


def told(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> tuple[str, str]:
    """What a command printed, and what it said on standard error."""
    found = 0
    try:
        main(["ask", *map(str, words)])
    except SystemExit as end:
        found = end.code
    assert found == status
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_into_a_pipe_goes_the_answer_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, run, "what is 123 times 45?") == ("5535\n", "")


@pytest.mark.parametrize(
    "words", ["123 x 45", "what is 123 times 45?", "１２３＊４５", "--raw 321*54"]
)
def test_words_without_quotes_are_one_question(
    run: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = "#53550\n" if "--raw" in words else "5535\n"
    assert told(capsys, run, *words.split()) == (answer, "")


@pytest.mark.parametrize("words", [[""], ["-123*45"], ["-123", "*", "45"], ["1" * 5_000 + "*45"]])
def test_what_cannot_be_put_is_one_line(
    run: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, said = told(capsys, run, *words, status=2)
    assert (out, said.count("\n")) == ("", 1) and said.startswith("error: question: found ")


def test_a_mistyped_flag_is_no_question(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--botth" in told(capsys, run, "123*45", "--botth", status=2)[1]


def test_every_line_of_a_pipe_is_a_question(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("123*45\n\n111*22\n"))
    assert told(capsys, f"{run}:explicit") == ("5535\n2442\n", "")


def test_both_have_a_line_each(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, run, "123*45", "--both")[0].splitlines()
    assert re.fullmatch(r"explicit: 5535 \(17 tokens, .* ms\): 5160\+02940#53550", lines[0])
    assert re.fullmatch(r"internalized: 5535 \(7 tokens, .* ms\): #53550", lines[1])
    lines = told(capsys, f"{run}:level-7", "123*45", "--both")[0].splitlines()
    assert [line.split(":")[0] for line in lines] == ["explicit", "level-7"]
    lines = told(capsys, f"{run}:explicit", "123*45", "--both")[0].splitlines()
    assert [line.split(":")[0] for line in lines] == ["explicit", "internalized"]


def test_what_the_model_cannot_be_asked_is_an_error_and_no_answer(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, said = told(capsys, run, "what is 12 times 3?", status=2)
    assert out == "" and "needed: 3 by 2 digits" in said and "or give --raw" in said
    out, said = told(capsys, run, "what?", "--raw", status=2)
    assert out == "" and "has no token" in said
    out, said = told(capsys, run / "internalized" / "model", "123*45", "--both", status=0)
    assert len(out.splitlines()) == 2  # it lies in a run


def test_a_model_that_is_not_there_is_said_before_torch_is_needed(
    run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "it has explicit, " in told(capsys, f"{run}:level-3", "1*2", status=2)[1]
    assert "unspoken download" in told(capsys, tmp_path / "no", "1*2", status=2)[1]
    said = told(capsys, tmp_path, "1*2", "--both", status=2)[1]
    assert "--both: found it with" in said and "which is of no run" in said


@pytest.mark.parametrize(("name", "tokens"), [("", 7), (":explicit", 17)])
def test_evaluate_takes_the_names_that_ask_takes(
    run: Path, tmp_path: Path, name: str, tokens: int
) -> None:
    questions, answers = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    questions.write_text('{"question": "3 2 1 * 5 4", "answer": "5 3 5 5 0"}\n')
    words = ["--base_model", f"{run}{name}", "--input", str(questions), "--output", str(answers)]
    main(["evaluate", *words, "--num_latency", "0"])
    (answer,) = [json.loads(line) for line in answers.read_text().splitlines()]
    assert (answer["correct"], answer["num_tokens"]) == (True, tokens)


class Terminal:
    """A command that has a terminal of its own, 100 columns wide."""

    def __init__(self, *words: str, **environment: str) -> None:
        own, other = pty.openpty()
        self._own, self.screen, self._seen = own, "", 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "unspoken", *words],
            stdin=other,
            stdout=other,
            stderr=other,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment},
            start_new_session=True,
        )
        os.close(other)

    def wait_for(self, text: str) -> str:
        """What was shown up to the next time that this text is, colours and cursor left out."""
        begin, limit = self._seen, time.monotonic() + 300
        while (place := self.screen.find(text, begin)) < 0:
            assert time.monotonic() < limit, self.screen
            if select.select([self._own], [], [], 1)[0]:
                written = os.read(self._own, 65536).decode(errors="replace")
                self.screen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written)
        self._seen = place + len(text)
        return self.screen[begin : self._seen]

    def type(self, text: str) -> None:
        """Types at it."""
        os.write(self._own, text.encode())

    def end(self) -> int:
        """Its exit status."""
        try:
            return self._process.wait(60)
        finally:
            self._process.kill()
            os.close(self._own)


@pytest.mark.integration
def test_a_terminal_shows_both_as_they_write_and_keeps_what_was_typed(
    run: Path, tmp_path: Path
) -> None:
    terminal = Terminal("ask", str(run), "--both", XDG_STATE_HOME=str(tmp_path))
    terminal.wait_for("> ")
    terminal.type("123*45\n")
    screen = terminal.wait_for("7 tokens, ") + terminal.wait_for("> ")
    # one beside the other, and as they come: the thought is seen before it is whole
    assert re.search(r"explicit +internalized", screen)
    assert re.search(r"5160\+02940#53550 +#53550", screen)
    assert re.search(r"5535  right +5535  right", screen)
    assert re.search(r"\b17 tokens, [\d.]+ ms +7 tokens, [\d.]+ ms", screen)
    assert re.search(r"^[0-9+]{1,15} ", screen, re.MULTILINE)
    terminal.type("12*3\n")
    told = terminal.wait_for("> ")  # and the prompt is still there
    assert "needed: 3 by 2 digits" in told and "or give --raw and" in " ".join(told.split())
    terminal.type("\x1b[A\x1b[A\n")  # twice up: the first question again
    assert "5535  right" in terminal.wait_for("> ")
    terminal.type("\x04")
    assert terminal.end() == 0
    history = (tmp_path / "unspoken" / "history").read_text().splitlines()
    assert [line for line in history if "*" in line][:2] == ["123*45", "12*3"]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_user_without_a_home_has_a_prompt_and_no_history(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(_: str) -> str:
        raise EOFError

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # as for a user that is in no list
    monkeypatch.setattr("builtins.input", ends)
    monkeypatch.setattr("sys.stdin", _Terminal())
    assert "Ctrl-D ends" in told(capsys, run)[1]


@pytest.mark.parametrize("number", [0, -5])
def test_no_token_is_no_limit(run: Path, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    _, error = told(capsys, run, "12*3", f"--max_new_tokens={number}", status=2)
    assert error == f"error: --max_new_tokens: found {number}; needed: at least 1; raise it\n"


def test_bytes_that_are_no_text_are_named_by_line(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = io.TextIOWrapper(
        io.BytesIO(b"123*45\n\xff\xfe\n"), encoding="utf-8", errors="surrogateescape"
    )
    monkeypatch.setattr(sys, "stdin", piped)
    output, error = told(capsys, run, status=2)
    assert output == "5535\n"
    assert error.startswith("error: standard input:2: found bytes that are not UTF-8; needed:")


def test_a_locale_of_ascii_takes_no_sign_from_a_question(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python has a surrogate for each byte there, of an argument and of standard input."""
    typed = "123 × 45".encode()
    assert told(capsys, run, typed.decode("ascii", "surrogateescape")) == ("5535\n", "")
    piped = io.TextIOWrapper(io.BytesIO(typed), encoding="ascii", errors="surrogateescape")
    monkeypatch.setattr(sys, "stdin", piped)
    assert told(capsys, run) == ("5535\n", "")
    assert told(capsys, run, "123*45\udcff", status=2)[1].startswith("error: found bytes that are")


def test_bytes_that_are_no_text_are_named_where_the_locale_is_strict(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all locales, Python is lenient in C and POSIX only."""
    piped = io.TextIOWrapper(io.BytesIO(b"\xff\n123*45\n"), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdin", piped)
    output, error = told(capsys, run, status=2)
    assert output == "5535\n"
    assert error.startswith("error: standard input:1: found bytes that are not UTF-8; needed:")


def test_a_line_that_cannot_be_answered_does_not_end_the_others(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("123*45\nhello\n111*22\n"))
    out, said = told(capsys, run, status=2)
    assert out.count("\n") == 2
    assert said.startswith("error: standard input:2: question: found") and said.count("\n") == 1
