"""Weights stored and computed in bf16."""

import torch
from torch import nn

from cnnbench.arithmetic import computes_in
from cnnbench.errors import UnavailableError
from cnnbench.models.fold import cast, fold
from cnnbench.techniques.compression.compression import Compression, Examples


class StoreInBfloat16(Compression):
    """Folds the norms into the convolutions, and rounds the weights of these and of linear layers to bf16."""

    precision = "bf16"

    def require(self, kind: str) -> None:
        if not computes_in("bf16", kind):
            raise UnavailableError(
                f"compression=bf16: this {kind} computes in no bf16 of its own; use compression=int8"
            )

    def finish(self, model: nn.Module, examples: Examples) -> nn.Module:
        return in_bfloat16(model.eval())


def in_bfloat16(model: nn.Module) -> nn.Module:
    """`model` itself, in eval mode: folded, with the weights of conv and linear layers in bf16."""
    fold(model)
    cast(model, torch.bfloat16)
    return model


def bf16() -> Compression:
    """Rounds conv and linear weights to bf16, which has the range of float32 and 8 bits of precision; folds norms."""
    return StoreInBfloat16()
