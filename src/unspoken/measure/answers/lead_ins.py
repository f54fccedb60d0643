"""Words that lead to an answer and say nothing of it: "The total is", "Total:", "It was on".

They are left where they are if they say "not" or the like, and where what follows is not what they
lead to.
"""

from __future__ import annotations

import re

from unspoken.measure.answers.number_words import NUMBER_WORD
from unspoken.measure.answers.qualifiers import refuses
from unspoken.measure.answers.times import read_date

_NUMBER_AHEAD = r"(?=[-+]?\s*[$€£¥₹]?\s*[-+]?\s*\.?[0-9]|\\(?:sqrt|pi))"
_LEAD_IN = re.compile(
    rf"([^0-9=]{{0,100}}?\b(?:it's|that's|is|are|was|were|equals|has|have)(?: equal to)?\b:?"
    r"|(?:das|die|le|la|el|o|a|il)"
    r" (?:ergebnis|lösung|résultat|resultado|risultato|total|solu(?:ción|tion|ção|zione))"
    r" (?:ist|lautet|est|es|é|è)\b:?"
    rf"|[^\W\d_](?:[^\W\d_]| ){{2,40}}:)\s*{_NUMBER_AHEAD}",
    re.IGNORECASE,
)
#: What leads to a number without saying of what.
_NO_NAME = re.compile(
    r"an?|all|altogether|amounts?|and|answers?|are|be|became|becomes?|by|correct|counts?|costs?"
    r"|equals?|exactly|final|find|for|gets?|gives?|given|had|has|have|hence|her?|his?|i|in|is|its?|left"
    r"|make|me|means?|must|my|now|numbers?|of|on|or|our|overall|prices?|results?|s|she|so"
    r"|solutions?|statement|sums?|that|the|their|then|there|therefore|they|this|thus|to|totals?|use"
    r"|values?|was|we|were|which|will|with|would|x|y|you"
)
_NEGATION = re.compile(
    r"\b(?:not|never|no|wrong|incorrect|false|doubt\w*|unlikely|if|whether|suppose|assum(?:e|ing))\b|n't\b"
    r"|^(?:half|twice|thrice|double|triple|yes|true)\b|\b(?:squared|cubed)\b"
    r"|\b(?:square|cube|(?:square|cube) root|reciprocal|opposite|inverse|double|half) of\b"
    r"|\b(?:option|choice|answer)(?: is)? ?\(?[A-J]\)? ?:",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"(?:it(?:'s| is) )?"
    r"(?:about|approximately|approx\.?|around|clearly|the number|roughly|circa|ca\.|exactly|just"
    r"|etwa|ungefähr|environ|aproximadamente|unos"
    r"|only|precisely|simply|also|indeed|altogether|obviously|all"
    rf"|\\approx|\\sim) ?(?=[-+$€£¥₹.\d\\]|(?:{NUMBER_WORD})\b)",
    re.IGNORECASE,
)
_OF_PARTS = (
    r"(?:point|vertex|center|coordinates|ordered pair|interval|list|array|set|sequence|tuple"
    r"|vector)"
)
#: "The interval is" before an interval, "the solutions are" before x = 3.
TO_STRUCTURE = re.compile(
    r"^(?:[A-Za-z ,']{0,60}?\b(?:is|are|be|get|have|obtain|prints|returns|equals|becomes"
    r"|simplifies to|written as|lies in) (?:on (?=[a-z]{3,9} [0-9])|at (?=\())?"
    rf"(?:the {_OF_PARTS}:? (?=[(\[{{\\]))?|an? ratio of (?=[0-9])"
    rf"|(?:the )?(?:[a-z]+ )?{_OF_PARTS}:? (?=[(\[{{\\])"
    r"|(?:the )?(?:solutions?|answers?|results?|roots?): (?=[A-Za-z](?:_\{?\w\}?)? ?=|[(\[{\\]))"
    r"(?=[0-9]+ ?(?::|to) ?[0-9]+$|[(\[{]|\\(?:begin|frac|sqrt|\{|pi)|[0-9]*\\"
    r"|[A-Za-z](?:_\{?\w\}?)? ?="
    r"|(?:jan|feb|mar|apr|may|june?|july?|aug|sep|oct|nov|dec)[a-z]* [0-9])",
    re.IGNORECASE,
)
#: "It was a" before Tuesday, "The graph is" before an ellipse.
TO_WORD = re.compile(
    r"(?:it|this|that|the [a-z ]{2,40}?)"
    r" (?:is|was|will be|falls|fell) (?=[^\W\d_]+(?:[ '-][^\W\d_]+){0,3}$)",
    re.IGNORECASE,
)
#: "The probability is" before "one in six"
TO_NUMBER_WORD = re.compile(
    rf"(?:it|there|(?:the|his|her|their|its) [a-z ,']{{2,60}}?)"
    rf" (?:is|are|was|were|equals) (?=(?:{NUMBER_WORD})\b)",
    re.IGNORECASE,
)
_TO_DATE = re.compile(
    r"[A-Za-z ,']{0,60}?\b(?:is|was|were|be|falls?|fell|on)(?: on)? "
    r"(?=[A-Za-z]+ [0-9]|[0-9]|the [0-9])"
)


def without(lead_in: re.Pattern[str], text: str) -> str:
    """Returns a text without what leads to an answer, unless that says "not" or the like."""
    match = lead_in.match(text)
    return text[match.end() :] if match and not refuses(match[0]) else text


def without_hedge(text: str) -> str:
    """The text without what weighs or joins it before its number: about 84, so exactly 84."""
    match = _HEDGE.match(text)
    return text[match.end() :] if match else text


def names_other_things(first: str, second: str) -> bool:
    """Whether the words that lead to two numbers say different things: boys: 12, girls: 12."""
    words, others = _naming_words(first), _naming_words(second)
    return bool(words and others) and words.isdisjoint(others)


def _naming_words(answer: str) -> set[str]:
    match = _LEAD_IN.match(answer)
    words = re.findall(r"[^\W\d_]+", match[1].casefold()) if match else []
    return {word.removesuffix("s") for word in words if not _NO_NAME.fullmatch(word)}


def without_lead_in(answer: str) -> str:
    """Returns what follows "the total is" or "Total:" where a number does, else the answer."""
    match = _LEAD_IN.match(answer)
    if match is None or _NEGATION.search(match[1]):
        return answer
    return answer[match.end() :]


def without_lead_in_of_date(text: str) -> str:
    """Returns "March 5" for "It was on March 5"."""
    date = without(_TO_DATE, text)
    return date if read_date(date) else text
