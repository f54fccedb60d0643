"""What a trace has to be to be kept, as far as a user decides it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from unspoken.common.errors import SettingError
from unspoken.common.settings import checked
from unspoken.data.overlap import OVERLAP


@checked
class VetRules:
    """The rules of vetting that can be set.

    Attributes:
        majority: where no gold answer is known, keep the traces whose answer has the most votes
            among the complete samples of its question: at least two, and more than any other.
            Without it they are kept unverified.
        max_tokens: of a whole trace, by its num_tokens; a trace without is kept and counted.
        pattern: regular expression that a whole thought must match.
        overlap: share of a question's words from which it is a test question; see `data.overlap`.
        max_per_question: keep so many traces of each question, the first ones.

    Raises:
        SettingError: for values that make no sense.
    """

    majority: bool = False
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    pattern: re.Pattern[str] | None = None
    overlap: Annotated[float, Field(gt=0, le=1)] = OVERLAP
    max_per_question: Annotated[int | None, Field(ge=1)] = None

    @field_validator("pattern", mode="before")
    @classmethod
    def _compile(cls, value: str | re.Pattern[str] | None) -> re.Pattern[str] | None:
        try:
            return None if value is None else re.compile(value)
        except re.error as error:
            raise SettingError(
                "pattern",
                found=f"{value!r}, which is no regular expression ({error})",
                needed="one that matches a whole thought",
                remedy="correct it",
            ) from None
