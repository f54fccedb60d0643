from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import tiny_recipe
from tacit.errors import DataError, ModelError, OutputExistsError, RecipeError
from tacit.launch import sagemaker_clients, sagemaker_jobs, sagemaker_upload
from tacit.launch.sagemaker import prepare, setup_sagemaker_training, submit
from tacit.launch.sagemaker_clients import LaunchError
from tacit.launch.sagemaker_image import has_gpu, image_uri, takes_volume_key
from tacit.launch.sagemaker_pack import code_archive, pack, sha256_of
from tacit.launch.sagemaker_prices import cost_lines
from tacit.launch.sagemaker_settings import JobSettings, check_settings
from tacit.recipe import load_recipe

BUCKET = "research-bucket"
ROLE = "arn:aws:iam::111122223333:role/tacit"
REGION = "us-east-1"
KEY_ID, SECRET, TOKEN = "AKIAPLANTEDKEYID0000", "planted/Secret+Key/0123456789", "plantedToken0123"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """moto's S3, SageMaker and CloudWatch over HTTP on this machine."""
    pytest.importorskip("boto3", reason="needs tacit[sagemaker]")
    moto = pytest.importorskip("moto.server", reason="needs moto[server]")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def aws(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """An empty bucket; fake credentials, and no way to real ones or to a real service."""
    import boto3
    import requests

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    requests.post(f"{server}/moto-api/reset", timeout=10)
    s3 = boto3.client("s3", region_name=REGION, endpoint_url=server)
    s3.create_bucket(Bucket=BUCKET)
    return s3


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


def keys_in(s3: Any) -> set[str]:
    return {item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])}


def outgoing(monkeypatch: pytest.MonkeyPatch, operation: str, answer: Any = None) -> list[Any]:
    """What is sent as `operation`, as JSON; with `answer` in place of the server's."""
    from botocore.awsrequest import AWSResponse

    seen: list[Any] = []
    make = sagemaker_clients.client

    def remember(request: Any, **_: Any) -> Any:
        seen.append(json.loads(request.body))
        if answer is None:
            return None
        response = AWSResponse(request.url, 200, {}, None)
        response._content = json.dumps(answer).encode()
        return response

    def watched(service: str, region: str | None = None) -> Any:
        made = make(service, region)
        made.meta.events.register(f"before-send.{service}.{operation}", remember)
        return made

    monkeypatch.setattr("tacit.launch.sagemaker.client", watched)
    monkeypatch.setattr("tacit.launch.sagemaker_jobs.client", watched)
    return seen


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
        region="eu-west-1",
        spot=True,
        volume_size_gb=50,
        max_run_s=3600,
        max_wait_s=7200,
        retries=3,
        tag=["team=research", "note=a=b"],
        kms_key="arn:aws:kms:eu-west-1:111122223333:key/1234",
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
            "S3OutputPath": f"s3://{BUCKET}/tacit/output",
            "CompressionType": "NONE",
            "KmsKeyId": "arn:aws:kms:eu-west-1:111122223333:key/1234",
        },
        "CheckpointConfig": {
            "S3Uri": f"s3://{BUCKET}/tacit/checkpoints/own-1",
            "LocalPath": "/opt/ml/checkpoints",
        },
        "ResourceConfig": {
            "InstanceType": "ml.m5.xlarge",
            "InstanceCount": 2,
            "VolumeSizeInGB": 50,
            "VolumeKmsKeyId": "arn:aws:kms:eu-west-1:111122223333:key/1234",
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
        "EnableManagedSpotTraining": True,
        "RetryStrategy": {"MaximumRetryAttempts": 3},
        "Tags": [{"Key": "team", "Value": "research"}, {"Key": "note", "Value": "a=b"}],
        "VpcConfig": {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
    }
    assert algorithm["TrainingImage"] == (
        "763104351884.dkr.ecr.eu-west-1.amazonaws.com/"
        "pytorch-training:2.8.0-cpu-py312-ubuntu22.04-sagemaker"
    )
    assert algorithm["TrainingInputMode"] == "File"
    assert algorithm["ContainerEntrypoint"][:2] == ["/bin/bash", "-c"]
    assert "exec python -m tacit.launch.container" in algorithm["ContainerEntrypoint"][2]
    assert len(algorithm["ContainerEntrypoint"][2]) <= 256
    assert {"Name", "Regex"} == set(algorithm["MetricDefinitions"][0])
    assert set(algorithm) == {
        "TrainingImage", "TrainingInputMode", "ContainerEntrypoint", "MetricDefinitions"
    }  # fmt: skip


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
    again = prepare(recipe, (), settings(resume="tiny-1", spot=True)).request
    assert again["CheckpointConfig"]["S3Uri"].endswith("/checkpoints/tiny-1")
    assert again["StoppingCondition"]["MaxWaitTimeInSeconds"] == 2 * 86_400


def test_boto3_accepts_the_request(tmp_path: Path) -> None:
    """Its own validation: names, types, patterns and required fields."""
    pytest.importorskip("boto3", reason="needs tacit[sagemaker]")
    import botocore.session
    from botocore.validate import ParamValidator

    changes: dict[str, Any] = {"tag": ["a=b"], "kms_key": "key/1", "retries": 2, "spot": True}
    vpc = {"subnets": ["subnet-1"], "security_groups": ["sg-1"]}
    launch = prepare(write_recipe(tmp_path), ("seed=1",), settings(**changes, **vpc))
    model = botocore.session.get_session().get_service_model("sagemaker")
    shape = model.operation_model("CreateTrainingJob").input_shape
    report = ParamValidator().validate(launch.request, shape)
    assert not report.has_errors(), report.generate_report()
    types = model.shape_for("TrainingInstanceType")
    table = json.loads((Path(sagemaker_clients.__file__).parent / "prices.json").read_text())
    assert set(table["per_hour"]) <= set(getattr(types, "enum"))  # noqa: B009


def test_a_job_is_submitted_and_found(aws: Any, tmp_path: Path) -> None:
    said: list[str] = []
    launch = prepare(write_recipe(tmp_path), (), settings(job_name="tiny-1"))
    submit(launch, progress=False, say=said.append)
    assert said[-1] == "submitted: tiny-1 in us-east-1"
    job = sagemaker_jobs.describe("tiny-1", REGION)
    assert job["HyperParameters"] == launch.request["HyperParameters"]
    assert sagemaker_jobs.status_lines(job)[0] == "tiny-1: Completed"
    with pytest.raises(LaunchError, match=r"job absent: AWS refused \(ValidationException: Could"):
        sagemaker_jobs.describe("absent", REGION)


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
    assert "1 files uploaded" in said[4]


def local_file(path: Path, content: bytes) -> sagemaker_upload.LocalFile:
    path.write_bytes(content)
    return sagemaker_upload.LocalFile(path.name, sha256_of(path), len(content), path)


LARGE = os.urandom(1 << 20) * 11
PART_BYTES = 5 << 20


def test_a_large_file_goes_in_parts_and_arrives_whole(aws: Any, tmp_path: Path) -> None:
    file = local_file(tmp_path / "large.bin", LARGE)
    store = sagemaker_upload.Store(aws, BUCKET, part_bytes=PART_BYTES)
    sent: list[int] = []
    sagemaker_upload.upload(store, "large.bin", file, sent.append)
    assert sent == [PART_BYTES, PART_BYTES, 1 << 20]
    assert aws.get_object(Bucket=BUCKET, Key="large.bin")["Body"].read() == LARGE
    assert sagemaker_upload.is_there(store, "large.bin", file)


@pytest.mark.parametrize("error", [ConnectionResetError("cut"), KeyboardInterrupt()])
def test_a_cut_upload_leaves_nothing_that_is_trusted(
    aws: Any, tmp_path: Path, error: BaseException
) -> None:
    file = local_file(tmp_path / "large.bin", LARGE)
    store = sagemaker_upload.Store(aws, BUCKET, part_bytes=PART_BYTES)
    parts: list[str] = []

    def cut(request: Any, **_: Any) -> None:
        parts.append(request.url)
        if len(parts) == 2:
            raise error

    aws.meta.events.register("before-send.s3.UploadPart", cut)
    with pytest.raises((LaunchError, type(error))):
        sagemaker_upload.upload(store, "large.bin", file)
    assert len(parts) >= 2
    assert keys_in(aws) == set()
    assert "Uploads" not in aws.list_multipart_uploads(Bucket=BUCKET), "the parts were given up"
    aws.meta.events.unregister("before-send.s3.UploadPart", cut)
    assert not sagemaker_upload.is_there(store, "large.bin", file)
    sagemaker_upload.upload(store, "large.bin", file)
    assert aws.get_object(Bucket=BUCKET, Key="large.bin")["Body"].read() == LARGE


def test_parts_that_a_killed_process_left_are_not_trusted(aws: Any, tmp_path: Path) -> None:
    file = local_file(tmp_path / "large.bin", LARGE)
    place = {"Bucket": BUCKET, "Key": "large.bin"}
    begun = aws.create_multipart_upload(Metadata={"sha256": file.sha256}, **place)["UploadId"]
    aws.upload_part(UploadId=begun, PartNumber=1, Body=LARGE[:PART_BYTES], **place)
    store = sagemaker_upload.Store(aws, BUCKET, part_bytes=PART_BYTES)
    assert not sagemaker_upload.is_there(store, "large.bin", file)


def test_an_object_of_another_content_or_size_is_replaced(aws: Any, tmp_path: Path) -> None:
    file = local_file(tmp_path / "a.txt", b"whole")
    store = sagemaker_upload.Store(aws, BUCKET)
    for body, digest in ((b"whole", "0" * 64), (b"half", file.sha256), (b"whole", None)):
        metadata = {} if digest is None else {"sha256": digest}
        aws.put_object(Bucket=BUCKET, Key="a.txt", Body=body, Metadata=metadata)
        assert not sagemaker_upload.is_there(store, "a.txt", file)
    sagemaker_upload.upload(store, "a.txt", file)
    assert sagemaker_upload.is_there(store, "a.txt", file)


@pytest.mark.parametrize("content", [b"small", LARGE])
def test_a_file_that_changes_meanwhile_is_not_completed(
    aws: Any, tmp_path: Path, content: bytes
) -> None:
    file = local_file(tmp_path / "a.bin", content)
    (tmp_path / "a.bin").write_bytes(content[:-1] + b"!")
    store = sagemaker_upload.Store(aws, BUCKET, part_bytes=PART_BYTES)
    with pytest.raises(DataError, match=r"a.bin: changed while it was uploaded"):
        sagemaker_upload.upload(store, "a.bin", file)
    assert keys_in(aws) == set()


def test_uploads_are_encrypted_with_the_users_key(aws: Any, tmp_path: Path) -> None:
    file = local_file(tmp_path / "a.txt", b"text")
    sagemaker_upload.upload(sagemaker_upload.Store(aws, BUCKET, "key-1"), "a.txt", file)
    head = aws.head_object(Bucket=BUCKET, Key="a.txt")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "key-1")


def test_the_same_code_gives_the_same_archive(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    first = code_archive(recipe, ["numpy"])
    os.utime(recipe, (1, 1))
    recipe.chmod(0o600)
    assert code_archive(recipe, ["numpy"]) == first
    recipe.write_text(recipe.read_text() + "\n")
    assert code_archive(recipe, ["numpy"]) != first
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        names = archive.getnames()
    assert {"tacit/launch/container.py", "tacit/launch/prices.json", "recipes/tiny.yaml"} <= set(
        names
    )
    assert not any("__pycache__" in name for name in names)


def test_the_archive_runs_without_anything_else_of_the_project(tmp_path: Path) -> None:
    archive = code_archive(write_recipe(tmp_path), ["numpy"])
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(tmp_path / "code", filter="data")
    code = "import sys, tacit.launch.container; print(tacit.__file__); "
    code += "print([m for m in ('torch', 'boto3', 'cyclopts', 'pydantic') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "code", capture_output=True, text=True,
        check=True, env={**os.environ, "PYTHONPATH": str(tmp_path / "code")},
    )  # fmt: skip
    assert done.stdout.split() == [str(tmp_path / "code" / "tacit" / "__init__.py"), "[]"]


def test_files_of_phases_are_mapped_phase_by_phase(tmp_path: Path) -> None:
    path = write_jsonl_recipe(tmp_path)
    values = yaml.safe_load(path.read_text())
    first = {"name": "first", "data": values["data"]}
    other = tmp_path / "other.jsonl"
    other.write_text("{}\n")
    second = {"name": "second", "data": {"train": str(other)}}
    path.write_text(yaml.safe_dump({**values, "phases": [first, second]}))
    overrides = ("train.learning_rate=1e-3",)
    package = pack(path, load_recipe(path, overrides), overrides)
    mapped = load_recipe(path, package.overrides).resolved_phases()
    base = Path("/opt/ml/input/data")
    assert mapped[0].data.train == base / "data-train" / "train.jsonl"
    assert mapped[1].data.train == base / "phases-2-data-train" / "other.jsonl"
    assert mapped[1].data.test == base / "data-test" / "test.jsonl"
    assert mapped[1].train.learning_rate == 1e-3
    names = [channel.name for channel in package.channels]
    assert names == ["code", "data-train", "data-test", "model-name", "phases-2-data-train"]


def test_the_hub_is_used_only_where_the_recipe_needs_it(tmp_path: Path) -> None:
    def environment(**sections: Any) -> dict[str, str]:
        recipe = write_recipe(tmp_path, **sections)
        return prepare(recipe, (), settings()).request["Environment"]

    assert environment()["HF_HUB_OFFLINE"] == "1"
    named = {"name": "gpt2", "config": None, "tokenizer": None}
    assert "HF_HUB_OFFLINE" not in environment(model=named)


def test_what_cannot_travel_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    def refused(error: type[Exception], match: str, *overrides: str, **sections: Any) -> None:
        recipe = write_recipe(tmp_path, **sections)
        with pytest.raises(error, match=match):
            prepare(recipe, overrides, settings())

    server = {"engine": "openai", "base_url": "http://x/v1", "model": {"name": "big"}}
    refused(RecipeError, "teacher.engine: found openai; its server and key", teacher=server)
    refused(RecipeError, "train.trackers: found wandb", train={"trackers": ["wandb"]})
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"role": ""}, "--role: missing"),
        ({"role": "tacit"}, "--role: found 'tacit'; needed: a role's ARN"),
        ({"bucket": "s3://b"}, "--bucket: found 's3://b'"),
        ({"instance_type": "g5.xlarge"}, "--instance_type: found 'g5.xlarge'"),
        ({"instance_type": "ml.trn1.2xlarge"}, "needed: CPUs or NVIDIA GPUs"),
        ({"instance_count": 0}, "--instance_count: found 0; needed: at least 1"),
        ({"spot": True, "warm_pool_s": 60}, "SageMaker keeps no spot hosts"),
        ({"warm_pool_s": 99_999}, "at most 21,600"),
        ({"retries": 31}, "--retries: found 31; needed: at least 0 and at most 30"),
        ({"max_wait_s": 10}, "--max_wait_s: found it without --spot"),
        ({"spot": True, "max_wait_s": 10}, "--max_wait_s: found 10; needed: at least 86,400"),
        ({"subnets": ["subnet-1"]}, "found only one of them"),
        ({"tag": ["team"]}, "--tag: found 'team'; needed: key=value"),
        ({"job_name": "a b"}, "--job_name: found 'a b'"),
    ],
)
def test_settings_that_sagemaker_would_refuse(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check_settings(settings(**changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_follow_region_and_instance() -> None:
    assert image_uri("us-east-1", "ml.g5.12xlarge") == (
        "763104351884.dkr.ecr.us-east-1.amazonaws.com/"
        "pytorch-training:2.8.0-gpu-py312-cu129-ubuntu22.04-sagemaker"
    )
    china = image_uri("cn-north-1", "ml.m5.xlarge", torch="2.6.0")
    assert china.startswith("727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/")
    assert china.endswith(":2.6.0-cpu-py312-ubuntu22.04-sagemaker")
    with pytest.raises(RecipeError, match=r"torch 1.0: no image is known"):
        image_uri("us-east-1", "ml.m5.xlarge", torch="1.0")
    assert has_gpu("ml.p4d.24xlarge")
    assert not has_gpu("ml.c5.xlarge")
    assert not takes_volume_key("ml.g5.xlarge")
    assert takes_volume_key("ml.m5.xlarge")


def test_cost_says_what_is_known_and_what_not(tmp_path: Path) -> None:
    table = tmp_path / "prices.json"
    table.write_text(json.dumps({"currency": "EUR", "per_hour": {"ml.g5.xlarge": 2}}))
    lines = cost_lines("ml.g5.xlarge", 3, 7200, spot=True, prices=table)
    assert "about 6.00 EUR per hour" in lines[0]
    assert "at most 12.00 EUR" in lines[0]
    assert "approximate" in lines[1]
    assert "spot" in lines[2]
    assert "approximate" in "".join(cost_lines("ml.g5.xlarge", 1, 60, spot=False, prices=None))
    (line,) = cost_lines("ml.p5.48xlarge", 1, 60, spot=False, prices=None)
    assert "unknown" in line
    table.write_text('{"per_hour": 3}')
    with pytest.raises(DataError, match=r"--prices .*prices.json: needed: JSON such as"):
        cost_lines("ml.g5.xlarge", 1, 60, spot=False, prices=table)


def write_log(server: str, name: str, streams: dict[str, list[str]]) -> None:
    import boto3

    logs = boto3.client("logs", region_name=REGION, endpoint_url=server)
    logs.create_log_group(logGroupName=sagemaker_jobs.LOG_GROUP)
    for host, lines in streams.items():
        place = {
            "logGroupName": sagemaker_jobs.LOG_GROUP,
            "logStreamName": f"{name}/{host}-1795340000",
        }
        logs.create_log_stream(**place)
        now = 1_795_340_000_000
        events = [{"timestamp": now + i, "message": line} for i, line in enumerate(lines)]
        logs.put_log_events(logEvents=events, **place)


def test_the_log_is_told_once_and_with_hosts(aws: Any, server: str, tmp_path: Path) -> None:
    assert list(sagemaker_jobs.log_lines("tiny-1", REGION)) == []
    write_log(server, "tiny-1", {"algo-1": ["one", "two"], "algo-2": ["three"]})
    reader = sagemaker_jobs._LogReader("tiny-1", REGION)
    assert list(reader.new_lines()) == ["[algo-1] one", "[algo-1] two", "[algo-2] three"]
    assert list(reader.new_lines()) == []


def job(status: str, **more: Any) -> dict[str, Any]:
    return {"TrainingJobName": "tiny-1", "TrainingJobStatus": status, **more}


def test_following_ends_with_the_job(
    aws: Any, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(server, "tiny-1", {"algo-1": ["metric internalized train step=1 loss=2.0"]})
    answers = [
        job("InProgress", SecondaryStatus="Starting"),
        job("InProgress", SecondaryStatus="Training"),
        job("Completed", SecondaryStatus="Completed", TrainingTimeInSeconds=9),
    ]
    monkeypatch.setattr(sagemaker_jobs, "describe", lambda *_: answers.pop(0))
    said: list[str] = []
    sagemaker_jobs.follow("tiny-1", REGION, said.append, poll_s=0)
    assert said == [
        "metric internalized train step=1 loss=2.0",
        "tiny-1: InProgress (Starting)",
        "tiny-1: InProgress (Training)",
        "tiny-1: Completed",
        "  time: 9 s",
        "  tacit launch sagemaker --fetch tiny-1 --output FOLDER",
    ]
    answers = [job("Failed", FailureReason="AlgorithmError: error")]
    with pytest.raises(LaunchError, match=r"job tiny-1 failed: AlgorithmError: error; see"):
        sagemaker_jobs.follow("tiny-1", REGION, poll_s=0)
    answers = [job("Stopped")]
    with pytest.raises(LaunchError, match="--resume tiny-1"):
        sagemaker_jobs.follow("tiny-1", REGION, poll_s=0)


def test_a_job_is_stopped(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = outgoing(monkeypatch, "StopTrainingJob", answer={})
    sagemaker_jobs.stop("tiny-1", REGION)
    assert sent == [{"TrainingJobName": "tiny-1"}]


def test_results_are_fetched_whole_or_not_at_all(
    aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(prepare(write_recipe(tmp_path), (), settings(job_name="tiny-1")), progress=False)
    output = tmp_path / "fetched"
    with pytest.raises(LaunchError, match="nothing is there"):
        sagemaker_jobs.fetch("tiny-1", output, REGION)
    for name in ("model/model.safetensors", "data/report.html"):
        aws.put_object(Bucket=BUCKET, Key=f"tacit/output/tiny-1/output/{name}", Body=name.encode())
    found = sagemaker_jobs.fetch("tiny-1", output, REGION)
    assert [path.relative_to(output).as_posix() for path in found] == [
        "data/report.html",
        "model/model.safetensors",
    ]
    with pytest.raises(OutputExistsError):
        sagemaker_jobs.fetch("tiny-1", output, REGION)
    aws.put_object(Bucket=BUCKET, Key="tacit/output/tiny-1/output/../../outside", Body=b"x")
    with pytest.raises(LaunchError, match="points outside"):
        sagemaker_jobs.fetch("tiny-1", tmp_path / "second", REGION)
    assert not (tmp_path / "second").exists()
    assert not (tmp_path / "outside").exists()


def command(*arguments: object) -> None:
    from cyclopts import App

    from tacit.commands.launch_sagemaker import sagemaker

    app = App(name="launch", result_action="return_value")
    app.command(sagemaker)
    app(["sagemaker", *map(str, arguments)], exit_on_error=False, print_error=False)


FLAGS = ("--role", ROLE, "--bucket", BUCKET, "--instance-type", "ml.m5.xlarge", "--region", REGION)


def test_a_dry_run_prints_the_request_and_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    recipe = write_recipe(tmp_path)
    command(recipe, "seed=1", *FLAGS, "--job-name", "tiny-1", "--max-run", 60, "--dry-run")
    printed = capsys.readouterr()
    request = json.loads(printed.out)
    assert request["TrainingJobName"] == "tiny-1"
    assert request["HyperParameters"]["override-00"] == "seed=1"
    assert request["StoppingCondition"]["MaxRuntimeInSeconds"] == 60
    assert "cost: about 0.23 USD per hour" in printed.err


def test_without_boto3_the_command_to_install_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(LaunchError, match=r"pip install 'tacit\[sagemaker\]'"):
        command(write_recipe(tmp_path), *FLAGS)
    with pytest.raises(LaunchError, match=r"pip install 'tacit\[sagemaker\]'"):
        command("--status", "tiny-1")


def test_ctrl_c_leaves_the_job_alone(
    aws: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sagemaker_jobs, "follow", interrupted)
    with pytest.raises(SystemExit) as caught:
        command(write_recipe(tmp_path), *FLAGS, "--job-name", "tiny-1", "--wait")
    assert caught.value.code == 130
    assert "the job goes on" in capsys.readouterr().out
    assert sagemaker_jobs.describe("tiny-1", REGION)["TrainingJobName"] == "tiny-1"


def test_one_thing_at_a_time(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="found no recipe"):
        command("--region", REGION)
    with pytest.raises(RecipeError, match="found --status and --stop"):
        command("--status", "a", "--stop", "b")


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
    aws.put_object(Bucket=BUCKET, Key="tacit/output/own-1/output/model/a", Body=b"a")
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


def test_importing_the_launcher_imports_no_boto3() -> None:
    code = (
        "import sys, tacit, tacit.launch.sagemaker, tacit.commands.launch_sagemaker\n"
        "print([m for m in ('boto3', 'botocore', 'torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_policies_in_the_docs_are_json_and_name_no_wildcard_action() -> None:
    folder = Path(__file__).parents[1] / "docs" / "sagemaker-policies"
    files = sorted(folder.glob("*.json"))
    policies = [path for path in files if path.stem != "lifecycle"]
    assert [path.stem for path in policies] == ["bucket", "execution-role", "trust", "user"]
    for path in policies:
        for statement in json.loads(path.read_text())["Statement"]:
            actions = statement["Action"]
            for action in [actions] if isinstance(actions, str) else actions:
                assert not action.endswith(":*") or statement["Effect"] == "Deny", (path, action)


def test_several_uploads_do_not_start_threads_that_stay(aws: Any, tmp_path: Path) -> None:
    before = threading.active_count()
    file = local_file(tmp_path / "large.bin", LARGE)
    store = sagemaker_upload.Store(aws, BUCKET, part_bytes=PART_BYTES)
    sagemaker_upload.upload(store, "large.bin", file)
    assert threading.active_count() <= before + 1  # the server's own thread for this client
