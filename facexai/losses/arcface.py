"""ArcFaceLoss: who is it? L_id of the DDFV paper, L_arcface of the FSPFM paper."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexai.errors import InputError


class ArcFaceLoss(nn.Module):
    """Additive angular margin loss: cross entropy of s cos(theta + m [target]) over the identities.

    Args:
        identities: number of identities K; the class matrix `weight` is (K, dimension).
        dimension: D of the embeddings.
        scale: s, the radius of the hypersphere.
        margin: m, in radians, added to the angle between an embedding and its own class centre.
        straight_through: let the gradient pass as if the margin were not there.
        seed: of the class matrix's start.

    Source: Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition" (CVPR 2019), eq. 3.

    Deviations:
        arcface_torch applies the margin under `no_grad`; its value is that of eq. 3, but the gradient of the target
        logit differs by sin(theta + m) / sin(theta). The exact gradient is the default, `straight_through=True` theirs.
        Beyond theta = pi - m, where cos(theta + m) would rise again, the target logit goes on as
        cos(theta) - m sin(m), as in the code of Deng et al.: still falling with theta.
    """

    def __init__(
        self,
        identities: int,
        dimension: int,
        *,
        scale: float = 64.0,
        margin: float = 0.5,
        straight_through: bool = False,
        seed: int = 42,
    ) -> None:
        super().__init__()
        self.scale, self.margin, self.straight_through = scale, margin, straight_through
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(identities, dimension, generator=generator) * 0.01)
        self.learns = True

    def freeze(self, centres: Tensor) -> None:
        """Take these class centres (K, D), of any length, and leave them as they are."""
        self.weight.data.copy_(F.normalize(centres))
        self.weight.requires_grad_(False)
        self.learns = False

    def cosines(self, embedding: Tensor) -> Tensor:
        """cos(theta) between embeddings and class centres, both brought to unit length. (N, D) -> (N, K).

        Under autocast the product alone is taken in half precision.
        """
        if embedding.ndim != 2 or embedding.shape[1] != self.weight.shape[1]:
            raise InputError(f"embeddings must be (N, {self.weight.shape[1]}); got {tuple(embedding.shape)}")
        centres = F.normalize(self.weight) if self.learns else self.weight
        cosine = F.linear(F.normalize(embedding), centres)
        return cosine if cosine.dtype == torch.float64 else cosine.float()

    def forward(self, embedding: Tensor, identity: Tensor) -> Tensor:
        """Mean loss. Embeddings (N, D) of any length, identities (N,) in [0, K)."""
        cosine = self.cosines(embedding)  # (N, K)
        target = cosine.gather(1, identity[:, None])  # (N, 1)
        logits = cosine.scatter(1, identity[:, None], self._with_margin(target))
        return F.cross_entropy(self.scale * logits, identity)

    def _with_margin(self, cosine: Tensor) -> Tensor:
        """cos(theta) -> cos(theta + m)."""
        clamped = cosine.clamp(-1 + 1e-6, 1 - 1e-6)  # the derivative of arccos is infinite at +-1
        shifted = torch.where(
            clamped > math.cos(math.pi - self.margin),
            torch.cos(torch.arccos(clamped) + self.margin),
            clamped - self.margin * math.sin(self.margin),
        )
        return cosine + (shifted - cosine).detach() if self.straight_through else shifted
