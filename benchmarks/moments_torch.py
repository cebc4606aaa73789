"""The contenders of the moments benchmark that run in PyTorch, eagerly as most of its users do."""

import os
import warnings
from collections.abc import Callable
from functools import partial

# Threads that spin while they wait fight JAX's threads for the cores: with one other busy process
# PyTorch was ten times slower. OpenMP reads this once, when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import moments_torch_models
import torch
from backpack import backpack, extend
from backpack.extensions import Variance
from moments_contender import Contender, Prepared, whole_batch
from moments_models import Architecture
from torch.func import functional_call, grad, vmap

cross_entropy = torch.nn.functional.cross_entropy

# BackPACK's own hook, on a network whose inputs need no gradient.
warnings.filterwarnings("ignore", message="Full backward hook is firing")


def _model_and_batch(model: Architecture, size: int):
    inputs, labels = model.batch(size)
    if not model.vocabulary:
        inputs = inputs.transpose(0, 3, 1, 2).copy()
    network = moments_torch_models.build(model.name, model.sizes)
    return network, torch.from_numpy(inputs), torch.from_numpy(labels).long()


def _mean_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits.flatten(0, -2), labels.flatten())


def plain_gradient(model: Architecture, size: int) -> Callable:
    """The gradient of the mean loss of a batch."""
    network, inputs, labels = _model_and_batch(model, size)
    params = list(network.parameters())
    return lambda: torch.autograd.grad(_mean_loss(network(inputs), labels), params)


def backpack_variance(model: Architecture, size: int) -> Callable:
    """BackPACK's extension: the variance of the mean loss's summands beside its gradient."""
    network, inputs, labels = _model_and_batch(model, size)
    network, loss = extend(network), extend(torch.nn.CrossEntropyLoss())

    def call():
        network.zero_grad()
        with backpack(Variance()):
            loss(network(inputs), labels).backward()
        return [(p.grad, p.variance) for p in network.parameters()]

    return call


def vmap_moments(model: Architecture, size: int) -> Callable:
    """Mean and variance of the per-example gradients that ``vmap(grad)`` gives."""
    network, inputs, labels = _model_and_batch(model, size)
    params = {name: p.detach() for name, p in network.named_parameters()}

    def loss_fn(params, inputs, labels):
        logits = functional_call(network, params, (inputs[None],))
        return _mean_loss(logits, labels[None])

    per_example = vmap(grad(loss_fn), in_dims=(None, 0, 0))

    return lambda: [_moments(g) for g in per_example(params, inputs, labels).values()]


def _moments(grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # torch.var_mean over the leading axis takes about twice as long on a CPU.
    mean = grads.mean(0)
    return mean, (grads - mean).square_().sum(0) / (len(grads) - 1)


def prepare(make: Callable, model: Architecture, size: int) -> Prepared:
    """Build the network and its batch; there is nothing to compile."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    return Prepared(make(model, size))


CONTENDERS = (
    Contender("torch-plain", "plain gradient (torch)", "torch", partial(prepare, plain_gradient)),
    Contender(
        "torch-backpack",
        "BackPACK Variance",
        "torch",
        partial(prepare, backpack_variance),
        models=("mlp", "cnn"),
    ),
    Contender(
        "torch-vmap",
        "torch.func vmap",
        "torch",
        partial(prepare, vmap_moments),
        examples_held=whole_batch,
    ),
)
