"""Networks in ONNX files, as black boxes: embeddings and nothing else.

onnxruntime runs them, which torch cannot look into: no features, no gradients, no training. Methods that only look at
scores work as ever.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facexai.errors import InputError
from facexai.models.preprocessing import Preprocessing
from facexai.models.recognizer import FaceRecognizer

USUAL_SIZE = (112, 112)
PRECISIONS = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}


class OnnxNetwork(nn.Module):
    """Images (N, 3, H, W) -> embeddings (N, D), run by onnxruntime on the processor.

    Args:
        file: a network with one input of images, channels first or last, of any or a fixed batch size. Of several
            outputs the first counts.

    Attributes:
        input_size: (H, W) in pixels; 112 x 112 where the file leaves it open.
        differentiable: False.

    Raises:
        InputError: no onnxruntime, or a file that is no such network.
    """

    differentiable = False

    def __init__(self, file: str | Path) -> None:
        super().__init__()
        self.session = _open(Path(file))
        images, *others = self.session.get_inputs()
        shape = [length if isinstance(length, int) else None for length in images.shape]  # None: left open
        if others or len(shape) != 4 or 3 not in (shape[1], shape[3]) or images.type not in PRECISIONS:
            raise InputError(
                f"{file} must have one input of images, (N, 3, H, W) floats; it has "
                + ", ".join(f"{one.name} {one.shape} {one.type}" for one in (images, *others))
            )
        self.input_name, self.precision = images.name, PRECISIONS[images.type]
        self.batch, self.channels_last = shape[0], shape[1] != 3
        height, width = shape[1:3] if self.channels_last else shape[2:4]
        self.input_size = (height or USUAL_SIZE[0], width or USUAL_SIZE[1])
        # There is nothing to train. Others ask the first parameter for device and precision.
        self.anchor = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        inputs = images.detach().to("cpu", self.precision)
        if self.channels_last:
            inputs = inputs.permute(0, 2, 3, 1)
        count = len(inputs)
        if self.batch and count % self.batch:  # a batch of fixed size is filled up with the last image
            inputs = torch.cat([inputs, inputs[-1:].expand(-count % self.batch, *inputs.shape[1:])])
        batches = inputs.split(self.batch or max(count, 1))
        outputs = [self.session.run(None, {self.input_name: batch.contiguous().numpy()})[0] for batch in batches]
        return torch.cat([torch.from_numpy(output).flatten(1) for output in outputs])[:count].to(images)


def load_onnx(file: str | Path, preprocessing: Preprocessing = Preprocessing()) -> FaceRecognizer:  # noqa: B008 - frozen
    """A network of an ONNX file that gives embeddings.

    Args:
        file: see `OnnxNetwork`.
        preprocessing: what it wants to see; the default suits those of insightface.

    Raises:
        InputError: see `OnnxNetwork`.
    """
    network = OnnxNetwork(file)
    with torch.no_grad():
        try:
            embedding = network(torch.zeros(1, 3, *network.input_size))
        except Exception as error:  # onnxruntime's own errors have no common class
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"{file} does not run on images of {network.input_size}: {reason}") from None
    model = FaceRecognizer(
        network, None, input_size=network.input_size, preprocessing=preprocessing, dimension=embedding.shape[1]
    )
    model.name = f"onnx@{Path(file).name}"
    return model.eval()


def _open(file: Path) -> Any:
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise InputError("ONNX networks need onnxruntime; install it with: pip install 'facexai[onnx]'") from None
    if not file.is_file():
        raise InputError(f"no file {file}; give the path of an ONNX network")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{file} is not an ONNX network that onnxruntime can run ({reason})") from None
