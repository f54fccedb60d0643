"""Types for settings whose text must match a pattern, such as the name of a job."""

from __future__ import annotations

import re

from pydantic import AfterValidator


def matching(pattern: str, needed: str) -> AfterValidator:
    """What makes a type of texts that match, for `Annotated[str, matching(...)]`.

    pydantic's own patterns know no look-ahead and take letters of every alphabet.

    Args:
        pattern: of the whole text, in ASCII.
        needed: what is said to be needed where it does not match.
    """

    def require_match(text: str) -> str:
        if not re.fullmatch(pattern, text, flags=re.ASCII):
            raise ValueError(needed)
        return text

    return AfterValidator(require_match)
