"""Excitation backprop as a backward pass: while `Excitation` is active, gradients are marginal winning probabilities.

A neuron i hands its probability P(i) down to its inputs j in proportion to what each adds to its excitation:

    P(j | i) = a_j w_ij / sum over k of a_k w_ik     for w_ij >= 0, else 0                                      (eq. 3)
    P(j) = sum over i of P(j | i) P(i) = a_j [W+^T (P / W+ a)]_j                                               (eq. 10)

Source: Zhang, Bargal, Lin, Brandt, Shen, Sclaroff, "Top-Down Neural Attention by Excitation Backprop" (IJCV 2018),
section 3.2 and Algorithm 1.

Deviations:
    The rules suppose that activations are not negative, as behind a ReLU. Behind a PReLU, in sums and behind a
    BatchNorm they may be: then a_j = 0 in the formula, and what reaches a neuron without any excitatory input is lost.
    Hence maps of such networks are not exact, and are brought to sum 1 at the end.
    A neuron is a convolution with the BatchNorm behind it, if there is one, and with its activation: W is the folded
    weight. Any other BatchNorm has one input each, which takes all, as does a product with a number. A sum of branches
    is a neuron with two inputs of weight 1. Max pooling gives all to the winner. Biases take no part.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from facexai.errors import InputError

SUMS = {torch.add, Tensor.add, Tensor.__add__, Tensor.add_, Tensor.__iadd__}
PRODUCTS = {torch.mul, Tensor.mul, Tensor.__mul__}
ACTIVATIONS = {torch.relu, Tensor.relu, F.relu, torch.prelu}
AVERAGES = {F.avg_pool2d, F.adaptive_avg_pool2d}
KNOWN = (nn.Conv2d, nn.BatchNorm2d, nn.PReLU, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Identity)
EXCITATION_OF_NOTHING = 1e-12  # less than this is no excitation, but rounding


class Layers(TorchFunctionMode):
    """Keeps the output of each activation and of each sum of branches, in the order of the network, as `outputs`."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor] = []

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = self.apply(function, *args, **(kwargs or {}))
        if function in ACTIVATIONS or (function in SUMS and isinstance(args[1], Tensor)):
            self.outputs.append(output)
        return output

    def apply(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Leave everything as it is."""
        return function(*args, **kwargs)


class Excitation(Layers):
    """As `Layers`; the forward pass is untouched, and backward passes carry winning probabilities."""

    def apply(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The function itself, with the rule of excitation backprop in place of its gradient."""
        if function is torch.conv2d:
            return convolution(*args, **kwargs)
        if function is F.batch_norm:
            return batch_norm(*args, **kwargs)
        if function in ACTIVATIONS:
            kwargs.pop("inplace", None)
            return TakesAll.apply(lambda x: function(x, *args[1:], **kwargs), args[0])
        if function in SUMS and isinstance(args[1], Tensor):
            return Shares.apply(torch.add, torch.add, *args)
        if function in PRODUCTS and not isinstance(args[1], Tensor):
            return TakesAll.apply(lambda x: x * args[1], args[0])
        if function in AVERAGES:
            average = lambda x: function(x, *args[1:], **kwargs)  # noqa: E731
            return Shares.apply(average, average, args[0])
        return function(*args, **kwargs)


class Shares(torch.autograd.Function):
    """Eq. 10: each input gets what it adds to the excitation of the neurons above."""

    @staticmethod
    def forward(
        ctx: Any, response: Callable[..., Tensor], excitation: Callable[..., Tensor], *inputs: Tensor
    ) -> Tensor:
        """The response itself; `excitation` is the same with positive weights alone."""
        ctx.excitation = excitation
        ctx.save_for_backward(*inputs)
        return response(*inputs)

    @staticmethod
    def backward(ctx: Any, *winning: Tensor) -> tuple[Any, ...]:
        """P of the outputs -> P of the inputs."""
        with torch.enable_grad():
            inputs = [tensor.detach().clamp(min=0).requires_grad_() for tensor in ctx.saved_tensors]  # a
            excited = ctx.excitation(*inputs)  # W+ a
        some = excited > EXCITATION_OF_NOTHING
        share = torch.where(some, winning[0] / excited.detach().where(some, torch.ones_like(excited)), 0)
        back = torch.autograd.grad(excited, inputs, share)  # W+^T (P / W+ a)
        return None, None, *(a.detach() * z for a, z in zip(inputs, back, strict=True))


class TakesAll(torch.autograd.Function):
    """A neuron with one input, which takes all of its probability."""

    @staticmethod
    def forward(ctx: Any, response: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """The response itself."""
        return response(x)

    @staticmethod
    def backward(ctx: Any, *winning: Tensor) -> tuple[Any, ...]:
        """P of the outputs -> the same P of the inputs."""
        return None, winning[0]


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None, *geometry: Any, **named: Any) -> Tensor:
    """A convolution; its result remembers how it came about, for a BatchNorm that may follow."""
    output = Shares.apply(
        lambda a: torch.conv2d(a, weight, bias, *geometry, **named),
        lambda a: torch.conv2d(a, weight.clamp(min=0), None, *geometry, **named),
        x,
    )
    output.convolved = (x, weight, geometry, named)
    return output


def batch_norm(x: Tensor, mean: Tensor, variance: Tensor, **named: Any) -> Tensor:
    """BatchNorm in eval mode: part of the convolution that it follows, else a neuron with one input."""
    convolved = getattr(x, "convolved", None)
    if convolved is None:
        return TakesAll.apply(lambda a: F.batch_norm(a, mean, variance, **named), x)
    inputs, weight, geometry, others = convolved
    scale = (variance + named["eps"]).rsqrt()
    scale = scale if named["weight"] is None else scale * named["weight"]
    folded = (weight * scale[:, None, None, None]).clamp(min=0)
    return Shares.apply(
        lambda a: F.batch_norm(x.detach(), mean, variance, **named),
        lambda a: torch.conv2d(a, folded, None, *geometry, **others),
        inputs,
    )


def check_known(trunk: nn.Module) -> None:
    """Raise `InputError` for a layer of torch without a rule here."""
    for module in trunk.modules():
        is_layer = type(module).__module__.startswith("torch.nn") and not any(module.children())
        if is_layer and not isinstance(module, KNOWN):
            known = ", ".join(kind.__name__ for kind in KNOWN)
            raise InputError(
                f"excitation-backprop has no rule for {type(module).__name__}; it knows {known}. "
                "Choose another method for this network"
            )
