"""Any network that makes embeddings of images, as a `FaceRecognizer`.

A network whose last feature map is named is cut there into trunk and head, which is what explanations by features need.
The cut is made in the graph that torch.fx records, so weights stay shared with the network that was given.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from facexai.errors import InputError
from facexai.models.preprocessing import ChannelOrder, Preprocessing
from facexai.models.recognizer import FaceRecognizer, first_output


def wrap_model(
    module: nn.Module,
    *,
    features: str | None = None,
    head: nn.Module | None = None,
    input_size: tuple[int, int] | int = (112, 112),
    mean: Sequence[float] | float = 0.5,
    std: Sequence[float] | float = 0.5,
    channel_order: ChannelOrder = "RGB",
    name: str | None = None,
) -> FaceRecognizer:
    """A network of your own that explainers, benchmarks, `train_decoder` and judges take.

    Args:
        module: images (N, 3, H, W) -> embeddings (N, D), normalised or not; of several outputs the first counts.
        features: name of the submodule whose output is the last spatial map, as in `module.named_modules()`; None for
            a network that is only to give embeddings, on which methods without features still work.
        head: where torch.fx cannot record the network: `module` gives the last spatial map then, and `head` makes
            embeddings of it.
        input_size: (H, W) in pixels, or one number for a square.
        mean: of each channel in the network's own order, or one for all, on the scale of [0, 1].
        std: the same; the network sees `(x - mean) / std` for x in [0, 1]. See `Preprocessing`.
        channel_order: of the colours that the network wants.
        name: what it is called in reports, and its architecture on a model card; the class where None.

    Returns:
        The recognizer, in eval mode, as is `module`. It takes RGB in [-1, 1] and converts. `save_model` keeps its
        weights; to load them again, the function that wraps is registered in `ARCHITECTURES` under `name`.

    Raises:
        InputError: no such submodule, one that is not a spatial map or past which the image reaches the embedding, or
            outputs that are no embeddings.
    """
    size = (input_size, input_size) if isinstance(input_size, int) else (int(input_size[0]), int(input_size[1]))
    preprocessing = Preprocessing(mean, std, channel_order)
    name = name or type(module).__name__
    module.eval()
    images = preprocessing(probe_images(size, next(module.parameters(), torch.zeros(()))))
    trunk = module
    if features is not None and head is not None:
        raise InputError("features cuts a network that has its own head; give features or head")
    if features is not None:
        trunk, head = split(module, features, size)
    with torch.no_grad():
        output = run(trunk, images, name)
        if head is not None:
            check_spatial(output, features or "the module")
            output = run(head.eval(), output, name)
    if output.ndim != 2 or not output.is_floating_point():
        raise InputError(
            f"{name} must give embeddings of shape (N, D); got {tuple(output.shape)}. Name the submodule of its last "
            "spatial map with features, and pool it"
        )
    model = FaceRecognizer(trunk, head, input_size=size, preprocessing=preprocessing, dimension=output.shape[1])
    model.name = name
    model.architecture = {"name": name, "options": {}}
    return model.eval()


def probe_images(size: tuple[int, int], like: Tensor) -> Tensor:
    """Two images of noise, to see what a network makes of them. Shape (2, 3, H, W), in [-1, 1]."""
    generator = torch.Generator().manual_seed(42)
    return (torch.rand(2, 3, *size, generator=generator) * 2 - 1).to(like)


def run(module: nn.Module, images: Tensor, name: str) -> Tensor:
    """What a foreign network makes of its inputs; any failure is one line."""
    try:
        output = module(images)
    except Exception as error:  # a network may stumble over anything
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{name} fails on inputs of shape {tuple(images.shape)}: {reason}; check input_size") from None
    output = first_output(output)
    if not isinstance(output, Tensor):
        raise InputError(f"{name} must give a tensor; got {type(output).__name__}. Wrap it in a module that gives one.")
    return output


def check_spatial(output: Tensor, name: str) -> None:
    """Raise `InputError` unless this is a feature map."""
    if output.ndim != 4 or output.shape[2] * output.shape[3] < 2:
        raise InputError(
            f"features must be a spatial map (N, C, h, w) of several cells; {name} gives {tuple(output.shape)}"
        )


def spatial_maps(module: nn.Module, input_size: tuple[int, int]) -> list[str]:
    """Names of the submodules that give spatial maps, in the order in which they finish; the last one is the last map.

    Args:
        module: in eval mode.
        input_size: (H, W) in pixels.
    """
    names: list[str] = []

    def note(name: str):
        def hook(_: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
                names.append(name)

        return hook

    hooks = [submodule.register_forward_hook(note(name)) for name, submodule in module.named_modules() if name]
    try:
        with torch.no_grad():
            run(module, probe_images(input_size, next(module.parameters(), torch.zeros(()))), type(module).__name__)
    finally:
        for hook in hooks:
            hook.remove()
    return names


class Whole(fx.Tracer):
    """Records a network, one submodule of which stays in one piece."""

    def __init__(self, whole: str) -> None:
        super().__init__()
        self.whole = whole

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: D102
        return module_qualified_name == self.whole or super().is_leaf_module(m, module_qualified_name)


def split(module: nn.Module, features: str, input_size: tuple[int, int]) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Cut a network, in eval mode, behind a submodule: images -> features, and features -> embeddings (N, D).

    The parts hold the weights of the network itself, under their names.
    """
    if features not in dict(module.named_modules()) or not features:
        maps = spatial_maps(module, input_size)
        raise InputError(f"no submodule '{features}'; the last spatial maps are {', '.join(maps[:-4:-1]) or 'none'}")
    try:
        graph = Whole(features).trace(module)
    except Exception as error:  # whatever in a forward pass cannot be recorded
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{type(module).__name__} cannot be cut at '{features}': its forward cannot be recorded ({reason}). "
            "Wrap the part up to the last spatial map, and give the rest as head"
        ) from None
    cuts = [node for node in graph.nodes if node.op == "call_module" and node.target == features]
    if len(cuts) != 1:
        raise InputError(f"features must run once in a forward pass; '{features}' runs {len(cuts)} times")
    return fx.GraphModule(module, part_below(graph, cuts[0])), fx.GraphModule(module, part_above(graph, cuts[0]))


def part_below(graph: fx.Graph, cut: fx.Node) -> fx.Graph:
    """The part of a network up to a node, whose output it gives."""
    part, copies = fx.Graph(), {}
    for node in graph.nodes:
        copies[node] = part.node_copy(node, copies.__getitem__)
        if node is cut:
            break
    part.output(copies[cut])
    return part


def part_above(graph: fx.Graph, cut: fx.Node) -> fx.Graph:
    """The part of a network that follows a node, its first output brought to the shape (N, D)."""
    part, copies = fx.Graph(), {}
    end = part.graph_copy(graph, copies)
    inputs = [node for node in part.nodes if node.op == "placeholder"]
    with part.inserting_before(next(iter(part.nodes))):
        placeholder = part.placeholder("features")
        features = part.call_method("clone", (placeholder,))  # what follows may work in place
    copies[cut].replace_all_uses_with(features)
    end = first_output(end)
    end = features if end is copies[cut] else end
    if not isinstance(end, fx.Node):
        raise InputError(f"a network must give a tensor; got {type(end).__name__}. Wrap it in a module that gives one.")
    part.output(part.call_function(torch.flatten, (end, 1)))
    part.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
    for node in inputs:
        if node.users:
            raise InputError(
                f"the image reaches the embedding past '{cut.target}'; features must name a submodule through which "
                "all goes"
            )
        part.erase_node(node)
    return part
