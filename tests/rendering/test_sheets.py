import numpy as np
import pytest

from facexai.errors import InputError
from facexai.rendering import LABELS, contact_sheet
from facexai.rendering.sheets import SHEETS, colour_regions


def test_pictures_are_tiled_row_by_row():
    images = [np.full((4, 6, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = contact_sheet(images, columns=2, gap=1)
    assert sheet.shape == (9, 13, 3)
    assert (sheet[0, 0] == 10).all() and (sheet[0, 7] == 20).all() and (sheet[5, 0] == 30).all()
    assert (sheet[4] == 255).all() and (sheet[5:, 7:] == 255).all()


@pytest.mark.parametrize(
    ("images", "columns"), [([], 2), ([np.zeros((4, 4, 3)), np.zeros((5, 4, 3))], 2), ([np.zeros((4, 4, 3))], 0)]
)
def test_what_cannot_be_tiled_is_refused(images, columns):
    with pytest.raises(InputError, match="pictures must have one size"):
        contact_sheet(images, columns)


def test_every_label_has_its_colour():
    colours = colour_regions(np.arange(len(LABELS), dtype=np.uint8)[None])[0]
    assert len({tuple(colour) for colour in colours}) == len(LABELS)
    assert not colours[0].any()


@pytest.mark.parametrize("name", ["beards", "occluders", "regions"])
def test_ready_made_sheets_are_drawn(name):
    sheet = SHEETS[name](32)
    assert sheet.dtype == np.uint8 and sheet.std() > 20
