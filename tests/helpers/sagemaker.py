"""Jobs of SageMaker: recipes, settings, the command."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from helpers.recipes import tiny_recipe
from unspoken.launch.sagemaker.settings import JobSettings

BUCKET = "research-bucket"


KEY = "arn:aws:kms:us-east-1:111122223333:key/1234"


ROLE = "arn:aws:iam::111122223333:role/unspoken"


REGION = "us-east-1"


def write_recipe(folder: Path, name: str = "tiny.yaml", **sections: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    values = tiny_recipe(Path("unused"), **sections).model_dump(mode="json", exclude_unset=True)
    path = folder / name
    path.write_text(yaml.safe_dump(values))
    return path


def write_jsonl_recipe(folder: Path) -> Path:
    lines = [{"question": f"{i}*2=", "thought": f"{i}+{i}", "answer": str(2 * i)} for i in range(9)]
    for name in ("train", "test"):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text)
    data = {"train": str(folder / "train.jsonl"), "test": str(folder / "test.jsonl")}
    model = folder / "student"
    model.mkdir()
    for name in ("config.json", "model.safetensors", ".hidden"):
        (model / name).write_text(name)
    path = folder / "own.yaml"
    values = {"data": data, "model": {"name": str(model)}, "train": {"max_steps": 2}, "name": "own"}
    path.write_text(yaml.safe_dump(values))
    return path


def settings(**changes: Any) -> JobSettings:
    values = {"role": ROLE, "bucket": BUCKET, "instance_type": "ml.m5.xlarge", "region": REGION}
    return JobSettings(**{**values, **changes})


def problems(value: Any, shape: Any, place: str = "") -> Iterator[str]:
    """What AWS's description of a shape refuses: limits, patterns, enums; boto3 leaves them out."""
    limits, kind = shape.metadata, shape.type_name
    size = value if kind in ("integer", "boolean") else len(value)
    if size < limits.get("min", size) or size > limits.get("max", size):
        yield f"{place}: {size} is not within {limits}"
    if kind == "string":
        pattern = limits.get("pattern", ".*").replace(r"\p{L}\p{Z}\p{N}", r"\w ")
        if not re.fullmatch(pattern, value):
            yield f"{place}: {value!r} does not match {pattern}"
        if shape.enum and value not in shape.enum:
            yield f"{place}: {value!r} is none of {shape.enum}"
    parts = enumerate(value) if kind == "list" else value.items() if isinstance(value, dict) else ()
    for name, part in parts:
        inner = {"list": "member", "map": "value"}.get(kind)
        of_part = shape.members[name] if inner is None else getattr(shape, inner)
        yield from problems(part, of_part, f"{place}.{name}")


def command(*arguments: object) -> None:
    from unspoken.cli.main import call

    call(["launch", "sagemaker", *map(str, arguments)])


FLAGS = ("--role", ROLE, "--bucket", BUCKET, "--instance-type", "ml.m5.xlarge", "--region", REGION)
