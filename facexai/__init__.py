"""facexai: how a face recognition network decides, explained by reconstruction.

The names below are imported on first use, so `import facexai` costs nothing that its user does not use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# ruff: noqa: F401
if TYPE_CHECKING:  # the same names once more, for editors and type checkers
    from facexai.benchmarks import BENCHMARKS, VerificationReport, check_preprocessing, verify
    from facexai.detection import detect_face, load_face
    from facexai.errors import InputError
    from facexai.explainers import EXPLAINERS, FrontalizationMaps, explain, explain_frontalization
    from facexai.frontalizations import load_pose_invariant
    from facexai.images import align_face, load_image
    from facexai.losses import ArcFaceLoss
    from facexai.models import FaceRecognizer, Preprocessing, wrap_model
    from facexai.models.frontalizers import FRONTALIZERS
    from facexai.pairs import FacePair, Saliency
    from facexai.pose import Pose
    from facexai.pose_networks import load_pose_network, save_pose_network
    from facexai.rendering import (
        Identity,
        Nuisance,
        region_pair,
        render,
        sample_identity,
        sample_nuisance,
        swap_regions,
    )
    from facexai.training import PRESETS, train_ddfv, train_frontalizer, train_hopenet
    from facexai.weights import load_model, save_model

__version__ = "0.1.0"
_HOME = {
    "facexai.benchmarks": ("BENCHMARKS", "VerificationReport", "check_preprocessing", "verify"),
    "facexai.detection": ("detect_face", "load_face"),
    "facexai.errors": ("InputError",),
    "facexai.explainers": ("EXPLAINERS", "FrontalizationMaps", "explain", "explain_frontalization"),
    "facexai.frontalizations": ("load_pose_invariant",),
    "facexai.images": ("align_face", "load_image"),
    "facexai.losses": ("ArcFaceLoss",),
    "facexai.models": ("FaceRecognizer", "Preprocessing", "wrap_model"),
    "facexai.models.frontalizers": ("FRONTALIZERS",),
    "facexai.pairs": ("FacePair", "Saliency"),
    "facexai.pose": ("Pose",),
    "facexai.pose_networks": ("load_pose_network", "save_pose_network"),
    "facexai.rendering": (
        *("Identity", "Nuisance", "region_pair", "render", "sample_identity", "sample_nuisance", "swap_regions"),
    ),
    "facexai.training": ("PRESETS", "train_ddfv", "train_frontalizer", "train_hopenet"),
    "facexai.weights": ("load_model", "save_model"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'facexai' has no attribute '{name}'")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
