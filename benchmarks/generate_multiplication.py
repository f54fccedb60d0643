"""Makes multiplication data in columns and with a plain Python loop, and compares.

Both write the same problems, checked by the hash of train.jsonl; each runs in a process of its
own, so that its peak memory can be told. `worked` is also how the format is explained best.

    python benchmarks/generate_multiplication.py --digits 9 9 --num_train 1000000
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from unspoken.data.tasks.multiplication import generate, write_multiplication

NUM_HELD_OUT = 100


def spaced(number: int, width: int) -> str:
    """Returns the digits of a number, least significant first."""
    return " ".join(str(number).zfill(width)[::-1])


def worked(first: int, second: int, n: int, m: int) -> tuple[str, str, str]:
    """Returns question, thought and answer from whole numbers."""
    parts, total = [], 0
    for i, digit in enumerate(str(second)[::-1]):
        product = first * int(digit) * 10**i
        total += product
        running = f" ( {spaced(total, n + 1 + i)} )" if 0 < i < m - 1 else ""
        parts.append(spaced(product, n + 1 + i) + running)
    return (
        f"{spaced(first, n)} * {spaced(second, m)}",
        " + ".join(parts),
        spaced(total, n + m),
    )


def plain_loop(folder: str, size: tuple[int, int], num_train: int) -> None:
    """Writes train.jsonl one problem at a time; the problems themselves are given."""
    n, m = size
    problems = generate([size], num_train, NUM_HELD_OUT, NUM_HELD_OUT)["train"].factors[0].T
    seen = set()
    with Path(folder, "train.jsonl").open("w", encoding="utf-8") as file:
        for number, digits in enumerate(problems, start=1):
            text = "".join(map(str, digits.tolist()))
            first, second = int(text[:n][::-1]), int(text[n:][::-1])
            if (first, second) in seen:
                raise RuntimeError("the same problem twice")
            seen.add((first, second))
            question, thought, answer = worked(first, second, n, m)
            record = {
                "id": f"train-{number:07d}",
                "question": question,
                "thought": thought,
                "answer": answer,
            }
            file.write(json.dumps(record) + "\n")


def columns(folder: str, size: tuple[int, int], num_train: int) -> None:
    """Writes the data set as `unspoken data multiplication` does."""
    write_multiplication(folder, [size], num_train, NUM_HELD_OUT, NUM_HELD_OUT)


def measured(way: str, size: tuple[int, int], num_train: int) -> dict[str, float | str]:
    """Returns the time, the peak memory and the hash of what one way writes."""
    with tempfile.TemporaryDirectory() as folder:
        wall, processor = time.perf_counter(), time.process_time()
        {"columns": columns, "plain loop": plain_loop}[way](folder, size, num_train)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        with Path(folder, "train.jsonl").open("rb") as file:
            digest = hashlib.sha256()
            while piece := file.read(2**20):
                digest.update(piece)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": wall,
        "processor_seconds": processor,
        "examples_per_s": num_train / wall,
        "peak_mib": peak / (2**20 if sys.platform == "darwin" else 2**10),
        "sha256": digest.hexdigest(),
    }


def main() -> None:
    """Prints both ways and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--digits", type=int, nargs=2, default=(9, 9), metavar=("N", "M"))
    parser.add_argument("--num_train", type=int, default=100_000)
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    size = (arguments.digits[0], arguments.digits[1])
    results = {}
    for way in ("columns", "plain loop"):
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
            results[way] = pool.submit(measured, way, size, arguments.num_train).result()
        print(
            f"{way:>10}: {results[way]['examples_per_s']:>9,.0f} examples/s, "
            f"{results[way]['seconds']:.1f} s ({results[way]['processor_seconds']:.1f} s of "
            f"processor), peak {results[way]['peak_mib']:,.0f} MiB"
        )
    if results["columns"]["sha256"] != results["plain loop"]["sha256"]:
        raise SystemExit("the two ways wrote different text")
    ratio = results["plain loop"]["seconds"] / results["columns"]["seconds"]
    print(f"     ratio: {ratio:.1f} times as fast, same text")
    if arguments.output:
        figures = {
            "digits": size,
            "num_train": arguments.num_train,
            "ratio": ratio,
            "ways": results,
        }
        arguments.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
