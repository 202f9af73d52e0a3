"""Saved frontalizers come back equal, with the networks that they belong to; nothing damaged or foreign is let in."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from facexai.errors import InputError
from facexai.frontalizations import (
    SHIPPED_FRONTALIZERS,
    load_frontalization,
    load_pose_invariant,
    network_digests,
    save_frontalization,
)
from facexai.models import build
from facexai.models.frontalizers import CONTROLS, FRONTALIZERS, Frontalization, build_control, build_frontalizer
from facexai.models.hopenet import HopeNet
from facexai.pose_networks import load_pose_network, save_pose_network
from facexai.weights import SHIPPED, load_model, save_model, weights_digest

D, P, N = 16, 256, 5


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    embedding, feature = (torch.randn(N, size, generator=generator) for size in (D, P))
    return embedding, feature, torch.tensor([0.0, 29, 31, -60, 90])[:, None] * torch.tensor([[1.0, 0.1, 0.1]])


def made(name: str = "fspfm", *, centred: bool = False, **options: object) -> Frontalization:
    torch.manual_seed(1)
    pose_size = P if name == "fspfm" and not options.get("yaw_only") else 1
    if name not in ("dream",):
        options = {"residual_start": "default", **options}
    module = build_frontalizer(name, D, pose_size, **options)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    centring = None
    if centred:
        embedding, _, angles = inputs()
        centring = CONTROLS["wccn"](embedding, torch.tensor([0, 0, 0, 1, 1]), angles[:, 0])
    return Frontalization(module, centring=centring, limit=None if centred else 30.0).eval()


@pytest.fixture
def networks(tmp_path) -> dict[str, str]:
    """A recognizer and a pose network, saved; what a card says of them."""
    torch.manual_seed(0)
    recognizer = build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, D), stem_stride=2)
    save_model(recognizer, tmp_path / "recognizer", {"name": "small"})
    save_pose_network(HopeNet(10, size=32, stages=3), tmp_path / "pose", {"name": "poser"})
    return {"recognizer": str(tmp_path / "recognizer"), "pose_network": str(tmp_path / "pose")}


def variants() -> list[Frontalization]:
    every = [made(name) for name in FRONTALIZERS]
    return [
        *every,
        made(yaw_only=True),
        made(block="prelu", width=2, gate="two-layer", stacked=True),
        made(centred=True),
    ]


def test_each_kind_comes_back_equal_and_leaves_the_global_state_alone(tmp_path):
    for number, module in enumerate(variants()):
        folder = save_frontalization(module, tmp_path / str(number), {"name": "mine", "seed": number})
        state = torch.get_rng_state()
        loaded = load_frontalization(folder)
        assert torch.equal(torch.get_rng_state(), state), module.name
        assert torch.equal(loaded(*inputs()), module(*inputs())), module.name
        assert (loaded.limit, loaded.training, loaded.card["seed"]) == (module.limit, False, number)
        assert loaded.architecture == module.architecture
        assert loaded.card["kind"] == "frontalizer"


def test_controls_alone_can_be_saved_too(tmp_path):
    embedding, feature, angles = inputs()
    for name in CONTROLS:
        module = Frontalization(CONTROLS[name](embedding, torch.tensor([0, 0, 0, 1, 1]), angles[:, 0]), limit=None)
        loaded = load_frontalization(save_frontalization(module, tmp_path / name, {}))
        assert torch.equal(loaded(embedding, feature, angles), module(embedding, feature, angles))


def test_half_precision_halves_the_file_and_hardly_moves_the_embeddings(tmp_path):
    module = made()
    sizes = {}
    for half in (False, True):
        folder = save_frontalization(module, tmp_path / str(half), {}, half=half)
        sizes[half] = (folder / "model.safetensors").stat().st_size
    assert sizes[True] < 0.6 * sizes[False]
    assert torch.allclose(load_frontalization(folder)(*inputs()), module(*inputs()), atol=0.02)


def test_a_tampered_file_is_refused(tmp_path):
    folder = save_frontalization(made(), tmp_path / "one", {})
    payload = bytearray((folder / "model.safetensors").read_bytes())
    payload[-1] ^= 1
    (folder / "model.safetensors").write_bytes(payload)
    with pytest.raises(InputError, match="sha256 differs"):
        load_frontalization(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a["frontalizer"].update(dimension=8),
        lambda a: a["frontalizer"].update(name="dream"),
        lambda a: a["frontalizer"].update(options={"colour": "red"}),
        lambda a: a["frontalizer"].pop("pose_size"),
        lambda a: a.pop("limit"),
        lambda a: a.update(centring={"name": "fspfm"}),
    ],
)
def test_a_card_of_another_frontalizer_is_refused_in_one_line(tmp_path, change):
    folder = save_frontalization(made(), tmp_path / "one", {})
    card = json.loads((folder / "card.json").read_text())
    change(card["architecture"])
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputError) as caught:
        load_frontalization(folder)
    assert "\n" not in str(caught.value)


def test_unknown_names_and_other_kinds_are_refused(networks):
    with pytest.raises(InputError, match=r"no frontalizer 'fspmf': give a shipped name \(.+\) or a folder"):
        load_frontalization("fspmf")
    with pytest.raises(InputError, match="holds a recognizer, but a frontalizer is needed"):
        load_frontalization(networks["recognizer"])
    with pytest.raises(InputError, match="holds a pose network, but a frontalizer is needed"):
        load_frontalization(networks["pose_network"])
    assert not set(SHIPPED_FRONTALIZERS) & set(SHIPPED)


def test_a_frontalizer_is_no_recognizer(tmp_path):
    folder = save_frontalization(made(), tmp_path / "one", {})
    with pytest.raises(InputError, match="holds a frontalizer, but a recognizer is needed"):
        load_model(folder)


def test_the_networks_of_the_card_are_loaded(tmp_path, networks):
    folder = save_frontalization(made(), tmp_path / "one", networks)
    model = load_pose_invariant(folder)
    assert (model.name, model.training, model.dimension) == ("small + fspfm", False, D)
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 2 - 1
    given = load_pose_invariant(folder, load_model(networks["recognizer"]))
    assert torch.equal(model.embed(images, flip=True), given.embed(images, flip=True))


@pytest.mark.parametrize("part", ["recognizer", "pose_network"])
def test_networks_with_other_weights_than_those_of_the_card_are_refused(tmp_path, networks, part):
    digests = network_digests(load_model(networks["recognizer"]), load_pose_network(networks["pose_network"]))
    folder = save_frontalization(made(), tmp_path / "one", {**networks, "network_sha256": digests})
    load_pose_invariant(folder)
    torch.manual_seed(1)
    if part == "recognizer":
        other = build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, D), stem_stride=2)
        save_model(other, networks[part], {"name": "small"})
    else:
        save_pose_network(HopeNet(10, size=32, stages=3), networks[part], {"name": "poser"})
    with pytest.raises(InputError, match=f"trained for a {part.replace('_', ' ')} whose weights have sha256") as caught:
        load_pose_invariant(folder)
    assert "\n" not in str(caught.value)


def test_a_published_file_and_a_decoder_are_told_by_the_files_that_give_embeddings(tmp_path, networks):
    model = load_model(networks["recognizer"])
    assert set(model.card["sha256"]) == {"decoder.safetensors", "model.safetensors"}
    assert weights_digest(model) == model.card["sha256"]["model.safetensors"]
    torch.save(build("mobilefacenet").state_dict(), tmp_path / "published.pth")
    published = load_model(f"mobilefacenet@{tmp_path / 'published.pth'}")
    assert weights_digest(published) == hashlib.sha256((tmp_path / "published.pth").read_bytes()).hexdigest()
    assert network_digests(build("mobilefacenet"), load_pose_network(networks["pose_network"])).keys() == {
        "pose_network"
    }


def test_a_recognizer_may_lie_inside_the_folder(tmp_path, networks):
    folder = save_frontalization(made(), tmp_path / "one", {**networks, "recognizer": "recognizer"})
    Path(networks["recognizer"]).rename(folder / "recognizer")
    assert load_pose_invariant(folder).recognizer.name == "small"


def test_a_recognizer_of_other_dimension_is_refused(tmp_path, networks):
    folder = save_frontalization(made(), tmp_path / "one", networks)
    other = build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, 8), stem_stride=2)
    with pytest.raises(InputError, match="for embeddings of dimension 16, but ddfv-iresnet gives 8; take the one"):
        load_pose_invariant(folder, other)


def test_a_pose_network_of_another_size_is_told_when_it_is_asked(tmp_path, networks):
    save_pose_network(HopeNet(10, size=32), Path(networks["pose_network"]), {})  # P = 512
    model = load_pose_invariant(save_frontalization(made(), tmp_path / "one", networks))
    with pytest.raises(InputError, match=r"FSPFM takes pose features \(1, 256\), one row an embedding; got \(1, 512\)"):
        model.embed(torch.zeros(1, 3, 112, 112))


def test_a_card_without_networks_says_what_to_do(tmp_path):
    folder = save_frontalization(made(), tmp_path / "one", {"recognizer": "tutorial"})
    with pytest.raises(InputError, match="names no 'pose_network'; build a PoseInvariantRecognizer"):
        load_pose_invariant(folder)


def test_unfitted_controls_are_the_unit_embeddings():
    embedding, _, angles = inputs()
    for name in CONTROLS:
        control = build_control(name, D)
        assert torch.allclose(control(embedding, angles[:, :1]), torch.nn.functional.normalize(embedding), atol=1e-6)
