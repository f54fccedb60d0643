"""Predictions of an evaluation that is not finished, kept batch by batch until it is.

The file beside the output is nobody's but ours: it is begun anew where it belongs to something
else, and gone once the output is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from unspoken import recipe
from unspoken.common.version import __version__
from unspoken.data.example import Example
from unspoken.measure.predictions import Prediction
from unspoken.models.adapter import base_of, is_adapter
from unspoken.models.fingerprint import fingerprint
from unspoken.models.local import is_local


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
        if self._path is not None:
            raw = self._path.read_bytes() if self._path.exists() else b""
            whole = self._read(raw)
            self._file = self._path.open("r+b" if whole else "wb")
            self._file.truncate(whole)
            self._file.seek(whole)
            if not whole:
                self._write(self._header)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self, raw: bytes) -> int:
        """Takes the batches that are there; returns the bytes up to where they are whole."""
        if not raw.startswith(self._header):
            return 0
        whole = len(self._header)
        for line in raw[whole:].splitlines(keepends=True):
            try:
                record = json.loads(line if line.endswith(b"\n") else b"")
            except ValueError:  # a batch that a crash cut off
                break
            for place, values in record["predictions"]:
                self.predictions[place] = Prediction(**values)
            self.seconds += record["seconds"]
            whole += len(line)
        return whole

    def add(self, batch: Mapping[int, Prediction], seconds: float) -> None:
        """Keeps one batch, which took so many seconds."""
        self.predictions.update(batch)
        self.seconds += seconds
        records = [(place, asdict(prediction)) for place, prediction in batch.items()]
        self._write(json.dumps({"seconds": seconds, "predictions": records}).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        if self._file is not None:
            self._file.write(line)
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
