"""Damaged and hostile files through the command line: no traceback, and nothing that hangs.

In the normal suite a few hundred inputs, always the same; `make fuzz` tries thousands of new ones.
What it finds belongs into the tests of the part that it is about.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hypothesis", reason="hypothesis comes with unspoken[dev]")

from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from helpers.recipes import tiny_recipe
from unspoken.cli.main import main
from unspoken.recipe import dump_recipe

pytestmark = pytest.mark.integration

#: Inputs of each kind; `make fuzz` sets it, and then they are new ones each time.
NUM_INPUTS = int(os.environ.get("UNSPOKEN_FUZZ_INPUTS", "0"))
LIMIT_S = 10.0


@contextmanager
def within_limit() -> Iterator[None]:
    """Ends what takes longer than any command on a tiny file may."""

    def stop(number: int, frame: object) -> None:
        raise AssertionError(f"still at work after {LIMIT_S:.0f} s")

    # of processor time, because this machine may have other things to do; waiting counts, too
    timers = {signal.SIGPROF: signal.ITIMER_PROF, signal.SIGALRM: signal.ITIMER_REAL}
    before = {number: signal.signal(number, stop) for number in timers}
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    signal.setitimer(signal.ITIMER_REAL, 10 * LIMIT_S)
    try:
        yield
    finally:
        for number, timer in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def status_of(words: list[str]) -> int:
    """The exit status of a command; everything else that it raises is a traceback for a user."""
    try:
        main(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


# ---- how a file is changed ------------------------------------------------------------------

_TEXTS = [
    "", " ", "\0", "\ud800", "\u202e", "a" * 5_000, "1" * 5_000, "nan", "inf", "1e400", "true",
    "../../x", "#### 1", "\\boxed{", "{{ 7 * 7 }}", "<|im_end|>", "$(id)", "http://127.0.0.1:9/v1",
    "\n", "\x1b[31m",
]  # fmt: skip


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


_VALUES = st.one_of(
    st.sampled_from(_TEXTS),
    st.sampled_from([None, True, False, -1, 0, 1, 2**63, -(2**63), 10**30, 1e308, 1e-320, 0.5]),
    st.sampled_from([float("inf"), float("nan"), [], {}, [[]], {"": None}, {"a": [1, {"b": 2}]}]),
    st.integers(-(10**6), 10**9),
    st.text(max_size=20),
    st.builds(_nested, st.sampled_from([3, 40, 300])),
)


_SNIPPETS = [
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\n\n", b"\r", b"{", b"}", b"[" * 3_000, b'"', b",",
    b":", b"NaN", b"-Infinity", b"1e999", b"9" * 5_000, b"&a [*a]", b"!!set {x}", b"<<: *a",
    b"\x1f\x8b\x08", b"PK\x03\x04", b"PAR1", b"\\ud800", b"null", b"true", b"\t", b"- ", b"? ",
    b"---\n", b"%YAML 3\n",
]  # fmt: skip


@st.composite
def changed_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """A file in which pieces are cut out, doubled or replaced."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from([0, 1, 2, 8, 64, 100_000])))
        piece = draw(st.one_of(st.sampled_from(_SNIPPETS), st.binary(max_size=8)))
        kind = draw(st.sampled_from(["replace", "double", "cut"]))
        new = {"replace": piece, "double": content[start:end] * 2, "cut": b""}[kind]
        content = content[:start] + new + content[end:]
    return content


#: Values below this are changed with what holds them.
_DEEPEST = 8


def _places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    if isinstance(value, dict | list) and len(way) < _DEEPEST:
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(each, (*way, key))


def _replaced(value: Any, way: tuple[Any, ...], new: Any, *, drop: bool) -> Any:
    if not way:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if drop and len(way) == 1:
        del copy[way[0]]
    else:
        copy[way[0]] = _replaced(copy[way[0]], way[1:], new, drop=drop)
    return copy


@st.composite
def changed_values(draw: st.DrawFn, value: Any) -> Any:
    """Plain values in which some are others, or missing."""
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from(sorted(_places(value), key=str)))
        value = _replaced(value, way, draw(_VALUES), drop=draw(st.integers(0, 4)) == 0)
    return value


def changed(content: bytes, *, is_lines: bool = False) -> st.SearchStrategy[bytes]:
    """A changed file: its bytes, or, of JSON and JSON lines, its values."""
    by_bytes = changed_bytes(content)
    try:
        records = [json.loads(line) for line in content.splitlines()] if is_lines else None
        value = json.loads(content) if records is None else records
    except ValueError:
        return by_bytes

    def written(new: Any) -> bytes:
        if is_lines and isinstance(new, list):
            return b"".join(json.dumps(one).encode() + b"\n" for one in new)
        return json.dumps(new).encode()

    return st.one_of(by_bytes, changed_values(value).map(written))


# ---- what is tried --------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A file that is changed, and the commands that read it.

    Attributes:
        file: below the folder of the trial.
        commands: the words, with {at} for this folder.
        share: of the inputs, in comparison with the others.
        is_lines: whether it is JSONL.
    """

    file: str
    commands: tuple[str, ...]
    share: float = 1.0
    is_lines: bool = False


_ASK = "evaluate --base_model {at}/model --input {at}/test.jsonl --output {at}/p.jsonl --overwrite"
_REPORT = ("report {at}/run",)
_GO_ON = ("generate --engine worked --input {at}/raw.jsonl --output {at}/traces.jsonl",)
TARGETS = {
    "recipe": Target("recipe.json", ("check {at}/recipe.json",), 2),
    "recipe, YAML": Target("recipe.yaml", ("check {at}/recipe.yaml",), 2),
    "jsonl": Target(
        "train.jsonl",
        (
            "data questions --input {at}/train.jsonl --output {at}/out.jsonl --overwrite",
            "check {at}/own.yaml",
        ),
        1,
        True,
    ),
    "csv": Target(
        "train.csv", ("data questions --input {at}/train.csv --output {at}/out.jsonl --overwrite",)
    ),
    "answers": Target("answers.jsonl", ("score --input {at}/answers.jsonl",), 2, True),
    "compared": Target(
        "predictions.jsonl",
        ("compare {at}/predictions.jsonl {at}/run/internalized/predictions.jsonl",),
        1,
        True,
    ),
    "traces": Target(
        "traces.jsonl",
        ("vet --input {at}/traces.jsonl --output {at}/d.jsonl --overwrite", *_GO_ON),
        2,
        True,
    ),
    "settings of traces": Target(
        "traces.jsonl.settings.json",
        (*_GO_ON, "merge {at}/traces.jsonl --output {at}/m.jsonl --overwrite"),
    ),
    "run: recipe": Target("run/recipe.yaml", _REPORT, 0.5),
    "run: environment": Target("run/environment.json", _REPORT, 0.5),
    "run: data": Target("run/data/stage.json", _REPORT, 0.5),
    "run: stage": Target("run/internalized/stage.json", _REPORT, 0.5),
    "run: evaluation": Target("run/internalized/evaluation.json", _REPORT, 0.5),
    "run: predictions": Target("run/internalized/predictions.jsonl", _REPORT, 0.5, True),
    "run: metrics": Target("run/internalized/metrics.jsonl", _REPORT, 0.5, True),
    "model: config": Target("model/config.json", (_ASK,)),
    "model: generation": Target("model/generation_config.json", (_ASK,)),
    "model: tokenizer": Target("model/tokenizer.json", (_ASK,)),
    "model: tokenizer's config": Target("model/tokenizer_config.json", (_ASK,)),
    "model: card": Target("model/unspoken.json", (_ASK,)),
    "model: weights": Target("model/model.safetensors", (_ASK,)),
    "download": Target("model/download.json", ("download --verify {at}/model",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each file, as they should be."""
    at = tmp_path_factory.mktemp("fuzz") / "whole"
    at.mkdir()
    recipe = tiny_recipe(
        at / "run",
        schedule={"delta": 40},
        train={"max_steps": 6},
        data={"num_train": 60, "num_valid": 10, "num_test": 10},
    )
    (at / "recipe.yaml").write_text(dump_recipe(recipe))
    (at / "recipe.json").write_text(json.dumps(recipe.model_dump(mode="json"), indent=1))
    for words in (
        "run {at}/recipe.yaml",
        "data arithmetic --output {at}/data --num_train 12 --num_test 4",
        "generate --engine worked --input {at}/data/raw_questions.jsonl --output {at}/traces.jsonl",
        "vet --input {at}/traces.jsonl --output {at}/train.jsonl",
    ):
        assert status_of(words.format(at=at).split()) == 0
    shutil.copytree(at / "run" / "internalized" / "model", at / "model")
    shutil.copy(at / "data" / "raw_questions.jsonl", at / "raw.jsonl")
    shutil.copy(at / "data" / "test_questions.jsonl", at / "test.jsonl")
    shutil.copy(at / "run" / "internalized" / "predictions.jsonl", at)
    shutil.copy(at / "run" / "internalized" / "predictions.jsonl", at / "answers.jsonl")
    (at / "train.csv").write_text('question,answer\n"1, then 2",3\nx,4\n')
    files = [{"path": "config.json", "size": 2, "sha256": "0" * 64, "blob_id": None}]
    record = {
        "repo": "a/b",
        "revision": "main",
        "commit": "a" * 40,
        "with_code": False,
        "files": files,
    }
    (at / "model" / "download.json").write_text(json.dumps(record))
    own = {"name": "own", "model": {"name": str(at / "model")}, "train": {"max_steps": 2},
           "data": {"train": str(at / "train.jsonl")}}  # fmt: skip
    (at / "own.yaml").write_text(json.dumps(own))
    return at


def _restore(whole: Path, at: Path) -> None:
    """The folder of a trial as it should be; large files are linked."""
    shutil.rmtree(at, ignore_errors=True)
    shutil.copytree(whole, at, copy_function=shutil.copy)


@pytest.mark.parametrize("name", TARGETS)
def test_no_file_makes_a_traceback(
    name: str, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = TARGETS[name]
    content = (whole / target.file).read_bytes()
    at = tmp_path / "at"
    _restore(whole, at)
    is_long = NUM_INPUTS > 0

    @settings(
        max_examples=max(1, int(NUM_INPUTS * target.share))
        if is_long
        else max(1, int(3 * target.share)),
        derandomize=not is_long,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # a trial takes too long to look for a smaller one
    )
    @given(changed(content, is_lines=target.is_lines))
    def try_it(new: bytes) -> None:
        file = at / target.file
        for words in target.commands:
            file.unlink(missing_ok=True)
            file.write_bytes(new)
            with within_limit():
                status = status_of(words.format(at=at).split())
            event(f"status {status}")
            assert status in (0, 1, 2)
            assert "Traceback" not in capfd.readouterr().err
        _restore(whole, at) if target.file.startswith(("run/", "traces")) else None

    try_it()
