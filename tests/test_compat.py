"""torchvision imports beside any build of torch."""

import subprocess
import sys


def test_torchvision_models_import_in_a_fresh_process():
    code = (
        "from facexai.compat import import_torchvision as t; t(); from torchvision.models import resnet18; print('in')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "in", result.stderr
