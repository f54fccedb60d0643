"""The request that creates a training job: a pure function of the settings and the package."""

from __future__ import annotations

from typing import Any

from unspoken.common.errors import RecipeError
from unspoken.launch.container.metrics import metric_definitions
from unspoken.launch.sagemaker.image import image_uri, takes_volume_key
from unspoken.launch.sagemaker.pack import MAX_OVERRIDE, Package
from unspoken.launch.sagemaker.settings import JobSettings, tags_of
from unspoken.launch.sagemaker.upload import Channel

#: Unpacks the code and hands over to it; a command of its own, so the image's own way of starting
#: scripts, which differs between images, does not matter.
_ENTRY = (
    "mkdir -p /opt/ml/code && tar -xf /opt/ml/input/data/code/code.tar -C /opt/ml/code && "
    "cd /opt/ml/code && exec python -m unspoken.launch.container.entry"
)
#: SageMaker's limits.
_MAX_CHANNELS, _MAX_PARAMETERS = 20, 100


def channel_prefix(settings: JobSettings, channel: Channel) -> str:
    """A channel's place in the bucket; the same content has the same one in every job."""
    kind = "code" if channel.name == "code" else "data"
    return f"{settings.prefix}/{kind}/{channel.sha256[:32]}/"


def checkpoints_uri(settings: JobSettings, job_name: str = "") -> str:
    """Where the checkpoints of a job go that starts from nothing; without a name, those of all."""
    return f"s3://{settings.bucket}/{settings.prefix}/checkpoints/{job_name}"


def training_job_request(
    settings: JobSettings, package: Package, *, region: str, job_name: str
) -> dict[str, Any]:
    """The arguments of boto3's `create_training_job`.

    With `resume`, `submit` looks up where the earlier job's checkpoints really are.

    Raises:
        RecipeError: more channels, or more or longer overrides, than SageMaker takes.
    """
    base = f"s3://{settings.bucket}/{settings.prefix}"
    if len(package.channels) > _MAX_CHANNELS:
        raise RecipeError(
            f"the recipe names {len(package.channels) - 1} local files and folders; SageMaker "
            f"takes {_MAX_CHANNELS - 1} beside the code; put some of them together"
        )
    request: dict[str, Any] = {
        "TrainingJobName": job_name,
        "RoleArn": settings.role,
        "AlgorithmSpecification": {
            "TrainingImage": settings.image
            or image_uri(region, settings.instance_type, settings.torch),
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["/bin/bash", "-c", _ENTRY],
            "MetricDefinitions": metric_definitions(),
        },
        "HyperParameters": _hyperparameters(package),
        "Environment": _environment(package),
        "InputDataConfig": [_channel_input(settings, channel) for channel in package.channels],
        # a folder and not an archive: packing a large model costs paid minutes
        "OutputDataConfig": {"S3OutputPath": f"{base}/output", "CompressionType": "NONE"},
        "CheckpointConfig": {
            "S3Uri": checkpoints_uri(settings, settings.resume or job_name),
            "LocalPath": "/opt/ml/checkpoints",
        },
        "ResourceConfig": _resources(settings),
        "StoppingCondition": {"MaxRuntimeInSeconds": settings.max_run_s},
        "EnableManagedSpotTraining": settings.spot,
        "Tags": tags_of(settings.tag),
    }
    if settings.kms_key:
        request["OutputDataConfig"]["KmsKeyId"] = settings.kms_key
    if settings.spot:
        wait = settings.max_wait_s or 2 * settings.max_run_s
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = wait
    if settings.retries:
        request["RetryStrategy"] = {"MaximumRetryAttempts": settings.retries}
    if settings.subnets:
        request["VpcConfig"] = {
            "Subnets": list(settings.subnets),
            "SecurityGroupIds": list(settings.security_groups),
        }
    return request


def _hyperparameters(package: Package) -> dict[str, str]:
    """The recipe's name and the overrides; numbered, because their order counts."""
    values = {"recipe": f"recipes/{package.recipe_name}"}
    if len(package.overrides) > _MAX_PARAMETERS - 1:
        raise RecipeError(
            f"found {len(package.overrides)} overrides, with those for local files; SageMaker "
            f"takes {_MAX_PARAMETERS - 1}; write some into the recipe"
        )
    for number, override in enumerate(package.overrides):
        if len(override) > MAX_OVERRIDE:
            raise RecipeError(
                f"override '{override[:40]}...': {len(override):,} characters; SageMaker takes "
                f"{MAX_OVERRIDE:,}; write it into the recipe"
            )
        if "\n" in override or "\r" in override:
            raise RecipeError(
                f"override {override[:40]!r}: found several lines; SageMaker takes one; write it "
                "into the recipe"
            )
        values[f"override-{number:02d}"] = override
    return values


def _environment(package: Package) -> dict[str, str]:
    """Fixed values only: nothing of the user's environment goes along."""
    values = {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "true"}
    return {**values, "HF_HUB_OFFLINE": "1"} if package.offline else values


def _channel_input(settings: JobSettings, channel: Channel) -> dict[str, Any]:
    return {
        "ChannelName": channel.name,
        "InputMode": "File",
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": f"s3://{settings.bucket}/{channel_prefix(settings, channel)}",
                "S3DataDistributionType": "FullyReplicated",
            }
        },
    }


def _resources(settings: JobSettings) -> dict[str, Any]:
    values: dict[str, Any] = {
        "InstanceType": settings.instance_type,
        "InstanceCount": settings.instance_count,
        "VolumeSizeInGB": settings.volume_size_gb,
    }
    if settings.kms_key and takes_volume_key(settings.instance_type):
        values["VolumeKmsKeyId"] = settings.kms_key
    if settings.warm_pool_s:
        values["KeepAlivePeriodInSeconds"] = settings.warm_pool_s
    return values
