"""What every explainer is, where it is found by name, and `explain`, which runs one safely."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from facexai.errors import InputError
from facexai.models import FaceRecognizer
from facexai.models.pose_invariant import PoseInvariantRecognizer
from facexai.pairs import FacePair, Saliency
from facexai.registry import Registry


class Explainer(Protocol):
    """A frozen dataclass whose fields are the options of the method; calling it explains one pair."""

    def __call__(self, pair: FacePair, model: FaceRecognizer) -> Saliency:
        """Signed maps of both images, of a model in eval mode."""
        ...


EXPLAINERS: Registry[type[Explainer]] = Registry("explainer")


def explain(pair: FacePair, model: FaceRecognizer, method: str = "ddfv", **options: Any) -> Saliency:
    """Where do the two faces look alike to the network, and where different?

    The model runs in eval mode on its own device; its modes, weights and the pair are left as they were.

    Args:
        pair: two aligned faces of the model's input size.
        model: the network whose score is explained.
        method: one of `EXPLAINERS`.
        options: fields of that explainer; `EXPLAINERS[method]` shows them.

    Returns:
        Maps on the device of the pair.

    Raises:
        InputError: an unknown method or option, images that do not fit the model, or a map that is not finite.
    """
    explainer = make_explainer(method, **options)
    with evaluation(pair, model):
        saliency = explainer(pair, model)
    return checked(saliency, pair)


def make_explainer(method: str, **options: Any) -> Explainer:
    """The explainer called `method` with these options; an unknown option names the known ones."""
    explainer = EXPLAINERS[method]
    known = [field.name for field in fields(explainer)]  # type: ignore[arg-type]
    unknown = [name for name in options if name not in known]
    if unknown:
        choices = f"choose one of {', '.join(known)}" if known else "it has none"
        raise InputError(f"unknown option '{unknown[0]}' of explainer '{method}'; {choices}")
    return explainer(**options)


@contextmanager
def evaluation(pair: FacePair, model: FaceRecognizer | PoseInvariantRecognizer) -> Iterator[None]:
    """Eval mode while the block runs, once the pair is known to fit; afterwards each module is back in its own mode."""
    if not isinstance(pair, FacePair):
        raise InputError(f"what is explained is a FacePair(probe, gallery); got {type(pair).__name__}")
    if not isinstance(model, nn.Module):
        raise InputError(f"the model must be a network; got {model!r:.60}. Use facexai.load_model.")
    size = tuple(pair.probe.shape[1:])
    if size != tuple(model.input_size):
        height, width = model.input_size
        raise InputError(
            f"the model takes faces of {height} x {width} pixels; got {size[0]} x {size[1]}. Use facexai.align_face."
        )
    with eval_mode(model):
        yield


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode while the block runs; afterwards each module is back in its own mode."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def checked(saliency: Saliency, pair: FacePair) -> Saliency:
    """The saliency on the device of the pair, once it is known to be one finite map for each image."""
    expected = (2, *pair.probe.shape[1:])
    if saliency.signed.shape != expected:
        raise ValueError(f"{saliency.method} gave maps of shape {tuple(saliency.signed.shape)}; expected {expected}")
    if not torch.isfinite(saliency.signed).all():
        raise InputError(f"{saliency.method} gave maps that are not finite; check the weights of the model")
    return replace(saliency, signed=saliency.signed.to(pair.probe.device))


def images_for(model: nn.Module, pair: FacePair) -> Tensor:
    """Both images of the pair, on the device and in the precision of the model's weights. Shape (2, 3, H, W)."""
    return pair.images.to(next(model.parameters(), pair.probe))
