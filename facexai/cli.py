"""The command line: `facexai explain | verify | benchmark | pose-error | hiding-game | ... | train | render | list`.

It prints for people; with `--json FILE` (`-` for stdout) it writes one JSON object. Exit status: 0 done, 2 wrong usage
or unusable input (one line that says what is wrong and what would work), 1 anything else. `FACEXAI_DEBUG=1` shows
tracebacks.

Everything heavy is imported inside the command that needs it, so that help comes at once.
"""

import ast
import errno
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facexai.errors import InputError
from facexai.results.papers import TABLES as PAPER_TABLES

if TYPE_CHECKING:
    from facexai.benchmarks import Benchmark, Embedder, Judge
    from facexai.datasets.rendered import RenderedFaces
    from facexai.models import FaceRecognizer
    from facexai.models.hopenet import PoseEstimator
    from facexai.pairs import FacePair, Saliency
    from facexai.results.papers import Measured, PaperTable
    from facexai.training import DDFVConfig, DecoderConfig, HopeNetConfig, PretrainConfig, XCosConfig

# click's class, or the copy of click inside newer releases of typer
UsageError = typer.BadParameter.__mro__[1]

POSE_NETWORK = "hopenet-tutorial"

app = typer.Typer(
    name="facexai", add_completion=False, help="Explain, verify and measure face recognition by reconstruction."
)
train_app = typer.Typer(help="Train a network.")
bench_app = typer.Typer(help="Measure speed; what is compared runs side by side.")
app.add_typer(train_app, name="train")
app.add_typer(bench_app, name="bench")


# How a run ends


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status; every failure is one line on stderr."""
    command = typer.main.get_command(app)
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with command.make_context("facexai", list(arguments) or ["--help"]) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as finished:
        return finished.exit_code
    except BrokenPipeError:
        # Nobody reads on. Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("FACEXAI_DEBUG") == "1":
            raise
        status, line = describe_failure(error)
        print("facexai:", " ".join(line.split()), file=sys.stderr)
        return status
    return 0


def describe_failure(error: BaseException) -> tuple[int, str]:
    """Exit status, and what to tell people."""
    match error:
        case InputError():
            return 2, str(error)
        case _ if isinstance(error, UsageError):
            return 2, f"{error.format_message()} (--help lists what there is)"  # type: ignore[attr-defined]
        case ModuleNotFoundError(name="lightning_fabric"):
            return 2, "training needs lightning-fabric; install it with: pip install 'facexai[train]'"
        case KeyboardInterrupt():
            return 1, str(error) or "interrupted"
        case OSError(errno=errno.ENOSPC):
            return 1, f"the disk is full ({error.filename or error.strerror}); free some space and run this again"
        case RuntimeError() if "inline_container" in str(error):  # what torch.save makes of a failed write
            return 1, "a checkpoint could not be written whole, most likely because the disk is full; free some space"
        case _:
            return 1, f"{type(error).__name__}: {error} (FACEXAI_DEBUG=1 shows where)"


# What commands share


def check_json_target(target: str | None) -> str | None:
    """Refuse a --json file that cannot be written before any work is done."""
    if not target or target == "-":
        return target
    file = Path(target).resolve()  # a link stays, what it leads to is written
    if (file.exists() and not file.is_file()) or not file.parent.is_dir() or not is_writable(file.parent):
        raise InputError(f"--json takes a file in a folder that can be written, or - for stdout; got {target}")
    return str(file)


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in a folder: tried, as permissions do not tell of file systems that take none."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def check_out_folder(out: Path | None) -> Path | None:
    """Refuse an --out that cannot be a folder before any work is done."""
    if out is None:
        return None
    nearest = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not nearest.is_dir() or not is_writable(nearest):
        raise InputError(f"--out takes a folder that can be written; {nearest} cannot")
    return out


Probe = Annotated[str, typer.Argument(help="Photo in question.", show_default=False)]
Gallery = Annotated[str, typer.Argument(help="Photo to compare it with.", show_default=False)]
Model = Annotated[str, typer.Option(help="Shipped name, saved folder, or ARCHITECTURE@FILE.")]
DEFAULT_MODEL = "tutorial"
MaybeModel = Annotated[
    str | None,
    typer.Option(
        help="Shipped name, saved folder, or ARCHITECTURE@FILE.",
        show_default=f"{DEFAULT_MODEL}, or that of the frontalizer or preset",
    ),
]


def check_threshold(threshold: float | None) -> float | None:
    """Refuse a threshold that no score lies above or below."""
    if threshold is not None and not math.isfinite(threshold):
        raise InputError(f"--threshold takes a finite number; got {threshold}")
    return threshold


Threshold = Annotated[
    float | None,
    typer.Option(callback=check_threshold, help="Decision threshold on the score, in place of the model's own."),
]
Align = Annotated[
    bool, typer.Option(" /--no-align", show_default=False, help="The photos are aligned 112x112 crops already.")
]
LargestFace = Annotated[bool, typer.Option("--largest-face", help="Of several faces in a photo take the largest.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one option; repeat it.")]
PairsFile = Annotated[Path | None, typer.Option(metavar="CSV", help="Your own pairs: name1,name2,same[,fold].")]
ImagesFolder = Annotated[Path | None, typer.Option(metavar="DIR", help="For --pairs: where the images lie.")]
RootFolder = Annotated[Path | None, typer.Option(metavar="DIR", help="The official folder of lfw, cfp-fp, ...")]
PackFile = Annotated[Path | None, typer.Option(metavar="FILE", help="A .bin pack of pairs.")]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", callback=check_json_target, help="Write one JSON object; - is stdout."),
]
Out = Annotated[Path, typer.Option(callback=check_out_folder, help="Folder to write.")]
OptionalOut = Annotated[Path | None, typer.Option(callback=check_out_folder, help="Folder to write.")]


@contextmanager
def reporting(target: str | None) -> Iterator[dict[str, Any]]:
    """A dict to fill with the result, written as JSON at the end; on stdout it stands alone, text goes to stderr."""
    result: dict[str, Any] = {}
    with redirect_stdout(sys.stderr) if target == "-" else nullcontext():
        yield result
    if target == "-":
        print(json.dumps(result))
    elif target:
        from facexai.weights import write_atomically

        write_atomically(Path(target), (json.dumps(result, indent=2) + "\n").encode())


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A temporary folder whose content moves to `out` when the block ends well, and vanishes otherwise."""
    nearest = next(parent for parent in out.absolute().parents if parent.exists())
    temporary = Path(tempfile.mkdtemp(dir=nearest, prefix=f".{out.name}."))
    content = temporary / "content"
    try:
        content.mkdir()
        yield content
        move_into_place(content, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def move_into_place(content: Path, out: Path) -> None:
    """Rename the whole folder, or its files one by one where `out` exists; others' files in `out` stay."""
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        content.rename(out)
        return
    for file in sorted(path for path in content.rglob("*") if path.is_file()):
        target = out / file.relative_to(content)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)


def read_settings(settings: list[str] | None) -> dict[str, Any]:
    """`["seed=7", "mask=max"]` -> `{"seed": 7, "mask": "max"}`."""
    words = {"true": True, "false": False, "none": None}
    options = {}
    for setting in settings or []:
        key, equals, text = setting.partition("=")
        if not equals or not key.isidentifier():
            raise InputError(f"--set takes KEY=VALUE; got '{setting}'")
        try:
            options[key] = words[text.lower()] if text.lower() in words else ast.literal_eval(text)
        except (ValueError, SyntaxError):
            options[key] = text
    return options


def load_network(spec: str, threshold: float | None = None) -> "FaceRecognizer":
    """The model, with the decision threshold of the command line where one is given."""
    from facexai.weights import load_model

    model = load_model(spec)
    if threshold is not None:
        model.threshold = threshold
    return model


def load_pair(probe: str, gallery: str, *, size: tuple[int, int], align: bool, largest_face: bool) -> "FacePair":
    """Both photos as aligned faces of a size, (H, W)."""
    from facexai.detection import load_face
    from facexai.pairs import FacePair

    align = align and not are_crops_without_detector(probe, gallery)
    which = "largest" if largest_face else "one"
    faces = [load_face(photo, align=align, faces=which, size=size) for photo in (probe, gallery)]
    return FacePair(faces[0], faces[1], name=f"{Path(probe).name} - {Path(gallery).name}")


def are_crops_without_detector(*photos: str) -> bool:
    """True, with a note, where no face detector is at hand and every photo has the size of an aligned crop."""
    from facexai.detection import find_detector_model
    from facexai.images import load_image
    from facexai.pixels import CROP_SIZE

    try:
        find_detector_model()
        return False
    except InputError:
        if any(load_image(photo).shape[1:] != (CROP_SIZE, CROP_SIZE) for photo in photos):
            raise
    print("note: no face detector is at hand; the 112x112 photos are taken as aligned crops", file=sys.stderr)
    return True


# Pairs


@app.command()
def explain(
    probe: Probe,
    gallery: Gallery,
    model: Model = "tutorial",
    method: Annotated[str, typer.Option(help="See `facexai list methods`.")] = "ddfv",
    settings: Settings = None,
    threshold: Threshold = None,
    align: Align = True,
    largest_face: LargestFace = False,
    out: OptionalOut = None,
    json: Json = None,
) -> None:
    """Show which parts of two faces raise and lower their score; --out gets report.html, PNGs and saliency.npz."""
    from facexai.explainers import explain as explain_pair

    with reporting(json) as result:
        options = read_settings(settings)
        network = load_network(model, threshold)
        pair = load_pair(probe, gallery, size=network.input_size, align=align, largest_face=largest_face)
        saliency = explain_pair(pair, network, method, **options)
        files = [] if out is None else write_explanation(out, pair, saliency, network, method, options)
        result |= decide(probe, gallery, network, saliency.score) | {"method": saliency.method, "files": files}
        print("\n".join(file for file in files if file.endswith(".html")) or "--out DIR writes the maps and a report")


def write_explanation(
    out: Path, pair: "FacePair", saliency: "Saliency", model: "FaceRecognizer", method: str, options: dict[str, Any]
) -> list[str]:
    """Report, PNGs and raw maps in `out`, all or nothing; returns the files."""
    from facexai.explainers import decompose
    from facexai.views.report import strongest_channels, write_report

    by_channels = method.startswith("ddfv")
    channels = strongest_channels(decompose(pair, model, method, **options)) if by_channels else ()
    with staged(out) as folder:
        write_report(
            folder,
            pair,
            saliency,
            threshold=model.threshold,
            model_name=model.name,
            model_limits=model.card.get("limits", ""),
            channels=channels,
        )
        names = sorted(file.name for file in folder.iterdir())
    return [str(out / name) for name in names]


@app.command()
def verify(
    probe: Probe,
    gallery: Gallery,
    model: Model = "tutorial",
    threshold: Threshold = None,
    align: Align = True,
    largest_face: LargestFace = False,
    json: Json = None,
) -> None:
    """Score two faces and, with the model's threshold, decide whether they are one person."""
    import torch

    with reporting(json) as result:
        network = load_network(model, threshold)
        pair = load_pair(probe, gallery, size=network.input_size, align=align, largest_face=largest_face)
        with torch.inference_mode():
            first, second = network.embed(pair.images)
        result |= decide(probe, gallery, network, float(first @ second))


def decide(probe: str, gallery: str, model: "FaceRecognizer", score: float) -> dict[str, Any]:
    """Print the decision about a pair, and return it for JSON."""
    from facexai.views.verdict import Verdict

    verdict = Verdict(score, model.threshold)
    print(f"{verdict.headline}. {verdict.sentence}")
    return {
        "probe": probe,
        "gallery": gallery,
        "model": model.name,
        "score": score,
        "threshold": model.threshold,
        "accepted": verdict.accepted,
    }


# Benchmarks


@app.command()
def benchmark(
    name: Annotated[str, typer.Argument(help="See `facexai list benchmarks`.", show_default=False)],
    model: MaybeModel = None,
    root: RootFolder = None,
    bin: PackFile = None,
    pairs: PairsFile = None,
    images: ImagesFolder = None,
    frontalizer: Annotated[
        str | None, typer.Option(help="Frontalize first: a shipped name or a folder; see `facexai list frontalizers`.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=40, help="About so many pairs, for a quick look.")] = None,
    flip: Annotated[bool, typer.Option(" /--no-flip", show_default=False, help="Without the mirror images.")] = True,
    record: Annotated[bool, typer.Option("--record", help="Put the figures on the card of a model's folder.")] = False,
    cache: Annotated[
        bool, typer.Option(" /--no-cache", show_default=False, help="Embed anew, whatever is in the cache.")
    ] = True,
    scores: Annotated[bool, typer.Option("--scores", help="All scores into the JSON, for `facexai compare`.")] = False,
    json: Json = None,
) -> None:
    """Measure a model's verification accuracy by the field's protocol: ten folds, flip averaging."""
    from functools import partial

    from facexai.benchmarks import BENCHMARKS, embed_all, embeddings_once, verify, verify_templates
    from facexai.benchmarks.records import intervals, pack_pairs, provenance
    from facexai.datasets.ijb import TemplateSet
    from facexai.weights import record_benchmark

    target = frontalizer or model or DEFAULT_MODEL
    if record and not Path(target).is_dir():
        raise InputError(f"--record takes the folder of a model or frontalizer to write to; got {target}")
    if record and limit is not None:
        raise InputError("a card holds figures of whole benchmarks; leave out --record or --limit")
    with reporting(json) as result:
        protocol: Any = with_files(BENCHMARKS[name], name, pairs=pairs, images=images, bin=bin, root=root)
        network: Embedder
        if frontalizer:
            from facexai.frontalizations import load_pose_invariant

            network = load_pose_invariant(frontalizer, load_network(model) if model else None)
        else:
            network = load_network(model or DEFAULT_MODEL)
        data = protocol.load()
        if not isinstance(data, TemplateSet):
            data = data if limit is None else data.limited(limit)
        elif limit is not None or scores:
            raise InputError(f"{name} has pairs of templates: --limit and --scores are for pairs of images")
        embed = partial(embeddings_once, digest=data.images_sha256) if cache else embed_all
        if isinstance(data, TemplateSet):
            report = verify_templates(network, data, flip=flip, embed=embed)
        else:
            report = verify(network, data, flip=flip, embed=embed)
            result |= intervals(report, data) | ({"scored": pack_pairs(report, data)} if scores else {})
        figures = {"flip": flip, **({"limit": limit} if limit else {}), **report.to_json()}
        result |= {"model": network.name, **figures, **provenance(network, data, flip)}
        print_report(result)
        if record:
            record_benchmark(target, figures)


def protocol_called(name: str, pairs: Path | None, images: Path | None) -> "Benchmark":
    """The benchmark of pairs of this name, with the user's own files where it takes them."""
    from facexai.benchmarks import pair_benchmark

    return with_files(pair_benchmark(name), name, pairs=pairs, images=images)


def with_files(benchmark: Any, name: str, **options: Path | None) -> Any:
    """A benchmark with the files of the command line; those that it does not take are refused."""
    from dataclasses import fields, replace

    given = {option: value for option, value in options.items() if value is not None}
    if given.keys() - {field.name for field in fields(benchmark) if field.type == Path | None}:
        options_given = " and ".join(f"--{option}" for option in given)
        belongs = "its images are rendered" if name.startswith("synthetic") else "see facexai benchmark --help"
        raise InputError(
            f"benchmark {name} takes no {options_given}; {belongs}. Your own pairs: facexai benchmark pairs"
        )
    return replace(benchmark, **given)


def print_report(result: Mapping[str, Any]) -> None:
    """The figures of a verification benchmark."""
    faces = "rendered faces; not to be compared with photos" if result["rendered"] else "photos"
    print(f"{result['benchmark']} ({faces}), model {result['model']}")
    forms = {"accuracy": ".2%", "auc": ".4f", "eer": ".2%"}
    ends = {
        metric: f"  [{low:{forms[metric]}}, {high:{forms[metric]}}]"
        for metric, (low, high) in result.get("ci95", {}).items()
    }
    if "accuracy" in result:
        folds = f"deviation of the {result['folds']} folds {result['accuracy_std']:.2%}"
        print(f"accuracy   {result['accuracy']:8.2%}{ends.get('accuracy', '')}  {folds}")
    print(f"AUC        {result['auc']:8.4f}{ends.get('auc', '')}")
    print(f"EER        {result['eer']:8.2%}{ends.get('eer', '')}")
    for far, tar in result["tar"].items():
        print(f"TAR@{far:7}" + (f"{tar:8.2%}" if tar is not None else "       - (too few impostor pairs)"))
    if "threshold" in result:
        print(f"threshold  {result['threshold']:8.4f}")
    print(f"{result['pairs']} pairs in {result['seconds']:.1f} s")
    if ends:
        print(f"intervals: 95 %, bootstrap over {result['resampled']}")


@app.command("pose-error")
def pose_error(
    model: Annotated[str, typer.Option(help="Shipped name, saved folder, hopenet@FILE or 3ddfa@FILE.")] = POSE_NETWORK,
    poses: Annotated[
        Path | None, typer.Option(metavar="CSV", help="name,yaw,pitch,roll[,identity] of your own faces.")
    ] = None,
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="Where these faces lie, aligned, 112x112.")] = None,
    json: Json = None,
) -> None:
    """Measure a head pose network: errors in degrees by how far a face is turned; rendered faces, or yours."""
    from facexai.benchmarks import PoseSet, measure_pose_error
    from facexai.datasets import PoseFolder
    from facexai.pose_networks import load_pose_network

    if bool(poses) != bool(images):
        raise InputError("--poses and --images belong together: a CSV with name,yaw,pitch,roll and where its faces lie")
    with reporting(json) as result:
        network = load_pose_network(model)
        data = PoseSet.of_folder(PoseFolder(images, poses)) if poses and images else PoseSet.of_rendered()
        report = measure_pose_error(network, data)
        result |= report.to_json()
        print(report.table())


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A.json", show_default=False, help="Result with --scores.")],
    second: Annotated[Path, typer.Argument(metavar="B.json", show_default=False, help="Another on the same pairs.")],
    json: Json = None,
) -> None:
    """What one result gains over another on the same pairs: bootstrap interval of the difference, McNemar's test."""
    from facexai.benchmarks.records import compare_results, read_scored

    with reporting(json) as result:
        result |= compare_results(read_scored(first), read_scored(second))
        print(f"{result['benchmark']}, {result['pairs']} pairs: {result['first']} minus {result['second']}")
        for metric in ("accuracy", "auc", "eer"):
            row = result[metric]
            low, high = row["ci95"]
            both = f"{row['first']:9.4f} -{row['second']:7.4f}"
            print(f"{metric:9}{both} ={row['difference']:+8.4f}  [{low:+.4f}, {high:+.4f}]")
        test = result["mcnemar"]
        print(f"intervals: 95 %, bootstrap over {result['resampled']}")
        print(f"McNemar: {test['only_first']} pairs right in the first only, {test['only_second']} in the second only")
        print(f"p = {test['p_value']:.3g} (exact)")


@app.command("table")
def paper_table(
    name: Annotated[str, typer.Argument(metavar="|".join(PAPER_TABLES), show_default=False)],
    results: Annotated[
        Path | None, typer.Option(metavar="DIR", help="JSON results of yours; those of benchmark: ROW-BENCHMARK.json.")
    ] = None,
    json: Json = None,
) -> None:
    """A table of the papers with what was measured here beside it: photographs, rendered faces, and what is missing."""
    from facexai.results.papers import load_paper_table

    with reporting(json) as result:
        table = load_paper_table(name, results)
        result |= table.to_json()
        print_paper_table(table)


def print_paper_table(table: "PaperTable") -> None:
    """Benchmark by benchmark, one line a method; below it what is missing and where the figures come from."""
    from facexai.benchmarks.tables import aligned

    lines: list[list[str]] = []
    for benchmark in dict.fromkeys(row.benchmark for row in table.rows):
        lines += [[""] * 6] if lines else []
        lines.append([benchmark, "published", "photographs", "95 % interval", "rendered", "95 % interval"])
        for row in table.rows:
            if row.benchmark == benchmark:
                ours = [cell for figure in (row.photographs, row.rendered) for cell in measured_cells(figure)]
                lines.append([row.label, "-" if row.published is None else f"{row.published:.2f}", *ours])
    print("\n".join([table.title, "", *aligned(list(zip(*lines, strict=True))), "", *table.notes, *table.missing]))


def measured_cells(figure: "Measured | None") -> list[str]:
    """Value and interval in per cent."""
    if figure is None:
        return ["-", ""]
    return [f"{figure.value:.2f}", "[{:.2f}, {:.2f}]".format(*figure.ci95) if figure.ci95 else ""]


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE.bin", help="A .bin pack of pairs.", show_default=False)],
    out: Out,
    json: Json = None,
) -> None:
    """Turn a .bin pack into a folder of its images, bit by bit as they are, and pairs.csv."""
    from facexai.datasets.unpack import unpack_bin

    with reporting(json) as result:
        refuse_used_folder(out)
        with staged(out) as folder:
            result |= unpack_bin(file, folder)
        print(f"{result['pairs']} pairs of {result['images']} images: {out / 'pairs.csv'}")
        result |= {"out": str(out)}


# Judges of maps

Protocol = Annotated[str, typer.Argument(help="See `facexai list benchmarks`.", show_default=False)]
Methods = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...",
        help="Methods, with options if any: ddfv,ddfv:residual=l1,rise. @N judges one on N of the pairs: "
        "rise:masks=100@60. `all` are all that fit the model, and what comes later overrides: all,rise@60. "
        "All where not given.",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="About so many pairs.")]


@app.command("hiding-game")
def hiding_game(
    name: Protocol,
    model: Model = "tutorial",
    methods: Methods = None,
    limit: Limit = None,
    pairs: PairsFile = None,
    images: ImagesFolder = None,
    settings: Settings = None,
    json: Json = None,
) -> None:
    """Hide the least salient pixels: how long does the network still decide as well? --set sigma=8, fill=constant."""
    from facexai.benchmarks import HidingGame

    with reporting(json) as result:
        protocol = protocol_called(name, pairs, images)
        result |= judge_maps(name, judge_of_pairs(HidingGame, protocol, settings), model, methods, limit)


@app.command("insertion-deletion")
def insertion_deletion(
    name: Protocol,
    model: Model = "tutorial",
    methods: Methods = None,
    limit: Limit = None,
    pairs: PairsFile = None,
    images: ImagesFolder = None,
    settings: Settings = None,
    json: Json = None,
) -> None:
    """Take the most salient pixels away, or nothing but these: how soon does the decision change? --set which=both."""
    from facexai.benchmarks import InsertionDeletion

    with reporting(json) as result:
        protocol = protocol_called(name, pairs, images)
        result |= judge_maps(name, judge_of_pairs(InsertionDeletion, protocol, settings), model, methods, limit)


@app.command()
def localize(
    preset: Annotated[str, typer.Argument(metavar="regions|occluder|patch", show_default=False)],
    model: Model = "tutorial",
    methods: Methods = None,
    limit: Limit = None,
    pairs: Annotated[
        Path | None, typer.Option(metavar="CSV", help="For `patch`, your own pairs: name1,name2,same[,fold].")
    ] = None,
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="For `patch`: where their images lie.")] = None,
    settings: Settings = None,
    json: Json = None,
) -> None:
    """On pairs whose true difference is known: does the dissimilarity map lie on it, and the similarity map not?"""
    from dataclasses import replace

    from facexai.benchmarks import PairListBenchmark, localization

    with reporting(json) as result:
        data = PairListBenchmark(pairs=pairs, images=images).load() if pairs or images else None
        judge = localization(preset, data)
        judge = replace(judge, source=with_settings(judge.source, settings))
        result |= judge_maps(preset, lambda: judge, model, methods, limit)


@app.command()
def sanity(
    name: Annotated[str, typer.Argument(help="See `facexai list benchmarks`.")] = "synthetic-lfw",
    model: Model = "tutorial",
    methods: Methods = None,
    limit: Limit = None,
    pairs: PairsFile = None,
    images: ImagesFolder = None,
    settings: Settings = None,
    json: Json = None,
) -> None:
    """Does a map change with the other face and with the network, and not with slight noise? --set steps=3."""
    from facexai.benchmarks import Sanity

    with reporting(json) as result:
        protocol = protocol_called(name, pairs, images)
        result |= judge_maps(name, judge_of_pairs(Sanity, protocol, settings), model, methods, limit)


def judge_of_pairs(kind: type, protocol: "Benchmark", settings: list[str] | None) -> "Callable[[], Judge]":
    """Makes the judge of a protocol's pairs; its options are checked here, before any image is rendered."""
    from dataclasses import replace

    judge = with_settings(kind(data=None), settings)
    return lambda: replace(judge, data=protocol.load())


def with_settings(item: Any, settings: list[str] | None) -> Any:
    """A judge with `--set` options applied; an unknown one names the known ones."""
    from dataclasses import fields, replace

    options = read_settings(settings)
    known = [field.name for field in fields(item) if field.repr]
    unknown = [key for key in options if key not in known]
    if unknown:
        raise InputError(f"unknown option '{unknown[0]}'; choose one of {', '.join(known)}")
    return replace(item, **options)


def judge_maps(
    name: str, make_judge: "Callable[[], Judge]", model: str, methods: str | None, limit: int | None
) -> dict[str, Any]:
    """Run the methods past the judge, print its table, and return it for JSON."""
    from facexai.benchmarks import table
    from facexai.leaderboard import judge_methods

    network, entrants = load_network(model), read_methods(methods)
    (results,) = judge_methods([make_judge()], network, limit=limit, **entrants)
    print(table(results, width=shutil.get_terminal_size((120, 24)).columns))
    return {"benchmark": name, "asked": {"methods": methods, "limit": limit}} | results.to_json()


def read_methods(text: str | None) -> dict[str, Any]:
    """`"ddfv,rise:masks=100@60"` -> `methods`, `limits` and `every` of `judge_methods`."""
    from facexai.explainers import EXPLAINERS, make_explainer

    if text is None:
        return {}
    mentions = [mention.strip() for mention in text.split(",") if mention.strip()]
    if not mentions:
        raise InputError("--methods takes names with commas between them; `facexai list methods` shows them")
    limits: dict[str, int | None] = {}
    for label, limit in map(read_limit, mentions):
        limits |= dict.fromkeys(EXPLAINERS if label == "all" else [label], limit)
    every = any(read_limit(mention)[0] == "all" for mention in mentions)
    parts = {label: label.split(":") for label in limits}
    explainers = {label: make_explainer(name, **read_settings(settings)) for label, (name, *settings) in parts.items()}
    return {
        # Under `all` a registered name is not asked for: it is left out where it does not fit.
        "methods": {label: explainer for label, explainer in explainers.items() if not (every and label in EXPLAINERS)},
        "limits": {label: limit for label, limit in limits.items() if limit is not None},
        "every": every,
    }


def read_limit(mention: str) -> tuple[str, int | None]:
    """`"rise:masks=100@60"` -> `("rise:masks=100", 60)`; None without a limit."""
    label, at, number = mention.rpartition("@")
    if not at:
        return mention, None
    if not label.strip() or not number.strip().isdecimal() or int(number) < 1:
        raise InputError(f"--methods takes NAME@PAIRS, with at least 1 pair, as in rise@60; got '{mention}'")
    return label.strip(), int(number)


# Training


@train_app.command("ddfv")
def train_ddfv(
    out: Out,
    preset: Annotated[str, typer.Option(help="See `facexai list presets`.")] = "tutorial",
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    json: Json = None,
) -> None:
    """Train recognition and reconstruction together, and save the model in --out."""
    from facexai import training

    with reporting(json) as result:
        config = training.override(training.preset(preset, training.DDFVConfig), settings or [])
        card = {"command": " ".join(["facexai", "train", "ddfv", "--preset", preset, *with_flag("--set", settings)])}
        with run_folder(out, "recognizer", resume):
            training.train_ddfv(config, out, resume=resume, validate=rendered_validation(config), card=card)
        result |= report_trained(out)


@train_app.command("decoder")
def train_decoder(
    out: Out,
    model: Model = "tutorial",
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Aligned 112x112 faces, in any folders; else rendered ones.")
    ] = None,
    preset: Annotated[str, typer.Option(help="See `facexai list presets`.")] = "decoder",
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    json: Json = None,
) -> None:
    """Give a finished network a decoder, so that it can be explained; recognition stays as it is."""
    from facexai import training

    with reporting(json) as result:
        config = training.preset(preset, training.DecoderConfig)
        result |= train_on_frozen(
            "decoder", training.train_decoder, config, out, model, images, preset, settings, resume
        )


@train_app.command("xcos")
def train_xcos(
    out: Out,
    model: Model = "tutorial",
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Aligned 112x112 faces, one folder a person; else rendered ones.")
    ] = None,
    preset: Annotated[str, typer.Option(help="See `facexai list presets`.")] = "xcos",
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    json: Json = None,
) -> None:
    """Give a finished network an xcos head, for the explainer `xcos`; recognition stays as it is."""
    from facexai import training

    with reporting(json) as result:
        config = training.preset(preset, training.XCosConfig)
        result |= train_on_frozen("xcos", training.train_xcos, config, out, model, images, preset, settings, resume)


def train_on_frozen(
    part: str,
    train: "Callable[..., Path]",
    config: "DecoderConfig | XCosConfig",
    out: Path,
    model: str,
    images: Path | None,
    preset: str,
    settings: list[str] | None,
    resume: bool,
) -> dict[str, Any]:
    """Train a part of a network whose trunk stays as it is, and return what there is to know of the result."""
    from facexai import training

    given = [f"model={model}", *([f"images={images}"] if images else [])]
    config = training.override(config, [*(settings or []), *given])
    words = ["--model", model, *(["--images", str(images)] if images else [])]
    words += ["--preset", preset, *with_flag("--set", settings)]
    card = {"command": " ".join(["facexai", "train", part, *words])}
    with run_folder(out, "recognizer", resume):
        train(config, out, resume=resume, card=card)
    return report_trained(out)


@train_app.command("hopenet")
def train_hopenet(
    out: Out,
    preset: Annotated[str, typer.Option(help="See `facexai list presets`.")] = POSE_NETWORK,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    json: Json = None,
) -> None:
    """Train a head pose network on rendered faces; --set images=DIR --set poses=CSV for your own."""
    from facexai import training
    from facexai.pose_networks import load_pose_network

    with reporting(json) as result:
        config = training.override(training.preset(preset, training.HopeNetConfig), settings or [])
        card = {"command": " ".join(["facexai", "train", "hopenet", "--preset", preset, *with_flag("--set", settings)])}
        with run_folder(out, "pose network", resume):
            training.train_hopenet(config, out, resume=resume, validate=pose_validation(config), card=card)
        network = load_pose_network(out)
        print_trained(out)
        result |= {"out": str(out), "card": network.card}


@train_app.command("pretrain")
def train_pretrain(
    out: Out,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Aligned 112x112 faces, one folder a person; else rendered ones.")
    ] = None,
    preset: Annotated[str, typer.Option(help="See `facexai list presets`.")] = "tutorial-fspfm-1",
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    json: Json = None,
) -> None:
    """Train a recognizer together with its frontalizer: stage 1 of FSPFM."""
    from facexai import training
    from facexai.frontalizations import load_frontalization

    with reporting(json) as result:
        given = [*(settings or []), *([f"images={images}"] if images else [])]
        config = training.override(training.preset(preset, training.PretrainConfig), given)
        words = [*(["--images", str(images)] if images else []), "--preset", preset, *with_flag("--set", settings)]
        card = {"command": " ".join(["facexai", "train", "pretrain", *words])}
        with run_folder(out, "frontalizer", resume):
            training.train_pose_invariant(config, out, resume=resume, validate=cross_pose_validation(config), card=card)
        print(f"trained: {out} (use it with --frontalizer {out} --model {out}/recognizer)")
        result |= {"out": str(out), "card": load_frontalization(out).card}


@train_app.command("finetune")
def train_finetune(
    out: Out,
    model: MaybeModel = None,
    preset: Annotated[str, typer.Option(help="See `facexai list presets`.")] = "tutorial-fspfm",
    settings: Settings = None,
    json: Json = None,
) -> None:
    """Train a frontalizer on top of a finished network: stage 2 of FSPFM; rendered faces, or --set images=DIR."""
    from facexai import training
    from facexai.frontalizations import load_frontalization

    with reporting(json) as result:
        given = [*(settings or []), *([f"model={model}"] if model else [])]
        config = training.override(training.preset(preset, training.FinetuneConfig), given)
        words = ["--model", config.model, "--preset", preset, *with_flag("--set", settings)]
        with run_folder(out, "frontalizer", resume=None):
            training.train_frontalizer(
                config, out, card={"command": " ".join(["facexai", "train", "finetune", *words])}
            )
        print(f"trained: {out} (use it with --frontalizer {out})")
        result |= {"out": str(out), "card": load_frontalization(out).card}


def pose_validation(config: "HopeNetConfig") -> "Callable[[PoseEstimator], dict[str, float]] | None":
    """Errors of a pose network on rendered people whom training never sees; nothing where it learns from photos."""
    if config.images:
        return None
    from dataclasses import replace

    from facexai import benchmarks

    faces = replace(benchmarks.UNSEEN, identities=min(max(config.identities // 40, 2), 40), seed=999)
    data = benchmarks.PoseSet.of_rendered(faces)

    def validate(model: "PoseEstimator") -> dict[str, float]:
        report = benchmarks.measure_pose_error(model, data, progress=False)
        up_to = {f"yaw_mae_within_{row.high:g}": row.errors[0].mean for row in report.within}
        return up_to | {f"{name}_mae": report.within[-1].errors[k].mean for k, name in ((1, "pitch"), (2, "roll"))}

    return validate


@contextmanager
def run_folder(out: Path, kind: str, resume: bool | None) -> Iterator[None]:
    """Guard the folder of a training run that makes a model of this kind, and say after Ctrl-C how to go on.

    `resume` is None for a training that cannot be resumed.
    """
    checkpoint = out / "last.ckpt"
    check_run_folder(out, kind, resume)
    try:
        yield
    except InputError:
        remove_if_empty(out)
        raise
    except KeyboardInterrupt:
        if checkpoint.is_file():
            raise KeyboardInterrupt("interrupted; continue with --resume") from None
        remove_if_empty(out)
        raise KeyboardInterrupt("interrupted; nothing was learnt yet; start again") from None


def report_trained(out: Path) -> dict[str, Any]:
    """Say that the run is over, and return what there is to know of the model."""
    network = load_network(str(out))
    print_trained(out, network.card.get("validation", {}).get("variance_explained"))
    return {"out": str(out), "threshold": network.threshold, "card": network.card}


def print_trained(out: Path, explained: float | None = None) -> None:
    """Say that the run is over, and how well it went; of the processes that torchrun starts, one speaks."""
    if os.environ.get("RANK", "0") != "0":
        return
    print(f"trained: {out} (use it with --model {out})")
    if explained is not None:
        print(f"explains {explained:.1%} of the variance of what was held out")
        if explained <= 0:
            print("which a constant does as well: take more images or more epochs, and do not trust its maps")


def check_run_folder(out: Path, kind: str, resume: bool | None) -> None:
    """Neither resume what is not there, nor overwrite a run that could be resumed, nor a model of another kind."""
    from facexai.weights import kind_of

    checkpoint = out / "last.ckpt"
    if resume and not checkpoint.is_file():
        raise InputError(f"nothing to resume: {checkpoint} does not exist; start without --resume")
    if not resume and checkpoint.is_file():
        way_out = "choose another --out" if resume is None else "continue it with --resume or choose another --out"
        raise InputError(f"{out} holds a run already; {way_out}")
    if (found := kind_of(out)) not in (None, kind):
        raise InputError(f"{out} holds a {found}, which a {kind} would overwrite; choose another --out")


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that a run made and did not use."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def with_flag(flag: str, values: list[str] | None) -> list[str]:
    """`["--set", "a=1", "--set", "b=2"]`."""
    return [word for value in values or [] for word in (flag, value)]


def rendered_validation(config: "DDFVConfig") -> "Callable[[FaceRecognizer], dict[str, float]] | None":
    """Judge of a model on rendered people whom training never sees; its threshold becomes the model's.

    A threshold found on rendered faces says nothing about photos, so training on an image folder goes without.
    """
    if config.images:
        return None
    from facexai import benchmarks

    people = min(max(config.identities // 100, 2), 20)  # a fold; ten folds
    protocol = benchmarks.RenderedProtocol(
        "validation", (0.0, 20.0), (0.0, 20.0), identities=people, images=2, pairs=4 * people, seed=999
    )
    data = protocol.load()

    def validate(model: "FaceRecognizer") -> dict[str, float]:
        report = benchmarks.verify(model, data, progress=False)
        return {name: getattr(report, name) for name in ("accuracy", "auc", "eer", "threshold")}

    return validate


def cross_pose_validation(config: "PretrainConfig") -> "Callable[[Embedder], dict[str, float]] | None":
    """Judge of a model on profiles and frontal faces of rendered people whom training never sees."""
    if config.images:
        return None
    from facexai import benchmarks

    people = min(max(config.identities // 100, 2), 20)  # a fold; ten folds
    protocol = benchmarks.RenderedProtocol(
        "validation", (0.0, 20.0), (40.0, 90.0), identities=people, images=2, pairs=4 * people, seed=998
    )
    data = protocol.load()

    def validate(model: "Embedder") -> dict[str, float]:
        report = benchmarks.verify(model, data, progress=False)
        return {name: getattr(report, name) for name in ("accuracy", "auc", "eer")}

    return validate


# Rendered faces


@app.command()
def render(
    out: Out,
    identities: Annotated[int, typer.Option(min=1, help="People.")] = 10,
    images: Annotated[int, typer.Option(min=1, help="Images of each.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same faces.")] = 42,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Side of the images in pixels.")] = 112,
    json: Json = None,
) -> None:
    """Render faces of made-up people: DIR/PERSON/IMAGE.png, images.csv with their poses, and a contact sheet."""
    import time

    from facexai.datasets.rendered import RenderedFaces

    with reporting(json) as result:
        refuse_used_folder(out)
        start = time.perf_counter()
        with staged(out) as folder:
            write_rendered_faces(folder, RenderedFaces(identities, images, seed), size)
        seconds = time.perf_counter() - start
        result |= {"identities": identities, "images": identities * images, "seconds": seconds, "out": str(out)}
        print(f"{identities * images} images of {identities} people in {seconds:.1f} s: {out}")


def refuse_used_folder(out: Path) -> None:
    """A data set must not mix with files that lie there already."""
    if out.exists() and any(out.iterdir()):
        raise InputError(f"--out must be an empty or a new folder; {out} holds files already")


def write_rendered_faces(folder: Path, faces: "RenderedFaces", size: int) -> None:
    """Images by person, a table of their circumstances, and a contact sheet of the first people."""
    import csv

    from PIL import Image

    from facexai.rendering import contact_sheet, render_many

    jobs = list(faces.jobs())
    workers = (os.cpu_count() or 1) if len(jobs) > 250 else 1  # starting workers takes seconds
    pixels = render_many(jobs, workers=workers, size=size)
    with open(folder / "images.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "identity", "yaw", "pitch", "roll", "age", "occluder"])
        for index, (_, nuisance) in enumerate(jobs):
            person, image = divmod(index, faces.images_per_identity)
            name = f"{person:05d}/{image:03d}.png"
            (folder / name).parent.mkdir(exist_ok=True)
            Image.fromarray(pixels[index]).save(folder / name)
            numbers = (nuisance.yaw, nuisance.pitch, nuisance.roll, nuisance.age)
            table.writerow([name, person, *(f"{number:.2f}" for number in numbers), nuisance.occluder or ""])
    columns = min(faces.images_per_identity, 8)
    by_person = pixels.reshape(faces.identities, faces.images_per_identity, size, size, 3)
    sheet = contact_sheet(list(by_person[:8, :columns].reshape(-1, size, size, 3)), columns)
    Image.fromarray(sheet).save(folder / "contact_sheet.png")


# Lists and speed


LISTS = ("models", "pose-networks", "frontalizers", "methods", "benchmarks", "presets")


@app.command("list")
def list_names(kind: Annotated[str, typer.Argument(metavar="|".join(LISTS))]) -> None:
    """List what can be chosen by name."""
    items = known(kind)
    width = max(map(len, items)) + 2
    for name, item in items.items():
        first_line = (item.__doc__ or "").strip().partition("\n")[0]
        print(f"{name:{width}}{first_line}".rstrip())


def known(kind: str) -> Mapping[str, Any]:
    """Everything of a kind, by name; the first line of its docstring says what it is."""
    match kind:
        case "models":
            from facexai.models import ARCHITECTURES
            from facexai.models.onnx import load_onnx
            from facexai.weights import FAMILIES, SHIPPED, register_networks

            register_networks()
            published = {f"{name}:NETWORK" if name in FAMILIES else name: ARCHITECTURES[name] for name in ARCHITECTURES}
            published["onnx"] = load_onnx
            return dict.fromkeys(SHIPPED, Shipped) | {f"{name}@FILE": published[name] for name in sorted(published)}
        case "pose-networks":
            from facexai.pose_networks import PUBLISHED, SHIPPED_POSE_NETWORKS

            return dict.fromkeys(SHIPPED_POSE_NETWORKS, Shipped) | {
                f"{name}@FILE": PUBLISHED[name] for name in PUBLISHED
            }
        case "frontalizers":
            from facexai.frontalizations import SHIPPED_FRONTALIZERS
            from facexai.models.frontalizers import FRONTALIZERS

            return dict.fromkeys(SHIPPED_FRONTALIZERS, Shipped) | {name: FRONTALIZERS[name] for name in FRONTALIZERS}
        case "methods":
            from facexai.explainers import EXPLAINERS

            return {name: EXPLAINERS[name] for name in EXPLAINERS}
        case "benchmarks":
            from facexai.benchmarks import BENCHMARKS

            return {name: BENCHMARKS[name] for name in BENCHMARKS}
        case "presets":
            from facexai.training import PRESETS

            return {name: PRESETS[name] for name in PRESETS}
    raise InputError(f"unknown list '{kind}'; choose one of {', '.join(LISTS)}")


class Shipped:
    """Comes with facexai."""


@bench_app.command("explain")
def bench_explain(json: Json = None) -> None:
    """Methods side by side on IResNet-50, and Algorithm 1 in its three forms; a few minutes."""
    measured("explain", json)


@bench_app.command("frontalize")
def bench_frontalize(json: Json = None) -> None:
    """What FSPFM costs beside IResNet-50, and how long stage 2 takes on 20,000 cached pairs; some minutes."""
    measured("frontalize", json)


@bench_app.command("hiding-game")
def bench_hiding_game(json: Json = None) -> None:
    """Share of the hiding game's time that the network takes."""
    measured("hiding_game", json)


@bench_app.command("embed")
def bench_embed(json: Json = None) -> None:
    """Images a second of the evaluation loop and of bare forward passes; memory with many pairs."""
    from facexai.bench.embed import bench_embed

    with reporting(json) as result:
        result |= bench_embed()
        print_measures(result)


@bench_app.command("records")
def bench_records(json: Json = None) -> None:
    """RecordIO: seconds to open a million records, random reads a second, memory."""
    from facexai.bench.records import bench_records

    with reporting(json) as result:
        result |= bench_records()
        print_measures(result)


@bench_app.command("render")
def bench_render(json: Json = None) -> None:
    """Rendered faces a second at 112 pixels."""
    measured("render", json)


def measured(name: str, json: str | None) -> None:
    """Run and report one of the measurements in `facexai.bench`."""
    from facexai import bench

    with reporting(json) as result:
        result |= getattr(bench, f"bench_{name}")()
        print_measures(result)


def print_measures(result: Mapping[str, Any], prefix: str = "") -> None:
    """One line a figure; those that belong together share the first word of their names."""
    for name, value in result.items():
        if isinstance(value, Mapping):
            print_measures(value, f"{prefix}{name} ")
        else:
            print(f"{prefix + name:44}{value:.4g}" if isinstance(value, float) else f"{prefix + name:44}{value}")
