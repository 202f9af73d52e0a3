"""`facexai bench frontalize`: what a frontalizer costs when faces are recognized, and how long stage 2 takes."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from facexai.bench.networks import calibrated_recognizer, random_faces
from facexai.bench.timing import interleaved, ratios, summary, torch_threads
from facexai.datasets.features import PoseFeatures
from facexai.models.frontalizers import Frontalization, build_frontalizer
from facexai.models.hopenet import HopeNet
from facexai.pose_networks import load_pose_network
from facexai.training.configs import FinetuneConfig, preset
from facexai.training.cross_pose import CrossPoseFaces
from facexai.training.finetune import finetune
from facexai.training.frontalizer import prepare

DIMENSION, POSE_SIZE = 512, 2048  # of the paper's networks
PEOPLE, FRONTALS, PROFILES, HELD_OUT = 4000, 4, 5, 100  # 20,000 pairs of a profile and a frontal face
EPOCHS = 50  # 4.1.2 of the paper
PRESETS = {"paper": "paper-fspfm-2", "tutorial": "tutorial-fspfm"}
PRECISIONS: tuple[Literal["32-true", "bf16-mixed"], ...] = ("32-true", "bf16-mixed")
REPEATS = {"fspfm": 50, "hopenet-tutorial": 5}
PARTS = "frontalized", "fspfm", "hopenet", "hopenet-tutorial"


def bench_frontalize(rounds: int = 5, batch: int = 8, measured_epochs: int = 2, threads: int = 2) -> dict[str, Any]:
    """Recognition with and without FSPFM, and stage 2 on cached features; random weights and random features.

    `recognizer` is IResNet-50 from images to embeddings; `frontalized` is the same and FSPFM of the paper's size, with
    poses that are there already; `fspfm` is the module alone; `hopenet` and `hopenet-tutorial` are pose networks.

    Args:
        rounds: how often each takes its turn.
        batch: images at once.
        measured_epochs: of stage 2; the others take as long as these, so their time is multiplied.
        threads: of torch, for the time of the measurement.

    Returns:
        Median, least and largest seconds a batch of each, ratios, and for each preset and precision of stage 2 the
        seconds that 50 epochs on 20,000 pairs of 512 dimensions take.
    """
    with torch_threads(threads):
        steps = recognition_steps(batch)
        for step in steps.values():
            step()  # warms up
        seconds = interleaved(steps, rounds, REPEATS)
        people = random_people(PEOPLE, seed=3), random_people(HELD_OUT, seed=4)
        stages = {
            f"stage_2_{name}_{precision}_{key}": value
            for name in PRESETS
            for precision in PRECISIONS
            for key, value in stage_2_seconds(PRESETS[name], precision, people, measured_epochs).items()
        }
    return {
        "network": "iresnet50, random weights; FSPFM of 512 dimensions and a pose feature of 2048",
        "threads": threads,
        "rounds": rounds,
        "images": batch,
        **{f"{name}_{key}": value for name, times in seconds.items() for key, value in summary(times).items()},
        **{key: value for part in PARTS for key, value in ratios(seconds, part, "recognizer").items()},
        "stage_2_pairs": PEOPLE * PROFILES,
        "stage_2_epochs": f"{EPOCHS}, of which {measured_epochs} were measured",
        **stages,
    }


def recognition_steps(batch: int) -> dict[str, Callable[[], Tensor]]:
    """From images to embeddings, with and without the module; the module and two pose networks alone."""
    recognizer = calibrated_recognizer("iresnet50")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = Frontalization(build_frontalizer("fspfm", DIMENSION, POSE_SIZE), limit=None).eval()
        hopenet = HopeNet(50).eval()
        pose = torch.randn(batch, POSE_SIZE)
    small = load_pose_network("hopenet-tutorial")
    images, angles = random_faces(batch, seed=2, size=recognizer.input_size), torch.full((batch, 3), 60.0)

    def embed() -> Tensor:
        return recognizer.pool(recognizer.features(images))

    embedding = torch.inference_mode()(embed)()
    steps: dict[str, Callable[[], Tensor]] = {
        "recognizer": embed,
        "frontalized": lambda: module(embed(), pose, angles),
        "fspfm": lambda: module(embedding, pose, angles),
        "hopenet": lambda: hopenet(images).angles,
        "hopenet-tutorial": lambda: small(images).angles,
    }
    return {name: torch.inference_mode()(step) for name, step in steps.items()}


def stage_2_seconds(
    name: str,
    precision: Literal["32-true", "bf16-mixed"],
    people: tuple[CrossPoseFaces, CrossPoseFaces],
    measured: int,
) -> dict[str, float]:
    """Process and wall seconds of `EPOCHS` epochs of stage 2 with the settings of a preset."""
    config = replace(preset(name, FinetuneConfig), epochs=measured, precision=precision)
    learning, held_out = people
    frontalization = prepare(config, learning)
    finetune(frontalization, held_out, held_out, replace(config, epochs=1, batch_size=32), progress=False)  # warms up
    marks: list[tuple[float, float]] = []
    log = lambda row: marks.append((time.process_time(), time.perf_counter()))  # noqa: E731
    finetune(frontalization, learning, held_out, config, progress=False, log=log)
    factor = EPOCHS / measured
    process, wall = ((last - first) * factor for first, last in zip(marks[0], marks[-1], strict=True))
    return {"process_s": process, "wall_s": wall}


def random_people(people: int, seed: int) -> CrossPoseFaces:
    """Features without a meaning: the work does not depend on it."""
    generator = torch.Generator().manual_seed(seed)

    def features(faces: int, yaw: float) -> PoseFeatures:
        angles = torch.tensor([[yaw, 0, 0], [-yaw, 0, 0]]).expand(faces, 2, 3)
        embedding, pose = (torch.randn(faces, 2, size, generator=generator) for size in (DIMENSION, POSE_SIZE))
        return PoseFeatures(embedding, pose, angles)

    who = torch.arange(people)
    frontal, profile = who.repeat_interleave(FRONTALS), who.repeat_interleave(PROFILES)
    front, side = features(len(frontal), 0.0), features(len(profile), 60.0)
    return CrossPoseFaces(front, side, frontal, profile, front.angles[:, 0, 0], side.angles[:, 0, 0])
