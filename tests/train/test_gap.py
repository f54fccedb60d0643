"""Positions with a gap are refused where they could not be exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.training import run
from unspoken.common.errors import ModelError

LLAMA = {
    "tokenizer": "characters",
    "config": {
        "model_type": "llama",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
}


def test_gap_is_refused_where_it_could_not_be_exported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"prompts of one length.*positions=natural"):
        run(tmp_path, data={"digits": [[2, 2], [1, 2]]}, schedule={"positions": "gap"})
    kept = {"removal": "none", "delta": None, "positions": "gap"}
    for schedule in ({"positions": "gap"}, {**kept, "start": 2}):
        with pytest.raises(ModelError, match=r"llama has none.*positions=natural"):
            run(tmp_path, model=LLAMA, schedule=schedule)
    assert run(tmp_path, model=LLAMA, schedule=kept).level == "0000"  # there is no gap to close


@pytest.mark.parametrize(("unit", "side"), [("token", "right"), ("step", "left")])
def test_gap_needs_tokens_of_the_left_side(tmp_path: Path, unit: str, side: str) -> None:
    with pytest.raises(ModelError, match=rf"schedule.side=left.*found {unit} and {side}") as caught:
        run(tmp_path, schedule={"positions": "gap", "side": side, "unit": unit})
    told = caught.value.told(lambda name, value: f"--{name.rpartition('.')[2]} {value}")
    assert "--unit token and --side left" in told
