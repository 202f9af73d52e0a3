"""3DDFA's angles: by hand from a camera matrix, and with the signs of `Pose`."""

import pytest
import torch

from facexai.errors import InputError
from facexai.models.three_ddfa import MARGIN, PARAMETERS, SIZE, ThreeDDFA, pose_of_parameters
from facexai.pose import Pose


def parameters_of(matrix) -> torch.Tensor:
    """The 62 numbers of a head with this rotation, half its size, somewhere."""
    camera = torch.cat([0.5 * torch.as_tensor(matrix, dtype=torch.float64), torch.tensor([[7.0], [8.0], [9.0]])], 1)
    return torch.cat([camera.flatten(), torch.zeros(PARAMETERS - 12)])[None]


@pytest.mark.parametrize("pose", [Pose(40, 0, 0), Pose(-70, 0, 0), Pose(0, 25, 0), Pose(0, 0, -15)])
def test_one_angle_at_a_time_comes_back_with_our_signs(pose):
    angles = pose_of_parameters(parameters_of(pose.matrix()))
    assert angles[0].tolist() == pytest.approx([pose.yaw, pose.pitch, pose.roll], abs=1e-4)


def test_the_published_reading_of_the_matrix():
    """`matrix2angle` of their code, written down again."""
    matrix = Pose(30.0, 12.0, -8.0).matrix()
    yaw, pitch, roll = pose_of_parameters(parameters_of(matrix))[0].deg2rad()
    theirs = torch.as_tensor(matrix)
    assert -yaw == pytest.approx(float(theirs[2, 0].asin()), abs=1e-6)
    assert pitch == pytest.approx(float(torch.atan2(theirs[2, 1], theirs[2, 2])), abs=1e-6)
    assert roll == pytest.approx(float(torch.atan2(theirs[1, 0], theirs[0, 0])), abs=1e-6)


def test_faces_get_a_margin_and_their_colours_turned_round():
    torch.manual_seed(0)
    model = ThreeDDFA().eval()
    seen = []
    model.conv1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    images = torch.zeros(1, 3, 112, 112)
    images[:, 0] = 1.0  # red
    assert model(images).angles.shape == (1, 3)
    (given,) = seen
    assert given.shape == (1, 3, SIZE, SIZE) and round(MARGIN * 112) == 24
    assert given[0, :, 60, 60].tolist() == pytest.approx([0.0, 0.0, 127.5 / 128])  # blue, green, red


def test_something_else_than_faces_is_refused():
    with pytest.raises(InputError, match=r"shape \(N, 3, H, W\)"):
        ThreeDDFA()(torch.zeros(3, 112, 112))
