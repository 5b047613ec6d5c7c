"""Build breast-cancer-mlp: 30 raw measurements -> scaler -> 16 -> 8 -> 2 logits.

Run `python circuits/breast-cancer-mlp/build.py [FOLDER]`; scikit-learn trains, no torch is needed.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402
from recording import breast_cancer, mlp_onnx, record  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402


def main(folder: Path) -> None:
    """Train, convert and write the folder."""
    data = breast_cancer()
    scaler = StandardScaler().fit(data.train_x.astype(np.float64))
    classifier = MLPClassifier((16, 8), alpha=1.0, max_iter=1000, random_state=0)
    classifier.fit(scaler.transform(data.train_x), data.train_y)
    layers = list(zip(classifier.coefs_, classifier.intercepts_, strict=True))
    # scikit-learn ends a two-class network in one score s; the logits (-s/2, s/2) are the same classifier.
    weight, bias = layers[-1]
    layers[-1] = (np.hstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2)
    model = mlp_onnx(
        "breast-cancer-mlp",
        "features",
        [("Sub", scaler.mean_[None]), ("Div", scaler.scale_[None])],
        layers,
    )
    record(
        folder,
        model,
        data,
        tools=["scikit-learn", "numpy", "onnx", "onnxruntime"],
        about={
            "title": "Breast cancer diagnosis: a multi-layer perceptron with its scaler inside the graph",
            "data": "Breast Cancer Wisconsin (Diagnostic), as shipped by scikit-learn",
            "classes": ["malignant", "benign"],
            "preprocessing": "none outside the graph: the input holds the 30 measurements in their own units",
            "decision": "arg max of the logits, outside the graph",
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
