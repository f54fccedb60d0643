"""What a process frees stays its own where it asks for that."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from unspoken.common import memory
from unspoken.common.memory import keep_freed_memory

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")


#: Prints how many pages were new to the process each time that 64 MiB were filled and freed.
FILL_THREE_TIMES = """
import resource
from unspoken.common.memory import keep_freed_memory
assert keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"1" * (64 << 20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    del block
"""


@on_glibc
@pytest.mark.integration  # in a process of its own: another test's heap may have no such gap again
def test_the_pages_of_freed_memory_are_used_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL_THREE_TIMES], check=True, capture_output=True, text=True
    )
    first, *again = map(int, done.stdout.split())
    assert max(again) < first / 10, done.stdout


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"])
def test_an_allocator_that_the_user_has_set_up_stays_so(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    assert not keep_freed_memory()


def test_another_systems_allocator_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()


def test_what_is_kept_is_given_back_once_it_is_half_as_much_again_as_a_step_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_back = []
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: True)
    monkeypatch.setattr(memory, "give_back_memory", lambda: given_back.append(size))
    freed = memory.FreedMemory()
    # after the first step 100, and after the one that follows a giving back 140, which is needed
    sizes = [100, 120, 150, 151, 140, 150, 200, 210, 211, 130, 205, 211, 100]
    for size in sizes:
        monkeypatch.setattr(memory, "resident_memory", lambda size=size: size)
        freed.bound()
    assert given_back == [151, 211, 211]


def test_nothing_is_given_back_where_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: False)
    monkeypatch.setattr(memory, "give_back_memory", lambda: pytest.fail("nothing is kept"))
    freed = memory.FreedMemory()
    for size in (1, 1 << 30):
        monkeypatch.setattr(memory, "resident_memory", lambda size=size: size)
        freed.bound()
