"""What a teacher is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from unspoken.common.errors import DataError
from unspoken.teach.prompts import PromptWriter, make_prompt_writer


def test_the_plain_prompt_is_the_documented_one() -> None:
    expected = (
        "You are a careful reasoning assistant. Solve the problem step-by-step and end with a "
        "line that starts with 'Final Answer:'.\n\nQ: What is 15% of 240?\n\nA:"
    )
    assert PromptWriter()("What is 15% of 240?").text == expected


def test_few_shot_examples_and_a_system_prompt_stand_before_the_question(tmp_path: Path) -> None:
    shots = tmp_path / "shots.jsonl"
    shots.write_text('{"question": "1 + 1", "thought": "one more", "answer": "2"}\n')
    plain = make_prompt_writer("plain", "Think.", shots)("2 + 2").text
    assert plain == "Think.\n\nQ: 1 + 1\n\nA: one more\nFinal Answer: 2\n\nQ: 2 + 2\n\nA:"
    chat = make_prompt_writer("chat", "", shots)("2 + 2").messages
    assert [message["role"] for message in chat] == ["user", "assistant", "user"]
    shots.write_text('{"question": "1 + 1", "answer": "2"}\n')
    with pytest.raises(DataError, match=r"shots.jsonl:1: thought: missing"):
        make_prompt_writer("plain", None, shots)
    with pytest.raises(DataError, match=r"^system_prompt: "):
        make_prompt_writer("trained", "Think.")


def test_choices_are_named_after_each_question_and_decide_the_traces(tmp_path: Path) -> None:
    queues = ("billing", "login")
    shots = tmp_path / "shots.jsonl"
    shots.write_text('{"question": "I paid.", "thought": "Money.", "answer": "billing"}\n')
    for style in ("plain", "chat"):
        writer = make_prompt_writer(style, few_shot=shots, choices=queues)
        prompt = writer("I cannot log in.")
        asked = prompt.text or "\n".join(message["content"] for message in prompt.messages)
        for question in ("I paid.", "I cannot log in."):
            assert f"{question}\nChoices: billing, login" in asked
        assert writer.settings() != make_prompt_writer(style, few_shot=shots).settings()
    # a model that unspoken trained is asked as it was trained
    assert make_prompt_writer("trained", choices=queues)("I cannot log in.").text == (
        "I cannot log in."
    )
