"""AttentionModule: which dimensions of a frontal embedding the profile has to match."""

from torch import Tensor, nn


class AttentionModule(nn.Module):
    """AM of eq. (2): frontal embeddings (N, D) -> weights (N, D) in (0, 1).

    Args:
        dimension: D of the embeddings.
        squeeze: None for Linear, Sigmoid; a number r for squeeze-excite, Linear to D / r, ReLU, Linear, Sigmoid.
        bias: start of the last layer's bias. At 4 the weights start about 0.98.

    Source: Stanishev et al. (2025), 3.2: an "attention layer" that "takes extracted frontal features as input and
    generates a weight vector". Squeeze-excite: Hu, Shen, Sun (CVPR 2018), section 3.

    Deviations:
        The paper does not print the layer. The bias is our addition: a start at 0.5 would halve the target of eq. (2).
    """

    def __init__(self, dimension: int, *, squeeze: int | None = None, bias: float = 4.0) -> None:
        super().__init__()
        inner = dimension if squeeze is None else max(dimension // squeeze, 1)
        last = nn.Linear(inner, dimension)
        nn.init.constant_(last.bias, bias)
        before = [] if squeeze is None else [nn.Linear(dimension, inner), nn.ReLU()]
        self.layers = nn.Sequential(*before, last, nn.Sigmoid())

    def forward(self, embedding: Tensor) -> Tensor:  # noqa: D102
        return self.layers(embedding)
