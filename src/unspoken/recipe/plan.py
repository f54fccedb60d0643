"""What a run does, as a value: which models it trains, in which order, from what and how long.

It is written here and nowhere else: `unspoken run` executes it, `unspoken check` counts it, the
report compares it with what a run folder holds, and launchers look whether their processes can
train it. Folders are named relative to the run folder. No torch is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unspoken.common.errors import RecipeError, setting
from unspoken.recipe import layout
from unspoken.recipe.levels import level_number
from unspoken.recipe.sections import Schedule
from unspoken.recipe.teacher import Teacher
from unspoken.recipe.whole import Recipe


@dataclass(frozen=True)
class Phase:
    """Data and settings that every student goes through; a recipe without phases is one phase.

    Attributes:
        number: from 0.
        key: of its folder inside those of the data and of each model; empty of a single phase.
        recipe: of this phase alone.
    """

    number: int
    key: str
    recipe: Recipe


@dataclass(frozen=True)
class Training:
    """One model that is trained, in one phase.

    Attributes:
        name: of the model.
        stage: that it belongs to, as `--from` names it.
        phase: its number, from 0.
        folder: within the run folder.
        recipe: of this training alone: its model, schedule and train.
        section: that holds its settings of training in the user's recipe.
        overrides: settings that stand in `section`; the others stand in the recipe's `train`. None:
            all stand in `section`.
        starts_from: folder of the training whose model it goes on from; None: `recipe.model`.
        before_removal: it goes on from that training's best model from before the first removal,
            and not from its final one.
        as_many_steps_as: folders of the trainings that together say how many optimizer steps it
            takes, exactly; empty: its own settings say how many it takes at the most.
    """

    name: str
    stage: str
    phase: int
    folder: Path
    recipe: Recipe
    section: str
    overrides: frozenset[str] | None = None
    starts_from: Path | None = None
    before_removal: bool = False
    as_many_steps_as: tuple[Path, ...] = ()

    def section_of(self, setting: str) -> str:
        """The section of the user's recipe that has one of the settings of training."""
        is_own = self.overrides is None or setting in self.overrides
        return self.section if is_own else "train"

    def key(self, setting: str) -> str:
        """Where the user's recipe has one of the settings of training: `distil.batch_size`."""
        return f"{self.section_of(setting)}.{setting}"


@dataclass(frozen=True)
class OnlyMeasured:
    """A model that is asked the test questions and not trained.

    Attributes:
        name: `explicit`, the internalized run's own model from before the removal; or `untrained`,
            the student before any training.
        phase: its number, from 0.
        folder: within the run folder.
        recipe: that says how it is measured.
        source: folder of the training that has the model, or whose limits the student gets.
    """

    name: str
    phase: int
    folder: Path
    recipe: Recipe
    source: Path


@dataclass(frozen=True)
class Teaching:
    """Who writes the thoughts; what is written comes to be traces, which are then vetted.

    Attributes:
        settings: the recipe's section.
        title: who that is, for people.
        training: of a teacher from scratch, which is measured as every trained model is.
        is_asked_the_test: whether a teacher that was not trained here is measured, too.
    """

    settings: Teacher
    title: str
    training: Training | None
    is_asked_the_test: bool


@dataclass(frozen=True)
class PlannedFrontier:
    """The levels of removal in one phase, from which a model can be chosen.

    Attributes:
        phase: its number, from 0.
        folder: within the run folder.
        recipe: of the phase.
        source: folder of the training that has the levels.
        explicit: folder of the training that writes its whole thought, where there is one; else
            the levels' own first one stands for it.
    """

    phase: int
    folder: Path
    recipe: Recipe
    source: Path
    explicit: Path | None

    @property
    def key(self) -> Path:
        """Of the phase, as the folders of all stages have it inside; `.` without phases."""
        return self.folder.relative_to(layout.FRONTIER)

    @property
    def num_levels(self) -> int:
        """Levels that are trained, at the most."""
        return self.recipe.frontier.levels

    def at(self, level: str) -> Recipe:
        """The recipe by which a level is trained: its thought stays as long as it is.

        Args:
            level: its name, such as `0007`.
        """
        own, steps = self.recipe.schedule, self.recipe.frontier.steps
        kept = {name: getattr(own, name) for name in ("unit", "side", "positions")}
        schedule = Schedule(removal="none", start=level_number(level), **kept)
        train = self.recipe.train.model_copy(
            update={
                "epochs": None,
                "max_steps": steps,
                "settle_steps": None,
                "lr_schedule": "linear",
                "warmup_steps": 0,
                "evaluate_every": min(self.recipe.train.evaluate_every, steps),
            }
        )
        return self.recipe.model_copy(update={"schedule": schedule, "train": train})


@dataclass(frozen=True)
class Plan:
    """Everything that a run does, in its order: teacher, students, what is only measured.

    Attributes:
        frontiers: of each phase in which a thought is removed bit by bit.
    """

    phases: tuple[Phase, ...]
    teaching: Teaching | None
    students: tuple[Training, ...]
    only_measured: tuple[OnlyMeasured, ...]
    frontiers: tuple[PlannedFrontier, ...] = ()

    @property
    def trainings(self) -> tuple[Training, ...]:
        """All of them in their order, a teacher from scratch first."""
        own = None if self.teaching is None else self.teaching.training
        return self.students if own is None else (own, *self.students)

    @property
    def models(self) -> tuple[str, ...]:
        """The models that there will be figures of, in the order of the report."""
        names = {one.name for one in (*self.trainings, *self.only_measured)}
        if self.teaching is not None and self.teaching.is_asked_the_test:
            names.add(layout.TEACHER)
        return tuple(name for name in layout.MODELS if name in names)

    def __str__(self) -> str:
        """The models in the order of the run; what only differs from a name is in brackets."""
        teacher = [] if self.teaching is None else [f"teacher ({self.teaching.title})"]
        how = {layout.EXPLICIT: "from before the removal", layout.UNTRAINED: "only measured"}
        others = [f"{one.name} ({how[one.name]})" for one in self.only_measured]
        names = [*teacher, *(one.name for one in self.students), *others]
        return ", ".join(dict.fromkeys(names))


def plan(recipe: Recipe) -> Plan:
    """What a run of this recipe does.

    Raises:
        RecipeError: `distil`, a phase or `lora` does not fit the rest of the recipe.
    """
    if recipe.lora is not None and recipe.model.name is None:
        raise RecipeError(
            f"{setting('lora')}: found it with {setting('model.config')}, whose weights are drawn "
            "and kept nowhere, so nobody could load the adapter again; needed: a model that has "
            f"weights, or all weights trained; set {setting('model.name')}, or leave lora out"
        )
    phases = tuple(_phases(recipe))
    students = tuple(_students(recipe, phases))
    return Plan(
        phases=phases,
        teaching=None if recipe.teacher is None else _teaching(recipe, recipe.teacher),
        students=students,
        only_measured=tuple(_only_measured(recipe, phases, students)),
        frontiers=tuple(_frontiers(recipe, phases)),
    )


def _phases(recipe: Recipe) -> Iterator[Phase]:
    parts = recipe.resolved_phases()
    for number, part in enumerate(parts):
        key = layout.phase_key(number, part.name) if len(parts) > 1 else ""
        yield Phase(number, key, part)


def _teaching(recipe: Recipe, teacher: Teacher) -> Teaching:
    name = None if teacher.model is None else teacher.model.name
    titles = {"openai": f"{name} on a server", "worked": "worked solutions"}
    title, training = titles.get(teacher.engine, str(name)), None
    if teacher.from_scratch:
        own = {"model": teacher.model, "train": teacher.train, "lora": None, "distil": None}
        learning = recipe.model_copy(update={**own, "schedule": Schedule(removal="none")})
        title = "from scratch"
        training = Training(
            layout.TEACHER, layout.TEACHER, 0, Path(layout.TEACHER), learning, "teacher.train"
        )
    asked = training is None and teacher.engine != "worked" and teacher.evaluate
    return Teaching(teacher, title, training, asked)


def _students(recipe: Recipe, phases: tuple[Phase, ...]) -> Iterator[Training]:
    """The student that writes its thought, then each other model through all phases."""
    start, counted = None, []
    if recipe.distil is not None:
        start, own = Path(layout.DISTILLED), frozenset(recipe.distil)
        yield Training(layout.DISTILLED, "distil", 0, start, recipe.distilling(), "distil", own)
        counted = [start]
    if recipe.internalize:
        yield from _through_phases(recipe, phases, layout.INTERNALIZED, start=start)
        counted = [Path(layout.INTERNALIZED), *counted]
    if recipe.baselines.explicit == "train":
        whole = Schedule(removal="none")
        yield from _through_phases(recipe, phases, layout.EXPLICIT, schedule=whole, counted=counted)
    if recipe.baselines.at_once:
        yield from _all_at_once(recipe, phases, start=start)
    if recipe.baselines.no_cot:
        nothing = Schedule(removal="all", auxiliary_loss=0)  # or it would learn the thought
        yield from _through_phases(recipe, phases, layout.NO_COT, schedule=nothing, counted=counted)


def _all_at_once(
    recipe: Recipe, phases: tuple[Phase, ...], *, start: Path | None
) -> Iterator[Training]:
    """In every phase, the model that writes its thought with everything removed in one step.

    Args:
        recipe, phases: of the run.
        start: the student that writes its thought; None: each phase's internalized model from
            before its first removal.
    """
    for phase in phases:
        schedule = phase.recipe.schedule.model_copy(update={"removal": "all"})
        internalized = Path(layout.INTERNALIZED) / phase.key
        section, overrides = _section_of_train(recipe, phase)
        yield Training(
            name=layout.AT_ONCE,
            stage="baselines",
            phase=phase.number,
            folder=Path(layout.AT_ONCE) / phase.key,
            recipe=phase.recipe.model_copy(update={"schedule": schedule}),
            section=section,
            overrides=overrides,
            starts_from=start or internalized,
            before_removal=start is None,
            as_many_steps_as=(internalized,),
        )


def _through_phases(
    recipe: Recipe,
    phases: tuple[Phase, ...],
    name: str,
    *,
    start: Path | None = None,
    schedule: Schedule | None = None,
    counted: Sequence[Path] = (),
) -> Iterator[Training]:
    """One model in every phase, each time going on from the phase before.

    Args:
        recipe, phases: of the run.
        name: of the model.
        start: what the first phase goes on from.
        schedule: in place of the phases' own.
        counted: models whose steps in a phase are this one's, too.
    """
    for phase in phases:
        own = {} if schedule is None else {"schedule": schedule}
        section, overrides = _section_of_train(recipe, phase)
        yield Training(
            name=name,
            stage="internalize" if name == layout.INTERNALIZED else "baselines",
            phase=phase.number,
            folder=Path(name) / phase.key,
            recipe=phase.recipe.model_copy(update=own),
            section=section,
            overrides=overrides,
            starts_from=start,
            as_many_steps_as=tuple(folder / phase.key for folder in counted),
        )
        start = Path(name) / phase.key


def _section_of_train(recipe: Recipe, phase: Phase) -> tuple[str, frozenset[str] | None]:
    """Where a phase's settings of training stand; see `Training`."""
    if not recipe.phases:
        return "train", None
    own = recipe.phases[phase.number].get("train") or ()
    return f"phases[{phase.number}].train", frozenset(own)


def _frontiers(recipe: Recipe, phases: tuple[Phase, ...]) -> Iterator[PlannedFrontier]:
    explicit = None
    if recipe.distil is not None:
        explicit = layout.DISTILLED
    elif recipe.baselines.explicit == "train":
        explicit = layout.EXPLICIT
    for phase in phases:
        if recipe.internalize and phase.recipe.schedule.removal not in ("none", "all"):
            yield PlannedFrontier(
                phase=phase.number,
                folder=Path(layout.FRONTIER) / phase.key,
                recipe=phase.recipe,
                source=Path(layout.INTERNALIZED) / phase.key,
                explicit=explicit and Path(explicit) / phase.key,
            )


def _only_measured(
    recipe: Recipe, phases: tuple[Phase, ...], students: tuple[Training, ...]
) -> Iterator[OnlyMeasured]:
    if recipe.baselines.explicit == "before_removal":
        for phase in phases:
            folder, source = (
                Path(layout.EXPLICIT) / phase.key,
                Path(layout.INTERNALIZED) / phase.key,
            )
            yield OnlyMeasured(layout.EXPLICIT, phase.number, folder, phase.recipe, source)
    if recipe.baselines.untrained:
        for phase in phases:
            first = next(one.folder for one in students if one.phase == phase.number)
            folder = Path(layout.UNTRAINED) / phase.key
            yield OnlyMeasured(layout.UNTRAINED, phase.number, folder, phase.recipe, first)
