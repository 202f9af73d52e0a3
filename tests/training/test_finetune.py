"""Stage 2 of FSPFM: eq. (3) as printed, gradients by finite differences, what rests, and that something is learnt."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facexai.datasets.features import PoseFeatures
from facexai.errors import InputError
from facexai.models.frontalizers import FSPFM, Frontalization, build_frontalizer, fit_global_centring
from facexai.training.configs import FinetuneConfig
from facexai.training.cross_pose import CrossPoseFaces
from facexai.training.finetune import (
    Faces,
    FinetuneObjective,
    Pairs,
    PairSampler,
    cross_pose_scores,
    finetune,
    seen_faces,
)

N, D, P, K = 6, 5, 3, 4
ADAPTATIONS = ["none", "huang", "proposed", "angular"]
QUICK = FinetuneConfig(adaptation="none", arcface_weight=0.0, epochs=3, batch_size=16, optimizer="adamw", seed=7)


def frontalizer_of_stage_1() -> FSPFM:
    """Away from the identity, with running statistics of its own, in double."""
    torch.manual_seed(0)
    module = build_frontalizer("fspfm", D, P, residual_start="default").double()
    with torch.no_grad():
        for _ in range(5):
            module(torch.randn(32, D).double(), torch.randn(32, P).double())
    assert isinstance(module, FSPFM)
    return module.eval()


def some_faces(generator: torch.Generator) -> Faces:
    embedding, pose = (torch.randn(N, size, generator=generator, dtype=torch.float64) for size in (D, P))
    return Faces(embedding, pose, 90 * torch.rand(N, 1, generator=generator, dtype=torch.float64))


def some_pairs() -> Pairs:
    generator = torch.Generator().manual_seed(1)
    profile, frontal = some_faces(generator), some_faces(generator)
    return Pairs(profile, frontal, frontal.embedding, torch.randint(K, (N,), generator=generator))


def objective_of(config: FinetuneConfig) -> FinetuneObjective:
    """In eval mode, where BatchNorm is a formula of one face; the attention is far from open."""
    classes = torch.randn(K, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    objective = FinetuneObjective(frontalizer_of_stage_1(), classes, config).double().eval()
    objective.arcface.freeze(classes)  # in double: the class matrix was made in float
    with torch.no_grad():
        objective.adaptation.attention.layers[-2].bias.zero_()  # type: ignore[union-attr]
        for parameter in objective.frontalizer.parameters():
            parameter.add_(0.1)  # P-Net has learnt since F-Net was copied
    return objective


def equation_3(objective: FinetuneObjective, pairs: Pairs, config: FinetuneConfig) -> float:
    """Eq. (3) written down pair by pair, number by number."""
    m_g, frozen = objective.frontalizer, objective.adaptation.frozen
    am, classes = objective.adaptation.attention, F.normalize(objective.arcface.weight)
    ada = arcface = 0.0
    for i in range(N):
        face, pose = pairs.profile.embedding[i : i + 1], pairs.profile.pose[i : i + 1]
        front, front_pose = pairs.frontal.embedding[i : i + 1], pairs.frontal.pose[i : i + 1]
        moved = m_g(face, pose)[0]
        if config.adaptation == "proposed":
            target = (frozen(front, front_pose) * am(front))[0]
        else:
            target = pairs.target[i]
        square = [(t - m).item() ** 2 for t, m in zip(target, moved, strict=True)]
        if config.adaptation == "huang":
            largest = target.abs().max()
            square = [(abs(t) / largest).item() * s for t, s in zip(target, square, strict=True)]
        if config.adaptation == "angular":
            gate = 1 / (1 + math.exp(-10 * (abs(pairs.profile.yaw[i].item()) / 45 - 1)))
            cosine = (moved @ target / moved.norm() / target.norm()).item()
            ada += (1 + gate) * (1 - cosine)
        else:
            ada += sum(square) if config.reduction == "sum" else sum(square) / D
        cosines = [(row @ F.normalize(moved, dim=0)).item() for row in classes]
        own = int(pairs.identity[i])
        logits = [config.scale * c for c in cosines]
        angle = math.acos(cosines[own]) + config.margin
        assert angle < math.pi
        logits[own] = config.scale * math.cos(angle)
        arcface += math.log(sum(math.exp(x - logits[own]) for x in logits))
    return config.arcface_weight * arcface / N + config.adaptation_weight * ada / N


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("adaptation", ADAPTATIONS)
@torch.no_grad()
def test_the_objective_is_equation_3(adaptation, reduction):
    config = FinetuneConfig(adaptation=adaptation, reduction=reduction, scale=4.0, margin=0.2, adaptation_weight=3.0)
    objective, pairs = objective_of(config), some_pairs()
    assert objective(pairs)["loss"].item() == pytest.approx(equation_3(objective, pairs, config), rel=1e-9)


@torch.no_grad()
def test_frontal_faces_in_the_batch_are_to_stay_as_they_are():
    config = FinetuneConfig(adaptation="none", frontal_faces=True, arcface_weight=0.0, adaptation_weight=1.0)
    objective, pairs = objective_of(config), some_pairs()
    pairs = pairs._replace(target=pairs.target.flip(0))  # the mean target, say, is not the frontal face in the batch
    kept = objective.frontalizer(pairs.frontal.embedding, pairs.frontal.pose)
    staying = (kept - pairs.frontal.embedding).square().sum(1).mean().item()
    alone = equation_3(objective, pairs, config)
    assert objective(pairs)["loss"].item() == pytest.approx(alone + staying, rel=1e-9)


@pytest.mark.parametrize("adaptation", ADAPTATIONS)
def test_gradients_are_those_of_finite_differences(adaptation):
    config = FinetuneConfig(adaptation=adaptation, scale=4.0, margin=0.2, frontal_faces=True)
    objective, pairs = objective_of(config), some_pairs()
    objective(pairs)["loss"].backward()
    learnt = {name: p for name, p in objective.named_parameters() if p.requires_grad}
    assert any("attention" in name for name in learnt) == (adaptation == "proposed")
    generator = torch.Generator().manual_seed(3)
    for name, parameter in learnt.items():
        assert parameter.grad is not None, name
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        found = (parameter.grad * direction).sum().item()
        sides = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                parameter.add_(step * direction)
                sides.append(objective(pairs)["loss"].item())
                parameter.sub_(step * direction)
        assert found == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-4, abs=1e-6), name


@torch.no_grad()
def test_the_facts_expose_a_target_that_shrinks():
    objective, pairs = objective_of(FinetuneConfig(adaptation="proposed")), some_pairs()
    open_: dict[str, Tensor] = {}
    closed: dict[str, Tensor] = {}
    for facts, bias in ((open_, 9.0), (closed, -2.0)):
        last = objective.adaptation.attention.layers[-2]
        last.weight.zero_()  # type: ignore[union-attr,operator]
        last.bias.fill_(bias)  # type: ignore[union-attr,operator]
        facts.update(objective(pairs))
    assert open_["attention"].item() == pytest.approx(1, abs=1e-3)
    share = 1 / (1 + math.exp(2))
    assert closed["attention"].item() == pytest.approx(share, rel=1e-6)
    assert (closed["target_norm"] / open_["target_norm"]).item() == pytest.approx(share, rel=1e-3)
    assert closed["cosine"].item() == pytest.approx(open_["cosine"].item(), abs=1e-4)
    assert closed["loss_ada"] < open_["loss_ada"]


# A world in which a profile is the frontal embedding, turned by one fixed rotation.


def turned_people(people: int, seed: int, dimension: int = 16, frontals: int = 2, profiles: int = 3) -> CrossPoseFaces:
    rng = np.random.default_rng([seed, 5])
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((dimension, dimension)))[0]

    def seen(who: np.ndarray, yaw: np.ndarray, turn: np.ndarray) -> PoseFeatures:
        embedding = (who + 0.3 * rng.standard_normal(who.shape)) @ turn
        angles = np.stack([yaw, 0 * yaw, 0 * yaw], -1)
        mirrored = np.stack([angles, angles * [-1, 1, 1]], 1)
        pose = np.abs(mirrored) / 90 + 0.05 * rng.standard_normal(mirrored.shape)
        both = np.stack([embedding, embedding + 0.05 * rng.standard_normal(embedding.shape)], 1)
        return PoseFeatures(*(torch.tensor(part, dtype=torch.float32) for part in (both, pose, mirrored)))

    who = rng.standard_normal((people, dimension))
    front, side = np.repeat(np.arange(people), frontals), np.repeat(np.arange(people), profiles)
    upright = seen(who[front], rng.uniform(-10, 10, len(front)), np.eye(dimension))
    turned = seen(who[side], rng.uniform(50, 90, len(side)), rotation)
    return CrossPoseFaces(
        upright,
        turned,
        torch.from_numpy(front),
        torch.from_numpy(side),
        upright.angles[:, 0, 0],
        turned.angles[:, 0, 0],
    )


@pytest.fixture(scope="module")
def learning() -> CrossPoseFaces:
    return turned_people(80, seed=1)


@pytest.fixture(scope="module")
def held_out() -> CrossPoseFaces:
    return turned_people(20, seed=2)


def fresh(block: str = "prelu", centred: CrossPoseFaces | None = None) -> Frontalization:
    torch.manual_seed(0)
    options = {"block": block, "width": 2} if block == "prelu" else {}
    centring = None
    if centred is not None:
        embedding = centred.profile.embedding.flatten(0, 1)
        yaw = centred.profile.angles[..., 0].flatten()
        identity = centred.profile_identity.repeat_interleave(2)
        centring = fit_global_centring(embedding, identity, yaw, balanced=False)
    return Frontalization(build_frontalizer("fspfm", 16, 3, **options), centring=centring, limit=30.0).eval()


def weights(module: torch.nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(module.state_dict())


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("adaptation", ADAPTATIONS)
def test_a_turn_that_all_share_is_learnt(adaptation, learning, held_out):
    module = fresh()
    config = replace(QUICK, adaptation=adaptation, reduction="mean", epochs=12, lr=1e-2, schedule="cosine")
    done = finetune(module, learning, held_out, config, progress=False)
    assert done.history[0]["auc"] < 0.75
    assert done.history[-1]["auc"] > done.history[0]["auc"] + 0.15
    assert cross_pose_scores(module, held_out)["auc"] == pytest.approx(done.history[-1]["auc"])
    assert not module.frontalizer.training


@pytest.mark.parametrize("block", ["prelu", "batchnorm"])
def test_what_is_frozen_does_not_move_by_one_bit(monkeypatch, block, learning, held_out):
    import facexai.training.finetune as module

    objectives = []

    class Watched(FinetuneObjective):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.before = [weights(part) for part in (self.adaptation.frozen, self.arcface)]
            objectives.append(self)

    monkeypatch.setattr(module, "FinetuneObjective", Watched)
    frontalization = fresh(block, centred=learning)
    assert frontalization.centring is not None
    centring, start = weights(frontalization.centring), weights(frontalization.frontalizer)
    config = replace(QUICK, adaptation="proposed", arcface_weight=1.0, frontal_faces=True, weight_decay=0.1, lr=1e-2)
    finetune(frontalization, learning, held_out, config, progress=False)
    (objective,) = objectives
    assert same(weights(frontalization.centring), centring)
    for part, before in zip((objective.adaptation.frozen, objective.arcface), objective.before, strict=True):
        assert same(weights(part), before)
    assert same(weights(objective.adaptation.frozen), start)
    moved = weights(frontalization.frontalizer)
    still = {name for name in start if torch.equal(start[name], moved[name])}
    assert still <= {"pose_mean", "pose_scale"}


def learnt(limit: float | None = None) -> Frontalization:
    """As it might come from stage 1: its residuals are not zero."""
    torch.manual_seed(0)
    return Frontalization(build_frontalizer("fspfm", 16, 3, residual_start="default"), limit=limit).eval()


def test_after_stage_1_the_target_is_what_its_module_makes_of_the_frontal_face(learning):
    module = learnt()
    sampler = PairSampler(module, learning, replace(QUICK, start="stage-1", batch_size=20))
    pairs = next(sampler.epoch(1))
    with torch.no_grad():
        made = module.frontalizer(pairs.frontal.embedding, pairs.frontal.pose)
    assert torch.allclose(pairs.target, made, atol=1e-5) and torch.equal(pairs.target, pairs.frontalized)
    assert (pairs.target - pairs.frontal.embedding).abs().max() > 0.1
    own = F.cosine_similarity(sampler.classes[pairs.identity], made)
    assert own.mean() > F.cosine_similarity(sampler.classes[pairs.identity], pairs.frontal.embedding).mean()
    fresh_one = next(PairSampler(module, learning, replace(QUICK, batch_size=20)).epoch(1))
    assert fresh_one.frontalized is None and torch.equal(fresh_one.target, pairs.frontal.embedding)


def test_what_stage_1_passed_by_is_passed_by_in_the_target_too(learning):
    pairs = next(PairSampler(learnt(limit=90.0), learning, replace(QUICK, start="x", batch_size=20)).epoch(1))
    assert torch.equal(pairs.target, pairs.frontal.embedding)


def test_frontal_faces_cost_nothing_where_f_net_has_them(learning):
    config = replace(QUICK, start="stage-1", frontal_faces=True, batch_size=20)
    module = learnt()
    pairs = next(PairSampler(module, learning, config).epoch(1))
    still = pairs._replace(profile=pairs.frontal)  # so that the first distance is of the same faces
    objective = FinetuneObjective(module.frontalizer, torch.ones(learning.people, 16), config).eval()
    assert objective(still)["loss_ada"].item() == pytest.approx(0, abs=1e-6)
    assert objective(still._replace(frontalized=None))["loss_ada"].item() > 0.01


def test_with_the_attention_it_makes_no_difference_whether_f_net_is_asked_in_every_step(learning):
    config = replace(QUICK, adaptation="proposed", batch_size=20)
    module = learnt()
    sampler = PairSampler(module, learning, config)
    objective = FinetuneObjective(module.frontalizer, sampler.classes, config)
    with torch.no_grad():
        for parameter in objective.frontalizer.parameters():
            parameter.add_(0.1)  # P-Net has learnt since
    pairs = next(sampler.epoch(1))
    kept, asked = (objective.eval()(which)["loss"].item() for which in (pairs, pairs._replace(frontalized=None)))
    assert kept == pytest.approx(asked, rel=1e-5)


def test_half_precision_learns_the_same_turn_with_losses_in_full(learning, held_out):
    runs = {}
    for precision in ("32-true", "bf16-mixed"):
        module = fresh()
        done = finetune(module, learning, held_out, replace(QUICK, epochs=6, precision=precision), progress=False)
        runs[precision] = done.history[-1]["auc"], weights(module.frontalizer)
    assert runs["bf16-mixed"][0] == pytest.approx(runs["32-true"][0], abs=0.01)
    assert not same(runs["bf16-mixed"][1], runs["32-true"][1])
    assert all(value.dtype == torch.float32 for value in runs["bf16-mixed"][1].values() if value.is_floating_point())


def test_the_class_matrix_learns_where_it_is_told_to(monkeypatch, learning, held_out):
    before = PairSampler(fresh(), learning, QUICK).classes
    import facexai.training.finetune as module

    objectives = []
    original = module.FinetuneObjective
    monkeypatch.setattr(module, "FinetuneObjective", lambda *a: objectives.append(original(*a)) or objectives[-1])
    config = replace(QUICK, arcface_weight=1.0, train_classes=True, epochs=1)
    finetune(fresh(), learning, held_out, config, progress=False)
    assert not torch.allclose(objectives[0].arcface.weight, before)


def test_each_profile_appears_once_an_epoch_and_partners_are_of_its_person(learning):
    sampler = PairSampler(fresh(), learning, replace(QUICK, batch_size=20))
    profiles = seen_faces(fresh(), learning.profile).embedding  # (240, 2, 16)
    frontals = seen_faces(fresh(), learning.frontal).embedding
    rows, views, partners = [], [], []
    for pairs in sampler.epoch(1):
        for embedding, identity in zip(pairs.profile.embedding, pairs.identity, strict=True):
            ((row, view),) = (profiles == embedding).all(-1).nonzero().tolist()
            assert learning.profile_identity[row] == identity
            rows.append(row)
            views.append(view)
        for embedding, identity, target in zip(pairs.frontal.embedding, pairs.identity, pairs.target, strict=True):
            ((row, view),) = (frontals == embedding).all(-1).nonzero().tolist()
            assert learning.frontal_identity[row] == identity
            assert torch.equal(target, embedding)
            partners.append((row, view))
    assert sorted(rows) == list(range(240))
    assert 0.35 < np.mean(views) < 0.65
    assert len(set(partners)) > 150  # of 240 draws among 320 views


def test_only_whole_batches_and_another_order_in_each_epoch(learning):
    sampler = PairSampler(fresh(), learning, replace(QUICK, batch_size=50))
    first, second, again = (list(sampler.epoch(number)) for number in (1, 2, 1))
    assert [len(pairs.identity) for pairs in first] == [50] * 4
    assert torch.equal(first[0].profile.embedding, again[0].profile.embedding)
    assert not torch.equal(first[0].identity, second[0].identity)
    other = next(PairSampler(fresh(), learning, replace(QUICK, batch_size=50, seed=8)).epoch(1))
    assert not torch.equal(first[0].identity, other.identity)


def test_the_mean_target_is_the_class_matrix(learning):
    sampler = PairSampler(fresh(), learning, replace(QUICK, target="mean"))
    pairs = next(sampler.epoch(1))
    assert torch.equal(pairs.target, sampler.classes[pairs.identity])
    expected = F.normalize(learning.mean_frontal())
    assert torch.allclose(F.normalize(sampler.classes), expected, atol=1e-5)
    length = learning.frontal.embedding.norm(dim=-1).mean()
    assert torch.allclose(sampler.classes.norm(dim=1), length.expand(80), rtol=1e-5)


def test_the_epoch_that_did_best_is_kept(learning, held_out):
    config = replace(QUICK, epochs=6, lr=0.3, keep_best=True, adaptation="none")  # too large a step: it gets worse
    module = fresh()
    done = finetune(module, learning, held_out, config, progress=False)
    aucs = [row["auc"] for row in done.history]
    assert done.epoch == int(np.argmax(aucs))
    assert cross_pose_scores(module, held_out)["auc"] == pytest.approx(max(aucs), abs=1e-7)
    last = finetune(fresh(), learning, held_out, replace(config, keep_best=False), progress=False)
    assert last.epoch == 6
    assert [row["auc"] for row in last.history] == aucs


def test_no_training_is_kept_where_all_of_it_does_harm(learning, held_out):
    module = fresh()
    start = weights(module.frontalizer)
    wrong = replace(
        learning,
        profile=learning.frontal,
        frontal=learning.profile,
        profile_identity=learning.frontal_identity,
        frontal_identity=learning.profile_identity,
    )
    upright = turned_people(20, seed=3)  # frontal faces alone, on both sides: nothing is to be turned
    upright = replace(upright, profile=upright.frontal, profile_identity=upright.frontal_identity)
    done = finetune(module, wrong, upright, replace(QUICK, lr=0.05, keep_best=True), progress=False)
    assert done.epoch == 0
    assert same(weights(module.frontalizer), start)


def test_the_seed_decides_and_the_global_state_is_left_alone(learning, held_out):
    states, histories = [], []
    config = replace(QUICK, adaptation="proposed")
    for global_seed, chosen in ((1, config), (2, config), (2, replace(config, seed=8))):
        module = fresh()
        torch.manual_seed(global_seed)
        np.random.seed(global_seed)
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
        histories.append(finetune(module, learning, held_out, chosen, progress=False).history)
        assert torch.equal(before[0], torch.get_rng_state())
        assert np.array_equal(before[1], np.random.get_state()[1])  # type: ignore[index]
        states.append(weights(module.frontalizer))
    assert same(states[0], states[1]) and histories[0] == histories[1]
    assert not same(states[0], states[2])


def test_dropout_hides_from_the_residual_and_not_from_the_embedding(monkeypatch):
    """A module that adds nothing leaves the embedding whole; one that doubles it sees some numbers twice over."""
    objective = objective_of(replace(QUICK, dropout=0.5))
    embedding = some_pairs().profile.embedding
    moved = []
    monkeypatch.setattr(objective, "_distance", lambda target, out, yaw: moved.append(out) or out.sum())
    for add, train in ((0, True), (1, True), (1, False)):
        monkeypatch.setattr(objective.frontalizer, "forward", lambda phi, pose, add=add: phi + add * phi)
        objective.train(train)
        objective(some_pairs())
    assert torch.allclose(moved[0], embedding)
    residual = (moved[1] - embedding) / embedding  # 0 where it was hidden, else 1 / (1 - 0.5)
    assert torch.allclose(residual, residual.round()) and set(residual.round().unique().tolist()) == {0.0, 2.0}
    assert torch.allclose(moved[2], 2 * embedding)


def test_dropout_is_seeded_and_changes_what_is_learnt(learning, held_out):
    learnt = []
    for dropout, noise in ((0.0, 1), (0.5, 2), (0.5, 3)):
        torch.manual_seed(noise)
        frontalization = fresh()
        finetune(frontalization, learning, held_out, replace(QUICK, dropout=dropout), progress=False)
        learnt.append(weights(frontalization.frontalizer))
    assert same(learnt[1], learnt[2]) and not same(learnt[0], learnt[1])
    with pytest.raises(InputError, match=r"dropout must lie in \[0, 1\); got 1"):
        replace(QUICK, dropout=1.0)


def test_scores_are_those_of_every_genuine_pair_and_of_some_strangers(held_out):
    module = fresh()
    found = cross_pose_scores(module, held_out, strangers=3)
    embed = [module.embed(*vars(part).values()).detach() for part in (held_out.profile, held_out.frontal)]
    genuine, impostor = [], []
    for profile, who in zip(embed[0], held_out.profile_identity.tolist(), strict=True):
        for front, other in zip(embed[1], held_out.frontal_identity.tolist(), strict=True):
            if who == other:
                genuine.append(float(profile @ front))
            elif (other - who) % 20 in (1, 2, 3):
                impostor.append(float(profile @ front))
    wins = np.mean([(g > i) + 0.5 * (g == i) for g in genuine for i in impostor])
    assert found["auc"] == pytest.approx(wins, abs=1e-6)
    assert found["genuine"] == pytest.approx(np.mean(genuine), abs=1e-5)
    assert found["impostor"] == pytest.approx(np.mean(impostor), abs=1e-5)


def test_each_row_of_the_history_is_logged(learning, held_out):
    rows = []
    done = finetune(fresh(), learning, held_out, QUICK, progress=False, log=rows.append)
    assert rows == done.history
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert [row["step"] for row in rows] == [0, 15, 30, 45]
    assert "loss" not in rows[0] and {"loss_ada", "attention", "target_norm", "cosine"} <= rows[1].keys()


def test_fewer_profiles_than_a_batch_are_refused(learning, held_out):
    with pytest.raises(InputError, match="240 profiles are less than one batch of 256; lower batch_size"):
        finetune(fresh(), learning, held_out, replace(QUICK, batch_size=256), progress=False)


def test_a_loss_that_leaves_the_numbers_is_told_in_one_line(learning, held_out):
    with pytest.raises(InputError, match=r"the loss is no number any more in epoch .; lower lr, now 1e"):
        finetune(fresh(), learning, held_out, replace(QUICK, optimizer="sgd", lr=1e30), progress=False)
