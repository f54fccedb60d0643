"""`tacit launch sagemaker`: a recipe, unchanged, as a training job on AWS SageMaker.

    recipe -> pack (code, local files) -> upload what S3 lacks -> create_training_job

Inside the container `tacit.launch.container` takes over. Nothing here imports boto3 before AWS is
asked, and a dry run asks nothing.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacit.launch.sagemaker_clients import aws_errors, client, find_region
from tacit.launch.sagemaker_pack import Package, pack
from tacit.launch.sagemaker_prices import cost_lines
from tacit.launch.sagemaker_request import channel_prefix, training_job_request
from tacit.launch.sagemaker_settings import JobSettings, check_settings
from tacit.launch.sagemaker_upload import Store, upload_channels
from tacit.recipe import load_recipe


@dataclass(frozen=True)
class Launch:
    """A job, ready to be submitted.

    Attributes:
        settings: where and how it runs.
        package: what travels.
        region: where.
        request: the arguments of `create_training_job`.
        cost: lines about the cost.
    """

    settings: JobSettings
    package: Package
    region: str
    request: dict[str, Any]
    cost: list[str]

    @property
    def job_name(self) -> str:
        """Of the job."""
        return self.request["TrainingJobName"]


def setup_sagemaker_training(
    recipe: str | Path,
    *overrides: str,
    role: str,
    bucket: str,
    instance_type: str,
    instance_count: int = 1,
    dry_run: bool = False,
    wait: bool = False,
    prices: str | Path | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
    **settings: Any,
) -> str | dict[str, Any]:
    """The name of a submitted training job, or with `dry_run` the request that would create it.

    The same as `tacit launch sagemaker`, with the same names.

    Args:
        recipe: YAML file.
        overrides: section.key=value.
        role, bucket, instance_type, instance_count: see `JobSettings`.
        dry_run: ask AWS nothing, and upload nothing.
        wait: return when the job has ended, and raise if it failed.
        prices: JSON file in place of tacit's example prices.
        progress: show a bar for the upload.
        say: gets what is told meanwhile, line by line; such as `print`.
        settings: further fields of `JobSettings`, such as spot=True.

    Raises:
        TacitError: recipe, settings or AWS refuse; the message says what to do.

    Example:
        >>> setup_sagemaker_training(
        ...     "recipes/quickstart.yaml",
        ...     role="arn:aws:iam::111122223333:role/tacit",
        ...     bucket="my-bucket",
        ...     instance_type="ml.g5.xlarge",
        ...     spot=True,
        ... )  # doctest: +SKIP
        'quickstart-20261122-101500'
    """
    job = JobSettings(
        role=role,
        bucket=bucket,
        instance_type=instance_type,
        instance_count=instance_count,
        **settings,
    )
    launch = prepare(Path(recipe), overrides, job, prices=Path(prices) if prices else None)
    if dry_run:
        return launch.request
    for line in launch.cost:
        say(line)
    submit(launch, progress=progress, say=say)
    if wait:
        from tacit.launch.sagemaker_jobs import follow

        follow(launch.job_name, launch.region, say)
    return launch.job_name


def prepare(
    recipe: Path, overrides: Sequence[str], settings: JobSettings, *, prices: Path | None = None
) -> Launch:
    """Everything that is known before AWS is asked: the package, the request, the cost.

    Raises:
        TacitError: recipe or settings cannot be used.
    """
    check_settings(settings)
    loaded = load_recipe(recipe, overrides)
    region = find_region(settings.region)
    name = settings.job_name or _job_name(loaded.name)
    package = pack(recipe, loaded, tuple(overrides))
    request = training_job_request(settings, package, region=region, job_name=name)
    cost = cost_lines(
        settings.instance_type,
        settings.instance_count,
        settings.max_run_s,
        spot=settings.spot,
        prices=prices,
    )
    return Launch(settings, package, region, request, cost)


def submit(
    launch: Launch, *, progress: bool = True, say: Callable[[str], None] = lambda text: None
) -> None:
    """Uploads what S3 lacks and creates the job.

    Raises:
        LaunchError: boto3 is missing, or AWS refused.
    """
    settings = launch.settings
    store = Store(client("s3", launch.region), settings.bucket, settings.kms_key)
    keys = [(channel_prefix(settings, channel), channel) for channel in launch.package.channels]
    done = upload_channels(store, keys, progress=progress)
    say(
        f"s3://{settings.bucket}/{settings.prefix}: {done.num_sent} files uploaded "
        f"({done.num_bytes / 1e6:.1f} MB), {done.num_skipped} were there"
    )
    with aws_errors(f"training job {launch.job_name}"):
        client("sagemaker", launch.region).create_training_job(**launch.request)
    say(f"submitted: {launch.job_name} in {launch.region}")


def _job_name(recipe_name: str) -> str:
    """The recipe's name and the time, in the letters that SageMaker takes."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")
    words = re.sub(r"[^a-zA-Z0-9]+", "-", recipe_name).strip("-") or "tacit"
    return f"{words[:40].strip('-')}-{now}"
