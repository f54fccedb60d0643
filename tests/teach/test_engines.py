from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from helpers.patience import Deadline
from helpers.servers import FakeServer, openai_engine
from helpers.teachers import CHAT, build, save
from unspoken.cli.main import call, main
from unspoken.cli.merge import merge
from unspoken.common.errors import DataError, ModelError, OutputExistsError, RecipeError
from unspoken.common.files import write_text
from unspoken.measure.decode import Draws, StopTexts, decode
from unspoken.measure.sampling import Sampling
from unspoken.models.card import ModelCard
from unspoken.teach.engines import EngineError, Prompt, Request, Usage, without_system
from unspoken.teach.engines.budget import Budget, Limits, Unanswered
from unspoken.teach.engines.make import EngineOptions, make_engine
from unspoken.teach.engines.openai import OpenAIEngine
from unspoken.teach.engines.server import Pace, Secret
from unspoken.teach.engines.transformers import TransformersEngine, transformers_engine
from unspoken.teach.prompts import INSTRUCTION
from unspoken.teach.traces.settings import settings_path
from unspoken.teach.traces.write import generate_traces

NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHAT
QUESTIONS = [{"question": "1" * (n % 7 + 1) + " * 2", "answer": "2"} for n in range(20)]
KEY = "sk-planted-0123456789"


def engine_of(model: Any, tokenizer: Any, **options: Any) -> TransformersEngine:
    return TransformersEngine(lambda: model, tokenizer, model="tiny", **options)


def requests_of(texts: list[str]) -> list[Request]:
    return [
        Request(f"{n}#0", n, 0, {"question": text}, Prompt(text=text), seed=n)
        for n, text in enumerate(texts)
    ]


def answers(engine: Any, requests: list[Request], sampling: Sampling, **options: Any) -> Any:
    arguments = {
        "skip": set(),
        "used": Usage(),
        "stopping": lambda: False,
        "wrote": lambda _: None,
        **options,
    }
    return dict(engine.generate(requests, sampling, **arguments))


def records_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- transformers -------------------------------------------------------------------------------


@pytest.mark.parametrize("model_type", ["gpt2", "qwen2"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_batches_answer_as_one_at_a_time(
    model_type: str, temperature: float, tokenizer: Any
) -> None:
    model = build(model_type, tokenizer)
    requests = requests_of(["1" * (n % 7 + 1) for n in range(20)])
    sampling = Sampling(12, temperature, top_p=0.9 if temperature > 0 else 1.0)
    together = answers(engine_of(model, tokenizer, batch_size=6), requests, sampling)
    alone = answers(engine_of(model, tokenizer, batch_size=1), requests, sampling)
    assert together == alone
    assert len({reply.text for reply in together.values()}) > 1
    assert all(0 < reply.num_tokens <= 12 for reply in together.values())


def test_drawn_tokens_follow_the_probabilities(tokenizer: Any) -> None:
    model = build("gpt2", tokenizer, initializer_range=0.2)
    settings: dict[str, Any] = {"eos_token_id": 1, "pad_token_id": 0, "max_new_tokens": 1}
    with torch.inference_mode():
        scores = model.eval()(torch.tensor([[7]])).logits[0, -1]
    many = [[7]] * 4000
    for temperature, top_p in ((1.0, 1.0), (0.5, 0.6)):
        expected = (scores / temperature).softmax(-1)
        if top_p < 1:
            order = expected.argsort(descending=True)
            before = expected[order].cumsum(0) - expected[order]
            expected[order[before >= top_p]] = 0
            expected /= expected.sum()
        draws = Draws(temperature, top_p, range(4000))
        drawn = decode(model, many, draws=draws, **settings)
        tokens = torch.tensor([(c.token_ids or [1])[0] for c in drawn])
        found = torch.bincount(tokens, minlength=len(expected)) / 4000
        assert (found - expected).abs().max() < 0.03
        assert found[expected == 0].sum() == 0


def test_a_stop_text_ends_a_reply_and_is_cut_off(tokenizer: Any) -> None:
    model = build("gpt2", tokenizer)
    requests = requests_of(["1" * (n % 7 + 1) for n in range(9)])
    whole = answers(engine_of(model, tokenizer), requests, Sampling(max_new_tokens=30))
    stop = whole[0].text[4:6]
    cut = answers(engine_of(model, tokenizer), requests, Sampling(max_new_tokens=30, stop=(stop,)))
    assert cut[0].stopped
    assert 1 < cut[0].num_tokens <= 8
    for number, reply in cut.items():
        place = whole[number].text.find(stop)
        assert reply.text == (whole[number].text[:place] if place >= 0 else whole[number].text)
        assert reply.stopped == (place >= 0 or whole[number].stopped)
    criterion = StopTexts(("\nQ:",), tokenizer)
    ids = tokenizer("1\nQ: 2")["input_ids"]
    alone = decode(
        _Parrot(ids), [[5]], eos_token_id=1, pad_token_id=0, max_new_tokens=9, stop=criterion
    )
    assert alone[0].token_ids == ids[:4]
    assert (alone[0].num_tokens, alone[0].stopped) == (4, True)


class _Parrot(torch.nn.Module):
    """Writes the same tokens for every prompt, and runs out of memory above a batch size."""

    def __init__(self, ids: list[int], fits: int = 1_000) -> None:
        super().__init__()
        self.ids = ids
        self.fits = fits
        self.sizes: list[int] = []
        self.device = torch.device("cpu")
        self.config = SimpleNamespace(max_position_embeddings=512)
        self.generation_config = SimpleNamespace(eos_token_id=[1, 1])

    def generate(self, input_ids: torch.Tensor, **options: Any) -> torch.Tensor:
        self.sizes.append(len(input_ids))
        if len(input_ids) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        for token in self.ids:
            column = torch.full((len(input_ids), 1), token)
            input_ids = torch.cat([input_ids, column], dim=1)
            if all(criterion(input_ids, None).all() for criterion in options["stopping_criteria"]):
                break
        return input_ids


def test_memory_running_out_halves_the_batch_and_goes_on(
    tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model = _Parrot([5, 6], fits=3)
    sampling = Sampling(max_new_tokens=4, stop=("x",))
    replies = answers(engine_of(model, tokenizer, batch_size=8), requests_of(["1"] * 10), sampling)
    assert sorted(replies) == list(range(10))
    assert model.sizes == [8, 4, 2, 2, 2, 2, 2]
    assert "going on with 4 at once" in caplog.text
    with pytest.raises(EngineError, match="question 0: memory ran out with this prompt of 1 token"):
        answers(engine_of(_Parrot([5], fits=0), tokenizer), requests_of(["1"]), sampling)


def test_a_chunk_that_is_half_done_is_computed_whole(tokenizer: Any) -> None:
    model = _Parrot([5, 6])
    engine = engine_of(model, tokenizer, batch_size=1)  # four batches are a chunk
    sampling = Sampling(max_new_tokens=4, stop=("x",))
    requests = requests_of(["1" * 9, "1", "1", "1", "1", "1", "1", "1"])
    replies = answers(engine, requests, sampling, skip={0, 1, 2, 3, 5})
    assert sorted(replies) == [4, 6, 7]
    assert model.sizes == [1, 1, 1, 1]
    never = TransformersEngine(lambda: pytest.fail("loaded"), tokenizer)
    assert answers(never, requests, sampling, skip=set(range(8))) == {}


def test_a_prompt_that_is_too_long_is_named(tokenizer: Any) -> None:
    model = build("gpt2", tokenizer, n_positions=32)
    engine = engine_of(model, tokenizer)
    fits = answers(engine, requests_of(["1" * 30]), Sampling(max_new_tokens=50))
    assert fits[0].num_tokens <= 2
    with pytest.raises(ModelError, match=r"question 0: found a prompt of 32 tokens"):
        answers(engine, requests_of(["1" * 32]), Sampling())


def test_the_prompt_fits_the_teacher(tmp_path: Path, tokenizer: Any) -> None:
    plain = transformers_engine(save(tmp_path / "plain", tokenizer))
    chat = transformers_engine(save(tmp_path / "chat", tokenizer, CHAT))
    assert (plain.style, chat.style) == ("plain", "chat")
    messages = ({"role": "system", "content": "S"}, {"role": "user", "content": "Q"})
    asked = Prompt(messages=messages)  # pyright: ignore
    assert tokenizer.decode(chat.encode(asked)) == "[system]S\n[user]Q\n[assistant]"
    narrow = transformers_engine(save(tmp_path / "narrow", tokenizer, NO_SYSTEM))
    assert tokenizer.decode(narrow.encode(asked)) == "[user]S\n\nQ\n[assistant]"
    assert without_system(messages[1:]) == messages[1:]  # pyright: ignore
    with pytest.raises(ModelError, match="no chat template"):
        transformers_engine(tmp_path / "plain", prompt="chat")
    with pytest.raises(ModelError, match="no unspoken"):
        transformers_engine(tmp_path / "plain", prompt="trained")
    ModelCard("compact", 0, 8, 1, "").write(tmp_path / "chat")
    trained = transformers_engine(tmp_path / "chat")
    assert trained.style == "trained"
    assert tokenizer.decode(trained.encode(Prompt(text="1 * 2"))) == "1*2="


def test_a_teacher_is_recognized_by_its_weights(tmp_path: Path, tokenizer: Any) -> None:
    one = transformers_engine(save(tmp_path / "one", tokenizer)).settings()
    same = transformers_engine(save(tmp_path / "same", tokenizer)).settings()
    model = build("llama", tokenizer)
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1
    model.save_pretrained(tmp_path / "same")
    other = transformers_engine(tmp_path / "same").settings()
    assert one == same != other
    with pytest.raises(ModelError, match="no such folder, and no such model"):
        transformers_engine(str(tmp_path / "missing"))
    with pytest.raises(ModelError, match=r"no config\.json"):
        transformers_engine(tmp_path)


def test_a_teacher_is_loaded_in_its_revision_with_its_tokenizer_and_attention(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    cache = tmp_path / "models--unspoken--teacher"
    for commit, branch in (("1" * 40, "main"), ("2" * 40, "v2")):
        save(cache / "snapshots" / commit, tokenizer, CHAT if branch == "v2" else None)
        write_text(cache / "refs" / branch, commit)
    other = save(tmp_path / "tokenizer", tokenizer)
    assert transformers_engine("unspoken/teacher").style == "plain"
    newer = transformers_engine("unspoken/teacher", revision="v2")
    assert newer.style == "chat"
    engine = transformers_engine(
        "unspoken/teacher", revision="v2", tokenizer_name=str(other), attn_implementation="eager"
    )
    assert engine.style == "plain"  # the tokenizer in the other folder has no chat template
    assert getattr(engine.loaded_model().config, "_attn_implementation") == "eager"  # noqa: B009
    assert {
        "tokenizer",
        "attn_implementation",
    } == engine.settings().keys() - newer.settings().keys()
    with pytest.raises(ModelError, match="in revision 'v3': no such folder, and no such model"):
        transformers_engine("unspoken/teacher", revision="v3")


def test_a_teacher_in_four_bits_is_another_teacher(tmp_path: Path, tokenizer: Any) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is for Linux and Windows")
    from bitsandbytes.nn import Linear4bit

    # bitsandbytes on a CPU wants 64 columns, or a multiple
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 64, "num_key_value_heads": 2}
    folder = save(tmp_path / "teacher", tokenizer, **sizes)
    output = tmp_path / "traces.jsonl"
    sampling = Sampling(max_new_tokens=4)
    engine = transformers_engine(folder, quantization="nf4")
    summary = generate_traces(engine, QUESTIONS[:3], output, sampling=sampling)
    assert summary.num_written == 3
    assert any(isinstance(module, Linear4bit) for module in engine.loaded_model().modules())
    assert json.loads(settings_path(output).read_text())["settings"]["quantization"] == "nf4"
    with pytest.raises(OutputExistsError, match="quantization: 'nf4' then, None now"):
        generate_traces(transformers_engine(folder), QUESTIONS[:3], output, sampling=sampling)


def test_four_bits_without_bitsandbytes_say_what_to_do(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = transformers_engine(save(tmp_path / "teacher", tokenizer), quantization="nf4")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "bitsandbytes" else find(name)
    )
    with pytest.raises(RecipeError, match=r"^quantization: found nf4 without bitsandbytes"):
        answers(engine, requests_of(["1"]), Sampling())


def test_memory_that_runs_out_while_loading_says_what_to_do(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    engine = transformers_engine(save(tmp_path / "teacher", tokenizer))
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", load)
    with pytest.raises(ModelError, match=r"while it was loaded.*quantization=nf4"):
        answers(engine, requests_of(["1"]), Sampling())


def save_adapter(folder: Path, base: Path) -> Path:
    """An adapter that changes what its base model says."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(3)
    get_peft_model(model, config).save_pretrained(str(folder))
    return folder


def test_a_teacher_may_be_an_adapter(tmp_path: Path, tokenizer: Any) -> None:
    base = save(tmp_path / "base", tokenizer, CHAT)
    adapter = save_adapter(tmp_path / "adapter", base)
    engine = transformers_engine(adapter)
    assert engine.style == "chat"  # the tokenizer is its base's
    sampling, requests = Sampling(max_new_tokens=12), requests_of(["1" * 5, "2 * 3", "7"])
    plain = answers(transformers_engine(base, prompt="plain"), requests, sampling)
    adapted = answers(transformers_engine(adapter, prompt="plain"), requests, sampling)
    assert {n: reply.text for n, reply in plain.items()} != {
        n: reply.text for n, reply in adapted.items()
    }
    before = engine.settings()
    other = build("llama", tokenizer)
    with torch.no_grad():
        other.lm_head.weight[0, 0] += 1
    other.save_pretrained(base)
    assert transformers_engine(adapter).settings() != before
    shutil.rmtree(base)
    with pytest.raises(ModelError, match=r"found an adapter of .*base, which is not on this mach"):
        transformers_engine(adapter)


def test_generation_settings_of_a_teacher_do_not_bend_its_answers(
    tmp_path: Path, tokenizer: Any
) -> None:
    folder = save(tmp_path / "teacher", tokenizer)
    sampling, requests = Sampling(max_new_tokens=12), requests_of(["1" * 5, "2 * 3", "7"])
    expected = answers(transformers_engine(folder, prompt="plain"), requests, sampling)
    shipped = {"repetition_penalty": 5.0, "temperature": 0.7, "do_sample": True, "eos_token_id": 9}
    (folder / "generation_config.json").write_text(json.dumps(shipped))
    engine = transformers_engine(folder, prompt="plain")
    found = answers(engine, requests, sampling)
    assert 9 in engine.end_tokens()
    end = tokenizer.decode([9])
    assert [reply.text for reply in found.values()] == [
        reply.text.partition(end)[0].strip() for reply in expected.values()
    ]


# --- openai -------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.close()


def test_a_server_is_asked_as_the_api_says(server: FakeServer, tmp_path: Path) -> None:
    chat, plain = tmp_path / "chat.jsonl", tmp_path / "plain.jsonl"
    generate_traces(openai_engine(server.url), QUESTIONS[:3], chat)
    body = server.bodies[0]
    assert body["path"] == "/v1/chat/completions"
    assert body["messages"][0] == {"role": "system", "content": INSTRUCTION}
    assert body["messages"][1]["role"] == "user"
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("tiny", 512, 0.0)
    assert records_of(chat)[0]["cot"] == "2 * 1\nFinal Answer: 2\nQ: next"
    warm = Sampling(max_new_tokens=9, temperature=0.5, top_p=0.9)
    generate_traces(openai_engine(server.url, style="plain"), QUESTIONS[:3], plain, sampling=warm)
    body = server.bodies[3]
    assert body["path"] == "/v1/completions"
    assert body["prompt"].startswith(INSTRUCTION)
    assert (body["top_p"], body["stop"]) == (0.9, ["\nQ:"])
    assert len({body["seed"] for body in server.bodies[3:]}) == 3
    record = records_of(plain)[0]
    assert record["cot"].endswith("Final Answer: 2")
    assert (record["num_prompt_tokens"], record["num_tokens"]) == (100, 50)
    assert (record["stopped"], record["engine"], record["model"]) == (True, "openai", "tiny")


def test_passing_faults_are_bridged_and_nothing_is_doubled(
    server: FakeServer, tmp_path: Path
) -> None:
    server.faults = {
        0: (500, {}, "oops"),
        1: (503, {}, "<html>"),
        3: (429, {"Retry-After": "0.4"}, "slow down"),
        5: (200, {}, '{"choices": [{"mess'),
        6: (502, {}, ""),
    }
    begin = time.perf_counter()
    output = tmp_path / "traces.jsonl"
    summary = generate_traces(openai_engine(server.url, concurrency=4), QUESTIONS, output)
    assert time.perf_counter() - begin > 0.4
    assert len(server.bodies) == 25
    assert 1 < server.most_open <= 4
    assert [record["id"] for record in records_of(output)] == [f"{n}#0" for n in range(20)]
    assert summary.num_written == 20


def test_a_server_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    with pytest.raises(EngineError, match="no answer in 3 tries, the last one: ConnectionRefused"):
        generate_traces(openai_engine(url, max_attempts=3), QUESTIONS, tmp_path / "none.jsonl")
    later: list[FakeServer] = []
    timer = threading.Timer(0.3, lambda: later.append(FakeServer(port)))
    timer.start()
    summary = generate_traces(openai_engine(url), QUESTIONS, tmp_path / "traces.jsonl")
    later[0].close()
    assert summary.num_written == 20


def test_a_server_that_dies_midway_costs_nothing_twice(tmp_path: Path) -> None:
    first = FakeServer()
    first.faults = {n: (401, {}, "bad KEY") for n in range(9, 99)}
    output = tmp_path / "traces.jsonl"
    with pytest.raises(EngineError, match="HTTP 401"):
        generate_traces(openai_engine(first.url, concurrency=1), QUESTIONS, output)
    first.close()
    assert len(records_of(output)) == 9
    second = FakeServer()
    summary = generate_traces(openai_engine(second.url), QUESTIONS, output)
    second.close()
    assert (summary.num_done_before, len(second.bodies)) == (9, 11)
    assert [record["index"] for record in records_of(output)] == list(range(20))


def test_refused_questions_do_not_hold_up_the_others(server: FakeServer, tmp_path: Path) -> None:
    def too_long(body: dict[str, Any]) -> str | None:
        return "context length" if body["messages"][-1]["content"] == "1111111 * 2" else None

    server.refuse = too_long
    output = tmp_path / "traces.jsonl"
    with pytest.raises(EngineError, match=r"2 of 20 samples were refused \(.*context length"):
        generate_traces(openai_engine(server.url), QUESTIONS, output)
    assert len(records_of(output)) == 18
    server.refuse = lambda body: "no such parameter"
    with pytest.raises(EngineError, match="HTTP 400: no such parameter"):
        generate_traces(openai_engine(server.url), QUESTIONS, tmp_path / "none.jsonl")
    assert len(server.bodies) < 50


def test_differences_between_servers_are_bridged(server: FakeServer, tmp_path: Path) -> None:
    def picky(body: dict[str, Any]) -> str | None:
        if "max_tokens" in body:
            return "Unsupported parameter: use 'max_completion_tokens' instead."
        return "System role not supported" if body["messages"][0]["role"] == "system" else None

    server.refuse = picky
    generate_traces(openai_engine(server.url, concurrency=2), QUESTIONS, tmp_path / "traces.jsonl")
    (message,) = server.bodies[-1]["messages"]
    assert message["content"].startswith(f"{INSTRUCTION}\n\n1")
    assert len(server.bodies) <= 20 + 4


def test_separate_reasoning_becomes_a_think_block(server: FakeServer, tmp_path: Path) -> None:
    message = {"reasoning_content": "hm", "content": "Final Answer: 2"}
    choices = [{"message": message, "finish_reason": "length"}]
    server.faults = {0: (200, {}, json.dumps({"choices": choices}))}
    generate_traces(openai_engine(server.url), QUESTIONS[:1], tmp_path / "traces.jsonl")
    (record,) = records_of(tmp_path / "traces.jsonl")
    assert record["cot"] == "<think>\nhm\n</think>\n\nFinal Answer: 2"
    assert (record["stopped"], record["num_tokens"]) == (False, None)
    server.faults = {1: (200, {}, "{}")}
    with pytest.raises(EngineError, match=r"without choices\[0\]"):
        generate_traces(openai_engine(server.url), QUESTIONS[:1], tmp_path / "other.jsonl")


#: In each answer 50 tokens are written and counted; a request may write 60.
PRICES = {"price_prompt": 0, "price_completion": 2_000}
ANSWERED, MOST = 0.1, 0.12


@pytest.mark.parametrize("concurrency", [1, 4])
def test_what_may_be_charged_without_an_answer_counts_also_in_the_next_run(
    server: FakeServer, tmp_path: Path, concurrency: int
) -> None:
    gave_up = {n for n in range(200) if n % 3}  # two of three, behind a gateway
    server.faults = {n: (504, {}, "upstream timed out") for n in gave_up}
    output = tmp_path / "traces.jsonl"
    charged = 0.0
    for limit in (1.0, 1.0, 2.0):
        with pytest.raises(EngineError, match=r"max_cost=.* go beyond") as caught:
            generate_traces(
                openai_engine(server.url, max_cost=limit, concurrency=concurrency, **PRICES),
                QUESTIONS,
                output,
                sampling=Sampling(max_new_tokens=60),
            )
        lost = len(gave_up & set(range(len(server.bodies))))
        before, charged = charged, MOST * lost + ANSWERED * (len(server.bodies) - lost)
        assert limit - 2 * MOST * concurrency < charged <= limit
        assert "\n" not in str(caught.value)
    assert before < charged  # a higher limit goes on
    server.faults = {}
    summary = generate_traces(
        openai_engine(server.url, **PRICES), QUESTIONS, output, sampling=Sampling(60)
    )
    assert summary.cost == pytest.approx(20 * ANSWERED + MOST * lost)


def test_what_a_server_does_not_count_costs_the_most_also_in_the_next_run(
    server: FakeServer, tmp_path: Path
) -> None:
    server.usage = False
    for _ in range(2):
        with pytest.raises(EngineError, match=r"max_cost="):
            generate_traces(
                openai_engine(server.url, max_cost=1.0, **PRICES),
                QUESTIONS,
                tmp_path / "traces.jsonl",
                sampling=Sampling(max_new_tokens=60),
            )
        assert len(server.bodies) == 8


def test_what_was_under_way_at_a_kill_counts_as_charged(tmp_path: Path) -> None:
    file = tmp_path / "unanswered.json"
    budget = Budget(1.0, 0, 2_000, Usage(), Unanswered(file))
    assert budget.reserve(Usage(10, 60))
    assert budget.reserve(Usage(10, 60))
    budget.settle(Usage(10, 60), None)
    assert Unanswered(file).before == Usage(20, 120)  # a kill: nobody has told that one is settled
    budget.close()
    assert Unanswered(file).before == Usage()
    assert not file.exists()
    assert budget.lose(Usage(10, 60)) is False  # too late to be counted
    file.write_text('{"version": 1, "num_tokens": "x"}')
    with pytest.raises(DataError, match=r"unanswered.json: num_tokens: "):
        Unanswered(file)


def test_overwriting_forgets_what_was_spent(server: FakeServer, tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    server.faults = {0: (504, {}, "timed out")}
    for overwrite, lost in ((False, 1), (True, 0)):
        engine = openai_engine(server.url, **PRICES)
        summary = generate_traces(
            engine, QUESTIONS[:2], output, sampling=Sampling(60), overwrite=overwrite
        )
        assert summary.cost == pytest.approx(2 * ANSWERED + lost * MOST)


def test_the_spend_limit_is_never_passed_and_counts_earlier_runs(
    server: FakeServer, tmp_path: Path
) -> None:
    output = tmp_path / "traces.jsonl"
    prices = {"price_prompt": 1_000, "price_completion": 2_000}  # 0.2 for each answer
    sampling = Sampling(max_new_tokens=60)
    for limit in (1.5, 2.5):
        with pytest.raises(EngineError, match=r"max_cost=.* samples are missing"):
            generate_traces(
                openai_engine(server.url, max_cost=limit, **prices),
                QUESTIONS,
                output,
                sampling=sampling,
            )
        spent = 0.2 * len(server.bodies)
        assert limit - 0.5 < spent <= limit
        assert len(records_of(output)) == len(server.bodies)
    summary = generate_traces(
        openai_engine(server.url, **prices), QUESTIONS, output, sampling=sampling
    )
    assert summary.cost == pytest.approx(4.0)
    with pytest.raises(RecipeError, match="max_cost: found it without price_prompt"):
        openai_engine(server.url, max_cost=1)
    with pytest.raises(RecipeError, match="concurrency: found 0"):
        openai_engine(server.url, concurrency=0)


def test_requests_are_spread_over_the_minute() -> None:
    pace = Pace(600)
    delays = [pace.delay_s() for _ in range(4)]
    assert delays == pytest.approx([0, 0.1, 0.2, 0.3], abs=0.05)
    pace.hold(5)
    assert pace.delay_s() == pytest.approx(5, abs=0.05)
    assert [Pace(None).delay_s() for _ in range(2)] == [0, 0]


def test_the_key_is_nowhere_but_in_the_header(
    server: FakeServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    server.faults = {0: (500, {}, "KEY"), 1: (429, {}, "KEY"), 22: (401, {}, "bad KEY")}
    engine = openai_engine(server.url, api_key_env="MY_KEY", concurrency=1)
    generate_traces(engine, QUESTIONS, tmp_path / "traces.jsonl", progress="generate")
    assert server.keys == {f"Bearer {KEY}"}
    with pytest.raises(EngineError) as caught:
        generate_traces(engine, QUESTIONS, tmp_path / "other.jsonl")
    seen = [repr(caught.value), repr(caught.value.__cause__), caplog.text, repr(vars(engine))]
    seen += [repr(vars(engine.server)), *capsys.readouterr()]
    seen += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert "try 1: HTTP 500: Bearer ***" in caplog.text
    assert "environment variable MY_KEY" in str(caught.value)
    assert not [text for text in seen if KEY in text]
    monkeypatch.setenv("MY_KEY", f"{KEY}\nX-Other: 1")
    with pytest.raises(EngineError, match="one line of ASCII") as broken:
        openai_engine(server.url, api_key_env="MY_KEY")
    assert KEY not in str(broken.value)
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(EngineError, match="found no such environment variable"):
        openai_engine(server.url, api_key_env="MY_KEY")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert Secret("OPENAI_API_KEY", required=False).headers() == {}
    for url in (f"http://user:{KEY}@host/v1", f"http://host/v1?key={KEY}", "host:80", "http://h:x"):
        with pytest.raises(EngineError, match="base_url") as bad:
            openai_engine(url)
        assert KEY not in str(bad.value)


def test_a_redirect_does_not_carry_the_key_away(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    thief = FakeServer()
    server.faults = {n: (302, {"Location": thief.url}, "") for n in range(9)}
    with pytest.raises(EngineError, match="HTTP 302"):
        generate_traces(
            openai_engine(server.url, api_key_env="MY_KEY"), QUESTIONS, tmp_path / "traces.jsonl"
        )
    thief.close()
    assert not thief.bodies


# --- the command --------------------------------------------------------------------------------


def test_the_seeds_command_works(
    tmp_path: Path, tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = save(tmp_path / "teacher", tokenizer, CHAT)
    questions = tmp_path / "raw_questions.jsonl"
    questions.write_text("".join(f"{json.dumps(record)}\n" for record in QUESTIONS))
    output = tmp_path / "cot_dataset.jsonl"
    words = ["generate", "--teacher_dir", str(teacher), "--input", str(questions)]
    words += ["--max_new_tokens", "16", "--output"]
    call([*words, str(output), "--start_index", "2", "--num_samples", "5"])
    assert [record["index"] for record in records_of(output)] == [2, 3, 4, 5, 6]
    assert "5 of 5 traces" in capsys.readouterr().out
    call([*words, str(output)])
    for number in (1, 2):
        call([*words, str(tmp_path / "part.jsonl"), "--shard", f"{number}/2"])
    parts = sorted(tmp_path.glob("part-*.jsonl"))
    merge(*parts, output=tmp_path / "merged.jsonl")
    assert "merged.jsonl: 20 traces" in capsys.readouterr().out
    merged = [record["cot"] for record in records_of(tmp_path / "merged.jsonl")]
    assert merged == [record["cot"] for record in records_of(output)]
    with pytest.raises(RecipeError, match="shard: found '3'"):
        call([*words, str(tmp_path / "bad.jsonl"), "--shard", "3"])


def test_flags_reach_the_engine_by_both_spellings(
    tmp_path: Path, tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = save(tmp_path / "teacher", tokenizer, CHAT)
    table = tmp_path / "questions.csv"
    table.write_text("problem,solution,topic\n1 + 1,2,sums\n1 + 2,3,sums\n")
    output = tmp_path / "traces.jsonl"
    flags = f"generate --teacher_dir {teacher} --input {table} --output {output} --batch-size 1"
    more = "--question_field problem --answer-field solution --prompt plain --max_new_tokens 4"
    main([*flags.split(), *more.split(), "--trust_remote_code"])
    assert "2 of 2 traces" in capsys.readouterr().out
    records = records_of(output)
    assert [record["answer"] for record in records] == ["2", "3"]
    assert records[0]["topic"] == "sums"
    settings = json.loads(settings_path(output).read_text())["settings"]
    assert (settings["prompt"], settings["max_new_tokens"]) == ("plain", 4)
    with pytest.raises(SystemExit) as ended:
        main([*flags.split(), "--prompt", "plain"])
    assert ended.value.code == 2
    assert "found the fields problem, solution, topic" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("engine", "options", "flag"),
    [
        ("transformers", {}, "teacher_dir: found nothing"),
        ("transformers", {"teacher_dir": "t", "base_url": "http://localhost/v1"}, "base_url"),
        ("openai", {}, "base_url: found nothing"),
        ("openai", {"base_url": "http://localhost/v1"}, "model: found nothing"),
        ("openai", {"base_url": "http://localhost/v1", "prompt": "trained"}, "prompt"),
        ("openai", {"base_url": "http://localhost/v1", "quantization": "nf4"}, "quantization"),
        ("openai", {"base_url": "http://localhost/v1", "revision": "main"}, "revision"),
        ("worked", {"max_cost": 1.0}, "max_cost"),
        ("worked", {"prompt": "chat"}, "prompt"),
    ],
)
def test_an_option_that_is_missing_or_not_for_this_engine_is_named(
    engine: Any, options: dict[str, Any], flag: str
) -> None:
    with pytest.raises(RecipeError, match=f"^{flag}"):
        make_engine(engine, EngineOptions(**options))


@pytest.mark.integration
def test_making_an_engine_imports_nothing_heavy() -> None:
    code = (
        "import sys; from unspoken.teach.engines.make import make_engine; make_engine('worked'); "
        "print([name for name in ('torch', 'transformers', 'cyclopts') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.integration
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "openai")),
    reason="the extra 'serving' of transformers (fastapi, uvicorn, openai) is not installed",
)
def test_a_real_server_writes_what_the_transformers_engine_writes(
    tmp_path: Path, tokenizer: Any
) -> None:
    """Must show 4: equal greedy traces, and a server killed midway loses and doubles nothing."""
    teacher = save(tmp_path / "teacher", tokenizer, CHAT)
    sampling = Sampling(max_new_tokens=24)
    with served(teacher) as (url, restart):
        for style in ("chat", "plain"):
            local, remote = tmp_path / f"local-{style}.jsonl", tmp_path / f"remote-{style}.jsonl"
            generate_traces(
                transformers_engine(teacher, prompt=style), QUESTIONS, local, sampling=sampling
            )
            killed_at: list[int] = []
            engine = OpenAIEngine(url, str(teacher), style=style, limits=Limits(concurrency=2))
            killer = threading.Thread(target=_kill_midway, args=(remote, restart, killed_at))
            killer.start()
            summary = generate_traces(engine, QUESTIONS, remote, sampling=sampling)
            killer.join()
            ours, theirs = records_of(local), records_of(remote)
            print(f"{style}: server killed after {killed_at} of 20 traces, the rest came later")
            assert 5 <= killed_at[0] < 20
            assert summary.num_written == 20
            assert [record["id"] for record in theirs] == [f"{n}#0" for n in range(20)]
            assert [record["cot"] for record in theirs] == [record["cot"] for record in ours]
            assert len({record["cot"] for record in ours}) > 1


def _kill_midway(output: Path, restart: Callable[[], None], killed_at: list[int]) -> None:
    """Kills the server once five traces are there; notes how many were when it was gone."""
    deadline = Deadline(120)
    while not deadline.has_passed:
        if output.exists() and output.read_bytes().count(b"\n") >= 5:
            restart()
            killed_at.append(output.read_bytes().count(b"\n"))
            return
        time.sleep(0.01)


def is_open(port: int) -> bool:
    """Whether somebody listens at a port of this machine."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def served(teacher: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """A `transformers serve` on loopback, and what kills it and starts another."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("transformers")), "serve", str(teacher),
        "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32",
    ]  # fmt: skip
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        if running:
            running[-1].kill()
            running[-1].wait()
        running.append(
            subprocess.Popen(
                command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )

    start()
    try:
        deadline = Deadline(120)
        while not is_open(port):  # nobody who never answered is waited for
            assert not deadline.has_passed and running[-1].poll() is None
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1", start
    finally:
        running[-1].kill()
        running[-1].wait()
