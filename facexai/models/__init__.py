"""The networks: trunks, heads, the decoder, and `build`, which puts them together by name."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from facexai.errors import InputError
from facexai.models.decoder import ReconstructionDecoder as ReconstructionDecoder
from facexai.models.heads import FullyConnectedHead as FullyConnectedHead
from facexai.models.heads import GlobalDepthwiseHead as GlobalDepthwiseHead
from facexai.models.heads import MaxPoolHead as MaxPoolHead
from facexai.models.iresnet import BLOCKS as BLOCKS
from facexai.models.iresnet import IResNet as IResNet
from facexai.models.mobilefacenet import MobileFaceNet as MobileFaceNet
from facexai.models.recognizer import FaceRecognizer as FaceRecognizer
from facexai.models.xcos import XCosHead as XCosHead
from facexai.registry import Registry

ARCHITECTURES: Registry[Callable[..., FaceRecognizer]] = Registry("architecture")


def build(
    name: str,
    *,
    decoder: dict[str, Any] | Literal[False] | None = None,
    xcos: dict[str, Any] | None = None,
    **options: Any,
) -> FaceRecognizer:
    """A fresh network of a registered architecture, in training mode, with random weights.

    Args:
        name: one of `ARCHITECTURES`.
        decoder: options of a `ReconstructionDecoder` for a network that comes without one, or in place of its own;
            False takes its own away.
        xcos: options of an `XCosHead`; None for a network without.
        options: the options of that architecture.

    Raises:
        InputError: unknown name or option.
    """
    factory = ARCHITECTURES[name]
    try:
        model = factory(**options)
    except TypeError as error:
        raise InputError(f"architecture '{name}' does not take these options: {error}") from None
    model.name = name
    model.architecture = {"name": name, "options": options}
    if decoder is False:
        detach_decoder(model)
    elif decoder is not None:
        attach_decoder(model, **decoder)
    if xcos is not None:
        attach_xcos(model, **xcos)
    return model


def attach_decoder(model: FaceRecognizer, **options: Any) -> ReconstructionDecoder:
    """Give the model a fresh decoder, which `save_model` will remember; `options` are those of the decoder."""
    decoder = model.decoder = ReconstructionDecoder(**options)
    model.architecture = {**model.architecture, "options": {**model.architecture["options"], "decoder": options}}
    return decoder


def detach_decoder(model: FaceRecognizer) -> None:
    """Take the decoder away, which `save_model` will remember."""
    model.decoder = None
    model.architecture = {**model.architecture, "options": {**model.architecture["options"], "decoder": False}}


def attach_xcos(model: FaceRecognizer, **options: Any) -> XCosHead:
    """Give the model a fresh xcos head, which `save_model` will remember; `options` are those of the head."""
    head = model.xcos = XCosHead(**options)
    known = model.architecture.get("options", {})
    model.architecture = {**model.architecture, "options": {**known, "xcos": options}}
    return head


@ARCHITECTURES.register("ddfv-iresnet")
def ddfv_iresnet(
    *,
    blocks: Sequence[int] = BLOCKS[50],
    widths: Sequence[int] = (64, 128, 256, 512),
    stem_stride: int = 1,
    normalize: bool = True,
    activation: str = "tanh",
) -> FaceRecognizer:
    """The network of the DDFV paper: IResNet, global max pooling, reconstruction decoder (III.C).

    `normalize=False` is the head as printed; see `MaxPoolHead`.
    """
    trunk = IResNet(blocks, widths, stem_stride)
    decoder = ReconstructionDecoder(trunk.channels, activation=activation)  # type: ignore[arg-type]
    return FaceRecognizer(trunk, MaxPoolHead(trunk.channels, normalize), decoder)


@ARCHITECTURES.register("ddfv-iresnet50")
def ddfv_iresnet50(normalize: bool = True) -> FaceRecognizer:
    """The size printed in the DDFV paper, IV.A."""
    return ddfv_iresnet(normalize=normalize)


@ARCHITECTURES.register("tutorial")
def tutorial(normalize: bool = True) -> FaceRecognizer:
    """The paper's network at a size that two processor cores train in three hours: the shipped checkpoint."""
    return ddfv_iresnet(blocks=(1, 2, 2, 2), widths=(16, 32, 64, 256), stem_stride=2, normalize=normalize)


@ARCHITECTURES.register("mobilefacenet")
def mobilefacenet() -> FaceRecognizer:
    """MobileFaceNet, 128-d."""
    return FaceRecognizer(MobileFaceNet(), GlobalDepthwiseHead())


def _register_arcface(depth: int) -> None:
    @ARCHITECTURES.register(f"iresnet{depth}")
    def iresnet(dropout: float = 0.0) -> FaceRecognizer:
        """ArcFace's IResNet with its fully connected head, 512-d."""
        return FaceRecognizer(IResNet(BLOCKS[depth]), FullyConnectedHead(dropout=dropout))


for _depth in BLOCKS:
    _register_arcface(_depth)
