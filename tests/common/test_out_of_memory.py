"""Memory that ran out is known by what each library says, and nothing else is taken for it."""

from __future__ import annotations

import pytest

from helpers.no_memory import NO_MEMORY
from unspoken.common.errors import ModelError
from unspoken.common.out_of_memory import amount_asked_for, is_out_of_memory


@pytest.mark.parametrize("kind", NO_MEMORY)
def test_memory_that_ran_out_is_known_with_what_was_asked_for(kind: str) -> None:
    error, amount = NO_MEMORY[kind]
    assert is_out_of_memory(error)
    assert amount_asked_for(error) == amount


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
        RuntimeError("CUDA error: device-side assert triggered"),
        ValueError("DefaultCPUAllocator: can't allocate memory"),
        OSError(28, "No space left on device"),
        ModelError("it has no weights"),
    ],
)
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("kind", NO_MEMORY)
def test_an_error_of_ours_that_came_of_it_says_so(kind: str) -> None:
    told = ModelError("memory ran out while it was loaded")
    assert not is_out_of_memory(told)
    told.__cause__ = NO_MEMORY[kind][0]
    assert is_out_of_memory(told)
