"""Find the final answer in what a model wrote, or in a reference solution.

The first step after decoding: what is found here goes to `equal` and `digits` as the prediction.
Every step takes time in proportion to the text, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from unspoken.measure.answers.boxes import (
    BOX,
    Box,
    expression_of_box,
    find_boxes,
    last_boxes,
)
from unspoken.measure.answers.clean import tidy
from unspoken.measure.answers.retraction import (
    corrected,
    retraction,
    split_correction,
    takes_back,
)

_DECORATION = r"[ \t*_`]*"
_LINE_START = r"^[ \t>*_#`]*"
# A marker in quotation marks is talked about ("end with a line that starts with 'Final Answer:'").
_UNQUOTED = r"""(?<!['"“‘])(?<![^\W_])"""
_NOT_FINAL = r"(?<!final\s)"
_FLAGS = re.IGNORECASE | re.MULTILINE
# What is so plainly an answer that no colon is needed before it: FINAL ANSWER 42.
_PLAIN_VALUE = r"(?=\(?[A-J]\)?[.\s*]*$|\\boxed|[-+(\\]*[$€£¥₹]?\s?\.?[0-9][0-9.,/:]*[^\n]{0,40}$)"
_IS = r"(?:is|(?:should|would|must|will)[ ]be|equals|(?:comes|turns)[ ]out[ ]to(?:[ ]be)?)"
_IN_UNIT = r"(?:\([^()\n]{1,30}\)|\[[^][\n]{1,30}\])[ \t*_`]*"

_TAG = re.compile(
    r"<(?:final[_ ]?)?answer>|\[answer\](?=(?:(?!\[).){1,200}\[/answer\])",
    re.IGNORECASE | re.DOTALL,
)
_TAG_END = re.compile(r"</(?:final[_ ]?)?answer>|\[/answer\]", re.IGNORECASE)
_FINAL_ANSWER = re.compile(
    rf"{_UNQUOTED}(?:final|revised|corrected|updated)\s+answer{_DECORATION}"
    rf"(?:is\b{_DECORATION}|{_IN_UNIT})?[:：]"
    rf"|{_LINE_START}final\s+answer{_DECORATION}$"
    rf"|{_LINE_START}final\s+answer{_DECORATION}(?:[-–—]+[ \t]+|[=→>]+{_DECORATION})"
    rf"|{_LINE_START}final\s+answer[ \t*_`]+{_PLAIN_VALUE}"
    r"|最[终終后後]答案(?:应该|應該)?[ \t*_`]*[:：是为為]+",
    _FLAGS,
)
_FINAL_ANSWER_SENTENCE = re.compile(rf"{_UNQUOTED}final\s+answer{_DECORATION}is\b", _FLAGS)
_HASHES = re.compile(r"(?<!#)####(?!#)")
# "The answer is 7" counts as much, since "Answer:" may only have begun the solution.
_ANSWER = re.compile(
    rf"{_NOT_FINAL}{_UNQUOTED}answer{_DECORATION}"
    rf"(?:(?:is\b{_DECORATION}|{_IN_UNIT})?[:：]|{_IS}[ \t*_`]+{_PLAIN_VALUE})"
    rf"|{_LINE_START}answer{_DECORATION}[-–—=→]+[ \t]+{_PLAIN_VALUE}"
    rf"|^[ \t]*#+[ \t]*answer{_DECORATION}$"
    r"|(?<![终終后後])答案(?:应该|應該)?[ \t*_`]*[:：是为為]+",
    _FLAGS,
)
# La respuesta es 42, Die Antwort lautet 42, 答え：42, 故选：B, and others' "the answer is".
_OTHER_ANSWER = re.compile(
    rf"{_UNQUOTED}(?:la respuesta (?:final |correcta )?es|la réponse (?:finale )?est"
    r"|die (?:endgültige |richtige )?antwort (?:ist|lautet)|a resposta (?:final |correta )?é"
    r"|la risposta (?:finale )?è|het antwoord is|jibu ni)\b ?[:：]?"
    r"|คำตอบคือ|సమాధానం[:：]?|(?:উত্তর|उत्तर|ответ|정답|답)[ \t]*[:：]"
    r"|^[ \t*]*(?:答|答え|正解)[ \t*]*[:：]|(?:答え|正解)は|(?:정답|답)은"
    rf"|{_LINE_START}(?:endgültige )?(?:respuesta|réponse|antwort|resposta|risposta|antwoord|cevap"
    r"|jawaban|svar|vastaus|odpowiedź|odpověď|đáp án|câu trả lời|الإجابة|الجواب)"
    rf"(?: (?:finale?|akhir|końcowa|cuối cùng|correcta|correcte))?{_DECORATION}[:：]"
    r"|câu trả lời là\b|(?:الإجابة هي|الجواب هو)\b"
    r"|(?:故|应|應|答案|所以|因此)[选選][择擇]?[ \t]*[:：]?(?=[ \t]*[(（]?[A-J](?![A-Za-z]))",
    _FLAGS,
)
_ANSWER_SENTENCE = re.compile(rf"{_NOT_FINAL}{_UNQUOTED}answer{_DECORATION}is\b", _FLAGS)
_A = re.compile(rf"{_LINE_START}A{_DECORATION}[:：]", _FLAGS)

#: From the most specific kind to the least; None stands for boxes.
_MARKERS = (
    _TAG,
    _FINAL_ANSWER,
    None,
    _HASHES,
    _FINAL_ANSWER_SENTENCE,
    _ANSWER,
    _ANSWER_SENTENCE,
    _OTHER_ANSWER,
    _A,
)
_SENTENCE_MARKERS = (_FINAL_ANSWER_SENTENCE, _ANSWER_SENTENCE, _OTHER_ANSWER)
#: Each has the word in it, which is looked for first: in a long text that takes a twentieth.
_WITH_ANSWER = (_FINAL_ANSWER, _FINAL_ANSWER_SENTENCE, _ANSWER, _ANSWER_SENTENCE)

_SUPPOSING = re.compile(
    r"\b(?:suppose|assume|assuming|if|whether)(?: that)? (?:the |my )?(?:(?:final|correct) )?\Z"
    r"|\b(?:wrong|incorrect) \Z",
    re.IGNORECASE,
)
_SINGLE_HASH = re.compile(r"(?<!#)#([ \t]*[+\-$]?[0-9][0-9 \t.,/:%+-]*|[^\s#]+)\Z")
_LEADING_MARKER = re.compile(
    rf"[ \t>*_#`]*(?:(?:so|thus|therefore|hence),?\s+)?(?:(?:the|my)\s+)?(?:(?:final|correct)\s+)?"
    rf"answer{_DECORATION}(?:is\b{_DECORATION}[:：]?|[:：]){_DECORATION}|#{{1,4}}\s+|A\s*[:：]\s*",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    rf"{_LINE_START}(?:(?:next|new)\s+)?(?:(?:Q|question|problem|human|user|instruction|问题|題目|题目)"
    rf"[ \t]*[0-9]*{_DECORATION}[:：])|^[ \t]*#+[ \t]*(?:question|problem)\b"
    r"|^[ \t]*\*\*(?:question|problem|exercise|example)[ \t]*[0-9]+\*\*",
    _FLAGS,
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
# What else may stand at the end of a text, and what a whole answer may be wrapped in.
_LAST_TOKEN = re.compile(r"<[|｜][^<>|｜\s]{1,40}[|｜]>\Z")
_LAST_TAG = re.compile(
    r"</(output|result|solution|final|response|assistant|end|tool_call)>\Z", re.IGNORECASE
)
_MAX_TOKEN = 50
# {"answer": 42}, and of a number or a text what it says.
_JSON_KEY = re.compile(r"[\"'](?:final[_ ]?)?answer[\"']\s*:\s*", re.IGNORECASE)
_JSON_VALUE = re.compile(
    r"(?:\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'|(\[[^{}]*?\]|[^\s,{}\[\]\"']+(?:,[0-9]{3})*))"
    r"(?=\s*[,}])"
)
_JSON_START = re.compile(r"^[ \t]*\{", re.MULTILINE)
_ESCAPED = re.compile(r"\\(?:([\"'/\\])|u([0-9A-Fa-f]{4}))")
# \boxed 5 is \boxed{5}, and GLM has tokens for it.
_BARE_BOX = re.compile(
    r"\\(?:boxed|fbox)(?: {1,3}|(?=[0-9]))(-?[0-9](?:[0-9.,/]*[0-9])?|[A-Za-z](?![A-Za-z]))"
)
_BOX_TOKENS = re.compile(r"<\|(?:(begin)|end)_of_box\|>")
_CALCULATION = re.compile(r"<<[^<>]*>>")  # GSM8K's notes for a calculator: 9*2=$<<9*2=18>>18
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
_HEADING_SIGNS = re.compile(r"^\s*#{2,6}\s+")
_ONLY_DECORATION = re.compile(r"[\s*_#`$-]*|\\[\[(]|\s*```[a-z]{2,12}\s*")
# What leads to a marker in its own line: "**", "Thus, the", and before a box "The answer is $".
_LEAD_IN = re.compile(
    rf"(?:\b(?:so|thus|therefore|hence),?\s+)?(?:\b(?:the|my)\s+)?(?:\b(?:final|correct)\s+)?"
    rf"(?:\banswer{_DECORATION}(?:is\b)?{_DECORATION}[:：]?)?\s*(?:\\[\[(]|[*_`$>#]*)\Z",
    re.IGNORECASE,
)
_DECORATING = "*_#`$- \t\n\r\v\f\u00a0\u2028\u2029"
_VISIBLE = re.compile(r"\S")
_CONTENT = re.compile(r"[^\s*_#`$-]")
_GERMAN_MONTH = r"(?:Jan|Jän|Feb|Mär|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez)\w*\b"  # 5. März
_MAX_LEAD_IN = 200
_ONLY_QUOTED = re.compile(r"[\s>*_#`$]*")
_RULE = re.compile(r"\s*(?:-{3,}|\*{3,}|_{3,}|#+)\s*")
_DISPLAY = re.compile(r"\s*(?:\$\$?|\\[\[(])\s*")
_STEPS = re.compile(
    r"[ \t*_#]*(?:step\s*1\b|1[.)]\s)[^\n]*\n+[ \t*_#]*(?:step\s*2\b|2[.)]\s)", re.IGNORECASE
)
_ITEM = re.compile(
    r"[ \t]*(?P<bullet>(?:[-*+•]|[0-9]{1,2}[.)]|\([a-d]\)|[a-d]\))[ \t]+)?"
    r"(?P<value>\$?[A-Za-z](?:_\{?\w\}?)? ?= ?[^\s=]{1,40}"
    r"|[^\W\d_]{3,20}(?: [^\W\d_]{1,20}){0,2}: ?[$€£]?[0-9]\S{0,20}(?: [a-z]{1,20})?"
    r"|(?(bullet)\S{1,40}|(?!)))[ \t]*(?:\n|\Z)"
)
_HEADING = re.compile(r"step\s*[0-9]|[0-9]+[.)]\s+[A-Za-z]", re.IGNORECASE)
#: A longer text is not read at all; half a second of work.
MAX_CHARACTERS = 1_200_000
#: Of a line so much is read, and so many markers of one kind are tried, from the last one on.
_MAX_LINE = 4000
_MAX_TRIES = 50


class Statement(NamedTuple):
    """An answer that a marker introduces, which begins at `start`; `kind` is None for a box."""

    start: int
    answer: str
    kind: re.Pattern[str] | None


class _Text(NamedTuple):
    """A text and its boxes."""

    text: str
    boxes: list[Box]


def extract_answer(text: str) -> str:
    r"""Returns the final answer that a text states, or "" where it states none.

    The most specific kind of marker in the text decides, in this order: `<answer>`, `Final
    Answer:`, `\boxed{}`, `####`, "the final answer is", `Answer:`, "the answer is", the same in
    some other languages, `A:` at the start of a line, and, with none of these, a single `#`
    directly before the end. `Answer:` and "the answer is 7" are of one kind. Markers are
    case-insensitive and may stand in Markdown bold or headings. The answer is the first line with
    content after the marker, or all lines that are items of one list or an equation each; a
    `\boxed{}` in that line is the answer, and several boxes with only commas, "and" or "or"
    between them are a list. What is a first and a second step is no answer.
    Without any marker it is the last line with content. Of a text that is an object in JSON, or
    ends with one, it is what its key `answer` or `final_answer` has.

    Of several markers of that kind the last one with content counts, since a writer who corrects
    himself does so later. Before that the text is cut where the model starts a next question
    by itself (a line such as `Q:` or `### Question:` after an answer), so what it recites there
    does not count. Text up to `</think>` does not count where something follows it, nor do
    channels of a Harmony text other than the final one, nor what follows a token that ends a turn.

    A marker with nothing after it (a text cut short) gives "", not the line before it.

    Args:
        text: what a model wrote, or a reference solution.

    Examples:
        >>> extract_answer("**Final Answer:** 36\n\nQ: What is 3 + 4?\nA: Final Answer: 7")
        '36'
        >>> extract_answer(r"so x = \boxed{\frac{3}{4}} and we are done.")
        '\\frac{3}{4}'
        >>> extract_answer("<<16-3-4=9>> <<9*2=18>> #### 18")
        '18'
    """
    return read_answer(text)[0]


def read_answer(text: str) -> tuple[str, bool]:
    """Returns what `extract_answer` does, and whether it is stated, as `split_answer` has it."""
    spoken = _find_spoken(text)
    return spoken.answer, spoken.is_stated


def split_answer(text: str) -> tuple[str, str] | None:
    r"""Returns the reasoning and the final answer of a text that states one, else None.

    The answer is what `extract_answer` returns, but only where a marker introduces it or a
    `<think>` block precedes it: the last line of a text is no answer by itself. The reasoning is
    what stands before the marker, without what leads to it ("Therefore, the"), or what stands in
    the `<think>` block or the other channels, if there is anything. A block that never ends, or
    with nothing after it, states no answer.

    Args:
        text: what a teacher wrote.

    Examples:
        >>> split_answer("Step 1: 0.15 * 240 = 36\nFinal Answer: 36")
        ('Step 1: 0.15 * 240 = 36', '36')
        >>> split_answer("<think>\nStep 1\n</think>\n\n36")
        ('Step 1', '36')
        >>> split_answer("Step 1: 0.15 * 240 = 36") is None
        True
    """
    spoken = _find_spoken(text)
    if not spoken.is_stated:
        return None
    if spoken.inside or spoken.statement is None:
        return spoken.inside, spoken.answer
    return _before(spoken.text, spoken.statement), spoken.answer


class _Spoken(NamedTuple):
    """What is said in a text after a thought that is set apart, which is `inside`."""

    inside: str
    text: str
    statement: Statement | None
    answer: str
    is_stated: bool


def _find_spoken(text: str) -> _Spoken:
    if len(text) > MAX_CHARACTERS:
        return _Spoken("", "", None, "", is_stated=False)
    if start := _START_TOKENS.match(text):
        text = text[start.end() :]
    text = _with_boxes(_THOUGHT_TAG.sub(_as_think_tag, text))
    inside, closed, after = _split_thought(text)
    spoken = _without_recitation(_spoken_part(text))
    in_json = _json_answer(spoken)
    statement = None if in_json else _find_statement(spoken)
    said = _CALCULATION.sub("", statement.answer) if statement else in_json or _last_line(spoken)
    answer = _json_answer(said) or said
    says_nothing = closed and not _END_TOKEN.sub("", after).strip()
    is_thinking = after.lstrip().startswith("<think>") or (not closed and _in_channel(text))
    if is_thinking or says_nothing:  # a text that was cut off in its thought has not answered
        answer = ""
    is_stated = not says_nothing and not is_thinking and (closed or statement is not None)
    return _Spoken(inside, spoken, statement, answer, is_stated and answer != "")


def _as_think_tag(tag: re.Match[str]) -> str:
    return "<think>" if tag["start"] else _THINK_END if tag["end"] else ""


def _with_boxes(text: str) -> str:
    """Returns a text in which each box is in braces."""
    if "_of_box|>" in text:
        text = _BOX_TOKENS.sub(lambda token: "\\boxed{" if token[1] else "}", text)
    return _BARE_BOX.sub(r"\\boxed{\1}", text)


def _json_answer(text: str) -> str:
    """Returns 42 of the object {"answer": 42} that a text is or ends with, else ""."""
    text = text.rstrip("` \t\r\n")
    starts = list(_JSON_START.finditer(text)) if text.endswith("}") and "nswer" in text else []
    keys = list(_JSON_KEY.finditer(text, starts[-1].end())) if starts else []
    value = _JSON_VALUE.match(text, keys[-1].end()) if keys else None
    if value is None or value[3] in ("null", "None"):
        return ""
    if value[3]:
        return tidy(value[3])
    written = (value[1] or value[2] or "")[:_MAX_LINE]
    return extract_answer(_ESCAPED.sub(_unescaped, written))


def _unescaped(sign: re.Match[str]) -> str:
    """Returns the character that an escape of JSON stands for; halves of one stay as they are."""
    if sign[1]:
        return sign[1]
    is_half = sign[2][0] in "dD" and sign[2][1] in "89abcdefABCDEF"
    return sign[0] if is_half else chr(int(sign[2], 16))


def _in_channel(text: str) -> bool:
    if _BARE_THOUGHT.match(text):
        return True
    return "<|channel|>" in text and _OTHER_CHANNEL.search(text) is not None


def _last_line(text: str) -> str:
    """Returns the last line with content."""
    end = len(text)
    for _ in range(_MAX_TRIES):
        end = len(text[:end].rstrip(_DECORATING))
        if not end:
            break
        start, stop = text.rfind("\n", 0, end) + 1, text.find("\n", end)
        lines = text[start : stop if stop >= 0 else len(text)].splitlines()
        lines = [line for line in lines if not _ONLY_DECORATION.fullmatch(line)]
        if lines:
            return tidy(_HEADING_SIGNS.sub("", lines[-1][:_MAX_LINE]))
        end = start
    return ""


def _find_statement(text: str) -> Statement | None:
    """Returns what the deciding marker states, "" after markers without content, or None."""
    whole = _Text(text, find_boxes(text))
    empty = None
    for marker in _possible_markers(text):
        if marker is None:
            found = _find_box(whole)
        else:
            starts = _last_occurrences(marker, text)
            stated = (
                Statement(start.start(), _answer_after(whole, marker, start.end()), marker)
                for start in starts
            )
            found = _first_filled(stated)
        if found is not None and found.answer:
            return found
        empty = empty or found
    if empty is not None:
        return empty
    end = text.rstrip()
    hash_sign = _SINGLE_HASH.search(end, max(0, len(end) - _MAX_LINE))
    return Statement(hash_sign.start(), tidy(hash_sign[1]), _SINGLE_HASH) if hash_sign else None


def _possible_markers(text: str) -> tuple[re.Pattern[str] | None, ...]:
    """Returns the markers that may stand in a text."""
    if "answer" in text.casefold() or "答案" in text:
        return _MARKERS
    return tuple(marker for marker in _MARKERS if marker not in _WITH_ANSWER)


def _last_occurrences(marker: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """Returns where a marker stands, the last one first, without answers that are only assumed."""
    starts = list(marker.finditer(text))[: -_MAX_TRIES - 1 : -1]
    if marker not in (_ANSWER, *_SENTENCE_MARKERS):
        return starts
    return [each for each in starts if not _is_supposed(text, each.start())]


def _is_supposed(text: str, position: int) -> bool:
    """Whether an answer is only assumed: "Suppose that the answer is"."""
    return _SUPPOSING.search(text[max(0, position - 60) : position]) is not None


def _first_filled(statements: Iterator[Statement]) -> Statement | None:
    """Returns the first statement with an answer, or else the first one."""
    first = None
    for statement in statements:
        if statement.answer:
            return statement
        first = first or statement
    return first


def _find_box(whole: _Text) -> Statement | None:
    if not whole.boxes:
        return None
    box = last_boxes(whole.text, whole.boxes)
    if box is None:
        return Statement(whole.boxes[-1].start, "", None)
    # Nothing of a box around it is thought.
    around = [each.start for each in whole.boxes if each.start <= box.start <= box.end <= each.end]
    start = min(around, default=box.start)
    return Statement(start, _stated_by_box(whole, whole.boxes, box), None)


def _stated_by_box(whole: _Text, boxes: list[Box], box: Box) -> str:
    answer = tidy(expression_of_box(whole.text, boxes, box))
    return _instead_of(answer, retraction(whole.text, box.end))


def _before(text: str, stated: Statement) -> str:
    """Returns the text before a statement, without what only leads to it."""
    text = text[: stated.start]
    if stated.kind is _SINGLE_HASH:
        return text.strip()
    head, line_end, line = text.rpartition("\n")
    # What leads to a marker is short; a search through all of a degenerate line takes for ever.
    cut = max(0, len(line) - _MAX_LEAD_IN)
    line = line[:cut] + _LEAD_IN.sub("", line[cut:], count=1)
    text = head + line_end + ("" if _ONLY_QUOTED.fullmatch(line) else line)
    lines = text.rstrip().splitlines()
    while lines and (
        _RULE.fullmatch(lines[-1]) or (stated.kind is None and _DISPLAY.fullmatch(lines[-1]))
    ):
        lines.pop()
    return "\n".join(lines).strip()


def _split_thought(text: str) -> tuple[str, bool, str]:
    """Returns a thought that is set apart, whether it has ended, and what follows it."""
    inside, closed, after = text.rpartition(_THINK_END)
    if closed:
        return inside.strip().removeprefix("<think>").strip(), True, after
    channel = _OTHER_CHANNEL.search(text) or _BARE_CHANNEL.match(text)
    if channel is None:
        return "", False, text
    spoken = _final_channel(text, channel)
    if spoken is None:
        return "", False, text
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


def _spoken_part(text: str) -> str:
    """Returns the text after a thought that is set apart and before a token that ends a turn."""
    after = text.rpartition(_THINK_END)[2]
    if after.strip():
        text = after
    if "<|channel|>" in text or text.startswith("analysis"):
        text = _final_channel(text, _OTHER_CHANNEL.search(text)) or text
    if _TAG_END.search(text) and not _TAG.search(text):
        text = _TAG_END.split(text, maxsplit=1)[0]
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
    found = [match.start() for marker in _MARKERS if marker and (match := marker.search(text))]
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


def _answer_after(whole: _Text, marker: re.Pattern[str], position: int) -> str:
    """Returns the answer that one occurrence of a marker introduces, or ""."""
    text = whole.text
    if marker is _TAG:
        end = _TAG_END.search(text, position)
        content = text[position : end.start() if end else len(text)].strip()
        return extract_answer(_TAG.split(content, maxsplit=1)[0])
    start, end = _first_line_with_content(text, position)
    in_line = [box for box in whole.boxes if start <= box.start < end]
    if in_line:
        box = last_boxes(text, in_line)
        return _stated_by_box(whole, in_line, box) if box else ""
    line, end = _read_items(text, start) or _read_line(text, start, end)
    if marker is _HASHES and _is_heading(line, whole.text, end):
        return ""
    first, *others = _split_sentence(_without_leading(line), marker)
    taken_back = next(filter(takes_back, others), "") or retraction(text, end)
    return _instead_of(tidy(first), taken_back)


def _split_sentence(line: str, marker: re.Pattern[str]) -> list[str]:
    """Returns a line up to the end of the sentence, or the correction, in it, and the rest."""
    # "36. I hope it is correct." A decimal point has no space after it.
    sentence_end = rf"[.!]\s+(?!{_GERMAN_MONTH})(?=[A-Z])"
    if marker not in _SENTENCE_MARKERS:
        sentence_end = rf"(?<=[\d%)}}$]){sentence_end}|[.!]\s+(?=I hope\b)"
    sentences = re.split(sentence_end, line, maxsplit=1)
    return sentences if len(sentences) > 1 else split_correction(line)


def _instead_of(answer: str, taken_back: str) -> str:
    """Returns an answer, or what the sentence that takes it back says instead."""
    return (tidy(corrected(taken_back)) or f"not {answer}") if answer and taken_back else answer


def _read_items(text: str, start: int) -> tuple[str, int] | None:
    """Returns "3, 5" for the lines "- 3" and "- 5", and where they end; None for other lines.

    Each may be an equation or have a label instead, without a bullet, too: x = 3, and y = 5 below
    it, Tom: 3.
    """
    values: list[str] = []
    bullets: set[bool] = set()
    while len(values) < _MAX_TRIES and (item := _ITEM.match(text, start)):
        bullets.add(item["bullet"] is not None)
        values.append(item["value"].rstrip(",;."))
        start = item.end()
    return (", ".join(values), start) if len(values) > 1 and len(bullets) == 1 else None


def _without_leading(line: str) -> str:
    """Returns a line without markers at its beginning: "Answer: 36" behind "Final Answer:"."""
    start = 0
    while leading := _LEADING_MARKER.match(line, start):
        start = leading.end()
    return line[start:]


def _read_line(text: str, start: int, end: int) -> tuple[str, int]:
    """Returns a line and where it ends, "" for the first step of a solution."""
    end = _end_of_matrix(text, start, end)
    is_step = _STEPS.match(text, start, start + _MAX_LINE)
    return "" if is_step else text[start : min(end, start + _MAX_LINE)], end


def _end_of_matrix(text: str, start: int, end: int) -> int:
    r"""Returns the end of a line, or of the later one that has the \end of its \begin."""
    if "\\begin" not in text[start:end]:
        return end
    close = text.find("\\end", start, end + _MAX_LINE)
    if close < end:
        return end
    stop = text.find("\n", close)
    return stop if stop >= 0 else len(text)


def _is_heading(line: str, text: str, end: int) -> bool:
    """Returns whether what follows `####` is a Markdown heading, not a GSM8K answer."""
    if _HEADING.match(line.strip(" \t*_")):
        return True
    has_digits = any(character.isdigit() for character in line)
    return not has_digits and _VISIBLE.search(text, end) is not None


def _first_line_with_content(text: str, start: int) -> tuple[int, int]:
    for _ in range(_MAX_TRIES):
        content = _CONTENT.search(text, start)
        if content is None:
            break
        start = max(start, text.rfind("\n", 0, content.start()) + 1)
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if not _ONLY_DECORATION.fullmatch(text, start, end):
            return start, end
        start = end
    return len(text), len(text)
