"""Imports inside the package point down only, so that each part can be read without those above it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "facexai"
# From the ground up. Parts of the two lowest levels may look sideways; those above meet through data alone.
LEVELS = [
    {"errors", "registry", "compat", "cache", "pairs", "pose", "smoothing", "pixels", "images", "detection"},
    {"models", "losses", "datasets", "rendering", "weights", "pose_networks", "frontalizations", "results"},
    {"explainers", "benchmarks", "training"},
    {"views"},
    {"bench", "leaderboard"},
    {"cli"},
    {"__main__"},
]
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}
# The public names reach everywhere, lazily; the book's extension belongs to Sphinx.
OUTSIDE = {"__init__", "book"}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(source: str) -> set[str]:
    """Parts of facexai that a module imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "facexai":
            names.update(f"facexai.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return {name.split(".")[1] for name in names if name.startswith("facexai.")}


def forbidden_parts(part: str, source: str) -> set[str]:
    """Parts that a module of `part` imports and may not."""
    level = LEVEL[part]
    sideways = level < 2
    others = imported_parts(source) - {part}
    return {other for other in others if LEVEL[other] > level or (LEVEL[other] == level and not sideways)}


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if part_of(path) not in OUTSIDE)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path: Path):
    assert not forbidden_parts(part_of(path), path.read_text(encoding="utf8"))


@pytest.mark.parametrize(
    ("part", "source", "forbidden"),
    [
        ("pairs", "from facexai.views.figures import show_pair", {"views"}),
        ("explainers", "import facexai.benchmarks.verification", {"benchmarks"}),
        ("training", "def train():\n    from facexai import views", {"views"}),
        ("weights", "from facexai.models import build", set()),
        ("views", "from facexai.explainers import explain", set()),
    ],
)
def test_the_rule_itself(part: str, source: str, forbidden: set[str]):
    assert forbidden_parts(part, source) == forbidden
