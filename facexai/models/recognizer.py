"""FaceRecognizer: trunk, head and, for explanations, a decoder.

Source: DDFV paper, Fig. 1: the recognition flow is `embed`, the explanation flow is `reconstruct(features(images))`.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.models.preprocessing import Preprocessing
from facexai.models.xcos import XCosHead


class FaceRecognizer(nn.Module):
    """A face recognition network that shows its last feature map.

    Args:
        trunk: images (N, 3, H, W), preprocessed -> features (N, C, h, w).
        head: features -> pooled (N, D); None for a network that shows no features: its trunk gives embeddings.
        decoder: features -> images, for reconstruction-based explanations; None where there is none.
        input_size: (H, W) in pixels.
        preprocessing: from RGB in [-1, 1] to what the trunk wants.
        dimension: D; where None, `head.dimension`.

    Attributes:
        published_names: prefixes of names in published weights that are called otherwise here; None: not needed here.
        xcos: head of the explainer `xcos`; None where there is none.
        name: what the model is called in reports.
        threshold: calibrated decision threshold on the score; None where nobody has calibrated it.
        card: the model card it was loaded with, the sha256 of a published file, {} for a fresh network.
        architecture: {"name", "options"}: what `models.build` needs to make it again.
    """

    def __init__(
        self,
        trunk: nn.Module,
        head: nn.Module | None,
        decoder: nn.Module | None = None,
        *,
        input_size: tuple[int, int] = (112, 112),
        preprocessing: Preprocessing = Preprocessing(),  # noqa: B008 - frozen
        dimension: int | None = None,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.decoder = decoder
        self.xcos: XCosHead | None = None
        self.input_size = input_size
        self.preprocessing = preprocessing
        self.published_names: dict[str, str | None] = {}
        self._dimension = dimension
        self.name = type(trunk).__name__
        self.threshold: float | None = None
        self.card: dict[str, Any] = {}
        self.architecture: dict[str, Any] = {}

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return int(self.head.dimension) if self._dimension is None else self._dimension  # type: ignore[union-attr, arg-type]

    @property
    def differentiable(self) -> bool:
        """Whether gradients reach the images; they do not in a network that torch does not run."""
        return bool(getattr(self.trunk, "differentiable", True))

    def preprocess(self, images: Tensor) -> Tensor:
        """What the trunk takes in place of aligned faces. (N, 3, H, W) in [-1, 1] -> (N, 3, H, W)."""
        if images.ndim != 4 or images.shape[1:] != (3, *self.input_size):
            height, width = self.input_size
            raise InputError(
                f"{self.name} takes aligned faces of shape (N, 3, {height}, {width}); got {tuple(images.shape)}. "
                "Use facexai.align_face."
            )
        return self.preprocessing(images)

    def features(self, images: Tensor) -> Tensor:
        """Last spatial map of aligned faces. (N, 3, H, W) in [-1, 1] -> (N, C, h, w)."""
        self.required_head()
        return self.trunk(self.preprocess(images))

    def pool(self, features: Tensor) -> Tensor:
        """Output of the head, before it is brought to unit length. (N, C, h, w) -> (N, D)."""
        return self.required_head()(features)

    def pooled(self, images: Tensor) -> Tensor:
        """Embeddings of aligned faces before they are brought to unit length. (N, 3, H, W) in [-1, 1] -> (N, D)."""
        if self.head is None:
            return first_output(self.trunk(self.preprocess(images)))
        return self.pool(self.features(images))

    def required_head(self) -> nn.Module:
        """The head, or `InputError` for a network that shows no features."""
        if self.head is None:
            raise InputError(
                f"{self.name} gives embeddings and no feature map; choose a method that needs none, such as rise, "
                "corr-rise, min-plus, lime or occlusion, or wrap the network with features=NAME"
            )
        return self.head

    def embed(self, images: Tensor, *, flip: bool = False) -> Tensor:
        """Embeddings of unit norm. (N, 3, H, W) -> (N, D).

        Args:
            images: aligned faces in [-1, 1].
            flip: add the head's output on the mirrored images before normalising (insightface's `verification.py`).
        """
        return F.normalize(self.unnormalized(images, flip=flip))

    def unnormalized(self, images: Tensor, *, flip: bool = False) -> Tensor:
        """Embeddings before they are brought to unit length, as templates sum them. (N, 3, H, W) -> (N, D)."""
        pooled = self.pooled(images)
        return pooled + self.pooled(images.flip(3)) if flip else pooled

    def reconstruct(self, features: Tensor) -> Tensor:
        """Faces from feature maps. (N, C, h, w) -> (N, 3, H, W)."""
        self.required_head()
        if self.decoder is None:
            raise InputError(
                f"{self.name} has no decoder; train one with `facexai train decoder`, or choose a model that has one."
            )
        return self.decoder(features)

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        return self.embed(images)


def first_output(output: Any) -> Any:
    """The first of several outputs; some networks give the length of the embedding, or logits, as well."""
    while isinstance(output, tuple | list) and output:
        output = output[0]
    return output
