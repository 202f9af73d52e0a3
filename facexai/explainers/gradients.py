"""Gradients of the score with respect to the pixels, plain, smoothed by noise, or summed up along a path.

    gradient               |ds / dx|
    input x gradient       x ds / dx
    SmoothGrad             |mean of ds / dx over noisy copies of x|
    integrated gradients   (x - x') mean of ds / dx between the baseline x' and x

Each is taken for three colours. Magnitudes are brought to one map by their maximum or mean; signed values are summed,
so that the map of integrated gradients sums to s(x) - s(x').

The first two differentiate s(A, B) once for both images. The other two wrap captum.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from facexai.errors import InputError
from facexai.explainers.interface import EXPLAINERS, images_for
from facexai.explainers.options import check_choice, check_count
from facexai.explainers.scores import PairScore, frozen, pair_embeddings, pair_scores
from facexai.models import FaceRecognizer
from facexai.pairs import FacePair, Saliency
from facexai.smoothing import gaussian_blur

Colour = Literal["max", "mean"]
Baseline = Literal["black", "grey", "blurred"]


@EXPLAINERS.register("gradient")
@dataclass(frozen=True)
class Gradient:
    """The magnitude of the gradient: how much the score answers to a small change of a pixel, whichever its direction.

    Args:
        colour: take the `"max"` of the three magnitudes, as Simonyan et al., or their `"mean"`, as xSSAB and FGGB do.

    Source: Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", 2013, section 3.1.
    """

    colour: Colour = "max"
    unsigned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_choice("colour", self.colour, Colour)

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Magnitudes for both images, from one pass."""
        _, gradients, score = pair_gradients(model, pair)
        return Saliency(magnitudes(gradients, self.colour), score, repr(self))


@EXPLAINERS.register("input-x-gradient")
@dataclass(frozen=True)
class InputXGradient:
    """Pixel value times gradient: to first order, what the pixel adds to the score in comparison with mid-grey.

    Source: Shrikumar et al., "Not Just a Black Box", 2016.

    Deviations:
        The product depends on where zero lies. Our pixels are in [-1, 1], so mid-grey pixels get nothing.
    """

    unsigned: ClassVar[bool] = False

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Sums over the colours for both images, from one pass."""
        images, gradients, score = pair_gradients(model, pair)
        return Saliency((images * gradients).sum(1), score, repr(self))


@EXPLAINERS.register("smoothgrad")
@dataclass(frozen=True)
class SmoothGrad:
    """The gradient, averaged over copies of the image with Gaussian noise.

    Args:
        samples: n, copies of each image.
        noise: standard deviation of the noise, as a share of the range of the image's own values.
        average: average the gradients and take the magnitude of that, as printed (`"gradients"`), or average their
            `"magnitudes"`, which is captum's reading.
        colour: see `Gradient`.
        seed: of the noise; both images get the same.
        chunk: copies in one pass.

    Source: Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017, section 3.

    Deviations:
        The paper gives 10 to 20 % of noise and n = 50 as good values; ours are 15 % and 50. There is no signed form:
        the sign of a gradient tells whether the pixel should be brighter, not what it speaks for.
    """

    samples: int = 50
    noise: float = 0.15
    average: Literal["gradients", "magnitudes"] = "gradients"
    colour: Colour = "max"
    seed: int = 42
    chunk: int = 25
    unsigned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_choice("average", self.average, Literal["gradients", "magnitudes"])
        check_choice("colour", self.colour, Colour)
        check_count("samples", self.samples)
        check_count("chunk", self.chunk)
        if not self.noise >= 0:
            raise InputError(f"noise must be a share of the image's range, 0 or more; got {self.noise}")

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Magnitudes for both images, one after the other, with the same noise."""
        *scores, score = pair_scores(model, pair)
        with frozen(model):
            smoothed = [self.smooth(image, own) for image, own in zip(images_for(model, pair), scores, strict=True)]
        return Saliency(magnitudes(torch.stack(smoothed), self.colour), score, repr(self))

    def smooth(self, image: Tensor, score: PairScore) -> Tensor:
        """M = 1/n sum of ds / dx (x + N(0, sigma^2)). (3, H, W) -> (3, H, W)."""
        from captum.attr import NoiseTunnel
        from captum.attr import Saliency as CaptumSaliency

        deviation = self.noise * float(image.max() - image.min())
        tunnel = NoiseTunnel(CaptumSaliency(score))
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):  # captum draws from the global generator
            torch.manual_seed(self.seed)
            smoothed: Any = tunnel.attribute(
                image[None],
                nt_type="smoothgrad",
                nt_samples=self.samples,
                nt_samples_batch_size=self.chunk,
                stdevs=deviation,
                abs=self.average == "magnitudes",
            )
        return smoothed[0].detach()


@EXPLAINERS.register("integrated-gradients")
@dataclass(frozen=True)
class IntegratedGradients:
    """What each pixel contributes to the score on the straight way from a baseline image to the image.

    Args:
        steps: points of the Gauss-Legendre quadrature.
        baseline: the image without information: `"black"`, mid-`"grey"`, or the image itself, `"blurred"`.
        chunk: images in one pass, of both ways together.

    Source: Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, eq. (1). Completeness: the
    map sums to s(image, partner) - s(baseline, partner), up to the error of the quadrature.

    Deviations:
        The partner's embedding stays that of the partner image; the baseline replaces one image at a time. The paper
        prints a Riemann sum of 20 to 300 steps; captum's default is Gauss-Legendre.
    """

    steps: int = 50
    baseline: Baseline = "black"
    chunk: int = 50
    unsigned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_choice("baseline", self.baseline, Baseline)
        check_count("steps", self.steps)
        check_count("chunk", self.chunk, least=2)

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Sums over the colours; both images share each pass."""
        from captum.attr import IntegratedGradients as CaptumIntegratedGradients

        images, embeddings = images_for(model, pair), pair_embeddings(model, pair)
        with frozen(model):
            attributions = CaptumIntegratedGradients(PairScore(model, embeddings.flip(0))).attribute(
                images,
                baselines=baseline_images(images, self.baseline),
                additional_forward_args=embeddings.flip(0),
                n_steps=self.steps,
                internal_batch_size=self.chunk,
            )
        return Saliency(attributions.detach().sum(1), float(embeddings[0] @ embeddings[1]), repr(self))


def pair_gradients(model: FaceRecognizer, pair: FacePair) -> tuple[Tensor, Tensor, float]:
    """Ds / dA and ds / dB of s(A, B), by one forward and one backward pass.

    Returns:
        images, their gradients (both of shape (2, 3, H, W)), and the score.
    """
    images = images_for(model, pair).detach().requires_grad_(True)
    with frozen(model):
        probe, gallery = model.embed(images)
        score = probe @ gallery
        gradients = torch.autograd.grad(score, images)[0]
    return images.detach(), gradients, float(score.detach())


def magnitudes(gradients: Tensor, colour: Colour) -> Tensor:
    """One magnitude a pixel. (N, 3, H, W) -> (N, H, W)."""
    return gradients.abs().amax(1) if colour == "max" else gradients.abs().mean(1)


def baseline_images(images: Tensor, baseline: Baseline) -> Tensor:
    """An image without information for each image. The blur's sigma is 10 pixels at 112. (N, 3, H, W) -> same."""
    if baseline == "blurred":
        return gaussian_blur(images, sigma=10 / 112 * images.shape[-1])
    return torch.full_like(images, -1.0 if baseline == "black" else 0.0)
