"""The engine that runs a teacher here: batches, draws, memory, what it loads."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from helpers.adapters import save_adapter
from helpers.teachers import CHAT, QUESTIONS, build, save
from unspoken.common.errors import ModelError, OutputExistsError, RecipeError
from unspoken.common.files import write_text
from unspoken.measure.decode import Draws, StopTexts, decode
from unspoken.measure.sampling import Sampling
from unspoken.models.card import ModelCard
from unspoken.teach.engines import EngineError, Prompt, Request, Usage, without_system
from unspoken.teach.engines.transformers import TransformersEngine, transformers_engine
from unspoken.teach.traces.settings import settings_path
from unspoken.teach.traces.write import generate_traces

NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHAT


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
    assert tokenizer.decode(chat.encode([asked])[0]) == "[system]S\n[user]Q\n[assistant]"
    alone = Prompt(text="Q")
    assert chat.encode([alone, asked, alone]) == [
        chat.encode([one])[0] for one in (alone, asked, alone)
    ]
    narrow = transformers_engine(save(tmp_path / "narrow", tokenizer, NO_SYSTEM))
    assert tokenizer.decode(narrow.encode([asked])[0]) == "[user]S\n\nQ\n[assistant]"
    assert without_system(messages[1:]) == messages[1:]  # pyright: ignore
    with pytest.raises(ModelError, match="no chat template"):
        transformers_engine(tmp_path / "plain", prompt="chat")
    with pytest.raises(ModelError, match="no unspoken"):
        transformers_engine(tmp_path / "plain", prompt="trained")
    ModelCard("compact", 0, 8, 1, "").write(tmp_path / "chat")
    trained = transformers_engine(tmp_path / "chat")
    assert trained.style == "trained"
    assert tokenizer.decode(trained.encode([Prompt(text="1 * 2")])[0]) == "1*2="


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


def test_a_teacher_may_be_an_adapter(tmp_path: Path, tokenizer: Any) -> None:
    base = save(tmp_path / "base", tokenizer, CHAT)
    adapter = save_adapter(base, tmp_path / "adapter")
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
