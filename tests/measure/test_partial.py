"""The file of an unfinished evaluation: torn, damaged, of another model, of an older unspoken."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path

import pytest

from unspoken.measure.partial import PartialPredictions
from unspoken.measure.predictions import Prediction

FINGERPRINT = "f" * 64


def _predictions(count: int) -> dict[int, Prediction]:
    return {
        i: Prediction(f"q{i}", f"text {i}", str(i), str(i), True, 3, 2, True) for i in range(count)
    }


def _written(path: Path, count: int = 6) -> dict[int, Prediction]:
    whole = _predictions(count)
    with PartialPredictions(path, FINGERPRINT) as partial:
        for place in range(0, count, 2):
            partial.add({i: whole[i] for i in (place, place + 1)}, 1.5)
    return whole


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / ".out.partial"
    whole = _written(path)
    with PartialPredictions(path, FINGERPRINT) as partial:
        assert (partial.predictions, partial.seconds) == (whole, 4.5)
    path.write_bytes(path.read_bytes()[:-7])  # a crash in the last batch
    with PartialPredictions(path, FINGERPRINT) as partial:
        assert partial.predictions == {i: whole[i] for i in range(4)}
        partial.add({4: whole[4], 5: whole[5]}, 1.5)
    with PartialPredictions(path, FINGERPRINT) as partial:
        assert partial.predictions == whole
        partial.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_file_from_before_checksums_is_read(tmp_path: Path) -> None:
    path = tmp_path / ".out.partial"
    whole = _predictions(1)
    line = {"seconds": 2.0, "predictions": [(0, asdict(whole[0]))]}
    path.write_text(f"{json.dumps({'fingerprint': FINGERPRINT})}\n{json.dumps(line)}\n")
    with PartialPredictions(path, FINGERPRINT) as partial:
        assert (partial.predictions, partial.seconds) == (whole, 2.0)


def test_one_of_other_settings_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / ".out.partial"
    _written(path)
    with PartialPredictions(path, "0" * 64) as partial:
        assert partial.predictions == {}
    assert list(tmp_path.iterdir()) == [path]


def test_damage_between_two_batches_is_told_and_the_file_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / ".out.partial"
    whole = _written(path)
    header, first, second, third = path.read_bytes().splitlines(keepends=True)
    damaged = header + first + second.replace(b"text 2", b"text X") + third
    path.write_bytes(damaged)
    with PartialPredictions(path, FINGERPRINT) as partial:
        assert partial.predictions == {0: whole[0], 1: whole[1]}
    assert "damaged after 2 predictions" in caplog.text
    (kept,) = set(tmp_path.iterdir()) - {path}
    assert kept.read_bytes() == damaged
    assert path.read_bytes() == header + first


@pytest.mark.parametrize("seed", range(200))
def test_an_altered_one_is_never_read_as_if_it_were_whole(
    tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / ".out.partial"
    whole = _written(path)
    content, random_ = bytearray(path.read_bytes()), random.Random(seed)
    place = random_.randrange(len(content))
    new = random_.choice(b'0123456789abcxyz"{}[]:, \n\xff')
    if seed % 3 == 0:
        content[place : place + random_.randrange(1, 40)] = bytes([new])
    elif content[place] != new:
        content[place] = new
    else:
        return
    if bytes(content) == path.read_bytes():
        return
    path.write_bytes(content)
    with PartialPredictions(path, FINGERPRINT) as partial:
        read = dict(partial.predictions)
        assert read.items() <= whole.items()
        partial.add({i: one for i, one in whole.items() if i not in read}, 1.0)
    with PartialPredictions(path, FINGERPRINT) as partial:
        assert partial.predictions == whole
    kept = [each for each in tmp_path.iterdir() if each != path]
    assert [each.read_bytes() for each in kept] in ([], [bytes(content)])
    assert ("damaged after" in caplog.text) == bool(kept)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    target, path = tmp_path / "precious", tmp_path / ".out.partial"
    target.write_text("kept\n")
    path.symlink_to(target)
    with PartialPredictions(path, FINGERPRINT) as partial:
        partial.add(_predictions(1), 1.0)
    assert target.read_text() == "kept\n"
