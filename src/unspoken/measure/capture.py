"""A decoding step without Python in between: a CUDA graph, or on a CPU the list of its products.

Both replay what was recorded, on the same tensors. A small model spends most of a step in Python;
a large one on a CPU gains nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def record_operations(
    function: Callable[..., torch.Tensor], *inputs: torch.Tensor
) -> Callable[..., torch.Tensor]:
    """The same function of the same shapes, as a list of torch operations.

    Weights and whatever else the function refers to stay the same tensors, so what is written to
    them later counts.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    module = make_fx(lambda *values: function(*values))(*inputs)  # noqa: PLW0108 (counts `self`)
    graph = module.graph
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    held: dict[str, Any] = {}  # as arguments they are looked up faster than as attributes
    for node in list(graph.nodes):
        if node.op != "get_attr":
            continue
        name = str(node.target)
        if name not in held:
            with graph.inserting_after(last):
                last = held[name] = graph.placeholder(f"held_{name}")
        node.replace_all_uses_with(held[name])
        graph.erase_node(node)
    tensors = [getattr(module, name) for name in held]
    module.recompile()
    forward: Any = module.forward
    return lambda *values: forward(*values, *tensors)


def record_cuda_graph(step: Callable[[], None]) -> Callable[[], None]:
    """A function that repeats on the GPU what `step` did there, with one launch.

    Args:
        step: reads and writes tensors that stay where they are, and never waits for the GPU. It is
            run twice before: that loads kernels and finds out workspaces.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    return graph.replay
