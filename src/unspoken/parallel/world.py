"""What a launcher started: how many processes, how they work together, whether a recipe fits them.

`accelerate launch` and torchrun say it in environment variables. They are read here, but for the
launcher's precision (`precision.py`), and what cannot work is refused before anything begins.
Importing this module does not import torch.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from unspoken.common.errors import RecipeError, setting, shorten
from unspoken.recipe import Recipe, Train
from unspoken.recipe.plan import plan

if TYPE_CHECKING:
    from accelerate import PartialState

Way = Literal["ddp", "fsdp2", "zero"]

#: What a process needs to find the others.
_OF_LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")


@dataclass(frozen=True)
class World:
    """This process among those that a launcher started; without one it is alone.

    Attributes:
        rank: number of this process, over all hosts.
        size: how many processes there are, on all hosts.
        local_size: how many there are on this host.
        host: number of this host.
        is_launched: whether torchrun (or `accelerate launch`, which calls it) watches over it.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1
    host: int = 0
    is_launched: bool = False

    @property
    def is_main(self) -> bool:
        """Whether this is the process that talks and writes."""
        return self.rank == 0


def read_world(environment: Mapping[str, str] = os.environ) -> World:
    """What torchrun's variables say of this process; those that are no number say nothing."""
    given = {name: value for name, value in environment.items() if value.isdecimal()}
    return World(
        rank=int(given.get("RANK", 0)),
        size=int(given.get("WORLD_SIZE", 1)),
        local_size=int(given.get("LOCAL_WORLD_SIZE", 1)),
        host=int(given.get("GROUP_RANK", 0)),
        is_launched="TORCHELASTIC_RUN_ID" in environment,
    )


def is_main_process() -> bool:
    """Whether this is the one of several processes that talks and writes."""
    return read_world().is_main


def read_way(environment: Mapping[str, str] | None = None) -> Way:
    """How the launcher wants the processes to work together.

    Args:
        environment: of the processes where they run elsewhere; default this process' own.

    Raises:
        RecipeError: in a way that does not work here; the message says which does.
    """
    elsewhere = environment is not None
    environment = os.environ if environment is None else environment
    if is_set("ACCELERATE_USE_DEEPSPEED", environment):
        if not elsewhere and importlib.util.find_spec("deepspeed") is None:
            raise RecipeError(
                "accelerate's configuration: asks for DeepSpeed, which is not installed; "
                "pip install 'unspoken[deepspeed]', or use configs/fsdp2.yaml, which needs nothing"
            )
        return "zero"
    if not is_set("ACCELERATE_USE_FSDP", environment):
        return "ddp"
    version = environment.get("FSDP_VERSION", "1")
    if version != "2":
        raise RecipeError(
            f"accelerate's configuration: found fsdp_version {version}; needed: 2; set it, or use "
            "configs/fsdp2.yaml"
        )
    return "fsdp2"


def is_set(name: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a variable of the environment says yes."""
    return environment.get(name, "false").lower() in ("1", "true", "yes")


def _require_whole_world() -> None:
    """Refuses some of a launcher's variables without the rest, such as a job's shell may have."""
    for name in _NUMBERS:
        value = os.environ.get(name)
        if value and not value.isdecimal():
            raise RecipeError(
                f"environment: {name}: found {shorten(value)}; needed: a whole number, as torchrun "
                "sets it; unset it"
            )
    world = read_world()
    missing = [name for name in _OF_LAUNCHERS if not os.environ.get(name)]
    is_launched = world.size > 1 or world.rank > 0 or "LOCAL_RANK" in os.environ
    if is_launched and missing:
        there = ", ".join(name for name in _OF_LAUNCHERS if name not in missing)
        raise RecipeError(
            f"environment: found {there} without {', '.join(missing)}; needed: all of a launcher's "
            f"variables, or none; start it with torchrun or accelerate launch, or unset {there}"
        )


def join_processes() -> PartialState:
    """Accelerate's PartialState, once all processes of the launcher are there; or this one alone.

    Raises:
        RecipeError: there are more processes on this machine than GPUs, or only one for a way
            that needs a group, or some of the launcher's variables are missing.
    """
    import torch
    from accelerate import PartialState

    _require_whole_world()
    here, num_gpus = read_world().local_size, torch.cuda.device_count()
    if here > num_gpus > 0:
        raise RecipeError(
            f"found {here} processes on a machine with {num_gpus} GPUs; needed: one for each; give "
            f"--num_processes {num_gpus} to accelerate launch, or --nproc_per_node to torchrun"
        )
    # one process makes data and asks questions while the others wait in a collective
    process = PartialState(cpu=num_gpus == 0, timeout=datetime.timedelta(hours=24))
    if (way := read_way()) != "ddp" and not torch.distributed.is_initialized():
        raise RecipeError(
            f"accelerate's configuration: asks for {way}, but this process is alone; needed: "
            "accelerate launch with --num_processes 2 or more, or configs/single.yaml"
        )
    return process


def join_other_processes() -> PartialState | None:
    """Accelerate's PartialState where a launcher started several processes; None for one alone."""
    _require_whole_world()
    return join_processes() if read_world().size > 1 else None


def leave_processes(process: PartialState) -> None:
    """Waits for all and ends their group; one that ended earlier would tear the others down."""
    process.wait_for_everyone()
    process.destroy_process_group()


def require_batches(
    train: Train, num_processes: int, place: str = "train", given: str = ""
) -> None:
    """Refuses a batch size that is no multiple of the processes.

    Args:
        train: of one training.
        num_processes: that train together, on all hosts.
        place: of the section in the user's recipe.
        given: flags that make so many, for the message.
    """
    size = train.batch_size
    if size % num_processes:
        raise RecipeError(
            f"{place}.batch_size: found {size}; it must be a multiple of the {num_processes} "
            f"processes{given and f' ({given})'}; set it to "
            f"{size - size % num_processes or num_processes}"
        )


def require_way(
    recipe: Recipe, place: str = "train", environment: Mapping[str, str] | None = None
) -> None:
    """Refuses what has not been tried the way that the launcher asks for, with what has.

    Args:
        recipe: of one training.
        place: of its section `train` in the user's recipe.
        environment: as in `read_way`.
    """
    way, train = read_way(environment), recipe.train
    if way == "ddp":
        return
    advice = "or start with configs/ddp.yaml"
    if recipe.model.quantization is not None:
        raise RecipeError(
            f"{setting('model.quantization')}: found {recipe.model.quantization} under {way}, "
            f"which shares out weights of ordinary types only; set "
            f"{setting('model.quantization', 'null')}, {advice}"
        )
    if train.optimizer.endswith("8bit"):
        raise RecipeError(
            f"{setting(f'{place}.optimizer')}: found {train.optimizer} under {way}, which shares "
            f"out the state of torch's optimizers only; set "
            f"{setting(f'{place}.optimizer', 'adamw')}, {advice}"
        )
    if train.optimizer == "muon":
        raise RecipeError(
            f"{setting(f'{place}.optimizer')}: found muon under {way}; it needs each matrix whole, "
            f"and {way} shares matrices out; set "
            f"{setting(f'{place}.optimizer', 'adamw')}, {advice}"
        )
    if train.precision == "fp16":
        raise RecipeError(
            f"{setting(f'{place}.precision')}: found fp16 under {way}, whose loss scaling "
            f"unspoken does not know; set "
            f"{setting(f'{place}.precision', 'bf16')}, {advice}"
        )
    if train.compile:
        raise RecipeError(
            f"{setting(f'{place}.compile')}: found it under {way}, where it was never "
            f"tried; leave it out, {advice}"
        )


def require_processes(
    recipe: Recipe,
    num_processes: int,
    *,
    given: str = "",
    environment: Mapping[str, str] | None = None,
) -> None:
    """Checks that a recipe can be trained by so many processes, before a teacher writes for hours.

    Args:
        recipe: the whole one.
        num_processes: that train together, on all hosts.
        given: flags that make so many, for the message.
        environment: of the processes where they run elsewhere; default this process' own.

    Raises:
        RecipeError: the message has the setting, and what to set it to.
    """
    for training in plan(recipe).trainings:
        require_way(training.recipe, training.section, environment)
        section = training.section_of("batch_size")
        require_batches(training.recipe.train, num_processes, section, given)
