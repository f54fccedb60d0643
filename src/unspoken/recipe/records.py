"""What a run leaves behind in JSON files, as types: stages, trainings, traces.

Who writes such a file and who reads it share the class. Fields that a file has and the class does
not are left out; a file of a newer version is refused. Files from before records had a version are
read as they are: their fields had the same names.
"""

from __future__ import annotations

import json
from dataclasses import asdict, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from unspoken.common.errors import DataError, shorten
from unspoken.common.files import read_json, write_text

if TYPE_CHECKING:
    from typing_extensions import Self

#: Raise when fields of a record change their meaning.
VERSION = 1

Interval = tuple[float, float]


def validated(kind: Any, values: Any, path: Path) -> Any:
    """The values of a file of ours, as a type.

    Raises:
        DataError: they are not of it; the message names the file and the key.
    """
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = shorten(".".join(map(str, problem["loc"])), 100)[1:-1]
        raise DataError(
            f"{path}: {place}: {problem['msg'][:200].lower()}; needed: what unspoken writes there; "
            "put it back, or remove the file and run again"
        ) from None


class JsonRecord:
    """One JSON file of ours."""

    version: ClassVar[int] = VERSION
    _LIST: ClassVar[str] = ""  # the field that once was all of the file

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What stands in a file, or None where there is no such file.

        Raises:
            DataError: it is no record, or one of a newer unspoken.
        """
        values = read_json(path, cls._LIST)
        if values is None:
            return None
        version = values.get("version", 0)
        if not isinstance(version, int) or version > VERSION:
            raise DataError(
                f"{path}: version: found {shorten(version)}; needed: at most {VERSION}, which this "
                "unspoken knows; use the one that wrote it, or another run folder"
            )
        return validated(cls, cls._of_today(values), path)

    def write(self, path: Path) -> None:
        """Writes the file whole or not at all; what is not known is left out."""
        known = {name: value for name, value in self.to_json().items() if value is not None}
        write_text(path, json.dumps({"version": VERSION, **known}, indent=2))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)  # pyright: ignore[reportArgumentType]

    @classmethod
    def _of_today(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The values of a file of any version, with today's names."""
        return values


# ---- stage.json -----------------------------------------------------------------------------


@dataclass(frozen=True)
class PeakMemory:
    """Bytes that the process had at the most; of the GPU's memory, where there is one."""

    host: int | None = None
    gpu: int | None = None


@dataclass(frozen=True, kw_only=True)
class StageRecord(JsonRecord):
    """stage.json: what a stage was asked for, and whether it is done.

    Attributes:
        status: `running` also where it was interrupted.
        settings: everything that decides what comes out, with hashes of the inputs.
        seconds: over all the runs that worked on it.
        finished: when, in UTC; None before.
        peak_memory_bytes: of the process that finished it.
        paused: it was interrupted, and had the time to say so.
        cut_off: a kill came in between, and `seconds` leaves out what was before it.
        as_asked: it was begun again on purpose, and takes nothing over that was there before.
    """

    status: Literal["running", "done"] = "running"
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    finished: str | None = None
    peak_memory_bytes: PeakMemory = PeakMemory()
    paused: bool = False
    cut_off: bool = False
    as_asked: bool = False

    @property
    def is_done(self) -> bool:
        """Whether the stage has nothing left to do."""
        return self.status == "done"


@dataclass(frozen=True, kw_only=True)
class DataRecord(StageRecord):
    """data/stage.json.

    Attributes:
        files: path of each split, relative to the run folder where it is inside.
        sha256: of each of these files.
        repeats: whether a question may stand several times in `train`, with several thoughts.
        vetted: what vetting kept of a file of traces that the user gave.
    """

    files: dict[str, str] | None = None
    sha256: dict[str, str] = field(default_factory=dict)
    repeats: bool = False
    vetted: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Where a training ended.

    Attributes:
        step: optimizer steps.
        all_removed_at: the step at which the last thought token went.
        seconds: in optimizer steps, validation left out.
        num_tokens: that went through the model, padding left out.
        schedule, best: for those who want to look closer; see `unspoken.train.checkpoint`.
    """

    step: int | None = None
    all_removed_at: int | None = None
    seconds: float | None = None
    num_tokens: int | None = None
    schedule: dict[str, Any] = field(default_factory=dict)
    best: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainingRecord(StageRecord):
    """stage.json of a training.

    Attributes:
        folder: relative to the run folder.
        started_from: folder of the stage whose model it went on from.
        level: of removal that the final model belongs to: `all`, or `0007`, in the schedule's unit.
        state: where it ended.
        precision: that it was trained in, where the settings leave that to the machine.
        num_train, num_dropped: examples that were learned from, and that were too long.
        longest_thought: in tokens, of all examples.
        tokens_removed: how many tokens shorter the longest thought is at that level.
        model_sha256: of the final model's weights.
        model_bytes, base_bytes: of these weights; of the base model's, where they are an adapter's.
    """

    folder: str = ""
    started_from: str | None = None
    level: str | None = None
    state: TrainingState = TrainingState()
    precision: str | None = None
    num_parameters: int | None = None
    num_trained_parameters: int | None = None
    num_train: int | None = None
    num_dropped: int | None = None
    longest_thought: int | None = None
    tokens_removed: int | None = None
    model_sha256: str | None = None
    model_bytes: int | None = None
    base_bytes: int | None = None

    @property
    def batch_size(self) -> int | None:
        """Examples in an optimizer step; None of an older run that does not tell."""
        train = self.settings.get("train")
        size = train.get("batch_size") if isinstance(train, dict) else None
        return size if isinstance(size, int) else None


@dataclass(frozen=True, kw_only=True)
class TracesRecord(StageRecord):
    """traces/stage.json: what the teacher wrote, and at which price.

    Attributes:
        engine, model: who wrote.
        num_prompt_tokens, num_tokens: read and written.
        cost: of these, in `currency`; None without prices.
        traces_sha256: of traces.jsonl.
        num_taken_over: traces that were written earlier; `seconds` leaves them out.
    """

    engine: str | None = None
    model: str | None = None
    num_questions: int | None = None
    num_traces: int | None = None
    num_prompt_tokens: int | None = None
    num_tokens: int | None = None
    tokens_per_s: float | None = None
    cost: float | None = None
    currency: str | None = None
    traces_sha256: str | None = None
    num_taken_over: int = 0


@dataclass(frozen=True, kw_only=True)
class UnansweredRecord(JsonRecord):
    """traces.jsonl.unanswered.json: what a service may have charged without a reply that was kept.

    Attributes:
        num_prompt_tokens, num_tokens: at the most.
    """

    num_prompt_tokens: int = 0
    num_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class VettedRecord(StageRecord):
    """vetted/stage.json: which traces were kept, and which not.

    Attributes:
        num_traces: those of questions that were asked again included.
        num_questions, num_questions_kept: asked, and with a trace that was kept.
        num_questions_leaking: that the test asks, too.
        num_unverified: kept without a gold answer.
        num_unmeasured: whose length in tokens is not known.
        rejected: number of traces by reason.
        classes: where the answers are choices, for each of them `num_kept` and `num_dropped`
            traces, `num_questions` and `num_questions_kept`.
        num_asked_again: traces asked for because none of the question's was kept.
        num_prompt_tokens, num_tokens, cost: of these.
        sha256: of dataset.jsonl.
    """

    num_traces: int | None = None
    num_kept: int | None = None
    num_questions: int | None = None
    num_questions_kept: int | None = None
    num_questions_leaking: int | None = None
    num_unverified: int | None = None
    num_unmeasured: int | None = None
    num_torn_bytes: int | None = None
    rejected: dict[str, int] = field(default_factory=dict)
    classes: dict[str, dict[str, int]] | None = None
    num_asked_again: int | None = None
    num_prompt_tokens: int | None = None
    num_tokens: int | None = None
    cost: float | None = None
    sha256: str | None = None


# ---- others ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ShareRecord(JsonRecord):
    """traces/shards/....seconds.json: what a share of the traces took.

    Attributes:
        seconds: over all the runs that worked on it.
    """

    seconds: float = 0.0


@dataclass(frozen=True)
class SubmittedJob:
    """A job of SLURM's, by the name of its script and by its id."""

    name: str
    id: str


@dataclass(frozen=True, kw_only=True)
class JobsRecord(JsonRecord):
    """slurm/N/jobs.json: the jobs of a launch."""

    _LIST: ClassVar[str] = "jobs"

    jobs: tuple[SubmittedJob, ...]
