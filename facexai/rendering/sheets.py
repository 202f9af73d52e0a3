"""Contact sheets: many small pictures on one."""

from collections.abc import Sequence

import numpy as np

from facexai.errors import InputError


def contact_sheet(images: Sequence[np.ndarray], columns: int = 8, gap: int = 2) -> np.ndarray:
    """Tile pictures row by row on white.

    Args:
        images: pictures of one size. Shape (H, W, 3), uint8 each.
        columns: pictures in a row.
        gap: white pixels between them.

    Returns:
        The sheet. Shape (rows * (H + gap) - gap, columns * (W + gap) - gap, 3), uint8.

    Raises:
        InputError: no pictures, or pictures of several sizes.
    """
    shapes = {np.shape(image) for image in images}
    if len(shapes) != 1 or columns < 1:
        raise InputError(
            f"a sheet needs pictures of one size and at least one column; got {sorted(shapes)}, {columns}."
        )
    height, width, _ = shapes.pop()
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for index, image in enumerate(images):
        y, x = index // columns * (height + gap), index % columns * (width + gap)
        sheet[y : y + height, x : x + width] = image
    return sheet
