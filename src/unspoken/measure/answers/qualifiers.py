"""Words that make another number, or none, of one beside them: not 42, more than 42, 42 or more.

Behind a number, in other languages than English, `quantity` would take them for units: of "42 eller
mer" nobody knows the number, "42 с половиной" is 42.5, and "42 ではない" is not 42. Elsewhere in a
sentence they are English, and of some languages more.
"""

from __future__ import annotations

import re

# German, French, Spanish, Portuguese, Italian, Romanian, Dutch, Swedish, Norwegian, Danish,
# Finnish, Polish, Czech, Croatian, Hungarian, Turkish, Indonesian, Vietnamese, Swahili, Tagalog
_LATIN = """
oder und bis mehr weniger mindestens höchstens ohne außer beinahe knapp kaum über unter halb
halbe halben einhalb nicht falsch kein keine statt
ou et demi demie sauf jamais presque mal fois faux sans aucun non
más menos mínimo máximo salvo excepto casi nunca falso veces sino ninguno ninguna
mais não nem meia quase mínimos senão
più meno almeno massimo minimo senza quasi oltre volte mezzo neppure
sau mult puțin minim maxim jumătate fără aproape
meer minder minstens hoogstens zonder bijna niet geen
eller mer mera fler flere mere mindre färre færre minst mindst högst højst utan uden nästan næsten
halv halvt inte ikke
tai enemmän vähemmän vähintään enintään puoli ilman melkein eikä
lub albo oraz więcej mniej najmniej najwyżej połowa połową bez prawie nie
nebo více méně alespoň nejméně nejvíce skoro není
ili više manje najmanje najviše gotovo nije
vagy több kevesebb legalább legfeljebb nincs majdnem nem
veya fazla daha yarım buçuk hariç değil
atau lebih kurang setengah paling minimal maksimal tanpa hampir bukan tidak
hoặc hơn lên rưỡi không nhất dưới trên
zaidi chini nusu pungufu angalau sio siyo
mahigit pababa higit hindi kalahati kulang
"""
# Russian, Ukrainian, Greek, Hebrew, Arabic, Persian, Hindi, Bengali
_OTHER_SCRIPTS = """
не неверно неправильно нет ни или либо и более больше менее меньше минимум максимум полтора без
кроме почти около чем свыше
або більше менше майже ні та
ή όχι δεν περισσότερα περισσότερο λιγότερα λιγότερο τουλάχιστον μισό μισή και
או לא יותר פחות חצי וחצי לפחות
أو ليس ليست لا غير أكثر أقل الأقل الأكثر نصف ونصف إلا خطأ فوق تحت فأكثر فأقل
یا نیست بیش بیشتر کمتر نیم
से अधिक कम नहीं या और आधा ज्यादा ज़्यादा गलत बिना नही
বেশি কম নয় না অথবা বা এবং চেয়ে অর্ধেক
"""
_WORDS = frozenset(f"{_LATIN} {_OTHER_SCRIPTS}".split())
# Chinese, Japanese, Korean and Thai have no spaces between words, Russian bends its half.
_PARTS = re.compile(
    "[多余餘半几幾至到或和与不约約左右以超未没沒無无非更最近]|分(?:之|の)|的.{0,2}倍|[弱強]$"
    "|ない|ません|より|ほど"
    "|이상|이하|미만|초과|아니|아닙|않|없|넘|또는|정도|반$"
    "|ขึ้นไป|ไม่|หรือ|กว่า|ครึ่ง|อย่างน้อย|เกิน"
    "|половин"
)
#: Words that make another number of one beside them, or none, before and behind it.
ANOTHER = (
    r"not?|none?|nor|neither|never|nothing|without|cannot|or|either|than|if|unless|except|least|most"
    r"|below|minus|plus|divided|multiplied|factorial|squared|cubed|log|mod|base|binary|octal|hex(?:adecimal)?|remainder|even|odd"
    r"|hal(?:f|ves)|thirds?|fourths?|eleven|twelve|zero|negative|short|before|maybe|perhaps"
    r"|possibly|whether|impossible|undefined|wrong|incorrect|fail(?:s|ed)?"
)
#: Words that make a number another one than the answer, or no answer at all.
_REFUSED = re.compile(
    rf"\b(?:{ANOTHER}|nobody|\w+n't|between|(?<!left )over|under|above|up to|exceeds?|times"
    r"|upwards?|excess|some|several|(?:part|portion|fraction)(?= of\b)|doubt\w*|unlike|differs?"
    r"|different|far|too|unlikely|let(?! us\b)|suppose|assum(?:e|ing)|reciprocal|opposite|inverse"
    r"|logarithm|successor|predecessor|absolute|digits?|divisors?|factors?|complement|conjugate|tenths?"
    r"|square|cube|roots?|power|quarters?|fifths?|twice|thrice|double[sd]?|tripled?|dozens?|hundreds?"
    r"|thousands?|millions?|billions?|trillions?|multiple|divisible|modulo|probably|guess|unknown"
    r"|unclear|infinite(?:ly)?|insufficient|determined?|reject(?:s|ed)?|extraneous|invalid|discarded"
    r"|excluded|false|error|mistake|instead|but|although|however|almost|nearly|one|two|three|four"
    r"|five|six|seven|eight|nine|ten|\w+teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|another"
    r"|after|until|nicht|kein\w*"
    r"|mehr|weniger|oder|pas|ne|ni|jamais|moins|non|niet|geen|inte|ikke|nie|bukan|tidak|nu|nuk"
    r"|není|nejsou|ei|eivät|alle|yli|nije|nisu|mitte|fast|hälfte|drittel|viertel|tiers|ou|nunca"
    r"|sin|menos|não|nem|mas|más|mais|più|meno"
    r"|über|unter|höchstens|mindestens|beinahe|kaum|weder|ohne|halb\w*|doppelt\w*|falsch|presque"
    r"|sans|aucune?|rien|moitié|quart|faux|fausse|casi|ningun[oa]?|ningún|mitad|tercio|cuarto"
    r"|doble|falso|quasi|quase|senza|né|metà|doppio|sem|metade|dobro)\b",
    re.IGNORECASE,
)


def qualifies(text: str, words: list[str]) -> bool:
    """Whether a text after a number makes it another one; `words` are those of the text."""
    return _PARTS.search(text) is not None or not _WORDS.isdisjoint(words)


def refuses(text: str) -> bool:
    """Whether words beside a number make it another one than the answer, or no answer at all."""
    return _REFUSED.search(text) is not None
