"""The address of a server: what can be one, and that no key stands in it."""

from __future__ import annotations

import re
import urllib.parse

_EXAMPLE = "http://localhost:8000/v1"
#: Signs of addresses, RFC 3986; whatever else there is would have to be written as %xx.
_SIGNS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
#: How the keys of services begin, and what is put before a key in a path.
_KEY = re.compile(
    r"(?i:sk|pk|rk|gsk|hf|xai|nvapi|pplx|fw|r8|ghp|bearer|secret|token|(api[-_]?)?key)[-_=:]"
    r"[\w.~-]{6,}|AIza[\w-]{20,}"
)


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
