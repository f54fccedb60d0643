"""`unspoken launch sagemaker`: a recipe, unchanged, as a training job on AWS SageMaker.

    recipe -> pack (code, local files) -> upload what S3 lacks -> create_training_job

Inside the container `unspoken.launch.container.entry` takes over. Nothing here imports boto3 before
AWS is asked, and a dry run asks nothing.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unspoken.common.errors import SettingError, setting
from unspoken.launch.sagemaker.clients import aws_errors, client, find_region
from unspoken.launch.sagemaker.image import num_processes, partition_of
from unspoken.launch.sagemaker.jobs import ENDED, command, describe, find_job, follow
from unspoken.launch.sagemaker.pack import Package, pack
from unspoken.launch.sagemaker.prices import cost_lines
from unspoken.launch.sagemaker.request import channel_prefix, checkpoints_uri, training_job_request
from unspoken.launch.sagemaker.settings import JobSettings
from unspoken.launch.sagemaker.upload import Store, upload_channels
from unspoken.recipe import Recipe, load_recipe
from unspoken.recipe.shipped import find_config, find_recipe


@dataclass(frozen=True)
class PreparedJob:
    """A job, ready to be submitted.

    Attributes:
        settings: where and how it runs.
        package: what travels.
        region: where.
        request: the arguments of `create_training_job`; with `resume`, the place of the
            checkpoints is looked up when it is submitted.
        notes: what is to be told before: the cost, and what is not known yet.
    """

    settings: JobSettings
    package: Package
    region: str
    request: dict[str, Any]
    notes: list[str]

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
    say: Callable[[str], None] = print,
    **settings: Any,
) -> str | dict[str, Any]:
    """The name of a submitted training job, or with `dry_run` the request that would create it.

    The same as `unspoken launch sagemaker`, with the same names.

    Args:
        recipe: YAML file, or the name of a shipped recipe.
        overrides: section.key=value.
        role, bucket, instance_type, instance_count: see `JobSettings`.
        dry_run: ask AWS nothing, and upload nothing.
        wait: return when the job has ended, and raise if it failed.
        prices: JSON file with prices; without it, no cost is told.
        progress: show bars where large files are read and uploaded.
        say: gets what is told meanwhile, line by line.
        settings: further fields of `JobSettings`, such as spot=True.

    Raises:
        UnspokenError: recipe, settings or AWS refuse; the message says what to do.

    Examples:
        >>> setup_sagemaker_training(
        ...     "recipes/quickstart.yaml",
        ...     role="arn:aws:iam::111122223333:role/unspoken",
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
    table = Path(prices) if prices else None
    launch = prepare(recipe, overrides, job, prices=table, progress=progress)
    for line in launch.notes:
        say(line)
    if dry_run:
        return launch.request
    submit(launch, progress=progress, say=say)
    if wait:
        follow(launch.job_name, launch.region, say)
    return launch.job_name


def prepare(
    recipe: str | Path,
    overrides: Sequence[str],
    settings: JobSettings,
    *,
    prices: Path | None = None,
    progress: bool = True,
) -> PreparedJob:
    """Everything that is known before AWS is asked: the package, the request, the cost.

    Raises:
        UnspokenError: recipe or settings cannot be used.
    """
    settings.require_job()
    recipe = find_recipe(recipe)
    loaded = load_recipe(recipe, overrides)
    config_file = find_config(settings.config_file) if settings.config_file else None
    _require_processes(loaded, settings, config_file)
    region = find_region(settings.region)
    _require_region(settings, region)
    name = settings.job_name or _job_name(loaded.name)
    package = pack(recipe, loaded, tuple(overrides), config_file=config_file, progress=progress)
    request = training_job_request(settings, package, region=region, job_name=name)
    notes = cost_lines(
        settings.instance_type,
        settings.instance_count,
        settings.max_run_s,
        region=region,
        spot=settings.spot,
        prices=prices,
    )
    if settings.resume:
        notes.append(f"goes on from {settings.resume}: its checkpoints are looked up at submission")
    return PreparedJob(settings, package, region, request, notes)


def submit(
    launch: PreparedJob, *, progress: bool = True, say: Callable[[str], None] = lambda text: None
) -> None:
    """Uploads what S3 lacks and creates the job.

    What AWS knows already is looked up first, because an upload can take hours.

    Raises:
        LaunchError: boto3 is missing, or AWS refused.
        SettingError: name, bucket or earlier job cannot be used.
    """
    settings, request = launch.settings, dict(launch.request)
    store = Store(client("s3", launch.region), settings.bucket, settings.kms_key)
    sagemaker = client("sagemaker", launch.region)
    _require_bucket(store, launch.region)
    if find_job(launch.job_name, launch.region, sagemaker) is not None:
        raise SettingError(
            "job_name",
            found=f"{launch.job_name}, which there is already in {launch.region}",
            needed="a new name",
            remedy="choose another, or leave it out",
        )
    if settings.resume:
        place = _find_checkpoints(settings.resume, settings, store, launch.region)
        request["CheckpointConfig"] = {**request["CheckpointConfig"], "S3Uri": place}
        say(f"goes on from {place}")
    known = sagemaker.meta.service_model.shape_for("TrainingInstanceType").enum
    if settings.instance_type not in known:
        say(f"note: {settings.instance_type} is no type that this boto3 knows; AWS may know it")
    keys = [(channel_prefix(settings, channel), channel) for channel in launch.package.channels]
    done = upload_channels(store, keys, progress=progress)
    files = "file" if done.num_sent == 1 else "files"
    say(
        f"s3://{settings.bucket}/{settings.prefix}: {done.num_sent} {files} uploaded "
        f"({done.num_bytes / 1e6:.1f} MB), {done.num_skipped} were there"
    )
    with aws_errors(f"training job {launch.job_name}"):
        sagemaker.create_training_job(**request)
    say(f"submitted: {launch.job_name} in {launch.region}")


def _require_processes(recipe: Recipe, settings: JobSettings, config_file: Path | None) -> None:
    """Raises RecipeError where the job's GPUs cannot train the recipe together."""
    per_host = num_processes(settings.instance_type)
    total = 1 if per_host is None else per_host * settings.instance_count
    if total == 1 and config_file is None:
        return
    from unspoken.launch.accelerate_environment import environment
    from unspoken.parallel.world import require_processes

    given = (
        f"{setting('instance_type', settings.instance_type)}, "
        f"{setting('instance_count', settings.instance_count)}"
    )
    variables = environment(config_file) if config_file is not None else {}
    require_processes(recipe, total, given=given, environment=variables)


def _require_region(settings: JobSettings, region: str) -> None:
    """Raises SettingError where the role or the key cannot be used in a region."""
    here = f"and the job would run in {region}"
    partition = partition_of(region)
    if partition not in (None, settings.role.split(":")[1]):
        raise SettingError(
            "role",
            found=f"{settings.role}, {here}",
            needed=f"one that begins with arn:{partition}:",
            remedy=f"correct it, or {setting('region')}",
        )
    if settings.kms_key is not None and (there := settings.kms_key.split(":")[3]) != region:
        raise SettingError(
            "kms_key",
            found=f"{settings.kms_key}, {here}",
            needed="a key of the job's region",
            remedy=f"choose another key, or {setting('region', there)}",
        )


def _require_bucket(store: Store, region: str) -> None:
    """Raises an error where the bucket cannot be used or is in another region."""
    with aws_errors(setting("bucket", store.bucket)):
        answer = store.client.head_bucket(Bucket=store.bucket)
    there = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", region)
    if there != region:
        raise SettingError(
            "bucket",
            found=f"{store.bucket}, which is in {there}, and the job would run in {region}",
            needed="both in one region",
            remedy=f"choose another bucket, or {setting('region', there)}",
        )


def _find_checkpoints(name: str, settings: JobSettings, store: Store, region: str) -> str:
    """Where a job that has ended saved its checkpoints; a resumed one saves where the first did.

    Raises:
        LaunchError: there is no such job.
        SettingError: it still runs, or it left nothing that can be used.
    """
    job = describe(name, region)
    if job["TrainingJobStatus"] not in ENDED:
        raise SettingError(
            "resume",
            found=f"{name}, which still runs",
            needed="one that has ended, because two jobs must not write the same checkpoints",
            remedy=f"wait, or {command('--stop', name, region)}",
        )
    place = str(job.get("CheckpointConfig", {}).get("S3Uri", "no checkpoints"))
    if not place.startswith(checkpoints_uri(settings)):
        raise SettingError(
            "resume",
            found=f"{name} with {place}",
            needed=f"checkpoints in {checkpoints_uri(settings)}, where the role may write",
            remedy=f"give the {setting('bucket')} and {setting('prefix')} of that job",
        )
    key = place.removeprefix(f"s3://{store.bucket}/").rstrip("/") + "/"
    with aws_errors(place):
        found = store.client.list_objects_v2(Bucket=store.bucket, Prefix=key, MaxKeys=1)
    if not found.get("Contents"):
        raise SettingError(
            "resume",
            found=f"nothing in {place}",
            needed=f"checkpoints of {name}, which has left none",
            remedy="leave it out to start from the beginning",
        )
    return place


def _job_name(recipe_name: str) -> str:
    """The recipe's name and the time, in the letters that SageMaker takes."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")
    words = re.sub(r"[^a-zA-Z0-9]+", "-", recipe_name).strip("-") or "unspoken"
    return f"{words[:40].strip('-')}-{now}"
