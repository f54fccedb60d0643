"""unspoken.json in a model folder: how the model is asked."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from unspoken.common.errors import ModelError
from unspoken.common.settings import Natural, Positive
from unspoken.common.version import __version__
from unspoken.recipe.sections import TemplateName

#: Written beside a saved model: how it is asked.
CARD_FILE = "unspoken.json"
#: Tokens of an answer at the most, for a model without one.
DEFAULT_LIMIT = 256


@dataclass(frozen=True)
class ModelCard:
    """How a saved model is asked, and what it learned.

    Attributes:
        template: renders its prompt, one of `unspoken.models.template`.
        removed: thought tokens that were removed in training; None means all.
        max_new_tokens: what its longest answer, with the rest of its thought, needs.
        step: optimizer step of the checkpoint.
        example_prompt: a prompt as the model expects it.
        unspoken_version: of the unspoken that wrote it.
        task: that it learned, as a recipe names it; None for examples of the user's own.
        digits: of both factors of a multiplication; several sizes.
        choices: the only answers that it learned, which its prompts name; None for others.
        data_sha256: of the file of examples that it learned from; None where that is not known.
    """

    template: TemplateName
    removed: Natural | None
    max_new_tokens: Positive
    step: Natural
    example_prompt: str
    unspoken_version: str = __version__
    task: str | None = None
    digits: tuple[tuple[int, int], ...] = ()
    choices: tuple[str, ...] | None = None
    data_sha256: str | None = None

    @staticmethod
    def read(folder: str | Path) -> ModelCard | None:
        """The card in a model folder, or None where unspoken did not write the folder."""
        path = Path(folder) / CARD_FILE
        if not path.is_file():
            return None
        try:
            return TypeAdapter(ModelCard).validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            first: Any = error.errors()[0] if isinstance(error, ValidationError) else None
            problem = (
                error if first is None else f"{first['msg']}: {'.'.join(map(str, first['loc']))}"
            )
            raise ModelError(
                f"{path}: cannot be read ({problem}); needed: how the model is asked, as unspoken "
                "wrote it; put it back, or remove it to ask the model like any other"
            ) from None

    def write(self, folder: Path) -> None:
        """Writes the card into a model folder."""
        (folder / CARD_FILE).write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
