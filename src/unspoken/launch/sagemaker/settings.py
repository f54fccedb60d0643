"""Where and how a job runs: flags of `launch sagemaker`, and what SageMaker would refuse.

Apart from the request, so that the command line reads its flags without loading recipes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unspoken.common.errors import RecipeError
from unspoken.launch.sagemaker.image import has_gpu

#: SageMaker's limits: 28 days for a job.
_MAX_RETRIES, _MAX_WARM_S, _MAX_RUN_S, _MAX_IMAGE = 30, 21_600, 2_419_200, 255
_MAX_SUBNETS, _MAX_GROUPS, _MAX_ID, _MAX_NAME = 16, 5, 32, 63
_MAX_TAGS, _MAX_TAG_KEY, _MAX_TAG_VALUE = 50, 128, 256

_Required = Annotated[str, Parameter(show_default=False)]
_Several = Annotated[Sequence[str], Parameter(show_default=False)]


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """Where and how a job runs; each is a flag of `unspoken launch sagemaker` by the same name.

    Attributes:
        role: ARN of the role that the job runs as, such as arn:aws:iam::111122223333:role/unspoken.
        bucket: S3 bucket, without s3://, for code, data, checkpoints and results.
        instance_type: such as ml.g5.12xlarge.
        instance_count: hosts; torchrun runs one process for each GPU of all of them.
        spot: take spare capacity, which is cheaper and may be interrupted; the job then goes on
            from its last checkpoint.
        region: AWS region (default: AWS_REGION, or the profile's).
        config_file: of accelerate's, for FSDP2 or DeepSpeed, such as configs/fsdp2.yaml (default:
            DDP).
        torch: version of torch in AWS's image (default: the newest that the GPUs take).
        image: container image in place of the AWS Deep Learning Container for region and type.
        volume_size_gb: disk of each host for code, data and checkpoints; decides nothing on
            instances with disks of their own, such as g5 and p4d.
        max_run_s: longest time that it may train, in seconds.
        max_wait_s: spot: longest time with waiting, in seconds (default: twice max_run_s).
        warm_pool_s: keep the hosts so many seconds for the next job; they cost as much as running.
        retries: times that SageMaker starts the job again after a failure of its own.
        tag: key=value, may be given several times.
        kms_key: ARN of the key that encrypts uploads, results and, where it can have one, the
            volume; not checkpoints, which are encrypted as the bucket does it.
        subnets: of your VPC; needs security_groups.
        security_groups: of your VPC; those of several hosts must let these talk to each other.
        job_name: default: the recipe's name with date and time.
        resume: go on with the checkpoints of this earlier job, which has ended.
        prefix: folder in the bucket.
    """

    role: _Required = ""
    bucket: _Required = ""
    instance_type: _Required = ""
    instance_count: int = 1
    spot: bool = False
    region: str | None = None
    config_file: str | Path | None = None
    torch: str | None = None
    image: str | None = None
    volume_size_gb: int = 100
    max_run_s: Annotated[int, Parameter(name=["--max-run-s", "--max-run"])] = 86_400
    max_wait_s: int | None = None
    warm_pool_s: int = 0
    retries: int = 0
    tag: _Several = ()
    kms_key: str | None = None
    subnets: _Several = ()
    security_groups: _Several = ()
    job_name: str | None = None
    resume: str | None = None
    prefix: str = "unspoken"


def check_settings(settings: JobSettings) -> None:
    """Raises RecipeError for the first setting that SageMaker would refuse, with what it needs."""
    _check_types(settings)
    for name in ("role", "bucket", "instance_type"):
        if not getattr(settings, name):
            raise RecipeError(f"--{name}: missing; see docs/sagemaker.md, Before the first job")
    has_gpu(settings.instance_type)
    if settings.image and settings.torch:
        raise RecipeError("--torch: found it with --image, which brings its own; leave one out")
    _check_names(settings)
    _within("instance_count", settings.instance_count, 1, None)
    _within("volume_size_gb", settings.volume_size_gb, 1, None)
    _within("max_run_s", settings.max_run_s, 1, _MAX_RUN_S)
    _within("warm_pool_s", settings.warm_pool_s, 0, _MAX_WARM_S)
    _within("retries", settings.retries, 0, _MAX_RETRIES)
    if settings.spot and settings.warm_pool_s:
        raise RecipeError(
            "--warm_pool_s: found it with --spot; SageMaker keeps no spot hosts; leave one out"
        )
    if settings.max_wait_s is not None:
        if not settings.spot:
            raise RecipeError("--max_wait_s: found it without --spot; leave it out, or add --spot")
        _within("max_wait_s", settings.max_wait_s, settings.max_run_s, None)
    if bool(settings.subnets) != bool(settings.security_groups):
        raise RecipeError(
            "--subnets, --security_groups: found only one of them; needed: both; see "
            "docs/sagemaker.md, Keys and VPC"
        )
    tags_of(settings.tag)


def tags_of(tags: Sequence[str]) -> list[dict[str, str]]:
    """Tags as SageMaker takes them; raises RecipeError for one that it would refuse."""
    pairs: dict[str, str] = {}
    for tag in tags:
        key, separator, value = tag.partition("=")
        if not separator or not key:
            raise RecipeError(f"--tag: found {tag!r}; needed: key=value, such as team=research")
        if len(key) > _MAX_TAG_KEY or len(value) > _MAX_TAG_VALUE or key in pairs:
            raise RecipeError(
                f"--tag: found {tag[:60]!r}; needed: each key once, of at most {_MAX_TAG_KEY} "
                f"characters, and values of at most {_MAX_TAG_VALUE}; shorten it or leave it out"
            )
        if key.lower().startswith("aws:") or not re.fullmatch(r"[\w .:/=+\-@]*", key + value):
            raise RecipeError(
                f"--tag: found {tag!r}; needed: letters, digits, spaces and _ . : / = + - @, and a "
                "key that does not begin with aws:; correct it"
            )
        pairs[key] = value
    if len(pairs) > _MAX_TAGS:
        raise RecipeError(f"--tag: found {len(pairs)}; needed: at most {_MAX_TAGS}; drop some")
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


def _check_types(settings: JobSettings) -> None:
    """The command line reads types itself; from Python anything may come."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value is None and field.default is None:
            continue
        if isinstance(field.default, tuple):
            fits = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
            needed = "a list of texts"
        elif isinstance(field.default, bool):
            fits, needed = isinstance(value, bool), "True or False"
        elif isinstance(field.default, int) or field.name == "max_wait_s":
            fits = isinstance(value, int) and not isinstance(value, bool)
            needed = "a whole number"
        else:
            is_path = field.name == "config_file" and isinstance(value, Path)
            fits, needed = is_path or isinstance(value, str), "text"
        if not fits:
            raise RecipeError(f"{field.name}: found {value!r}; needed: {needed}; correct it")


def _check_names(settings: JobSettings) -> None:
    """Whether names and addresses are what SageMaker, S3 and IAM take for such."""
    _match("role", settings.role, r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", "a role's ARN")
    _match("bucket", settings.bucket, r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's bare name")
    _match(
        "prefix", settings.prefix, r"[\w.-]+(/[\w.-]+)*", "a folder in the bucket, such as unspoken"
    )
    for name in ("job_name", "resume"):
        needed = f"1 to {_MAX_NAME} letters, digits and hyphens"
        pattern = rf"(?=.{{1,{_MAX_NAME}}}$)[a-zA-Z0-9](-*[a-zA-Z0-9])*"
        _match(name, getattr(settings, name), pattern, needed)
    _match("image", settings.image, rf"\S{{1,{_MAX_IMAGE}}}", "an image's address")
    _match(
        "kms_key",
        settings.kms_key,
        r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+",
        "a key's ARN, such as arn:aws:kms:us-east-1:111122223333:key/..., and no alias",
    )
    _check_ids("subnets", settings.subnets, _MAX_SUBNETS)
    _check_ids("security_groups", settings.security_groups, _MAX_GROUPS)


def _check_ids(name: str, values: Sequence[str], most: int) -> None:
    if len(values) > most:
        raise RecipeError(f"--{name}: found {len(values)}; needed: at most {most}; leave some out")
    for value in values:
        _match(name, value, rf"[-0-9a-zA-Z]{{1,{_MAX_ID}}}", "an id, such as AWS shows it")


def _match(name: str, value: str | None, pattern: str, needed: str) -> None:
    """A setting that was not given fits every pattern."""
    if value is not None and not re.fullmatch(pattern, value, flags=re.ASCII):
        raise RecipeError(f"--{name}: found {value!r}; needed: {needed}; correct it")


def _within(name: str, value: int, least: int, most: int | None) -> None:
    if value < least or (most is not None and value > most):
        upper = "" if most is None else f" and at most {most:,}"
        raise RecipeError(f"--{name}: found {value}; needed: at least {least:,}{upper}; correct it")
