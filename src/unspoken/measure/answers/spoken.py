"""What of a text is said: without a thought, the tokens of a turn, and what is recited after it.

The first thing that `extract` asks. The formats are those of many families of models. What the text
answers is not asked here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from unspoken.measure.answers.boxes import BOX
from unspoken.measure.answers.markers import (
    DECORATION,
    FLAGS,
    LINE_START,
    MARKERS,
    TAG,
    TAG_END,
)

_THINK_END = "</think>"
# How other families set a thought apart, and what only says that the answer begins.
_THOUGHT_TAG = re.compile(
    r"(?P<start><(?:think|thinking|thoughts?|reasoning|reflection|scratchpad|analysis|seed:think)>"
    r"|\[THINK\]|◁think▷|<\|(?:begin_of_thought|START_THINKING)\|>|<\|channel>thought\b)"
    r"|(?P<end></(?:think|thinking|thoughts?|reasoning|reflection|scratchpad|analysis|seed:think)>"
    r"|\[/THINK\]|◁/think▷|<\|(?:end_of_thought|END_THINKING)\|>|<channel\|>)"
    r"|<\|(?:begin_of_solution|START_RESPONSE)\|>",
    re.IGNORECASE,
)
# A text in OpenAI's Harmony format: channels of which only the final one is spoken.
_FINAL_CHANNEL = re.compile(r"<\|channel\|>\s*final\b[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
_OTHER_CHANNEL = re.compile(r"<\|channel\|>\s*(?:analysis|commentary)\b[^<]*<\|message\|>")
_BARE_CHANNEL = re.compile("analysis")
_BARE_THOUGHT = re.compile("analysis(?=[A-Z])")
_CHANNEL_END = re.compile(r"<\|(?:end|call|return)\|>(?:\s*<\|start\|>[^<]*)?")
# How a turn begins: <s>, <|im_start|>assistant, <start_of_turn>model, <｜Assistant｜> ...
_START_TOKENS = re.compile(
    r"(?:\s*(?:<s>|<bos>|<[|｜](?:begin[_▁]of[_▁](?:text|sentence)|startoftext|assistant)[|｜]>"
    r"|<\|im_start\|>assistant\b|<start_of_turn>model\b"
    r"|<\|start_header_id\|>assistant<\|end_header_id\|>"
    r"|<\|header_start\|>assistant<\|header_end\|>|<\|turn>model\b|<\|im_sep\|>|\[\|assistant\|\]"
    r"|<\|START_OF_TURN_TOKEN\|><\|CHATBOT_TOKEN\|>|<\|start_of_role\|>assistant<\|end_of_role\|>"
    r"|<\|im_assistant\|>assistant<\|im_middle\|>|\[gMASK\]|<sop>))+",
    re.IGNORECASE,
)
# <|im_end|>, <|return|>, <|end_of_text|>, <｜end▁of▁sentence｜>, <end_of_turn>, </s>, </answer> ...
_END_TOKEN = re.compile(
    r"<[|｜](?:im[_▁](?:end|start)|end|end[_▁]?of[_▁]?(?:text|turn|sentence|message|solution)"
    r"(?:[_▁]token)?|eo[tms](?:[_▁]id)?|return|call|user)[|｜]>"
    r"|<[|｜](?:observation|role_end|assistant_end|end_?of_?response|END_RESPONSE)[|｜]>"
    r"|\[\|endofturn\|\]|<seed:eos>|<eoa>"
    r"|<[|｜](?:assistant|message_end|endofprompt|fim_(?:pad|prefix|middle|suffix))[|｜]>|<turn\|>"
    r"|</s>|<eos>|<pad>|<unk>|<\|pad\|>|\[EOS\]|\[/?INST\]|<start_of_turn>"
    r"|<(?:eod|end(?:_of_(?:turn|text|utterance))?)>"
    r"|<\|(?:eod|/assistant|endofassistant)\|>|<EOS_TOKEN>|\[end of text\]"
    r"|<(?:extra_id|reserved)_[0-9]{1,3}>",
    re.IGNORECASE,
)
# What else may stand at the end of a text, and what a whole answer may be wrapped in.
_LAST_TOKEN = re.compile(r"<[|｜][^<>|｜\s]{1,40}[|｜]>\Z")
_LAST_TAG = re.compile(
    r"</(output|result|solution|final|response|assistant|end|tool_call)>\Z", re.IGNORECASE
)
_MAX_TOKEN = 50
_QUESTION = re.compile(
    rf"{LINE_START}(?:(?:next|new)\s+)?(?:(?:Q|question|problem|human|user|instruction|问题|題目|题目)"
    rf"[ \t]*[0-9]*{DECORATION}[:：])|^[ \t]*#+[ \t]*(?:question|problem)\b"
    r"|^[ \t]*\*\*(?:question|problem|exercise|example)[ \t]*[0-9]+\*\*",
    FLAGS,
)


class Spoken(NamedTuple):
    """What a text says: `text`, after a thought that is set apart, which is `thought`.

    Attributes:
        has_thought: whether such a thought has ended.
        text: empty where the whole text is a thought, maybe one that was cut off.
    """

    thought: str
    has_thought: bool
    text: str


def read_spoken(text: str) -> Spoken:
    """Returns what a text says after its thought, up to what the writer makes up as a next turn."""
    if start := _START_TOKENS.match(text):
        text = text[start.end() :]
    thought, has_thought, said = _split_thought(_THOUGHT_TAG.sub(_as_think_tag, text))
    is_thinking = said.lstrip().startswith("<think>") or (not has_thought and _in_channel(text))
    if is_thinking or (has_thought and not _END_TOKEN.sub("", said).strip()):
        return Spoken(thought, has_thought=False, text="")
    return Spoken(thought, has_thought, _without_recitation(_without_tokens(said)))


def _as_think_tag(tag: re.Match[str]) -> str:
    return "<think>" if tag["start"] else _THINK_END if tag["end"] else ""


def _in_channel(text: str) -> bool:
    """Whether a text begins in a channel for thoughts."""
    return (_BARE_THOUGHT.match(text) or _OTHER_CHANNEL.search(text)) is not None


def _split_thought(text: str) -> tuple[str, bool, str]:
    """Returns a thought that is set apart, whether it has ended, and what follows it."""
    inside, closed, after = text.rpartition(_THINK_END)
    if closed:
        return inside.strip().removeprefix("<think>").strip(), True, after
    channel = _OTHER_CHANNEL.search(text) or _BARE_CHANNEL.match(text)
    spoken = _final_channel(text, channel)
    if channel is None or spoken is None:
        return "", False, spoken or text
    inside = text[channel.end() : len(text) - len(spoken)]
    end = _CHANNEL_END.search(inside)
    inside = inside[: end.start()] if end else inside.removesuffix("assistantfinal")
    return inside.strip(), True, spoken


def _final_channel(text: str, other: re.Match[str] | None) -> str | None:
    """Returns what a Harmony text says in its final channel, or after its other ones."""
    if text.startswith("analysis"):  # without its special tokens
        _, ended, spoken = text.rpartition("assistantfinal")
        return spoken if ended else None
    finals = list(_FINAL_CHANNEL.finditer(text))
    if finals:
        return text[finals[-1].end() :]
    if other is None:
        return None
    last = list(_OTHER_CHANNEL.finditer(text))[-1]
    end = _CHANNEL_END.search(text, last.end())
    return text[end.end() :] if end and text[end.end() :].strip() else None


def _without_tokens(text: str) -> str:
    """Returns a text up to a token that ends a turn, without what encloses all of it."""
    if TAG_END.search(text) and not TAG.search(text):
        text = TAG_END.split(text, maxsplit=1)[0]
    ends = (token.start() for token in _END_TOKEN.finditer(text))
    return _unwrapped(text[: next((end for end in ends if text[:end].strip()), len(text))])


def _unwrapped(text: str) -> str:
    """Returns a text without the tokens at its end, and 42 of <output>42</output>."""
    end = len(text.rstrip())
    while token := _LAST_TOKEN.search(text, max(0, end - _MAX_TOKEN), end):
        end = token.start()
        while end and text[end - 1].isspace():
            end -= 1
    tag = _LAST_TAG.search(text, max(0, end - _MAX_TOKEN), end)
    if tag is None:
        return text[:end] if end else text
    opened = list(re.finditer(f"<{tag[1]}>", text[: tag.start()], re.IGNORECASE))[-1:]
    parts = [text[: opened[0].start()], text[opened[0].end() : tag.start()]] if opened else []
    return "\n".join(parts or [text[: tag.start()]])


def _without_recitation(text: str) -> str:
    """Returns the text up to the first question that follows an answer.

    An answer is any marker, or one short line alone at the start (a model that answers at once).
    A question before any answer is the asked one, repeated by the model.
    """
    questions = [question.start() for question in _QUESTION.finditer(text)]
    if not questions:
        return text
    found = [match.start() for marker in MARKERS if marker and (match := marker.search(text))]
    found += [box.start() for box in [BOX.search(text)] if box]
    first_marker = min(found, default=len(text))
    first_content = len(text) - len(text.lstrip())
    # Only the first question after some content can follow one line alone.
    following = next((start for start in questions if start > first_content), len(text))
    if _is_short_answer(text[:following].strip()):
        return text[:following]
    return text[: next((start for start in questions if start > first_marker), len(text))]


def _is_short_answer(head: str) -> bool:
    if "\n" in head or not head:
        return False
    has_letters = any(character.isalpha() for character in head)
    has_digits = any(character.isdigit() for character in head)
    return not has_letters or len(head.split()) <= (5 if has_digits else 2)
