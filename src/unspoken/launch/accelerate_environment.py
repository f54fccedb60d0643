"""What `accelerate launch --config_file FILE` would put into the environment of its processes.

SLURM jobs and SageMaker's containers start torchrun, which knows how many hosts and GPUs there are;
DDP, FSDP2 or DeepSpeed comes from these variables alone.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

from unspoken.common.errors import RecipeError, SettingError

_PREFIXES = ("ACCELERATE_", "FSDP_")


def environment(config_file: Path) -> dict[str, str]:
    """The variables by name, without those that say where processes run.

    Args:
        config_file: as `accelerate config` writes them, such as configs/fsdp2.yaml. Its numbers of
            machines and processes do not count.

    Raises:
        RecipeError: there is no such file, or Accelerate cannot use it.
    """
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    if not config_file.is_file():
        raise SettingError(
            "config_file",
            found=f"no file {config_file}",
            needed="a configuration of accelerate's, such as configs/fsdp2.yaml",
            remedy="give its path",
        )
    arguments = launch_command_parser().parse_args(
        ["--config_file", str(config_file), "--num_machines", "1", "--num_processes", "2", "-m", ""]
    )
    own = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_PREFIXES)}
    try:  # without what this shell happens to have; what it assumes for processes is no matter
        with contextlib.redirect_stdout(io.StringIO()):
            checked: Any = _validate_launch_command(arguments)
            arguments, defaults, _ = checked
            arguments.main_process_port = 0
            if arguments.use_deepspeed:
                fields = ",".join(defaults.deepspeed_config)
                arguments.deepspeed_fields_from_accelerate_config = fields
                _, variables = prepare_deepspeed_cmd_env(arguments)
            else:
                variables = prepare_multi_gpu_env(arguments)
    except Exception as error:  # of any kind: it reads a file of the user's
        reason = " ".join(str(error).split())
        raise RecipeError(
            f"{config_file}: accelerate cannot use it ({reason}); mend it, or take one of configs/"
        ) from error
    finally:
        os.environ.update(own)
    return {
        name: variables[name]
        for name in sorted(variables)
        if name.startswith(_PREFIXES) and "DYNAMO" not in name
    }
