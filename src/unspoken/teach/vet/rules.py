"""What a trace has to be to be kept, as far as a user decides it."""

from __future__ import annotations

import re

from pydantic import field_validator

from unspoken.common.errors import SettingError
from unspoken.common.settings import Positive, Share, checked
from unspoken.data.overlap import OVERLAP
from unspoken.recipe.choices import Labels


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
        choices: the only answers that there are; see `unspoken.measure.choices`.

    Raises:
        SettingError: for values that make no sense.
    """

    majority: bool = False
    max_tokens: Positive | None = None
    pattern: re.Pattern[str] | None = None
    overlap: Share = OVERLAP
    max_per_question: Positive | None = None
    choices: Labels | None = None

    @field_validator("pattern", mode="before")
    @classmethod
    def _compile(cls, value: str | re.Pattern[str] | None) -> re.Pattern[str] | None:
        try:
            return None if value is None else re.compile(value)
        except (re.error, TypeError, RecursionError, OverflowError) as error:
            raise SettingError(
                "pattern",
                found=f"{value!r}, which is no regular expression ({error})",
                needed="one that matches a whole thought",
                remedy="correct it",
            ) from None
