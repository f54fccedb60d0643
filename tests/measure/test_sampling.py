from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from unspoken.common.errors import SettingError
from unspoken.measure.sampling import Sampling


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens: found 0; needed: at least 1; correct it"),
        (
            {"temperature": -1},
            "temperature: found -1; needed: at least 0, at most 1000; correct it",
        ),
        (
            {"temperature": float("nan")},
            "temperature: found nan; needed: a finite number, at least 0",
        ),
        (
            {"temperature": float("inf")},
            "temperature: found inf; needed: a finite number, at least 0",
        ),
        ({"temperature": 1, "top_p": 0}, "top_p: found 0; needed: above 0, at most 1"),
        ({"temperature": 1, "top_p": 1.5}, "top_p: found 1.5; needed: above 0, at most 1"),
        ({"top_p": 0.9}, "top_p: found 0.9 with temperature=0, which does not look at it"),
        ({"seed": "red"}, "seed: found 'red'; needed: a whole number"),
    ],
)
def test_settings_without_sense_name_themselves(settings: Any, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        Sampling(**settings)
    assert str(caught.value).startswith(message)
    with pytest.raises(SettingError):
        replace(Sampling(), **settings)


def test_values_without_names_are_named_too() -> None:
    with pytest.raises(SettingError, match=r"top_p: found 0\.0; needed: above 0, at most 1"):
        Sampling(5, 1.0, 0.0)


def test_an_argument_that_there_is_not_is_a_bug() -> None:
    wrong: Any = {"temprature": 1}
    with pytest.raises(TypeError, match="temprature"):
        Sampling(**wrong)
    with pytest.raises(TypeError, match="Sampling: 5"):
        Sampling(1, 0.0, 1.0, 0, (), "more")  # type: ignore[call-arg]


def test_several_samples_need_a_temperature() -> None:
    Sampling(temperature=0.1).require_samples(4)
    Sampling().require_samples(1)
    with pytest.raises(SettingError) as caught:
        Sampling().require_samples(4, "samples_per_question")
    assert str(caught.value).startswith(
        "samples_per_question: found 4 with temperature=0, which makes them all the same; "
    )
    with pytest.raises(SettingError, match="num_samples: found 0; needed: at least 1"):
        Sampling(temperature=1).require_samples(0)
