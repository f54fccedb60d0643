"""How often bars are drawn."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest

from unspoken.common.progress import AnswersBar, bar_intervals


@pytest.mark.integration
def test_a_bar_is_drawn_less_often_into_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_terminal, seconds in ((True, 0.5), (False, 30)):
        monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda here=is_terminal: here))
        assert bar_intervals()["mininterval"] == seconds
        assert bar_intervals()["maxinterval"] >= seconds


def test_a_bar_of_answers_moves_with_every_token(capsys: pytest.CaptureFixture[str]) -> None:
    begin, clock = time.time(), iter(range(1, 1000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: begin + 40.0 * next(clock))
        with AnswersBar(5, 2, "asked", "answer", leave=True) as bar:
            bar.add_tokens(1_500)
            bar.add_tokens(34)
            assert "1,534 tokens, " in capsys.readouterr().err  # before any answer is there
            bar.note = ", 3 retries"
            bar.add_tokens(1)
            bar.add_answers(3)
    told = capsys.readouterr().err
    assert "5/5" in told
    assert "tokens/s, 3 retries" in told
    with AnswersBar(5, 0, None, "answer") as hidden:
        hidden.add_tokens(1)
        hidden.add_answers()
    assert capsys.readouterr().err == ""


def test_a_bar_with_a_delay_shows_nothing_of_what_is_soon_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with AnswersBar(2, 0, "validation", "answer", delay=60.0) as bar:
        for _ in range(2):
            bar.add_tokens(7)
            bar.add_answers()
    assert "validation" not in capsys.readouterr().err
    monkeypatch.setattr("unspoken.common.progress.bar_intervals", lambda: {"mininterval": 0.0})
    with AnswersBar(2, 0, "validation", "answer", delay=0.01) as bar:
        time.sleep(0.02)
        bar.add_tokens(7)
        assert "7 tokens" in capsys.readouterr().err
