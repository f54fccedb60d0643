"""Where and how a job runs: the flags of `tacit launch sagemaker`, and what SageMaker would refuse.

Apart from the request, so that the command line reads its flags without loading recipes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from tacit.errors import RecipeError
from tacit.launch.sagemaker_image import has_gpu

#: SageMaker's limits.
_MAX_RETRIES, _MAX_WARM_S = 30, 21_600


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """Where and how a job runs; each is a flag of `tacit launch sagemaker` by the same name.

    Attributes:
        role: ARN of the role that the job runs as, such as arn:aws:iam::111122223333:role/tacit.
        bucket: S3 bucket, without s3://, for code, data, checkpoints and results.
        instance_type: such as ml.g5.12xlarge.
        instance_count: hosts; torchrun runs one process for each GPU of all of them.
        spot: take spare capacity, which is cheaper and may be interrupted; the job then goes on
            from its last checkpoint.
        region: AWS region (default: AWS_REGION, or the profile's).
        image: container image in place of the AWS Deep Learning Container for region and type.
        volume_size_gb: disk of each host for code, data and checkpoints.
        max_run_s: longest time that it may train, in seconds.
        max_wait_s: spot: longest time with waiting, in seconds (default: twice max_run_s).
        warm_pool_s: keep the hosts so many seconds for the next job; they cost as much as running.
        retries: times that SageMaker starts the job again after a failure of its own.
        tag: key=value, may be given several times.
        kms_key: key that encrypts uploads, results and, where it can have one, the volume.
        subnets: of your VPC; needs security_groups.
        security_groups: of your VPC; those of several hosts must let these talk to each other.
        job_name: default: the recipe's name with date and time.
        resume: go on with the checkpoints of this earlier job.
        prefix: folder in the bucket.
    """

    role: str = ""
    bucket: str = ""
    instance_type: str = ""
    instance_count: int = 1
    spot: bool = False
    region: str | None = None
    image: str | None = None
    volume_size_gb: int = 100
    max_run_s: Annotated[int, Parameter(name=["--max-run-s", "--max-run"])] = 86_400
    max_wait_s: int | None = None
    warm_pool_s: int = 0
    retries: int = 0
    tag: Sequence[str] = ()
    kms_key: str | None = None
    subnets: Sequence[str] = ()
    security_groups: Sequence[str] = ()
    job_name: str | None = None
    resume: str | None = None
    prefix: str = "tacit"


def check_settings(settings: JobSettings) -> None:
    """Raises RecipeError for the first setting that SageMaker would refuse, with what it needs."""
    for name in ("role", "bucket", "instance_type"):
        if not getattr(settings, name):
            raise RecipeError(f"--{name}: missing; see docs/sagemaker.md, Before the first job")
    has_gpu(settings.instance_type)
    _match("role", settings.role, r"arn:aws[a-z-]*:iam::\d{12}:role/.+", "a role's ARN")
    _match("bucket", settings.bucket, r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's bare name")
    _match(
        "prefix", settings.prefix, r"[\w.-]+(/[\w.-]+)*", "a folder in the bucket, such as tacit"
    )
    for name in ("job_name", "resume"):
        if getattr(settings, name) is not None:
            _match(
                name,
                getattr(settings, name),
                r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
                "1 to 63 letters, digits and hyphens",
            )
    _within("instance_count", settings.instance_count, 1, None)
    _within("volume_size_gb", settings.volume_size_gb, 1, None)
    _within("max_run_s", settings.max_run_s, 1, None)
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
            "docs/sagemaker.md, VPC"
        )
    tags_of(settings.tag)


def tags_of(tags: Sequence[str]) -> list[dict[str, str]]:
    """Tags as SageMaker takes them; raises RecipeError for one that is not key=value."""
    pairs = []
    for tag in tags:
        key, separator, value = tag.partition("=")
        if not separator or not key:
            raise RecipeError(f"--tag: found {tag!r}; needed: key=value, such as team=research")
        pairs.append({"Key": key, "Value": value})
    return pairs


def _match(name: str, value: str, pattern: str, needed: str) -> None:
    if not re.fullmatch(pattern, value):
        raise RecipeError(f"--{name}: found {value!r}; needed: {needed}; correct it")


def _within(name: str, value: int, least: int, most: int | None) -> None:
    if value < least or (most is not None and value > most):
        upper = "" if most is None else f" and at most {most:,}"
        raise RecipeError(f"--{name}: found {value}; needed: at least {least:,}{upper}; correct it")
