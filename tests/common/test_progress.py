"""How often bars are drawn."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from unspoken.common.progress import bar_intervals


@pytest.mark.integration
def test_a_bar_is_drawn_less_often_into_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_terminal, seconds in ((True, 0.5), (False, 30)):
        monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda here=is_terminal: here))
        assert bar_intervals()["mininterval"] == seconds
        assert bar_intervals()["maxinterval"] >= seconds
