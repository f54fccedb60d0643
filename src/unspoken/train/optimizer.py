"""The optimizer that a recipe names, such as AdamW, over the weights that are trained."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch

from unspoken.common.errors import setting
from unspoken.common.machine import cpu_has_bfloat16
from unspoken.models.quantization import require_bitsandbytes
from unspoken.recipe import Recipe, Train

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def make_optimizer(model: PreTrainedModel | PeftModel, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW with fp32 state, unless the recipe says otherwise; biases and norms do not decay."""
    settings = recipe.train
    if settings.optimizer == "muon":
        return MuonAndAdamW(model, recipe)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = _groups(trained, settings.weight_decay)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.betas[0])
    arguments: dict[str, Any] = {"lr": settings.learning_rate, "betas": settings.betas}
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, **arguments, fused=True)
    require_optimizer(settings)
    import bitsandbytes

    paged = settings.optimizer == "paged_adamw_8bit"
    kind = bitsandbytes.optim.PagedAdamW8bit if paged else bitsandbytes.optim.AdamW8bit
    return kind(groups, **arguments)


def require_optimizer(train: Train, place: str = "train") -> None:
    """Refuses an optimizer whose library is not installed.

    Args:
        train: the section.
        place: of it in the recipe.
    """
    name = f"{place}.optimizer"
    if train.optimizer.endswith("8bit"):
        require_bitsandbytes(name, train.optimizer, f"set {setting(name, 'adamw')}")


def _groups(parameters: list[torch.nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Weights that decay, and biases and norms, which do not."""
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon for the matrices between embedding and output, AdamW for every other weight.

    Muon makes each update of a matrix orthogonal, with all singular values near 1, by Newton and
    Schulz's iteration (https://kellerjordan.github.io/posts/muon/). Both take the recipe's learning
    rate: an update of a matrix has the root mean square of one of AdamW's (arXiv 2502.16982).
    Weights that are no matrix, several in one tensor (experts), and tables, whose rows are used one
    by one (embeddings, decay rates of a state space, biases of experts), have no singular values
    that mean anything. The iteration is torch's, in bf16; on a processor without it in fp32.

    `param_groups`, `state` and `state_dict` are those of one optimizer; a group whose matrices
    Muon updates has a `momentum`.

    Args:
        model: its weights that are trained.
        recipe: its section `train` has learning_rate, weight_decay and betas (AdamW's).
    """

    def __init__(self, model: PreTrainedModel | PeftModel, recipe: Recipe) -> None:
        settings = recipe.train
        matrices, others = _matrices_and_others(model)
        self._muon = torch.optim.Muon(
            matrices,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        self._adamw = torch.optim.AdamW(
            _groups(others, settings.weight_decay),
            lr=settings.learning_rate,
            betas=settings.betas,
            fused=True,
        )
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})
        on_cpu = all(matrix.device.type == "cpu" for matrix in matrices)
        self._is_half_slow = on_cpu and not cpu_has_bfloat16()
        self._share()

    def _share(self) -> None:
        """Makes both work on the groups and the state of this one."""
        for one in (self._muon, self._adamw):
            one.state = self.state
        self._muon.param_groups = [group for group in self.param_groups if "momentum" in group]
        self._adamw.param_groups = [group for group in self.param_groups if "betas" in group]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes over groups and state; `load_state_dict` ends here."""
        super().__setstate__(state)
        self._share()

    def step(self, closure: Any = None) -> Any:
        """One update of all weights that have a gradient.

        Args:
            closure: computes the loss again, with gradients; None: they are there.

        Returns:
            What `closure` returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._is_half_slow:
            step_in_fp32(self._muon)
        else:
            self._muon.step()
        self._adamw.step()
        return loss


@torch.no_grad()
def step_in_fp32(muon: torch.optim.Muon) -> None:
    """One update as `muon.step()` makes it, whose products are in fp32 in place of bf16.

    A processor that does not multiply in bf16 by itself emulates it: the eight matrices of a GPT-2
    of two layers and width 128 take 430 ms on one thread of an AMD EPYC without it, in fp32 17 ms.

    Args:
        muon: torch's, with `adjust_lr_fn="match_rms_adamw"`; its state is the same either way.
    """
    for group in muon.param_groups:
        for weight in (weight for weight in group["params"] if weight.grad is not None):
            state, gradient = muon.state[weight], weight.grad
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
            average = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
            update = gradient.lerp(average, group["momentum"]) if group["nesterov"] else average
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            rate = group["lr"] * 0.2 * math.sqrt(max(weight.shape))
            weight.add_(_nearly_orthogonal(update.float(), group), alpha=-rate)


def _nearly_orthogonal(matrix: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
    """The matrix with all singular values near 1, by the iteration that Muon's group describes."""
    a, b, c = group["ns_coefficients"]
    is_tall = matrix.shape[0] > matrix.shape[1]
    near = matrix.T if is_tall else matrix
    near = near / near.norm().clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = near @ near.T
        near = torch.addmm(near, torch.addmm(gram, gram, gram, beta=b, alpha=c), near, beta=a)
    return near.T if is_tall else near


def _matrices_and_others(
    model: PreTrainedModel | PeftModel,
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """The trained weights that Muon is made for, and the rest."""
    tables = {
        id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)
    }
    output = cast("Any", model).get_output_embeddings()
    if output is not None:
        tables.add(id(output.weight))
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    # what modules multiply by is called weight; A_log of Mamba and biases of experts are tables
    matrices = {
        name: p
        for name, p in trained.items()
        if p.ndim == 2 and name.endswith("weight") and id(p) not in tables
    }
    return list(matrices.values()), [p for name, p in trained.items() if name not in matrices]
