"""What launch/ takes of others' insides is still there; docs/upstream.md says why it does."""

from __future__ import annotations

import inspect

from torch.distributed.elastic.multiprocessing import api


def test_torchruns_processes_can_be_given_longer_to_end() -> None:
    """`unspoken.launch.torchrun` puts its own `close` in place of this one."""
    assert list(inspect.signature(api.PContext.close).parameters) == [
        "self", "death_sig", "timeout"
    ]  # fmt: skip
    source = inspect.getsource(api.SubprocessContext)
    assert "self.subprocess_handlers" in source
    assert "proc" in inspect.getsource(api.SubprocessHandler.__init__)


def test_accelerate_checks_arguments_as_its_launcher_does() -> None:
    """`unspoken.launch.accelerate_environment` asks what `accelerate launch` would export."""
    from accelerate.commands import launch
    from accelerate.utils import launch as environments

    assert list(inspect.signature(launch._validate_launch_command).parameters) == ["args"]
    arguments = launch.launch_command_parser().parse_args(["--num_processes", "2", "-m", ""])
    checked = launch._validate_launch_command(arguments)
    assert len(checked) == 3
    for name in ("prepare_deepspeed_cmd_env", "prepare_multi_gpu_env"):
        assert list(inspect.signature(getattr(environments, name)).parameters) == ["args"]
