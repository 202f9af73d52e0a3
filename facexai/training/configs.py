"""What a training run is: frozen settings, and presets that are small diffs with reasons."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, TypeVar

from facexai.errors import InputError
from facexai.registry import Registry


@dataclass(frozen=True)
class DDFVConfig:
    """Joint training of recognition and reconstruction. The defaults are the paper's where it prints a value.

    Source: DDFV paper, III.C and IV.A. "not printed" marks our own choices.
    """

    # the network
    architecture: str = "ddfv-iresnet50"  # IV.A: "ResNet-50", ArcFace's flavour
    normalize: bool = False  # III.C prints global max pooling and nothing after it; see models.MaxPoolHead
    start: str = ""  # a model of that architecture, as `load_model` takes it, to go on from; random weights without

    # the data: an identity folder, or rendered faces where `images` is empty
    images: str = ""  # IV.A: MS1Mv2, as insightface packs it (train.rec) or as one folder an identity
    identities: int = 500  # rendered faces only, as are the next two
    images_per_identity: int = 20
    data_seed: int = 1
    augment: float = 0.0  # strength of `augmentation.augment`; nothing but mirroring is printed by ArcFace

    # the losses
    scale: float = 64.0  # ArcFace's s, not printed
    margin: float = 0.5  # ArcFace's m, not printed
    margin_epochs: float = 0.0  # the margin grows from 0 over these epochs; not printed
    reconstruction_weight: float = 1.0  # lambda of eq. 2, value not printed
    reconstructed: float = 1.0  # share of each batch that is decoded
    detach_decoder: bool = False  # III.C: "jointly trained", so the gradient of L_rec reaches the trunk

    # the optimisers
    epochs: int = 25  # IV.A
    batch_size: int = 128  # not printed
    optimizer: Literal["sgd", "adamw"] = "sgd"  # IV.A, for recognition
    lr: float = 0.02  # IV.A, "initial learning rate of 0.02"
    momentum: float = 0.9  # not printed
    weight_decay: float = 5e-4  # not printed; ArcFace's
    decoder_lr: float = 2e-4  # IV.A, Adam, for the decoder
    schedule: Literal["steps", "cosine"] = "steps"  # x 0.1 at 40, 64 and 88 % of the run; not printed
    warmup: float = 0.0  # share of the run in which the learning rates rise from 0

    # the machine
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: bool = False  # torch.compile: needs a C++ compiler, a minute to start, then up to 1.6 times as fast
    seed: int = 42
    half: bool = False  # store the trained weights as float16
    log_every: int = 20  # steps
    checkpoint_every: int = 500  # steps

    def __post_init__(self) -> None:
        check_counts(self)
        if not 0 < self.reconstructed <= 1:
            raise InputError(f"reconstructed must be a share in (0, 1]; got {self.reconstructed}")

    def to_json(self) -> dict[str, Any]:
        """All settings, in the order above."""
        return asdict(self)


@dataclass(frozen=True)
class DecoderConfig:
    """A decoder for a network that has none: trained on the frozen trunk, so that recognition stays as it is.

    Source: DDFV paper, III.C, for decoder and loss. The paper trains trunk and decoder jointly, so all settings are
    ours.
    """

    # the network, as `load_model` takes it
    model: str = "tutorial"

    # the data: a folder of aligned faces, or rendered faces where `images` is empty
    images: str = ""
    identities: int = 500  # rendered faces only, as are the next two
    images_per_identity: int = 20
    data_seed: int = 1
    held_out: int = 500  # images to validate on, but at most a tenth

    # the optimiser: Adam
    epochs: int = 10
    batch_size: int = 64
    lr: float = 2e-3
    schedule: Literal["steps", "cosine"] = "cosine"
    warmup: float = 0.02  # share of the run in which the learning rate rises from 0

    # the machine
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"  # the shipped weights stay in full precision
    seed: int = 42
    half: bool = False  # store all weights as float16, those of the recognizer too
    log_every: int = 20  # steps
    checkpoint_every: int = 500  # steps

    def __post_init__(self) -> None:
        check_counts(self)

    def to_json(self) -> dict[str, Any]:
        """All settings, in the order above."""
        return asdict(self)


@dataclass(frozen=True)
class XCosConfig:
    """An xcos head for a finished network, trained on the frozen trunk.

    Source: Lin et al., "xCos" (TOMM 2021), and the authors' configuration, whose values are marked; a frozen trunk is
    not theirs, so the other settings are ours.
    """

    # the network, as `load_model` takes it
    model: str = "tutorial"

    # the data: an identity folder of aligned faces, or rendered faces where `images` is empty
    images: str = ""
    identities: int = 500  # rendered faces only, as are the next two
    images_per_identity: int = 20
    data_seed: int = 1

    # the losses
    scale: float = 64.0  # ArcFace's s; theirs
    margin: float = 0.5  # ArcFace's m; theirs
    identity_weight: float = 1.0  # lambda; theirs

    # the optimiser: Adam
    epochs: int = 5
    batch_size: int = 48  # pairs; theirs
    lr: float = 1e-3  # theirs
    schedule: Literal["steps", "cosine"] = "cosine"
    warmup: float = 0.02  # share of the run in which the learning rate rises from 0

    # the machine
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    seed: int = 42
    half: bool = False  # store all weights as float16, those of the recognizer too
    log_every: int = 20  # steps
    checkpoint_every: int = 500  # steps

    def __post_init__(self) -> None:
        check_counts(self)

    def to_json(self) -> dict[str, Any]:
        """All settings, in the order above."""
        return asdict(self)


@dataclass(frozen=True)
class PretrainConfig:
    """Stage 1 of FSPFM: recognizer and frontalizer from scratch. The defaults are the paper's where it prints a value.

    Source: Stanishev et al. (2025), 3.2 and 4.1.2. "not printed" marks our own choices.
    """

    # the networks
    architecture: str = "iresnet50"  # 4.1.2: "ResNet50", ArcFace's flavour
    start: str = ""  # a model of that architecture to go on from; random weights without, as in the paper
    pose_network: str = "hopenet-tutorial"  # 3.1: HopeNet, which is not trained here
    frontalizer: str = "fspfm"  # NAME or NAME:option=value:..., see `list frontalizers`
    limit: float = 0.0  # degrees of yaw up to which a face passes the frontalizer by; not in the paper

    # the data: an identity folder, or rendered faces in all poses where `images` is empty
    images: str = ""  # 4.1.1: MS1M and MS1M-Pose-Sim, as train.rec or as one folder an identity
    identities: int = 500  # rendered faces only, as are the next three
    images_per_identity: int = 20
    data_seed: int = 1
    frontal: float = 0.5  # share of the rendered images about yaw 0, see RenderedFaces; the others are turned anywhere
    augment: float = 0.8  # 4.1.2 names grey, mirrored and recoloured images; the strength is not printed

    # the loss
    scale: float = 64.0  # ArcFace's s, not printed
    margin: float = 0.5  # ArcFace's m, not printed

    # the optimiser
    epochs: int = 20  # 4.1.2
    batch_size: int = 256  # 4.1.2
    optimizer: Literal["sgd", "adamw"] = "sgd"  # 4.1.2
    lr: float = 0.1  # 4.1.2
    momentum: float = 0.9  # not printed
    weight_decay: float = 5e-4  # not printed; ArcFace's
    schedule: Literal["late-steps", "cosine"] = "late-steps"  # 4.1.2: x 0.1 at epochs 10, 13, 16 and 18 of 20
    warmup: float = 0.0  # share of the run in which the learning rate rises from 0

    # the machine
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: bool = False  # torch.compile: see DDFVConfig
    seed: int = 42  # 4.1.2
    half: bool = False  # store float16
    log_every: int = 20  # steps
    checkpoint_every: int = 500  # steps

    def __post_init__(self) -> None:
        check_counts(self)

    def to_json(self) -> dict[str, Any]:
        """All settings, in the order above."""
        return asdict(self)


@dataclass(frozen=True)
class FinetuneConfig:
    """Stage 2 of FSPFM: a frontalizer on top of a frozen recognizer. The defaults are the paper's where it prints one.

    Source: Stanishev et al. (2025), 3.2, 3.3 and 4.1.2. "not printed" marks our own choices.
    """

    # the networks, which stay as they are
    model: str = "tutorial"  # 4.1.2: ResNet-50, trained in stage 1
    pose_network: str = "hopenet-tutorial"  # 3.1: HopeNet

    # what learns
    frontalizer: str = "fspfm"  # NAME or NAME:option=value:..., see `list frontalizers`
    start: str = ""  # a frontalizer of stage 1 to go on from, a folder; a fresh one without
    centring: Literal["none", "unit", "global-centring", "pose-centring", "wccn"] = "none"  # not in the paper
    limit: float = 0.0  # degrees of yaw up to which a face passes the frontalizer by; not in the paper

    # the data: an identity folder of aligned faces with its poses, or rendered faces where `images` is empty
    images: str = ""
    poses: str = ""  # CSV name,yaw,pitch,roll of those images; the pose network is asked where it is empty
    identities: int = 4000  # rendered faces only, as are the next three
    frontals: int = 4
    profiles: int = 6
    data_seed: int = 4
    frontal_within: float = 20.0  # degrees that no angle of a frontal face exceeds; not printed
    profile_beyond: float = 40.0  # 4.1.1: one angle of a profile is larger
    held_out: int = 400  # people to validate on, but at most a tenth; not printed

    # the losses
    adaptation: Literal["none", "huang", "proposed", "angular"] = "proposed"  # Table 3; "angular" is PAD's
    adaptation_weight: float = 4.0  # 3.3: lambda
    reduction: Literal["sum", "mean"] = "sum"  # eq. (2): the squared norm
    target: Literal["random", "mean"] = (
        "random"  # a frontal face, or the mean of all; eq. (2) has one, so "proposed" too
    )
    keep_length: bool = False  # see AttentionAdaptationLoss
    frontal_faces: bool = False  # the frontal faces pass the module too, to be left as they are; not printed
    arcface_weight: float = 1.0  # eq. (3)
    scale: float = 64.0  # ArcFace's s, not printed
    margin: float = 0.5  # ArcFace's m, not printed
    train_classes: bool = False  # the class matrix starts at the mean frontal embeddings and stays; not printed
    dropout: float = 0.0  # share of an embedding that each step hides from the residual, for few people; not printed

    # the optimiser
    epochs: int = 50  # 4.1.2
    batch_size: int = 256  # 4.1.2
    optimizer: Literal["sgd", "adamw"] = "sgd"  # 4.1.2, of stage 1
    lr: float = 1e-3  # 4.1.2
    momentum: float = 0.9  # not printed
    weight_decay: float = 5e-4  # not printed; ArcFace's
    schedule: Literal["constant", "cosine"] = "constant"  # not printed
    keep_best: bool = False  # the epoch that did best on the held-out people, instead of the last

    # the machine
    precision: Literal["32-true", "bf16-mixed"] = (
        "32-true"  # mixed: of the layers and the cosines of ArcFace; the losses stay as they are
    )
    seed: int = 42  # 4.1.2
    half: bool = False  # store float16

    def __post_init__(self) -> None:
        check_counts(self)
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must lie in [0, 1); got {self.dropout:g}")

    def to_json(self) -> dict[str, Any]:
        """All settings, in the order above."""
        return asdict(self)


@dataclass(frozen=True)
class HopeNetConfig:
    """A head pose network. The defaults are those of the published code, of the released weights, or of the paper.

    Source: Ruiz et al. (2018), and `train_hopenet.py` of natanielruiz/deep-head-pose. Values marked "code" were read
    there. Those marked "paper, not checked" are the schedule that is reported of the paper; we have not seen it
    printed, and the defaults of the code differ (5 epochs at 1e-3). "not printed" marks our own choices.

    Deviations:
        The published network starts from ImageNet's weights, with stem and BatchNorm frozen. Nothing is downloaded
        here: training starts from random weights, or from those of `start`, and every layer learns.
    """

    # the network
    depth: int = 50  # code
    size: int = 224  # pixels; code
    stages: int = 4  # code
    start: str = ""  # a HopeNet of these three, as `load_pose_network` takes it, to go on from; random weights without

    # the data: a folder of faces and a CSV of their poses, or rendered faces where `images` is empty
    images: str = ""
    poses: str = ""  # name,yaw,pitch,roll, with the signs of `Pose`; names are relative to `images`
    identities: int = 500  # rendered faces only, as are the next three
    images_per_identity: int = 20
    data_seed: int = 1
    loose: float = 0.5  # share that is framed loosely; the others are aligned
    augment: float = 0.0  # strength of `augmentation.augment`, which turns no image here; the code mirrors and blurs
    cut: float = 0.0  # share of the images with black corners, as where a photograph ends

    # the loss
    alpha: float = 1.0  # weight of the squared error; 1 and 2 in the released networks, 0.001 in the code

    # the optimiser: Adam
    epochs: int = 25  # paper, not checked
    batch_size: int = 16  # code
    lr: float = 1e-5  # paper, not checked
    head_lr: float = 5.0  # times lr; code
    weight_decay: float = 0.0  # not printed; decoupled, as in AdamW
    schedule: Literal["constant", "steps", "cosine"] = "constant"
    warmup: float = 0.0  # share of the run in which the learning rates rise from 0

    # the machine
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    seed: int = 42
    half: bool = False  # store the trained weights as float16
    log_every: int = 20  # steps
    checkpoint_every: int = 500  # steps

    def __post_init__(self) -> None:
        check_counts(self)
        if not 0 <= self.loose <= 1:
            raise InputError(f"loose must be a share in [0, 1]; got {self.loose}")
        if bool(self.images) != bool(self.poses):
            raise InputError("images and poses belong together: a folder of faces and a CSV with name,yaw,pitch,roll")

    def to_json(self) -> dict[str, Any]:
        """All settings, in the order above."""
        return asdict(self)


RunConfig = (
    DDFVConfig | DecoderConfig | HopeNetConfig | PretrainConfig | XCosConfig
)  # of the trainings that look at images
AnyConfig = RunConfig | FinetuneConfig
Config = TypeVar("Config", bound=AnyConfig)


def check_counts(config: Any) -> None:
    """Raise `InputError` for a number of things that is less than one."""
    counts = "identities", "images_per_identity", "frontals", "profiles", "epochs", "batch_size", "held_out"
    counts += "log_every", "checkpoint_every"
    for name in counts:
        if getattr(config, name, 1) < 1:
            raise InputError(f"{name} must be at least 1; got {getattr(config, name)}")


PRESETS: Registry[AnyConfig] = Registry("preset")
PRESETS["paper-ddfv"] = DDFVConfig()
PRESETS["tutorial"] = replace(
    PRESETS["paper-ddfv"],
    architecture="tutorial",  # a network that two cores can train
    normalize=True,  # without it impostor cosines are high and the maps hardly depend on the partner
    identities=8000,  # many people, few images of each: with 3,000 the network learnt them by heart, not faces
    images_per_identity=12,
    scale=32.0,  # s = 64 suits embeddings of 512 dimensions and millions of images
    margin=0.35,
    margin_epochs=2.0,  # a small network does not start under the full margin
    reconstruction_weight=5.0,  # an hour is short: faces that can be recognised come sooner
    reconstructed=0.5,  # half of the decoder's work, and the same gradient on average
    epochs=7,
    optimizer="adamw",  # reaches in seven epochs what SGD needs many more for
    lr=2e-3,
    weight_decay=5e-2,
    decoder_lr=2e-3,
    schedule="cosine",
    warmup=0.02,
    half=True,  # half the file; scores move by less than 0.001
    precision="bf16-mixed",  # about three times as fast on processors that have it
)
PRESETS["tutorial-augmented"] = replace(
    PRESETS["tutorial"],
    start="runs/tutorial",  # a finished run; the shipped network went through this preset twice, see its card
    augment=0.8,  # that run knows its images by heart: 97 % of them lie nearest to their own centre
    epochs=3,
    margin_epochs=0.25,  # the network knows the people already
    lr=1e-3,
    decoder_lr=1e-3,
    warmup=0.05,
)
PRESETS["smoke"] = replace(
    PRESETS["tutorial"], identities=8, images_per_identity=4, epochs=2, batch_size=16, log_every=1, margin_epochs=0.0
)
PRESETS["decoder"] = DecoderConfig()
PRESETS["xcos"] = XCosConfig()
PRESETS["paper-fspfm-1"] = PretrainConfig()
PRESETS["tutorial-fspfm-1"] = replace(
    PRESETS["paper-fspfm-1"],
    architecture="tutorial",  # a network that two cores can train
    start="tutorial",  # which recognizes faces already: the hours of training from scratch are saved
    identities=2000,
    images_per_identity=12,
    data_seed=5,  # people that it has not met
    scale=32.0,
    margin=0.35,
    epochs=2,
    batch_size=128,
    optimizer="adamw",
    lr=5e-4,
    weight_decay=5e-2,
    schedule="cosine",
    warmup=0.05,
    half=True,
    precision="bf16-mixed",
)
PRESETS["paper-fspfm-2"] = FinetuneConfig()
PRESETS["tutorial-fspfm"] = replace(
    PRESETS["paper-fspfm-2"],
    frontalizer="fspfm:block=prelu:width=4",  # a block without BatchNorm did better on the held-out people
    centring="unit",  # embeddings of one length: what counts is their direction
    limit=30.0,  # frontal pairs stay as they were
    adaptation="angular",  # attention shrinks its target; see chapter 9
    adaptation_weight=1.0,
    arcface_weight=0.0,  # beside the pair loss it adds nothing on a frozen trunk, and takes four times as long
    target="mean",  # of all frontal faces of a person: less noise than one
    frontal_faces=True,
    epochs=8,
    batch_size=512,
    optimizer="adamw",  # SGD at this rate takes the thousands of steps that the paper has and a laptop has not
    schedule="cosine",
    keep_best=True,
    half=True,
)
PRESETS["paper-hopenet"] = HopeNetConfig()
PRESETS["hopenet-tutorial"] = replace(
    PRESETS["paper-hopenet"],
    depth=10,  # a network that two cores train in half an hour, and a file of 2.5 MB
    size=96,
    stages=3,
    identities=2400,  # many people, few images of each
    images_per_identity=10,
    augment=1.5,  # other framing, colours and a covered rectangle: photographs are no rendered faces
    cut=0.6,  # aligned photographs are black where they end, and no rendered face is
    alpha=0.05,  # squared degrees are large: with 1 the bins are hardly heard
    epochs=8,
    batch_size=64,
    lr=2e-3,  # from random weights
    head_lr=1.0,  # trunk and heads are equally new
    weight_decay=5e-2,
    schedule="cosine",
    warmup=0.03,
    half=True,
    precision="bf16-mixed",  # about three times as fast on processors that have it
)


def preset(name: str, kind: type[Config]) -> Config:
    """The settings called `name`, of this kind of training.

    Raises:
        InputError: an unknown name, or the settings of another training.
    """
    config = PRESETS[name]
    if not isinstance(config, kind):
        fitting = [other for other in PRESETS if isinstance(PRESETS[other], kind)]
        raise InputError(f"preset '{name}' belongs to another training; choose one of {', '.join(fitting)}")
    return config


def override(config: Config, settings: Sequence[str]) -> Config:
    """`config` with `key=value` texts applied; a value must be of the field's type.

    Raises:
        InputError: no `=`, an unknown key (the known ones are listed), or a value of another type.
    """
    known = {field.name: field for field in fields(config)}
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise InputError(f"a setting is key=value; got '{setting}'")
        if key not in known:
            raise InputError(f"unknown setting '{key}'; choose one of {', '.join(known)}")
        changes[key] = _parse(key, text, getattr(config, key), known[key].type)
    return replace(config, **changes)


def _parse(key: str, text: str, current: Any, kind: Any) -> Any:
    if isinstance(current, str):
        choices = getattr(kind, "__args__", ())
        if choices and text not in choices:
            raise InputError(f"{key} must be one of {', '.join(choices)}; got '{text}'")
        return text
    try:
        value = json.loads(text.lower())
    except ValueError:
        value = None
    wanted = (int, float) if isinstance(current, float) else type(current)
    if not isinstance(value, wanted) or isinstance(value, bool) != isinstance(current, bool):
        raise InputError(f"{key} must be a {type(current).__name__}; got '{text}'")
    return float(text) if isinstance(current, float) else value
