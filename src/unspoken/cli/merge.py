"""`unspoken merge`: shards of traces into one file."""

from __future__ import annotations

from pathlib import Path

from unspoken.cli.options import Flag, Overwrite
from unspoken.cli.output import waiting
from unspoken.common.errors import DataError
from unspoken.common.nearby import path_remedy


def merge(
    *inputs: Path, output: Path, allow_missing: Flag = False, overwrite: Overwrite = False
) -> None:
    """Join the traces of several shards.

    Every sample once, in the order of the questions.

    Parameters
    ----------
    inputs
        files that unspoken generate --shard wrote
    output
        one file of traces
    allow_missing
        join what is there although samples are missing
    """
    from unspoken.teach.traces.merge import merge_traces

    for path in inputs:
        if not path.is_file():
            raise DataError(
                f"{path}: no such file; needed: traces that unspoken generate --shard wrote; "
                f"{path_remedy(path, fits=Path.is_file)}"
            )
    with waiting("joining"):
        merged = merge_traces(inputs, output, allow_missing=allow_missing, overwrite=overwrite)
    print(f"{output}: {merged.num_samples:,} traces")
    if merged.missing:
        shown = ", ".join(merged.missing[:10])
        more = f" and {len(merged.missing) - 10:,} more" if len(merged.missing) > 10 else ""
        print(f"missing: {shown}{more}")
