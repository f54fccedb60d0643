"""What of a job SageMaker would refuse, and what follows from its instance type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.sagemaker import KEY, ROLE, settings, write_recipe
from unspoken.common.errors import RecipeError
from unspoken.launch.sagemaker.clients import find_region
from unspoken.launch.sagemaker.image import has_gpu, image_uri, num_processes, takes_volume_key
from unspoken.launch.sagemaker.submit import prepare


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"role": ""}, "role: found nothing; needed: it for every job; see docs/sagemaker.md"),
        ({"role": "unspoken"}, "role: found 'unspoken'; needed: a role's ARN"),
        ({"role": "arn:aws:iam::111122223333:user/me"}, "such as arn:aws:iam::111122223333:role/"),
        (
            {"bucket": "s3://b"},
            "bucket: found 's3://b'; needed: a bucket's bare name, without s3://",
        ),
        ({"bucket": "a..b"}, "bucket: found 'a..b'"),
        ({"bucket": "Mine"}, "folders: 3 to 63 small letters, digits, - and ."),
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
        ({"subnets": "subnet-1"}, "subnets: found 'subnet-1'; needed: a list"),
        ({"subnets": ["subnet_1"], "security_groups": ["sg-1"]}, "subnets: found 'subnet_1'"),
        ({"subnets": ["a"] * 17, "security_groups": ["b"]}, "subnets: found 17; needed: at most"),
        ({"security_groups": ["s" * 33]}, "security_groups: found 'sss"),
        ({"instance_count": "two"}, "instance_count: found 'two'; needed: a whole number"),
        ({"instance_count": 1.5}, "instance_count: found 1.5; needed: a whole number"),
        ({"spot": "perhaps"}, "spot: found 'perhaps'; needed: true or false"),
        ({"region": 3}, "region: found 3; needed: text"),
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"region": "Frankfurt"}, "region: found 'Frankfurt'; needed: the name of a region, such"),
        ({"region": "eu-central-1a"}, "region: found 'eu-central-1a'; needed: the name of a"),
        (
            {"region": "cn-north-1"},
            f"role: found {ROLE}, and the job would run in cn-north-1; needed: one that begins "
            "with arn:aws-cn:; correct it, or region",
        ),
        ({"role": ROLE.replace("aws", "aws-us-gov")}, "needed: one that begins with arn:aws:; "),
        (
            {"region": "eu-west-1", "kms_key": KEY},
            f"kms_key: found {KEY}, and the job would run in eu-west-1; needed: a key of the "
            "job's region; choose another key, or region=us-east-1",
        ),
    ],
)
def test_role_and_key_belong_to_the_region(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        prepare(write_recipe(tmp_path), (), settings(**changes))
    assert message in str(caught.value)


def test_a_region_of_the_environment_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "Frankfurt")
    with pytest.raises(RecipeError, match=r"region: found 'Frankfurt', from AWS_REGION, AWS_"):
        find_region()
    for region in ("us-east-1", "us-gov-west-1", "ap-southeast-7", "eusc-de-east-1"):
        assert find_region(region) == region


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
