"""Settings that are checked by their types."""

from __future__ import annotations

import math
from typing import Annotated, Any

import pytest
from pydantic import Field

from unspoken.common.errors import SettingError
from unspoken.common.settings import checked, require_at_least


@checked
class Pace:
    per_minute: Annotated[float, Field(gt=0)] = 60.0
    at_once: Annotated[int, Field(ge=1, le=8)] = 1


def test_a_value_that_cannot_be_used_is_named_however_it_is_given() -> None:
    assert Pace(2, at_once=3).per_minute == 2.0
    message = "at_once: found 9; needed: at least 1, at most 8; correct it"
    for make in (lambda: Pace(1.0, 9), lambda: Pace(at_once=9)):
        with pytest.raises(SettingError) as caught:
            make()
        assert (str(caught.value), caught.value.setting) == (message, "at_once")


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, "inf", "1e400"])
def test_what_is_endless_is_told_as_that(value: Any) -> None:
    with pytest.raises(SettingError, match=r"^per_minute: .*; needed: a finite number, above 0;"):
        Pace(value)


def test_an_argument_that_there_is_not_is_a_fault_of_the_code() -> None:
    with pytest.raises(TypeError, match="Pace: 2: "):
        Pace(1.0, 1, 1)  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="Pace: speed: "):
        Pace(speed=1)  # pyright: ignore[reportCallIssue]


def test_numbers_that_are_too_small_are_named() -> None:
    require_at_least(1, rounds=1, steps=2)
    with pytest.raises(SettingError, match=r"^steps: found 0; needed: at least 1; raise it"):
        require_at_least(1, rounds=1, steps=0)
