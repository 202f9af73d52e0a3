"""The reference page turns docstrings into lists, for every public name."""

import pytest

import facexai
from facexai.book.reference import entry, signature

DOCSTRING = """Turn a face.

    Args:
        image: the face. Shape
            (3, H, W).
        degrees, axis: how far, and about what.

    Returns:
        A face in `[-1, 1]`.

    Source: a paper, eq. (1).
"""


def turn(image: list, degrees: float = 0.0, *, axis: str = "y") -> list:
    return image


turn.__doc__ = DOCSTRING


def test_sections_become_terms_and_arguments_become_items():
    text = entry("facexai", "turn", turn).astext()
    for part in ("Turn a face.", "image: the face. Shape (3, H, W).", "degrees, axis: how far", "a paper, eq. (1)."):
        assert part in text
    assert "Args:" not in text and "`" not in text


def test_signatures_name_types_as_the_source_does():
    assert signature("turn", turn) == "turn(image: list, degrees: float = 0.0, *, axis: str = 'y') -> list"
    assert "torch." not in signature("FacePair", facexai.FacePair)
    assert signature("SIZE", 112) == "SIZE: int"


@pytest.mark.parametrize("name", facexai.__all__)
def test_every_public_name_has_an_entry(name: str):
    assert name in entry("facexai", name, getattr(facexai, name)).astext()
