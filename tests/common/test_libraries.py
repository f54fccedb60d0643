"""What the libraries beneath do when they are imported."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from unspoken.common.libraries import uncollected

pytest.importorskip("bitsandbytes")

#: As every verb that trains does; whether torch's inductor was imported with it.
IMPORTED = """
import sys
import torch
compile_before = torch.compile
import unspoken.models
import peft
import bitsandbytes
assert "bitsandbytes" in sys.modules and torch.compile is compile_before
print("torch._inductor.compile_fx" in sys.modules)
"""


def printed_by(code: str) -> str:
    """What a Python of its own prints that runs this code and complains of nothing."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not done.stderr
    return done.stdout.strip()


@pytest.mark.integration
def test_peft_is_imported_without_a_compiler() -> None:
    assert printed_by(IMPORTED) == "False"


def test_what_is_compiled_later_is_compiled_once_and_with_its_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from unspoken.common.libraries import compiled_when_called

    compiled = []

    def compile_now(function: Callable[[int], int], **options: bool) -> Callable[[int], int]:
        compiled.append(options)
        return function

    monkeypatch.setattr(torch, "compile", compile_now)
    with compiled_when_called():
        double = torch.compile(lambda number: 2 * number, dynamic=False)
    assert torch.compile is compile_now
    assert not compiled
    assert double(3) == 6
    assert double(4) == 8
    assert compiled == [{"dynamic": False}]


#: As every verb that asks a model does; what was collected meanwhile, and what is imported.
CLASSES = """
import gc, sys
collected = []
gc.callbacks.append(lambda phase, info: collected.append(phase))
from unspoken.common.libraries import import_model_classes
collected.clear()
import_model_classes()
print(len(collected) <= 2, gc.isenabled(),  # a library may ask for one itself
      "torch._inductor.compile_fx" in sys.modules)
from transformers import GPT2LMHeadModel, Qwen3ForCausalLM
"""


@pytest.mark.integration
def test_classes_of_models_are_imported_without_looking_for_garbage() -> None:
    assert printed_by(CLASSES) == "True True False"


@pytest.mark.parametrize("is_enabled", [True, False])
def test_garbage_is_looked_for_afterwards_as_before(is_enabled: bool) -> None:
    was_enabled = gc.isenabled()
    try:
        (gc.enable if is_enabled else gc.disable)()
        with pytest.raises(ImportError), uncollected():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() is is_enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()


@pytest.mark.integration
def test_python_without_docstrings_is_told_and_not_a_fault_of_the_model(tmp_path: Path) -> None:
    """transformers 5.24 builds what it documents from docstrings, and fails without them."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    command = [sys.executable, "-OO", "-m", "unspoken", "ask", str(tmp_path / "model"), "1*2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Python: found it without docstrings (-OO, or PYTHONOPTIMIZE=2)")
