"""Build digits-mlp: 64 raw pixels -> division by 16 -> 32 -> 10 logits, and their arg max.

Run `python circuits/digits-mlp/build.py [FOLDER]`; scikit-learn trains, no torch is needed.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402
from recording import digits, mlp_onnx, record  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402


def main(folder: Path) -> None:
    """Train, convert and write the folder."""
    data = digits()
    classifier = MLPClassifier((32,), alpha=1e-2, max_iter=1000, random_state=0, learning_rate_init=2e-3)
    classifier.fit(data.train_x / 16, data.train_y)
    model = mlp_onnx(
        "digits-mlp",
        "pixels",
        [("Mul", np.array([1 / 16]))],
        list(zip(classifier.coefs_, classifier.intercepts_, strict=True)),
        decide=True,
    )
    record(
        folder,
        model,
        data,
        tools=["scikit-learn", "numpy", "onnx", "onnxruntime"],
        about={
            "title": "Handwritten digits: a multi-layer perceptron",
            "data": "Optical recognition of handwritten digits, as shipped by scikit-learn",
            "classes": [str(digit) for digit in range(10)],
            "preprocessing": "none outside the graph: the input holds the 64 pixels, 0 to 16 each",
            "decision": "inside the graph: output `label` is the arg max of the logits",
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
