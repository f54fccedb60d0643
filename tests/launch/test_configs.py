"""The shipped configurations of accelerate, as `accelerate launch --config_file` reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from helpers.paths import CONFIGS
from unspoken.common.errors import RecipeError
from unspoken.launch.accelerate_environment import environment

FILES = sorted(CONFIGS.glob("*.yaml"))


def test_the_configs_are_there() -> None:
    assert [file.stem for file in FILES] == ["ddp", "fsdp2", "single", "zero2", "zero3"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_accelerate_reads_every_config(file: Path) -> None:
    config = load_config_from_file(str(file))
    kind = file.stem.rstrip("23")
    expected = {"ddp": "MULTI_GPU", "fsdp": "FSDP", "single": "NO", "zero": "DEEPSPEED"}
    assert config.distributed_type == expected[kind]
    if kind == "zero":
        assert config.deepspeed_config["zero_stage"] == int(file.stem[-1])
    assert config.compute_environment == "LOCAL_MACHINE"
    assert config.num_processes == (1 if file.stem == "single" else 4)


def test_ddp_is_the_seeds() -> None:
    config = load_config_from_file(str(CONFIGS / "ddp.yaml"))
    assert (config.gpu_ids, config.num_processes, config.mixed_precision) == ("all", 4, "fp16")


def test_accelerates_environment_is_known_without_its_launcher() -> None:
    """What torchrun's processes need, on SLURM and SageMaker."""
    assert environment(CONFIGS / "ddp.yaml") == {"ACCELERATE_MIXED_PRECISION": "fp16"}
    fsdp2 = environment(CONFIGS / "fsdp2.yaml")
    assert fsdp2["ACCELERATE_USE_FSDP"] == "true"
    assert fsdp2["FSDP_VERSION"] == "2"
    assert fsdp2["FSDP_AUTO_WRAP_POLICY"] == "TRANSFORMER_BASED_WRAP"
    assert fsdp2["FSDP_OFFLOAD_PARAMS"] == "false"
    for stage in ("2", "3"):
        zero = environment(CONFIGS / f"zero{stage}.yaml")
        assert zero["ACCELERATE_USE_DEEPSPEED"] == "true"
        assert zero["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == stage


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "config_file: found no file .*needed: a configuration of accelerate's"),
        ("distributed_type: [", "bad.yaml: accelerate cannot use it .*mend it"),
        ("name: recipe", "bad.yaml: accelerate cannot use it .*distributed_type"),
    ],
)
def test_a_configuration_that_accelerate_cannot_read_is_named(
    tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        environment(tmp_path / "bad.yaml")
