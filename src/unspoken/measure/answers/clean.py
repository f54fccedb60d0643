"""Take the markup off an answer and write it in plain signs, so that equal ones look alike.

Comes first on the way: `extract` tidies with it what it finds, `equal` and `digits` clean with it
what they compare. Nothing here knows what a number is worth.
"""

from __future__ import annotations

import html
import re
import unicodedata

from unspoken.measure.answers.boxes import find_boxes, last_boxes
from unspoken.measure.answers.chinese_numbers import with_digits as with_chinese_digits

_BOLD = re.compile(r"(?<![\w)])\*\*(.{1,200}?)\*\*(?![\w(])")
_WRAPPED = re.compile(
    r"\$\$?([^$]+)\$\$?|\\\(((?:(?!\\\)).)*)\\\)|\\\[(.*)\\\]|\"([^\"]*)\"|'([^']*)'|[“”„]([^“”„]*)[“”]"
    r"|[«‹「【]([^«»‹›「」【】]*)[»›」】]",
    re.DOTALL,
)
_GOES_ON = re.compile(r"(?:[0-9]\.[0-9]+|[,+]\s*)\.{3,}\Z")  # 0.333... and 1, 2, ...

_CHARACTERS = str.maketrans(
    dict.fromkeys("−‐‑‒–—－﹣", "-")
    | dict.fromkeys("×✕·⋅∙", "*")
    | dict.fromkeys("÷∕⁄", "/")
    | dict.fromkeys("：∶", ":")
    | dict.fromkeys("‘’′", "'")
    | {"″": '"', "º": "°", "˚": "°"}
    | dict.fromkeys("\u00a0\u2007\u2009\u202f\u3000", " ")
    | dict.fromkeys("\u00ad\u200b\u200e\u200f\u202a\u202c\u202d\u2060\ufeff", "")
    | dict(zip("，；。．％＄＝＋μ（）、٪٫٬￥", ",;..%$=+µ(),%.,¥", strict=True))
    | dict.fromkeys("✓✔✅☑∎■□◻`！", "")
    | {"π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "∪": r"\cup "}
    | {"±": r"\pm ", "∓": r"\mp ", "≠": r"\ne ", "≈": r"\approx ", "∈": r"\in ", "∅": r"\emptyset "}
    | {"⟨": r"\langle ", "⟩": r"\rangle "}
)
#: Greek letters that no language writes as words of one letter, beside no other letter.
_GREEK_NAMES = "alpha beta gamma delta theta lambda rho sigma phi psi omega"
_GREEK_LETTERS = dict(zip("αβγδθλρσφψω", _GREEK_NAMES.split(), strict=True))
_ENTITY = re.compile(r"&(?:[a-zA-Z]{2,8}[0-9]{0,2}|#[0-9]{1,5});")  # &nbsp;
# Digits of other scripts: ४२, ٤٢, ３６.
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")


def _small_digits(run: re.Match[str]) -> str:
    """Returns ^{2} for a raised 2, _{2} for a lowered one."""
    sign = "^" if unicodedata.decomposition(run[0][0]).startswith("<super>") else "_"
    return f"{sign}{{{unicodedata.normalize('NFKC', run[0]).replace('−', '-')}}}"


def _apart(sign: re.Match[str]) -> str:
    """Returns m² for ㎡, which is one character."""
    codes = unicodedata.decomposition(sign[0]).split()[1:]
    return "".join(chr(int(code, 16)) for code in codes).replace("∕", "/")


def _greek_letter(letter: re.Match[str]) -> str:
    return rf"\{_GREEK_LETTERS[letter[0]]} "


def _vulgar_fraction(sign: re.Match[str]) -> str:
    return f" {unicodedata.normalize('NFKC', sign[0])} ".replace("⁄", "/")


def _repeating(decimal: re.Match[str]) -> str:
    r"""Returns 1/3 for 0.\overline{3}."""
    whole, once, again = decimal.groups()
    nines = 10 ** len(again) - 1
    top = int(whole + once) * nines + int(again)
    return f"{top}/{nines * 10 ** len(once)}"


def _raised(power: re.Match[str]) -> str:
    """Returns x^2 for x squared."""
    return f"{power[1]}^{2 if power[2] else 3}"


def _without_html(tag: re.Match[str]) -> str:
    """Returns ^{3} for <sup>3</sup>, a space for a tag that says nothing."""
    if not tag[1]:
        return " "
    return f"{'^' if tag[1] == 'sup' else '_'}{{{tag[2]}}}"


def _without_groups(number: re.Match[str]) -> str:
    """Returns 1250000 for 1_250_000."""
    return number[0].replace("_", "")


_IN_BRACES = r"(?:[^{}]|\{[^{}]*\})"
_GREATER, _LESS = "(?:greater|more|larger)", "(?:less|smaller)"
_NAME_AND_SIGN = r"[A-Za-z](?:_\{?\w\}?)?\s*(?:[=<>]|\\[gl]e)"  # y =
# $28$ percent, but not $5 and $6.
_IN_LINE = r"(?<![\w\\])\$([^$\s](?:[^$]*[^$\s])?)\$(?![0-9])"

_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"~~[^~]{1,200}~~", " "),
        (_IN_LINE, r"\1"),
        (r"(?<!\\)\\\(((?:(?!\\[()]).){1,200})(?<!\\)\\\)", r"\1"),
        ("[\u3380-\u33df]", _apart),
        (r"(?<![^\W\d_])[αβγδθλρσφψω](?![^\W\d_])", _greek_letter),
        (
            rf"\{{ ?({_IN_BRACES}{{1,60}}?) ?\\over(?![a-z]) ?({_IN_BRACES}{{1,60}}?) ?\}}",
            r"\\frac{\1}{\2}",
        ),
        (r"\{ ?(\w{1,20}) ?\\choose(?![a-z]) ?(\w{1,20}) ?\}", r"\\binom{\1}{\2}"),
        (r"(?<=[0-9])\s*\\q?quad\s*(?=-?[0-9])", ", "),
        (rf"(?<=[0-9)}}])\s*\\q?quad\s*(?={_NAME_AND_SIGN})", ", "),
        (rf"\\(?:lor|vee)\s*(?={_NAME_AND_SIGN})", " or "),
        (r"[:=]=", "="),
        (r"\{ ?\\(?:bf|it|rm|large|Large|huge) ([^{}]*)\}", r"\1"),
        (r"\\(?:SI|qty) ?\{([^{}]*)\} ?\{\\?([^{}]*)\}", r"\1 \2"),
        (r"\\tag ?\{[^{}]*\}|\\(?:bf|large|Large|huge|normalsize)(?![a-zA-Z])", ""),
        (r" \[([A-Za-z ]{2,40})\]$", r" (\1)"),
        (r"(?<=/[0-9])(?:rd|th)s?$", ""),  # 3/8ths
        (r"^(?:the )?square root of ([0-9]+)$", r"\\sqrt{\1}"),
        (
            r",? (?:which )?(?:is )?round(?:s|ed)(?: up| down| off)? to (?=[$€£]?[0-9])",
            r" \\approx ",
        ),
        (r"(?<![\w\\])(?:(?i:infinity)|inf|oo)(?!\w)", r"\\infty "),
        (r"(?<=[\w)}%$]) ?\$?\\(?:black)?(?:square|Box|qed|checkmark)\$?$", ""),
        (r"\\varnothing(?![a-z])|^\\?\{ ?\\?\}$", r"\\emptyset"),
        (r"\+/-|^\+-(?= ?[0-9])|\b(?i:plus or minus)\b", r"\\pm "),
        (
            r"</?(?:[bipu]|em|strong|span|div|code|br|mark|math) ?/?>|<(su[bp])>([^<>]{1,20})</\1>",
            _without_html,
        ),
        (r"^<([^<>]{1,60},[^<>]{1,60})>$", r"\\langle \1\\rangle "),
        (r"(?<=[)\]]) ?U ?(?=[(\[])", r" \\cup "),
        (r"^([a-z]) in (?=[(\[])", r"\1 \\in "),
        (r"(?<![^\W_])([a-z]) (?:(squared)|cubed)(?!\w)", _raised),
        (r"\\mathbb ([A-Z])(?![A-Za-z])", r"\\mathbb{\1}"),
        (r"\\(?:underline|textcolor ?\{[a-z]+\}|color ?\{[a-z]+\}) ?\{([^{}]*)\}", r"\1"),
        (r"(?<![\w.])([0-9]{1,9})\.([0-9]{0,9}?)([0-9])\3{2,9}\.{3}$", _repeating),  # 0.333...
        (
            r"(?<![\w.])([0-9]{1,9})\.([0-9]{0,9})\\(?:overline|bar|dot) ?\{([0-9]{1,9})\}",
            _repeating,
        ),
        (
            r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|tt)|bm|boldsymbol|[hm]box"
            r"|operatorname|emph|num|si|unit)"
            r"\s*\{([^{}]*)\}",
            r" \1 ",
        ),
        (r"\\(?:left|right|displaystyle|[bB]igg?[lr]?)(?![a-zA-Z])", ""),
        (r"(?<!\\)\\!\s*", ""),
        (r"(?<!\\)\\[,;: ]|\\q?quad|~", " "),
        (r" ?\{ ?([,:]) ?\} ?", r"\1"),
        (r"(?<!\\)\\([%$#&])", r"\1"),
        (r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))|\\degree(?![a-zA-Z])", "°"),
        (r"\\(?:times|cdot)(?![a-zA-Z])|(?<=[0-9)])\s+[xX]\s+(?=[0-9(])", "*"),
        (r"\\div(?![a-zA-Z])", "/"),
        (r"\*\*", "^"),
        (r"(?<=[,+]) ?(?:\\[lc]?dots(?![a-z])|\.{3}|…) ?(?=[,+)\]\\}]|$)", r"\\dots "),
        (r"(?<=[0-9])[.,]-{1,2}(?=$| ?[€$£]| ?(?:Fr|CHF))", ""),  # 42.- and 42,- €
        (r"(?<=[0-9])\^ ?\{ ?(st|nd|rd|th) ?\}", r"\1"),
        (r"(?<![\w.])[1-9][0-9]{0,2}(?:_[0-9]{3})+(?!\w)", _without_groups),
        # 2 und 7; 3 y -5 is algebra
        (r"(?<=[0-9])(?: (?:und|et|og|och|и|y(?! -)) | ?[和与與と] ?)(?=-?[0-9])", " and "),
        (r"<=|\\leq?(?:slant)?(?![a-zA-Z])", r"\\le "),
        (r">=|\\geq?(?:slant)?(?![a-zA-Z])", r"\\ge "),
        (r"!=|\\neq?(?![a-zA-Z])", r"\\ne "),
        (r"\\lt(?![a-zA-Z])", "<"),
        (r"\\gt(?![a-zA-Z])", ">"),
        (r"\\[dtc](frac|binom)(?![a-zA-Z])", r"\\\1"),
        (r"\\frac\s*([0-9])\s*([0-9])", r" \1/\2 "),
        (r"\\frac\s*\{\s*(-?[0-9.,]+)\s*\}\s*\{\s*(-?[0-9.,]+)\s*\}", r" \1/\2 "),
        # 2^{1/2}
        (r"(?<![\w.)}\]])([0-9]+|[a-z]) ?\^ ?(?:\{ ?1/2 ?\}|\( ?1/2 ?\))", r"\\sqrt{\1}"),
        (r"[⁰¹²³⁴⁵⁶⁷⁸⁹]+/[₀₁₂₃₄₅₆₇₈₉]+", _vulgar_fraction),
        (r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+|[₀₁₂₃₄₅₆₇₈₉₋]+", _small_digits),
        (r"[¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞]", _vulgar_fraction),
        (r"√\s*([0-9]+|\([^()]*\))", r"\\sqrt{\1}"),
        (r"∛\s*([0-9]+|\([^()]*\))", r"\\sqrt[3]{\1}"),
        (
            r"(^ ?|[,;(\[=]\s*|\b(?:and|or|is)\s+)(?i:negative|minus|moins|menos)\s+"
            r"(?=[$€£¥₹]?\.?[0-9\\])",
            r"\1-",
        ),
        (r"^(?i:positive)\s+(?=[$€£¥₹]?\.?[0-9])", ""),
        (r"\s+", " "),
        # in words
        (
            r"^ ?(?i:there (?:is|are) |(?:(?:the|this) (?:equation|system|inequality) |it )?has )?"
            r"(?i:(no|infinitely many)( real)? solutions?)(?: exists?)? ?$",
            r"\1\2 solution",
        ),
        (r"^ ?(?i:there are )?(?i:infinitely many) ?$", "infinitely many solution"),
        (r"^ ?(?i:the limit|it|this) (?=(?i:does not exist|cannot be determined) ?$)", ""),
        (r"^ ?(?i:the )?(?i:empty set) ?$", r"\\emptyset"),
        (
            r"(?:^ ?|(?<=\\in ))(?:\\mathbb ?\{? ?R ?\}?|ℝ) ?$"
            r"|^ ?(?i:all (?:real numbers|reals)) ?$",
            r"(-\\infty, \\infty)",
        ),
        (rf"^ ?([a-zA-Z]) is (?:{_GREATER} than or equal to|at least) ", r"\1 \\ge "),
        (rf"^ ?([a-zA-Z]) is (?:{_LESS} than or equal to|at most) ", r"\1 \\le "),
        (rf"^ ?([a-zA-Z]) is {_GREATER} than ", r"\1 > "),
        (rf"^ ?([a-zA-Z]) is {_LESS} than ", r"\1 < "),
        # the x of which it says x > 5
        (
            r"^ ?\\\{ ?([a-z]) ?(?:\\in ?\(-\\infty, \\infty\) ?|\\in ?\\mathbb ?\{ ?R ?\} ?)?"
            r"(?:\\mid|:|\|) ?(?=[^{}]*\1 ?(?:[<>]|\\[gln]e ))([^{}]*) ?\\\} ?$",
            r"\2",
        ),
    )
)
_LINES = re.compile(
    r"(?:\\\{)? ?\\begin ?\{(cases|aligned|(?:align|equation|gather)\*?|gathered|center)\}(.*)"
    r"\\end ?\{\1\}[ .]*",
    re.DOTALL,
)
_ARROW = re.compile(r"^(?:=>?|[→⇒∴•]|\\(?:Rightarrow|implies|to|therefore)(?![a-z]))\s*")


# In (1, 234) the space tells a pair from a number.
_SPACE_AFTER_COMMA = re.compile(r", (?![0-9]{3}(?![0-9]))")
_ARTICLE = re.compile(r"^(?:the (?=\w{2})|an? (?=[^\W\d_]{3})(?![abcxyz]{3}\b))")
#: Pictures beside an answer, but for those that cross it out.
_PICTURES = r"\u2600-\u2716\u2719-\u274b\u2755-\u27bf\U0001f300-\U0001faff\ufe0f"
_PICTURES_AROUND = re.compile(rf"^\s*[{_PICTURES}\s]+(?=\S)|\s*[{_PICTURES}]+\s*$")
#: About, altogether, answer.
_BEFORE_CHINESE = re.compile(r"^(?:大?[约約]|[一总總]?共有?|答案?[:：是为為])\s*(?=\d)")
#: Option B, "choose B".
_CHINESE_CHOICE = re.compile(r"^(?:[选選][项項择擇]?\s*([A-J])|([A-J])\s*[选選][项項])$")
_CALLED = {"pi": r"\pi", "infinity": r"\infty", "dne": "does not exist"}


def tidy(text: str) -> str:
    """Returns an answer without Markdown, math delimiters, quotation marks and a full stop."""
    previous = None
    while text != previous:
        previous = text
        text = _BOLD.sub(r"\1", text).strip().strip("*`_").strip()
        if wrapped := _WRAPPED.fullmatch(text):
            text = next(group for group in wrapped.groups() if group is not None)
        if not _GOES_ON.search(text):
            text = text.rstrip(". \t。")
    return text


def _of_chinese(answer: str) -> str:
    """Returns 42 for 四十二 and 约42, -8 for 负8, 42% for 百分之42, B for 选B and B选项."""
    answer = _BEFORE_CHINESE.sub("", answer)
    answer = _CHINESE_CHOICE.sub(r"\1\2", answer)
    answer = re.sub(r"百分之\s*(\d+(?:\.\d+)?)", r"\1%", answer)
    if minus := re.match("[负負]", answer):
        return f"-{with_chinese_digits(answer[minus.end() :])}"
    return with_chinese_digits(answer)


def clean(answer: str) -> str:
    """Returns an answer in plain signs: no markup, LaTeX spacing, typographic variants."""
    if answer.isascii() and answer.isalnum():
        return _CALLED.get(answer.casefold(), answer)
    if box := last_boxes(answer, find_boxes(answer)):
        answer = box.content
    answer = _ENTITY.sub(lambda entity: html.unescape(entity[0]), answer)
    if not answer.isascii():
        answer = _FOREIGN_DIGIT.sub(lambda digit: str(unicodedata.digit(digit[0])), answer)
        answer = _of_chinese(answer)
    answer = tidy(_PICTURES_AROUND.sub("", answer)).translate(_CHARACTERS)
    if "\\\\" in answer and "\\begin" not in answer:  # \\frac, escaped once too often
        answer = re.sub(r"\\\\(?=[A-Za-z(){}[\]])", r"\\", answer)
    for pattern, replacement in _REWRITES:
        if pattern.search(answer):  # a tenth of the time that sub takes to find nothing
            answer = pattern.sub(replacement, answer)
    answer = _without_environment(tidy(answer).rstrip(",;: \\"))
    answer = re.sub(r"(?<=[A-Za-z]{2})!+$", "", answer)
    return _ARROW.sub("", answer)


def _without_environment(answer: str) -> str:
    r"""Returns `x = 1, y = 5` for the lines of a system in \begin{cases} or \begin{aligned}."""
    lines = _LINES.fullmatch(answer)
    if lines is None:
        return answer
    rows = [
        row.replace("&=", "=").replace("& =", "=").strip(" ,;") for row in lines[2].split("\\\\")
    ]
    rows = [row for row in rows if row]
    are_equations = all("=" in row and "&" not in row for row in rows)
    return ", ".join(rows) if are_equations or len(rows) == 1 else answer


def as_text(answer: str) -> str:
    """Returns the form in which equal strings are equal.

    Case, spaces around signs, those behind commas in brackets, and an article are gone.
    """
    text = re.sub(r"\s*([+*/^()\[\]{}=<>|:-])\s*|(?<=[^\s,]) (?=\\)", r"\1", answer.casefold())
    if "(" in text:
        text = _SPACE_AFTER_COMMA.sub(",", text)
    return _ARTICLE.sub("", text)
