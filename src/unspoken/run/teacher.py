"""The teacher's stages: questions in, vetted traces out; and how the teacher itself does."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object

from unspoken.common.errors import DataError, setting, settings_of
from unspoken.common.files import sha256, write_text
from unspoken.common.interrupt import EXIT_INTERRUPTED, end_if_asked
from unspoken.data.example import Example
from unspoken.data.jsonl import read_jsonl, write_jsonl
from unspoken.data.questions import Questions
from unspoken.measure.predictions import Prediction, judge, summarize
from unspoken.measure.sampling import Sampling
from unspoken.models.card import ModelCard
from unspoken.models.fingerprint import fingerprint
from unspoken.models.local import is_local
from unspoken.parallel.separate_files import has_separate_files
from unspoken.recipe import Recipe, Teacher, Vet, layout
from unspoken.recipe.records import TracesRecord, TrainingRecord, VettedRecord
from unspoken.recipe.teacher import MAX_NEW_TOKENS, OF_LOCAL_MODEL
from unspoken.run.data import Splits, vet_rules
from unspoken.run.earlier import earlier_traces
from unspoken.run.folder import RunFolder, Stage
from unspoken.run.left_models import require_model
from unspoken.run.measure import keep_evaluation, set_aside_evaluation, write_evaluation
from unspoken.run.settings import TEACHER_INCIDENTAL
from unspoken.teach.engines import Engine
from unspoken.teach.engines.make import IN_RECIPE, EngineOptions, connect, make_engine
from unspoken.teach.engines.serve import ServedEngine
from unspoken.teach.traces.together import trace_files, write_together
from unspoken.teach.traces.write import GenerateSummary, generate_traces
from unspoken.teach.vet import VetSummary, vet_traces


class Asker:
    """Asks the recipe's teacher, by this process or by all of them together."""

    def __init__(
        self,
        recipe: Recipe,
        teacher: Teacher,
        trained: TrainingRecord | None,
        *,
        progress: bool = True,
        log: Path | None = None,
    ) -> None:
        """Loads nothing, and starts no server, before the first question.

        Args:
            recipe: of the run.
            teacher: its section.
            trained: of a teacher that this run trained.
            progress: show bars.
            log: of a server that is started; default: the run's own.
        """
        self.recipe, self.teacher, self.progress = recipe, teacher, progress
        self._trained = trained
        self._log = recipe.folder / layout.TRACES / layout.SERVER_LOG if log is None else log
        self._engine: Engine | None = None

    def __enter__(self) -> Asker:
        """As it stands; a server that is started ends with the block."""
        return self

    def __exit__(self, *error: object) -> None:
        if isinstance(self._engine, ServedEngine):
            self._engine.close()

    @property
    def engine(self) -> Engine:
        """The engine; it loads its model when it is asked."""
        if self._engine is None:
            self._engine = self._make_engine()
        return self._engine

    @property
    def is_alone(self) -> bool:
        """Whether the main process asks the teacher alone."""
        # a server answers several at once; who does not see the shares of others cannot join them
        return self.teacher.engine != "transformers" or has_separate_files()

    @property
    def is_trained(self) -> bool:
        """Whether this run trained the teacher."""
        return self._trained is not None

    def settings(self) -> dict[str, Any]:
        """Everything that decides the teacher's words, apart from the questions."""
        values = self.teacher.model_dump(mode="json", exclude=TEACHER_INCIDENTAL)
        values["seed"] = self.recipe.seed
        if self._trained is not None:
            values["model"] = {"sha256": self._trained.model_sha256}
        elif self._knows_model and is_local(self._source):
            values["model"]["fingerprint"] = fingerprint(Path(self._source))
        if self.teacher.few_shot is not None:
            values["few_shot"] = sha256(self.teacher.few_shot, named="teacher.few_shot")
        if self.recipe.data.choices is not None:
            values["choices"] = self.recipe.data.choices
        return {"teacher": values}

    def ask_together(
        self,
        run: RunFolder,
        questions: Path | Sequence[dict[str, Any]],
        output: Path,
        temperature: float,
        **options: Any,
    ) -> GenerateSummary:
        """Asks by all processes, which all call this, and ends them when a signal asks for it.

        The arguments are those of `ask`.
        """
        summary = write_together(
            lambda path, shard: self.ask(
                questions, path, temperature, shard=shard, bar=shard[0] == 1, **options
            ),
            output,
            run.process,
            alone=self.is_alone,
        )
        if summary.interrupted:
            run.say(
                f"stopped by a signal; {summary.num_missing:,} traces are missing; the same "
                "command goes on from there"
            )
            raise SystemExit(EXIT_INTERRUPTED)
        return summary

    def ask(
        self,
        questions: Path | Sequence[dict[str, Any]],
        output: Path,
        temperature: float,
        *,
        seed: int = 0,
        samples: int | None = None,
        limit: int | None = None,
        shard: tuple[int, int] = (1, 1),
        earlier: Sequence[Path] = (),
        bar: bool = True,
    ) -> GenerateSummary:
        """Writes traces of these questions, or of a shard of them, to `output`.

        Args:
            questions: a file or records.
            output: JSONL; what is there already is not asked for again.
            temperature: 0 is greedy.
            seed: on top of the recipe's.
            samples: of each question; None: as the recipe says.
            limit: only so many questions.
            shard: (i, n), every n-th question from the i-th on, i from 1.
            earlier: files whose traces are taken over where they answer these questions.
            bar: show one, where bars are shown.
        """
        teacher = self.teacher
        output.parent.mkdir(parents=True, exist_ok=True)
        sampling = Sampling(
            self._max_new_tokens,
            temperature,
            teacher.top_p if temperature > 0 else 1.0,
            self.recipe.seed + seed,
        )
        with settings_of(IN_RECIPE):
            return generate_traces(
                self.engine,
                questions,
                output,
                sampling=sampling,
                samples_per_question=samples or teacher.samples_per_question,
                num_samples=limit,
                shard=shard,
                system_prompt=teacher.system_prompt,
                few_shot=teacher.few_shot,
                choices=self.recipe.data.choices,
                earlier=earlier,
                progress="generate" if bar and self.progress else None,
            )

    def earlier(self, pattern: str, output: Path) -> list[Path]:
        """Other files of traces that may answer its questions; see `earlier_traces`."""
        return earlier_traces(self.recipe, self.settings(), pattern, but=output)

    def warm_up(self, run: RunFolder, questions: Path) -> None:
        """Asks a first question, which loads the model: its time is not the others'."""
        done = []
        asks = run.process.is_main_process or not self.is_alone
        if asks and self._knows_model:
            with tempfile.TemporaryDirectory() as folder:
                target = Path(folder) / layout.ANSWERS_FILE
                done = [self.ask(questions, target, 0.0, samples=1, limit=1, bar=False)]
        if any(summary.interrupted for summary in gather_object(done)):
            run.say("stopped by a signal; the same command goes on")
            raise SystemExit(EXIT_INTERRUPTED)
        end_if_asked()

    @property
    def _knows_model(self) -> bool:
        """Whether this run loads the teacher's model, or has a server load it."""
        return self.teacher.engine == "transformers" or self.teacher.serve is not None

    def _make_engine(self) -> Engine:
        teacher, options = self.teacher, self._options()
        if teacher.serve is None:
            return make_engine(teacher.engine, EngineOptions(**options))
        return ServedEngine(
            teacher.serve,
            self._source,
            self._log,
            lambda url: connect(EngineOptions(base_url=url, **options)),
            timeout_s=teacher.serve_timeout,
        )

    def _options(self) -> dict[str, Any]:
        """What the engine is made with."""
        teacher, model = self.teacher, self.teacher.model
        if teacher.engine == "transformers" and model is not None:
            return {
                "teacher_dir": self._source,
                "batch_size": teacher.batch_size,
                "dtype": teacher.dtype,
                "prompt": teacher.prompt,
                **model.model_dump(include=set(OF_LOCAL_MODEL)),
                # the folder of one that this run trained has its tokenizer
                **({"tokenizer": None, "revision": None} if self._trained is not None else {}),
            }
        if teacher.engine == "openai":
            keys = {
                "api_key_env", "concurrency", "requests_per_minute", "max_cost",
                "price_prompt", "price_completion", "prompt",
            }  # fmt: skip
            keys |= {"base_url"} if teacher.serve is None else set()
            return {"model": self._source or None, **teacher.model_dump(include=keys)}
        return {}

    @property
    def _source(self) -> str:
        """The folder or name of the teacher's model."""
        if self._trained is not None:
            return str(self.recipe.folder / layout.TEACHER / layout.MODEL)
        model = self.teacher.model
        return (model.name if model is not None else None) or ""

    @property
    def _max_new_tokens(self) -> int:
        card = ModelCard.read(self._source) if self._source else None
        trained = card.max_new_tokens if card is not None else MAX_NEW_TOKENS
        return self.teacher.max_new_tokens or trained


class TeacherStages:
    """The stages of one run in which the teacher writes.

    All processes call all of them, and ask the teacher together; the main one writes.
    """

    def __init__(self, run: RunFolder, asker: Asker, splits: Splits) -> None:
        """Stages that are to be run in the order `generate`, `vet`, `evaluate`."""
        self.run, self.asker, self.splits = run, asker, splits
        self.recipe, self.teacher = asker.recipe, asker.teacher
        self.trace_folder = run.path / layout.TRACES

    def open_generate(self, *, begins: str = "running") -> Stage[TracesRecord]:
        """Opens the stage in which the teacher solves the training questions."""
        settings = trace_settings(self.asker, self.splits)
        return self.run.open(
            "generate",
            self.trace_folder,
            TracesRecord,
            settings,
            begins=begins,
            damage=self._require_traces,
            needs=self._require_teacher,
            drops_replaced=False,  # vetting may take answers over from earlier traces, and drops
        )

    def _require_teacher(self) -> None:
        """Refuses to ask a teacher that this run trained and that is not there any more."""
        if self.asker.is_trained:
            require_model(
                self.run, self.run.path / layout.TEACHER / layout.MODEL, "generate asks it"
            )

    def _require_traces(self, record: TracesRecord) -> str:
        """Refuses traces that are not as they were written: the teacher's time costs money."""
        path = self.trace_folder / layout.TRACES_FILE
        if path.is_file() and record.traces_sha256 in (None, sha256(path)):
            return ""
        found = "was changed since the teacher wrote it" if path.is_file() else "is missing"
        raise DataError(
            f"{path}: {found}; needed: what the teacher wrote; put it back, give your own as "
            f"data.train of a recipe without teacher, or ask again with "
            f"{setting('from', 'generate')}"
        )

    def generate(self) -> TracesRecord:
        """Has the teacher solve the training questions; returns the stage's record."""
        stage = self.open_generate()
        if stage.done is not None:
            return stage.done
        with stage.running():
            output = self.trace_folder / layout.TRACES_FILE
            summary = self.asker.ask_together(
                self.run,
                self.splits.train,
                output,
                self.teacher.temperature,
                earlier=self._earlier(output.name, output),
            )
            if taken := summary.num_taken_over:
                self.run.say(
                    f"generate: {taken:,} of {summary.num_wanted:,} traces are earlier ones of the "
                    "same questions"
                )
            return stage.finish(self.run.on_main(lambda: self._outcome(stage, summary)))

    def _earlier(self, pattern: str, output: Path) -> list[Path]:
        """As `Asker.earlier`; the main process looks, which has just written the record."""
        return self.run.on_main(lambda: self.asker.earlier(pattern, output))

    def vet(self, generated: TracesRecord) -> Splits:
        """Keeps the right traces, asking again where the recipe says so; the splits with them.

        Args:
            generated: what `generate` returned.
        """
        folder = self.run.path / layout.VETTED
        retrying = {"retries", "retry_temperature"} if self.teacher.retries else {"retries"}
        settings = {
            "traces_sha256": generated.traces_sha256,
            "vet": self.recipe.vet.model_dump(mode="json"),
            **self.teacher.model_dump(mode="json", include=retrying),
            "test_sha256": {name: self.splits.hashes[name] for name in self.splits.held_out},
            **({"choices": self.recipe.data.choices} if self.recipe.data.choices else {}),
        }
        stage = self.run.open("vet", folder, VettedRecord, settings)
        record = stage.done
        if record is None:
            with stage.running():
                record = stage.finish(self._vet(folder))
        dataset, digest = folder / layout.DATASET_FILE, record.sha256 or ""
        is_main = self.run.process.is_main_process
        is_there = dataset.is_file()
        if is_main and stage.done is not None and not (is_there and sha256(dataset) == digest):
            found = "was changed since it was vetted" if is_there else "is missing"
            raise DataError(
                f"{dataset}: {found}; needed: what vetting wrote; give "
                "your own as data.train of a recipe without teacher, or run with "
                f"{setting('from', 'vet')}"
            )
        self.run.drop_replaced(self.trace_folder)
        return self.splits.with_train(dataset, digest, repeats=True)

    def _vet(self, folder: Path) -> VettedRecord:
        """Vets the traces, and those that are asked for again where none was kept."""
        files, failed = [self.trace_folder / layout.TRACES_FILE], folder / layout.FAILED_FILE
        counts = ("num_asked_again", "num_prompt_tokens", "num_tokens")
        asked_again: dict[str, Any] = {**dict.fromkeys(counts, 0), "cost": 0.0}
        summary = self._select(files, folder)
        for attempt in range(1, self.teacher.retries + 1):
            questions, digest = self.run.on_main(lambda: (_records(failed), sha256(failed)))
            if not questions:
                break
            # beside the first traces, so that other rules of vetting need not buy them again
            key = f"{digest} {self.teacher.retry_temperature} {attempt}"
            name = f"retry-{attempt}-{hashlib.sha256(key.encode()).hexdigest()[:8]}.jsonl"
            target = self.trace_folder / name
            # a seed of its own, or the same temperature would give the same traces again
            again = self.asker.ask_together(
                self.run,
                questions,
                target,
                self.teacher.retry_temperature,
                seed=attempt,
                samples=1,
                earlier=self._earlier(f"retry-{attempt}-*.jsonl", target),
            )
            asked_again["num_asked_again"] += again.num_wanted
            for name in counts[1:]:
                asked_again[name] = _add_known(asked_again[name], getattr(again, name))
            asked_again["cost"] += again.cost or 0.0
            files.append(target)
            summary = self._select(files, folder)
        if not summary.num_kept:
            raise DataError(
                f"{files[0]}: none of {summary.num_traces} traces was kept (reasons in "
                f"{folder / layout.REJECTED_FILE}); needed: a teacher that solves some of the "
                "questions, or other rules in the section vet"
            )
        digest = self.run.on_main(lambda: sha256(folder / layout.DATASET_FILE))
        if self.run.process.is_main_process:
            summary.warn()
        return VettedRecord(**summary.to_json(), **asked_again, sha256=digest)

    @settings_of(Vet.names_in("vet"))
    def _select(self, files: list[Path], folder: Path) -> VetSummary:
        return self.run.on_main(
            lambda: vet_traces(
                files,
                folder / layout.DATASET_FILE,
                vet_rules(self.recipe),
                rejected=folder / layout.REJECTED_FILE,
                failed=folder / layout.FAILED_FILE,
                test=list(self.splits.held_out.values()),
                overwrite=True,
            )
        )

    def evaluate(self) -> None:
        """Asks the teacher the test questions as it was asked for traces; greedily."""
        if self.splits.measured is None:
            return
        run, folder = self.run, self.run.path / layout.TEACHER
        split, path = self.splits.measured
        limit = self.recipe.evaluate.limit
        settings = {
            **self.asker.settings(),
            "split": split,
            "data_sha256": self.splits.hashes[split],
            "evaluate": {"limit": limit},
        }
        for key in ("temperature", "top_p", "samples_per_question"):  # the test is asked greedily
            settings["teacher"].pop(key)
        is_forced = run.start in ("data", "teacher", "evaluate")
        file = folder / layout.EVALUATION_FILE
        answers = folder / layout.ANSWERS_FILE
        begun, wish = folder / layout.ASKING_FILE, json.dumps(settings, sort_keys=True)
        asked = (*trace_files(answers), begun)
        if keep_evaluation(run, file, settings, is_forced=is_forced):
            run.drop_replaced(*asked)
            return
        set_aside_evaluation(run, file)
        is_begun = not is_forced and begun.exists() and begun.read_text() == wish
        if not run.on_main(lambda: is_begun):
            if run.process.is_main_process:
                folder.mkdir(parents=True, exist_ok=True)
                for old in filter(Path.exists, asked):
                    run.old.take(old)
                write_text(begun, wish)
            self.asker.warm_up(run, path)
        summary = self.asker.ask_together(run, path, answers, 0.0, samples=1, limit=limit)
        if run.process.is_main_process:
            self._measure(answers, folder / layout.PREDICTIONS_FILE, settings, summary)
        run.drop_replaced(*asked)

    def _measure(
        self, answers: Path, output: Path, settings: dict[str, Any], summary: GenerateSummary
    ) -> None:
        """Judges the teacher's answers; writes predictions and evaluation.json."""
        written = summary.num_written  # none where a run was cut off after the last answer
        seconds = summary.seconds * summary.num_wanted / written if written else None
        choices = self.recipe.data.choices
        predictions = [_judge(record, choices) for _, record in read_jsonl(answers)]
        write_jsonl(output, (prediction.to_json() for prediction in predictions), overwrite=True)
        remote = self.teacher.engine == "openai"
        together = self.teacher.concurrency if remote else self.teacher.batch_size
        metrics = summarize(predictions, seconds, together, choices).to_json()
        file = output.with_name(layout.EVALUATION_FILE)
        write_evaluation(self.run, file, settings, {**metrics, "cost": summary.cost})

    def _outcome(self, stage: Stage[TracesRecord], summary: GenerateSummary) -> TracesRecord:
        engine = self.asker.engine
        timed = None if summary.num_taken_over else summary.num_tokens
        return TracesRecord(
            engine=engine.name,
            model=engine.model,
            num_questions=summary.num_wanted // self.teacher.samples_per_question,
            num_traces=summary.num_wanted,
            num_prompt_tokens=summary.num_prompt_tokens,
            num_tokens=summary.num_tokens,
            num_taken_over=summary.num_taken_over,
            tokens_per_s=None if timed is None else timed / stage.seconds,
            cost=summary.cost,
            currency=self.recipe.costs.currency,
            traces_sha256=sha256(summary.output),
        )


def trace_settings(asker: Asker, splits: Splits) -> dict[str, Any]:
    """Everything that decides the traces."""
    return {"questions_sha256": splits.hashes["train"], **asker.settings()}


def _add_known(one: int | None, other: int | None) -> int | None:
    """The sum; None where one of them is not known."""
    return None if one is None or other is None else one + other


def _records(path: Path) -> Questions:
    found = list(read_jsonl(path, allow_empty=True))
    return Questions([f"{path}:{line}" for line, _ in found], (record for _, record in found))


def _judge(record: dict[str, Any], choices: Sequence[str] | None) -> Prediction:
    """A trace as a prediction."""
    category = str(record.get("category") or "")
    return judge(
        Example(record["question"], "", record.get("answer") or "", category=category),
        record["cot"],
        num_prompt_tokens=record["num_prompt_tokens"],
        num_tokens=record["num_tokens"],
        stopped=record["stopped"],
        choices=choices,
    )
