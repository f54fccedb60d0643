"""A compiled model: once for all levels of removal, and with torch's causal attention."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from helpers.recipes import tiny_recipe
from helpers.training import NO_DROPOUT, trainer
from unspoken.train.checkpoint import TrainState
from unspoken.train.schedule import RemovalState

pytestmark = pytest.mark.integration  # the compiler takes seconds


@pytest.mark.parametrize("positions", ["natural", "gap"])
def test_a_model_is_compiled_once_and_without_a_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, positions: str
) -> None:
    graphs: list[Any] = []

    def keep(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=keep))
    sections: dict[str, Any] = {"train": {"compile": True}, "schedule": {"positions": positions}}
    recipe = tiny_recipe(tmp_path, model=NO_DROPOUT, **sections)
    one = trainer(recipe, tmp_path)
    one.model.train()
    for step, removed in enumerate((0, 0, 1, 4, 7, 1000)):
        one.step(TrainState(step=step, schedule=RemovalState(removed=removed)))
    assert len(graphs) == 1
    attention = [n for n in graphs[0].graph.nodes if n.target is F.scaled_dot_product_attention]
    assert attention
    assert all(node.kwargs["attn_mask"] is None for node in attention)
    assert all(node.kwargs["is_causal"] for node in attention)
