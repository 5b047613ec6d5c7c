"""Training a PyTorch classifier the same way every time, and exporting it as `vml export` does."""

from __future__ import annotations

import numpy as np
import torch
from recording import OPSET, Array
from torch import nn

from vml.model.export import export_module

BATCH = 32


def fit(
    module: nn.Module, inputs: Array, labels: Array, *, epochs: int, learning_rate: float, weight_decay: float
) -> nn.Module:
    """Train with AdamW and a one-cycle schedule on one thread; the caller seeds torch beforehand.

    Args:
        module: takes float32 batches, returns logits.
        inputs: float32, rows on axis 0.
        labels: int64, one class a row.
        epochs: passes over the rows.
        learning_rate: peak of the schedule.
        weight_decay: AdamW's decay.

    Returns:
        The module, in evaluation mode.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    x, y = torch.from_numpy(np.ascontiguousarray(inputs)), torch.from_numpy(labels)
    order = torch.Generator().manual_seed(1)
    steps = -(-len(x) // BATCH)
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=epochs * steps)
    loss = nn.CrossEntropyLoss(label_smoothing=0.05)
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=order).split(BATCH):
            optimizer.zero_grad()
            loss(module(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
    return module.eval()


def export(module: nn.Module, shape: tuple[int, ...], input_name: str) -> bytes:
    """The trained module as ONNX, through `vml.model.export` as `vml export` does it.

    Args:
        module: in evaluation mode, returns logits.
        shape: the input's shape, batch 1 first.
        input_name: name of the input.

    Returns:
        A serialised model with output `logits`.
    """
    example = torch.rand(shape, generator=torch.Generator().manual_seed(2))
    return export_module(module, example, input_names=[input_name], output_names=["logits"], opset=OPSET).onnx
