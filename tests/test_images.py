"""Photos in every form end as one kind of tensor, and faces end on the template."""

import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from facexai.errors import InputError
from facexai.images import align_face, from_uint8, load_image, to_uint8
from facexai.pixels import TEMPLATE, fit_crops, similarity_transform, template


@pytest.fixture
def colours():
    """Four flat quarters: red and green above, blue and white below. Shape (40, 60, 3)."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30, 0] = pixels[:20, 30:, 1] = pixels[20:, :30, 2] = 255
    pixels[20:, 30:] = 255
    return pixels


def corners(image):
    """RGB at the centres of the four quarters, row by row, as 0/255 levels."""
    pixels = to_uint8(image)
    height, width = pixels.shape[:2]
    return [pixels[y * height // 4, x * width // 4].tolist() for y in (1, 3) for x in (1, 3)]


RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]


def test_bytes_survive_the_way_there_and_back():
    pixels = np.arange(16 * 16 * 3, dtype=np.uint32).astype(np.uint8).reshape(16, 16, 3)
    image = from_uint8(pixels)
    assert image.dtype == torch.float32 and image.shape == (3, 16, 16)
    assert abs(float(image.min()) + 1) < 1e-6 and abs(float(image.max()) - 1) < 1e-6
    assert np.array_equal(to_uint8(image), pixels)


def test_values_outside_the_range_are_clipped_on_the_way_out():
    assert to_uint8(torch.tensor([-3.0, 3.0]).view(1, 1, 2).expand(3, 1, 2))[0, :, 0].tolist() == [0, 255]


# Source: EXIF 2.32, table 6: where row 0 and column 0 of the stored picture lie when it is shown.
SHOWN = {
    1: [RED, GREEN, BLUE, WHITE],
    2: [GREEN, RED, WHITE, BLUE],
    3: [WHITE, BLUE, GREEN, RED],
    4: [BLUE, WHITE, RED, GREEN],
    5: [RED, BLUE, GREEN, WHITE],
    6: [BLUE, RED, WHITE, GREEN],
    7: [WHITE, GREEN, BLUE, RED],
    8: [GREEN, WHITE, RED, BLUE],
}


@pytest.mark.parametrize("orientation", SHOWN)
def test_exif_orientation_is_applied(tmp_path, colours, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(colours).save(tmp_path / "photo.png", exif=exif)
    image = load_image(tmp_path / "photo.png")
    assert image.shape == ((3, 40, 60) if orientation < 5 else (3, 60, 40))
    assert corners(image) == SHOWN[orientation]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_show_neutral_grey(mode):
    picture = Image.new("RGBA", (20, 20), (255, 255, 255, 0))
    picture.paste((255, 255, 255, 255), (0, 0, 10, 20))
    pixels = to_uint8(load_image(picture.convert(mode)))
    assert pixels[10, 5].tolist() == WHITE and pixels[10, 15].tolist() == [128, 128, 128]


def test_half_transparency_is_mixed():
    picture = Image.new("RGBA", (20, 20), (0, 0, 0, 128))
    assert abs(int(to_uint8(load_image(picture))[5, 5, 0]) - 64) <= 1


def test_transparent_palette_entry_shows_neutral_grey(tmp_path):
    picture = Image.new("P", (20, 20), 1)
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "palette.png", transparency=1)
    assert to_uint8(load_image(tmp_path / "palette.png"))[5, 5].tolist() == [128, 128, 128]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB", "HSV"])
def test_other_modes_become_rgb(mode):
    source = Image.new("RGB", (20, 20), (255, 255, 255))
    if mode != "LAB":
        source = source.convert(mode)
    assert np.abs(to_uint8(load_image(source)).astype(int) - 255).max() <= 2


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_grey_keeps_its_steps(tmp_path, suffix):
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (20, 1))
    Image.fromarray(ramp).save(tmp_path / f"ramp.{suffix}")
    levels = to_uint8(load_image(tmp_path / f"ramp.{suffix}"))[0, :, 0].astype(int)
    assert np.abs(levels - np.arange(256)).max() <= 1


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_float_tiff_finds_its_white(tmp_path, white):
    Image.fromarray(np.tile(np.linspace(0, white, 256, dtype=np.float32), (20, 1))).save(tmp_path / "ramp.tiff")
    levels = to_uint8(load_image(tmp_path / "ramp.tiff"))[0, :, 0].astype(int)
    assert np.abs(levels - np.arange(256)).max() <= 1


def test_the_first_frame_of_an_animation_counts(tmp_path):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    assert to_uint8(load_image(tmp_path / "two.gif"))[5, 5].tolist() == RED


def test_arrays_of_every_depth_mean_the_same_grey():
    grey = np.full((20, 20), 51, np.uint8)
    grey[:10] = 255
    same = [grey, grey[..., None], np.repeat(grey[..., None], 3, 2), grey.astype(np.uint16) * 257, grey / 255.0]
    for array in same:
        assert set(np.unique(to_uint8(load_image(array)))) == {51, 255}


def test_a_tensor_in_range_passes_unchanged():
    image = torch.rand(3, 20, 20) * 2 - 1
    assert torch.equal(load_image(image), image)


# Bad input: one line that says what is wrong


def png_of_size(width, height):
    """A PNG whose header promises `width` x `height` pixels, without them."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def noisy_jpeg(path):
    Image.fromarray(np.random.default_rng(42).integers(0, 256, (90, 90, 3), np.uint8)).save(path)
    return path.read_bytes()


BAD_FILES = {
    "text.jpg": (b"hello", "not an image"),
    "empty.jpg": (b"", "not an image"),
    "one.png": (None, "1x1 pixels"),
    "huge.png": (png_of_size(20_000, 20_000), "too large to open safely.*400000000"),
    "large.png": (png_of_size(10_000, 10_000), "too large to open safely.*100000000"),
    "header-only.png": (png_of_size(100, 100), "damaged or incomplete"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_photo_is_refused_in_one_line(tmp_path, name):
    content, message = BAD_FILES[name]
    if content is None:
        Image.new("RGB", (1, 1)).save(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=f"{name} is {message}") as caught:
            load_image(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_truncated_jpeg_is_refused(tmp_path):
    whole = noisy_jpeg(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"half.jpg is damaged or incomplete"):
        load_image(tmp_path / "half.jpg")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.jpg does not exist"):
        load_image(tmp_path / "nowhere.jpg")
    with pytest.raises(InputError, match="is a folder"):
        load_image(str(tmp_path))


def test_a_float_tiff_with_nan_is_refused(tmp_path):
    Image.fromarray(np.full((20, 20), np.nan, np.float32)).save(tmp_path / "nan.tiff")
    with pytest.raises(InputError, match="NaN"):
        load_image(tmp_path / "nan.tiff")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((20, 20, 3), np.nan), "NaN"),
        (np.full((20, 20, 3), 2.0), r"\[0, 1\]; got \[2.00, 2.00\]"),
        (np.zeros((3, 20, 20), np.uint8), "Move colour last"),
        (np.zeros((20, 20), np.int64), "uint8, uint16 or float; got int64"),
        (np.zeros((0, 20, 3), np.uint8), "shape"),
        (np.zeros((20, 1, 3), np.uint8), "1x20 pixels"),
        (torch.full((3, 20, 20), float("nan")), "NaN"),
        (torch.zeros(1, 20, 20), "shape"),
    ],
)
def test_arrays_that_are_no_images_are_refused(array, message):
    with pytest.raises(InputError, match=message):
        load_image(array)


# Alignment


def moved(points, degrees, scale, shift):
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ rotation.T + shift


@pytest.mark.parametrize("degrees", [0, 30, -120, 180])
def test_a_known_similarity_is_recovered(degrees):
    source = moved(TEMPLATE, degrees, 2.5, (40, -7))
    matrix = similarity_transform(source, TEMPLATE)
    assert np.abs(source @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE).max() < 1e-9


def least_squares(source, target):
    """Oracle: x' = a x - b y + c, y' = b x + a y + d is linear in (a, b, c, d), and never a reflection."""
    x, y = source.T
    one, zero = np.ones(5), np.zeros(5)
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, c, d = np.linalg.lstsq(rows, target.T.reshape(-1), rcond=None)[0]
    return np.array([[a, -b, c], [b, a, d]])


@pytest.mark.parametrize("mirror", [1, -1])
def test_noisy_and_mirrored_points_agree_with_least_squares(mirror):
    generator = np.random.default_rng(42)
    source = moved(TEMPLATE, 20, 1.7, (3, 5)) + generator.normal(0, 3, TEMPLATE.shape)
    source *= [mirror, 1]
    assert np.abs(similarity_transform(source, TEMPLATE) - least_squares(source, TEMPLATE)).max() < 1e-9


def dots(points, size, radius=3):
    """Black image with a white disc on each point."""
    pixels = np.zeros((size, size, 3), np.uint8)
    for x, y in points:
        cv2.circle(pixels, (round(x), round(y)), radius, (255, 255, 255), -1, cv2.LINE_AA)
    return from_uint8(pixels)


@pytest.mark.parametrize(("scale", "size"), [(0.7, 112), (1.8, 112), (6.0, 112), (6.0, 224)])
def test_landmarks_come_to_lie_on_the_template(scale, size):
    landmarks = moved(TEMPLATE, 15, scale, (60 * scale, 20 * scale)).round()
    crop = align_face(dots(landmarks, round(200 * scale), radius=max(1, round(2 * scale))), landmarks, size)
    assert crop.shape == (3, size, size) and crop.dtype == torch.float32
    brightness = (crop[0].double().numpy() + 1) / 2
    matrix = similarity_transform(landmarks, TEMPLATE * size / 112)
    for x, y in landmarks @ matrix[:, :2].T + matrix[:, 2]:
        top, left = int(y) - 6, int(x) - 6
        window = brightness[top : top + 13, left : left + 13]
        rows, columns = np.mgrid[top : top + 13, left : left + 13]
        centre = np.array([(columns * window).sum(), (rows * window).sum()]) / window.sum()
        assert np.abs(centre - [x, y]).max() < 0.2


def test_outside_the_photo_is_black():
    crop = align_face(torch.ones(3, 60, 60), TEMPLATE - 30)
    assert float(crop[:, 0, 0].max()) == -1 and float(crop[:, 60, 60].min()) == 1


def test_a_large_face_is_averaged_not_sampled():
    stripes = torch.ones(3, 1120, 1120)
    stripes[:, :, ::2] = -1
    crop = align_face(stripes, TEMPLATE * 10)
    assert float(crop[:, 20:-20, 20:-20].abs().max()) < 0.05


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (TEMPLATE[:4], "five points"),
        (np.full((5, 2), np.nan), "finite"),
        (np.zeros((5, 2)), "all in one place"),
    ],
)
def test_landmarks_that_fix_no_face_are_refused(landmarks, message):
    with pytest.raises(InputError, match=message):
        align_face(torch.zeros(3, 112, 112), landmarks)


# Crops that are not 112 x 112


def test_the_template_of_a_narrow_crop_is_that_of_sphereface():
    sphereface = [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]]
    np.testing.assert_allclose(template((112, 96)), sphereface, atol=1e-9)


def test_a_narrow_crop_is_the_middle_of_the_square_one():
    coarse = torch.rand(1, 3, 10, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1
    photo = torch.nn.functional.interpolate(coarse, (150, 170), mode="bilinear")[0]  # the warp rounds places
    landmarks = TEMPLATE * 1.1 + 12
    square, narrow = (align_face(photo, landmarks, size) for size in (112, (112, 96)))
    assert torch.allclose(narrow, square[:, :, 8:104], atol=1e-5)


def test_fitted_crops_keep_the_middle_or_add_black():
    crops = np.random.default_rng(0).integers(1, 256, (2, 112, 112, 4), dtype=np.uint8)
    assert fit_crops(crops, 112) is crops
    np.testing.assert_array_equal(fit_crops(crops, (112, 96)), crops[:, :, 8:104])
    wide = fit_crops(crops, (112, 130))
    np.testing.assert_array_equal(wide[:, :, 9:121], crops)
    assert not wide[:, :, :9].any() and not wide[:, :, 121:].any()
    large = fit_crops(crops, (224, 224))
    assert set(np.unique(large[..., 3])) == set(np.unique(crops[..., 3]))  # labels are never mixed
    assert abs(large[..., :3].mean() - crops[..., :3].mean()) < 1
    with pytest.raises(InputError, match="must be 112 x 112 pixels, or 160 x 160"):
        fit_crops(np.zeros((1, 250, 250, 3), np.uint8), 160)
