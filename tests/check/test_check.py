from __future__ import annotations

import functools
import json
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from huggingface_hub import constants

from helpers.paths import RECIPES
from helpers.recipes import tiny_qwen2, tiny_recipe
from helpers.servers import raw_server
from unspoken.check import estimate, hub, pace
from unspoken.check.estimate import Steps, add_steps, count_likely
from unspoken.check.offline import require_models_here
from unspoken.check.recipe import check_recipe
from unspoken.common.errors import DataError, ModelError, RecipeError
from unspoken.data.tasks import arithmetic
from unspoken.parallel.world import require_processes
from unspoken.recipe import load_recipe, recipe_from
from unspoken.recipe.plan import plan
from unspoken.recipe.records import StageRecord

ARITHMETIC = {"task": "arithmetic", "num_train": 40, "num_test": 12}
SYMBOLS = "".join(map(chr, range(32, 127))) + "\n×÷−²³°€£½¼¾"
SERVER: dict[str, Any] = {
    "engine": "openai",
    "base_url": "http://localhost:9/v1",
    "model": {"name": "large"},
}

_hub_answers = hub.hub_answers.__wrapped__


def said(recipe: Any, *, is_timed: bool = False) -> str:
    return "\n".join(map(str, check_recipe(recipe, is_timed=is_timed)))


def write(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def asking(tmp_path: Path, **sections: Any) -> Any:
    """A recipe with a teacher that is asked; its own sections go over these."""
    values: dict[str, Any] = {
        "template": "qa",
        "data": None,
        "distil": {"max_steps": 5},
        "teacher": {"engine": "worked"},
        "output": str(tmp_path / "run"),
        "model": {
            "tokenizer": "characters",
            "alphabet": SYMBOLS,
            "config": {
                "model_type": "gpt2",
                "n_layer": 1,
                "n_head": 2,
                "n_embd": 16,
                "n_positions": 1024,
            },
        },
        "train": {"max_steps": 6, "batch_size": 4},
        **sections,
    }
    return recipe_from(values)


@pytest.fixture(autouse=True)
def _hub_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it; the test that is about it has one of its own."""
    monkeypatch.setattr(hub, "hub_answers", lambda: False)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_passes(path: Path) -> None:
    recipe = load_recipe(path)
    text = said(recipe)
    for model in (recipe.model, recipe.teacher and recipe.teacher.model):
        if model is not None and model.name is not None and not Path(model.name).is_dir():
            assert "not known here" in text
    if recipe.teacher is not None:
        assert "[distil] steps: at most" in text
        assert ("[internalize] steps: at most" in text) is recipe.internalize


def test_a_run_to_take_stages_from_has_to_be_there(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "run", from_run=str(tmp_path / "none"))
    with pytest.raises(RecipeError, match=r"from_run: found .*none, which has no recipe\.yaml"):
        said(recipe)


def test_what_an_earlier_run_has_done_is_told(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "run")
    assert "done there" not in said(recipe)
    for name, status in (("data", "done"), ("traces", "done"), ("distilled/1", "running")):
        record = StageRecord(status=status)  # pyright: ignore[reportArgumentType]
        record.write(tmp_path / "run" / name / "stage.json")
    assert "done there: data, traces; what has not changed since is skipped" in said(recipe)
    damaged = tmp_path / "run" / "traces" / "stage.json"
    damaged.write_text("{")
    assert "done there: data; " in said(recipe)


def test_the_numbers_of_quickstart_are_told() -> None:
    recipe = load_recipe(RECIPES / "quickstart.yaml")
    assert recipe.teacher is not None
    assert recipe.teacher.train is not None
    text = said(recipe)
    asked = recipe.data.num_train - (recipe.teacher.num_train or 0)
    assert f"teacher is asked: {asked:,} questions, all with gold answers" in text
    assert "models: teacher (from scratch), distilled, internalized" in text
    assert "tokens: prompt 7, thought 10, answer 7;" in text
    # its longest thought and answer, and 8 to spare
    assert f"at most {asked * 25:,} tokens ({asked:,} questions x 1 sample x 25 tokens)" in text
    own = recipe.teacher.train
    assert f"[teacher] steps: at most {own.max_steps:,} of {own.batch_size} examples" in text
    distil = recipe.distilling().train
    per_epoch = asked // distil.batch_size
    assert f"[distil] steps: at most {distil.max_steps:,} of {distil.batch_size}" in text
    assert f"{per_epoch:,} per epoch" in text
    both = (distil.max_steps or 0) + (recipe.train.max_steps or 0)
    assert f"no_cot as for all this together, at most {both:,}" in text


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"task": "arithmetic", "categories": ["riddles"]}, "data.categories: found"),
        ({"task": "gsm8k", "source": "nowhere"}, "nowhere: no such folder; .* correct data.source"),
        ({"train": "."}, r"data.train: \.: found a folder; .*unspoken data questions"),
    ],
)
def test_settings_are_named_as_in_the_recipe(
    tmp_path: Path, data: dict[str, Any], expected: str
) -> None:
    with pytest.raises((DataError, RecipeError), match=expected):
        said(asking(tmp_path, data=data))


def test_a_leak_in_given_questions_is_found(tmp_path: Path) -> None:
    questions = [{"question": f"{i} + 1?", "answer": str(i + 1)} for i in range(20)]
    data = {
        "train": write(tmp_path / "q.jsonl", questions),
        "test": write(tmp_path / "t.jsonl", [{"question": "7  +  1?", "answer": "8"}]),
    }
    with pytest.raises(DataError, match=r"jsonl:\d+: .* 1 in two splits.*data.allow_leaks=true"):
        said(asking(tmp_path, data=data, teacher=SERVER))


def test_a_question_that_resembles_a_test_question_is_told_before_it_is_paid_for(
    tmp_path: Path,
) -> None:
    long = "Ann buys 3 apples and 4 pears at the market on Monday morning. How many is that?"
    data = {
        "train": write(tmp_path / "q.jsonl", [{"question": f"Listen. {long}"}]),
        "test": write(tmp_path / "t.jsonl", [{"question": long, "answer": "7"}]),
    }
    assert "warning: 1 questions are like one" in said(asking(tmp_path, data=data, teacher=SERVER))


def test_a_teacher_from_scratch_must_leave_questions(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPES / "quickstart.yaml", ["teacher.num_train=79500"])
    with pytest.raises(DataError, match=r"teacher\.num_train: found 79500, but there are 79500"):
        said(recipe)


def test_a_teacher_from_scratch_needs_worked_solutions(tmp_path: Path) -> None:
    scratch = asking(tmp_path, data=ARITHMETIC).model
    records = [{"question": f"{i} + 1?", "answer": str(i + 1)} for i in range(20)]
    teacher = {"model": scratch.model_dump(), "train": {"max_steps": 2}, "num_train": 5}
    data = {"train": write(tmp_path / "q.jsonl", records)}
    with pytest.raises(DataError, match=r"q\.jsonl:1: found no thought"):
        said(asking(tmp_path, data=data, teacher=teacher))


def test_the_most_that_a_server_can_cost(tmp_path: Path) -> None:
    """Prompts cost a unit per byte, and 32 for what a server adds; then written tokens alone."""
    questions = [{"question": "a" * 10}, {"question": "b" * 30}]
    data = {"train": write(tmp_path / "q.jsonl", questions)}
    limits = {"max_new_tokens": 100, "system_prompt": "", "evaluate": False}
    prompts = {"price_prompt": 1e6, "price_completion": 0.0}
    text = said(asking(tmp_path, data=data, teacher={**SERVER, **limits, **prompts}))
    assert "cost: at most 104.00 USD: 104.00 for the traces" in text
    assert "no limit; teacher.max_cost sets one" in text
    several = {"samples_per_question": 3, "temperature": 0.7, "retries": 2, "max_cost": 599}
    written = {"price_prompt": 0.0, "price_completion": 1e6, **several}
    text = said(asking(tmp_path, data=data, teacher={**SERVER, **limits, **written}))
    assert "at most 600 tokens (2 questions x 3 samples x 100 tokens)" in text
    assert "cost: at most 1,000.00 USD: 600.00 for the traces, 400.00 for asking again" in text
    assert "is below the most that they can cost" in text
    enough = {**SERVER, **limits, **written, "max_cost": 600}
    assert "is enough in any case" in said(asking(tmp_path, data=data, teacher=enough))


def test_a_limit_without_prices_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="price"):
        said(asking(tmp_path, data=ARITHMETIC, teacher={**SERVER, "max_cost": 1.0}))


def test_a_key_is_looked_for_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = asking(
        tmp_path, data=ARITHMETIC, teacher={**SERVER, "api_key_env": "UNSPOKEN_TEST_KEY"}
    )
    monkeypatch.delenv("UNSPOKEN_TEST_KEY", raising=False)
    assert "UNSPOKEN_TEST_KEY is not set here; export" in said(recipe)
    monkeypatch.setenv("UNSPOKEN_TEST_KEY", "secret-words")
    text = said(recipe)
    assert "UNSPOKEN_TEST_KEY is set" in text
    assert "secret-words" not in text


def test_what_gold_answers_are_missing_for(tmp_path: Path) -> None:
    data = {"train": write(tmp_path / "q.jsonl", [{"question": "1 + 1?"}, {"question": "2?"}])}
    text = said(asking(tmp_path, data=data, teacher=SERVER))
    assert "none with a gold answer: traces of the others are kept unverified" in text
    assert "thought not known before the traces are there" in text
    vote = {"vet": {"majority": True}}
    with pytest.raises(RecipeError, match=r"samples_per_question"):
        said(asking(tmp_path, data=data, teacher=SERVER, **vote))
    several = {**SERVER, "samples_per_question": 5, "temperature": 0.7}
    text = said(asking(tmp_path, data=data, teacher=several, **vote))
    assert "the majority of samples decides" in text
    assert "2 per epoch" in text, "10 traces, 4 in a batch"


def test_worked_solutions_of_questions_that_have_none(tmp_path: Path) -> None:
    drawn = [question.to_record(False) for question in arithmetic.generate(40, 0)["train"]]
    text = said(asking(tmp_path, data={"train": write(tmp_path / "q.jsonl", drawn)}))
    assert "teacher: worked solutions" in text
    assert "tokens: prompt" in text
    assert "not known" not in text
    with pytest.raises(DataError, match="without a solution"):
        data = {"train": write(tmp_path / "other.jsonl", [{"question": "Why?"}])}
        said(asking(tmp_path, data=data))


def test_given_traces_are_vetted_as_the_run_does(tmp_path: Path) -> None:
    traces = [{"question": f"{i} + 1?", "cot": f"one more\nFinal Answer: {i + 1}"}
              for i in range(8)]  # fmt: skip
    traces.append({"question": "9 + 1?", "cot": "I do not know"})
    data = {"train": write(tmp_path / "traces.jsonl", traces)}
    text = said(asking(tmp_path, data=data, teacher=None))
    assert "9 traces in" in text
    assert "8 of them are kept (not kept: 1 no_final_answer)" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["traces.jsonl"]
    nothing = write(tmp_path / "none.jsonl", traces[-1:])
    with pytest.raises(DataError, match="none of its 1 traces"):
        said(asking(tmp_path, data={"train": nothing}, teacher=None))


def test_a_folder_is_asked_in_its_own_style_and_its_adapters_are_counted(tmp_path: Path) -> None:
    name = str(tiny_qwen2(tmp_path / "model", chat=True))
    options: dict[str, Any] = {
        "data": ARITHMETIC,
        "model": {"name": name},
        "lora": {"r": 2},
        "teacher": {"model": {"name": name}},
    }
    text = said(asking(tmp_path, **options))
    assert "asked in style chat" in text
    assert "(40 questions x 1 sample x 512 tokens)" in text
    assert "teacher is measured: 12 questions, at most 6,144 tokens more" in text
    # q, k, v, o, up and down of 2 layers, at rank 2: inputs and outputs of each
    adapters = 2 * 2 * ((64 + 64) + 2 * (64 + 32) + (64 + 64) + 2 * (64 + 128))
    assert f"adapters of {adapters / 1e6:.2f} M are trained" in text
    assert "the task's own; the teacher's are not known" in text
    with pytest.raises(
        RecipeError, match=r"lora\.target_modules: found nowhere, which the model does not have"
    ):
        said(asking(tmp_path, **{**options, "lora": {"target_modules": ["nowhere"]}}))
    with pytest.raises(ModelError, match=r"unspoken\.json"):
        teacher = {"model": {"name": name}, "prompt": "trained"}
        said(asking(tmp_path, **{**options, "teacher": teacher}))


def test_distilling_alone_is_counted_without_internalizing(tmp_path: Path) -> None:
    text = said(asking(tmp_path, data=ARITHMETIC, internalize=False))
    assert "models: teacher (worked solutions), distilled\n" in text
    assert "[distil] steps: at most 5" in text
    assert "internalize" not in text


def test_fp16_without_a_gpu_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(RecipeError, match=r"distil\.precision: found fp16"):
        said(asking(tmp_path, data=ARITHMETIC, distil={"precision": "fp16"}))


@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("width", [16, 512])
def test_the_precision_of_this_machine_and_model_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bf16: bool, width: int
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for place in ("common.machine", "parallel.precision"):
        monkeypatch.setattr(f"unspoken.{place}.cpu_has_bfloat16", lambda: bf16)
    config = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": width}
    recipe = tiny_recipe(tmp_path, model={"config": config}, train={"precision": "auto"})
    expected = "bf16 (auto: " if bf16 and width == 512 else "fp32 (auto: "
    assert f"precision: {expected}" in said(recipe)


def test_fp32_by_onednn_is_said_where_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(tmp_path, train={"precision": "fp32"})
    assert "oneDNN" not in said(recipe)
    monkeypatch.setattr("unspoken.check.student.takes_onednn", lambda *_: True)
    assert "products: fp32 by oneDNN" in said(recipe)


def test_compiling_on_a_cpu_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    text = said(tiny_recipe(tmp_path, train={"compile": True}))
    assert "warning: train.compile on a CPU" in text
    assert "205 s" in text
    assert "train.compile" not in said(tiny_recipe(tmp_path))


def test_missing_bitsandbytes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(RECIPES / "distill-qwen.yaml")
    assert "bitsandbytes is installed" in said(recipe) or "not installed here" in said(recipe)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install bitsandbytes before the run" in next(
        finding.text
        for finding in check_recipe(recipe, is_timed=False)
        if finding.kind == "machine"
    )


def test_gaps_need_one_length(tmp_path: Path) -> None:
    """An error where the thoughts are known, a warning where a teacher has yet to write them."""
    gap = {"schedule": {"positions": "gap"}, "data": {"digits": [[2, 2]]}}
    assert "warning: schedule.positions: gap needs thoughts of one length" in said(
        tiny_recipe(tmp_path, teacher=SERVER, distil={}, **gap)
    )
    with pytest.raises(ModelError, match="gap needs prompts of one length"):
        mixed = {**gap, "data": {"digits": [[2, 2], [2, 1]], "num_train": 300}}
        said(tiny_recipe(tmp_path, teacher=SERVER, distil={}, **mixed))


def test_thoughts_that_stand_in_are_no_reason_to_stop(tmp_path: Path) -> None:
    """A task's long thoughts say nothing of a server's; a broken model does, wherever it runs."""
    tight = {"data": {**ARITHMETIC, "max_length": 1}}
    with pytest.raises(DataError, match="with at most 1 tokens"):
        said(asking(tmp_path, **tight, teacher=SERVER))
    text = said(asking(tmp_path, data={**ARITHMETIC, "categories": ["fractions"]}, teacher=SERVER))
    assert "the task's own" in text
    symbols = "".join(sorted(set(SYMBOLS) - set("Step")))
    with pytest.raises(DataError, match=r"model\.alphabet"):
        recipe = asking(tmp_path, data=ARITHMETIC, teacher=SERVER)
        said(recipe.model_copy(update={"model": recipe.model.model_copy(
            update={"alphabet": symbols})}))  # fmt: skip
    broken = {"tokenizer": "characters", "config": {"model_type": "gpt2", "n_head": "many"}}
    with pytest.raises(ModelError, match=r"model\.config"):
        said(tiny_recipe(tmp_path, model=broken))


def test_a_warning_takes_the_place_of_thoughts_that_do_not_fit(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, teacher=SERVER, distil={}, template="compact")
    config = {**(recipe.model.config or {}), "n_positions": 14}  # 6 + 8 + 6 tokens are needed
    short = recipe.model.model_copy(update={"config": config})
    text = said(recipe.model_copy(update={"model": short}))
    assert "warning: with the task's thoughts in place of the teacher's: the longest" in text
    assert "thought not known before the traces are there" in text


@pytest.mark.parametrize(
    ("sections", "place"),
    [
        ({"train": {"batch_size": 16}}, "train"),
        ({"train": {"batch_size": 12}, "distil": {"batch_size": 16}}, "distil"),
        (
            {"train": {"batch_size": 12}, "phases": [{"name": "a", "train": {"batch_size": 16}}]},
            r"phases\[0\].train",
        ),
    ],
)
def test_a_batch_has_to_fit_the_processes_of_a_launch(
    tmp_path: Path, sections: dict[str, Any], place: str
) -> None:
    if "distil" in sections:
        sections = {**sections, "teacher": {"engine": "worked"}}
    recipe = tiny_recipe(tmp_path / "run", **sections)
    require_processes(recipe, 4)
    with pytest.raises(RecipeError, match=rf"^{place}.batch_size: found 16;.* set it to 12"):
        require_processes(recipe, 6)


SERVED: dict[str, Any] = {"serve": "no-such-program {model} --port {port}"}


def test_a_server_that_the_run_starts_is_looked_for(tmp_path: Path) -> None:
    named = {**SERVED, "model": {"name": "nowhere/at-all"}}
    text = said(asking(tmp_path, data=ARITHMETIC, teacher=named))
    assert "teacher.serve: not known here: found no program no-such-program" in text
    assert "teacher.model.name: not known here: nowhere/at-all is no folder" in text
    assert "teacher: nowhere/at-all on a server that the run starts, asked in style chat" in text
    folder = str(tiny_qwen2(tmp_path / "model", chat=True))
    found = {"serve": f"{sys.executable} {{port}}", "model": {"name": folder}}
    text = said(asking(tmp_path, data=ARITHMETIC, teacher=found))
    assert f"teacher.serve: {sys.executable}" in text
    assert "not known here" not in text


def test_a_served_model_has_to_be_where_jobs_without_a_network_run(tmp_path: Path) -> None:
    named = {**SERVED, "model": {"name": "nowhere/at-all"}}
    with pytest.raises(RecipeError, match=r"teacher\.model\.name: nowhere/at-all: no such folder"):
        require_models_here(asking(tmp_path, data=ARITHMETIC, teacher=named))


# --- the hub that does not answer -----------------------------------------------------------------


def test_a_hub_that_does_not_answer_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections and says nothing: the way of a firewall that drops what it gets."""
    num_asked = 0

    def say_nothing(connection: socket.socket) -> None:
        nonlocal num_asked
        num_asked += 1
        while connection.recv(1_000):
            pass

    ask = functools.cache(_hub_answers)
    monkeypatch.setattr(hub, "hub_answers", ask)
    monkeypatch.setattr(hub, "LIMIT_S", 2.0)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with raw_server(say_nothing) as url:
        monkeypatch.setattr(constants, "ENDPOINT", url.removesuffix("/v1"))
        texts = [
            said(asking(tmp_path, data=ARITHMETIC, model={"name": f"some/{name}"}, **more))
            for name, more in (
                ("model", {}),
                ("other", {"teacher": {"model": {"name": "some/teacher"}}}),
            )
        ]
    assert num_asked == 1
    for text in texts:
        assert "hub: no answer within 2 s" in text
        assert "model: not known here" in text
    assert not constants.HF_HUB_OFFLINE


def test_nobody_asks_the_hub_for_what_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> bool:
        raise AssertionError("the hub is asked")

    monkeypatch.setattr(hub, "hub_answers", fail)
    assert "hub:" not in said(asking(tmp_path, data=ARITHMETIC))


# --- the time that it takes -----------------------------------------------------------------------


def counted(num_steps: int = 1_000, settle_steps: int | None = 100, **schedule: Any) -> Steps:
    """The steps of a training on thoughts of 10 tokens, in epochs of 100 steps."""
    recipe = tiny_recipe(Path("run"), schedule=schedule, train={"settle_steps": settle_steps})
    dataset = SimpleNamespace(longest=lambda unit: 10)
    (training,) = plan(recipe).students
    return count_likely(training, cast("Any", dataset), 100, num_steps)


def test_the_steps_that_are_likely() -> None:
    assert counted(removal="none") == Steps(1_000, 1_000, 1_000)
    assert counted(removal="all") == Steps(1_000, 1_000, 1_000, bare=1_000, part=0.0)
    # a token each 50 steps, so the tenth goes at step 500
    linear = counted(removal="linear", delta=2)
    assert (linear.likely, linear.bare, linear.part) == (600, 100, 0.5)
    kept = counted(removal="linear", delta=0.5)  # half of the thought is there in the end
    assert (kept.likely, kept.bare) == (1_000, 0)
    assert 0.75 <= kept.part <= 0.8
    adaptive = counted(removal="adaptive", loss_below=0.1, delta=1, window=5, warmup_steps=7)
    assert (adaptive.fewest, adaptive.likely, adaptive.most) == (157, 507, 1_000)
    assert adaptive.bare == 100
    assert counted(removal="adaptive", loss_below=0.1, delta=1, window=5, max_hold=6).likely == 160
    assert (
        counted(num_steps=300, removal="adaptive", loss_below=0.1, delta=1, window=50).likely == 300
    )
    assert counted(removal="adaptive", measure_every=2).likely == 10 * 8 * 2 + 100
    assert add_steps([linear, adaptive], bare=True) == Steps(757, 1_107, 1_600, 1_107, 0.0)


def test_the_time_is_measured_once_with_the_models_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNSPOKEN_CACHE", str(tmp_path / "cache"))
    recipe = tiny_recipe(tmp_path / "run", baselines={"no_cot": True, "untrained": True})
    text = said(recipe, is_timed=True)
    for part in ("internalized", "evaluate internalized", "no_cot", "evaluate untrained"):
        assert f"{part} 1 s" in text
    assert "time: about" in text
    assert "GFLOP/s" not in text
    measured = json.loads((tmp_path / "cache" / "pace.json").read_text())
    assert len(measured) == 2, "a step, and answers; every model of the run has this form"

    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError("measured again")

    monkeypatch.setattr("unspoken.models.load.load_model", fail)
    assert said(recipe, is_timed=True).splitlines()[-1] == text.splitlines()[-1]
    with pytest.raises(AssertionError, match="measured again"):
        said(tiny_recipe(tmp_path / "run", train={"batch_size": 8}), is_timed=True)


def test_what_cannot_be_loaded_for_a_check_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNSPOKEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pace, "free_memory", lambda: 1_000)
    text = said(tiny_recipe(tmp_path / "run"), is_timed=True)
    assert "time: not known: internalized: the model is too large to be loaded for a check" in text
    assert "GFLOP/s in large matrix products" in text
    assert "would be enough only at full use" in text


def test_a_teacher_from_scratch_and_its_traces_are_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By figures that are given: two tokens a millisecond together, one alone; 10 ms a step."""
    monkeypatch.setattr(estimate, "measure_writing", lambda *_: pace.WritingPace(2_000, 0.001))
    monkeypatch.setattr(estimate, "measure_training", lambda *_: pace.TrainingPace(0.01, 0.01))
    text = said(load_recipe(RECIPES / "quickstart.yaml"), is_timed=True)
    line = next(line for line in text.splitlines() if line.startswith("time: about"))
    assert "traces 8 min" in line, "60,000 of 17 tokens at 2,000 a second"
    assert "evaluate teacher 14 s" in line, "1,000 questions of 17 tokens together, 300 alone"
    assert "distilled 24 s" in line, "1,400 steps, and 6 validations of 200 questions"
    server = asking(tmp_path, data=ARITHMETIC, teacher=SERVER)
    assert "not known: the teacher's traces: how fast a server writes" in said(
        server, is_timed=True
    )


def test_the_time_of_single_questions_ends_and_what_is_not_asked_takes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By figures that are given: a second for each token of a single answer, no time else."""
    monkeypatch.setattr(estimate, "measure_writing", lambda *_: pace.WritingPace(1e9, 1.0))
    monkeypatch.setattr(estimate, "measure_training", lambda *_: pace.TrainingPace(0.01, 0.01))
    quickstart = RECIPES / "quickstart.yaml"
    assert "evaluate teacher 20 s" in said(load_recipe(quickstart), is_timed=True)
    briefly = load_recipe(quickstart, ["evaluate.latency_seconds=1"])
    assert "evaluate teacher 17 s" in said(briefly, is_timed=True), "one is asked in any case"
    solved = [{"question": f"{n}+1=", "thought": "", "answer": str(n + 1)} for n in range(30)]
    data = {"task": "jsonl", "train": write(tmp_path / "bare.jsonl", solved), "num_valid": 0}
    bare = {"data": {**data, "allow_empty_thoughts": True}, "teacher": None, "distil": None}
    text = said(asking(tmp_path, **bare, frontier={"levels": 2}), is_timed=True)
    assert "thought 0, answer" in text, "no teacher will write others"
    assert "nothing is measured" in text
    assert "evaluate internalized" not in text
    assert "time: not known: the levels of the frontier, which come on top" in text


def test_what_a_frontier_and_the_baseline_at_once_add_is_counted(tmp_path: Path) -> None:
    sections = {"frontier": {"levels": 3, "steps": 50}, "baselines": {"at_once": True}}
    text = said(tiny_recipe(tmp_path, distil={"max_steps": 8}, **sections))
    assert "[frontier] frontier: up to 3 levels of removal are trained on for 50 steps each" in text
    assert "baselines: as many steps for at_once as for internalized, at most 24" in text
    alone = said(tiny_recipe(tmp_path, **sections))
    assert "up to 3 levels of removal, and the first one, are trained on for 50 steps" in alone
    assert "trained on for" not in said(tiny_recipe(tmp_path))


@pytest.mark.parametrize("output", ["file", "file/run"])
def test_a_file_where_the_run_folder_should_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    from unspoken.run.run import run_recipe

    (tmp_path / "file").write_text("mine")
    recipe = load_recipe("quickstart", [f"output={tmp_path / output}"])
    for start in (said, run_recipe):
        with pytest.raises(RecipeError, match=r"^output: found .*file; needed: a folder"):
            start(recipe)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_path_of_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    recipe = load_recipe("quickstart", [f"model.name={tmp_path}/none"])
    with pytest.raises(ModelError, match=r"none'?: no such folder"):
        said(recipe)


@pytest.mark.parametrize("name", ["./models/studnt", "models/studnt", "some/models/none", "~/none"])
def test_what_can_only_be_a_path_is_not_looked_for_at_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from huggingface_hub import constants

    (tmp_path / "models" / "student").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "hub_answers", lambda: pytest.fail("asked the hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    near = r"did you mean models/student\?" if "studnt" in name else "correct the path"
    with pytest.raises(ModelError, match=rf"{name}'?: no such folder; {near}"):
        said(load_recipe("quickstart", [f"model.name={name}"]))


def test_a_name_that_the_hub_may_have_is_not_known_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = said(load_recipe("quickstart", ["model.name=models/none"]))
    assert "model: not known here" in text


def test_other_models_of_an_owner_that_are_here_do_not_hide_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    (tmp_path / "Qwen" / "Qwen3-1.7B").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "hub_answers", lambda: bool(asked.append(True)))
    text = said(load_recipe("quickstart", ["model.name=Qwen/Qwen3-0.6B"]))
    assert asked and "model: not known here" in text


@pytest.mark.parametrize(("base", "is_known"), [("owner/none", False), ("/none/base", True)])
def test_the_model_below_an_adapter_may_be_at_the_hub(
    tmp_path: Path, base: str, is_known: bool
) -> None:
    """Only the machine that trains may have it; where it is a path, this one knows."""
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": base, "r": 2}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    recipe = load_recipe("quickstart", [f"model.name={adapter}"])
    if is_known:
        with pytest.raises(ModelError):
            said(recipe)
        return
    assert "model: not known here" in said(recipe)


@pytest.mark.parametrize("there", ["models", "models/teacher"])
def test_a_folder_where_downloads_go_is_not_known_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    (tmp_path / there).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    text = said(load_recipe("distill-qwen"))
    assert "not known here: models/student: no such folder; correct model.name, or down" in text
    text = said(load_recipe("smollm2-distil"))
    assert "in a clone of unspoken: make models/smollm2" in text


@pytest.mark.parametrize("answers", [[], ["5"]])
def test_accuracy_needs_validation_questions_with_answers(
    tmp_path: Path, answers: list[str]
) -> None:
    """As the run does: it counts answers, and a question alone is none."""
    numbers = range(20)
    train = [{"question": f"{n} + 1", "thought": f"{n}", "answer": f"{n + 1}"} for n in numbers]
    valid: list[dict[str, Any]] = [{"question": "70 + 1"}, {"question": "71 + 1"}]
    valid += [{"question": "72 + 1", "answer": answer} for answer in answers]
    files = {
        "train": write(tmp_path / "train.jsonl", train),
        "valid": write(tmp_path / "valid.jsonl", valid),
        "test": write(tmp_path / "test.jsonl", [{"question": "80 + 1", "answer": "81"}]),
    }
    adaptive = {"removal": "adaptive", "accuracy_above": 0.5}
    values = tiny_recipe(tmp_path / "run").model_dump(mode="json", exclude_unset=True)
    own = {"data": {"task": "jsonl", **files}, "schedule": adaptive}
    recipe = recipe_from({**values, **own})
    if answers:
        assert "steps: " in said(recipe)
        return
    with pytest.raises(
        RecipeError, match=r"accuracy_above needs validation questions with answers"
    ):
        said(recipe)
