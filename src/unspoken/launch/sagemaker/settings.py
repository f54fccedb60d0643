"""Where and how a job runs, and what of it SageMaker would refuse.

Apart from the request, so that the command line reads its settings without loading recipes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import AfterValidator, Field, model_validator

from unspoken.common.errors import SettingError, setting
from unspoken.common.settings import Positive, checked
from unspoken.launch.patterns import matching
from unspoken.launch.sagemaker.image import has_gpu

_MAX_TAG_KEY, _MAX_TAG_VALUE = 128, 256


def _require_key_and_value(tag: str) -> str:
    """The tag; raises ValueError with what SageMaker needs instead."""
    key, separator, value = tag.partition("=")
    if not separator or not key:
        raise ValueError("key=value, such as team=research")
    if len(key) > _MAX_TAG_KEY or len(value) > _MAX_TAG_VALUE:
        raise ValueError(
            f"keys of at most {_MAX_TAG_KEY} characters, and values of at most {_MAX_TAG_VALUE}"
        )
    if key.lower().startswith("aws:"):
        raise ValueError("a key that does not begin with aws:")
    return tag


def _require_each_key_once(tags: tuple[str, ...]) -> tuple[str, ...]:
    keys = Counter(tag.partition("=")[0] for tag in tags)
    if len(keys) < len(tags):
        raise ValueError("each key once")
    return tags


def _require_trainable(instance_type: str) -> str:
    if instance_type:
        has_gpu(instance_type)
    return instance_type


# What a job cannot do without has an empty text where it was not given: whoever only asks about a
# job gives none of it.
_Role = Annotated[
    str,
    matching(
        r"(arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+)?",
        "a role's ARN, such as arn:aws:iam::111122223333:role/unspoken",
    ),
    Parameter(show_default=False),
]
_Bucket = Annotated[
    str,
    matching(
        r"((?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?",
        "a bucket's bare name, without s3:// and folders: 3 to 63 small letters, digits, - and .",
    ),
    Parameter(show_default=False),
]
_InstanceType = Annotated[str, AfterValidator(_require_trainable), Parameter(show_default=False)]
_Prefix = Annotated[
    str, matching(r"[\w.-]+(/[\w.-]+)*", "a folder in the bucket, such as unspoken")
]
_JobName = Annotated[
    str,
    matching(r"(?=.{1,63}$)[a-zA-Z0-9](-*[a-zA-Z0-9])*", "1 to 63 letters, digits and hyphens"),
]
_Image = Annotated[str, matching(r"\S{1,255}", "an image's address")]
_KmsKey = Annotated[
    str,
    matching(
        r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+",
        "a key's ARN, such as arn:aws:kms:us-east-1:111122223333:key/..., and no alias",
    ),
]
_Id = Annotated[str, matching(r"[-0-9a-zA-Z]{1,32}", "an id, such as AWS shows it")]
_Tag = Annotated[
    str,
    AfterValidator(_require_key_and_value),
    matching(r"[\w .:/=+\-@]*", "letters, digits, spaces and _ . : / = + - @"),
]
_Tags = Annotated[
    tuple[_Tag, ...],
    Field(max_length=50),
    AfterValidator(_require_each_key_once),
    Parameter(show_default=False),
]
_Subnets = Annotated[tuple[_Id, ...], Field(max_length=16), Parameter(show_default=False)]
_Groups = Annotated[tuple[_Id, ...], Field(max_length=5), Parameter(show_default=False)]
#: At most 28 days.
_RunTime = Annotated[int, Field(ge=1, le=2_419_200), Parameter(name=["--max_run_s", "--max_run"])]


@checked
class JobSettings:
    """Where and how a job runs; `unspoken launch sagemaker` has each as a flag of the same name.

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

    Raises:
        SettingError: for the first value that SageMaker would refuse.
    """

    role: _Role = ""
    bucket: _Bucket = ""
    instance_type: _InstanceType = ""
    instance_count: Annotated[Positive, Field(le=10_000)] = 1
    spot: bool = False
    region: str | None = None
    config_file: str | Path | None = None
    torch: str | None = None
    image: _Image | None = None
    volume_size_gb: Annotated[Positive, Field(le=65_536)] = 100
    max_run_s: _RunTime = 86_400
    max_wait_s: Positive | None = None
    warm_pool_s: Annotated[int, Field(ge=0, le=21_600)] = 0
    retries: Annotated[int, Field(ge=0, le=30)] = 0
    tag: _Tags = ()
    kms_key: _KmsKey | None = None
    subnets: _Subnets = ()
    security_groups: _Groups = ()
    job_name: _JobName | None = None
    resume: _JobName | None = None
    prefix: _Prefix = "unspoken"

    @model_validator(mode="after")
    def _fit_together(self) -> JobSettings:
        spot = setting("spot", True)
        if self.image and self.torch:
            beside = f"{self.torch} with {setting('image')}, which brings its own"
            raise SettingError("torch", found=beside, needed="one of them", remedy="leave one out")
        if self.spot and self.warm_pool_s:
            beside = f"{self.warm_pool_s} with {spot}, and SageMaker keeps no spot hosts"
            raise SettingError(
                "warm_pool_s", found=beside, needed="one of them", remedy="leave one out"
            )
        if self.max_wait_s is not None and not self.spot:
            beside = f"{self.max_wait_s} without {spot}"
            raise SettingError(
                "max_wait_s",
                found=beside,
                needed=f"{spot}, which waits",
                remedy="add it, or leave this out",
            )
        if self.max_wait_s is not None and self.max_wait_s < self.max_run_s:
            least = f"at least {self.max_run_s:,}, which is {setting('max_run_s')}"
            raise SettingError(
                "max_wait_s", found=self.max_wait_s, needed=least, remedy="correct it"
            )
        if bool(self.subnets) != bool(self.security_groups):
            here, absent = ("subnets", "security_groups")[:: 1 if self.subnets else -1]
            beside = f"nothing with {setting(here)}"
            raise SettingError(
                absent, found=beside, needed="both", remedy="see docs/sagemaker.md, Keys and VPC"
            )
        return self

    def require_job(self) -> None:
        """Raises SettingError where something is missing that a job cannot do without."""
        for name in ("role", "bucket", "instance_type"):
            if not getattr(self, name):
                raise SettingError(
                    name,
                    found="nothing",
                    needed="it for every job",
                    remedy="see docs/sagemaker.md, Before the first job",
                )


def tags_of(tags: Sequence[str]) -> list[dict[str, str]]:
    """Tags as SageMaker takes them."""
    pairs = (tag.partition("=") for tag in tags)
    return [{"Key": key, "Value": value} for key, _, value in pairs]
