"""Rows that come and go write what `generate` writes for each alone, whatever the model's type."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.no_memory import NO_MEMORY
from unspoken.common.errors import DataError
from unspoken.measure.capture import record_operations
from unspoken.measure.choose import Chooser, hashed_noise
from unspoken.measure.decode import Decoder, Draws, OutOfMemoryError, decode
from unspoken.measure.slots import Slots
from unspoken.measure.slots_fit import fits

END, PAD, LIMIT = 39, 0, 14
LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
}
IN_SLOTS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "llama": LLAMA,
    "qwen2": {**LLAMA, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    "qwen3": LLAMA,
    "mistral": {**LLAMA, "sliding_window": 5},
    "gemma3_text": {**LLAMA, "sliding_window": 6, "query_pre_attn_scalar": 8},
}
LEFT_TO_GENERATE: dict[str, dict[str, Any]] = {
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "llama": {
        **LLAMA,
        "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0},
    },
}


def build(model_type: str, **settings: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(1)
    shared = {"vocab_size": 40, "initializer_range": 0.5, "bos_token_id": 1}
    config = AutoConfig.for_model(
        model_type, **{**shared, "eos_token_id": END, "pad_token_id": PAD, **settings}
    )
    return AutoModelForCausalLM.from_config(config).float().eval()


def prompts_of(lengths: tuple[int, ...] = (3, 9, 1, 5, 12, 2, 7, 4, 4, 11)) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(2, 38, (n,), generator=generator).tolist() for n in lengths]


def test_a_prompt_without_tokens_is_one_clear_error() -> None:
    model = build("gpt2", **IN_SLOTS["gpt2"])
    with pytest.raises(DataError, match=r"a prompt has no tokens, .*; needed: at least one; "):
        decode(model, [[3], []], eos_token_id=END, pad_token_id=PAD, max_new_tokens=2)


def generated(model: Any, prompt: list[int], limit: int = LIMIT) -> list[int]:
    """What transformers' own `generate` writes, up to the end token."""
    ids = torch.tensor([prompt], device=model.device)
    settings: dict[str, Any] = {"max_new_tokens": limit, "do_sample": False}
    mask = torch.ones_like(ids)
    output = model.generate(
        ids, attention_mask=mask, eos_token_id=END, pad_token_id=PAD, **settings
    )
    written = output[0, len(prompt) :].tolist()
    return written[: written.index(END)] if END in written else written


def stream(model: Any, prompts: list[list[int]], batch_size: int, **settings: Any) -> Any:
    decoder = Decoder(model, eos_token_id=END, pad_token_id=PAD, batch_size=batch_size)
    return decoder.stream(prompts, settings.pop("limit", LIMIT), **settings)


def all_of(model: Any, prompts: list[list[int]], batch_size: int, **settings: Any) -> Any:
    found = dict(stream(model, prompts, batch_size, **settings))
    assert sorted(found) == list(range(len(prompts)))
    return [found[number] for number in range(len(prompts))]


@pytest.mark.parametrize("model_type", IN_SLOTS)
def test_any_number_at_once_writes_what_generate_writes_for_each_alone(model_type: str) -> None:
    model, prompts = build(model_type, **IN_SLOTS[model_type]), prompts_of()
    assert fits(model)
    expected = [generated(model, prompt) for prompt in prompts]
    assert len({tuple(ids) for ids in expected}) > 6
    for batch_size in (10, 4, 1):
        assert [one.token_ids for one in all_of(model, prompts, batch_size)] == expected


def with_a_shared_beginning(count: int = 20) -> list[list[int]]:
    """Prompts like those of a chat template, or after few-shot examples."""
    beginning = prompts_of((count,))[0]
    return [beginning + prompt for prompt in prompts_of()]


def test_many_prompts_are_read_in_parts_with_little_padding() -> None:
    model = build("llama", **{**LLAMA, "max_position_embeddings": 256})
    prompts = prompts_of((200,) * 3 + (40,) * 20)  # the longest first, as evaluation sorts them
    expected = [generated(model, prompt, 3) for prompt in prompts]
    read: list[int] = []

    def note(_: Any, arguments: Any, given: dict[str, Any]) -> None:
        read.append(given["input_ids"].numel())

    assert fits(model)
    model.register_forward_pre_hook(note, with_kwargs=True)
    found = all_of(model, prompts, len(prompts), limit=3)
    assert [one.token_ids for one in found] == expected
    parts = [number for number in read if number > len(prompts)]
    assert max(parts) <= 1_024
    assert sum(parts) < 2 * sum(map(len, prompts)) < len(prompts) * 200


def test_answers_go_on_where_the_cache_becomes_larger_under_them() -> None:
    model = build("llama", **{**LLAMA, "max_position_embeddings": 256})
    prompts = prompts_of((10, 12, 90))  # the last one comes while others are written
    expected = [generated(model, prompt, 80) for prompt in prompts]
    assert max(map(len, expected)) == 80
    for batch_size in (2, 1):
        found = all_of(model, prompts, batch_size, limit=80)
        assert [one.token_ids for one in found] == expected


@pytest.mark.parametrize("model_type", IN_SLOTS)
def test_a_beginning_that_prompts_share_is_read_once(
    model_type: str,
) -> None:
    model, prompts = build(model_type, **IN_SLOTS[model_type]), with_a_shared_beginning()
    assert fits(model)
    expected = [generated(model, prompt) for prompt in prompts]
    read: list[tuple[int, ...]] = []

    def note(_: Any, arguments: Any, given: dict[str, Any]) -> None:
        read.append(tuple(given["input_ids"].shape))

    model.register_forward_pre_hook(note, with_kwargs=True)
    decoder = Decoder(model, eos_token_id=END, pad_token_id=PAD, batch_size=4)
    for _ in range(2):
        found = dict(decoder.stream(prompts, LIMIT))
        assert [found[n].token_ids for n in range(len(prompts))] == expected
    prompts_read = [(rows, columns) for rows, columns in read if columns > 1]
    # the beginning, then two rows after it and whole, to see that nothing is different
    assert prompts_read[:3] == [(1, 20), (2, 9), (2, 29)]
    assert max(columns for _, columns in prompts_read[3:]) <= 12


def test_what_is_written_alone_does_not_begin_as_others_did() -> None:
    model, prompt = build("gpt2", **IN_SLOTS["gpt2"]), prompts_of((5,))[0]
    decoder = Decoder(model, eos_token_id=END, pad_token_id=PAD, batch_size=4)
    assert len(list(decoder.stream(with_a_shared_beginning(), LIMIT))) == 10
    assert list(decoder.write(prompt, LIMIT))[-1].token_ids == generated(model, prompt)


def test_a_model_that_says_something_else_after_a_beginning_reads_prompts_whole() -> None:
    model, prompts = build("llama", **LLAMA), with_a_shared_beginning()
    expected = [generated(model, prompt) for prompt in prompts]
    forward = model.forward

    @functools.wraps(forward)
    def counts_its_cache(*arguments: Any, **more: Any) -> Any:
        cache = more.get("cache", more.get("past_key_values"))
        before = 0 if cache is None else cache.get_seq_length()
        found = forward(*arguments, **more)
        if before and more["input_ids"].shape[1] > 1:
            found.logits = found.logits.flip(-1)
        return found

    model.forward = counts_its_cache
    assert fits(model)
    assert [one.token_ids for one in all_of(model, prompts, 4)] == expected


@pytest.mark.parametrize("has_a_head", [True, False])
def test_only_scores_that_are_looked_at_are_calculated(has_a_head: bool) -> None:
    """Of prompts of different lengths too, where the model calls a head that it can name."""
    model, prompts = build("llama", **LLAMA), prompts_of()
    expected = [generated(model, prompt) for prompt in prompts]
    columns: list[int] = []
    model.lm_head.register_forward_hook(lambda _, inputs, __: columns.append(inputs[0].shape[1]))
    if not has_a_head:
        model.get_output_embeddings = torch.nn.Identity
    assert fits(model)
    columns.clear()
    assert [one.token_ids for one in all_of(model, prompts, 10)] == expected
    assert max(columns) == (1 if has_a_head else 12)


@pytest.mark.parametrize("model_type", LEFT_TO_GENERATE)
def test_what_has_no_slots_is_left_to_generate(model_type: str) -> None:
    model, prompts = build(model_type, **LEFT_TO_GENERATE[model_type]), prompts_of((3, 3, 3, 3))
    assert not fits(model)
    expected = [generated(model, prompt) for prompt in prompts]
    for batch_size in (4, 3):
        assert [one.token_ids for one in all_of(model, prompts, batch_size)] == expected


def test_adapters_and_attention_without_sdpa_have_slots() -> None:
    from peft import LoraConfig, PromptTuningConfig, get_peft_model

    prompts = prompts_of()
    config = LoraConfig(target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    adapted = get_peft_model(build("llama", **LLAMA), config).eval()
    assert fits(adapted)
    expected = [generated(adapted, prompt) for prompt in prompts]
    assert [one.token_ids for one in all_of(adapted, prompts, 4)] == expected
    assert expected != [generated(build("llama", **LLAMA), prompt) for prompt in prompts]
    eager = build("mistral", **IN_SLOTS["mistral"], attn_implementation="eager")
    assert fits(eager)
    found = [one.token_ids for one in all_of(eager, prompts, 4)]
    assert found == [generated(eager, prompt) for prompt in prompts]
    tuned = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    assert not fits(get_peft_model(build("llama", **LLAMA), tuned))


def test_a_model_whose_scores_differ_is_left_to_generate() -> None:
    model = build("gpt2", **IN_SLOTS["gpt2"])
    forward = model.forward

    @functools.wraps(forward)
    def looks_at_its_mask(*arguments: Any, attention_mask: Any = None, **more: Any) -> Any:
        found = forward(*arguments, attention_mask=attention_mask, **more)
        if attention_mask is not None and attention_mask.ndim == 4:
            found.logits += attention_mask.isfinite().sum()
        return found

    model.forward = looks_at_its_mask
    assert not fits(model)


@pytest.mark.integration
def test_a_recorded_step_writes_the_same() -> None:
    model, prompts = build("gpt2", **IN_SLOTS["gpt2"]), prompts_of()
    draws = Draws(0.9, 0.95, list(range(len(prompts))))
    for drawn in (None, draws):
        decoder = Decoder(model, eos_token_id=END, pad_token_id=PAD, batch_size=1, patience=0)
        found = dict(decoder.stream(prompts, 40, draws=drawn))
        plain = all_of(model, prompts, 4, limit=40, draws=drawn)
        assert [found[number] for number in range(len(prompts))] == plain


@pytest.mark.integration
def test_prompts_of_any_length_are_read_by_what_was_recorded_for_longer_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lengths = []

    def counting(function: Any, *inputs: torch.Tensor) -> Any:
        lengths.append(len(inputs[0]))
        return record_operations(function, *inputs)

    monkeypatch.setattr("unspoken.measure.slots.record_operations", counting)
    for model_type in ("gpt2", "mistral"):
        model = build(model_type, **IN_SLOTS[model_type])
        prompts = [*prompts_of(), *prompts_of((20, 16, 17, 3))]
        decoder = Decoder(model, eos_token_id=END, pad_token_id=PAD, batch_size=1, patience=0)
        found = dict(decoder.stream(prompts, 4))
        assert [found[n].token_ids for n in range(14)] == [generated(model, p, 4) for p in prompts]
        assert sorted(lengths) == [1, 16, 32]
        lengths.clear()


def test_a_step_is_recorded_where_that_makes_a_small_model_faster() -> None:
    model = build("gpt2", **IN_SLOTS["gpt2"])
    slots = Slots(model, 1, Chooser(1, model.device, None), patience=0)
    slots.fill([0], [[5, 6, 7]], [20], None)
    assert not slots.is_recorded
    slots.advance()
    assert slots.is_recorded
    for patience in (1, None):  # not at once, and never
        waits = Slots(model, 1, Chooser(1, model.device, None), patience=patience)
        waits.fill([0], [[5, 6, 7]], [20], None)
        waits.advance()
        assert not waits.is_recorded
    many = Slots(model, 900, Chooser(900, model.device, None), patience=0)
    many.fill([0], [[5, 6, 7]], [20], None)
    many.advance()
    assert not many.is_recorded


@pytest.mark.parametrize("way", ["cannot be recorded", "differs"])
def test_what_cannot_be_recorded_or_then_differs_is_calculated_as_before(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    tried: list[str] = []

    def record(*_: Any) -> Any:
        tried.append(way)
        return _broken() if way == "cannot be recorded" else lambda *_: torch.zeros(1, 40)

    monkeypatch.setattr("unspoken.measure.slots.record_operations", record)
    model, prompts = build("gpt2", **IN_SLOTS["gpt2"]), prompts_of((5, 3, 4))
    decoder = Decoder(model, eos_token_id=END, pad_token_id=PAD, batch_size=1, patience=0)
    found = dict(decoder.stream(prompts, LIMIT))
    assert [found[n].token_ids for n in range(3)] == [generated(model, one) for one in prompts]
    assert len(tried) == 2  # a step, and a prompt of up to 16 tokens; neither is tried again


@pytest.mark.parametrize("token_by_token", [True, False])
def test_a_model_in_training_is_asked_without_dropout_and_goes_on_as_it_was(
    token_by_token: bool,
) -> None:
    dropout = {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5}
    model, prompt = build("gpt2", **{**IN_SLOTS["gpt2"], **dropout}), prompts_of((5,))[0]
    expected = generated(model, prompt)
    model.train()
    model.transformer.h[0].eval()  # one part that is to stay as it is
    modes = [module.training for module in model.modules()]
    decoder = Decoder(model, eos_token_id=END, pad_token_id=PAD, batch_size=1)
    writing = (
        decoder.write(prompt, LIMIT)
        if token_by_token
        else (found for _, found in decoder.stream([prompt], LIMIT))
    )
    assert list(writing)[-1].token_ids == expected
    assert [module.training for module in model.modules()] == modes


def test_two_who_ask_a_model_in_training_at_the_same_time_are_both_asked_without_dropout() -> None:
    model, prompts = build("gpt2", **IN_SLOTS["gpt2"], resid_pdrop=0.5), prompts_of((5, 4))
    expected = [generated(model, prompt) for prompt in prompts]
    model.train()
    first, second = (
        Decoder(model, eos_token_id=END, pad_token_id=PAD, batch_size=1).stream(prompts, LIMIT)
        for _ in range(2)
    )
    begun, other = next(first), next(second)
    whole = [begun, *first]  # ends while the second has a question left
    assert [found.token_ids for _, found in whole] == expected
    assert [found.token_ids for _, found in (other, *second)] == expected
    assert model.training


def test_draws_after_an_answer_that_was_being_written_meanwhile_are_draws() -> None:
    model, prompt = build("gpt2", **IN_SLOTS["gpt2"]), prompts_of((5,))[0]
    decoder = Decoder(model, eos_token_id=END, pad_token_id=PAD, batch_size=1)
    draws = Draws(2.0, 1.0, [1])
    writing = decoder.write(prompt, LIMIT)
    next(writing)
    drawn = dict(decoder.stream([prompt], LIMIT, draws=draws))[0].token_ids
    assert list(writing)[-1].token_ids == generated(model, prompt) != drawn
    assert dict(decoder.stream([prompt], LIMIT, draws=draws))[0].token_ids == drawn


def test_a_row_that_ends_leaves_its_place_to_one_that_waits() -> None:
    model, prompts = build("gpt2", **IN_SLOTS["gpt2"]), prompts_of()
    sizes = []
    forward = model.forward

    @functools.wraps(forward)
    def counting(input_ids: Any, **more: Any) -> Any:
        sizes.append(tuple(input_ids.shape))
        return forward(input_ids=input_ids, **more)

    fits(model)
    model.forward = counting
    draws = Draws(2.0, 1.0, [3] * 10)
    lengths = [one.num_tokens for one in all_of(model, prompts, 4, limit=50, draws=draws)]
    steps = [rows for rows, columns in sizes if columns == 1 and rows <= 4]
    waited = sum(max(lengths[start : start + 4]) for start in range(0, 10, 4))
    assert max(lengths) > 3 * min(lengths)
    assert len(steps) < 0.9 * waited
    assert min(steps) < max(steps) == 4, "empty slots are taken away at the end"


def test_what_is_drawn_depends_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = build("llama", **LLAMA), prompts_of()
    seeds = [7, 8] * 5
    found = [all_of(model, prompts, size, draws=Draws(0.8, 0.9, seeds)) for size in (10, 3, 1)]
    assert found[0] == found[1] == found[2]
    again = all_of(model, [prompts[0]] * 3, 3, draws=Draws(0.8, 0.9, [7, 7, 8]))
    assert again[0] == again[1] == found[0][0] != again[2]
    settings: dict[str, Any] = {"eos_token_id": END, "pad_token_id": PAD, "max_new_tokens": LIMIT}
    monkeypatch.setattr("unspoken.measure.slots_fit.fits", lambda _: False)
    by_generate = decode(model, prompts, draws=Draws(0.8, 0.9, seeds), **settings)
    assert by_generate == found[0]


@pytest.mark.parametrize("in_slots", [True, False])
def test_limits_follow_from_each_prompt_alone(
    monkeypatch: pytest.MonkeyPatch, in_slots: bool
) -> None:
    monkeypatch.setattr("unspoken.measure.slots_fit.fits", lambda _: in_slots)
    model = build("gpt2", **{**IN_SLOTS["gpt2"], "n_positions": 16})
    prompts = prompts_of((15, 2, 13))
    lengths = [one.num_tokens for one in all_of(model, prompts, 3, limit=50)]
    assert lengths[0] == 1
    assert lengths == [one.num_tokens for one in all_of(model, prompts, 1, limit=50)]
    assert max(lengths) > 3


def test_stopping_between_tokens_keeps_what_has_ended() -> None:
    model, prompts = build("gpt2", **IN_SLOTS["gpt2"]), prompts_of()
    told: list[int] = []
    whole = all_of(model, prompts, 2, wrote=told.append)
    assert sum(told) == sum(one.num_tokens for one in whole)
    asked: list[int] = []

    def stopping() -> bool:
        asked.append(1)
        return len(asked) > 25

    some = dict(stream(model, prompts, 2, stopping=stopping))
    assert 0 < len(some) < 10
    assert all(whole[number] == one for number, one in some.items())
    assert list(stream(model, [], 2)) == []


def test_stopping_between_batches_keeps_those_that_are_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("unspoken.measure.slots_fit.fits", lambda _: False)
    answers = iter([False, True])
    found = stream(
        build("gpt2", **IN_SLOTS["gpt2"]), prompts_of(), 2, stopping=lambda: next(answers)
    )
    assert [number for number, _ in found] == [0, 1]


@pytest.mark.parametrize("kind", NO_MEMORY)
def test_memory_running_out_keeps_the_rows_that_are_done(kind: str) -> None:
    model, prompts = build("gpt2", **IN_SLOTS["gpt2"]), prompts_of()
    expected = all_of(model, prompts, 10)
    forward, sizes = model.forward, []

    @functools.wraps(forward)
    def forgetful(input_ids: Any, **more: Any) -> Any:
        sizes.append(len(input_ids))
        if len(input_ids) > 2 and len(sizes) > 9:
            raise NO_MEMORY[kind][0]
        return forward(input_ids=input_ids, **more)

    model.forward = forgetful
    told: list[int] = []
    found = list(stream(model, prompts, 5, wrote=told.append))
    assert sorted(number for number, _ in found) == list(range(10))  # each once
    assert dict(found) == dict(enumerate(expected))
    assert dict(stream(model, prompts[:3], 3)) == dict(enumerate(expected[:3]))  # nobody waits
    model.forward = functools.wraps(forward)(_without_memory)
    with pytest.raises(OutOfMemoryError, match="this prompt of 3 tokens alone"):
        list(stream(model, prompts[:1], 1))


def test_memory_that_ends_token_by_token_leaves_nothing_to_the_next_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build("llama", **{**LLAMA, "max_position_embeddings": 256})
    short, long = prompts_of((5, 100))
    decoder = Decoder(model, eos_token_id=END, pad_token_id=PAD, batch_size=1)
    assert len(list(decoder.write(short, 4))) == 4
    with monkeypatch.context() as full:  # where the cache would become larger
        full.setattr(torch.Tensor, "new_zeros", _without_memory)
        with pytest.raises(OutOfMemoryError, match="this prompt of 100 tokens alone"):
            list(decoder.write(long, 4))
    assert list(decoder.write(long, 4))[-1].token_ids == generated(model, long, 4)


def test_memory_that_ends_before_a_row_is_written_names_the_first_prompt(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, prompts = build("gpt2", **IN_SLOTS["gpt2"]), prompts_of()
    assert fits(model)
    monkeypatch.setattr("unspoken.measure.slots.Slots.__init__", _without_memory)
    with pytest.raises(OutOfMemoryError, match="this prompt of 3 tokens alone"):
        list(stream(model, prompts, 4))
    assert "4 prompts of up to 9 tokens; going on with 2 at once" in caplog.text


@pytest.mark.parametrize("kind", NO_MEMORY)
def test_endings_are_scored_in_smaller_batches_where_memory_runs_out(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = build("gpt2", **IN_SLOTS["gpt2"]).train()
    endings = [[6], [6, 7, 1], [8, 1], [9, 4], [3, 3, 3, 3]]
    decoder = Decoder(model, eos_token_id=END, pad_token_id=PAD, batch_size=8)
    expected = decoder.score([5, 6, 7], endings, 0.7)
    forward, sizes = model.forward, []

    @functools.wraps(forward)
    def narrow(input_ids: Any, **more: Any) -> Any:
        sizes.append(len(input_ids))
        if len(input_ids) > 2:
            raise NO_MEMORY[kind][0]
        return forward(input_ids=input_ids, **more)

    model.forward = narrow
    found = decoder.score([5, 6, 7], endings, 0.7)
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)
    assert sizes == [5, 3, 2, 2, 1]
    assert "5 prompts of up to 3 tokens; going on with 3 at once" in caplog.text
    assert decoder.batch_size == 2  # the next time it is not tried again
    assert model.training
    model.forward = functools.wraps(forward)(_without_memory)
    with pytest.raises(OutOfMemoryError, match="this prompt of 2 tokens alone"):
        decoder.score([5, 6], endings, 0.7)
    assert model.training


@pytest.mark.parametrize("way", ["stream", "write", "score"])
def test_an_error_that_is_not_about_memory_is_told_as_it_is(way: str) -> None:
    model = build("gpt2", **IN_SLOTS["gpt2"])
    assert fits(model)
    model.forward = functools.wraps(model.forward)(_broken)
    decoder = Decoder(model, eos_token_id=END, pad_token_id=PAD, batch_size=2)
    ask: dict[str, Any] = {
        "stream": lambda: list(decoder.stream([[3, 4], [5, 6]], LIMIT)),
        "write": lambda: list(decoder.write([3, 4], LIMIT)),
        "score": lambda: decoder.score([3, 4], [[5], [6]], 1.0),
    }
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        ask[way]()


def _broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("shapes do not fit")


def _without_memory(*_: Any, **__: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_hashed_noise_is_exponential_and_independent() -> None:
    seeds = torch.arange(40)
    noise = hashed_noise(seeds, torch.zeros_like(seeds), 5_000)
    assert noise.mean().item() == pytest.approx(1, abs=0.02)
    assert noise.var().item() == pytest.approx(1, abs=0.05)
    assert (noise < 0.1).float().mean().item() == pytest.approx(0.0952, abs=0.003)
    assert noise.min() > 0
    assert len(noise.unique()) > 0.99 * noise.numel()
    later = hashed_noise(seeds, torch.ones_like(seeds), 5_000)
    pairs = torch.stack([noise.flatten(), later.flatten(), noise.roll(1, 0).flatten()])
    assert (torch.corrcoef(pairs) - torch.eye(3)).abs().max() < 0.01
    assert torch.equal(hashed_noise(seeds[3:5], torch.ones(2).long(), 5_000), later[3:5])


def test_four_bit_weights_have_slots(tmp_path: Path, tokenizer: Any) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is for Linux and Windows")
    from helpers.teachers import save
    from unspoken.models.load import load_model
    from unspoken.recipe import Model

    # bitsandbytes on a CPU wants 64 columns, or a multiple
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 64, "num_key_value_heads": 2}
    name = str(save(tmp_path / "model", tokenizer, **sizes))
    model = load_model(Model(name=name, quantization="nf4"), tokenizer, purpose="ask")
    assert fits(model)
    prompts = prompts_of((3, 2, 5, 1))
    expected = [generated(model, prompt) for prompt in prompts]
    for batch_size in (3, 1):
        assert [one.token_ids for one in all_of(model, prompts, batch_size)] == expected
