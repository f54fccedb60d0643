"""What the libraries beneath do when they are imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

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


@pytest.mark.integration
def test_peft_is_imported_without_a_compiler() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "False"
    assert not done.stderr


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
