"""Controls: what statistics of training embeddings do without learning, to be shown beside every frontalizer.

Each `fit` function takes embeddings (M, D), identities (M,) and yaws in degrees (M,) of training faces and returns a
frontalizer whose numbers are buffers; what comes out of it has unit norm. A control uses of these what it needs.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.models.frontalizers.interface import Frontalizer
from facexai.registry import Registry

CONTROLS: Registry[Callable[..., Frontalizer]] = Registry("control")  # how they are fitted
CENTRINGS: Registry[type[Frontalizer]] = Registry("control")  # what they are
Control = TypeVar("Control", bound=Frontalizer)
PROFILE = 30.0  # degrees of yaw beyond which a face counts as a profile


@CENTRINGS.register("global-centring")
class GlobalCentring(Frontalizer):
    """e / |e| minus the training mean, at unit length.

    Attributes:
        mean: 0 until it is fitted. (D,)
    """

    takes = "yaw"
    mean: Tensor

    def __init__(self, dimension: int, pose_size: int = 1) -> None:
        super().__init__(dimension, pose_size)
        self.register_buffer("mean", torch.zeros(dimension))

    def frontalize(self, embedding: Tensor, pose: Tensor) -> Tensor:  # noqa: D102
        return F.normalize(F.normalize(embedding) - self.mean)


@CENTRINGS.register("pose-centring")
class PoseClassCentring(Frontalizer):
    """e / |e| minus the training mean of its pose class, at unit length.

    Args:
        dimension: D of the embeddings.
        pose_size: 1, the yaw in degrees.
        edges: the classes end at these magnitudes of the yaw, in degrees; the last class is open.

    Attributes:
        means: one a class, 0 until fitted. (len(edges) + 1, D)
    """

    takes = "yaw"
    means: Tensor
    edges: Tensor

    def __init__(self, dimension: int, pose_size: int = 1, *, edges: Sequence[float] = (PROFILE,)) -> None:
        super().__init__(dimension, pose_size)
        self.register_buffer("means", torch.zeros(len(edges) + 1, dimension))
        self.register_buffer("edges", torch.tensor(sorted(edges)))

    def pose_class(self, yaw: Tensor) -> Tensor:
        """Class of each yaw, 0 being the most frontal. Degrees, any shape -> indices of the same shape."""
        return torch.bucketize(yaw.abs(), self.edges.to(yaw))

    def frontalize(self, embedding: Tensor, pose: Tensor) -> Tensor:  # noqa: D102
        return F.normalize(F.normalize(embedding) - self.means[self.pose_class(pose[:, 0])])


@CENTRINGS.register("wccn")
class WCCN(Frontalizer):
    """S^(-1/2) (e / |e| minus the training mean), at unit length: directions that vary within a person count less.

    Attributes:
        mean: 0 until it is fitted. (D,)
        matrix: S^(-1/2) up to a factor, the identity until it is fitted. (D, D)

    Source: Hatch, Kajarekar, Stolcke, "Within-Class Covariance Normalization for SVM-based Speaker Recognition"
    (Interspeech 2006).

    Deviations:
        The root is the symmetric one, where the source takes Cholesky's; cosines are the same with either.
    """

    takes = "yaw"
    mean: Tensor
    matrix: Tensor

    def __init__(self, dimension: int, pose_size: int = 1) -> None:
        super().__init__(dimension, pose_size)
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("matrix", torch.eye(dimension))

    def frontalize(self, embedding: Tensor, pose: Tensor) -> Tensor:  # noqa: D102
        return F.normalize((F.normalize(embedding) - self.mean) @ self.matrix)


def build_control(name: str, dimension: int, pose_size: int = 1, **options: Any) -> Frontalizer:
    """A control of this name, not yet fitted.

    Args:
        name: one of `CONTROLS`.
        dimension: D of the embeddings.
        pose_size: 1, the yaw in degrees.
        options: of that control.
    """
    return _described(CENTRINGS[name](dimension, pose_size, **options), name, **options)


def _described(control: Control, name: str, **options: Any) -> Control:
    """The control itself, with what `build_control` needs to make it again."""
    size = {"dimension": control.dimension, "pose_size": control.pose_size}
    control.architecture = {"name": name, **size, "options": options}
    return control


@CONTROLS.register("global-centring")
def fit_global_centring(
    embedding: Tensor, identity: Tensor, yaw: Tensor, *, balanced: bool = True, profile: float = PROFILE
) -> GlobalCentring:
    """One mean for all.

    Args:
        embedding: of any length. (M, D)
        identity: not used. (M,)
        yaw: in degrees. (M,)
        balanced: frontal faces and profiles weigh the same in the mean, however many there are of each.
        profile: yaw in degrees beyond which a face is a profile.
    """
    _check(embedding, identity, yaw)
    unit = F.normalize(embedding.double())
    control = _described(GlobalCentring(embedding.shape[1]), "global-centring")
    means = _class_means(unit, (yaw.abs() > profile).long(), 2) if balanced else unit
    control.mean.copy_(means.mean(0))
    return control.to(embedding)


@CONTROLS.register("pose-centring")
def fit_pose_centring(
    embedding: Tensor, identity: Tensor, yaw: Tensor, *, edges: Sequence[float] = (PROFILE,)
) -> PoseClassCentring:
    """One mean a pose class. Embeddings (M, D), identities (M,), which are not used, yaws in degrees (M,)."""
    _check(embedding, identity, yaw)
    control = _described(PoseClassCentring(embedding.shape[1], edges=edges), "pose-centring", edges=list(edges))
    unit = F.normalize(embedding.double())
    control.means.copy_(_class_means(unit, control.to(embedding.device).pose_class(yaw), len(edges) + 1))
    return control.to(embedding)


@CONTROLS.register("wccn")
def fit_wccn(embedding: Tensor, identity: Tensor, yaw: Tensor, *, shrinkage: float = 0.3) -> WCCN:
    """S = (1 - a) S_w + a tr(S_w) / D I, S_w being the covariance of unit embeddings around the mean of their person.

    Args:
        embedding: of any length. (M, D)
        identity: whose face it is. (M,)
        yaw: in degrees; for the mean, in which frontal faces and profiles weigh the same. (M,)
        shrinkage: a, in (0, 1]; 1 leaves `GlobalCentring`.

    Source: Hatch et al. (2006).

    Deviations:
        The shrinkage is ours: of D dimensions and few people, S_w alone has no inverse.
    """
    if not 0 < shrinkage <= 1:
        raise InputError(f"shrinkage must be in (0, 1]; got {shrinkage}")
    centring = fit_global_centring(embedding, identity, yaw)
    unit = F.normalize(embedding.double())
    people, person = identity.unique(return_inverse=True)
    within = unit - _class_means(unit, person, len(people))[person]  # (M, D)
    covariance = within.T @ within / len(within)  # (D, D)
    scale = covariance.diagonal().mean()  # tr(S_w) / D
    if not scale > 0:
        raise InputError("WCCN needs people with two embeddings or more that differ; add faces of the same people")
    # S over tr(S_w) / D, as a common factor changes no cosine.
    values, vectors = torch.linalg.eigh((1 - shrinkage) * covariance / scale)
    control = _described(WCCN(embedding.shape[1]), "wccn").to(embedding)
    control.mean.copy_(centring.mean)
    control.matrix.copy_(vectors @ torch.diag((values.clamp(min=0) + shrinkage).rsqrt()) @ vectors.T)
    return control


def _class_means(unit: Tensor, label: Tensor, classes: int) -> Tensor:
    """Mean of each class. (M, D), labels (M,) -> (classes, D)."""
    counts = torch.bincount(label, minlength=classes)
    if not bool((counts > 0).all()):
        raise InputError(
            f"each pose class needs training faces; got {counts.tolist()} from frontal to profile. "
            "Add such faces, or move the limits."
        )
    sums = unit.new_zeros(classes, unit.shape[1]).index_add_(0, label, unit)
    return sums / counts[:, None]


def _check(embedding: Tensor, identity: Tensor, yaw: Tensor) -> None:
    if embedding.ndim != 2 or not len(embedding) == len(identity) == len(yaw) or identity.ndim != 1 or yaw.ndim != 1:
        raise InputError(
            "a control is fitted to embeddings (M, D), identities (M,) and yaws (M,); "
            f"got {tuple(embedding.shape)}, {tuple(identity.shape)} and {tuple(yaw.shape)}"
        )
    if not bool(embedding.isfinite().all()) or not bool(yaw.isfinite().all()):
        raise InputError("embeddings and yaws must be finite to fit a control; leave the others out")
