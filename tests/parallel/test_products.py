"""fp32 products by oneDNN: only where they are exact and faster, and never for a small model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from helpers.recipes import tiny_recipe
from helpers.training import trainer
from unspoken.parallel import products
from unspoken.parallel.products import onednn_gains, products_by_onednn, takes_onednn
from unspoken.parallel.world import World
from unspoken.train.checkpoint import TrainState


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What was found on this machine before and what a test pretends do not meet."""
    onednn_gains.cache_clear()
    yield
    onednn_gains.cache_clear()


def pretend(monkeypatch: pytest.MonkeyPatch, *, rounds: bool, times: float) -> None:
    """A machine whose oneDNN is so many times as fast, and rounds to bf16 or does not."""
    plain = torch.Tensor.__matmul__

    def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        is_onednn = torch.get_float32_matmul_precision() == "medium"
        if rounds and is_onednn and left.dtype == torch.float32:
            return plain(left.bfloat16(), right.bfloat16()).float()
        return plain(left, right)

    def seconds(*_: torch.Tensor) -> float:
        return 1.0 / (times if torch.get_float32_matmul_precision() == "medium" else 1.0)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    monkeypatch.setattr(products, "time_product", seconds)


@pytest.mark.parametrize(
    ("rounds", "times", "gains"),
    [(False, 2.2, True), (False, 1.1, False), (True, 8.0, False), (True, 1.0, False)],
    ids=["zen5", "zen4", "amx", "neither"],
)
def test_onednn_must_be_exact_and_faster(
    rounds: bool, times: float, gains: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, rounds=rounds, times=times)
    assert onednn_gains() == gains
    assert takes_onednn("fp32", 768) == gains
    assert torch.get_float32_matmul_precision() == "highest"


def test_small_models_and_other_precisions_are_not_even_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(products, "onednn_gains", lambda: pytest.fail("tried"))
    for precision, width in (("fp32", 128), ("fp32", None), ("bf16", 768), ("fp16", 768)):
        assert not takes_onednn(precision, width)


def test_of_several_processes_all_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "onednn_gains", lambda: True)
    monkeypatch.setattr(products, "join_processes", lambda: None)
    monkeypatch.setattr(products, "read_world", lambda: World(rank=0, size=2, local_size=2))
    for other in (True, False):
        monkeypatch.setattr("accelerate.utils.gather_object", lambda own, o=other: [*own, o])
        assert takes_onednn("fp32", 768) == other


def test_this_machine_is_asked_without_a_trace() -> None:
    first = onednn_gains()
    assert onednn_gains() == first  # found once in a process
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("takes", [True, False])
def test_only_training_steps_take_it(
    takes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unspoken.train.gradient.takes_onednn", lambda *_: takes)
    one = trainer(tiny_recipe(tmp_path), tmp_path)
    seen = set()
    forward = one.model.forward
    monkeypatch.setattr(
        one.model,
        "forward",
        lambda *a, **k: (seen.add(torch.get_float32_matmul_precision()), forward(*a, **k))[1],
    )
    one.step(TrainState())
    assert seen == {"medium" if takes else "highest"}
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_block_that_is_not_wanted_changes_nothing() -> None:
    with products_by_onednn(False):
        assert torch.get_float32_matmul_precision() == "highest"
