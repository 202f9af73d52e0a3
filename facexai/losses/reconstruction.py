"""reconstruction_loss: what did the face look like? L_rec of the DDFV paper, eq. 2: L = L_id + lambda * L_rec."""

from torch import Tensor
from torch.nn import functional as F

from facexai.errors import InputError


def reconstruction_loss(reconstruction: Tensor, images: Tensor) -> Tensor:
    """L_rec: mean squared error between faces and their reconstructions, both (N, 3, H, W) in [-1, 1].

    Source: DDFV paper, III.C.
    """
    if reconstruction.shape != images.shape:
        raise InputError(
            f"reconstruction must be {tuple(images.shape)} like the images; got {tuple(reconstruction.shape)}"
        )
    return F.mse_loss(reconstruction, images)
