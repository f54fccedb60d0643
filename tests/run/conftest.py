"""Runs that a test here makes in its own process have no plots; those of a fixture have."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes as long as training so tiny a model; tests/report is about it."""
    monkeypatch.setattr("unspoken.report.show.plots.draw_plots", lambda *_: [])
