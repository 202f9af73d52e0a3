"""The whole pose-invariant recognizer: who passes by the frontalizer, what it sees, and what stays frozen."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from facexai.benchmarks.verification import embed_all
from facexai.errors import InputError
from facexai.models import FaceRecognizer, build
from facexai.models.frontalizers import DREAM, FSPFM, Frontalization, Frontalizer, GlobalCentring
from facexai.models.hopenet import HopeNet, PoseEstimate
from facexai.models.pose_invariant import PoseInvariantRecognizer

ANGLES = torch.tensor([[0.0, 5.0, 0.0], [-30.0, 0.0, 0.0], [31.0, 0.0, 0.0], [-80.0, 0.0, 9.0]])  # yaw, pitch, roll
PROFILE = torch.tensor([False, False, True, True])


@pytest.fixture(scope="module")
def tiny() -> FaceRecognizer:
    torch.manual_seed(0)
    return build("ddfv-iresnet", blocks=(1, 1, 1, 1), widths=(4, 4, 8, 16)).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(4, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 2 - 1


def known_poses(images: torch.Tensor) -> PoseEstimate:
    """Poses that are known beforehand; a feature that tells faces apart."""
    return PoseEstimate(images.mean((2, 3)), ANGLES)


def random_fspfm(dimension: int = 16, pose_size: int = 3) -> FSPFM:
    torch.manual_seed(1)
    return FSPFM(dimension, pose_size, residual_start="default").eval()


def test_up_to_the_limit_an_embedding_is_untouched(tiny, images):
    model = PoseInvariantRecognizer(tiny, known_poses, Frontalization(random_fspfm()))
    raw, ours = tiny.embed(images), model.embed(images)
    assert torch.equal(ours[~PROFILE], raw[~PROFILE])
    assert (F.cosine_similarity(ours, raw)[PROFILE] < 0.999).all()
    everyone = PoseInvariantRecognizer(tiny, known_poses, Frontalization(random_fspfm(), limit=None)).embed(images)
    assert (F.cosine_similarity(everyone, raw) < 0.999).all()
    assert torch.allclose(everyone[PROFILE], ours[PROFILE])


def test_beyond_it_is_the_frontalizer_on_what_the_head_gives(tiny, images):
    frontalizer = random_fspfm()
    pooled = tiny.pool(tiny.features(images))
    expected = F.normalize(frontalizer(pooled, images.mean((2, 3))))
    ours = PoseInvariantRecognizer(tiny, known_poses, Frontalization(frontalizer)).embed(images)
    assert torch.allclose(ours[PROFILE], expected[PROFILE], atol=1e-6)


def test_yaw_methods_get_the_yaw(tiny, images):
    torch.manual_seed(1)
    dream = DREAM(16, residual_start="default").eval()
    expected = F.normalize(dream(tiny.pool(tiny.features(images)), ANGLES[:, :1]))
    ours = PoseInvariantRecognizer(tiny, known_poses, Frontalization(dream)).embed(images)
    assert torch.allclose(ours[PROFILE], expected[PROFILE], atol=1e-6)


class Spy(Frontalizer):
    def frontalize(self, embedding, pose):
        self.seen = embedding
        return embedding


def test_centring_comes_first_and_leaves_dimensions_of_about_1(tiny, images):
    centring = GlobalCentring(16)
    centring.mean.copy_(torch.full((16,), 0.1))
    spy = Spy(16, 3)
    embedding = PoseInvariantRecognizer(tiny, known_poses, Frontalization(spy, centring=centring)).embed(images)
    expected = F.normalize(tiny.embed(images) - 0.1)
    assert torch.allclose(spy.seen, expected * 4, atol=1e-5)
    assert torch.allclose(embedding, expected, atol=1e-6)  # those below the limit are centred too


def test_flip_embeddings_are_summed(tiny, images):
    model = PoseInvariantRecognizer(tiny, known_poses, Frontalization(random_fspfm()))
    expected = F.normalize(model.frontalized(images) + model.frontalized(images.flip(3)))
    assert torch.equal(model.embed(images, flip=True), expected)
    assert not torch.allclose(model.embed(images), expected, atol=1e-3)


def test_the_pose_network_does_not_move_by_one_bit(tiny, images):
    torch.manual_seed(0)
    model = PoseInvariantRecognizer(
        copy.deepcopy(tiny), HopeNet(18, size=112, stages=3), Frontalization(random_fspfm(16, 256), limit=None)
    )
    before = {part: copy.deepcopy(getattr(model, part).state_dict()) for part in ("estimator", "frontalization")}
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    model.frontalized(images).square().sum().backward()
    optimizer.step()
    after = {part: getattr(model, part).state_dict() for part in before}
    assert all(torch.equal(value, after["estimator"][name]) for name, value in before["estimator"].items())
    name = "frontalizer.T1.fc1.weight"
    assert not torch.equal(before["frontalization"][name], after["frontalization"][name])


def test_verification_takes_it_for_a_network(tiny, images):
    pixels = ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    model = PoseInvariantRecognizer(tiny, known_poses, Frontalization(random_fspfm()))
    embedding = embed_all(model, pixels, progress=False)  # type: ignore[arg-type]
    assert embedding.shape == (4, model.dimension) == (4, 16)
    assert np.allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-6)


def test_parts_that_do_not_fit_are_one_clear_line(tiny, images):
    with pytest.raises(InputError, match=r"FSPFM is made for embeddings of dimension 12, but .* gives 16"):
        PoseInvariantRecognizer(tiny, known_poses, Frontalization(random_fspfm(12)))
    with pytest.raises(InputError, match="GlobalCentring is made for embeddings of dimension 8"):
        PoseInvariantRecognizer(tiny, known_poses, Frontalization(random_fspfm(), centring=GlobalCentring(8)))
    with pytest.raises(InputError, match=r"takes pose features \(4, 7\), one row an embedding; got \(4, 3\)"):
        PoseInvariantRecognizer(tiny, known_poses, Frontalization(random_fspfm(16, 7))).embed(images)
