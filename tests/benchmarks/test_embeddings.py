"""Embeddings come from the cache for the same network, images and options, and for no others."""

import numpy as np
import pytest
import torch

from facexai.benchmarks import embed_all, embeddings
from facexai.benchmarks.embeddings import embeddings_once
from facexai.benchmarks.verification import read_ahead
from facexai.models import Preprocessing, build, wrap_model


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """The cache in a folder of its own, and a list of how often something was embedded."""
    calls = []

    def embed(*arguments, **options):
        calls.append(options)
        return embed_all(*arguments, **options)

    monkeypatch.setenv("FACEXAI_CACHE", str(tmp_path))
    monkeypatch.setattr(embeddings, "embed_all", embed)
    return calls


def tiny(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(2, 2, 4, 8)).eval()


FACES = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)


def test_the_second_time_nothing_is_embedded(counted):
    first = embeddings_once(tiny(), FACES, progress=False)
    second = embeddings_once(tiny(), FACES.copy(), progress=False)
    assert len(counted) == 1
    assert np.array_equal(first, second)
    assert np.array_equal(first, embed_all(tiny(), FACES, progress=False))


@pytest.mark.parametrize("change", ["weights", "preprocessing", "image", "order", "flip", "normalize", "batch_size"])
def test_whatever_matters_is_part_of_the_key(counted, change):
    model, faces, options = tiny(), FACES.copy(), {"flip": True, "normalize": True, "batch_size": 64}
    embeddings_once(model, faces, **options, progress=False)
    if change == "weights":
        model.head.bn.running_mean[3] += 0.01
    elif change == "preprocessing":
        model.preprocessing = Preprocessing(channel_order="BGR")
    elif change == "image":
        faces[4, 0, 0, 0] ^= 1
    elif change == "order":
        faces = faces[::-1].copy()
    else:
        options[change] = 2 if change == "batch_size" else False
    embeddings_once(model, faces, **options, progress=False)
    assert len(counted) == 2


def test_a_damaged_file_is_made_anew(counted, tmp_path):
    whole = embeddings_once(tiny(), FACES, progress=False)
    (file,) = (tmp_path / "embeddings").iterdir()
    file.write_bytes(file.read_bytes()[:-10])
    assert np.array_equal(embeddings_once(tiny(), FACES, progress=False), whole)
    assert len(counted) == 2


@pytest.mark.parametrize("network", ["without an architecture", "wrapped"])
def test_networks_whose_weights_do_not_say_all_are_not_looked_up(counted, tmp_path, network):
    model = tiny()
    model.architecture = {}
    if network == "wrapped":
        model = wrap_model(model.trunk, head=model.head, name="mine")
    for _ in range(2):
        embeddings_once(model, FACES, progress=False)
    assert len(counted) == 2 and not (tmp_path / "embeddings").exists()


@pytest.mark.parametrize("count", [0, 1, 4, 5])
def test_batches_are_read_ahead_in_order(count):
    batches = list(read_ahead(FACES[:count], 2, 112))
    assert [len(batch) for batch in batches] == [2] * (count // 2) + [1] * (count % 2)
    assert np.array_equal(np.concatenate([FACES[:0], *batches]), FACES[:count])


def test_a_face_that_cannot_be_read_ends_the_run(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"noise")
    with pytest.raises(ValueError, match=r"x\.jpg is not an image"):
        embed_all(tiny(), [tmp_path / "x.jpg"], progress=False)
