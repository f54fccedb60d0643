"""The recipe itself: its sections together, and what must fit between them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from unspoken.common.errors import RecipeError, setting, settings_of, shorten
from unspoken.common.settings import Seed
from unspoken.recipe.explain import RecipeSource, explain
from unspoken.recipe.merge import merge, switched
from unspoken.recipe.sections import (
    Baselines,
    Data,
    Evaluate,
    Frontier,
    Lora,
    Model,
    Schedule,
    Section,
    TemplateName,
    Train,
)
from unspoken.recipe.teacher import Costs, Teacher, Vet

#: What a phase cannot have of its own.
_WHOLE_RECIPE = {
    "model", "lora", "seed", "baselines", "output", "phases", "teacher", "vet", "distil",
    "internalize", "costs", "from_run",
}  # fmt: skip
#: Bytes of a recipe's name.
_LONGEST_NAME = 200
#: Problems that are told of one recipe.
_MOST_PROBLEMS = 20


def _require_folder_name(name: str) -> str:
    """A name that is one folder of runs/, on every file system."""
    if (
        name in ("", ".", "..")
        or not name.isprintable()
        or len(name.encode()) > _LONGEST_NAME
        or set("/\\") & set(name)
    ):
        raise ValueError(
            f"found {shorten(name)}, which names a folder of runs/; needed: at most "
            f"{_LONGEST_NAME} bytes without / and \\; correct it, or set output: FOLDER"
        )
    return name


class Recipe(Section):
    """One experiment, whole.

    `phases` runs one model through several settings in turn: each phase is a partial recipe laid
    over this one, and starts from the model that the phase before it ended with.
    """

    name: Annotated[str, AfterValidator(_require_folder_name)] = Field(
        default="run", description="names the run folder and the report"
    )
    description: str = Field(default="", description="a sentence for the report")
    seed: Seed = Field(default=0, description="same seed, same data, draws and losses")
    output: Path | None = Field(default=None, description="run folder; empty: runs/<name>")
    from_run: Path | None = Field(
        default=None,
        description="another run folder: stages that it has done with the same settings and inputs "
        "are taken from there",
    )
    template: TemplateName = Field(
        default="plain",
        description="how question, thought and answer are put together; qa: '### Question: ... "
        "### Answer: ...'; with a teacher or distil the default is qa",
    )
    data: Data
    model: Model
    lora: Lora | None = Field(default=None, description="empty: all weights are trained")
    schedule: Schedule = Schedule()
    teacher: Teacher | None = Field(
        default=None, description="who writes the thoughts; empty: the data has them"
    )
    vet: Vet = Vet()
    train: Train
    distil: dict[str, Any] | None = Field(
        default=None,
        description="first learn to write the thought, with settings of `train` that differ; "
        "empty: no such stage",
    )
    internalize: bool = Field(default=True, description="remove the thought; false: distil only")
    evaluate: Evaluate = Evaluate()
    baselines: Baselines = Baselines()
    frontier: Frontier = Frontier()
    costs: Costs = Costs()
    phases: list[dict[str, Any]] = Field(
        default_factory=list,
        max_length=100,
        description="one model through several settings in turn: each entry is a partial recipe "
        "with a name, laid over this one",
    )

    @model_validator(mode="after")
    def _adapters_fit(self) -> Recipe:
        if self.model.quantization and self.lora is None:
            raise ValueError(
                f"{setting('model.quantization')}: 4-bit weights cannot be trained themselves; add "
                "a section lora (lora: {} takes the defaults)"
            )
        if self.baselines.explicit == "before_removal" and self.schedule.start > 0:
            raise ValueError(
                f"{setting('baselines.explicit')}: found before_removal, which needs "
                f"{setting('schedule.start', 0)}, or there is no checkpoint with the whole "
                f"thought; set {setting('baselines.explicit', 'train')}"
            )
        if self.baselines.at_once and (
            self.schedule.removal in ("none", "all") or not self.internalize
        ):
            raise ValueError(
                f"{setting('baselines.at_once')}: found it without a thought that is removed bit "
                f"by bit, which it is to be compared with; needed: {setting('internalize', True)} "
                f"and {setting('schedule.removal', 'adaptive')} or linear; leave it out"
            )
        if self.baselines.at_once and self.distil is None and self.schedule.start > 0:
            raise ValueError(
                f"{setting('baselines.at_once')}: needs {setting('schedule.start', 0)}, or there "
                "is no model with the whole thought to start from; leave one of them out"
            )
        if self.lora is not None:
            self._require_no_whole_weights("train without lora")
        return self

    @model_validator(mode="after")
    def _choices_to_keep_to(self) -> Recipe:
        if self.evaluate.only_choices and not self.data.choices:
            raise ValueError(
                f"{setting('evaluate.only_choices')}: found it without {setting('data.choices')}; "
                "needed: the only answers that there are; name them, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _stages_fit(self) -> Recipe:
        if self.phases and (self.teacher or self.distil is not None or not self.internalize):
            raise ValueError(
                f"{setting('phases')}: found them with {setting('teacher')}, {setting('distil')} "
                f"or {setting('internalize', False)}; needed: one or the other; distil first, then "
                f"run the phases with {setting('model.name', 'runs/NAME/distilled/model')}"
            )
        if not self.internalize and self.distil is None:
            raise ValueError(
                f"{setting('internalize')}: found false without a section {setting('distil')}, so "
                f"nothing would be trained; add {setting('distil', '{}')}, or leave it out"
            )
        if self.baselines.explicit == "before_removal" and self.distil is not None:
            raise ValueError(
                f"{setting('baselines.explicit')}: found before_removal, which is what the distil "
                f"stage leaves anyway; set {setting('baselines.explicit', 'off')}"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = {**values, **switched(values)}
        if "template" not in values and (
            values.get("teacher") is not None or values.get("distil") is not None
        ):
            values["template"] = "qa"  # as scripts for distilling have it
        return values

    def with_adapter(self) -> Recipe:
        """This recipe with a section lora: its model is an adapter, and is trained on as one.

        Raises:
            RecipeError: it asks for what an adapter does not have.
        """
        name = setting("model.name", self.model.name)
        try:
            self._require_no_whole_weights(f"take a whole model: {name} is an adapter")
        except ValueError as error:
            raise RecipeError(str(error)) from None
        return self.model_copy(update={"lora": Lora()})

    def _require_no_whole_weights(self, otherwise: str) -> None:
        """Raises ValueError for what needs the weights themselves, where an adapter is trained.

        Args:
            otherwise: how weights would be trained themselves, for the error.
        """
        if self.schedule.positions == "gap":
            raise ValueError(
                f"{setting('schedule.positions')}: gap moves the position table, which an adapter "
                f"does not hold; set {setting('schedule.positions', 'natural')}, or {otherwise}"
            )
        optimizers = {
            "train": self.train.optimizer, "distil": (self.distil or {}).get("optimizer"),
        }  # fmt: skip
        for place, optimizer in optimizers.items():
            if optimizer == "muon":
                raise ValueError(
                    f"{setting(f'{place}.optimizer')}: found muon, which is for whole matrices, "
                    f"where an adapter is trained; set {setting(f'{place}.optimizer', 'adamw')}, "
                    f"or {otherwise}"
                )

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.output or Path("runs") / self.name

    def distilling(self) -> Recipe:
        """The recipe of the distil stage: `distil` laid over `train`, and nothing removed."""
        base = self.model_dump(mode="json", exclude={"schedule", "baselines"}, exclude_unset=True)
        own = self.distil or {}
        over = {"train": own, "schedule": {"removal": "none"}}
        with settings_of({f"train.{name}": f"distil.{name}" for name in own}):
            return validate(merge(base, over), "", train="distil")

    def resolved_phases(self) -> list[Recipe]:
        """One recipe per phase, in order; a recipe without phases is its own only phase."""
        if not self.phases:
            return [self]
        for number, phase in enumerate(self.phases):
            for key in sorted(_WHOLE_RECIPE & phase.keys()):
                raise RecipeError(
                    f"phases[{number}]: {key}: one model goes through all phases; "
                    f"set {setting(key)} outside of them"
                )
            if not str(phase.get("name", "phase")).replace("-", "").replace("_", "").isalnum():
                raise RecipeError(
                    f"phases[{number}]: name: found {shorten(phase['name'])}; it names a folder: "
                    "use letters, digits, - and _"
                )
        base = self.model_dump(mode="json", exclude={"phases"}, exclude_unset=True)
        return [
            validate(merge(base, phase), f"phases[{number}]")
            for number, phase in enumerate(self.phases)
        ]


def validate(
    values: dict[str, Any],
    where: str,
    nodes: yaml.Node | None = None,
    given: frozenset[str] = frozenset(),
    train: str = "train",
) -> Recipe:
    """The recipe in plain values.

    Args:
        values: sections and their keys.
        where: they come from, for messages.
        nodes: where they stand in their file.
        given: keys whose values come from overrides.
        train: the section that is laid over `train`, for what is meant by an unknown key.

    Raises:
        RecipeError: with a line for each problem.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        place = RecipeSource(where, nodes, given, train)
        problems = error.errors(include_url=False)
        lines = [explain(problem, place, Recipe) for problem in problems[:_MOST_PROBLEMS]]
        if more := len(problems) - _MOST_PROBLEMS:
            lines += [f"{where}: and {more} problems more; mend these first"] if more > 0 else []
        raise RecipeError("\n".join(dict.fromkeys(lines))) from None
