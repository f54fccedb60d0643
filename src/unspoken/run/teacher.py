"""The teacher's stages: questions in, vetted traces out; and how the teacher itself does."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object

from unspoken.common.errors import DataError, settings_of
from unspoken.common.files import sha256, write_text
from unspoken.common.interrupt import EXIT_INTERRUPTED, end_if_asked
from unspoken.data.example import Example
from unspoken.data.jsonl import read_jsonl, write_jsonl
from unspoken.measure.predictions import Prediction, judge, summarize
from unspoken.measure.sampling import MAX_NEW_TOKENS, Sampling
from unspoken.models.card import ModelCard
from unspoken.models.fingerprint import fingerprint
from unspoken.recipe import Recipe, Teacher
from unspoken.run.data import Splits
from unspoken.run.folder import RunFolder, Stage
from unspoken.run.measure import already, asked, keep
from unspoken.run.share import has_separate_files
from unspoken.teach.engines import Engine
from unspoken.teach.engines.make import IN_RECIPE, EngineOptions, make_engine
from unspoken.teach.traces.together import remove_traces, write_together
from unspoken.teach.traces.write import GenerateSummary, generate_traces
from unspoken.teach.vet import VetRules, VetSummary, vet_traces

#: Settings of the teacher that do not decide what it writes for the questions.
_INCIDENTAL = {
    "train", "num_train", "retries", "retry_temperature", "batch_size", "api_key_env",
    "concurrency", "requests_per_minute", "max_cost", "price_prompt", "price_completion",
    "evaluate",
}  # fmt: skip


class TeacherStages:
    """The stages of one run in which the teacher writes.

    All processes call all of them, and ask the teacher together; the main one writes.
    """

    def __init__(
        self,
        run: RunFolder,
        recipe: Recipe,
        teacher: Teacher,
        splits: Splits,
        trained: dict[str, Any] | None,
        *,
        progress: bool = True,
    ) -> None:
        """Stages that are to be run in the order `generate`, `vet`, `evaluate`.

        Args:
            run, recipe, splits: of the run.
            teacher: the recipe's section.
            trained: stage.json of a teacher that this run trained.
            progress: show bars.
        """
        self.run, self.recipe, self.teacher, self.splits = run, recipe, teacher, splits
        self.trained, self.progress = trained, progress
        self._folder = run.path / "teacher" / "model" if trained else None
        self._engine: Engine | None = None

    @property
    def trace_folder(self) -> Path:
        """Of the generate stage."""
        return self.run.path / "traces"

    def trace_settings(self) -> dict[str, Any]:
        """Everything that decides the traces."""
        return {"questions_sha256": self.splits.hashes["train"], **self._identity()}

    def generate(self) -> dict[str, Any]:
        """Has the teacher solve the training questions; returns the stage's stage.json."""
        stage = self.run.open("generate", self.trace_folder, self.trace_settings())
        if stage.done is not None:
            return stage.done
        with stage.running():
            output = self.trace_folder / "traces.jsonl"
            summary = self._ask(self.splits.train, output, self.teacher.temperature)
            return stage.finish(self.run.on_main(lambda: self._figures(stage, summary)))

    def vet(self, generated: dict[str, Any]) -> Splits:
        """Keeps the right traces, asking again where the recipe says so; the splits with them.

        Args:
            generated: what `generate` returned.
        """
        folder, traces = self.run.path / "vetted", self.trace_folder / "traces.jsonl"
        retrying = {"retries", "retry_temperature"} if self.teacher.retries else {"retries"}
        settings = {
            "traces_sha256": generated["traces_sha256"],
            "vet": self.recipe.vet.model_dump(mode="json"),
            **self.teacher.model_dump(mode="json", include=retrying),
            "test_sha256": {name: self.splits.hashes[name] for name in self.splits.asked},
        }
        stage = self.run.open("vet", folder, settings)
        if stage.done is None:
            with stage.running():
                self._vet(stage, traces)
        dataset, digest = folder / "dataset.jsonl", stage.finished["sha256"]
        is_main = self.run.process.is_main_process
        if is_main and stage.done is not None and sha256(dataset) != digest:
            raise DataError(
                f"{dataset}: was changed since it was vetted; needed: what vetting wrote; give "
                "your own as data.train of a recipe without teacher, or run with --from vet"
            )
        return self.splits.with_train(dataset, digest, repeats=True)

    def _vet(self, stage: Stage, traces: Path) -> None:
        folder = stage.folder
        files, failed = [traces], folder / "failed.jsonl"
        asked_again = {"num_asked_again": 0, "num_prompt_tokens": 0, "num_tokens": 0, "cost": 0.0}
        summary = self._select(files, folder, failed)
        for attempt in range(1, self.teacher.retries + 1):
            questions, digest = self.run.on_main(lambda: (_records(failed), sha256(failed)))
            if not questions:
                break
            # beside the first traces, so that other rules of vetting need not buy them again
            key = f"{digest} {self.teacher.retry_temperature} {attempt}"
            name = f"retry-{attempt}-{hashlib.sha256(key.encode()).hexdigest()[:8]}.jsonl"
            target = traces.with_name(name)
            # a seed of its own, or the same temperature would give the same traces again
            again = self._ask(
                questions, target, self.teacher.retry_temperature, seed=attempt, samples=1
            )
            asked_again["num_asked_again"] += again.num_wanted
            asked_again["num_prompt_tokens"] += again.num_prompt_tokens
            asked_again["num_tokens"] += again.num_tokens
            asked_again["cost"] += again.cost or 0.0
            files.append(target)
            summary = self._select(files, folder, failed)
        if not summary.num_kept:
            raise DataError(
                f"{traces}: none of {summary.num_traces} traces was kept (reasons in "
                f"{folder / 'rejected.jsonl'}); needed: a teacher that solves some of the "
                "questions, or other rules in the section vet"
            )
        digest = self.run.on_main(lambda: sha256(folder / "dataset.jsonl"))
        stage.finish({**summary.to_json(), **asked_again, "sha256": digest})

    def _select(self, files: list[Path], folder: Path, failed: Path) -> VetSummary:
        return self.run.on_main(
            lambda: vet_traces(
                files,
                folder / "dataset.jsonl",
                VetRules(**self.recipe.vet.model_dump()),
                rejected=folder / "rejected.jsonl",
                failed=failed,
                test=list(self.splits.asked.values()),
                overwrite=True,
            )
        )

    def evaluate(self) -> None:
        """Asks the teacher the test questions as it was asked for traces; greedily."""
        if self.teacher.engine == "worked" or not self.teacher.evaluate or not self.splits.asked:
            return
        folder = self.run.path / "teacher"
        split, path = asked(self.splits)
        limit = self.recipe.evaluate.limit
        drawing = ("temperature", "top_p", "samples_per_question")  # the test is asked greedily
        identity = self._identity()
        for key in drawing:
            identity["teacher"].pop(key)
        wanted = {
            **identity,
            "split": split,
            "data_sha256": self.splits.hashes[split],
            "evaluate": {"limit": limit},
        }
        forced = self.run.start in ("data", "teacher", "evaluate")
        is_main = self.run.process.is_main_process
        if self.run.on_main(lambda: already(self.run, folder, wanted, forced=forced)):
            return
        answers = folder / "answers.jsonl"
        begun, wish = folder / "asking.json", json.dumps(wanted, sort_keys=True)
        old = forced or not begun.exists() or begun.read_text() != wish
        if self.run.on_main(lambda: old):
            if is_main:
                folder.mkdir(parents=True, exist_ok=True)
                remove_traces(answers)
                write_text(begun, wish)
            self._warm_up(path)
        summary = self._ask(path, answers, 0.0, samples=1, limit=limit)
        if not is_main:
            return
        seconds = summary.seconds * summary.num_wanted / max(1, summary.num_written)
        predictions = [_judged(record) for _, record in read_jsonl(answers)]
        write_jsonl(
            folder / "predictions.jsonl",
            (prediction.to_json() for prediction in predictions),
            overwrite=True,
        )
        remote = self.teacher.engine == "openai"
        together = self.teacher.concurrency if remote else self.teacher.batch_size
        metrics = summarize(predictions, seconds, together).to_json()
        keep(folder, wanted, {**metrics, "cost": summary.cost})

    def _warm_up(self, questions: Path) -> None:
        """The first question loads a model; its time is not the others'."""
        process, done = self.run.process, []
        asks = process.is_main_process or not self._alone()
        if asks and self.teacher.engine == "transformers":
            with tempfile.TemporaryDirectory() as folder:
                target = Path(folder) / "answers.jsonl"
                done = [self._write(questions, target, 0.0, samples=1, limit=1, bar=False)]
        if any(summary.interrupted for summary in gather_object(done)):
            self.run.say("stopped by a signal; the same command goes on")
            raise SystemExit(EXIT_INTERRUPTED)
        end_if_asked()

    def _alone(self) -> bool:
        """Whether the main process asks the teacher alone."""
        # a server answers several at once; who does not see the shares of others cannot join them
        return self.teacher.engine != "transformers" or has_separate_files()

    def _ask(
        self,
        questions: Path | Sequence[dict[str, Any]],
        output: Path,
        temperature: float,
        **rest: Any,
    ) -> GenerateSummary:
        """Writes traces by all processes, and ends them when a signal asks for it."""
        summary = write_together(
            lambda path, shard: self._write(
                questions, path, temperature, shard=shard, bar=shard[0] == 1, **rest
            ),
            output,
            self.run.process,
            alone=self._alone(),
        )
        if summary.interrupted:
            self.run.say(
                f"stopped by a signal; {summary.num_missing:,} traces are missing; the same "
                "command goes on from there"
            )
            raise SystemExit(EXIT_INTERRUPTED)
        return summary

    def _write(
        self,
        questions: Path | Sequence[dict[str, Any]],
        output: Path,
        temperature: float,
        *,
        seed: int = 0,
        samples: int | None = None,
        limit: int | None = None,
        shard: tuple[int, int] = (1, 1),
        bar: bool = True,
    ) -> GenerateSummary:
        """Traces of these questions, or of a shard of them, in `output`."""
        teacher = self.teacher
        output.parent.mkdir(parents=True, exist_ok=True)
        with settings_of(IN_RECIPE):
            return generate_traces(
                self._made(),
                questions,
                output,
                sampling=Sampling(
                    self._limit(),
                    temperature,
                    teacher.top_p if temperature > 0 else 1.0,
                    self.recipe.seed + seed,
                ),
                samples_per_question=samples or teacher.samples_per_question,
                num_samples=limit,
                shard=shard,
                system_prompt=teacher.system_prompt,
                few_shot=teacher.few_shot,
                progress="generate" if bar and self.progress else None,
            )

    def _made(self) -> Engine:
        """The engine; loads nothing before it is asked."""
        if self._engine is None:
            teacher, model = self.teacher, self.teacher.model
            name = None if model is None else str(self._folder or model.name)
            options: dict[str, Any] = {}
            if teacher.engine == "transformers" and model is not None:
                options = {
                    "teacher_dir": name,
                    "batch_size": teacher.batch_size,
                    "dtype": teacher.dtype,
                    "quantization": model.quantization,
                    "trust_remote_code": model.trust_remote_code,
                    "prompt": teacher.prompt,
                }
            elif teacher.engine == "openai":
                keys = {
                    "base_url", "api_key_env", "concurrency", "requests_per_minute", "max_cost",
                    "price_prompt", "price_completion", "prompt",
                }  # fmt: skip
                options = {"model": name, **teacher.model_dump(include=keys)}
            self._engine = make_engine(teacher.engine, EngineOptions(**options))
        return self._engine

    def _limit(self) -> int:
        card = ModelCard.read(self._source()) if self._source() else None
        trained = card.max_new_tokens if card is not None else MAX_NEW_TOKENS
        return self.teacher.max_new_tokens or trained

    def _source(self) -> str:
        model = self.teacher.model
        return str(self._folder or (model.name if model is not None else "") or "")

    def _identity(self) -> dict[str, Any]:
        """What decides the teacher's words, apart from the questions."""
        values = self.teacher.model_dump(mode="json", exclude=_INCIDENTAL)
        values["seed"] = self.recipe.seed
        if self.trained is not None:
            values["model"] = {"sha256": self.trained["model_sha256"]}
        elif self.teacher.engine == "transformers" and Path(self._source()).is_dir():
            values["model"]["fingerprint"] = fingerprint(Path(self._source()))
        if self.teacher.few_shot is not None:
            values["few_shot"] = sha256(self.teacher.few_shot, named="teacher.few_shot")
        return {"teacher": values}

    def _figures(self, stage: Stage, summary: GenerateSummary) -> dict[str, Any]:
        engine = self._made()
        samples = self.teacher.samples_per_question
        return {
            "engine": engine.name,
            "model": engine.model,
            "num_questions": summary.num_wanted // samples,
            "num_traces": summary.num_wanted,
            "num_prompt_tokens": summary.num_prompt_tokens,
            "num_tokens": summary.num_tokens,
            "tokens_per_s": summary.num_tokens / stage.seconds,
            "cost": summary.cost,
            "currency": self.recipe.costs.currency,
            "traces_sha256": sha256(summary.output),
        }


def _records(path: Path) -> list[dict[str, Any]]:
    return [record for _, record in read_jsonl(path, allow_empty=True)]


def _judged(record: dict[str, Any]) -> Prediction:
    """A trace as a prediction."""
    category = str(record.get("category") or "")
    return judge(
        Example(record["question"], "", record.get("answer") or "", category=category),
        record["cot"],
        num_prompt_tokens=record["num_prompt_tokens"] or 0,
        num_tokens=record["num_tokens"] or 0,
        stopped=record["stopped"],
    )
