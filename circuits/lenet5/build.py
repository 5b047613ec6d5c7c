"""Build lenet5: LeCun's network of 61,706 weights on digits enlarged to 28 x 28, with Relu and max pooling.

Run `python circuits/lenet5/build.py [FOLDER]`; needs torch.
Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition" (1998).
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from recording import Array, digits, record, upscale  # noqa: E402
from torch import nn  # noqa: E402
from training import export, fit  # noqa: E402


def network() -> nn.Module:
    """Convolution, pooling, convolution, pooling, and three linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def enlarge(rows: Array) -> Array:
    """Grey levels k/255 on 28 x 28 pixels, from 64 pixels of 0 to 16."""
    images = upscale(rows.reshape(-1, 8, 8) / 16, 28)
    return (np.round(images * 255) / 255).astype(np.float32).reshape(-1, 1, 28, 28)


def main(folder: Path) -> None:
    """Train, export and write the folder."""
    data = digits()
    data.train_x, data.holdout_x = enlarge(data.train_x), enlarge(data.holdout_x)
    torch.manual_seed(0)
    module = fit(network(), data.train_x, data.train_y, epochs=25, learning_rate=2e-3, weight_decay=1e-4)
    record(
        folder,
        export(module, (1, 1, 28, 28), "image"),
        data,
        tools=["torch", "scikit-learn", "numpy", "onnx", "onnxruntime"],
        about={
            "title": "Handwritten digits: LeNet-5",
            "data": "Optical recognition of handwritten digits, as shipped by scikit-learn",
            "classes": [str(digit) for digit in range(10)],
            "preprocessing": "bilinear enlarging to 28 x 28 grey levels k/255, outside the graph",
            "decision": "arg max of the logits, outside the graph",
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
