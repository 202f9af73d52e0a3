"""Lets torchvision import beside a torch build that lacks its compiled operators."""

import torch

_KEEP_ALIVE: list[torch.library.Library] = []


def define_missing_torchvision_operators() -> None:
    """Define the schemas of `torchvision::nms` and `torchvision::qnms` where no compiled library has done so.

    `import torchvision` registers meta kernels for both and fails without their schemas; facexai calls neither. Where
    torchvision's own compiled library loads, its import must come first, so this is called only after that has failed.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEEP_ALIVE.append(library)


def import_torchvision():
    """`import torchvision`, on any build of torch."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        define_missing_torchvision_operators()
        import torchvision
    return torchvision
