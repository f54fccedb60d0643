"""The names without a promise that `parallel` uses of other libraries: see docs/upstream.md."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import torch

from helpers.paths import ROOT
from helpers.recipes import tiny_recipe
from helpers.training import dtype_of_products
from unspoken.parallel.start import start_processes


def test_names_without_a_promise_are_there() -> None:
    for module, name in (
        ("accelerate.state", "AcceleratorState._reset_state"),
        ("transformers.integrations.deepspeed", "unset_hf_deepspeed_config"),
        ("torch.distributed.checkpoint.state_dict", "set_optimizer_state_dict"),
        ("torch.distributed.checkpoint.state_dict", "StateDictOptions"),
    ):
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)


def test_one_process_trains_in_several_precisions(tmp_path: Path) -> None:
    for precision in ("fp32", "bf16", "fp32"):
        recipe = tiny_recipe(tmp_path, train={"precision": precision})
        expected = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        assert dtype_of_products(start_processes(recipe, tmp_path)) == expected


def test_deepspeeds_names_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    deepspeed = pytest.importorskip("deepspeed", reason="the extra unspoken[deepspeed] is missing")
    for name in (
        "lazy_init_hp_params_optimizer_state",
        "safe_get_full_optimizer_state",
        "safe_set_full_optimizer_state",
        "safe_get_local_optimizer_state",
        "safe_set_local_optimizer_state",
    ):
        assert hasattr(deepspeed.utils, name)
    assert hasattr(deepspeed.zero, "GatheredParameters")


def test_every_private_name_of_another_library_is_on_the_page() -> None:
    """A private name is one that begins with an underscore, of an object that is not ours."""
    page = (ROOT / "docs" / "upstream.md").read_text(encoding="utf-8")
    names = set()
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        names |= set(re.findall(r"(?<!self)(?<!cls)(?<!\bos)\.(_[a-z]\w+)", text))
        for line in re.findall(r"^ *from (?!unspoken)\S+ import (.*)$", text, re.MULTILINE):
            names |= set(re.findall(r"\b_[a-z]\w+", line))
    documented = {"_asdict", "_fields", "_replace"}  # a named tuple's
    assert {name for name in names - documented if name not in page} == set()
