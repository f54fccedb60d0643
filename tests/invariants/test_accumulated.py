"""A batch in parts is the batch as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.training import NO_DROPOUT, losses, run


def test_accumulating_gives_the_same_losses_as_one_large_batch(tmp_path: Path) -> None:
    run(tmp_path / "whole", model=NO_DROPOUT)
    run(tmp_path / "parts", model=NO_DROPOUT, train={"micro_batch_size": 2})
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=2e-5)
