"""One model is asked as people ask, and its answer comes token by token."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.memory import make_asked_run, save_memory
from unspoken.common.errors import DataError, ModelError
from unspoken.data.notation import Notation, ReversedDigits
from unspoken.measure.ask import load, require_answer, take_turns
from unspoken.measure.decode import Decoder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_asked_run(tmp_path_factory.mktemp("asked") / "run")


def test_a_question_is_put_into_the_form_of_the_task_and_its_answer_read_back(run: Path) -> None:
    reply = load(run).ask("what is 123 times 45?")
    assert (reply.question, reply.written, reply.answer) == ("3 2 1 * 5 4", "#53550", "5535")
    assert (reply.thought, reply.num_tokens, reply.stopped) == ("", 7, True)
    assert reply.correct and reply.seconds > 0 and str(reply) == "5535"


def test_the_model_that_writes_its_thought_shows_it(run: Path) -> None:
    reply = load(f"{run}:explicit").ask("111*22")
    assert (reply.thought, reply.answer, reply.num_tokens) == ("2220+02220", "2442", 17)


def test_a_level_of_removal_is_asked(run: Path) -> None:
    model = load(f"{run}:level-7")
    assert (model.title, model.ask("123*45").written) == ("level-7", "940#53550")


def test_what_is_wrong_is_known_to_be(run: Path) -> None:
    reply = load(run).ask("321*54")
    assert (reply.correct, reply.right_answer) == (False, "17334")


def test_the_answer_comes_token_by_token(run: Path) -> None:
    states = list(load(run).write("123*45"))
    texts = [state.written for state in states]
    assert texts[:3] == ["#", "#5", "#53"]
    assert [state.num_tokens for state in states] == [1, 2, 3, 4, 5, 6, 7, 7]
    assert [state.answer for state in states] == [""] * 7 + ["5535"]
    seconds = [state.seconds for state in states]
    assert seconds == sorted(seconds)


def test_token_by_token_is_what_the_decoder_writes_at_once(run: Path) -> None:
    model: Any = load(f"{run}:explicit")
    prompt, end = model.tokenizer("321*54=")["input_ids"], model.tokenizer.eos_token_id
    for limit in (1, 5, 30):
        decoder = Decoder(model.model, eos_token_id=end, pad_token_id=0, batch_size=1)
        whole = dict(decoder.stream([prompt], limit))[0]
        states = list(decoder.write(prompt, limit))
        assert states[-1] == whole
        assert [len(state.token_ids) for state in states[:3]] == [1, 2, 3][: len(states)]


def test_threads_load_and_ask_at_the_same_time_and_get_their_own_answers(run: Path) -> None:
    questions = ["123*45", "111*22", "321*54"] * 8
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda number: load(f"{run}:explicit"), range(8)))
        model = models[0]
        alone = [model.ask(question).written for question in questions]
        assert [reply.written for reply in pool.map(model.ask, questions)] == alone
    assert len(set(alone)) > 1


def test_answers_are_written_in_turns_by_one_model_and_do_not_mix(run: Path) -> None:
    model = load(f"{run}:explicit")
    questions = ["123*45", "111*22", "321*54"]
    alone = [model.ask(question).written for question in questions]
    rounds = list(itertools.zip_longest(*map(model.write, questions)))
    last = [next(filter(None, reversed(column))) for column in zip(*rounds, strict=True)]
    assert [reply.written for reply in last] == alone


def test_signs_that_the_model_has_no_token_for_are_said(run: Path) -> None:
    model = load(run)
    with pytest.raises(DataError, match=r"with w h a t \?, for which .* needed: signs 0123456789"):
        model.ask("what?", raw=True)


def test_a_space_that_the_model_has_no_token_for_is_named(run: Path) -> None:
    with pytest.raises(DataError, match=r"t a space i s, for which .* needed: signs \S+; ask"):
        load(run).ask("what is", raw=True)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("question", ["", " \n"])
def test_an_empty_question_is_said(run: Path, question: str, raw: bool) -> None:
    with pytest.raises(DataError, match="question: found an empty one"):
        load(run).ask(question, raw=raw)


@pytest.mark.parametrize("question", [None, ["123*45", "111*22"]])
def test_what_is_no_text_is_said(run: Path, question: Any) -> None:
    with pytest.raises(DataError, match=r"needed: one text; ask .* many with unsp"):
        load(run).ask(question)


def test_weights_are_loaded_in_a_dtype_of_torch(run: Path) -> None:
    assert load(run, dtype=torch.bfloat16).model.dtype is torch.bfloat16


def test_signs_of_other_scripts_are_put_in_plain_ones_where_the_model_has_only_these(
    tmp_path: Path,
) -> None:
    model = load(save_memory(tmp_path / "model", {"1+2=": "#3"}))
    for typed in ("１＋２", "１＋２＝", "١+٢"):
        assert model.ask(typed).question == "1+2"
    model.notation = Notation()  # of a task whose questions stay as they are typed
    assert (model.ask("１＋２").question, model.ask("1+2").question) == ("1+2", "1+2")
    with pytest.raises(DataError, match=r"found '①\+２' with ① ２, for which"):
        model.ask("①+２")


def test_a_prompt_that_is_too_long_is_said(run: Path) -> None:
    with pytest.raises(DataError, match="the model has 32 positions"):
        load(run).ask("1" * 40, raw=True)


def test_raw_questions_and_answers_stay_as_they_are(run: Path) -> None:
    reply = load(run).ask("321*54", raw=True)
    assert (reply.answer, reply.correct) == ("#53550", None)


def test_without_an_answer_there_is_an_error_and_not_what_was_written(tmp_path: Path) -> None:
    model = load(save_memory(tmp_path / "model", {"321*54=": "###"}, task="multiplication"))
    assert isinstance(model.notation, ReversedDigits)  # as its card says
    reply = model.ask("123*45")
    assert reply.answer == ""
    with pytest.raises(ModelError, match="wrote '###', in which there is no answer"):
        require_answer(reply, model)


def test_a_model_is_warmed_up_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = load(run), []
    plain = Decoder.write

    def write(decoder: Any, prompt: Any, limit: int) -> Any:
        asked.append(limit)
        return plain(decoder, prompt, limit)

    monkeypatch.setattr(Decoder, "write", write)
    with pytest.raises(DataError):
        model.warm_up("12*3")  # what cannot be asked warms nothing
    for question in ("123*45", "111*22"):
        model.warm_up(question)
    assert asked == [2]
    assert model.ask("111*22").num_tokens == 7


def test_two_models_take_turns_and_the_one_that_is_behind_goes_on(run: Path) -> None:
    models = [load(f"{run}:explicit"), load(run)]
    states = list(take_turns(models, "123*45"))
    assert [reply.answer for reply in states[-1]] == ["5535", "5535"]
    for before, after in itertools.pairwise(states):
        changed = [n for n in (0, 1) if before[n] != after[n]]
        assert len(changed) <= 1
    first_done = next(n for n, state in enumerate(states) if any(r.answer for r in state))
    assert all(state[0].num_tokens > 0 for state in states[first_done:])  # nobody waits to the end


def test_a_model_that_is_not_here_is_not_looked_for_on_the_hub() -> None:
    with pytest.raises(ModelError, match="no such folder, and no such model was downloaded"):
        load("no/such-model", local_files_only=True)


def test_a_gguf_file_is_asked_in_its_own_chat_template(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    from helpers.gguf_files import write_gguf

    model = load(write_gguf(tmp_path / "tiny.gguf"), max_new_tokens=6)
    reply = model.ask("What is 12 + 30?")
    assert model.template.name == "chat"
    assert 0 < reply.num_tokens <= 6 and reply.correct is None


def test_what_only_generate_can_ask_comes_whole(tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    from unspoken.measure.ask import LoadedModel
    from unspoken.models.template import Template
    from unspoken.models.tokenizer import character_tokenizer

    config = MambaConfig(vocab_size=110, hidden_size=16, num_hidden_layers=1, state_size=4)
    tokenizer = character_tokenizer()
    model = LoadedModel(MambaForCausalLM(config), tokenizer, Template("plain"), max_new_tokens=4)
    states = list(model.write("1+1"))
    assert [state.num_tokens for state in states] == [states[-1].num_tokens] * 2
