"""The public names: which they are, that each resolves and is described, and that importing them is lazy."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import facexai

ROOT = Path(__file__).parents[1]
INVENTORY = {
    "data": {"FacePair", "Saliency", "Pose", "InputError"},
    "photographs": {"load_face", "load_image", "detect_face", "align_face"},
    "rendered faces": {
        "Identity",
        "sample_identity",
        "swap_regions",
        "Nuisance",
        "sample_nuisance",
        "render",
        "region_pair",
    },
    "models": {"FaceRecognizer", "load_model", "save_model", "ArcFaceLoss"},
    "networks of your own": {"wrap_model", "Preprocessing", "check_preprocessing"},
    "head pose": {"load_pose_network", "save_pose_network"},
    "frontalization": {"load_pose_invariant", "FRONTALIZERS"},
    "explanation": {"explain", "explain_frontalization", "EXPLAINERS", "FrontalizationMaps"},
    "evaluation": {"verify", "VerificationReport", "BENCHMARKS"},
    "training": {"train_ddfv", "train_frontalizer", "train_hopenet", "PRESETS"},
}
HEAVY = {"torch", "torchvision", "plotly", "cv2", "numba", "sklearn", "scipy", "lightning", "ipywidgets", "PIL"}


def test_the_inventory_is_complete():
    assert set(facexai.__all__) == set().union(*INVENTORY.values())


@pytest.mark.parametrize("name", facexai.__all__)
def test_each_name_resolves_and_is_described(name: str):
    item = getattr(facexai, name)
    if inspect.isclass(item) or inspect.isroutine(item):
        assert inspect.getdoc(item), f"{name} has no docstring"


def test_editors_see_the_same_names():
    tree = ast.parse(Path(facexai.__file__).read_text(encoding="utf8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        (alias.name, node.module) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == set(facexai._MODULE_OF.items())


def test_the_reference_page_has_every_name():
    page = (ROOT / "book" / "api.md").read_text(encoding="utf8")
    assert not [name for name in facexai.__all__ if name not in page.replace("`", " ").split()]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'explian'"):
        _ = facexai.explian


def test_importing_facexai_imports_nothing_heavy():
    program = f"import sys, facexai; print(*sorted({HEAVY} & {{name.split('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def test_explaining_a_pair_imports_no_plotting_and_no_renderer():
    program = (
        "import sys; from facexai import FacePair, explain, load_model, load_image\n"
        "print(*sorted({'plotly', 'ipywidgets', 'numba', 'lightning', 'sklearn'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def test_reading_faces_imports_neither_torch_nor_the_renderer():
    program = "import sys, facexai.datasets; print(*sorted({'torch', 'numba', 'scipy', 'sklearn'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def test_the_version_is_that_of_the_package():
    assert f'version = "{facexai.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf8")
