"""Build digits-cnn: an 8 x 8 image -> two small convolutions -> 10 logits; small enough to prove in seconds.

Run `python circuits/digits-cnn/build.py [FOLDER]`; needs torch.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402
from recording import digits, record  # noqa: E402
from torch import nn  # noqa: E402
from training import export, fit  # noqa: E402


def network() -> nn.Module:
    """Two strided convolutions and one linear layer: no pooling, so that a proof has few rows."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def main(folder: Path) -> None:
    """Train, export and write the folder."""
    data = digits()
    data.train_x = (data.train_x / 16).reshape(-1, 1, 8, 8)
    data.holdout_x = (data.holdout_x / 16).reshape(-1, 1, 8, 8)
    torch.manual_seed(0)
    module = fit(network(), data.train_x, data.train_y, epochs=120, learning_rate=4e-3, weight_decay=1e-4)
    record(
        folder,
        export(module, (1, 1, 8, 8), "image"),
        data,
        tools=["torch", "scikit-learn", "numpy", "onnx", "onnxruntime"],
        about={
            "title": "Handwritten digits: a small convolutional network",
            "data": "Optical recognition of handwritten digits, as shipped by scikit-learn",
            "classes": [str(digit) for digit in range(10)],
            "preprocessing": "pixels divided by 16, outside the graph: the input runs from 0 to 1",
            "decision": "arg max of the logits, outside the graph",
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
