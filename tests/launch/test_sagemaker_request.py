"""The request that creates a job, and what keeps it from being made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.paths import CONFIGS
from helpers.sagemaker import BUCKET, KEY, REGION, ROLE, problems, settings, write_recipe
from unspoken.common.errors import DataError, ModelError, RecipeError
from unspoken.launch.sagemaker.submit import prepare, setup_sagemaker_training


def test_the_plainest_job_asks_for_nothing_more(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    request = prepare(recipe, (), settings(warm_pool_s=600, image="me/image:1")).request
    assert request["AlgorithmSpecification"]["TrainingImage"] == "me/image:1"
    assert request["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 600
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 86_400}
    assert request["EnableManagedSpotTraining"] is False
    assert request["TrainingJobName"].startswith("tiny-20")
    assert [channel["ChannelName"] for channel in request["InputDataConfig"]] == ["code"]
    absent = {"RetryStrategy", "VpcConfig"} | {"KmsKeyId", "VolumeKmsKeyId"}
    assert not absent & {*request, *request["OutputDataConfig"], *request["ResourceConfig"]}
    again = prepare(recipe, (), settings(resume="tiny-1", spot=True, torch="2.7.1")).request
    assert ":2.7.1-cpu" in again["AlgorithmSpecification"]["TrainingImage"]
    assert again["CheckpointConfig"]["S3Uri"].endswith("/checkpoints/tiny-1")
    assert again["StoppingCondition"]["MaxWaitTimeInSeconds"] == 2 * 86_400


def test_shipped_recipes_and_configurations_go_by_name_from_python_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = {"role": ROLE, "bucket": BUCKET, "instance_type": "ml.g5.12xlarge", "region": REGION}
    request = setup_sagemaker_training(
        "quickstart", **job, config_file="ddp", dry_run=True, progress=False
    )
    assert isinstance(request, dict)
    assert request["HyperParameters"]["recipe"] == "recipes/quickstart.yaml"
    with pytest.raises(RecipeError, match="did you mean quickstart"):
        setup_sagemaker_training("quikstart", **job, dry_run=True)


def test_the_request_is_as_aws_describes_it(tmp_path: Path) -> None:
    """Names, types and required fields as boto3 checks them, and what it does not check."""
    pytest.importorskip("boto3", reason="needs unspoken[sagemaker]")
    import botocore.session
    from botocore.validate import ParamValidator

    changes: dict[str, Any] = {"tag": ["a=b"], "kms_key": KEY, "retries": 2, "spot": True}
    vpc = {"subnets": ["subnet-1"], "security_groups": ["sg-1"], "job_name": "tiny-1"}
    launch = prepare(write_recipe(tmp_path), ("seed=1",), settings(**changes, **vpc))
    model = botocore.session.get_session().get_service_model("sagemaker")
    shape = model.operation_model("CreateTrainingJob").input_shape
    report = ParamValidator().validate(launch.request, shape)
    assert not report.has_errors(), report.generate_report()
    assert list(problems(launch.request, shape)) == []
    wrong = {
        "TrainingJobName": "a" * 64,
        "RoleArn": "role",
        "HyperParameters": {"a": "b\nc"},
        "Tags": [{"Key": "a;", "Value": ""}] * 51,
        "RetryStrategy": {"MaximumRetryAttempts": 31},
        "ResourceConfig": {"InstanceType": "ml.m99.xlarge"},
    }
    found = [problem.partition(":")[0] for problem in problems(wrong, shape)]
    assert found[:6] == [
        ".TrainingJobName",
        ".TrainingJobName",
        ".RoleArn",
        ".RoleArn",
        ".HyperParameters.a",
        ".Tags",
    ]
    assert found[-2:] == [".RetryStrategy.MaximumRetryAttempts", ".ResourceConfig.InstanceType"]


def test_the_hub_is_used_only_where_the_recipe_needs_it(tmp_path: Path) -> None:
    def environment(**sections: Any) -> dict[str, str]:
        recipe = write_recipe(tmp_path, **sections)
        return prepare(recipe, (), settings()).request["Environment"]

    assert environment()["HF_HUB_OFFLINE"] == "1"
    named = {"name": "gpt2", "config": None, "tokenizer": None}
    assert "HF_HUB_OFFLINE" not in environment(model=named)


def test_what_cannot_travel_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    def refused(
        error: type[Exception], match: str, *overrides: str, hosts: Any = None, **sections: Any
    ) -> None:
        recipe = write_recipe(tmp_path, **sections)
        with pytest.raises(error, match=match):
            prepare(recipe, overrides, settings(**hosts or {}))

    server = {"engine": "openai", "base_url": "http://x/v1", "model": {"name": "big"}}
    refused(RecipeError, "teacher.engine: found openai; its server and key", teacher=server)
    refused(RecipeError, "train.trackers: found wandb", train={"trackers": ["wandb"]})
    distil = {"trackers": ["tensorboard", "wandb"]}
    refused(RecipeError, "distil.trackers: found wandb", distil=distil)
    phases = [{"name": "a"}, {"name": "b", "train": {"trackers": ["wandb"]}}]
    refused(RecipeError, r"phases\[1\].train.trackers: found wandb", phases=phases)
    scratch = {"model": {"config": {"model_type": "gpt2"}, "tokenizer": "characters"}}
    taught = {"train": {"max_steps": 1, "trackers": ["wandb"]}, "num_train": 1}
    refused(RecipeError, "teacher.train.trackers: found wandb", teacher={**scratch, **taught})
    refused(RecipeError, "SageMaker takes 99; write some", *[f"seed={i}" for i in range(100)])
    refused(RecipeError, "found several lines; SageMaker takes one", 'description="a\nb"')
    refused(
        RecipeError,
        r"train.batch_size: found 8; .*12 processes "
        r"\(instance_type=ml.g5.12xlarge, instance_count=3\)",
        train={"batch_size": 8},
        hosts={"instance_type": "ml.g5.12xlarge", "instance_count": 3},
    )
    fsdp2 = {"config_file": CONFIGS / "fsdp2.yaml"}
    eight_bit = {"optimizer": "adamw_8bit"}
    refused(RecipeError, "train.optimizer: found adamw_8bit", train=eight_bit, hosts=fsdp2)
    here = {"config": None, "tokenizer": None, "name": "./absent"}
    refused(ModelError, "model.name: ./absent: no such folder here", model=here)
    jsonl = {"task": "jsonl", "train": str(tmp_path / "absent.jsonl")}
    missing = {"num_train": 1, "num_valid": 1, "num_test": 1, "digits": [[2, 2]]}
    refused(DataError, "data.train: .*absent.jsonl: no such file", data={**missing, **jsonl})
    refused(RecipeError, "SageMaker takes 2,500", f"description={'x' * 3000}")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = {"base_model_name_or_path": str(tmp_path)}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    refused(ModelError, "is an adapter of", model={**here, "name": str(adapter)}, lora={})
