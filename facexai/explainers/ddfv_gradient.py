"""DDFV with the pixels that the score answers to: evidence times the root of the gradient.

    H x sqrt |ds / dA|

Algorithm 1 says what speaks for and against the pair, in windows of 46 pixels; the gradient says which pixels the score
answers to, and not in which sense. The product has the sign of the one and the detail of the other. With the square
root the two count alike; without it the gradient, whose values spread further, would decide alone.

Source: ours, in the way of Guided Grad-CAM (Selvaraju et al., "Grad-CAM", ICCV 2017, section 3.3).
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from facexai.errors import InputError
from facexai.explainers.ddfv import DDFV
from facexai.explainers.gradients import Gradient
from facexai.explainers.interface import EXPLAINERS
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair, Saliency
from facexai.smoothing import gaussian_blur


@EXPLAINERS.register("ddfv-gradient")
@dataclass(frozen=True)
class DDFVGradient:
    """The map of `ddfv` times the square root of the magnitude of the gradient.

    Args:
        blur: standard deviation in pixels of the Gaussian blur of that magnitude.
        options: of `ddfv`.
    """

    blur: float = 2.0
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    unsigned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.blur >= 0:
            raise InputError(f"blur must be a number of pixels, 0 or more; got {self.blur}")
        DDFV(**self.options)

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Maps of both images, each with the sum of magnitudes that `ddfv` gives it."""
        evidence = DDFV(**self.options)(pair, model)
        detail = gaussian_blur(Gradient()(pair, model).signed, self.blur).sqrt()  # (2, H, W)
        signed = evidence.signed * detail
        before, after = (maps.abs().sum((1, 2), keepdim=True) for maps in (evidence.signed, signed))
        return replace(evidence, signed=signed * (before / after.clamp_min(1e-30)), method=repr(self))
