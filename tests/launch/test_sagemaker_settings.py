"""What of a job SageMaker would refuse, and what follows from its instance type."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.sagemaker import settings
from unspoken.common.errors import RecipeError
from unspoken.launch.sagemaker.image import has_gpu, image_uri, num_processes, takes_volume_key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"role": ""}, "role: found nothing; needed: it for every job; see docs/sagemaker.md"),
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
