"""Predictions of an evaluation that is not finished, kept batch by batch until it is.

The file beside the output is nobody's but ours: it is begun anew where it belongs to something
else, and gone once the output is there. Every line has a checksum; what is damaged is set aside.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from unspoken import recipe
from unspoken.common.files import open_own, seal, set_aside, unseal, write_bytes
from unspoken.common.places import writing
from unspoken.common.version import __version__
from unspoken.data.example import Example
from unspoken.measure.predictions import Prediction
from unspoken.models.adapter import base_of, is_adapter
from unspoken.models.fingerprint import fingerprint
from unspoken.models.local import is_local

logger = logging.getLogger(__name__)


@with_config({"extra": "forbid"})
class _Batch(TypedDict):
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    predictions: list[tuple[Annotated[int, Field(ge=0)], Prediction]]


_BATCH = TypeAdapter(_Batch)


class PartialPredictions:
    """A context in which batches of predictions are added, to go on from after a crash.

    Attributes:
        predictions: place among all that are wanted -> prediction.
        seconds: that they took, in this run and those before.
    """

    def __init__(self, path: Path | None = None, fingerprint: str = "") -> None:
        """Predictions in a file, or without one only in memory.

        Args:
            path: the file; one with another fingerprint is begun anew.
            fingerprint: of everything that decides the predictions.
        """
        self.predictions: dict[int, Prediction] = {}
        self.seconds = 0.0
        self._path = path
        self._header = json.dumps({"fingerprint": fingerprint}).encode() + b"\n"
        self._file: BinaryIO | None = None

    def __enter__(self) -> PartialPredictions:
        if self._path is None:
            return self
        with writing(self._path):
            raw = self._path.read_bytes() if self._path.exists() else b""
            whole = self._read(raw)
            if self._is_damaged(raw, whole):
                kept = set_aside(self._path)
                logger.warning(
                    "%s: damaged after %d predictions, which are taken; the others are asked for "
                    "again, and the file is kept as %s", self._path, len(self.predictions), kept,
                )  # fmt: skip
                write_bytes(self._path, raw[:whole] or self._header)
            elif not whole:
                write_bytes(self._path, self._header)
            self._file = open_own(self._path, "r+b")
            self._file.truncate(whole or len(self._header))
            self._file.seek(0, os.SEEK_END)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with writing(self._path or ""):
                self._file.close()

    def _is_damaged(self, raw: bytes, whole: int) -> bool:
        """Whether more is wrong than a last batch that a crash cut off, or other settings."""
        if raw.startswith(self._header):
            return b"\n" in raw[whole:]
        try:
            return bool(raw) and set(json.loads(raw.partition(b"\n")[0])) != {"fingerprint"}
        except (ValueError, TypeError, RecursionError):
            return b"\n" in raw

    def _read(self, raw: bytes) -> int:
        """Takes the batches that are there; returns the bytes up to where they are whole."""
        if not raw.startswith(self._header):
            return 0
        whole = len(self._header)
        for line in raw[whole:].splitlines(keepends=True):
            try:
                batch = _BATCH.validate_python(unseal(line))
            except (ValueError, RecursionError):  # a crash cut it off, or it is damaged
                break
            self.predictions.update(batch["predictions"])
            self.seconds += batch["seconds"]
            whole += len(line)
        return whole

    def add(self, batch: Mapping[int, Prediction], seconds: float) -> None:
        """Keeps one batch, which took so many seconds."""
        self.predictions.update(batch)
        self.seconds += seconds
        records = [(place, asdict(prediction)) for place, prediction in batch.items()]
        if self._file is not None and self._path is not None:
            with writing(self._path):
                self._file.write(seal({"seconds": seconds, "predictions": records}))
                self._file.flush()

    def remove(self) -> None:
        """Removes the file: what it was for is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def fingerprint_of(
    model: recipe.Model,
    adapter: str | None,
    examples: Sequence[Example],
    settings: Mapping[str, Any],
) -> str:
    """A hash of all that decides what is answered and how it is judged.

    The batch size is not among the settings: one that is too large is no reason to lose what is
    done.
    """
    names = {
        "model": model.name,
        "base": base_of(str(model.name)) if is_adapter(model.name) else None,
        "adapter": adapter,
        "tokenizer": model.tokenizer,
    }
    folders = {role: Path(str(name)) for role, name in names.items() if is_local(name)}
    decides = {
        "unspoken": __version__,
        "model": model.model_dump(mode="json"),
        "names": names,
        "folders": {role: fingerprint(folder) for role, folder in folders.items()},
        "settings": dict(settings),
        "examples": [asdict(example) for example in examples],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
