"""The recipe itself: its sections together, and what must fit between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from tacit.errors import RecipeError
from tacit.recipe.explaining import explain
from tacit.recipe.merging import merge, switched
from tacit.recipe.sections import (
    Baselines,
    Data,
    Evaluate,
    Lora,
    Model,
    Natural,
    Schedule,
    Section,
    Train,
)

#: What a phase cannot have of its own, and what an override changes in every phase.
_WHOLE_RECIPE = {"model", "lora", "seed", "baselines", "output", "phases"}


class Recipe(Section):
    """One experiment, whole.

    `phases` runs one model through several settings in turn: each phase is a partial recipe laid
    over this one, and starts from the model that the phase before it ended with.
    """

    name: str = Field(default="run", description="names the run folder and the report")
    description: str = ""
    seed: Natural = 0
    output: Path | None = Field(default=None, description="run folder; empty: runs/<name>")
    template: Literal["plain", "compact", "chat"] = "plain"
    data: Data
    model: Model
    lora: Lora | None = Field(default=None, description="empty: all weights are trained")
    schedule: Schedule = Schedule()
    train: Train
    evaluate: Evaluate = Evaluate()
    baselines: Baselines = Baselines()
    phases: list[dict[str, Any]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _adapters_fit(self) -> Recipe:
        if self.model.quantization and self.lora is None:
            raise ValueError(
                "model.quantization: 4-bit weights cannot be trained themselves; add a section "
                "lora (lora: {} takes the defaults)"
            )
        if self.baselines.explicit == "before_removal" and self.schedule.start > 0:
            raise ValueError(
                "baselines.explicit: before_removal needs schedule.start: 0, or there is no "
                "checkpoint with the whole thought; set baselines.explicit: train"
            )
        if self.lora is not None and self.schedule.positions == "gap":
            raise ValueError(
                "schedule.positions: gap moves the position table, which an adapter does not "
                "hold; set schedule.positions: natural, or train without lora"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _one_switch(cls, values: Any) -> Any:
        return {**values, **switched(values)} if isinstance(values, dict) else values

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.output or Path("runs") / self.name

    def resolved_phases(self) -> list[Recipe]:
        """One recipe per phase, in order; a recipe without phases is its own only phase."""
        if not self.phases:
            return [self]
        for number, phase in enumerate(self.phases):
            for key in sorted(_WHOLE_RECIPE & phase.keys()):
                raise RecipeError(
                    f"phases[{number}]: {key}: one model goes through all phases; "
                    f"set {key} outside of them"
                )
            if not str(phase.get("name", "phase")).replace("-", "").replace("_", "").isalnum():
                raise RecipeError(
                    f"phases[{number}]: name: found {phase['name']!r}; it names a folder: use "
                    "letters, digits, - and _"
                )
        base = self.model_dump(mode="json", exclude={"phases"}, exclude_unset=True)
        return [
            validate(merge(base, phase), f"phases[{number}]")
            for number, phase in enumerate(self.phases)
        ]


def validate(values: dict[str, Any], where: str, nodes: yaml.Node | None = None) -> Recipe:
    """The recipe in plain values; raises RecipeError with a line for each problem."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        lines = [explain(problem, where, nodes, Recipe) for problem in error.errors()]
        raise RecipeError("\n".join(dict.fromkeys(lines))) from None
