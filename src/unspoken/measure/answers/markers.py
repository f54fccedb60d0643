"""Words and signs that announce an answer: "Final Answer:", ####, "the answer is", 答案是.

`extract` asks which of them stand in a text and where, from the most specific kind to the least;
what follows is read there. Boxes, which are markers, too, are found by `boxes`.
"""

from __future__ import annotations

import re

DECORATION = r"[ \t*_`]*"
#: Words that only join an answer to what stands before it.
THEREFORE = r"(?:so|thus|hence|therefore)"
LINE_START = r"^[ \t>*_#`]*"
# A marker in quotation marks is talked about ("end with a line that starts with 'Final Answer:'").
_UNQUOTED = r"""(?<!['"“‘])(?<![^\W_])"""
_NOT_FINAL = r"(?<!final\s)"
FLAGS = re.IGNORECASE | re.MULTILINE
# What is so plainly an answer that no colon is needed before it: FINAL ANSWER 42.
_PLAIN_VALUE = r"(?=\(?[A-J]\)?[.\s*]*$|\\boxed|[-+(\\]*[$€£¥₹]?\s?\.?[0-9][0-9.,/:]*[^\n]{0,40}$)"
_IS = r"(?:is|(?:should|would|must|will)[ ]be|equals|(?:comes|turns)[ ]out[ ]to(?:[ ]be)?)"
_IN_UNIT = r"(?:\([^()\n]{1,30}\)|\[[^][\n]{1,30}\])[ \t*_`]*"
TAG = re.compile(
    r"<(?:final[_ ]?)?answer>|\[answer\](?=(?:(?!\[).){1,200}\[/answer\])",
    re.IGNORECASE | re.DOTALL,
)
TAG_END = re.compile(r"</(?:final[_ ]?)?answer>|\[/answer\]", re.IGNORECASE)
_FINAL_ANSWER = re.compile(
    rf"{_UNQUOTED}(?:final|revised|corrected|updated)\s+answer{DECORATION}"
    rf"(?:is\b{DECORATION}|{_IN_UNIT})?[:：]"
    rf"|{LINE_START}final\s+answer{DECORATION}$"
    rf"|{LINE_START}final\s+answer{DECORATION}(?:[-–—]+[ \t]+|[=→>]+{DECORATION})"
    rf"|{LINE_START}final\s+answer[ \t*_`]+{_PLAIN_VALUE}"
    rf"|{_UNQUOTED}final_answer\((?:answer=)?"
    r"|最[终終后後]答案(?:应该|應該)?[ \t*_`]*[:：是为為]+",
    FLAGS,
)
_FINAL_ANSWER_SENTENCE = re.compile(rf"{_UNQUOTED}final\s+answer{DECORATION}is\b", FLAGS)
HASHES = re.compile(r"(?<!#)####(?!#)")
# "The answer is 7" counts as much, since "Answer:" may only have begun the solution.
_ANSWER = re.compile(
    rf"{_NOT_FINAL}{_UNQUOTED}answer{DECORATION}"
    rf"(?:(?:is\b{DECORATION}|{_IN_UNIT})?[:：]|{_IS}[ \t*_`]+{_PLAIN_VALUE})"
    rf"|{LINE_START}answer{DECORATION}[-–—=→]+[ \t]+{_PLAIN_VALUE}"
    rf"|{LINE_START}\[(?:final )?answer\]{DECORATION}{_PLAIN_VALUE}"
    rf"|^[ \t]*#+[ \t]*answer{DECORATION}$"
    r"|(?<![终終后後])答案(?:应该|應該)?[ \t*_`]*[:：是为為]+",
    FLAGS,
)
# La respuesta es 42, Die Antwort lautet 42, 答え：42, 故选：B, and others' "the answer is".
_OTHER_ANSWER = re.compile(
    rf"{_UNQUOTED}(?:la respuesta (?:final |correcta )?es|la réponse (?:finale )?est"
    r"|die (?:endgültige |richtige )?antwort (?:ist|lautet)|a resposta (?:final |correta )?é"
    r"|la risposta (?:finale )?è|het antwoord is|svaret (?:är|er)"
    r"|jawabannya adalah|jibu (?:la mwisho )?ni)\b ?[:：]?"
    r"|คำตอบคือ|উত্তর হলো?(?=[ \t])|సమాధానం[:：]?|(?:উত্তর|उत्तर|ответ|정답|답)[ \t]*[:：]"
    r"|^[ \t*]*(?:答|答え|正解)[ \t*]*[:：]|(?:答え|正解)は|(?:정답|답)은"
    rf"|{LINE_START}(?:endgültige )?(?:respuesta|réponse|antwort|resposta|risposta|antwoord|cevap"
    r"|jawaban|svar|vastaus|odpowiedź|odpověď|đáp án|câu trả lời|الإجابة|الجواب)"
    rf"(?: (?:finale?|akhir|końcowa|cuối cùng|correcta|correcte))?{DECORATION}[:：]"
    r"|câu trả lời là\b|(?:الإجابة هي|الجواب هو)\b"
    r"|(?:故|应|應|答案|所以|因此)[选選][择擇]?[ \t]*[:：]?(?=[ \t]*[(（]?[A-J](?![A-Za-z]))",
    FLAGS,
)
_ANSWER_SENTENCE = re.compile(rf"{_NOT_FINAL}{_UNQUOTED}answer{DECORATION}is\b", FLAGS)
_A = re.compile(rf"{LINE_START}A{DECORATION}[:：]", FLAGS)
#: From the most specific kind to the least; None stands for boxes.
MARKERS = (
    TAG,
    _FINAL_ANSWER,
    None,
    HASHES,
    _FINAL_ANSWER_SENTENCE,
    _ANSWER,
    _ANSWER_SENTENCE,
    _OTHER_ANSWER,
    _A,
)
SENTENCE_MARKERS = (_FINAL_ANSWER_SENTENCE, _ANSWER_SENTENCE, _OTHER_ANSWER)
#: Each has the word in it, which is looked for first: in a long text that takes a twentieth.
_WITH_ANSWER = (_FINAL_ANSWER, _FINAL_ANSWER_SENTENCE, _ANSWER, _ANSWER_SENTENCE)
_SUPPOSING = re.compile(
    r"\b(?:suppose|assume|assuming|if|whether)(?: that)? (?:the |my )?(?:(?:final|correct) )?\Z"
    r"|\b(?:wrong|incorrect) \Z",
    re.IGNORECASE,
)
SINGLE_HASH = re.compile(r"(?<!#)#([ \t]*[+\-$]?[0-9][0-9 \t.,/:%+-]*|[^\s#]+)\Z")
_LEADING_MARKER = re.compile(
    rf"[ \t>*_#`]*(?:{THEREFORE},?\s+)?(?:(?:the|my)\s+)?(?:(?:final|correct)\s+)?"
    rf"answer{DECORATION}(?:is\b{DECORATION}[:：]?|[:：]){DECORATION}|#{{1,4}}\s+|A\s*[:：]\s*",
    re.IGNORECASE,
)
# What leads to a marker in its own line: "**", "Thus, the", and before a box "The answer is $".
_LEAD_IN = re.compile(
    rf"(?:\b{THEREFORE},?\s+)?(?:\b(?:the|my)\s+)?(?:\b(?:final|correct)\s+)?"
    rf"(?:\banswer{DECORATION}(?:is\b)?{DECORATION}[:：]?)?\s*(?:\\[\[(]|[*_`$>#]*)\Z",
    re.IGNORECASE,
)
_MAX_LEAD_IN = 200
#: So many markers of one kind are tried, from the last one on.
_MAX_TRIES = 50


def possible_markers(text: str) -> tuple[re.Pattern[str] | None, ...]:
    """Returns the markers that may stand in a text."""
    if "answer" in text.casefold() or "答案" in text:
        return MARKERS
    return tuple(marker for marker in MARKERS if marker not in _WITH_ANSWER)


def last_occurrences(marker: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """Returns where a marker stands, the last one first, without answers that are only assumed."""
    starts = list(marker.finditer(text))[: -_MAX_TRIES - 1 : -1]
    return [each for each in starts if not _is_supposed(text, each.start())]


def _is_supposed(text: str, position: int) -> bool:
    """Whether an answer is only assumed: "Suppose that the answer is"."""
    return _SUPPOSING.search(text[max(0, position - 60) : position]) is not None


def without_markers(line: str) -> str:
    """Returns a line without markers at its beginning: "Answer: 36" behind "Final Answer:"."""
    start = 0
    while leading := _LEADING_MARKER.match(line, start):
        start = leading.end()
    return line[start:]


def without_lead_to_marker(line: str) -> str:
    """Returns a line before a marker without what only leads to it: "Thus, the", "Answer: $"."""
    # What leads to a marker is short; a search through all of a degenerate line takes for ever.
    cut = max(0, len(line) - _MAX_LEAD_IN)
    return line[:cut] + _LEAD_IN.sub("", line[cut:], count=1)
