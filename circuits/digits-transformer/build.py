"""Build digits-transformer: an 8 x 8 image in 16 patches -> one attention block -> 10 logits.

Run `python circuits/digits-transformer/build.py [FOLDER]`; needs torch. The same network, untrained, is what
`vml export circuits/digits-transformer/build.py:untrained -o MODEL.onnx` writes.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402
from recording import digits, record  # noqa: E402
from torch import nn  # noqa: E402
from training import export, fit  # noqa: E402

WIDTH = 16
HEADS = 2
PATCHES = 16


class Attention(nn.Module):
    """Scaled dot-product attention written out, so that every step is an operator of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = (-1, PATCHES, HEADS, WIDTH // HEADS)
        query = self.query(x).reshape(heads).permute(0, 2, 1, 3)
        key = self.key(x).reshape(heads).permute(0, 2, 3, 1)
        value = self.value(x).reshape(heads).permute(0, 2, 1, 3)
        weights = torch.softmax(query @ key * (WIDTH // HEADS) ** -0.5, dim=-1)
        return self.mix((weights @ value).permute(0, 2, 1, 3).reshape(-1, PATCHES, WIDTH))


class Transformer(nn.Module):
    """Patch embedding, one pre-norm block of attention and Gelu, mean over patches, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, WIDTH, 2, stride=2)
        self.position = nn.Parameter(torch.randn(1, PATCHES, WIDTH) * 0.1)
        self.norm_attention = nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.norm_mlp = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Linear(32, WIDTH))
        self.norm_head = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.embed(image).flatten(2).transpose(1, 2) + self.position
        x = x + self.attention(self.norm_attention(x))
        x = x + self.mlp(self.norm_mlp(x))
        return self.head(self.norm_head(x).mean(dim=1))


def untrained() -> tuple[nn.Module, torch.Tensor, dict[str, list[str]]]:
    """The factory that `vml export` calls."""
    torch.manual_seed(0)
    return Transformer(), torch.rand(1, 1, 8, 8), {"input_names": ["image"], "output_names": ["logits"]}


def main(folder: Path) -> None:
    """Train, export and write the folder."""
    data = digits()
    data.train_x = (data.train_x / 16).reshape(-1, 1, 8, 8)
    data.holdout_x = (data.holdout_x / 16).reshape(-1, 1, 8, 8)
    torch.manual_seed(0)
    module = fit(Transformer(), data.train_x, data.train_y, epochs=80, learning_rate=6e-3, weight_decay=1e-3)
    record(
        folder,
        export(module, (1, 1, 8, 8), "image"),
        data,
        tools=["torch", "scikit-learn", "numpy", "onnx", "onnxruntime"],
        about={
            "title": "Handwritten digits: a small vision transformer",
            "data": "Optical recognition of handwritten digits, as shipped by scikit-learn",
            "classes": [str(digit) for digit in range(10)],
            "preprocessing": "pixels divided by 16, outside the graph: the input runs from 0 to 1",
            "decision": "arg max of the logits, outside the graph",
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
