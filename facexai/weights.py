"""Saved models: a folder with safetensors files and `card.json`, or a published PyTorch file.

`model.safetensors` holds trunk and head, `decoder.safetensors` the decoder where there is one. Each file is checked
against its sha256 in the card before a single weight is used, and nothing is ever unpickled
beyond plain tensors (`weights_only=True`).
"""

import hashlib
import json
import os
import tempfile
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from facexai.errors import InputError
from facexai.models import ARCHITECTURES, FaceRecognizer, Preprocessing, build

CHECKPOINTS = Path(__file__).parent / "checkpoints"
RECOGNIZER = "recognizer"  # the kind of model that a card means which names none


def shipped(kind: str = RECOGNIZER) -> tuple[str, ...]:
    """Names of the models of a kind that come with facexai."""
    cards = {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in CHECKPOINTS.glob("*/card.json")}
    return tuple(sorted(name for name, card in cards.items() if card.get("kind", RECOGNIZER) == kind))


SHIPPED = shipped()
WRAPPERS = ("state_dict", "state_dict_backbone", "model_state_dict", "model", "backbone")  # round a state dict
FAMILIES = ("timm", "torchvision")  # architectures that are a name for many networks
NETWORKS_VARIABLE = "FACEXAI_NETWORKS"


def load_model(
    spec: str | Path, *, device: str | torch.device = "cpu", preprocessing: Preprocessing | None = None
) -> FaceRecognizer:
    """A network with its weights, in eval mode.

    Args:
        spec: a shipped name (`"tutorial"`), a folder written by `save_model`, or `"ARCHITECTURE@FILE"` for a published
            state dict: `"iresnet50@backbone.pth"`, `"adaface-ir101@adaface_ir101_ms1mv2.ckpt"`,
            `"torchvision:resnet50@net.pth"`, `"onnx@w600k_r50.onnx"`.
        device: where the weights go.
        preprocessing: what the network wants to see; None: what its card or its architecture says.

    The modules that the environment variable `FACEXAI_NETWORKS` names, separated by commas, are imported first: there
    you register architectures of your own, with `@ARCHITECTURES.register("my-net")` and `wrap_model`.

    Raises:
        InputError: no such model, a damaged or tampered file, or weights of another architecture.
    """
    register_networks()
    text = str(spec)
    if text in SHIPPED:
        model = _load_folder(CHECKPOINTS / text)
    elif Path(text).is_dir():
        model = _load_folder(Path(text))
    elif "@" in text:
        architecture, _, file = text.partition("@")
        model = _load_published(architecture, Path(file))
    else:
        known = ", ".join(SHIPPED) or "none in this build"
        raise InputError(
            f"no model '{text}': give a shipped name ({known}), a folder that facexai saved, or ARCHITECTURE@FILE "
            f"with one of {', '.join(ARCHITECTURES)}, onnx"
        )
    model.preprocessing = preprocessing or model.preprocessing
    return model.to(device).eval()


def register_networks() -> None:
    """Import the modules of `FACEXAI_NETWORKS`, which register architectures.

    Raises:
        InputError: a module that cannot be imported.
    """
    for name in filter(None, os.environ.get(NETWORKS_VARIABLE, "").split(",")):
        try:
            import_module(name.strip())
        except Exception as error:  # a module of the user may fail in any way
            raise InputError(
                f"{NETWORKS_VARIABLE} names the module {name}, which cannot be imported ({error}); is its folder on "
                "PYTHONPATH?"
            ) from error


def save_model(model: FaceRecognizer, directory: str | Path, card: dict[str, Any], *, half: bool = False) -> Path:
    """Write the weights, `card.json` and `README.md` (the card for people); each file is renamed into place.

    Args:
        model: built by `models.build`.
        directory: made where missing.
        card: command, seed, data, steps, metrics, threshold and whatever else a reader must know. `architecture`,
            `preprocessing`, `threshold` and `sha256` are filled in from the model and the file.
        half: store float16, half the size.

    Returns:
        The directory.

    Raises:
        InputError: a network of which nobody could say how to build it again.
    """
    if not model.architecture.get("name"):
        raise InputError(
            f"{model.name} has no architecture to save; get it from models.build, wrap_model or load_model (ONNX files "
            "are kept as they are)"
        )
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in model.state_dict().items():
        file = "decoder.safetensors" if name.startswith("decoder.") else "model.safetensors"
        parts.setdefault(file, {})[name] = value
    card = {
        **card,
        "architecture": model.architecture,
        "preprocessing": model.preprocessing.to_json(),
        "threshold": model.threshold,
        "sha256": write_weights(directory, parts, half=half),
    }
    write_card(directory, card)
    return directory


def record_benchmark(directory: str | Path, figures: dict[str, Any]) -> None:
    """Put the figures of a benchmark, `VerificationReport.to_json()`, on the card of a saved model.

    Raises:
        InputError: `directory` is not a saved model.
    """
    directory = Path(directory)
    card, _ = read_folder(directory, kind=None)
    write_card(directory, {**card, "benchmarks": {**card.get("benchmarks", {}), figures["benchmark"]: figures}})


def write_atomically(path: Path, payload: bytes) -> None:
    """Write to a temporary name beside `path`, then rename: a reader sees the old file or the whole new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def file_digest(file: Path) -> str:
    """sha256 of a file, read piece by piece."""
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def model_digest(model: nn.Module) -> str:
    """sha256 of the weights, by their names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_weights(directory: Path, parts: dict[str, dict[str, Tensor]], *, half: bool = False) -> dict[str, str]:
    """Write each part, a state dict, to the safetensors file of its name; returns the sha256 of each file."""
    payloads = {
        file: save_safetensors({name: _stored(value, half) for name, value in state.items()})
        for file, state in parts.items()
    }
    for file, payload in payloads.items():
        write_atomically(directory / file, payload)
    return {file: hashlib.sha256(payload).hexdigest() for file, payload in payloads.items()}


def _stored(value: Tensor, half: bool) -> Tensor:
    value = value.detach().cpu()
    return value.half().contiguous() if half and value.is_floating_point() else value.contiguous()


def read_folder(directory: Path, kind: str | None = RECOGNIZER) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Card and checked weights of a saved model of this kind, or of any where None.

    Raises:
        InputError: no saved model, one of another kind, or a damaged or tampered file.
    """
    card_file = directory / "card.json"
    if not card_file.is_file():
        raise InputError(f"{directory} is not a saved model: it has no card.json; write one with facexai.save_model")
    try:
        card = json.loads(card_file.read_text(encoding="utf-8"))
        digests = dict(card["sha256"])
        dict(card["architecture"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{card_file} is not a model card ({type(error).__name__}: {error}); save the model anew"
        ) from None
    if kind is not None and card.get("kind", RECOGNIZER) != kind:
        raise InputError(f"{directory} holds a {card.get('kind', RECOGNIZER)}, but a {kind} is needed; choose one")
    state: dict[str, Tensor] = {}
    for name, digest in digests.items():
        state |= _checked_weights(directory / Path(name).name, digest)
    return card, state


def kind_of(directory: Path) -> str | None:
    """The kind of model that a folder holds, by its card; None where it holds none."""
    try:
        card = json.loads((directory / "card.json").read_text(encoding="utf-8"))
        return str(card.get("kind", RECOGNIZER))
    except (OSError, ValueError, AttributeError):
        return None


def _load_folder(directory: Path) -> FaceRecognizer:
    card, state = read_folder(directory)
    architecture = card["architecture"]
    if architecture.get("name") not in ARCHITECTURES:
        raise InputError(
            f"{directory} is of architecture '{architecture.get('name')}', which facexai does not know; register the "
            f"function that builds it under this name, in a module that {NETWORKS_VARIABLE} names"
        )
    model = _build(architecture["name"], **architecture["options"])
    _fill(model, state, directory / "model.safetensors")
    if "preprocessing" in card:
        model.preprocessing = Preprocessing(**card["preprocessing"])
    model.card, model.threshold = card, card.get("threshold")
    model.name = card.get("name") or directory.name
    return model


def _build(architecture: str, **options: Any) -> FaceRecognizer:
    """A network to be filled; its random start leaves the global random state alone."""
    with torch.random.fork_rng(devices=[]):
        return build(architecture, **options)


def _checked_weights(file: Path, digest: str) -> dict[str, Tensor]:
    """Tensors of a safetensors file whose sha256 is `digest`, in float32."""
    if not file.is_file():
        raise InputError(f"{file.parent} is not a saved model: it has no {file.name}; copy or download it again")
    payload = file.read_bytes()
    if hashlib.sha256(payload).hexdigest() != digest:
        raise InputError(f"{file} is not the file its card describes (sha256 differs); copy or download it again")
    try:
        state = load_safetensors(payload)
    except SafetensorError as error:
        raise InputError(f"{file} is damaged ({error}); copy or download it again") from None
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def _load_published(architecture: str, file: Path) -> FaceRecognizer:
    if architecture == "onnx":
        from facexai.models.onnx import load_onnx

        return load_onnx(file)
    name, _, network = architecture.partition(":")
    if name in ARCHITECTURES and not network and name in FAMILIES:
        raise InputError(f"'{name}' is many networks; say which: {name}:resnet50@{file}")
    ARCHITECTURES[name]  # an unknown one is said before the file is read
    state = read_state_dict(file)
    options = {"network": network, "dimension": _embedding_length(state, file)} if network else {}
    model = _build(name, **options)
    _fill(model, _own_names(state, model), file)
    model.name = f"{architecture}@{file.name}"
    model.card = file_card(file)
    return model


def file_card(file: Path) -> dict[str, Any]:
    """What there is to put on the card of a published file: its sha256."""
    with open(file, "rb") as handle:
        return {"sha256": {file.name: hashlib.file_digest(handle, "sha256").hexdigest()}}


def weights_digest(model: Any) -> str | None:
    """sha256 of the file that a network was loaded from, that of trunk and head where its decoder has another.

    None for a network that comes from no file.
    """
    digests = model.card.get("sha256", {})
    return next((digest for file, digest in digests.items() if file != "decoder.safetensors"), None)


def _embedding_length(state: dict[str, Tensor], file: Path) -> int:
    """D: the rows of the last linear layer."""
    lengths = [len(value) for value in state.values() if value.ndim == 2]
    if not lengths:
        raise InputError(f"{file} has no linear layer that could make embeddings; use facexai.wrap_model")
    return lengths[-1]


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """Tensors of a PyTorch file, which is never unpickled beyond these.

    Raises:
        InputError: no such file, or one that holds something else.
    """
    if not file.is_file():
        raise InputError(f"no weights file {file}; give the path of a PyTorch state dict")
    if unpacks_to_more(file):
        raise InputError(f"{file} unpacks to more than it holds, which no PyTorch file does; take it from its source")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch's unpickler stumbles over in a foreign file
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{file} is not a PyTorch file of plain tensors ({reason}); export it with torch.save(state_dict)"
        ) from None
    if isinstance(state, dict):
        state = next((state[name] for name in WRAPPERS if isinstance(state.get(name), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{file} holds no state dict; export it with torch.save(model.state_dict(), ...)")
    return state


def unpacks_to_more(file: Path) -> bool:
    """Whether a zip archive is compressed: PyTorch's are not, and a small one could fill the memory."""
    try:
        with zipfile.ZipFile(file) as archive:
            return sum(entry.file_size for entry in archive.infolist()) > file.stat().st_size
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):  # no archive, or one that zipfile does not know
        return False


def _own_names(state: dict[str, Tensor], model: FaceRecognizer) -> dict[str, Tensor]:
    """Weights by our names: those under the prefix that fits most of them ("", "module.", "model."), trunk or head."""
    if any(name.startswith("trunk.") for name in state):
        return state
    own = model.state_dict()
    first = next(iter(own)).removeprefix("trunk.")
    prefixes = [name.removesuffix(first) for name in state if f".{name}".endswith(f".{first}")] or [""]

    def renamed(prefix: str) -> dict[str, Tensor]:
        within = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        names = {name: _own_name(name, model.published_names, own) for name in within}
        return {ours: within[name] for name, ours in names.items() if ours is not None}

    return max((renamed(prefix) for prefix in prefixes), key=lambda weights: len(weights.keys() & own.keys()))


def _own_name(name: str, published_names: dict[str, str | None], own: dict[str, Tensor]) -> str | None:
    for published, ours in published_names.items():
        if name.startswith(published):
            if ours is None:
                return None
            name = ours + name.removeprefix(published)
    return f"head.{name}" if f"head.{name}" in own else f"trunk.{name}"


def _fill(model: FaceRecognizer, state: dict[str, Tensor], file: Path) -> None:
    own = model.state_dict()
    counters = {name for name in own.keys() | state.keys() if name.endswith("num_batches_tracked")}
    missing, unknown = sorted(own.keys() - state.keys() - counters), sorted(state.keys() - own.keys() - counters)
    odd = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
    if missing or unknown or odd:
        first = (missing or unknown or sorted(odd))[0]
        raise InputError(
            f"{file} holds weights of another architecture than {model.name}: {len(missing)} tensors missing, "
            f"{len(unknown)} unknown, {len(odd)} of another shape (first: {first}); "
            "choose the architecture it was saved from"
        )
    model.load_state_dict(state, strict=False)


def write_card(directory: Path, card: dict[str, Any]) -> None:
    """Write `card.json`, and `README.md` for people."""
    write_atomically(directory / "card.json", (json.dumps(card, indent=2) + "\n").encode())
    write_atomically(directory / "README.md", _readme(card).encode())


def _readme(card: dict[str, Any]) -> str:
    """The card as Markdown: a heading, one section an entry, and a table of the benchmarks."""
    lines = [f"# Model card: {card.get('name', 'facexai model')}", ""]
    for key, value in card.items():
        if key in ("name", "benchmarks"):
            continue
        lines.append(f"**{key.replace('_', ' ')}**")
        if isinstance(value, dict):
            lines += ["", *(f"* {name}: {_brief(item)}" for name, item in value.items()), ""]
        else:
            lines += ["", f"{_brief(value)}", ""]
    if "benchmarks" in card:
        columns = ("accuracy", "accuracy_std", "auc", "eer", "threshold", "pairs", "rendered")
        lines += ["**benchmarks** (`facexai benchmark NAME --record`)", "", f"| name | {' | '.join(columns)} |"]
        lines += ["|" + "---|" * (len(columns) + 1)]
        for name, figures in card["benchmarks"].items():
            cells = (_brief(figures[column]) if column in figures else "-" for column in columns)
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)
