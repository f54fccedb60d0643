"""Names that other programs have for what a recipe sets, and what says it here.

Of the paper's own code, of transformers and trl, and of PEFT. docs/other-programs.md has the same
names with what differs, and a test holds the two together.
"""

from __future__ import annotations

from typing import NamedTuple


class Counterpart(NamedTuple):
    """What says the same here as a setting of another program.

    Attributes:
        key: of a recipe; empty: no setting does.
        value: that the other name stands for; empty: its own.
        note: what differs, or what does it in place of a setting; empty: nothing.
    """

    key: str = ""
    value: str = ""
    note: str = ""

    def as_key(self) -> str:
        """Key and value as a recipe's override: `train.epochs`, `train.precision=bf16`."""
        return f"{self.key}={self.value}" if self.value else self.key

    @property
    def remark(self) -> str:
        """The note as it stands behind what is meant: " (null for inf)"; empty without one."""
        return f" ({self.note})" if self.note else ""


_WHOLE_BATCH = "train.batch_size counts the examples of a whole step"
_NOT_CUT = "longer examples are dropped, not cut"
_IN_STEPS = "in optimizer steps"
_LEARNED = "only thought and answer are learned, always"
_OF_BEST = "the best model by validation is the final one, always"
_OF_SHARING = "configs/ has what accelerate launch --config_file takes"

COUNTERPARTS = {
    # the paper's code
    "train_path": Counterpart("data.train"),
    "val_path": Counterpart("data.valid"),
    "test_path": Counterpart("data.test"),
    "remove_per_epoch": Counterpart("schedule.delta"),
    "removal_smoothing_lambda": Counterpart("schedule.smoothing", note="null for inf"),
    "remove_all_when_remove_beyond": Counterpart(
        "schedule.remove_all_beyond", note="left out for inf"
    ),
    "remove_start_from": Counterpart("schedule.start"),
    "removal_side": Counterpart("schedule.side"),
    "pretrain_epoch": Counterpart("schedule.warmup_steps", note=_IN_STEPS),
    "pretrain_epochs": Counterpart("schedule.warmup_steps", note=_IN_STEPS),
    "truncation": Counterpart("data.max_length", note=_NOT_CUT),
    "max_len_train": Counterpart("data.max_length", note="of whole examples"),
    "max_size": Counterpart(note="the first lines of a file are a file of their own: head -n N"),
    "accumulate": Counterpart("train.micro_batch_size", note=_WHOLE_BATCH),
    "keep_position": Counterpart("schedule.positions", "gap"),
    "save_model": Counterpart("output"),
    "model": Counterpart("model.name"),
    "from_pretrained": Counterpart("model.name"),
    "reinitialize_weights": Counterpart(
        "model.config", note="in place of model.name: a model from scratch"
    ),
    # transformers, trl and PEFT
    "model_name_or_path": Counterpart("model.name"),
    "dataset_name": Counterpart("data.train", note="a file; unspoken data questions makes one"),
    "train_file": Counterpart("data.train"),
    "validation_file": Counterpart("data.valid"),
    "test_file": Counterpart("data.test"),
    "output_dir": Counterpart("output"),
    "run_name": Counterpart("name"),
    "num_train_epochs": Counterpart("train.epochs"),
    "per_device_train_batch_size": Counterpart("train.micro_batch_size", note=_WHOLE_BATCH),
    "gradient_accumulation_steps": Counterpart("train.micro_batch_size", note=_WHOLE_BATCH),
    "per_device_eval_batch_size": Counterpart("evaluate.batch_size"),
    "lr": Counterpart("train.learning_rate"),
    "lr_scheduler_type": Counterpart("train.lr_schedule"),
    "warmup_ratio": Counterpart("train.warmup_steps", note="below 1: the share of all steps"),
    "max_seq_length": Counterpart("data.max_length", note=_NOT_CUT),
    "packing": Counterpart(note="nothing is packed; batches are of examples of like length"),
    "completion_only_loss": Counterpart(note=_LEARNED),
    "assistant_only_loss": Counterpart(note=_LEARNED),
    "optim": Counterpart("train.optimizer"),
    "adam_beta1": Counterpart("train.betas", note="both: [0.9,0.999]"),
    "adam_beta2": Counterpart("train.betas", note="both: [0.9,0.999]"),
    "fp16": Counterpart("train.precision", "fp16"),
    "bf16": Counterpart("train.precision", "bf16"),
    "torch_dtype": Counterpart("train.precision", note="of the arithmetic; weights are fp32"),
    "tf32": Counterpart(note="fp32 is fp32 here; train.precision=bf16 is there wherever tf32 is"),
    "eval_steps": Counterpart("train.evaluate_every"),
    "eval_strategy": Counterpart("train.evaluate_every", note=_IN_STEPS),
    "logging_steps": Counterpart("train.log_every"),
    "save_steps": Counterpart("train.checkpoint_every"),
    "save_total_limit": Counterpart("train.keep_checkpoints"),
    "load_best_model_at_end": Counterpart(note=_OF_BEST),
    "report_to": Counterpart("train.trackers"),
    "push_to_hub": Counterpart(note="nothing is uploaded; unspoken export writes a folder for it"),
    "deepspeed": Counterpart(note=_OF_SHARING),
    "fsdp": Counterpart(note=_OF_SHARING),
    "load_in_4bit": Counterpart("model.quantization", "nf4"),
    "use_peft": Counterpart("lora", "{}"),
    "rank": Counterpart("lora.r"),
    "lora_r": Counterpart("lora.r"),
    "lora_alpha": Counterpart("lora.alpha"),
    "lora_dropout": Counterpart("lora.dropout"),
    "lora_target_modules": Counterpart("lora.target_modules"),
}
