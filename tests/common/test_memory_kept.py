"""What a process frees stays its own where it asks for that."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from unspoken.common.memory import keep_freed_memory

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")


@on_glibc
def test_the_pages_of_freed_tensors_are_used_again() -> None:
    assert keep_freed_memory()
    new_pages = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensor = torch.full((16 << 20,), 1.0)  # 64 MiB, 16,384 pages
        new_pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        del tensor
    assert max(new_pages[1:]) < 1000, new_pages


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"])
def test_an_allocator_that_the_user_has_set_up_stays_so(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    assert not keep_freed_memory()


def test_another_systems_allocator_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
