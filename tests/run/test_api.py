"""What `import unspoken` gives: the verbs as functions."""

from __future__ import annotations

import ast
import contextlib
import copy
import dataclasses
import datetime
import importlib
import inspect
import json
import logging
import os
import pickle
import random
import re
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import nbformat
import numpy as np
import pandas
import pytest
import torch
from nbclient import NotebookClient
from peft import LoraConfig, get_peft_model

import unspoken
from helpers.engines import QUESTIONS, FakeEngine
from helpers.paths import ROOT
from helpers.servers import FakeServer
from unspoken.common.caller import leaves_as_found
from unspoken.common.errors import DataError, SettingError, UnspokenError
from unspoken.measure.ask import LoadedModel
from unspoken.models.template import Template
from unspoken.models.tokenizer import character_tokenizer
from unspoken.recipe import Recipe
from unspoken.recipe.arguments import Arguments
from unspoken.recipe.layout import INTERNALIZED
from unspoken.recipe.merge import nested
from unspoken.report.show.plots import draw_plots
from unspoken.run.api import EvaluationOutcome, FromScratch, KeptLevel, RunOutcome
from unspoken.run.api.inputs import as_records, model_section
from unspoken.teach.engines import EngineError, Reply
from unspoken.teach.prompts import make_prompt_writer

EXAMPLES: list[dict[str, Any]] = [
    {"question": f"{a}+{b}=", "thought": f"{b}+{a}", "answer": a + b}
    for a in range(10)
    for b in range(6)
]
SMALLEST = FromScratch(1, 16, 2)
UNTYPED: Any = unspoken  # for arguments that a type checker refuses
TOKENIZER = character_tokenizer("0123456789+=\n# ")
SHORT = {"train.settle_steps": 2, "train.threads": 1, "train.level_every": 1, "train.log_every": 1,
         "schedule.loss_below": 50, "schedule.window": 1, "evaluate.num_latency": 1}  # fmt: skip


def train(folder: Path, data: Any = None, model: Any = SMALLEST, **options: Any) -> RunOutcome:
    """A whole run, as short as one can be."""
    data = EXAMPLES[10:] if data is None else data
    arguments = {"test": EXAMPLES[:10], "settings": SHORT, "max_steps": 8, "progress": False}
    return unspoken.internalize(model, data, output=folder, **{**arguments, **options})


class Failing(FakeEngine):
    """Fails once, after so many replies."""

    def __init__(self, failure: Exception, after: int = 8) -> None:
        super().__init__()
        self.failure: Exception | None = failure
        self.after = after

    def generate(self, *arguments: Any, **options: Any) -> Iterator[tuple[int, Reply]]:
        for number, pair in enumerate(super().generate(*arguments, **options)):
            if number == self.after and self.failure is not None:
                failure, self.failure = self.failure, None
                raise failure
            yield pair


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    return train(tmp_path_factory.mktemp("api") / "run")


def script() -> str:
    """The script of README.md."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if "unspoken.internalize" in block)


def printed(cell: Any) -> str:
    """What a cell wrote; slow lines come in several outputs."""
    streams = (each for each in cell.outputs if each.output_type == "stream")
    return "".join(each.text for each in streams if each.name == "stdout")


def test_the_pieces_go_together_as_the_guide_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    exec(next(block for block in blocks if "StepwiseInternalization(" in block), {})
    assert capsys.readouterr().out.split() == ["7", str(Path("runs/pieces/model"))]
    assert (tmp_path / "runs" / "pieces" / "model" / "model.safetensors").is_file()


@pytest.mark.integration
def test_the_notebook_and_the_script_in_the_readme_internalize_a_small_model(
    tmp_path: Path,
) -> None:
    """The notebook is executed; the script's lines are its first ones."""
    notebook = nbformat.read(ROOT / "examples" / "sums.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    lines = [line for line in script().splitlines() if line]
    assert len(lines) <= 15
    told = [line.strip().rstrip(",") for cell in cells for line in cell.source.splitlines()]
    words = "\n".join(told).replace(", progress=False", "")
    for line in lines[:-2]:
        assert line.strip().rstrip(",") in words
    assert ("".join(lines[-2:])).count("print(result.") == 2
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
    shown = {number: cell.outputs for number, cell in enumerate(cells) if cell.outputs}
    accuracy, num_tokens = ast.literal_eval(shown[1][-1].data["text/plain"])
    assert accuracy > 0.9 and num_tokens < 9
    assert shown[2][-1].data["text/html"].count("<svg") >= 2
    asked, levels = (printed(cells[number]).splitlines() for number in (3, 4))
    assert len(asked) == 4 and int(asked[0].split()[-2]) > int(asked[1].split()[-2]) + 3
    assert levels[0].startswith("removed 0") and levels[-1].startswith("removed all")
    assert (tmp_path / "runs" / "sums" / "report.html").is_file()


@pytest.mark.integration
def test_the_notebook_of_the_quickstart_goes_from_a_teacher_to_a_student_that_answers_at_once(
    tmp_path: Path,
) -> None:
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
    cells = [cell for cell in notebook.cells if cell.get("outputs")]
    kept, rejected = map(int, re.findall(r"(\d+) (?:solutions kept|rejected)", printed(cells[2])))
    assert kept > rejected > 0 and kept + rejected == 500
    assert "wrong_answer" in printed(cells[2])
    page = cells[3].outputs[-1].data["text/html"]
    assert page.count("<svg") >= 2
    accuracy = dict(re.findall(r"<td>([\w ]+)</td><td>([\d.]+)", page))
    assert float(accuracy["internalized"]) > 80
    tokens = [int(line.split()[-2]) for line in printed(cells[4]).splitlines()]
    assert len(tokens) == 4 and min(tokens[:2]) > max(tokens[2:])
    assert printed(cells[5]).startswith("level 0000")
    assert (tmp_path / "runs" / "small" / "report.html").is_file()


@pytest.mark.integration
def test_a_result_has_figures_model_levels_and_report(result: RunOutcome) -> None:
    assert result.accuracy is not None and 0 <= result.accuracy <= 1
    assert result.metrics is not None and result.metrics.num_questions == 10
    assert len(result.predictions) == 10
    assert [level.removed for level in result.levels][:2] == [0, 1]
    assert all(isinstance(level, KeptLevel) for level in result.levels)
    assert result.levels[0].accuracy is not None
    assert isinstance(result.levels[0].model, LoadedModel)
    assert result.model.ask("1+2=").num_tokens > 0
    assert result.report.is_file() and result.report.parent == result.folder
    assert set(result.variants) >= {"internalized"}
    again = unspoken.evaluate(result, EXAMPLES[:10], progress=False)
    assert [one.generated for one in again.predictions] == [
        one.generated for one in unspoken.evaluate(result.model, EXAMPLES[:10]).predictions
    ]
    (trace,) = unspoken.generate(result, EXAMPLES[:1], progress=False, max_new_tokens=3).traces
    assert trace["question"] == EXAMPLES[0]["question"]


@pytest.mark.integration
def test_a_notebook_shows_a_table_and_curves(
    result: RunOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unspoken.report.show.plots.draw_plots", draw_plots)  # see conftest
    page = result._repr_html_()
    figure = page[page.index("<figure") :]
    assert "background:#fff;color:#222" in figure.partition(">")[0]  # a notebook may be dark
    assert "<td>internalized</td>" in page and page.count("<svg") >= 2
    assert "<script" not in page and "http" not in re.sub(r'xmlns[^"]*"[^"]*"', "", page)
    assert re.fullmatch(
        r"RunOutcome\('.*', internalized: [\d.]+ %\)", repr(result).replace("\xa0", " ")
    )


@pytest.mark.integration
def test_results_and_loaded_models_can_be_pickled(result: RunOutcome) -> None:
    written = result.model.ask("1+2=").written
    measured = unspoken.evaluate(result.model, EXAMPLES[:3], progress=False)
    traces = unspoken.generate("worked", EXAMPLES[:3], progress=False)
    for one in (result, measured, traces, unspoken.vet(traces), result.levels):
        assert pickle.loads(pickle.dumps(one)) == one
    assert len(pickle.dumps(result)) < 2_000
    assert pickle.loads(pickle.dumps(result.model)).ask("1+2=").written == written
    assert repr(traces) == "TracesOutcome(3 traces)"


@pytest.mark.integration
def test_a_result_of_another_day_is_read_from_its_recipe(result: RunOutcome) -> None:
    run: Any = unspoken.run
    found = run(result.folder / "recipe.yaml", progress=False)
    assert found == result and found.accuracy == result.accuracy


@pytest.mark.integration
def test_without_progress_nothing_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short: dict[str, Any] = {"settings": {"train.threads": 1}, "max_steps": 2}
    quiet = train(tmp_path / "quiet", **short)
    assert quiet.outcome is not None and not quiet.outcome.is_complete
    assert capsys.readouterr() == ("", "")
    train(tmp_path / "loud", **short, progress=True)
    assert "not internalized" in capsys.readouterr().out


@pytest.mark.integration
def test_the_same_call_finds_what_is_done(result: RunOutcome) -> None:
    stage = result.folder / "internalized" / "stage.json"
    before = stage.read_bytes(), stage.stat().st_mtime_ns
    assert train(result.folder).accuracy == result.accuracy
    assert (stage.read_bytes(), stage.stat().st_mtime_ns) == before


def left(transformers_logging: Any) -> dict[str, Any]:
    """What a call must leave as it was."""
    return {
        "random": (torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())),
        "threads": torch.get_num_threads(),
        "verbosity": transformers_logging.get_verbosity(),
        "bars": transformers_logging.is_progress_bar_enabled(),
        "accelerate": logging.getLogger("accelerate").level,
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "gradients": torch.is_grad_enabled(),
        "folder": Path.cwd(),
    }


def test_random_numbers_go_on_after_a_call_as_if_there_had_been_none() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), np.random.random(), float(torch.rand(1))

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = draw()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    assert leaves_as_found()(draw)() == expected == draw()


@pytest.mark.integration
def test_a_call_leaves_the_process_as_it_found_it(
    result: RunOutcome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from transformers.utils import logging as transformers_logging

    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    before_all = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_info()
    transformers_logging.enable_progress_bar()
    before = left(transformers_logging)
    try:
        train(tmp_path / "run", settings={**SHORT, "train.threads": 2})
        assert left(transformers_logging) == before
        with pytest.raises(UnspokenError):
            train(tmp_path / "other", template="chat")
        rows = [*EXAMPLES[:3], EXAMPLES[0]]
        unspoken.evaluate(result.model, rows, progress=False, temperature=0.5)
        assert "data: 1 of its lines" in caplog.text
        capfd.readouterr()
        unspoken.load(result.folder)
        assert capfd.readouterr().err == ""  # no bar for its weights
        assert left(transformers_logging) == before
    finally:
        transformers_logging.set_verbosity(before_all)


@pytest.mark.integration
def test_trainings_of_several_threads_take_turns_and_learn_the_same(
    result: RunOutcome, tmp_path: Path
) -> None:
    folders = [tmp_path / "one", tmp_path / "two", tmp_path / "one"]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(train, folders))
    assert {trained_hash(each) for each in found} == {trained_hash(result)}


@pytest.mark.integration
def test_files_data_sets_and_dicts_are_the_same_to_it(result: RunOutcome, tmp_path: Path) -> None:
    rows = [{**row, "answer": str(row["answer"])} for row in EXAMPLES[10:]]
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    weights = trained_hash(result)
    assert trained_hash(train(tmp_path / "file", file)) == weights
    table: Any = datasets.Dataset.from_list(rows)
    assert trained_hash(train(tmp_path / "table", table)) == weights
    examples = [unspoken.Example(r["question"], r["thought"], r["answer"]) for r in rows]
    assert trained_hash(train(tmp_path / "examples", examples)) == weights


def trained_hash(result: RunOutcome) -> str | None:
    trained = result.variants["internalized"].trained
    assert trained is not None
    return trained.model_sha256


@pytest.mark.integration
def test_a_model_is_evaluated_by_name_loaded_or_as_an_object(result: RunOutcome) -> None:
    quiet = {"progress": False}
    by_name = unspoken.evaluate(str(result.folder), EXAMPLES[:10], **quiet)
    assert by_name.accuracy == result.accuracy and len(by_name.predictions) == 10
    loaded = unspoken.evaluate(result.model, EXAMPLES[:10], **quiet)
    alone = unspoken.evaluate(
        result.model.model, EXAMPLES[:10], tokenizer=result.model.tokenizer, **quiet
    )
    written = [p.generated for p in by_name.predictions]
    assert [p.generated for p in loaded.predictions] == written
    assert [p.generated for p in alone.predictions] == written
    assert "<table>" in by_name._repr_html_() and "of 10" in repr(by_name)
    with pytest.raises(UnspokenError, match="chat"):  # a template is heeded: there is none
        unspoken.evaluate(result.model, EXAMPLES[:10], template="chat", **quiet)


@pytest.mark.integration
def test_a_run_goes_on_from_a_name_or_an_object(result: RunOutcome, tmp_path: Path) -> None:
    model: Any = result.model.model
    given = train(tmp_path / "object", model=model, tokenizer=result.model.tokenizer)
    named = train(tmp_path / "name", model=f"{result.folder}:internalized")
    assert trained_hash(given) == trained_hash(named) != trained_hash(result)
    own = LoadedModel(model, result.model.tokenizer, Template("compact"))
    train(tmp_path / "own", model=own, max_steps=1)
    assert "template: compact" in (tmp_path / "own" / "recipe.yaml").read_text()


@pytest.mark.integration
def test_generate_vet_and_distil_hand_on_what_they_have(tmp_path: Path) -> None:
    traces = unspoken.generate("worked", EXAMPLES, progress=False)
    assert len(traces) == len(EXAMPLES) and traces[0]["cot"].startswith("0+0")
    assert "traces" in traces._repr_html_()
    one_wrong = [*traces[:3], {**traces[3], "cot": "0+3\nFinal Answer: 99"}, *traces[4:]]
    kept = unspoken.vet(one_wrong, test=EXAMPLES[:2])
    assert (len(kept), len(kept.rejected)) == (len(EXAMPLES) - 3, 3)
    assert {row["reason"] for row in kept.rejected} == {"leak", "wrong_answer"}
    assert "traces kept" in kept._repr_html_()
    student = unspoken.distil(
        SMALLEST, kept, test=EXAMPLES[:2], output=tmp_path / "run", max_steps=4, progress=False,
        settings={"train.threads": 1},
    )  # fmt: skip
    assert student.main == "distilled" and student.accuracy is not None
    own = unspoken.generate(f"{student.folder}", EXAMPLES[:3], max_new_tokens=8, progress=False)
    assert len(own) == 3 and own[0]["num_tokens"] > 0


def test_an_engine_of_ones_own_is_a_teacher(tmp_path: Path) -> None:
    engine = FakeEngine()
    traces = unspoken.generate(engine, QUESTIONS, output=tmp_path / "own.jsonl", progress=False)
    assert [len(traces), traces[3]["engine"], len(engine.chunks)] == [20, "fake", 5]
    assert len(unspoken.vet(traces)) == 1  # it always says 1
    unspoken.generate(engine, QUESTIONS, output=tmp_path / "own.jsonl", progress=False)
    assert len(engine.chunks) == 5
    with pytest.raises(UnspokenError, match="batch_size: found it with an engine of your own"):
        unspoken.generate(engine, QUESTIONS, batch_size=2)
    with pytest.raises(UnspokenError, match="tokenizer: found it with an engine of your own"):
        unspoken.generate(engine, QUESTIONS, tokenizer="x")
    half = SimpleNamespace(generate=engine.generate, name="half", model="half", style="plain")
    with pytest.raises(UnspokenError, match="teacher: found a SimpleNamespace without settings, c"):
        unspoken.generate(half, QUESTIONS)


def test_what_was_paid_for_is_kept_without_an_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for failure in (EngineError("max_cost: is reached"), RuntimeError("no route")):
        engine = Failing(failure)
        with pytest.raises(type(failure)) as caught:
            unspoken.generate(engine, QUESTIONS, progress=False)
        said = re.search(r'with output="(.*)" goes on', f"{caught.value}{caplog.text}")
        assert said is not None
        traces = unspoken.generate(engine, QUESTIONS, output=said[1], progress=False)
        assert (len(traces), traces.summary.num_done_before) == (20, 8)
    unspoken.generate(FakeEngine(), QUESTIONS, progress=False)
    with pytest.raises(EngineError, match=r"^nothing$"):
        unspoken.generate(Failing(EngineError("nothing"), after=0), QUESTIONS, progress=False)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_second_vetting_in_a_folder_says_what_it_needs(tmp_path: Path) -> None:
    traces = [{"question": "6 * 6?", "cot": "six\nFinal Answer: 36"}]
    unspoken.vet(traces, output=tmp_path / "one.jsonl")
    with pytest.raises(UnspokenError, match=r"rejected.jsonl: exists .* name another as rejected "):
        unspoken.vet(traces, output=tmp_path / "two.jsonl")
    again = unspoken.vet(traces, output=tmp_path / "two.jsonl", rejected=tmp_path / "no.jsonl")
    assert (len(again), again.rejected) == (1, [])
    assert (tmp_path / "no.jsonl").exists()


def test_distil_and_generate_take_the_same_teachers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes: list[Recipe] = []
    monkeypatch.setattr(
        "unspoken.run.api.training.run_recipe", lambda recipe, **_: recipes.append(recipe)
    )
    with contextlib.closing(FakeServer()) as server:
        known = {"base_url": server.url, "concurrency": 2}
        teachers: list[Any] = [
            {**known, "model": "m"},
            {**known, "model": {"name": "m"}, "engine": "openai"},
            "worked",
            {"engine": "worked"},
        ]
        for number, teacher in enumerate(teachers):
            traces = unspoken.generate(teacher, EXAMPLES[:3], progress=False)
            unspoken.distil(SMALLEST, EXAMPLES, teacher=teacher, output=tmp_path / f"{number}")
            asked, model = recipes[-1].teacher, traces[0]["model"]
            assert asked is not None and asked.engine == traces[0]["engine"]
            assert model == (asked.model.name if asked.model else "worked")
        again = unspoken.generate(teachers[0], EXAMPLES[:3], concurrency=1, progress=False)
        assert len(again) == 3  # an argument wins over the dict
    assert recipes[0].teacher == recipes[1].teacher != recipes[2].teacher == recipes[3].teacher
    for odd in ({"engine": "gpt"}, {"base_url": "http://localhost:1/v1", "model": 5}):
        with pytest.raises(UnspokenError, match=r"^teacher: found {.* needed: a server as"):
            unspoken.generate(odd, EXAMPLES[:3])
    with pytest.raises(UnspokenError, match=r"found the key 'temperature'.* as an argument"):
        unspoken.generate({**teachers[0], "temperature": 1}, EXAMPLES[:3])


@pytest.mark.parametrize("column", [np.array, pandas.Series])
def test_choices_may_be_a_column_of_a_table(tmp_path: Path, column: Any) -> None:
    choices = column(["0", "1"])
    rows = [{"question": f"{n}?", "thought": "so", "answer": n % 2} for n in range(4)]
    traces = unspoken.generate("worked", rows, choices=choices, progress=False)
    assert len(unspoken.vet(traces, choices=choices)) == 4
    with pytest.raises(UnspokenError, match="the path in model"):  # it came that far
        train(tmp_path / "run", rows, "./no", choices=choices, test=None)


@pytest.mark.integration
def test_choices_are_named_in_prompts_and_stay_with_the_student(tmp_path: Path) -> None:
    parities = [{**row, "answer": row["answer"] % 2} for row in EXAMPLES]
    options: dict[str, Any] = {"test": parities[:6], "max_steps": 4, "progress": False}
    student = unspoken.distil(
        SMALLEST, parities[6:], choices=["0", "1"], output=tmp_path / "student",
        settings={"train.threads": 1}, **options,
    )  # fmt: skip
    assert student.model.template.choices == ("0", "1")
    assert student.metrics is not None and student.metrics.classes is not None
    at_once = unspoken.internalize(
        student.model, parities[6:], output=tmp_path / "at_once", settings=SHORT, **options
    )
    assert at_once.model.template.choices == ("0", "1")
    with pytest.raises(DataError, match=r"^test: record 1: answer: .* choices 'even, odd'"):
        unspoken.distil(
            SMALLEST, parities[6:], choices=["even", "odd"], output=tmp_path / "other", **options
        )


@pytest.mark.integration
def test_a_recipe_runs_from_a_dict_and_the_package_keeps_its_name(tmp_path: Path) -> None:
    recipe: dict[str, Any] = {
        "name": "mine",
        "output": str(tmp_path / "run"),
        "data": {"task": "multiplication", "digits": [[1, 1]], "num_train": 40, "num_valid": 5,
                 "num_test": 5},
        "model": {"tokenizer": "characters", "config": {"model_type": "gpt2", "n_layer": 1,
                  "n_head": 2, "n_embd": 16, "n_positions": 64}},
        "train": {"max_steps": 2, "threads": 1},
    }  # fmt: skip
    run: Any = unspoken.run
    recipe["train.threads"] = 1  # a key may be one of a section, as in `settings`
    found = run(recipe, "train.batch_size=8", progress=False)
    assert found.accuracy is not None and found.folder == tmp_path / "run"
    assert found.main == INTERNALIZED and run.__name__ == "unspoken.run"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "found .*; needed: records"),
        ({"question": "1"}, "needed: records"),
        ([1, 2], "^data: found 1 as record 1; needed: a dict"),
        (
            datasets.DatasetDict(train=datasets.Dataset.from_list(EXAMPLES)),
            r"^data: found a DatasetDict of \['train'\]; needed: .* one split",
        ),
        ([{"question": b"1+1="}], "data: record 1: question: found b'1.1=', a bytes; needed: text"),
        ([{"question": "1+1=", "answer": "2"}], r"data: record 1: thought: missing"),
        ("no-such.jsonl", "no-such.jsonl: no such file"),
    ],
)
def test_data_that_cannot_be_used_are_said(tmp_path: Path, data: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        train(tmp_path / "run", data)


@pytest.mark.parametrize("kind", ["pandas", "polars", "numpy", "torch"])
def test_numbers_and_tables_of_other_libraries_are_taken_as_they_are(kind: str) -> None:
    rows = [{"question": "1+1=", "answer": 2}, {"question": "1+2=", "answer": 3}]
    library: Any = pytest.importorskip(kind)
    data: Any = {
        "pandas": lambda: library.DataFrame(rows),
        "polars": lambda: library.DataFrame(rows),
        "numpy": lambda: [{**row, "answer": library.int64(row["answer"])} for row in rows],
        "torch": lambda: [{**row, "answer": library.tensor(row["answer"])} for row in rows],
    }[kind]()
    assert list(as_records(data)) == [{**row, "answer": str(row["answer"])} for row in rows]


def test_a_whole_number_is_written_as_one_though_a_column_with_a_gap_holds_floats() -> None:
    numbers = [36, None, -2.5, 0]
    table: Any = pandas.DataFrame({"question": "1+1=", "answer": numbers})
    answers = [record.get("answer") for record in as_records(table)]
    assert answers == ["36", None, "-2.5", "0"]


def test_an_empty_cell_of_a_table_is_a_missing_field_and_a_date_is_text(tmp_path: Path) -> None:
    day = {**EXAMPLES[0], "answer": "1", "day": datetime.date(2026, 11, 27)}
    table: Any = pandas.DataFrame([day, {**day, "thought": None, "answer": float("nan")}])
    table["thought"] = table["thought"].astype("string")  # with NA, not NaN
    first, second = as_records(table)
    assert first == {**day, "day": "2026-11-27"} and set(second) == {"question", "day"}
    with pytest.raises(DataError, match=r"data: record 2: thought: missing"):
        train(tmp_path / "run", table)


def test_a_size_that_there_is_not_is_said() -> None:
    with pytest.raises(SettingError, match="needed: one of tiny, small, medium, gpt2"):
        unspoken.from_scratch("huge")


def test_a_model_object_from_nowhere_needs_its_tokenizer(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model: Any = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=20))
    with pytest.raises(UnspokenError, match="tokenizer: found nothing with a GPT2LMHeadModel"):
        unspoken.evaluate(model, EXAMPLES[:2], progress=False)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("nothing", "found None; needed: the name of a model, a LoadedModel, or"),
        ("class", "found the class GPT2LMHeadModel; needed"),
        ("body", "found a GPT2Model, which continues no text; .* as AutoModelForCausalLM"),
        ("meta", "found a GPT2LMHeadModel on the device meta, without weights"),
    ],
)
def test_an_object_that_is_no_model_to_train_or_ask_is_said(
    tmp_path: Path, kind: str, said: str
) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

    config = GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=20)
    with torch.device("meta"):
        meta = GPT2LMHeadModel(config)
    objects = {"nothing": None, "class": GPT2LMHeadModel, "body": GPT2Model(config), "meta": meta}
    model: Any = objects[kind]
    with pytest.raises(SettingError, match=f"^model: {said}"):
        unspoken.evaluate(model, EXAMPLES[:2], progress=False)
    with pytest.raises(SettingError, match=f"^model: {said}"):
        train(tmp_path / "run", model=model)
    with pytest.raises(SettingError, match=f"^teacher: {said}"):
        unspoken.generate(model, EXAMPLES[:2], progress=False)


def saved_base(folder: Path) -> Path:
    """A folder with a GPT-2 of random weights, and its tokenizer."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes: Any = {"n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 64}
    GPT2LMHeadModel(GPT2Config(**sizes, vocab_size=len(TOKENIZER))).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


def adapted(model: Any) -> Any:
    """The model with an adapter over it."""
    return get_peft_model(model, LoraConfig(r=1, target_modules=["c_attn"], fan_in_fan_out=True))


def evaluate(model: Any, data: Any, **options: Any) -> EvaluationOutcome:
    return unspoken.evaluate(model, data, tokenizer=TOKENIZER, **options)


def without(token: str) -> Any:
    """The tokenizer, but for one of its special tokens."""
    other = copy.deepcopy(TOKENIZER)
    setattr(other, token, None)
    return other


def test_a_tokenizer_without_padding_is_used_and_stays_as_it_is(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes: Any = {"n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 64}
    model = GPT2LMHeadModel(GPT2Config(**sizes, vocab_size=len(TOKENIZER)))
    bare = without("pad_token")
    trained = train(tmp_path / "run", model=model, tokenizer=bare)
    assert len(trained.predictions) == 10
    both = [unspoken.evaluate(model, EXAMPLES[:9], tokenizer=one) for one in (bare, TOKENIZER)]
    assert both[0].predictions == both[1].predictions
    assert bare.pad_token is None


def test_a_tokenizer_that_is_written_in_python_goes_all_the_way(tmp_path: Path) -> None:
    from transformers import ByT5Tokenizer, GPT2Config, GPT2LMHeadModel

    tokenizer = ByT5Tokenizer()
    sizes: Any = {"n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 256}
    model = GPT2LMHeadModel(GPT2Config(**sizes, vocab_size=len(tokenizer), eos_token_id=1))
    options: Any = {"tokenizer": tokenizer, "progress": False}
    trained = train(tmp_path / "run", model=model, tokenizer=tokenizer)
    assert len(trained.predictions) == 10
    assert unspoken.evaluate(model, EXAMPLES[:3], **options).metrics.num_questions == 3
    (trace,) = unspoken.generate(model, EXAMPLES[:1], max_new_tokens=3, **options).traces
    prompt = make_prompt_writer("plain")(EXAMPLES[0]["question"]).text
    assert trace["num_prompt_tokens"] == len(prompt.encode())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda model: evaluate(model, EXAMPLES, limit=0), "^limit: found 0; needed: at least 1"),
        (lambda model: evaluate(model, EXAMPLES, limit="3"), "^limit: found '3'"),
        (lambda model: evaluate(model, [{"answer": 1}]), "^data:1: question: missing"),
        (lambda _: unspoken.vet(EXAMPLES[:2]), "^traces: record 1: cot: missing"),
        (lambda _: unspoken.generate("worked", []), r"^questions: found \[\]"),
        (lambda _: unspoken.generate("no/such", EXAMPLES[:2]), "^teacher=no/such: no such folder"),
        (lambda _: unspoken.generate({"base": 1}, EXAMPLES[:2]), "^teacher: found the key 'base'"),
        (lambda model: unspoken.generate(model, [{"question": "1" * 99}], tokenizer=TOKENIZER),
         "^questions: record 1: .* which is what the teacher can read"),
        (lambda _: unspoken.internalize(SMALLEST, EXAMPLES, output=__file__), "^output: .* a file"),
        (lambda model: unspoken.evaluate(model, EXAMPLES, tokenizer="gpt2"),
         "^tokenizer: found 'gpt2'; needed: a tokenizer of transformers"),
        (lambda _: evaluate("no/such", EXAMPLES), "^tokenizer: found one for a model that has its"),
        (lambda model: train(Path("run"), model=model, tokenizer=len), "^tokenizer: found <built"),
        (lambda model: train(Path("run"), model=adapted(model), tokenizer=TOKENIZER),
         "^model: found a PeftModel over a model that was loaded from nowhere; needed"),
        (lambda _: train(Path("run"), tokenizer=TOKENIZER), "^tokenizer: found one for a model"),
        (lambda _: unspoken.internalize("./no", EXAMPLES, output="run"), "the path in model, or"),
        (lambda _: unspoken.distil("./no", EXAMPLES, output="run"), "the path in student, or"),
        (lambda _: unspoken.internalize(SMALLEST, EXAMPLES, settings=["a"], output="run"),
         r"^settings: found \['a'\]; needed: a dict"),
        (lambda _: unspoken.run("quickstart", start="nope"), "^start: found 'nope'"),
        (lambda _: unspoken.run("quickstart", {"train.max_steps": 3}), "^overrides: found {"),
        (lambda _: unspoken.generate("worked", EXAMPLES, choices={"0", "1"}),
         r"^choices: found .*; needed: a list, since prompts name the classes in their order"),
        (lambda _: unspoken.load("no/such", dtype="int8"), "^dtype: found 'int8'; needed: one of"),
        (lambda _: UNTYPED.vet([{"question": "1", "cot": "2"}], pattern=3),
         "^pattern: found 3, which is no regular expression"),
        (lambda _: UNTYPED.generate("worked", [{"q": "1+1="}]),
         "^questions: record 1: question: missing; found the fields q; needed: a field 'question'; "
         "rename the one that holds it$"),
        (lambda _: UNTYPED.distil(SMALLEST, [{"q": "1+1="}], teacher="worked", output="run"),
         "missing; found the fields q; needed: a field 'question'; rename the one that holds it$"),
        (lambda _: UNTYPED.generate("worked", EXAMPLES, tokenizer=TOKENIZER),
         "^tokenizer: found one for a model that has its own"),
        (lambda model: unspoken.evaluate(model, EXAMPLES, tokenizer=without("eos_token")),
         "^tokenizer: found one without an end token; needed: one, or a model could neither learn"),
        (lambda model: train(Path("run"), model=model, tokenizer=without("eos_token")),
         "^tokenizer: found one without an end token; needed: one, or a model could neither learn"),
        (lambda model: unspoken.evaluate(model, EXAMPLES, tokenizer=character_tokenizer()),
         "^tokenizer: found one of 101 tokens with a GPT2LMHeadModel of 18; needed: the one that"),
        (lambda model: LoadedModel(model, without("eos_token"), Template("plain")),
         "^tokenizer: found one without an end token; needed: one, or a model could neither learn"),
        (lambda _: UNTYPED.internalize(SMALLEST, None), "^data: found None; needed: records"),
        (lambda _: train(Path("run"), [*EXAMPLES, {**EXAMPLES[0], "answer": ""}]),
         "^data: record 61: answer: found an empty text"),
        (lambda _: train(Path("run"), test=[{"question": "1=", "answer": "  "}]),
         "^test: record 1: answer: found a text of blanks only"),
        (lambda _: train(Path("run"), EXAMPLES, test=EXAMPLES[:2]),
         "^data: record 1: question: found 2 in two splits .* is test: record 1;"),
        (lambda _: UNTYPED.internalize("", EXAMPLES), "^model: found ''; needed: the name"),
        (lambda model: evaluate(model, ""), "^data: found ''; needed: records"),
        (lambda _: UNTYPED.run(3), "^recipe: found 3; needed: a file, the name of a recipe"),
        (lambda _: UNTYPED.run(""), "^recipe: found ''; needed: a file, the name of a recipe"),
        (lambda _: UNTYPED.from_scratch(["tiny"]), r"^size: found \['tiny'\]; needed: one of"),
    ],
)  # fmt: skip
def test_errors_name_what_was_given_by_its_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any, said: str
) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    monkeypatch.chdir(tmp_path)
    sizes: Any = {"n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 64}
    sizes |= {"bos_token_id": None, "eos_token_id": None}
    model = GPT2LMHeadModel(GPT2Config(**sizes, vocab_size=len(TOKENIZER)))
    with pytest.raises(UnspokenError, match=said) as raised:
        call(model)
    assert str(Path(tempfile.gettempdir()) / "tmp") not in str(raised.value)


@pytest.mark.parametrize(
    ("call", "given", "said"),
    [
        ("load", {"max_new_tokens": "3"}, "found '3'; needed: a number, not text"),
        ("load", {"max_new_tokens": 2.5}, "found 2.5; needed: a whole number"),
        ("load", {"trust_remote_code": "x"}, "found 'x'; needed: true or false"),
        ("load", {"name": None}, "found None; needed: a name or a path, not empty"),
        ("load", {"of_run": 3}, "found 3; needed: text"),
        ("evaluate", {"limit": True}, "found True; needed: a number, not true or false"),
        ("evaluate", {"strict": "no"}, "found 'no'; needed: true or false"),
        ("evaluate", {"batchsize": 3}, "found 3 .* evaluate .*; did you mean batch_size?"),
        ("generate", {"output": 3}, "found 3; needed: a name or a path, not empty"),
        ("generate", {"samples_per_question": "2"}, "found '2'; needed: a number, not text"),
        ("generate", {"few_shot": ""}, "found ''; needed: a name or a path, not empty"),
        ("vet", {"output": ""}, "found ''; needed: a name or a path, not empty"),
        ("vet", {"overlaps": 1}, "found 1 .* vet .*; did you mean overlap?"),
        ("internalize", {"max_step": 1}, "found 1 .* internalize .*; did you mean max_steps?"),
        ("internalize", {"epochs": -1}, "found -1; needed: above 0"),
        ("internalize", {"seed": None}, "found None; needed: a whole number"),
        ("internalize", {"baselines": "all"}, "found 'all'; needed: true or false"),
        ("distil", {"full_finetuning": 1}, "found 1; needed: true or false"),
        ("run", {"overwrite": "no"}, "found 'no'; needed: true or false"),
        ("from_scratch", {"num_positions": 0}, "found 0; needed: at least 1"),
    ],
)
def test_an_argument_is_checked_before_anything_is_done(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    given: dict[str, Any],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    needed: dict[str, list[Any]] = {"load": [] if "name" in given else ["./no"],
                                    "run": ["quickstart"], "vet": [EXAMPLES],
                                    "from_scratch": []}  # fmt: skip
    with pytest.raises(SettingError, match=f"^{next(iter(given))}: {said}"):
        getattr(unspoken, call)(*needed.get(call, ["worked", EXAMPLES]), **given)
    assert not list(tmp_path.iterdir())


def test_every_plain_argument_of_every_function_is_checked() -> None:
    by_others = {"model", "data", "teacher", "student", "questions", "traces", "test", "valid",
                 "recipe", "overrides", "tokenizer", "template", "choices", "settings", "start",
                 "dtype", "size", "temperature", "top_p"}  # fmt: skip
    checked = {field.name for field in dataclasses.fields(Arguments)}  # pyright: ignore
    names = ("internalize", "distil", "run", "evaluate", "generate", "vet", "load", "from_scratch")
    for name in names:
        function = getattr(importlib.import_module("unspoken.run.api"), name, unspoken.load)
        parameters = inspect.signature(function)
        plain = {
            each.name for each in parameters.parameters.values() if each.kind != each.VAR_KEYWORD
        }
        assert plain <= checked | by_others
        with pytest.raises(SettingError, match=r"^nothing: found 3 for an argument that"):
            getattr(unspoken, name)(nothing=3)


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    found = Arguments(
        limit=np.int64(3),  # pyright: ignore[reportArgumentType]
        learning_rate=torch.tensor(0.5),  # pyright: ignore[reportArgumentType]
        strict=np.bool_(True),  # pyright: ignore[reportArgumentType]
    )
    assert (found.limit, found.learning_rate, found.strict) == (3, 0.5, True)


def test_an_adapter_over_another_base_than_its_name_gives_is_refused(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    base: Any = AutoModelForCausalLM.from_pretrained(saved_base(tmp_path / "base"))
    same = adapted(base)
    section = model_section(same, tmp_path / "run", "student", tokenizer=TOKENIZER)
    assert (Path(section["name"]) / "adapter_config.json").is_file()
    with torch.no_grad():
        base.transformer.wte.weight.add_(1.0)
    with pytest.raises(SettingError, match=r"^student: found .* whose weights are not those of"):
        model_section(same, tmp_path / "changed", "student", tokenizer=TOKENIZER)
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(
        UnspokenError, match=r"^student: found .* not found again \(.*no such folder"
    ):
        model_section(same, tmp_path / "gone", "student", tokenizer=TOKENIZER)
    assert not (tmp_path / "changed").exists()
    assert not (tmp_path / "gone").exists()


def test_an_adapter_of_any_name_is_found_and_several_at_once_are_refused(tmp_path: Path) -> None:
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM

    model: Any = adapted(AutoModelForCausalLM.from_pretrained(saved_base(tmp_path / "base")))
    model.add_adapter("mine", LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    model.set_adapter("mine")
    with torch.no_grad():
        model.base_model.model.transformer.h[0].attn.c_attn.lora_B["mine"].weight.add_(0.5)
    section = model_section(model, tmp_path / "run", "student", tokenizer=TOKENIZER)
    taken, ids = unspoken.load(section["name"]), torch.tensor([[1, 2, 3]])
    assert torch.allclose(taken.model(input_ids=ids).logits, model.eval()(input_ids=ids).logits)
    model.base_model.set_adapter(["default", "mine"])
    with pytest.raises(SettingError, match=r"^student: found a .* with 2 active adapters; needed"):
        model_section(model, tmp_path / "two", "student", tokenizer=TOKENIZER)


def test_a_loaded_model_that_was_trained_further_is_taken_as_it_is(tmp_path: Path) -> None:
    base = saved_base(tmp_path / "base")
    loaded: Any = unspoken.load(base)
    assert model_section(loaded, tmp_path / "run", "student") == {"name": str(base)}
    with torch.no_grad():
        loaded.model.transformer.wte.weight.add_(1.0)
    taken = unspoken.load(model_section(loaded, tmp_path / "run", "student")["name"])
    weights = loaded.model.state_dict()
    assert taken.folder != base
    assert all(torch.equal(weights[key], one) for key, one in taken.model.state_dict().items())


def test_settings_are_merged_and_stay_the_callers_own() -> None:
    given = {"train": {"epochs": 2}, "train.max_steps": 9}
    assert nested(given) == {"train": {"epochs": 2, "max_steps": 9}}
    assert nested({"train.max_steps": 9, "train": {"epochs": 2}}) == nested(given)
    assert given == {"train": {"epochs": 2}, "train.max_steps": 9}
    assert nested({"train.epochs": 2, "train": None}) == {"train": None}
    assert nested({"train": None, "train.epochs": 2}) == {"train": {"epochs": 2}}


def stubs() -> Iterator[str]:
    """The names that type checkers are told of."""
    tree = ast.parse((ROOT / "src" / "unspoken" / "__init__.py").read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    for node in guarded.body:
        assert isinstance(node, ast.ImportFrom)
        yield from (alias.asname or alias.name for alias in node.names)


def test_every_public_name_is_there_and_known_to_type_checkers() -> None:
    public = set(stubs())
    assert public | {"__version__"} == set(unspoken.__all__)
    assert public <= set(dir(unspoken))
    for name in public:
        assert getattr(unspoken, name) is not None
    seeds = {"StepwiseInternalization", "CoTDataset", "setup_sagemaker_training",
             "extract_final_answer"}  # fmt: skip
    assert seeds <= public
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        unspoken.nothing  # noqa: B018
