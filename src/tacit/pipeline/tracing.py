"""The teacher's stages: questions in, vetted traces out; and how the teacher itself does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tacit.answers import answers_equal, extract_answer
from tacit.dataset import file_hash
from tacit.engines import Engine, Sampling
from tacit.engines.make import EngineOptions, make_engine
from tacit.engines.teacher import fingerprint
from tacit.errors import DataError
from tacit.evaluate import Prediction, summarize
from tacit.example import read_jsonl, write_jsonl
from tacit.interrupt import EXIT_INTERRUPTED
from tacit.model import ModelCard
from tacit.pipeline.folder import RunFolder, Stage
from tacit.pipeline.measuring import already, asked, keep
from tacit.recipe import Recipe, Teacher
from tacit.splits import Splits
from tacit.traces import GenerateSummary, generate_traces
from tacit.vet import VetSummary, vet_traces

#: Settings of the teacher that do not decide what it writes for the questions.
_INCIDENTAL = {
    "train", "num_train", "retries", "retry_temperature", "batch_size", "api_key_env",
    "concurrency", "requests_per_minute", "max_cost", "price_prompt", "price_completion",
    "evaluate",
}  # fmt: skip
_DEFAULT_LIMIT = 512  # tokens, for a teacher whose tacit.json says nothing


class TeacherStages:
    """The stages of one run in which the teacher writes; used by the main process alone."""

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

    def generate(self) -> dict[str, Any]:
        """Has the teacher solve the training questions; returns the stage's stage.json."""
        folder = self.run.path / "traces"
        settings = {"questions_sha256": self.splits.hashes["train"], **self._identity()}
        stage = self.run.open("generate", folder, settings)
        if stage.done is not None:
            return stage.done
        with stage.running():
            summary = self._ask(
                self.splits.train, folder / "traces.jsonl", self.teacher.temperature
            )
            return stage.finish(self._figures(stage, summary))

    def vet(self, generated: dict[str, Any]) -> Splits:
        """Keeps the right traces, asking again where the recipe says so; the splits with them.

        Args:
            generated: what `generate` returned.
        """
        folder, traces = self.run.path / "vetted", self.run.path / "traces" / "traces.jsonl"
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
        done = stage.done or stage.finished
        return self.splits.with_train(folder / "dataset.jsonl", done["sha256"], repeats=True)

    def _vet(self, stage: Stage, traces: Path) -> None:
        folder = stage.folder
        files, failed = [traces], folder / "failed.jsonl"
        asked_again = {"num_asked_again": 0, "num_prompt_tokens": 0, "num_tokens": 0, "cost": 0.0}
        summary = self._select(files, folder, failed)
        for attempt in range(1, self.teacher.retries + 1):
            questions = [record for _, record in read_jsonl(failed, allow_empty=True)]
            if not questions:
                break
            target = folder / f"retry-{attempt}.jsonl"
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
        stage.finish(
            {**summary.to_json(), **asked_again, "sha256": file_hash(folder / "dataset.jsonl")}
        )

    def _select(self, files: list[Path], folder: Path, failed: Path) -> VetSummary:
        return vet_traces(
            files,
            folder / "dataset.jsonl",
            rejected=folder / "rejected.jsonl",
            failed=failed,
            test=list(self.splits.asked.values()),
            overwrite=True,
            **self.recipe.vet.model_dump(),
        )

    def evaluate(self) -> None:
        """Asks the teacher the test questions as it was asked for traces; greedily."""
        if self.teacher.engine == "worked" or not self.teacher.evaluate or not self.splits.asked:
            return
        folder = self.run.path / "teacher"
        split, path = asked(self.splits)
        limit = self.recipe.evaluate.limit
        wanted = {
            **self._identity(),
            "temperature": 0.0,
            "split": split,
            "data_sha256": self.splits.hashes[split],
            "evaluate": {"limit": limit},
        }
        if already(self.run, folder, wanted):
            return
        answers = folder / "answers.jsonl"
        # the first question loads the model; its time is not the others'
        self._ask(path, answers, 0.0, samples=1, limit=1, overwrite=True)
        summary = self._ask(path, answers, 0.0, samples=1, limit=limit)
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

    def _ask(
        self,
        questions: Path | Sequence[dict[str, Any]],
        output: Path,
        temperature: float,
        *,
        seed: int = 0,
        samples: int | None = None,
        limit: int | None = None,
        overwrite: bool = False,
    ) -> GenerateSummary:
        """Traces of these questions in `output`; ends the process when a signal asks for it."""
        teacher = self.teacher
        output.parent.mkdir(parents=True, exist_ok=True)
        summary = generate_traces(
            self._made(),
            questions,
            output,
            sampling=Sampling(self._limit(), temperature, teacher.top_p, self.recipe.seed + seed),
            num_samples_per_question=samples or teacher.samples_per_question,
            num_samples=limit,
            system_prompt=teacher.system_prompt,
            few_shot=teacher.few_shot,
            overwrite=overwrite,
            progress="generate" if self.progress else None,
        )
        if summary.interrupted:
            self.run.say(
                f"stopped by a signal; {summary.num_missing:,} traces are missing; the same "
                "command goes on from there"
            )
            raise SystemExit(EXIT_INTERRUPTED)
        return summary

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
        trained = card.max_new_tokens if card is not None else _DEFAULT_LIMIT
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
            values["few_shot"] = file_hash(self.teacher.few_shot)
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
            "traces_sha256": file_hash(summary.output),
        }


def _judged(record: dict[str, Any]) -> Prediction:
    """A trace as a prediction."""
    pred, gold = extract_answer(record["cot"]), record.get("answer") or None
    return Prediction(
        question=record["question"],
        generated=record["cot"],
        pred=pred,
        gold=gold,
        correct=answers_equal(pred, gold) if gold else None,
        num_prompt_tokens=record["num_prompt_tokens"] or 0,
        num_tokens=record["num_tokens"] or 0,
        stopped=record["stopped"],
        category=str(record.get("category") or ""),
    )
