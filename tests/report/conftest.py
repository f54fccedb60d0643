"""A finished run, written by hand, for the tests of its report."""

import pytest

from helpers.run_folders import (
    make_run,
    make_variant,
)


@pytest.fixture
def full(tmp_path):
    """A finished run: 38, 36 and 4 of 40 right."""
    folder = make_run(tmp_path / "run")
    for name, num_correct in (("explicit", 38), ("internalized", 36), ("no_cot", 4)):
        make_variant(folder / name, name, num_correct)
    return folder


@pytest.fixture
def without_plots(monkeypatch):
    """For tests of words: drawing takes most of a report's time."""
    monkeypatch.setattr("unspoken.report.show.plots.draw_plots", lambda phase, folder: [])
