"""Shared by the tests: a tiny model, tokenizer and data, built in memory; no network, ever."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.paths import SHARED_DATA
from helpers.processes import start_warm_python
from helpers.tiers import no_new_processes, sort_by_tier

# what is imported stays: it is not looked through for garbage, now or at every collection later
gc.disable()
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers of xdist share the cores
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["UNSPOKEN_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def pytest_configure() -> None:
    start_warm_python()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job ignores it
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores: launchers, SLURM and servers wait for much of their time."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    sort_by_tier(items)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """What a file of tests leaves behind was imported by it, for the most part, and stays, too."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def _units_start_no_process(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("unit") is None:
        yield
        return
    with no_new_processes():
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real data sets, or a skip where it is not there."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data sets are not on this machine")
    return SHARED_DATA


@pytest.fixture
def tokenizer() -> Any:
    """One token per character."""
    from helpers.recipes import ALPHABET
    from unspoken.models.tokenizer import character_tokenizer

    return character_tokenizer(ALPHABET)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real Chromium, without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()
