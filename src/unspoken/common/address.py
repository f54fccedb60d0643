"""The address of a server and the variable with its key: what can be one, and is no key itself."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable

_EXAMPLE = "http://localhost:8000/v1"
#: Signs of addresses, RFC 3986; whatever else there is would have to be written as %xx.
_SIGNS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
#: How the keys of services begin, and what is put before a key in a path.
_KEY = re.compile(
    r"(?i:sk|pk|rk|gsk|hf|xai|nvapi|pplx|fw|r8|ghp|bearer|secret|token|(api[-_]?)?key)[-_=:]"
    r"[\w.~-]{6,}|AIza[\w-]{20,}"
)
_KEY_FLAG = re.compile(r"--?([\w-]+[-_])?(api[-_]?key|token|secret|password)", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHORTEST_KEY = 20


def read_address(address: str, key_setting: str) -> urllib.parse.SplitResult:
    """The parts of a server's address.

    Args:
        address: such as http://localhost:8000/v1.
        key_setting: where the environment variable with the key is named, for messages.

    Raises:
        ValueError: it is none, or a key may stand in it, which would stand in files and messages
            then. Its text says what was found, what is needed and what to do, never the address.
    """
    if not _SIGNS.fullmatch(address):
        raise ValueError(
            "found blanks, accents or other signs that no address holds; needed: an address such "
            f"as {_EXAMPLE}; take them out, or write them as %20 or %C3%A9 in a path and as "
            "xn--... in a host"
        )
    try:
        parts = urllib.parse.urlsplit(address)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # no part of it is empty or too long
    except ValueError:
        raise ValueError(
            f"found a host or port that cannot be one; needed: an address such as {_EXAMPLE}; "
            "correct it"
        ) from None
    if key := _find_key(parts, address):
        raise ValueError(
            f"found {key} in it, which would stand in files and messages; needed: the address "
            "alone; put the key into an environment variable, whose value is written nowhere, and "
            f"name that in {key_setting}"
        )
    place = parts.netloc.rpartition(":")[0] if port is not None else parts.netloc.rstrip(":")
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(place):
        raise ValueError(
            f"found no http://HOST or https://HOST at its beginning; needed: one such as "
            f"{_EXAMPLE}; correct it"
        )
    return parts


def _find_key(parts: urllib.parse.SplitResult, address: str) -> str:
    """What may be a key or hold one, in words; empty where nothing is."""
    if "@" in parts.netloc or ("@" in address and not parts.netloc):
        return "a name or password"
    if "?" in address or "#" in address:
        return "a query or fragment"
    segments = re.split("[/;,&]", urllib.parse.unquote(parts.path))
    return "what looks like a key" if any(map(_KEY.fullmatch, segments)) else ""


def read_variable(name: str) -> str:
    """The name of the environment variable that holds a key, as it was given.

    Raises:
        ValueError: it is none, or may be the key, which would stand in files and messages then. Its
            text says what is needed and what to do, never what was given.
    """
    is_mixed = name != name.upper() and (name != name.lower() or bool(re.search(r"\d", name)))
    if not _VARIABLE.fullmatch(name) or (len(name) >= _SHORTEST_KEY and is_mixed):
        raise ValueError(
            "found what is no name of an environment variable, and perhaps the key itself, so it "
            "is not shown; needed: a name such as OPENAI_API_KEY; put the key into that variable "
            "(export OPENAI_API_KEY=...) and give the variable's name"
        )
    return name


def holds_key(words: Iterable[str]) -> bool:
    """Whether a word of a command looks like a key, or stands where a flag wants one."""
    before = ""
    for word in words:
        flag, _, value = word.partition("=")
        if (
            _KEY.fullmatch(word)
            or _KEY_FLAG.fullmatch(before)
            or (value and _KEY_FLAG.fullmatch(flag))
        ):
            return True
        before = word
    return False
