"""A server that answers as the tests tell it to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.servers import FakeServer


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.close()
