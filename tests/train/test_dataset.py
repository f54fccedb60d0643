from __future__ import annotations

import itertools
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import pytest

from helpers.patience import Deadline, patient
from unspoken.common.errors import DataError
from unspoken.data.example import Example, write_examples
from unspoken.data.tasks.multiplication import examples
from unspoken.models.template import Template, encode_prompts
from unspoken.train.encode import encode_examples, encode_file, split_steps

EXAMPLES = [Example(f"{n} * 1", f"{n} + 0", str(n)) for n in range(1, 40)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_examples(tmp_path / "train.jsonl", EXAMPLES)
    return tmp_path / "train.jsonl"


def equal(one: Any, other: Any) -> bool:
    names = ("tokens", "starts", "thought_lengths", "step_ends", "step_starts", "rows")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_spans_decode_to_the_rendered_text(tokenizer: Any) -> None:
    dataset = encode_examples(EXAMPLES, tokenizer, Template("plain"))
    start = int(dataset.starts[6])
    text = tokenizer.decode(dataset.tokens[start : start + int(dataset.lengths[6])])
    assert text == "7 * 1\n7 + 0\n#### 7<eos>"
    assert tokenizer.decode(dataset.prompts([6])[0]) == "7 * 1\n"


def test_file_and_memory_give_the_same_and_the_cache_is_used(
    path: Path, tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = Template("plain")
    cache = tmp_path / "cache"
    first = encode_file(path, tokenizer, template, cache=cache, progress=False)
    assert equal(first, encode_examples(EXAMPLES, tokenizer, template))
    assert first.tokens.itemsize == 2
    monkeypatch.setattr(
        "unspoken.train.encode.iter_examples", lambda *_, **__: pytest.fail("not cached")
    )
    again = encode_file(path, tokenizer, template, cache=cache, progress=False)
    assert equal(first, again)
    assert isinstance(again.tokens, np.memmap)


@pytest.mark.parametrize("name", ["tokens.bin", "rows.npy", "meta.json"])
def test_a_cache_that_lost_a_part_of_a_file_or_a_file_is_made_again(
    name: str, path: Path, tmp_path: Path, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def encode() -> Any:
        return encode_file(path, tokenizer, Template(), cache=tmp_path / "cache", progress=False)

    encode()
    (damaged,) = (tmp_path / "cache" / "datasets").glob(f"*/{name}")
    damages = (lambda: damaged.write_bytes(damaged.read_bytes()[:-1]), damaged.unlink)
    for damage in damages:
        damage()
        caplog.clear()
        assert equal(encode(), encode_examples(EXAMPLES, tokenizer, Template()))
        assert "it is made again" in caplog.text
    assert len(list((tmp_path / "cache" / "datasets").iterdir())) == 1


@pytest.mark.integration
def test_worker_processes_give_the_same_after_the_parent_has_tokenized(
    tmp_path: Path, tokenizer: Any
) -> None:
    """The Rust tokenizer's threads do not survive a fork; this hung once."""
    some = [Example(f"q {n}", f"t {n}", str(n)) for n in range(9000)]
    write_examples(tmp_path / "many.jsonl", some)
    encode_prompts(["one", "two"] * 50, tokenizer, Template())
    parallel = encode_file(
        tmp_path / "many.jsonl",
        tokenizer,
        Template(),
        cache=tmp_path,
        num_workers=2,
        progress=False,
    )
    assert equal(parallel, encode_examples(some, tokenizer, Template()))


def encode_in_two_workers(path: Path, tokenizer: Any) -> None:
    encode_file(path, tokenizer, Template(), cache=path.parent, num_workers=2, progress=False)


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell no child of its parent")
def test_workers_end_with_a_process_that_is_killed(
    path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = itertools.cycle(EXAMPLES)
    monkeypatch.setattr("unspoken.train.encode.iter_examples", lambda *_, **__: endless)
    killed = multiprocessing.get_context("fork").Process(
        target=encode_in_two_workers, args=(path, tokenizer)
    )
    killed.start()
    assert killed.pid is not None
    encoding, deadline = psutil.Process(killed.pid), Deadline(60)
    while len(workers := encoding.children()) < 2:
        assert killed.is_alive()
        assert not deadline.has_passed
        time.sleep(0.01)
    killed.kill()
    killed.join()
    _, alive = psutil.wait_procs(workers, timeout=patient(10))
    for worker in alive:
        worker.kill()
    assert not alive


def test_grouped_batches_have_like_lengths_and_come_in_no_order_of_length(tokenizer: Any) -> None:
    some = [Example(str(n), "1" * (n + 1), "2") for n in range(64)]
    dataset = encode_examples(some, tokenizer, Template("compact"))
    epoch = [dataset.batch_indices(step, 4, seed=0) for step in range(16)]
    assert sorted(np.concatenate(epoch)) == list(range(64))
    lengths = [dataset.thought_lengths[batch] for batch in epoch]
    assert all(batch.max() - batch.min() == 3 for batch in lengths)
    means = [float(batch.mean()) for batch in lengths]
    rises = sum(after > before for before, after in itertools.pairwise(means))
    assert 3 <= rises <= 12, "a model would see the short ones first in every epoch"


def test_symbols_outside_the_alphabet_are_named() -> None:
    from unspoken.models.tokenizer import character_tokenizer

    with pytest.raises(DataError, match=r"\['7'\].*model.alphabet"):
        encode_examples(EXAMPLES[6:7], character_tokenizer("0123456 *+#\n"), Template())
    with pytest.raises(DataError, match=r"'C', 'b', .*model.alphabet"):  # of `Choices: a, b`
        encode_examples(
            [Example("1", "2", "a")],
            character_tokenizer("123 #\na"),
            Template(choices=("a", "b")),
        )


def test_cache_knows_content_template_tokenizer_and_length(
    path: Path, tmp_path: Path, tokenizer: Any
) -> None:
    from unspoken.models.tokenizer import character_tokenizer

    cache = tmp_path / "cache"

    def count() -> int:
        return len(list((cache / "datasets").iterdir()))

    def encode(template: str = "plain", other: Any = None, **arguments: Any) -> None:
        chosen = other or tokenizer
        way = Template(template, chosen, arguments.pop("choices", None))  # type: ignore[arg-type]
        encode_file(path, chosen, way, cache=cache, progress=False, **arguments)

    encode()
    encode("compact")
    assert count() == 2
    encode(max_length=20)
    assert count() == 3
    encode(other=character_tokenizer("0123456789*+# \n"))
    assert count() == 4
    write_examples(path, EXAMPLES[:5], overwrite=True)
    encode()
    assert count() == 5
    encode(choices=("1", "2"))
    assert count() == 6
    for number, form in enumerate(("{{ messages[0].content }}", "{{ messages[0].content }}=")):
        tokenizer.chat_template = form
        encode("chat")
        encode()  # does not look at it
        assert count() == 7 + number


def test_a_file_with_an_error_leaves_nothing_in_the_cache(
    path: Path, tmp_path: Path, tokenizer: Any
) -> None:
    path.write_text(path.read_text() + '{"question": "x"}\n')
    with pytest.raises(DataError, match=r"train.jsonl:40"):
        encode_file(path, tokenizer, Template(), cache=tmp_path / "cache", progress=False)
    assert list((tmp_path / "cache" / "datasets").iterdir()) == []


def test_what_was_taken_once_is_refused_again_where_it_may_not_be(
    path: Path, tmp_path: Path, tokenizer: Any
) -> None:
    write_examples(path, [*EXAMPLES[:3], EXAMPLES[0]], overwrite=True)
    arguments: dict[str, Any] = {"cache": tmp_path / "cache", "progress": False}
    assert len(encode_file(path, tokenizer, Template(), unique=False, **arguments)) == 4
    with pytest.raises(DataError, match=r"train.jsonl:4"):
        encode_file(path, tokenizer, Template(), **arguments)


def test_over_long_examples_are_dropped_one_by_one_and_counted(tokenizer: Any) -> None:
    mixed = [EXAMPLES[0], Example("long", "x" * 100, "1"), EXAMPLES[1]]
    dataset = encode_examples(mixed, tokenizer, Template(), max_length=40)
    assert (len(dataset), dataset.num_dropped, dataset.rows.tolist()) == (2, 1, [0, 2])
    with pytest.raises(
        DataError, match=r"found none of 1 with at most 40 tokens; .*raise data.max_length"
    ):
        encode_examples(mixed[1:2], tokenizer, Template(), max_length=40)


def test_every_epoch_visits_every_example_once_in_another_order(tokenizer: Any) -> None:
    dataset = encode_examples(EXAMPLES[:36], tokenizer, Template())
    epochs = [
        np.concatenate([dataset.batch_indices(e * 9 + step, 4, seed=1) for step in range(9)])
        for e in range(2)
    ]
    for order in epochs:
        assert sorted(order.tolist()) == list(range(36))
    assert epochs[0].tolist() != epochs[1].tolist()
    again = dataset.batch_indices(12, 4, seed=1)
    assert again.tolist() == epochs[1][12:16].tolist()
    assert dataset.batch_indices(12, 4, seed=2).tolist() != again.tolist()


def test_grouping_by_length_saves_padding(tokenizer: Any) -> None:
    some = [Example(f"q{n}", "x" * (n % 50 + 1), "1") for n in range(605)]
    dataset = encode_examples(some, tokenizer, Template())

    def padding(group: bool) -> int:
        batches = [dataset.batch_indices(s, 8, seed=0, group_by_length=group) for s in range(75)]
        assert len(np.unique(batches)) == 600
        lengths = [dataset.lengths[batch] for batch in batches]
        return sum(int((row.max() - row).sum()) for row in lengths)

    assert padding(True) < padding(False) / 4


def test_fewer_examples_than_a_batch_go_round(tokenizer: Any) -> None:
    dataset = encode_examples(EXAMPLES[7:10], tokenizer, Template())  # of two lengths
    batch = dataset.batch_indices(0, 8, seed=0)
    assert len(batch) == 8
    assert set(batch.tolist()) == {0, 1, 2}


def test_steps_are_lines_equations_or_summands() -> None:
    assert split_steps("one\ntwo\n") == ["one\n", "two\n"]
    assert split_steps("<<1+2=3>> <<3*3=9>>\n") == ["<<1+2=3>>", " <<3*3=9>>\n"]
    paper = examples([(3, 2)], 1, 0, 0)["train"][0].thought
    pieces = split_steps(paper)
    assert len(pieces) == 2
    assert pieces[1].startswith(" +")
    for thought in ("one\ntwo", "<<1+2=3>>", paper, "x", "", "a + b"):
        assert "".join(split_steps(thought)) == thought


def test_steps_end_where_tokens_end(tokenizer: Any) -> None:
    dataset = encode_examples([Example("q", "one\ntwo\nthree", "1")], tokenizer, Template())
    assert dataset.step_ends.tolist() == [0, 4, 8, 14]  # the template's line end closes the last
    assert dataset.most_steps == 3


def test_a_token_on_a_border_belongs_to_the_step_in_which_it_begins(tokenizer: Any) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    known = tokenizer.get_vocab()
    merges = [("\n", "2"), ("4", "\n")]
    vocabulary = known | {"".join(pair): len(known) + n for n, pair in enumerate(merges)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    joins = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")
    some = [Example("1", "11\n22\n34\n5", "1")]
    dataset = encode_examples(some, joins, Template("compact"))
    # 1, 1, \n2 | 2, \n | 3, 4\n | 5
    assert dataset.step_ends.tolist() == [0, 3, 5, 7, 8]
    whole = encode_examples(some, joins, Template("compact"), steps=False)
    assert dataset.tokens.tolist() == whole.tokens.tolist()


@pytest.mark.parametrize(
    ("side", "gone"),
    [
        ("left", [[0, 0], [4, 4], [8, 4], [14, 4], [14, 4]]),
        ("right", [[0, 0], [6, 4], [10, 4], [14, 4], [14, 4]]),
    ],
)
def test_steps_go_whole_from_their_side_and_of_each_thought_at_most_all(
    side: Literal["left", "right"], gone: list[list[int]], tokenizer: Any
) -> None:
    some = [Example("q", "one\ntwo\nthree", "1"), Example("q", "one", "1")]
    dataset = encode_examples(some, tokenizer, Template())
    assert (dataset.longest("step"), dataset.longest("token")) == (3, 14)
    both = np.array([0, 1])
    for number, tokens in enumerate(gone):
        removed = np.full(2, number)
        found = dataset.tokens_removed(both, removed, side=side, unit="step")
        assert found.tolist() == tokens
    without = encode_examples(some, tokenizer, Template(), steps=False)
    with pytest.raises(ValueError, match="steps=True"):
        without.tokens_removed(both, removed, unit="step")


def test_a_slow_tokenizer_gives_the_same_kind_of_dataset(tokenizer: Any) -> None:
    class Slow:
        is_fast = False

        def __len__(self) -> int:
            return 100

        eos_token_id = tokenizer.eos_token_id

        def __call__(self, texts: Any, **_: Any) -> dict[str, list[list[int]]]:
            return {"input_ids": [[3 + ord(c) % 50 for c in text] for text in texts]}

    dataset = encode_examples([Example("q", "one\ntwo", "1")], Slow(), Template())
    assert dataset.step_ends.tolist() == [0, 4, 8]
