"""Shared by the tests: a tiny model, tokenizer and data, built in memory; no network, ever."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from helpers.paths import SHARED_DATA

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["UNSPOKEN_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real data sets, or a skip where it is not there."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data sets are not on this machine")
    return SHARED_DATA


@pytest.fixture
def tokenizer() -> Any:
    """One token per character."""
    from unspoken.models.tokenizer import character_tokenizer

    return character_tokenizer()
