"""unspoken.json in a model folder: how the model is asked."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from unspoken.common.version import __version__
from unspoken.recipe.sections import TemplateName

#: Written beside a saved model: how it is asked.
CARD_FILE = "unspoken.json"


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
    """

    template: TemplateName
    removed: int | None
    max_new_tokens: int
    step: int
    example_prompt: str
    unspoken_version: str = __version__

    @staticmethod
    def read(folder: str | Path) -> ModelCard | None:
        """The card in a model folder, or None where unspoken did not write the folder."""
        path = Path(folder) / CARD_FILE
        if not path.is_file():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(ModelCard)}
        return ModelCard(**{name: value for name, value in values.items() if name in known})

    def write(self, folder: Path) -> None:
        """Writes the card into a model folder."""
        (folder / CARD_FILE).write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
