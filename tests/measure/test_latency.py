"""Models that take turns: who is asked what, and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from unspoken.common import memory
from unspoken.common.progress import AnswersBar
from unspoken.measure import latency
from unspoken.measure.decode import decode
from unspoken.measure.latency import Asked, SingleQuestions, Taken, take_turns
from unspoken.measure.stats import ratio_of_medians
from unspoken.models.load import load_model
from unspoken.recipe import Model


class Scripted:
    """In place of `SingleQuestions`: takes so many seconds for each question, on paper."""

    num_bytes = 1_000

    def __init__(self, name: str, log: list[Any], seconds: float = 1.0, stop_at: int = 99) -> None:
        self.name, self.log, self.seconds, self.stop_at = name, log, seconds, stop_at

    def warm_up(self, seconds: float, stopping: Callable[[], bool]) -> None:
        self.log.append((self.name, "warm"))

    def ask(self, number: int, stopping: Any, wrote: Callable[[int], None]) -> Asked | None:
        if number >= self.stop_at:
            return None
        self.log.append((self.name, number))
        wrote(3)
        return Asked(self.seconds + number / 100, 3)


def take(models: dict[str, Any], number: int, seconds: float = 1e6, **more: Any) -> Taken:
    loaders: Any = {name: (lambda model=model: model) for name, model in models.items()}
    with AnswersBar(number * len(models), 0, None, "answer") as bar:
        return take_turns(loaders, number, seconds, bar=bar, **more)


def test_each_question_is_asked_of_all_models_and_another_one_begins() -> None:
    log: list[Any] = []
    taken = take({name: Scripted(name, log) for name in "abc"}, 4, beside=True)
    asked = [entry for entry in log if entry[1] != "warm"]
    assert asked == [
        ("a", 0), ("b", 0), ("c", 0),
        ("b", 1), ("c", 1), ("a", 1),
        ("c", 2), ("a", 2), ("b", 2),
        ("a", 3), ("b", 3), ("c", 3),
    ]  # fmt: skip
    assert log[:3] == [("a", "warm"), ("b", "warm"), ("c", "warm")]
    assert taken.turns is None
    assert all([a.seconds for a in one] == [1.0, 1.01, 1.02, 1.03] for one in taken.models.values())


def test_no_question_is_begun_after_the_time_and_one_is_in_any_case() -> None:
    models = {name: Scripted(name, []) for name in "ab"}
    assert len(take(models, 50, 2.5, beside=True).models["a"]) == 3
    assert len(take(models, 50, 0.1, beside=True).models["b"]) == 1


@pytest.mark.parametrize("seconds", [1e6, 4.0])
def test_models_without_room_beside_each_other_are_loaded_in_turns(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    log: list[Any] = []
    monkeypatch.setattr(latency, "free_memory", lambda: 1_900)
    alive: list[str] = []

    def load(name: str) -> Any:
        alive.append(name)
        return Scripted(name, log, 1.0 if name == "a" else 0.5)

    loaders: Any = {name: (lambda name=name: load(name)) for name in "ab"}
    with AnswersBar(24, 0, None, "answer") as bar:
        taken = take_turns(loaders, 12, seconds, bar=bar)
    assert taken.turns == ([2] * 6 if seconds > 100 else [1] * 6)
    # the first look at how large one is, then two models a turn, another one first each time
    assert alive[:5] == ["a", "a", "b", "b", "a"]
    own, other = taken.models["a"], taken.models["b"]
    assert len(own) == len(other)
    # a turn has time for 0.67 s of a model's: one question of the slow one, so one of both counts
    assert len(own) == (12 if seconds > 100 else 6)
    warm = [entry for entry in log if entry[1] == "warm"]
    assert len(warm) == len(alive) - 1


@pytest.mark.parametrize("number", [6, 7, 13, 20, 25, 50])
@pytest.mark.parametrize("each", [0.1, 3.0, 10.0])
def test_models_that_are_loaded_in_turns_have_an_interval(number: int, each: float) -> None:
    models = {"a": Scripted("a", [], each), "b": Scripted("b", [], each / 2)}
    taken = take(models, number, 1e6 if each < 1 else 20.0, beside=False)
    own, other = ([asked.seconds for asked in taken.models[name]] for name in "ab")
    assert taken.turns is not None and len(taken.turns) == 6
    assert max(taken.turns) - min(taken.turns) <= 1
    assert len(own) == (number if each < 1 else sum(taken.turns))
    assert ratio_of_medians(own, other, blocks=taken.turns).interval is not None


def test_fewer_questions_than_turns_are_a_turn_each() -> None:
    models = {name: Scripted(name, []) for name in "ab"}
    assert take(models, 3, beside=False).turns == [1, 1, 1]
    assert take(models, 0, beside=False).turns == []


def test_a_model_that_does_not_fit_on_the_gpu_is_loaded_in_its_turn() -> None:
    tries: list[str] = []

    def load(name: str) -> Any:
        tries.append(name)
        if tries == ["a", "b"]:
            raise torch.OutOfMemoryError
        return Scripted(name, [])

    loaders: Any = {name: (lambda name=name: load(name)) for name in "ab"}
    with AnswersBar(2, 0, None, "answer") as bar:
        taken = take_turns(loaders, 1, 10.0, bar=bar)
    assert tries == ["a", "b", "a", "b"]
    assert {name: len(one) for name, one in taken.models.items()} == {"a": 1, "b": 1}


def test_what_was_asked_of_all_is_there_when_it_is_stopped() -> None:
    log: list[Any] = []
    models = {"a": Scripted("a", log), "b": Scripted("b", log, stop_at=2)}
    stopping = lambda: ("a", 2) in log  # noqa: E731
    taken = take(models, 9, beside=True, stopping=stopping)
    assert [len(one) for one in taken.models.values()] == [2, 2]
    assert take(models, 9, beside=True, stopping=lambda: True).models == {}


@pytest.mark.parametrize("beside", [None, False])
def test_no_model_is_loaded_once_it_is_stopped(beside: bool | None) -> None:
    loaded: list[str] = []

    def load(name: str) -> Any:
        loaded.append(name)
        return Scripted(name, [], stop_at=0)

    loaders: Any = {name: (lambda name=name: load(name)) for name in "abc"}
    with AnswersBar(27, 0, None, "answer") as bar:
        taken = take_turns(loaders, 9, 1e6, bar=bar, stopping=lambda: bool(loaded), beside=beside)
    assert loaded == ["a"]
    assert not any(taken.models.values())


CONFIG = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 64}


def test_single_questions_are_answered_as_the_decoder_answers_them(tokenizer: Any) -> None:
    model = load_model(Model(tokenizer="characters", config=CONFIG), tokenizer, seed=1).eval()
    prompts = [[5, 6, 7], [8, 9]]
    limits: dict[str, Any] = {"eos_token_id": 1, "pad_token_id": 0}
    alone = SingleQuestions(model, prompts, max_new_tokens=6, **limits)
    alone.warm_up(0.0, lambda: False)  # broken off at once
    wrote: list[int] = []
    asked = alone.ask(1, wrote=wrote.append)
    expected = decode(model, [prompts[1]], max_new_tokens=6, **limits)[0]
    assert asked is not None and asked.seconds > 0
    assert asked.num_tokens == expected.num_tokens == sum(wrote)
    assert alone.ask(0, lambda: True) is None
    assert alone.num_bytes == 4 * sum(weight.numel() for weight in model.parameters())


def test_free_memory_is_what_system_and_container_leave(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    known = memory.free_memory()
    assert known is None or known > 0
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_memory() == pytest.approx(known, rel=0.5)
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("4000\n")
    (tmp_path / "memory.stat").write_text("anon 3000\ninactive_file 700\n")
    assert memory.free_memory() == 1_700
