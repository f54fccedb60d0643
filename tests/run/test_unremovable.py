"""A thought that nobody can do without: what cannot be internalized ends, and says so."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import unspoken
from unspoken.cli.main import main

LETTERS = "abcdefgh"


def drawn(count: int) -> list[dict[str, str]]:
    """Questions whose answer stands in a thought that was drawn by lot, and nowhere else."""
    generator = random.Random(0)
    records = []
    for number in generator.sample(range(100, 1000), count):
        thought = generator.choices(LETTERS, k=3)
        records.append({"question": str(number), "thought": "".join(thought), "answer": thought[1]})
    return records


@pytest.mark.integration
def test_a_random_thought_is_not_removed_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training examples can be learned by heart, so recovery is measured on the others.

    What is left is the letter that is the answer, and the one after it.
    """
    records = drawn(420)
    result = unspoken.internalize(
        unspoken.from_scratch(),
        records[:300],
        valid=records[300:400],
        test=records[400:],
        max_steps=3_000,
        batch_size=32,
        output=tmp_path / "run",
        progress=False,
        settings={
            "schedule.patience": 200,
            "schedule.measure_every": 20,
            "schedule.tries": 1,
            # a guess among eight letters costs ln 8 = 2.08 nats, which is at the answer's margin
            "schedule.answer_margin": None,
            "train.evaluate_every": 1_000,
        },
    )
    trained = result.variants["internalized"].trained
    assert trained is not None and trained.state.step < 1_500, "in bounded time"
    assert result.levels[0].removed == 0, "the explicit one is kept"
    assert all(level.removed is not None for level in result.levels)
    outcome = result.variants["internalized"].outcome
    assert outcome is not None and outcome.tokens_removed < outcome.longest_thought == 4
    sentence = f"not internalized: {outcome.tokens_removed} of 4 tokens removed, with 1 more, the "
    assert outcome.sentence.startswith(f"{sentence}loss never came below ")
    capsys.readouterr()
    main(["report", str(tmp_path / "run")])
    told = " ".join(capsys.readouterr().out.split())
    assert sentence.strip() in told
    assert "partly internalized" in told or "not internalized" in told.split(sentence)[0]
