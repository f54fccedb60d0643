"""What a user can cause. The command line prints these in one line and exits with status 2.

A message names the place, what was found, what is needed and what to do. Everything else that
goes wrong is a bug in unspoken and keeps its traceback.
"""

from __future__ import annotations


class UnspokenError(Exception):
    """Base of every error that a user can cause and mend."""


class RecipeError(UnspokenError):
    """A recipe, an override or a flag that cannot be used as it stands."""


class DataError(UnspokenError):
    """A data file that cannot be read as it stands: names file:line and field."""


class ModelError(UnspokenError):
    """A model or tokenizer that is missing or does not fit what is asked of it."""


class OutputExistsError(UnspokenError):
    """A file or folder that would be overwritten; `--overwrite` allows it."""


class TrainingError(UnspokenError):
    """A training run that had to stop, such as a loss that became NaN."""
