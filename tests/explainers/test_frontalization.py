"""Maps of what a frontalizer did: known answers on four patches, the formulas on a tiny network, and bad input."""

import copy

import pytest
import torch
from explainer_toys import patch_pair, patch_recognizer, smooth_pair, tiny_recognizer
from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError
from facexai.explainers import channel_residuals, explain_frontalization
from facexai.models import FaceRecognizer, FullyConnectedHead
from facexai.models.frontalizers import FSPFM, WCCN, Frontalization, Frontalizer, GlobalCentring
from facexai.models.hopenet import PoseEstimate
from facexai.models.pose_invariant import PoseInvariantRecognizer
from facexai.pairs import FacePair

FIELDS = ("gain", "change", "distrust", "partner_change")


def poses(*yaws: float):
    """A pose network that says these yaws, with the mean colour of a face as its feature."""

    def estimate(images: Tensor) -> PoseEstimate:
        yaw = torch.tensor(yaws)
        return PoseEstimate(images.mean((2, 3)), torch.stack([yaw, 0 * yaw, 0 * yaw], dim=1))

    return estimate


class Becomes(Frontalizer):
    """Everything becomes one vector."""

    def __init__(self, *values: float) -> None:
        super().__init__(len(values), 3)
        self.register_buffer("values", torch.tensor(values))

    def frontalize(self, embedding: Tensor, pose: Tensor) -> Tensor:
        return self.values.expand_as(embedding)  # type: ignore[operator]


def patches(*after: float) -> PoseInvariantRecognizer:
    """The probe is a profile and its embedding becomes `after`; the gallery face is frontal."""
    return PoseInvariantRecognizer(patch_recognizer(), poses(60.0, 0.0), Frontalization(Becomes(*after)))


def fspfm(model: FaceRecognizer, *yaws: float, **options) -> PoseInvariantRecognizer:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        frontalizer = FSPFM(model.dimension, 3, residual_start="default").eval()
    return PoseInvariantRecognizer(model, poses(*yaws), Frontalization(frontalizer, **options))


@pytest.fixture(scope="module")
def tiny() -> FaceRecognizer:
    return tiny_recognizer()


def grid(maps: Tensor) -> Tensor:
    """Mean of each of the four patches. (..., 16, 16) -> (..., 4)."""
    return F.avg_pool2d(maps.reshape(-1, 1, 16, 16), 8).view(*maps.shape[:-2], 4)


def test_known_answer_on_four_patches():
    """Probe (.6, .8, 0, 0) becomes (.6, 0, .8, 0), twice as long, and the gallery face is (.6, 0, .8, 0)."""
    maps = explain_frontalization(patch_pair((0.6, 0.8, 0, 0), (0.6, 0, 0.8, 0)), patches(1.2, 0, 1.6, 0))
    assert maps.before.score == pytest.approx(0.36, abs=1e-5) and maps.after.score == pytest.approx(1.0, abs=1e-5)
    expected = {
        "gain": [[0, 0, 0.64, 0]] * 2,  # both have the third patch now
        "change": [[0, 0.8, 0.8, 0], [0, 0, 0, 0]],  # of the profile alone, and the length does not count
        "distrust": [[0, 0.8, 0, 0], [0, 0, 0, 0]],
        "partner_change": [[0, 0.8, 0.8, 0], [0, 0, 0, 0]],
    }
    for name, rows in expected.items():
        assert torch.allclose(grid(getattr(maps, name)), torch.tensor(rows), atol=1e-4), name
    assert torch.allclose(grid(maps.before.signed), torch.tensor([[0.36, 0, 0, 0]] * 2), atol=1e-4)
    assert torch.allclose(grid(maps.after.signed), torch.tensor([[0.36, 0, 0.64, 0]] * 2), atol=1e-4)
    assert maps.frontalized.tolist() == [True, False] and maps.angles[:, 0].tolist() == [60.0, 0.0]


def test_the_formulas_written_down(tiny):
    """Channel by channel on a network as in the paper, both faces frontalized, with a centring before it."""
    model = fspfm(tiny, 60.0, -70.0, limit=None, centring=GlobalCentring(tiny.dimension))
    pair = smooth_pair()
    maps = explain_frontalization(pair, model, draw="own")
    with torch.no_grad():
        features = tiny.features(pair.images)
        a = model.frontalization.centring(tiny.pool(features), torch.zeros(2, 1)) * tiny.dimension**0.5
        moved = model.frontalization.frontalizer(a, pair.images.mean((2, 3)))
    u, v = F.normalize(a), F.normalize(moved)
    residuals = torch.stack([channel_residuals(one, tiny.decoder, "batched").stack() for one in features])
    for k in (0, 1):
        r = residuals[k]
        before, after, gain, change, distrust, across = (torch.zeros(112, 112) for _ in range(6))
        for i in range(tiny.dimension):
            before += u[0, i] * u[1, i] * r[i]
            after += v[0, i] * v[1, i] * r[i]
            gain += (v[0, i] * v[1, i] - u[0, i] * u[1, i]) * r[i]
            change += (v[k, i] - u[k, i]).abs() * r[i]
            distrust += max(float(u[k, i].abs() - v[k, i].abs()), 0.0) * r[i]
            across += (v[k, i] - u[k, i]).abs() * residuals[1 - k][i]
        ours = maps.before.signed, maps.after.signed, maps.gain, maps.change, maps.distrust, maps.partner_change
        for mine, theirs in zip(ours, (before, after, gain, change, distrust, across), strict=True):
            assert torch.allclose(mine[k], theirs, atol=1e-4)


def test_contributions_sum_to_the_scores_and_the_gain_is_the_difference_of_the_maps(tiny):
    model, pair = fspfm(tiny, 60.0, 0.0), smooth_pair(1)
    maps = explain_frontalization(pair, model)
    assert maps.contributions.sum(1).tolist() == pytest.approx([maps.before.score, maps.after.score], abs=1e-6)
    with torch.no_grad():
        raw, ours = tiny.embed(pair.images), model.embed(pair.images)
    assert maps.before.score == pytest.approx(float(raw[0] @ raw[1]), abs=1e-6)
    assert maps.after.score == pytest.approx(float(ours[0] @ ours[1]), abs=1e-6)
    assert torch.allclose(maps.gain, maps.after.signed - maps.before.signed, atol=1e-5)
    assert float(maps.gain.abs().max()) > 0.01


def test_a_frontal_face_is_unchanged_to_the_last_bit(tiny):
    maps = explain_frontalization(smooth_pair(), fspfm(tiny, 60.0, 29.0))
    for name in ("change", "distrust", "partner_change"):
        assert float(getattr(maps, name)[1].abs().max()) == 0, name
        assert float(getattr(maps, name)[0].max()) > 0, name
    assert torch.equal(maps.embeddings[1, 0], maps.embeddings[1, 1])
    frontal = explain_frontalization(smooth_pair(), fspfm(tiny, -30.0, 29.0))
    assert frontal.before.score == frontal.after.score and not frontal.frontalized.any()
    assert float(frontal.gain.abs().max()) == 0


def test_the_length_of_an_embedding_is_no_change(tiny):
    class Longer(Becomes):
        def frontalize(self, embedding: Tensor, pose: Tensor) -> Tensor:
            return 4 * embedding

    model = PoseInvariantRecognizer(tiny, poses(60.0, 0.0), Frontalization(Longer(*[0.0] * tiny.dimension)))
    assert float(explain_frontalization(smooth_pair(), model).change.max()) < 1e-5


def test_what_a_face_lacks_is_drawn_where_it_is_told():
    """The probe lacks the third patch, which the gallery face has; neither has the fourth."""
    pair, model = patch_pair((0.6, 0.8, 0, 0), (0.6, 0, 0.8, 0)), patches(0.6, 0.0, 0.8, 0.5)
    drawn = {draw: grid(explain_frontalization(pair, model, draw=draw).change)[0] > 0.1 for draw in ("own", "skip")}
    assert drawn["own"].tolist() == [False, True, True, True]
    assert drawn["skip"].tolist() == [False, True, False, False]
    partner = grid(explain_frontalization(pair, model).change)[0] > 0.1
    assert partner.tolist() == [False, True, True, False]


def test_model_and_pair_are_left_as_they_were(tiny):
    model, pair = fspfm(copy.deepcopy(tiny), 60.0, 0.0), smooth_pair()
    model.train()
    model.recognizer.trunk.eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    images = pair.images
    maps = explain_frontalization(pair, model)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(pair.images, images)
    assert torch.is_grad_enabled() and all(p.grad is None for p in model.parameters())
    assert not any(getattr(maps, name).requires_grad for name in FIELDS)
    assert maps.after.score == explain_frontalization(pair, model.eval()).after.score, "in eval mode, whatever it was"


def test_swapping_the_pair_swaps_the_maps(tiny):
    pair = smooth_pair()
    there, back = (
        explain_frontalization(one, fspfm(tiny, *yaws))
        for one, yaws in ((pair, (60.0, 0.0)), (pair.swapped(), (0.0, 60.0)))
    )
    for name in FIELDS:
        assert torch.allclose(getattr(there, name), getattr(back, name).flip(0), atol=1e-5), name


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda model: model.recognizer, "takes a PoseInvariantRecognizer; got FaceRecognizer"),
        (lambda model: with_part(model, decoder=None), "has no decoder"),
        (lambda model: with_part(model, head=FullyConnectedHead(32, 7, 32)), "has a FullyConnectedHead"),
        (lambda model: PoseInvariantRecognizer(model.recognizer, poses(60, 0), Frontalization(WCCN(32))), "WCCN mixes"),
        (
            lambda model: PoseInvariantRecognizer(
                model.recognizer, poses(60, 0), Frontalization(FSPFM(32, 3), centring=WCCN(32))
            ),
            "WCCN mixes",
        ),
    ],
)
def test_a_model_without_places_is_refused_in_one_line(tiny, spoil, message):
    with pytest.raises(InputError, match=message) as caught:
        explain_frontalization(smooth_pair(), spoil(fspfm(tiny, 60.0, 0.0)))
    assert "\n" not in str(caught.value)


def with_part(model: PoseInvariantRecognizer, **parts) -> PoseInvariantRecognizer:
    recognizer = copy.deepcopy(model.recognizer)
    for name, part in parts.items():
        setattr(recognizer, name, part)
    return PoseInvariantRecognizer(recognizer, model.estimator, model.frontalization)


def test_images_and_options_that_do_not_fit_are_refused(tiny):
    small = FacePair(torch.zeros(3, 64, 64), torch.zeros(3, 64, 64))
    with pytest.raises(InputError, match="112 x 112"):
        explain_frontalization(small, fspfm(tiny, 60.0, 0.0))
    with pytest.raises(InputError, match="draw must be"):
        explain_frontalization(smooth_pair(), fspfm(tiny, 60.0, 0.0), draw="frontal")  # type: ignore[arg-type]
