"""Saved frontalizers: what was learnt on top of a recognizer, and which recognizer and pose network it belongs to.

`weights.py` says how a folder is written and checked.
"""

from pathlib import Path
from typing import Any

import torch

from facexai.errors import InputError
from facexai.models import FaceRecognizer
from facexai.models.frontalizers import Frontalization, build_frontalization
from facexai.models.pose_invariant import PoseInvariantRecognizer
from facexai.pose_networks import PoseNetwork, load_pose_network
from facexai.weights import (
    CHECKPOINTS,
    load_model,
    read_folder,
    shipped,
    weights_digest,
    write_card,
    write_weights,
)

KIND = "frontalizer"
SHIPPED_FRONTALIZERS = shipped(KIND)
FILE = "model.safetensors"
RECOGNIZER_FOLDER = "recognizer"  # inside the frontalizer's, where both were trained together
MEMBER = {"recognizer": "recognizer", "pose_network": "estimator"}  # names on the card and in the model


def load_frontalization(spec: str | Path) -> Frontalization:
    """A frontalizer with its weights and with what stands round it, in eval mode.

    Args:
        spec: a shipped name (`"tutorial-fspfm"`), or a folder written by `save_frontalization`.

    Raises:
        InputError: no such frontalizer, or a damaged or tampered file.
    """
    text = str(spec)
    if text not in SHIPPED_FRONTALIZERS and not Path(text).is_dir():
        known = ", ".join(SHIPPED_FRONTALIZERS) or "none in this build"
        raise InputError(f"no frontalizer '{text}': give a shipped name ({known}) or a folder that facexai saved")
    directory = CHECKPOINTS / text if text in SHIPPED_FRONTALIZERS else Path(text)
    card, state = read_folder(directory, KIND)
    try:
        with torch.random.fork_rng(devices=[]):  # its random start is to leave the global state alone
            frontalization = build_frontalization(card["architecture"])
        frontalization.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{directory} does not hold the frontalizer of its card ({reason}); save it anew") from None
    frontalization.card = card
    return frontalization.eval()


def save_frontalization(
    frontalization: Frontalization, directory: str | Path, card: dict[str, Any], *, half: bool = False
) -> Path:
    """Write the weights, `card.json` and `README.md`; each file is renamed into place.

    Args:
        frontalization: what was learnt.
        directory: made where missing.
        card: command, seed, data, metrics and whatever else a reader must know; `"recognizer"` and `"pose_network"`
            name the networks it was trained for, as `load_model` and `load_pose_network` take them, and
            `"network_sha256"` has their digests, see `network_digests`. `kind`, `architecture` and `sha256` are filled
            in.
        half: store float16, half the size.

    Returns:
        The directory.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    digests = write_weights(directory, {FILE: frontalization.state_dict()}, half=half)
    write_card(directory, {**card, "kind": KIND, "architecture": frontalization.architecture, "sha256": digests})
    return directory


def network_digests(recognizer: FaceRecognizer, pose_network: PoseNetwork) -> dict[str, str]:
    """sha256 of the weights of both networks, for the card; without a network that comes from no file."""
    digests = {"recognizer": weights_digest(recognizer), "pose_network": weights_digest(pose_network)}
    return {name: digest for name, digest in digests.items() if digest is not None}


def load_pose_invariant(spec: str | Path, recognizer: FaceRecognizer | None = None) -> PoseInvariantRecognizer:
    """A frontalizer together with the networks it was trained for, in eval mode.

    Args:
        spec: as `load_frontalization` takes it.
        recognizer: the one that its card names, where it is loaded already or lies elsewhere; loaded where None.

    Raises:
        InputError: as `load_frontalization`; networks that are not there, or have other weights than those that the
            frontalizer was trained for; a recognizer of other dimension.
    """
    frontalization = load_frontalization(spec)
    try:
        names = frontalization.card["recognizer"], frontalization.card["pose_network"]
    except KeyError as error:
        raise InputError(f"the card of frontalizer {spec} names no {error}; build a PoseInvariantRecognizer") from None
    if recognizer is None:
        beside = Path(spec) / names[0]
        recognizer = load_model(beside if beside.is_dir() else names[0])
    estimator = load_pose_network(names[1])
    model = PoseInvariantRecognizer(recognizer, estimator, frontalization).eval()
    expected = frontalization.card.get("network_sha256", {})
    for part, found in network_digests(recognizer, estimator).items():
        if expected.get(part, found) != found:
            raise InputError(
                f"frontalizer {spec} was trained for a {part.replace('_', ' ')} whose weights have sha256 "
                f"{expected[part][:12]}..., those of {getattr(model, MEMBER[part]).name} have {found[:12]}...; "
                "take that network, or train a frontalizer for this one"
            )
    return model
