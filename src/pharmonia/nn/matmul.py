"""Matrix products by the faster of PyTorch's two CPU libraries.

On CPUs with AVX-512 that are not Intel's, `torch.mm` (MKL) runs at half the speed of oneDNN, which PyTorch ships
too but takes for linear layers only when compiling. Both compute in float32. oneDNN compiles a kernel per shape:
`linear` is for shapes that recur, `linear_of_varying` for a number of rows that differs in every batch.
"""

from typing import Any

import torch
from torch import Tensor

_HAS_ONEDNN: bool = (
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)

ROW_STEP = 64


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(n_rows, n_out): rows @ weight.T + bias, as `torch.nn.functional.linear`; both operands 2-D."""
    result: Tensor = _Linear.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
    return result


def linear_of_varying(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As `linear`, for a number of rows that differs in every batch: rows of zeros make it one that recurs."""
    n_rows = rows.shape[0]
    filled = torch.nn.functional.pad(rows, (0, 0, 0, -n_rows % ROW_STEP))
    return linear(filled, weight, bias)[:n_rows]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return _product(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        for_rows, for_weight, for_bias = ctx.needs_input_grad
        return (
            _product(grads[0], weight.t(), None) if for_rows else None,
            _product(grads[0].t(), rows.t(), None) if for_weight else None,
            grads[0].sum(dim=0) if for_bias else None,
        )


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if _HAS_ONEDNN and rows.dtype == torch.float32 and rows.numel() and weight.numel():
        result: Tensor = torch.ops.mkldnn._linear_pointwise(_packed(rows), _packed(weight), bias, "none", [], "")
        return result
    return torch.nn.functional.linear(rows, weight, bias)


def _packed(matrix: Tensor) -> Tensor:
    """Without gaps between rows or columns; oneDNN's fast kernels take transposed matrices but no cut-outs."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()
