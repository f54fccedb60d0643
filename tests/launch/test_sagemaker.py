from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.paths import CONFIGS, DOCS
from helpers.sagemaker import (
    FLAGS,
    KEY,
    REGION,
    command,
    problems,
    settings,
    write_jsonl_recipe,
    write_recipe,
)
from unspoken.common.errors import DataError, ModelError, RecipeError
from unspoken.launch.sagemaker import pack as sagemaker_pack
from unspoken.launch.sagemaker.clients import LaunchError
from unspoken.launch.sagemaker.image import has_gpu, image_uri, num_processes, takes_volume_key
from unspoken.launch.sagemaker.pack import code_archive, pack
from unspoken.launch.sagemaker.prices import cost_lines
from unspoken.launch.sagemaker.submit import prepare
from unspoken.recipe import load_recipe


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
    assert {
        "unspoken/launch/container/entry.py",
        "unspoken/launch/slurm/slurm.sbatch",
        "recipes/tiny.yaml",
    } <= set(names)
    assert not any("__pycache__" in name for name in names)


def test_the_archive_runs_without_anything_else_of_the_project(tmp_path: Path) -> None:
    archive = code_archive(write_recipe(tmp_path), ["numpy"])
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(tmp_path / "code", filter="data")
    code = "import sys, unspoken.launch.container.entry; print(unspoken.__file__); "
    code += "print([m for m in ('torch', 'boto3', 'cyclopts', 'pydantic') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "code", capture_output=True, text=True,
        check=True, env={**os.environ, "PYTHONPATH": str(tmp_path / "code")},
    )  # fmt: skip
    assert done.stdout.split() == [str(tmp_path / "code" / "unspoken" / "__init__.py"), "[]"]


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


def test_phases_too_long_for_a_parameter_travel_in_the_recipe(tmp_path: Path) -> None:
    path = write_jsonl_recipe(tmp_path)
    values = yaml.safe_load(path.read_text())
    phases = [{"name": f"p{i}", "data": values["data"], "description": 99 * "x"} for i in range(20)]
    path.write_text(yaml.safe_dump({**values, "phases": phases}))
    overrides = ("train.learning_rate=1e-3", "seed=7")
    package = pack(path, load_recipe(path, overrides), overrides)
    assert package.overrides == ()
    (code,) = package.channels[0].files
    with tarfile.open(fileobj=io.BytesIO(code.content)) as archive:
        archive.extractall(tmp_path / "code", filter="data")
    loaded = load_recipe(tmp_path / "code" / "recipes" / path.name)
    assert (loaded.seed, loaded.model.name) == (7, "/opt/ml/input/data/model-name")
    for phase in loaded.resolved_phases():
        assert phase.data.train == Path("/opt/ml/input/data/data-train/train.jsonl")
        assert phase.train.learning_rate == 1e-3


def test_linked_folders_of_a_model_travel_and_links_back_do_not(tmp_path: Path) -> None:
    path = write_jsonl_recipe(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "weights.bin").write_text("weights")
    model = tmp_path / "student"
    (model / "linked").symlink_to(tmp_path / "elsewhere")
    (model / "back").symlink_to(model)
    package = pack(path, load_recipe(path), ())
    names = [file.name for file in package.channels[-1].files]
    assert names == ["config.json", "linked/weights.bin", "model.safetensors"]


def test_trackers_of_every_training_are_required(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, distil={"trackers": ["tensorboard"]})
    (code,) = pack(recipe, load_recipe(recipe), ()).channels[0].files
    with tarfile.open(fileobj=io.BytesIO(code.content)) as archive:
        archive.extractall(tmp_path / "code", filter="data")
    lines = (tmp_path / "code" / "requirements.txt").read_text().splitlines()
    assert lines[-1] == "tensorboard"


def test_requirements_are_those_of_the_extras_that_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = ["torch>=2.6", "bitsandbytes; platform_system == 'Linux'"]
    extras = ["deepspeed>=0.16; extra == 'deepspeed'", 'boto3>=1.35; extra == "dev"']
    monkeypatch.setattr(metadata, "requires", lambda _: [*lines, *extras])
    assert sagemaker_pack._requirements(set()) == lines
    assert sagemaker_pack._requirements({"deepspeed"}) == [*lines, "deepspeed>=0.16"]


def test_a_configuration_of_accelerates_travels_with_what_it_needs(tmp_path: Path) -> None:
    configs = CONFIGS

    def archive(config_file: str | Path) -> dict[str, str]:
        launch = prepare(write_recipe(tmp_path), (), settings(config_file=config_file))
        (code,) = launch.package.channels[0].files
        with tarfile.open(fileobj=io.BytesIO(code.content)) as opened:
            names = ("accelerate.yaml", "requirements.txt")
            files = {name: opened.extractfile(name) for name in names}
            return {name: file.read().decode() for name, file in files.items() if file}

    found = archive(configs / "fsdp2.yaml")
    assert found["accelerate.yaml"] == (configs / "fsdp2.yaml").read_text()
    assert "deepspeed" not in found["requirements.txt"]
    assert "deepspeed" in archive(str(configs / "zero2.yaml"))["requirements.txt"]
    with pytest.raises(RecipeError, match="config_file: found no file"):
        archive(tmp_path / "absent.yaml")


def test_files_of_unspoken_that_are_not_installed_are_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    recipe = write_recipe(tmp_path)
    with pytest.raises(RecipeError, match=r"it is not installed.*pip install"):
        pack(recipe, load_recipe(recipe), ())


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"role": ""}, "role: found nothing; needed: it; give it; see docs/sagemaker.md"),
        ({"role": "unspoken"}, "role: found 'unspoken'; needed: a role's ARN"),
        ({"bucket": "s3://b"}, "bucket: found 's3://b'"),
        ({"instance_type": "g5.xlarge"}, "instance_type: found 'g5.xlarge'"),
        ({"instance_type": "ml.trn1.2xlarge"}, "needed: CPUs or NVIDIA GPUs"),
        ({"instance_count": 0}, "instance_count: found 0; needed: at least 1"),
        (
            {"spot": True, "warm_pool_s": 60},
            "found 60 with spot=true, and SageMaker keeps no spot hosts",
        ),
        ({"warm_pool_s": 99_999}, "warm_pool_s: found 99999; needed: at least 0, at most 21600"),
        ({"retries": 31}, "retries: found 31; needed: at least 0, at most 30"),
        ({"max_wait_s": 10}, "max_wait_s: found 10 without spot=true"),
        ({"spot": True, "max_wait_s": 10}, "max_wait_s: found 10; needed: at least 86,400"),
        ({"subnets": ["subnet-1"]}, "security_groups: found nothing with subnets; needed: both"),
        ({"subnets": "subnet-1"}, "subnets: found 'subnet-1'; needed: a valid tuple"),
        ({"subnets": ["subnet_1"], "security_groups": ["sg-1"]}, "subnets: found 'subnet_1'"),
        ({"subnets": ["a"] * 17, "security_groups": ["b"]}, "subnets: found 17; needed: at most"),
        ({"security_groups": ["s" * 33]}, "security_groups: found 'sss"),
        ({"instance_count": "two"}, "instance_count: found 'two'; needed: a valid integer"),
        ({"instance_count": 1.5}, "instance_count: found 1.5; needed: a valid integer"),
        ({"spot": "perhaps"}, "spot: found 'perhaps'; needed: a valid boolean"),
        ({"region": 3}, "region: found 3; needed: a valid string"),
        ({"max_run_s": 2_419_201}, "max_run_s: found 2419201; needed: at least 1, at most 2419200"),
        ({"job_name": "a" + "-a" * 32}, "job_name: found 'a-a"),
        ({"image": "x" * 256}, "image: found 'xxx"),
        ({"image": "me/image:1", "torch": "2.8.0"}, "torch: found 2.8.0 with image"),
        ({"kms_key": "alias/mine"}, "kms_key: found 'alias/mine'; needed: a key's ARN"),
        ({"tag": ["aws:a=b"]}, "tag: found 'aws:a=b'"),
        ({"tag": ["a=b;c"]}, "tag: found 'a=b;c'"),
        ({"tag": ["a=b", "a=c"]}, "needed: each key once"),
        ({"tag": ["a=" + "b" * 257]}, "values of at most 256"),
        ({"tag": [f"a{i}=b" for i in range(51)]}, "tag: found 51; needed: at most 50"),
        ({"tag": ["team"]}, "tag: found 'team'; needed: key=value"),
        ({"job_name": "a b"}, "job_name: found 'a b'"),
    ],
)
def test_settings_that_sagemaker_would_refuse(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        settings(**changes).require_job()
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
    assert ":2.6.0-gpu-py312-cu126" in image_uri("us-east-1", "ml.p3.2xlarge")
    assert ":2.7.1-gpu-py312-cu128" in image_uri("us-east-1", "ml.g5.xlarge", "2.7.1")
    for instance_type in ("ml.p2.xlarge", "ml.p6e-gb200.36xlarge"):
        with pytest.raises(RecipeError, match=f"found {instance_type}.*give image"):
            image_uri("us-east-1", instance_type)
    with pytest.raises(RecipeError, match=r"torch: found 1.0, for which no image is known"):
        image_uri("us-east-1", "ml.m5.xlarge", torch="1.0")
    assert has_gpu("ml.p4d.24xlarge")
    assert not has_gpu("ml.c5.xlarge")
    assert not takes_volume_key("ml.g5.xlarge")
    assert takes_volume_key("ml.m5.xlarge")
    sizes = {"ml.g5.16xlarge": 1, "ml.g6e.48xlarge": 8, "ml.p4d.24xlarge": 8, "ml.g7.2xlarge": None}
    assert {size: num_processes(size) for size in sizes} == sizes


def test_cost_says_what_is_known_and_what_not(tmp_path: Path) -> None:
    def lines(name: str, count: int, max_run_s: int, **more: Any) -> list[str]:
        values = {"region": REGION, "spot": False, "prices": table, **more}
        return cost_lines(name, count, max_run_s, **values)

    table = tmp_path / "prices.json"
    table.write_text(json.dumps({"currency": "EUR", "per_hour": {"ml.g5.xlarge": 2}}))
    told = lines("ml.g5.xlarge", 3, 7200, spot=True)
    assert "about 6.00 EUR per hour" in told[0]
    assert "at most 12.00 EUR" in told[0]
    assert "approximate" in told[1]
    assert "spot" in told[2]
    (line,) = lines("ml.p5.48xlarge", 1, 60)
    assert "prices.json has no price for ml.p5.48xlarge; look it up" in line
    (line,) = lines("ml.g5.xlarge", 2, 7200, prices=None)
    assert "not known without a file of prices; docs/sagemaker.md, Cost, says how" in line
    assert "at most 2 h on 2 x ml.g5.xlarge" in line
    prices = {"region": REGION, "per_hour": {"ml.g5.xlarge": 2}}
    table.write_text(json.dumps(prices))
    far = lines("ml.g5.xlarge", 1, 60, region="eu-west-1")
    assert "the job runs in eu-west-1, where prices differ" in far[2]
    assert len(lines("ml.g5.xlarge", 1, 60)) == 2
    table.write_text(json.dumps({"per_hour": {"ml.g5.xlarge": 1.001}}))
    assert "about 1.01 USD per hour" in lines("ml.g5.xlarge", 1, 3600)[0]
    assert "at most 3.01 USD" in lines("ml.g5.xlarge", 1, 3 * 3600)[0]
    for wrong in ("3", '{"a": true}', '{"a": -1}', '{"a": 0}', '{"a": NaN}', '{"a": Infinity}'):
        table.write_text(f'{{"per_hour": {wrong}}}')
        with pytest.raises(DataError, match=r"prices=.*prices.json: needed: JSON such as"):
            lines("ml.g5.xlarge", 1, 60)


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
    assert "cost: not known without a file of prices" in printed.err


def test_without_boto3_the_command_to_install_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("boto3", "boto3.exceptions", "botocore", "botocore.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    for flag in ("--status", "--logs", "--stop", "--fetch"):
        with pytest.raises(LaunchError, match=r"pip install 'unspoken\[sagemaker\]'"):
            command(flag, "tiny-1", "--region", REGION)
    with pytest.raises(LaunchError, match=r"pip install 'unspoken\[sagemaker\]'"):
        command(write_recipe(tmp_path), *FLAGS)


def test_one_thing_at_a_time(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="found no recipe"):
        command("--region", REGION)
    with pytest.raises(RecipeError, match="found --status and --stop"):
        command("--status", "a", "--stop", "b")


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (("--stop", "a", "--dry-run"), "--dry_run"),
        (("--stop", "a", "--wait"), "--wait"),
        (("--status", "a", "--spot"), "--spot"),
        (("--logs", "a", "--prices", "b"), "--prices"),
        (("--fetch", "a", "--wait"), "--wait"),
        (("--fetch", "a", "--bucket", "other"), "--bucket"),
        (("--logs", "a", "--output", "b"), "--output"),
        (("a.yaml", "--output", "b"), "--output"),
        (("a.yaml", "--overwrite"), "--overwrite"),
        (("a.yaml", "--dry-run", "--wait"), "--wait"),
    ],
)
def test_flags_that_would_do_nothing_are_refused(arguments: tuple[str, ...], flag: str) -> None:
    with pytest.raises(RecipeError, match=f"{flag}: found it with"):
        command(*arguments)


def test_help_shows_no_empty_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    command("--help")
    told = capsys.readouterr().out
    assert "--role" in told
    assert 'default: ""' not in told


def test_importing_the_launcher_imports_no_boto3() -> None:
    code = (
        "import sys, unspoken, unspoken.launch.sagemaker.submit, unspoken.cli.launch_sagemaker\n"
        "print([m for m in ('boto3', 'botocore', 'torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_policies_in_the_docs_are_json_and_name_no_wildcard_action() -> None:
    folder = DOCS / "sagemaker-policies"
    files = sorted(folder.glob("*.json"))
    policies = [path for path in files if path.stem != "lifecycle"]
    assert [path.stem for path in policies] == ["bucket", "execution-role", "trust", "user"]
    for path in policies:
        for statement in json.loads(path.read_text())["Statement"]:
            actions = statement["Action"]
            for action in [actions] if isinstance(actions, str) else actions:
                assert not action.endswith(":*") or statement["Effect"] == "Deny", (path, action)


def test_role_and_user_may_remove_checkpoints() -> None:
    """SageMaker removes on S3 what is removed in the container; old checkpoints cost money."""
    folder = DOCS / "sagemaker-policies"
    for name in ("execution-role", "user"):
        statements = json.loads((folder / f"{name}.json").read_text())["Statement"]
        places = [one["Resource"] for one in statements if "s3:DeleteObject" in one["Action"]]
        assert any("arn:aws:s3:::BUCKET/unspoken/checkpoints/*" in place for place in places)
