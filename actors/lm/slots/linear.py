"""Linear layers with LoRA weights for many adapters at once.

An adapter's update of a layer is `scale * B @ A @ x`. Layers that read the same x (query, key and
value; gate and up) are siblings: one `Shrink` holds the A of all of them and multiplies x once.
Weights of a lower rank than the bank's are padded with zeros, which add nothing.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actors.lm.slots.routing import Router, Routing, routed_product


class Shrink:
    """x @ A of M sibling layers, for S slots of rank r."""

    def __init__(self, like: nn.Linear, *, capacity: int, rank: int) -> None:
        self.A = like.weight.new_zeros(capacity, 0, rank, like.in_features)  # [S, M, r, in]
        self._x: Tensor | None = None
        self._routing: Routing | None = None
        self._hidden: Tensor | None = None
        self._asked: set[int] = set()

    def join(self) -> int:
        """Make place for one more sibling; returns its number."""
        self.A = F.pad(self.A, (0, 0, 0, 0, 0, 1))
        return self.A.shape[1] - 1

    def resize(self, capacity: int, rank: int) -> None:
        """Make room for more slots or a higher rank; what is loaded stays."""
        slots, _, old_rank, _ = self.A.shape
        self.A = F.pad(self.A, (0, 0, 0, rank - old_rank, 0, 0, 0, capacity - slots))

    def move(self, device: torch.device) -> None:
        """Take the slots' weights to another device."""
        self.A = self.A.to(device)

    def hidden(self, x: Tensor, member: int, routing: Routing) -> Tensor:
        """One sibling's hidden values, [N, in] -> [N, r]; base tokens are left out.

        The product is computed when the first sibling asks and let go when the last one has.
        """
        _, members, rank, _ = self.A.shape
        same = self._x is x and self._routing is routing and member not in self._asked
        if not same:
            rows = x.reshape(-1, x.shape[-1])[routing.base_tokens :]
            self._x, self._routing, self._asked = x, routing, set()
            self._hidden = routed_product(rows, self.A.flatten(1, 2).mT, routing)
        hidden = self._hidden
        assert hidden is not None
        self._asked.add(member)
        if len(self._asked) == members:
            self._x = self._routing = self._hidden = None
        return hidden[:, member * rank : (member + 1) * rank]


class SlotLinear(nn.Module):
    """A frozen linear layer and the LoRA weights of S slots for it."""

    def __init__(self, base: nn.Linear, shrink: Shrink, router: Router) -> None:
        super().__init__()
        self.base, self.shrink, self.member = base, shrink, shrink.join()
        self._router = router
        slots, _, rank, _ = shrink.A.shape
        self.B = base.weight.new_zeros(slots, rank, base.out_features)  # [S, r, out], scaled

    def resize(self, capacity: int, rank: int) -> None:
        """Make room for more slots or a higher rank; what is loaded stays."""
        slots, old_rank, _ = self.B.shape
        self.B = F.pad(self.B, (0, 0, 0, rank - old_rank, 0, capacity - slots))

    def move(self, device: torch.device) -> None:
        """Take the slots' weights to another device; the base's are moved with their model."""
        self.B = self.B.to(device)

    @torch.no_grad()
    def fill(self, slot: int, a: Tensor, b: Tensor, scale: float) -> None:
        """Put one adapter's weights, a [r', in] and b [out, r'], into an empty slot."""
        rank = a.shape[0]
        self.shrink.A[slot, self.member, :rank] = a
        exact = torch.promote_types(b.dtype, self.B.dtype)  # scaled before it is rounded
        self.B[slot, :rank] = b.T.to(exact) * scale

    @torch.no_grad()
    def clear(self, slot: int) -> None:
        """Empty a slot."""
        self.shrink.A[slot, self.member] = 0
        self.B[slot] = 0

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]; tokens sorted as the routing says, whatever their shape."""
        y = self.base(x)
        routing = self._router.routing
        if routing is None:
            return y
        if x.shape[:-1].numel() != routing.tokens:
            raise ValueError(f"slot layer got {tuple(x.shape)}, expected {routing.tokens} tokens")
        hidden = self.shrink.hidden(x, self.member, routing)
        update = routed_product(hidden, self.B, routing)
        y.view(-1, y.shape[-1])[routing.base_tokens :].add_(update)
        return y
