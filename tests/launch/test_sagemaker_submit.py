# ruff: noqa: F811 (fixtures are imported, and then named as arguments)
"""Jobs that are submitted to a mock of AWS, or refused before anything is uploaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.aws import KEY_ID, SECRET, TOKEN, aws, keys_in, outgoing, server  # noqa: F401
from helpers.sagemaker import (
    BUCKET,
    FLAGS,
    KEY,
    REGION,
    ROLE,
    command,
    settings,
    write_jsonl_recipe,
    write_recipe,
)
from unspoken.common.errors import SettingError
from unspoken.launch.sagemaker import jobs as sagemaker_jobs
from unspoken.launch.sagemaker.clients import LaunchError
from unspoken.launch.sagemaker.submit import prepare, setup_sagemaker_training, submit

pytestmark = pytest.mark.integration  # a mocked AWS over HTTP


def test_every_field_of_the_request_that_is_sent(
    aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_jsonl_recipe(tmp_path)
    sent = outgoing(monkeypatch, "CreateTrainingJob")
    name = setup_sagemaker_training(
        recipe,
        "train.learning_rate=1e-3",
        role=ROLE,
        bucket=BUCKET,
        instance_type="ml.m5.xlarge",
        instance_count=2,
        region=REGION,
        spot=True,
        volume_size_gb=50,
        max_run_s=3600,
        max_wait_s=7200,
        retries=3,
        tag=["team=research", "note=a=b"],
        kms_key=KEY,
        subnets=["subnet-1", "subnet-2"],
        security_groups=["sg-1"],
        job_name="own-1",
        progress=False,
    )
    assert name == "own-1"
    (request,) = sent
    objects = {key.rpartition("/")[2]: key.rpartition("/")[0] + "/" for key in keys_in(aws)}
    assert set(objects) == {
        "code.tar", "train.jsonl", "test.jsonl", "config.json", "model.safetensors"
    }  # fmt: skip
    places = {
        "code": objects["code.tar"],
        "data-train": objects["train.jsonl"],
        "data-test": objects["test.jsonl"],
        "model-name": objects["config.json"],
    }
    algorithm = request.pop("AlgorithmSpecification")
    assert request == {
        "TrainingJobName": "own-1",
        "RoleArn": ROLE,
        "HyperParameters": {
            "recipe": "recipes/own.yaml",
            "override-00": "train.learning_rate=1e-3",
            "override-01": 'data.train="/opt/ml/input/data/data-train/train.jsonl"',
            "override-02": 'data.test="/opt/ml/input/data/data-test/test.jsonl"',
            "override-03": 'model.name="/opt/ml/input/data/model-name"',
        },
        "Environment": {
            "PYTHONUNBUFFERED": "1",
            "TOKENIZERS_PARALLELISM": "true",
            "HF_HUB_OFFLINE": "1",
        },
        "InputDataConfig": [
            {
                "ChannelName": channel,
                "InputMode": "File",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": f"s3://{BUCKET}/{place}",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
            for channel, place in places.items()
        ],
        "OutputDataConfig": {
            "S3OutputPath": f"s3://{BUCKET}/unspoken/output",
            "CompressionType": "NONE",
            "KmsKeyId": KEY,
        },
        "CheckpointConfig": {
            "S3Uri": f"s3://{BUCKET}/unspoken/checkpoints/own-1",
            "LocalPath": "/opt/ml/checkpoints",
        },
        "ResourceConfig": {
            "InstanceType": "ml.m5.xlarge",
            "InstanceCount": 2,
            "VolumeSizeInGB": 50,
            "VolumeKmsKeyId": KEY,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
        "EnableManagedSpotTraining": True,
        "RetryStrategy": {"MaximumRetryAttempts": 3},
        "Tags": [{"Key": "team", "Value": "research"}, {"Key": "note", "Value": "a=b"}],
        "VpcConfig": {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
    }
    assert algorithm["TrainingImage"] == (
        "763104351884.dkr.ecr.us-east-1.amazonaws.com/"
        "pytorch-training:2.8.0-cpu-py312-ubuntu22.04-sagemaker"
    )
    assert algorithm["TrainingInputMode"] == "File"
    assert algorithm["ContainerEntrypoint"][:2] == ["/bin/bash", "-c"]
    assert "exec python -m unspoken.launch.container.entry" in algorithm["ContainerEntrypoint"][2]
    assert len(algorithm["ContainerEntrypoint"][2]) <= 256
    assert {"Name", "Regex"} == set(algorithm["MetricDefinitions"][0])
    assert set(algorithm) == {
        "TrainingImage", "TrainingInputMode", "ContainerEntrypoint", "MetricDefinitions"
    }  # fmt: skip


def test_a_job_is_submitted_and_found(aws: Any, tmp_path: Path) -> None:
    said: list[str] = []
    launch = prepare(write_recipe(tmp_path), (), settings(job_name="tiny-1"))
    submit(launch, progress=False, say=said.append)
    assert said[-1] == "submitted: tiny-1 in us-east-1"
    job = sagemaker_jobs.describe("tiny-1", REGION)
    assert job["HyperParameters"] == launch.request["HyperParameters"]
    assert sagemaker_jobs.status_lines(job)[0] == "tiny-1: Completed"
    with pytest.raises(LaunchError, match=r"job absent: there is none in us-east-1; needed"):
        sagemaker_jobs.describe("absent", REGION)


def checkpoint_of(s3: Any, name: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=f"unspoken/checkpoints/{name}/run/state.json", Body=b"{}")


def test_a_chain_of_jobs_goes_on_in_the_folder_of_the_first(
    aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path)
    sent = outgoing(monkeypatch, "CreateTrainingJob")
    submit(prepare(recipe, (), settings(job_name="tiny-1")), progress=False)
    checkpoint_of(aws, "tiny-1")
    said: list[str] = []
    for name, earlier in (("tiny-2", "tiny-1"), ("tiny-3", "tiny-2"), ("tiny-4", "tiny-3")):
        launch = prepare(recipe, (), settings(job_name=name, resume=earlier))
        assert "looked up at submission" in launch.notes[-1]
        submit(launch, progress=False, say=said.append)
    places = {request["CheckpointConfig"]["S3Uri"] for request in sent}
    assert len(sent) == 4
    assert places == {f"s3://{BUCKET}/unspoken/checkpoints/tiny-1"}
    assert f"goes on from s3://{BUCKET}/unspoken/checkpoints/tiny-1" in said


def test_what_cannot_be_resumed_is_refused_before_the_upload(
    aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path)
    submit(prepare(recipe, (), settings(job_name="tiny-1")), progress=False)
    before = keys_in(aws)
    recipe.write_text(recipe.read_text() + "\n")  # so that there would be something to upload

    def refused(match: str, **changes: Any) -> None:
        with pytest.raises((LaunchError, SettingError), match=match):
            submit(prepare(recipe, (), settings(job_name="tiny-2", **changes)), progress=False)
        assert keys_in(aws) == before

    refused("job tiny-0: there is none in us-east-1", resume="tiny-0")
    refused("resume: found nothing in s3://.*/checkpoints/tiny-1; needed", resume="tiny-1")
    checkpoint_of(aws, "tiny-1")
    before = keys_in(aws)
    refused("needed: checkpoints in s3://.*/other/checkpoints/", resume="tiny-1", prefix="other")
    describe = sagemaker_jobs.describe
    running = {"TrainingJobStatus": "InProgress"}
    monkeypatch.setattr(
        "unspoken.launch.sagemaker.submit.describe", lambda *a: {**describe(*a), **running}
    )
    refused("found tiny-1, which still runs; needed: one that has ended", resume="tiny-1")


def test_a_taken_name_and_a_wrong_bucket_are_refused_before_the_upload(
    aws: Any, tmp_path: Path
) -> None:
    import boto3

    recipe = write_recipe(tmp_path)
    submit(prepare(recipe, (), settings(job_name="tiny-1")), progress=False)
    before = keys_in(aws)
    recipe.write_text(recipe.read_text() + "\n")

    def refused(match: str, **changes: Any) -> None:
        launch = prepare(recipe, (), settings(**{"job_name": "tiny-2", **changes}))
        with pytest.raises((LaunchError, SettingError), match=match):
            submit(launch, progress=False)

    refused("job_name: found tiny-1, which there is already", job_name="tiny-1")
    refused("bucket=no-such-bucket: AWS refused", bucket="no-such-bucket")
    there = "eu-west-1"
    boto3.client("s3", region_name=there).create_bucket(
        Bucket="far-bucket", CreateBucketConfiguration={"LocationConstraint": there}
    )
    refused("bucket: found far-bucket, which is in eu-west-1", bucket="far-bucket")
    assert keys_in(aws) == before


def test_a_type_that_boto3_does_not_know_is_noted(aws: Any, tmp_path: Path) -> None:
    said: list[str] = []
    for name in ("m5", "m99"):
        changes = {"instance_type": f"ml.{name}.xlarge", "job_name": name}
        launch = prepare(write_recipe(tmp_path), (), settings(**changes))
        submit(launch, progress=False, say=said.append)
    assert [line for line in said if line.startswith("note:")] == [
        "note: ml.m99.xlarge is no type that this boto3 knows; AWS may know it"
    ]


def test_what_is_there_is_not_sent_again(aws: Any, tmp_path: Path) -> None:
    recipe = write_jsonl_recipe(tmp_path)
    said: list[str] = []
    for name in ("own-1", "own-2"):
        submit(prepare(recipe, (), settings(job_name=name)), progress=False, say=said.append)
    assert "5 files uploaded" in said[0]
    assert "0 files uploaded (0.0 MB), 5 were there" in said[2]
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write("\n")
    submit(prepare(recipe, (), settings(job_name="own-3")), progress=False, say=said.append)
    assert "1 file uploaded" in said[4]


def test_no_credentials_are_said_in_one_line(
    aws: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(LaunchError, match=r"no AWS credentials found.*aws sso login") as caught:
        submit(prepare(write_recipe(tmp_path), (), settings()), progress=False)
    assert "\n" not in str(caught.value)


def test_no_secret_is_written_anywhere(
    aws: Any,
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Planted keys are in no file, object, request or line that comes out."""
    planted = {"HF_TOKEN": "hf_planted0123456789", "WANDB_API_KEY": "planted0123wandb"}
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    secrets = [SECRET, TOKEN, KEY_ID, *planted.values()]
    sent = outgoing(monkeypatch, "CreateTrainingJob")
    monkeypatch.chdir(tmp_path)
    recipe = write_jsonl_recipe(tmp_path)
    command(recipe, *FLAGS, "--job-name", "own-1")
    command("--status", "own-1", "--region", REGION)
    command(recipe, *FLAGS, "--dry-run")
    aws.put_object(Bucket=BUCKET, Key="unspoken/output/own-1/output/model/a", Body=b"a")
    command("--fetch", "own-1", "--region", REGION, "--output", tmp_path / "fetched")
    printed = capsys.readouterr()
    found = [printed.out, printed.err, json.dumps(sent)]
    bodies = [aws.get_object(Bucket=BUCKET, Key=key) for key in keys_in(aws)]
    found += [body["Body"].read().decode(errors="replace") for body in bodies]
    found += [json.dumps(body["Metadata"]) for body in bodies]
    found += [
        path.read_bytes().decode(errors="replace") for path in tmp_path.rglob("*") if path.is_file()
    ]
    assert len(found) > 12
    for secret in secrets:
        assert not any(secret in text for text in found)
