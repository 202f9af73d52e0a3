"""The networks: trunks, heads, the decoder, and `build`, which puts them together by name."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch import nn

from facexai.compat import import_torchvision
from facexai.errors import InputError
from facexai.models.adaface import AdaFaceIR as AdaFaceIR
from facexai.models.decoder import ReconstructionDecoder as ReconstructionDecoder
from facexai.models.heads import AveragePoolHead as AveragePoolHead
from facexai.models.heads import FullyConnectedHead as FullyConnectedHead
from facexai.models.heads import GlobalDepthwiseHead as GlobalDepthwiseHead
from facexai.models.heads import MaxPoolHead as MaxPoolHead
from facexai.models.inception_resnet import InceptionResNetV1 as InceptionResNetV1
from facexai.models.iresnet import BLOCKS as BLOCKS
from facexai.models.iresnet import IResNet as IResNet
from facexai.models.mobilefacenet import MobileFaceNet as MobileFaceNet
from facexai.models.preprocessing import Preprocessing as Preprocessing
from facexai.models.recognizer import FaceRecognizer as FaceRecognizer
from facexai.models.wrap import spatial_maps as spatial_maps
from facexai.models.wrap import wrap_model as wrap_model
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
    model.name = f"{name}:{options['network']}" if "network" in options else name
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
    known = model.architecture.get("options", {})
    model.architecture = {**model.architecture, "options": {**known, "decoder": options}}
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


def _register_adaface(depth: int, blocks: Sequence[int]) -> None:
    @ARCHITECTURES.register(f"adaface-ir{depth}")
    def adaface_ir() -> FaceRecognizer:
        """AdaFace's IR network, 512-d; it takes BGR."""
        head = FullyConnectedHead(dropout=0.4, affine=False)
        model = FaceRecognizer(AdaFaceIR(blocks), head, preprocessing=Preprocessing(channel_order="BGR"))
        model.published_names = {"output_layer.3.": "fc.", "output_layer.4.": "features."}
        return model


for _depth, _blocks in ((18, BLOCKS[18]), (50, BLOCKS[50]), (101, BLOCKS[100])):
    _register_adaface(_depth, _blocks)


@ARCHITECTURES.register("inception-resnet-v1")
def inception_resnet_v1() -> FaceRecognizer:
    """FaceNet as facenet-pytorch has it, 160 x 160 pixels, 512-d."""
    preprocessing = Preprocessing(mean=127.5 / 255, std=128 / 255)
    model = FaceRecognizer(InceptionResNetV1(), AveragePoolHead(), input_size=(160, 160), preprocessing=preprocessing)
    model.published_names = {"logits.": None}
    return model


IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@ARCHITECTURES.register("torchvision")
def torchvision_network(
    network: str = "resnet18", dimension: int = 512, input_size: Sequence[int] = (112, 112)
) -> FaceRecognizer:
    """A network of torchvision whose last layer makes the embedding; `torchvision:resnet50@FILE`.

    Its preprocessing is ImageNet's, which may not be that of your weights: see `check_preprocessing`.
    """
    models = import_torchvision().models
    if network not in models.list_models(module=models):
        raise InputError(f"torchvision has no network '{network}'; torchvision.models.list_models() names them")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some say that their initial weights will change
        module = models.get_model(network, weights=None, num_classes=dimension)
    return _cut_at_last_map(module, f"torchvision:{network}", input_size, IMAGENET)


@ARCHITECTURES.register("timm")
def timm_network(
    network: str = "resnet18", dimension: int = 512, input_size: Sequence[int] = (112, 112)
) -> FaceRecognizer:
    """A network of timm whose last layer makes the embedding; `timm:resnet50@FILE`.

    One of a fixed size, such as a vision transformer, keeps its size and shows no features.
    Its preprocessing is that of timm's own weights, which may not be that of yours: see `check_preprocessing`.
    """
    try:
        import_torchvision()  # which timm imports
        import timm  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise InputError(
            "networks of timm need the package timm; install it with: pip install 'facexai[timm]'"
        ) from None
    if not timm.is_model(network):
        raise InputError(f"timm has no network '{network}'; timm.list_models() names them")
    module = timm.create_model(network, pretrained=False, num_classes=dimension)
    published: Any = module.pretrained_cfg
    preprocessing = Preprocessing(published["mean"], published["std"])
    if published.get("fixed_input_size"):
        size = published["input_size"][1:]
        return wrap_model(
            module, input_size=size, mean=preprocessing.mean, std=preprocessing.std, name=f"timm:{network}"
        )
    return _cut_at_last_map(module, f"timm:{network}", input_size, preprocessing)


def _cut_at_last_map(
    module: nn.Module, name: str, input_size: Sequence[int], preprocessing: Preprocessing
) -> FaceRecognizer:
    height, width = input_size
    maps = spatial_maps(module.eval(), (height, width))
    return wrap_model(
        module,
        features=maps[-1] if maps else None,
        input_size=(height, width),
        mean=preprocessing.mean,
        std=preprocessing.std,
        name=name,
    )
