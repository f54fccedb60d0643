"""What an answer in words amounts to: "Natalia sold 72 clips.", "84 (total)", "C because ...".

Stands between `clean` and the rules of `equal`. What is not plainly one value is left as it is, so
that nothing is read out of "more than 72" or "72 or 73": to miss a right answer costs less than to
take a wrong one for right.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from unspoken.measure.answers.clean import without_lead_in
from unspoken.measure.answers.expression import read_expression, same_value
from unspoken.measure.answers.number_words import NUMBER_WORD, with_digits
from unspoken.measure.answers.quantity import Quantity, is_measure, read_quantity, units_agree
from unspoken.measure.answers.structure import has_or, is_name, split_equation, split_list
from unspoken.measure.answers.times import (
    equal_compounds,
    is_compound,
    read_clock,
    read_date,
    same_amount,
)

#: Words that may be taken away: "The total is" alone, also what stands around an answer, or all
#: of a sentence in which it is the one number.
Words: TypeAlias = Literal["lead_in", "around", "sentence"]

_MAX_CHARACTERS = 300
_MAX_WORDS = 30
_HEDGE = re.compile(
    r"(?:(?:so|thus|hence|therefore|then),? )*(?:it(?:'s| is) )?"
    r"(?:about|approximately|approx\.?|around|clearly|the number|roughly|circa|ca\.|exactly|just"
    r"|etwa|ungefähr|environ|aproximadamente|unos"
    r"|only|precisely|simply|also|indeed|(?:therefore|thus|hence|so),?|altogether|obviously|all"
    rf"|\\approx|\\sim) ?(?=[-+$€£¥₹.\d\\]|(?:{NUMBER_WORD})\b)",
    re.IGNORECASE,
)
_CHOICE_LEAD_IN = re.compile(
    r"(?:(?:so|thus|hence|therefore),? )?"
    r"(?:(?:i|we) (?:think|believe|choose|pick|would (?:say|choose|pick))(?: that)? |i'd say "
    r"|i(?:'m| am) going with |(?:i(?:'ll|'d| will| would)|let's) go with |choose |select |pick "
    r"|(?:definitely|clearly|certainly) )?"
    r"(?:(?:it|that)(?:'s| is| should be| must be) |(?:the |my )?(?:correct |right |best |final )?"
    r"(?:answer|option|choice|letter|one)(?: (?:is|would be|must be|should be))?:? ?"
    r"(?:option |choice |letter )?)?"
    r"(?=[(\[]?[A-Ja-j][)\].:]?(?:$|[\s,.;]))",
    re.IGNORECASE,
)
_SAID_OF_CHOICE = re.compile(
    r"^(?:(?i:so|thus|hence|therefore),? )?(?:(?i:the )?(?i:option|choice|answer) )?"
    r"(\(?[A-J]\)?) is (?:the )?(?:correct|right|best)(?: answer| option| choice| one)?"
    r"(?=$|,? (?:because|since)\b)",
)
_OF_PARTS = (
    r"(?:point|vertex|center|coordinates|ordered pair|interval|list|array|set|sequence|tuple"
    r"|vector)"
)
#: "The interval is" before an interval, "the solutions are" before x = 3.
_STRUCTURE_LEAD_IN = re.compile(
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
_WORD_LEAD_IN = re.compile(
    r"(?:(?:so|thus|hence|therefore),? )?(?:it|this|that|the [a-z ]{2,40}?)"
    r" (?:is|was|will be|falls|fell) (?=[^\W\d_]+(?:[ '-][^\W\d_]+){0,3}$)",
    re.IGNORECASE,
)
#: "The probability is" before "one in six"
_LEAD_IN_OF_WORDS = re.compile(
    rf"(?:so |thus,? )?(?:it|there|(?:the|his|her|their|its) [a-z ,']{{2,60}}?)"
    rf" (?:is|are|was|were|equals) (?=(?:{NUMBER_WORD})\b)",
    re.IGNORECASE,
)
#: 3k, where k is an integer: no thousands.
_INTEGER_K = re.compile(
    r"^(.*[0-9])k\b(.{0,40}?),? (?=[^,]*(?:integer|\\mathbb))(?:where |for |with |and )?"
    r"[^,0-9]*\bk\b[^,0-9]*$"
)
_SAID_OF_ANSWER = re.compile(
    r"(?P<value>.+) (?:is (?:the|our|your) (?:final |correct |right |only |unique )?"
    r"(?:answer|total|result|sum|solution)|as (?:required|desired|expected|needed))",
    re.IGNORECASE,
)
_SAID_OF_CLAIM = re.compile(
    r"^(?:it|that|this|the (?:statement|claim)) is (true|false)$", re.IGNORECASE
)
_CLAUSE_AFTER_TRUTH = re.compile(
    r"^(yes|no|true|false)(?:\. ?| )(?=(?:it|they|he|she|that|this|the|there|we|you|i)\b)",
    re.IGNORECASE,
)
#: Words that change nothing: both 2 and 7, in 1969, the 5th, 79 AD, I and III only.
_EMPTY_WORDS = re.compile(
    r"^(?i:both) (?=[^ ]+ and [^ ]+$)|^(?i:the year )(?=[12][0-9]{3}$)"
    r"|^(?i:in|at|for|with|during) (?i:the year )?(?=[$€£]?[0-9.]+%?(?: [a-z]+){0,2}$)"
    r"|^(?i:the) (?=[0-9]+(?:st|nd|rd|th)$)|(?<=[0-9]) (?:AD|CE|A\.D|C\.E)$"
    r"|(?<=[\w)\]}%]),? (?:only|in total)$"
    r"|(?<=[a-z]) (?:in|over) [0-9]+ (?:day|week|month|year|hour|minute)s?$"
)
#: BCE and B.C.: years that are none of the AD and CE that change nothing.
_BEFORE_CHRIST = re.compile(r"(?<=[0-9]) (?:BCE|B\.C(?:\.E)?)$")
#: What follows the greater unit in "2 hours and thirty minutes".
_SMALLER_UNIT = re.compile(r"(\b[a-z]{3,}(?:,? and |, | ))([a-z]+[ -].+)")
_ADJECTIVE = re.compile(r"(?<![\w.,/-])([0-9]+(?:\.[0-9]+)?)-([A-Za-z]{2,})(?![\w-])")
_OUT_OF = re.compile(r"([0-9]+) (?:out of|in(?: every)?) ([0-9]+|[a-z]+)", re.IGNORECASE)
_DATE_LEAD_IN = re.compile(
    r"[A-Za-z ,']{0,60}?\b(?:is|was|were|be|falls?|fell|on)(?: on)? "
    r"(?=[A-Za-z]+ [0-9]|[0-9]|the [0-9])"
)
_DATE_AND_DAY = re.compile(r"(.+?),? \((?:an? )?([A-Za-z]+day)\)")
_LETTER = re.compile(r"[(\[]?[A-J][)\]]?|[(\[][a-j][)\]]")
_TRUTH = re.compile(r"yes|no|true|false", re.IGNORECASE)
_REASON = re.compile(
    r"[,;]? (?:because|since)\b.*|[,;]? as (?:the|it|there|we|he|she|they|this)\b.*"
    r"|,? as (?:calculated|computed|found|shown|stated)(?: above| before)?$"
)
_REMARK = re.compile(
    r"(?:[,;] ?|(?:(?<![0-9]):|:(?![0-9])) ?| -{1,3} | (?=(?:and not|rather than)\b))(.+)"
    r"|(?:(?<=[\w%)}.]) |(?<=[\w%)}.])(?<![A-Z]))\(([^()]+)\)"
)
#: Paris (C), 12 (option C)
_TEXT_AND_LETTER = re.compile(r"(.{2,}[\w%)}]) \((?:(?i:option|choice|answer) )?([A-J])\)")
#: (10, 5) cm, A(10, 5)
_DRESSED_TUPLE = re.compile(r"(?:[A-Z]'? ?)?(\([^()]+,[^()]+\))(?: ([a-z]+))?")
_ASIDE_AT_END = re.compile(r"(.*[\w%)}]) \(([^()]+)\)")
#: "Hay 42 manzanas": there are, they are, in one word.
_THERE_ARE = frozenset(("hay", "son", "sono", "há", "são", "sont", "sind"))
_THERE_IS = re.compile(r"(?:(?:so|thus|hence|therefore),? )?there (?:are|is|were|will be) ", re.I)
_TUPLE_AND_REMARK = re.compile(r"([(\[][^()\[\]]{1,60}[)\]]),? ((?:which|that|is the) [^\d]*)")
_UNIT_LEAD_IN = re.compile(r"^(?:all )?(?:(?:measured )?in|the unit is)\s+")
_MAX_UNIT_WORDS = 3
_CLAUSE = re.compile(
    r"(?:approximately|approx|which|so|in|as|that|after|when|for|the|this|it|making|giving|meaning|thus|hence|given|where"
    r"|and (?:that|this|it|so)|therefore|with|by|assuming|total|altogether|overall"
    r"|done|finished|finally|end|ok|correct|checked|see|rounded|including"
    r"|i|he|she|we|they|there|you|these|those)\b",
    re.IGNORECASE,
)
_NOT_THE_OTHER = re.compile(
    r"(?:(?:and )?not|rather than) (?:option )?"
    rf"(?:\(?[A-Ja-j]\)?|[$€£-]{{0,2}}\d[\w.,%-]{{0,20}}|(?i:yes|no|true|false)|{NUMBER_WORD})"
)
#: Words that make a number another one than the answer, or no answer at all.
_REFUSED = re.compile(
    r"\b(?:not|no|none|nor|neither|never|nothing|nobody|without|cannot|\w+n't|or|either|between|than"
    r"|if|unless|except|least|most|(?<!left )over|under|above|below|up to|exceeds?"
    r"|minus|plus|times|divided|upwards?|excess|some|several"
    r"|(?:part|portion|fraction)(?= of\b)|fail(?:s|ed)?|doubt\w*"
    r"|unlike|differs?"
    r"|different|far|too|unlikely|let(?! us\b)|suppose|assum(?:e|ing)|even|odd|reciprocal|opposite"
    r"|inverse|logarithm|successor|predecessor"
    r"|absolute|digits?|divisors?|factors|factorial|complement|conjugate|tenths?"
    r"|multiplied|squared?|cubed?|roots?|power|half|halves|thirds?|quarters?|fourths?|fifths?|twice"
    r"|thrice|double[sd]?|tripled?|dozens?|hundreds?|thousands?|millions?|billions?|trillions?"
    r"|factor"
    r"|multiple|divisible|remainder|mod|modulo|base|log|maybe|perhaps|possibly|probably|guess"
    r"|unknown|unclear|impossible|undefined|infinite(?:ly)?|insufficient|determined?|wrong"
    r"|incorrect|reject(?:s|ed)?|extraneous|invalid|discarded|excluded"
    r"|false|error|short|mistake|instead|but|although|however|almost|nearly|one|two|three|four"
    r"|five|six"
    r"|seven|eight|nine|ten|eleven|twelve|\w+teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty"
    r"|negative|zero|another|before|after|until|nicht|kein\w*"
    r"|mehr|weniger|oder|pas|ne|ni|jamais|moins|non|niet|geen|inte|ikke|nie|bukan|tidak|nu|nuk"
    r"|není|nejsou|ei|eivät|alle|yli|nije|nisu|mitte|fast|hälfte|drittel|viertel|tiers|ou|nunca"
    r"|sin|menos|não|nem|mas|más|mais|più|meno"
    r"|über|unter|höchstens|mindestens|beinahe|kaum|weder|ohne|halb\w*|doppelt\w*|falsch|presque"
    r"|sans|aucune?|rien|moitié|quart|faux|fausse|casi|ningun[oa]?|ningún|mitad|tercio|cuarto"
    r"|doble|falso|quasi|quase|senza|né|metà|doppio|sem|metade|dobro)\b",
    re.IGNORECASE,
)
#: Words after a letter of a choice, or after yes and no, that leave it open.
_DOUBT = re.compile(
    r"\b(?:or|either|neither|nor|maybe|perhaps|possibly|wrong|incorrect|false|not|but|instead"
    r"|and [A-J]|if|unless|except|cannot|\w+n't)\b"
)
#: Words that make another time of the one before them: 4:45 (in the morning).
_OTHER_TIME = re.compile(
    r"\b(?:[ap]\.? ?m\b|(?:mid)?night|noon|tonight|tomorrow|yesterday|next|later|earlier|ago"
    r"|morning|afternoon|evening|\w*days?)\b",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|false|incorrect|wrong|cannot|\w+n't)\b", re.IGNORECASE
)
_CONDITION = re.compile(r"^(?:but|if|unless|except|only|when|provided|assuming|sometimes|partly)\b")
_TURN = re.compile(r"\b(?:no|wait|actually|rather|sorry|instead)\b(?:,|\.\.)", re.IGNORECASE)
_CONSENT = re.compile(r"\b(?:true|correct|right|yes)\b", re.IGNORECASE)
#: What stands before a number that is only a name: Step 3.
_LABEL = re.compile(
    r"\b(?:steps?|parts?|cases?|rooms?|pages?|chapters?|figures?|tables?|sections?|options?|choices?"
    r"|questions?|problems?|exercises?|examples?|lines?|rows?|columns?|items?|equations?|methods?"
    r"|rules?|versions?|rounds?|levels?|stages?|groups?|phase|route|class|grade|bus|gate|war|type"
    r"|no\.?|player|team|house|box|number|(?:sum|difference|product|quotient) of)[\s(]*$",
    re.IGNORECASE,
)
#: What makes another number of the one that follows it: fifty percent of 72, next to 72.
_TAKES_FROM = re.compile(
    r"\b(?:percent(?:age)?|share|rest|all|any|each|many|few|ratio|integral|derivative|value) of"
    r"(?: (?:the|these|those|his|her|its|their|all))?\s*$"
    r"|\b(?:from|near(?:est)?|(?:next|close(?:st|r)?|nearest|nearer|prior) to|beside|past|against"
    r"|like|by means of)\s*$",
    re.IGNORECASE,
)
_NUMERAL = r"[$€£]?(?:[0-9][0-9.,]*[0-9]|[0-9])"
_NUMBER = re.compile(
    r"(?:(?:US|A|R|C)?[$€£¥₹] ?)?-?(?:[0-9][0-9.,']*[0-9]|[0-9])"
    r"(?:\s*/\s*[0-9]+|:[0-5][0-9](?: ?[ap]\.?m)?| [0-9]+/[0-9]+)?(?:%|°|(?:st|nd|rd|th)\b)?",
    re.IGNORECASE,
)
_COMPOUND = re.compile(
    r"[0-9][0-9.]* ?[a-z]+(?:,? (?:and )?[0-9][0-9.]* ?[a-z]+)+(?![\w.])", re.IGNORECASE
)
_DIRECTION = (
    r"(loss|losses|decrease|decline|drop|reduction|deficit|debt|fall|increase|gain|profit|rise|growth"
    r"|surplus|raise|discount)\b(?: of| by)?\s*"
)
_DIRECTIONS = re.compile(
    rf"{_DIRECTION}$|\b(?:(?P<down>decreased|fell|dropped|declined|shrank|reduced)"
    r"|(?P<up>increased|rose|grew|went up|raised))(?: by)?\s*$",
    re.IGNORECASE,
)
_CHANGE = re.compile(rf"(?:an? )?{_DIRECTION}([-$€£¥₹\d].*)|an? ([$€£¥₹\d].*)", re.IGNORECASE)
_NO_PROSE = re.compile(r"\w\(|[=<>^\\{}\[\]|?*+_]|[.!:;] ")
_SAID_OF_NUMBER = re.compile(r"^ (?:are|were)\b|[a-z] (?:was|were|are|is|have|has|had|will)\b")
_OTHER_SCRIPT = re.compile(r"[^\x00-\u024f€£¥₹°’]")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_UNIT_END = re.compile(
    r"[,;.!()]|\b(?:and|so|because|which|that|who|in|at|for|from|by|to|with|on|of|when|during|as|is"
    r"|are|was|were|each|every|altogether|total|left)\b",
    re.IGNORECASE,
)
_NEAR = 0.02
_CALCULATION = re.compile(r"[0-9.,()+*/ -]+")
_MAX_CALCULATION = 40
_WHICH_IS = re.compile(r"^(?:since|because|i\.e\.,?|(?:which|that|this) is|or|=) ?")
#: 12 times 7 is 84, 3 * 28 -> 84
_WORKED_OUT = re.compile(r"([^=]{3,40}?) (?:is|equals|makes|->|=>|→) ([^=]+)")
#: "In 5 days she reads 60 pages": what is given, before what is asked for.
_SETTING = re.compile(
    r"(?:(?:so|thus|hence|therefore),? )?(?:in|on|after|for|at|by|with|over|during|within|given)\b"
    r"[^,]{0,60}(?:, |(?<=[a-z\d]) (?=(?:he|she|they|it|we|you|there|the|each)\b))"
    r"(?=[^\d\s])(?!(?:in|on|after|for|at|by|with|and|but|then)\b|.*\b(?:would|could|might)\b)",
    re.IGNORECASE,
)
#: What a number is given of, or for: each of the 4 friends, $24 to buy 3 shirts.
_GIVEN = re.compile(
    rf"\beach of (?:the|his|her|their|these|those) {_NUMERAL}(?= [a-z])"
    rf"|^the {_NUMERAL}(?= [a-z]+ each\b)"
    r"|(?<=[a-z]) to (?:buy|bake|build|cover|feed|fill|finish|get|make|paint|reach|read|rent|serve)"
    rf" [^.]{{0,30}}?{_NUMERAL}\b[^.\d]*$",
    re.IGNORECASE,
)
#: 48 clips in April and 24 in May, 72 altogether: the total counts.
_TOTAL = re.compile(
    rf".*\d.*?(?:,(?: (?:so|or|making|which is))? (?P<total>{_NUMERAL}(?: [a-z]+)?)"
    r" (?:altogether|in total|in all|total)|\b(?:for|making|giving|which (?:is|makes))"
    rf" (?:an? |her |his )?(?:grand )?total of (?P<sum>{_NUMERAL}(?: [a-z]+)?))",
    re.IGNORECASE,
)
#: She has no apples left, there are none left.
_NOTHING_LEFT = re.compile(
    r"(?:[a-z][a-z ,']{0,60}? (?:has|have|had|is|are|be|will be) )?(?:no(?! one)|none)"
    r"(?: [a-z]+){0,2}(?: (?:is|are))? (?:left|remaining|remain)(?: over)?",
    re.IGNORECASE,
)
_LABELLED = re.compile(r"([A-Za-z]|[^\W\d_]{3}(?:[^\W\d_]| (?=\w)){0,30}): ?([^=]+)")
# x is 2 and y is 5, the length is 5 and the width equals 3
_NAMED_VALUE = re.compile(
    r"(?:[Tt]he )?([A-Za-z](?:_\w)?|[^\W\d_]{3,30}) (?:is|equals)(?: equal to)? ([-$\d\\(][^=]*)"
)
_NAMED_APPROXIMATION = re.compile(r"([^=]{1,40}?) ?\\(?:approx|in) ?([^=]+)")


def readings(text: str, words: Words) -> list[str]:
    """Returns what an answer amounts to: one text, or several where it says the same in two ways.

    Args:
        text: an answer that `clean` has cleaned.
        words: which may be taken away.
    """
    if len(text) > _MAX_CHARACTERS:
        return [text]
    if words == "lead_in":
        return [without_lead_in(text)]
    written = text
    text = _without_hedge(without_lead_in(_without_hedge(text)))
    text = _with_digits_in_list(with_digits(_without(_LEAD_IN_OF_WORDS, text)))
    text = _without_empty_words(text)
    text = _INTEGER_K.sub(r"\1 * k\2", text)
    text = _without(_STRUCTURE_LEAD_IN, text)
    text = _without(_WORD_LEAD_IN, text) if words == "sentence" else text
    text = _SAID_OF_CHOICE.sub(r"\1", _CLAUSE_AFTER_TRUTH.sub(r"\1, ", text))
    text = _SAID_OF_CLAIM.sub(r"\1", text)
    if (said := _SAID_OF_ANSWER.fullmatch(text)) and _is_plain(said["value"].rpartition("= ")[2]):
        text = said["value"]
    if (named := _NAMED_APPROXIMATION.fullmatch(text)) and is_name(named[1]):
        text = f"{named[1]} = {named[2]}"
    if change := _CHANGE.fullmatch(text):  # a loss of $5, a 20% decrease
        text = f"{change[2]} {change[1]}" if change[1] else change[3]
    text = _without_calculation(text)
    if ways := _same_in_several_ways(text):
        return ways
    text = _without_choice_lead_in(_without_remark(_without_reason(_parts_alone(text))))
    if words == "sentence" and read_quantity(text) is None and read_date(text) is None:
        text = _number_of_sentence(text) or _number_of_what_there_is(written) or text
    return [text, *_undressed(text)] if words == "sentence" else [text]


def _undressed(text: str) -> list[str]:
    """Returns "(2, 3)" for "A(2, 3)" and "(2, 3) cm", and "Paris" and "C" for "Paris (C)"."""
    if "(" not in text:
        return []
    if named := _TEXT_AND_LETTER.fullmatch(text):
        return [] if _REFUSED.search(text) else list(named.groups())
    dressed = _DRESSED_TUPLE.fullmatch(text)
    unit = dressed[2] if dressed else None
    return [dressed[1]] if dressed and (not unit or unit == "units" or is_measure(unit)) else []


def _without(lead_in: re.Pattern[str], text: str) -> str:
    """Returns a text without what leads to an answer, unless that says "not" or the like."""
    match = lead_in.match(text)
    return text[match.end() :] if match and not _REFUSED.search(match[0]) else text


def _without_empty_words(text: str) -> str:
    """Returns "1969" for "in 1969", "1/4" for "1 out of 4", "March 5" for "It was on March 5"."""
    text = re.sub(r"(?<=[0-9]) ?\(([ap]\.?m)\.?\)$", r" \1", text, flags=re.IGNORECASE)
    text = _BEFORE_CHRIST.sub(" BC", _EMPTY_WORDS.sub("", text))
    text = _ADJECTIVE.sub(_as_quantity, text)
    if (share := _OUT_OF.fullmatch(text)) and (whole := with_digits(share[2])).isdecimal():
        return f"{share[1]}/{whole}" if int(share[1]) <= int(whole) else text
    if dated := _DATE_AND_DAY.fullmatch(text):
        text = f"{dated[2]}, {dated[1]}"
    lead_in = _DATE_LEAD_IN.match(text)
    if lead_in and read_date(text[lead_in.end() :]) and not _REFUSED.search(lead_in[0]):
        text = text[lead_in.end() :]
    compound = _SMALLER_UNIT.sub(lambda part: f"{part[1]}{with_digits(part[2])}", text)
    return compound if is_compound(compound) else text


def _with_digits_in_list(text: str) -> str:
    """Returns "2, 7" for "two and seven"."""
    parts = split_list(text) if re.search(NUMBER_WORD, text) and not has_or(text) else None
    numbers = [with_digits(part) for part in parts or ()]
    return ", ".join(numbers) if numbers and all(map(str.isdecimal, numbers)) else text


def _as_quantity(adjective: re.Match[str]) -> str:
    """Returns "53 yard" for "53-yard", if that is a measure."""
    return f"{adjective[1]} {adjective[2]}" if is_measure(adjective[2]) else adjective[0]


def labels_as_names(text: str) -> str:
    """Returns "Bob = 4, Alice = 3" for "Bob: 4, Alice: 3" and "Bob is 4 and Alice is 3"."""
    may_have = len(text) <= _MAX_CHARACTERS and re.search(":| is | equals ", text)
    inside = re.sub(r"[\"']", "", text[1:-1]) if re.fullmatch(r"\{.*\}", text) else text
    parts = (split_list(inside) if may_have else None) or []
    pattern = _LABELLED if ":" in text else _NAMED_VALUE
    labels = [pattern.fullmatch(part) for part in parts]
    found = [f"{label[1]} = {label[2]}" for label in labels if label]
    names = {label[1] for label in labels if label}
    if len(found) < max(2, len(parts)) or (pattern is _LABELLED and len(names) < len(parts)):
        return text
    return (" or " if has_or(text) else ", ").join(found)


def _without_hedge(text: str) -> str:
    match = _HEDGE.match(text)
    return text[match.end() :] if match else text


def _same_in_several_ways(text: str) -> list[str]:
    """Returns the parts of `1/4 or 25%`, `3/4 = 0.75`, `1/4 (25%)`, `1/3 ≈ 0.33`, if they agree.

    Of times and dates, too: `6:00 PM (18:00)`.
    """
    is_near = "\\approx" in text
    separator = (
        r"\s*\\approx\s*"
        if is_near
        else r"\s*(?:,? ?\bor\b|,? i\.e\.,?|=)\s*|\s*\((?:or )?(?=[^()]+\)$)"
    )
    parts = [with_digits(part.rstrip(") ")) for part in re.split(separator, text)]
    if len(parts) == 1 or not all(parts):
        return []
    if (agree := _are_same_time(parts)) is not None:
        return parts if agree else []
    quantities = [each for each in map(read_quantity, parts) if each]
    is_same = len(quantities) == len(parts) and _are_same_amount(quantities, is_near=is_near)
    return parts if is_same else []


def _are_same_amount(quantities: list[Quantity], *, is_near: bool) -> bool:
    if all(same_amount(quantities[0], each) for each in quantities[1:]):  # 72 inches (6 feet)
        return True
    values = [each.value / (100 if each.unit[:1] == ("%",) else 1) for each in quantities]
    if is_near:
        return abs(values[0] - values[-1]) <= _NEAR * abs(values[0])
    units = [() if each.unit[:1] == ("%",) else each.unit for each in quantities]
    agree = all(units_agree(units[0], unit) for unit in units[1:])  # not 84 minutes or 84 hours
    return agree and len(set(values)) == 1


def _without_calculation(text: str) -> str:
    """Returns "84" for "12 times 7 is 84"."""
    worked_out = _WORKED_OUT.fullmatch(text)
    return worked_out[2] if worked_out and _amounts_to(*worked_out.groups()) else text


def _are_same_time(parts: list[str]) -> bool | None:
    """Whether times, or dates, are all the same; None where not all are such.

    Of times also 2 hours 30 minutes and 150 minutes.
    """
    if any(map(is_compound, parts)):
        return all(equal_compounds(parts[0], part) for part in parts[1:])
    clocks = [each for each in map(read_clock, parts) if each]
    if len(clocks) == len(parts):
        return all(each.agrees(clocks[0]) for each in clocks)
    dates = [date for date in map(read_date, parts) if date]
    return len(set(dates)) == 1 if len(dates) == len(parts) else None


def _parts_alone(text: str) -> str:
    """Returns "(1, 2)" for "(1, 2), which is the vertex", "2, 7" for "2, 7 (both primes)"."""
    if (aside := _ASIDE_AT_END.fullmatch(text)) and split_list(aside[1]):
        return aside[1] if _is_aside_of_list(*aside.groups()) else text
    said = _TUPLE_AND_REMARK.fullmatch(text)
    return said[1] if said and not _REFUSED.search(said[2]) else text


def _without_reason(text: str) -> str:
    match = _REASON.search(text)
    head = text[: match.start()].strip() if match else ""
    is_taken_back = match is not None and _TURN.search(match[0]) is not None
    return head if head and not is_taken_back and not _REFUSED.search(head) else text


def _without_remark(text: str) -> str:
    """Returns "84" for "84, which is the total", "84 (total)", "84; done"."""
    match = _REMARK.search(text)
    if match is None or (match[2] and match.end() != len(text)):
        return text
    head, remark = text[: match.start()].strip(), (match[1] or match[2]).strip()
    if not _are_plain(head):
        return text
    unit = _UNIT_LEAD_IN.sub("", remark)
    is_letter = len(unit) == 1 and unit == match[1]  # 2, m is a list
    if len(unit.split()) <= _MAX_UNIT_WORDS and is_measure(unit) and not is_letter:
        return f"{head} {unit}"
    if _NOT_THE_OTHER.fullmatch(remark):
        return head
    if _TRUTH.fullmatch(head):
        return head if _agrees_with_truth(head, remark) else text
    is_aside = bool(match[2]) or _CLAUSE.match(remark) is not None
    return head if is_aside and not _changes(head, remark) else text


def _is_aside_of_list(head: str, remark: str) -> bool:
    """Whether a remark leaves a list as it is: 2, 7 (both primes)."""
    is_ordered = re.search(r"\bth(?:at|is) order|respectively", remark) is not None
    return _are_plain(head) and not is_ordered and not _changes(head, remark)


def _agrees_with_truth(head: str, remark: str) -> bool:
    """Whether a remark goes with the yes or no before it: not "No, it is true"."""
    if _CONDITION.search(remark):
        return False
    says_no = _NEGATION.search(remark) is not None
    if head.casefold() in ("yes", "true"):
        return not says_no
    return says_no or not _CONSENT.search(remark)


def _changes(head: str, remark: str) -> bool:
    """Whether a remark may change the value before it: "84 (thousand)", "84, or 85"."""
    if _LETTER.fullmatch(head):
        return _DOUBT.search(remark) is not None
    if read_clock(head) and _OTHER_TIME.search(remark):
        return True
    if _amounts_to(remark, head):
        return False
    # 18, so it costs 18 in all; 18, see step 3
    again = rf"(?<![\w.,/*^+-]){re.escape(head)}(?![\w/%]|[.,:]\d)|\bstep \d+"
    return bool(re.search(r"\d|\\|=", re.sub(again, "", remark)) or _REFUSED.search(remark))


def _amounts_to(calculation: str, value: str) -> bool:
    """Whether a calculation has a number for its value: 12 + 72 is 84, and 7 times 12, too."""
    signs = {" times ": "*", " plus ": "+", " minus ": "-", " divided by ": "/", " x ": "*"}
    value = value.lstrip("$€£").partition(" ")[0]
    calculation, sign, result = _WHICH_IS.sub("", calculation).rpartition("=")
    if not sign or result.strip(" $€£") != value:
        calculation += sign + result
    for word, sign in signs.items():
        calculation = calculation.replace(word, sign)
    if len(calculation) > _MAX_CALCULATION or not _CALCULATION.fullmatch(calculation):
        return False
    one, other = read_expression(calculation), read_expression(value)
    return one is not None and other is not None and same_value(one, other)


def _are_plain(head: str) -> bool:
    """Whether a text is one value, maybe of a name, or a list of such."""
    sides = split_equation(head)
    value = sides[1] if len(sides) == 2 and is_name(sides[0]) else head
    return all(map(_is_plain, split_list(value) or [value]))


def _is_plain(head: str) -> bool:
    """Whether a text is one value: a number, a time, a letter of a choice, yes or no."""
    return bool(
        _LETTER.fullmatch(head)
        or _TRUTH.fullmatch(head)
        or read_quantity(head)
        or read_clock(head)
        or re.fullmatch(r"[0-9]+ ?: ?[0-9]+|[-+]?\\frac\{[^{}]+\}\{[^{}]+\}", head)
        or re.fullmatch(r"[-+]?[0-9]*\\(?:sqrt\{[^{}]+\}|pi)", head)
    )


def _without_choice_lead_in(text: str) -> str:
    match = _CHOICE_LEAD_IN.match(text)
    if match is None or not match[0]:
        return text
    rest = text[match.end() :]
    rest = _without_remark(_without_reason(rest))
    is_letter = _LETTER.fullmatch(rest) or re.fullmatch(r"[a-jA-J]|[A-J][:)] .+", rest)
    return rest if is_letter else text


def _number_of_sentence(text: str) -> str:
    """Returns the one number of a sentence with its unit, or "" where there is not just one.

    A number that is only given does not count: that of "in 5 days", "each of the 4 friends".
    """
    if _NOTHING_LEFT.fullmatch(text):
        return "0"
    text = _without_given(text)
    numbers = list(_NUMBER.finditer(text))
    if len(numbers) > 1 and (compound := _COMPOUND.search(text)) and is_compound(compound[0]):
        numbers = [compound] if len(_NUMBER.findall(compound[0])) == len(numbers) else numbers
    if len(numbers) != 1 or _NO_PROSE.search(text) or _REFUSED.search(text):
        return ""
    number = numbers[0]
    before, after = text[: number.start()], text[number.end() :]
    if not _is_sentence(before, after):
        return ""
    direction = _DIRECTIONS.search(before)
    unit = _unit_after(after)
    noun = f" {_name_direction(direction)}" if direction else ""
    found = f"{number[0]}{unit}{noun}"
    is_value = read_quantity(found) is not None or is_compound(found)
    return found if is_value or not (unit or noun) else ""


def _without_given(text: str) -> str:
    """Returns "she reads 60 pages" for "In 5 days she reads 60 pages"."""
    if len(_NUMBER.findall(text)) < 2 or _NO_PROSE.search(text):
        return text
    if total := _TOTAL.fullmatch(text):
        return text if _REFUSED.search(text) else f"it makes {total['total'] or total['sum']}"
    if setting := _SETTING.match(text):
        text = text[setting.end() :]
    return _GIVEN.sub(" ", text) if len(_NUMBER.findall(text)) > 1 else text


def _number_of_what_there_is(text: str) -> str:
    """Returns "10 ways" of "There are 10 ways to choose", "" of other sentences."""
    return _number_of_sentence(text) if _THERE_IS.match(text) else ""


def _name_direction(direction: re.Match[str]) -> str:
    """Returns "decrease" for "fell by", "loss" for "a loss of"."""
    if direction[1]:
        return direction[1].casefold()
    return "decrease" if direction["down"] else "increase"


def _is_sentence(before: str, after: str) -> bool:
    """Whether these are the words of a sentence around a number that stands by itself."""
    if re.search(r"[\w.,'-]$", before) or re.match(r"[\w'/:-]|[.,]\d", after):
        return False
    # of other scripts the words for "not" and "half" are not known here
    is_another = _LABEL.search(before) or _TAKES_FROM.search(before)
    if is_another or _OTHER_SCRIPT.search(before + after):
        return False
    words = _WORD.findall(before)
    if len(words) + len(_WORD.findall(after)) > _MAX_WORDS:
        return False
    if not before:
        return _SAID_OF_NUMBER.search(after) is not None
    if len(words) == 1 and words[0].casefold() in _THERE_ARE:
        return True
    return len(words) > 1 and any(word.islower() for word in words)


def _unit_after(after: str) -> str:
    """Returns the unit that follows a number: the known one, or else all words up to a comma."""
    phrase = _UNIT_END.split(after, maxsplit=1)[0]
    words = phrase.split()
    for length in (4, 3, 2, 1):
        if len(words) >= length and is_measure(" ".join(words[:length])):
            return f" {' '.join(words[:length])}"
    return f" {' '.join(words[:5])}" if words else ""
