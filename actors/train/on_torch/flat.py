"""The trained weights as one vector.

The parameters of a LoRA model are many and small. As views of one vector they are all-reduced,
clipped and stepped by one call each instead of one per tensor.
"""

from collections.abc import Iterable

import torch

from configs.base import digest


class FlatParameters:
    """Moves parameters into one vector and their gradients into another; both stay views."""

    def __init__(self, named: Iterable[tuple[str, torch.nn.Parameter]]) -> None:
        parameters = dict(named)
        values = torch.cat([p.detach().flatten() for p in parameters.values()])
        self.grads = torch.zeros_like(values)
        start = 0
        for parameter in parameters.values():
            end = start + parameter.numel()
            parameter.data = values[start:end].view_as(parameter)
            parameter.grad = self.grads[start:end].view_as(parameter)
            start = end
        self.vector = torch.nn.Parameter(values)
        self.vector.grad = self.grads
        # Names which slice is whose: a saved vector only fits the same layout.
        self.layout = digest([[name, list(p.shape)] for name, p in parameters.items()])
