"""The shipped configurations of accelerate, as `accelerate launch --config_file` reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

CONFIGS = Path(__file__).parents[1] / "configs"
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


def test_fsdp2_asks_for_what_tacit_understands() -> None:
    """As the environment of the processes that accelerate starts."""
    arguments = launch_command_parser().parse_args(
        ["--config_file", str(CONFIGS / "fsdp2.yaml"), "--main_process_port", "0", "train.py"]
    )
    arguments, _, _ = _validate_launch_command(arguments)
    environment = prepare_multi_gpu_env(arguments)
    assert environment["ACCELERATE_USE_FSDP"] == "true"
    assert environment["FSDP_VERSION"] == "2"
    assert environment["FSDP_AUTO_WRAP_POLICY"] == "TRANSFORMER_BASED_WRAP"
    assert environment["FSDP_OFFLOAD_PARAMS"] == "false"
