"""Saved head pose networks: folders as those of recognizers, or published PyTorch files.

`weights.py` says how a folder is written and checked.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facexai.errors import InputError
from facexai.models.hopenet import HopeNet
from facexai.models.three_ddfa import PARAMETERS, ThreeDDFA
from facexai.weights import CHECKPOINTS, file_card, read_folder, read_state_dict, shipped, write_card, write_weights

KIND = "pose network"
SHIPPED_POSE_NETWORKS = shipped(KIND)
PoseNetwork = HopeNet | ThreeDDFA
FILE = "model.safetensors"


def load_pose_network(spec: str | Path, *, device: str | torch.device = "cpu") -> PoseNetwork:
    """A head pose network with its weights, in eval mode: aligned faces (N, 3, H, W) -> `PoseEstimate`.

    Args:
        spec: a shipped name (`"hopenet-tutorial"`), a folder written by `save_pose_network`, or a published file:
            `"hopenet@FILE"` for a state dict of HopeNet with ResNet-50, `"3ddfa@FILE"` for the half-width network of
            3DDFA_V2, with the file `..._param_mean_std.npz` beside it.
        device: where the weights go.

    Raises:
        InputError: no such network, a damaged or tampered file, or weights of another network.
    """
    text = str(spec)
    if text in SHIPPED_POSE_NETWORKS:
        model: PoseNetwork = _load_folder(CHECKPOINTS / text)
    elif Path(text).is_dir():
        model = _load_folder(Path(text))
    elif text.partition("@")[0] in PUBLISHED and "@" in text:
        name, _, file = text.partition("@")
        model = PUBLISHED[name](Path(file))
        model.name, model.card = f"{name}@{Path(file).name}", file_card(Path(file))
    else:
        known = ", ".join(SHIPPED_POSE_NETWORKS) or "none in this build"
        raise InputError(
            f"no pose network '{text}': give a shipped name ({known}), a folder that facexai saved, or "
            f"{' or '.join(f'{name}@FILE' for name in PUBLISHED)}"
        )
    return model.to(device).eval()


def save_pose_network(model: HopeNet, directory: str | Path, card: dict[str, Any], *, half: bool = False) -> Path:
    """Write the weights, `card.json` and `README.md`; each file is renamed into place.

    Args:
        model: the network.
        directory: made where missing.
        card: command, seed, data, steps, metrics and whatever else a reader must know. `kind`, `architecture` and
            `sha256` are filled in.
        half: store float16, half the size.

    Returns:
        The directory.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    digests = write_weights(directory, {FILE: model.state_dict()}, half=half)
    architecture = {"name": "hopenet", "options": model.options}
    write_card(directory, {**card, "kind": KIND, "architecture": architecture, "sha256": digests})
    return directory


def _load_folder(directory: Path) -> HopeNet:
    card, state = read_folder(directory, KIND)
    try:
        model = _untrained(**card["architecture"]["options"])
    except (TypeError, KeyError) as error:
        raise InputError(f"{directory / 'card.json'} describes no HopeNet ({error}); save the network anew") from None
    _fill(model, state, directory / FILE)
    model.card, model.name = card, card.get("name") or directory.name
    return model


def _untrained(depth: int = 50, **options: Any) -> HopeNet:
    """A network to be filled; its random start leaves the global random state alone."""
    with torch.random.fork_rng(devices=[]):
        return HopeNet(depth, **options)


def _published_hopenet(file: Path) -> HopeNet:
    """HopeNet with ResNet-50, 2048-d feature."""
    state = read_state_dict(file)
    model = _untrained()
    try:
        model.load_published(state)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return model


def _published_3ddfa(file: Path) -> ThreeDDFA:
    """Half-width network of 3DDFA_V2, 512-d feature."""
    state = {name.removeprefix("module."): value for name, value in read_state_dict(file).items()}
    state = {name: value for name, value in state.items() if not name.startswith("fc_lm.")}  # 2-D landmarks, unused
    with torch.random.fork_rng(devices=[]):
        model = ThreeDDFA(*_moments(file))
    _fill(model, state, file, given=("mean", "std"))
    return model


def _moments(file: Path) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of 3DDFA's parameters, from the published file beside the weights."""
    found = sorted(file.parent.glob("*param_mean_std*.npz"))
    if len(found) != 1:
        raise InputError(
            f"3DDFA's weights need one file *param_mean_std.npz with `mean` and `std` beside them in {file.parent}; "
            f"found {len(found)}"
        )
    try:
        with np.load(found[0], allow_pickle=False) as arrays:
            mean, std = (torch.from_numpy(np.asarray(arrays[name], np.float32)) for name in ("mean", "std"))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{found[0]} does not hold `mean` and `std` ({error}); download it again") from None
    if mean.shape != (PARAMETERS,) or std.shape != (PARAMETERS,):
        raise InputError(f"{found[0]} must hold {PARAMETERS} means and deviations; got {tuple(mean.shape)}")
    return mean, std


def _fill(model: PoseNetwork, state: dict[str, Tensor], file: Path, given: tuple[str, ...] = ()) -> None:
    own = {name: value for name, value in model.state_dict().items() if name not in given}
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    missing, unknown = sorted(own.keys() - state.keys() - counters), sorted(state.keys() - own.keys())
    odd = sorted(name for name in own.keys() & state.keys() if own[name].shape != state[name].shape)
    if missing or unknown or odd:
        raise InputError(
            f"{file} holds weights of another network: {len(missing)} tensors missing, {len(unknown)} unknown, "
            f"{len(odd)} of another shape (first: {(missing or unknown or odd)[0]})"
        )
    model.load_state_dict(state, strict=False)


PUBLISHED = {"hopenet": _published_hopenet, "3ddfa": _published_3ddfa}
