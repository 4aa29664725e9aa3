"""A BERT-like transformer as an ONNX graph of onnxruntime's fused operators, in float32 or int8.

In int8, weights have one scale for each output, activations one fixed scale and zero for each product, found on
sample texts beforehand: a text's vector depends on nothing else in its batch, as it would with ranges taken while
running, and no pass over the activations is spent on finding them. A few channels of a transformer are a hundred times
as large as the others and would eat the 256 steps; each channel is therefore divided by a factor that its weights take
over (SmoothQuant, https://arxiv.org/abs/2211.10438, with a larger exponent, which was measured better).
Weights have 7 bits: on processors without VNNI the products of two 8-bit pairs overflow their 16-bit sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml.schema import Vectors

SMOOTHING = 0.75
LARGEST_WEIGHT = 63
STEPS = 255
FEWEST = 1e-4  # a channel that the sample never moved
OPSET, IR = 17, 9
FUSED = "com.microsoft"
FAMILIES = {"bert": 0, "roberta": 2, "xlm-roberta": 2}  # where positions start

Ranges = Mapping[
    str, tuple[Vectors, Vectors]
]  # lowest and highest of each channel that enters a product, by its name


class GraphError(Exception):
    """The transformer is built in a way that the graph does not know."""


@dataclass
class _Graph:
    weights: Mapping[str, Vectors]
    config: Mapping[str, Any]
    ranges: Ranges | None
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def constant(self, name: str, values: Any) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, kind: str, inputs: list[str], name: str, *, fused: bool = False, **attributes: Any) -> str:
        from onnx import helper

        domain = FUSED if fused else ""
        self.nodes.append(helper.make_node(kind, inputs, [name], domain=domain, **attributes))
        return name


def check(config: Mapping[str, Any]) -> None:
    """GraphError unless the configuration describes what `build` builds."""
    wanted = {"hidden_act": "gelu", "position_embedding_type": "absolute"}
    if config.get("model_type") not in FAMILIES:
        raise GraphError(f"{config.get('model_type')} is not one of {', '.join(FAMILIES)}")
    for name, value in wanted.items():
        if config.get(name, value) != value:
            raise GraphError(f"its {name} is {config[name]}, not {value}")


def product_inputs(layer: int) -> dict[str, str]:
    """By the name that ranges have, the module whose input they describe."""
    of = f"encoder.layer.{layer}"
    return {
        f"{layer}.attention": f"{of}.attention.self.query",
        f"{layer}.attended": f"{of}.attention.output.dense",
        f"{layer}.inner": f"{of}.intermediate.dense",
        f"{layer}.outer": f"{of}.output.dense",
    }


def build(
    weights: Mapping[str, Vectors], config: Mapping[str, Any], *, layers: int, ranges: Ranges | None
) -> bytes:
    """The serialised graph: ids and mask, both (texts, tokens), to the states after each layer, `layer_1` and on.

    float32 without ranges, int8 with them.
    """
    from onnx import TensorProto, helper

    check(config)
    graph = _Graph(weights, config, ranges)
    states = _embedded(graph)
    for layer in range(layers):
        states = _layer(graph, layer, states)
    shape = ["texts", "tokens"]
    body = helper.make_graph(
        graph.nodes,
        "encoder",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, shape),
            helper.make_tensor_value_info("mask", TensorProto.INT32, shape),
        ],
        [
            helper.make_tensor_value_info(
                f"layer_{number}", TensorProto.FLOAT, [*shape, config["hidden_size"]]
            )
            for number in range(1, layers + 1)
        ],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)]
    content: bytes = helper.make_model(body, opset_imports=opsets, ir_version=IR).SerializeToString()
    return content


def _embedded(graph: _Graph) -> str:
    """Words and positions; the words, most of a small model, take two bytes a number in int8."""
    from onnx import TensorProto

    weights, config, half = graph.weights, graph.config, graph.ranges is not None
    words = weights["embeddings.word_embeddings.weight"]
    places = weights["embeddings.position_embeddings.weight"][FAMILIES[config["model_type"]] :]
    graph.constant("words", words.astype(np.float16 if half else np.float32))
    graph.constant("places", places + weights["embeddings.token_type_embeddings.weight"][:1])
    graph.constant("from", np.zeros(1, np.int64))
    word = graph.add("Gather", ["words", "ids"], "word")
    if half:
        word = graph.add("Cast", [word], "word_float", to=TensorProto.FLOAT)
    graph.add("Shape", ["ids"], "length", start=1, end=2)
    graph.add("Slice", ["places", "from", "length", "from"], "place")
    graph.add("Add", [word, "place"], "sum")
    scale = graph.constant("embedded.scale", weights["embeddings.LayerNorm.weight"])
    shift = graph.constant("embedded.shift", weights["embeddings.LayerNorm.bias"])
    return graph.add(
        "LayerNormalization", ["sum", scale, shift], "embedded", axis=-1, epsilon=config["layer_norm_eps"]
    )


def _layer(graph: _Graph, layer: int, states: str) -> str:
    """One layer: what attends, its sum with the states, and the wide pair of products, each normalised."""
    of = f"encoder.layer.{layer}"
    own = {name: graph.weights[f"{of}.{name}"] for name in LAYER_WEIGHTS}
    attended = _attended(graph, layer, states, own)
    middle = _normalised(graph, f"{layer}.middle", (attended, states), own, "attention.output")
    (inner,) = _products(graph, f"{layer}.inner", middle, [own["intermediate.dense.weight"]])
    graph.constant(f"{layer}.inner.bias", own["intermediate.dense.bias"])
    active = graph.add("BiasGelu", [inner, f"{layer}.inner.bias"], f"{layer}.active", fused=True)
    (outer,) = _products(
        graph, f"{layer}.outer", active, [own["output.dense.weight"]], own["output.dense.bias"]
    )
    return _normalised(graph, f"layer_{layer + 1}", (outer, middle), own, "output")


def _attended(graph: _Graph, layer: int, states: str, own: Mapping[str, Vectors]) -> str:
    """Attention over the states, with its closing product."""
    matrices = [own[f"{name}.weight"] for name in HEADS]
    bias = [own[f"{name}.bias"] for name in HEADS]
    closing = own["attention.output.dense.weight"]
    channels = None
    if graph.ranges is not None:
        # Attention averages values channel by channel: its smoothing moves into the values' weights at no cost.
        low, high = graph.ranges[f"{layer}.attended"]
        factor = smoothing((low, high), [closing])
        matrices[2], bias[2] = matrices[2] / factor[:, None], bias[2] / factor
        closing, channels = closing * factor, (low / factor, high / factor)
    three = _products(graph, f"{layer}.attention", states, matrices)
    graph.constant(f"{layer}.bias", np.concatenate(bias))
    heads = graph.config["num_attention_heads"]
    inputs = [*three, f"{layer}.bias", "mask"]
    attended = graph.add("MultiHeadAttention", inputs, f"{layer}.attended", fused=True, num_heads=heads)
    entered = _fixed(graph, attended, channels)
    return _product(graph, f"{layer}.summed", entered, closing, own["attention.output.dense.bias"])


HEADS = ("attention.self.query", "attention.self.key", "attention.self.value")
LAYER_WEIGHTS = [
    f"{module}.{kind}"
    for module in (
        *HEADS,
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    )
    for kind in ("weight", "bias")
]


def _normalised(
    graph: _Graph, name: str, both: tuple[str, str], own: Mapping[str, Vectors], module: str
) -> str:
    """Normalised sum of both. Add and LayerNormalization take a fraction of SkipLayerNormalization's time."""
    scale = graph.constant(f"{name}.scale", own[f"{module}.LayerNorm.weight"])
    shift = graph.constant(f"{name}.shift", own[f"{module}.LayerNorm.bias"])
    summed = graph.add("Add", [*both], f"{name}.sum")
    return graph.add(
        "LayerNormalization", [summed, scale, shift], name, axis=-1, epsilon=graph.config["layer_norm_eps"]
    )


@dataclass(frozen=True)
class _Input:
    """What enters a product: its name and, in int8, its scale and zero."""

    name: str
    scale: str | None = None
    zero: str | None = None


def smoothing(channels: tuple[Vectors, Vectors], matrices: list[Vectors]) -> Vectors:
    """What each channel is divided by and its weights are multiplied with; the mean is 1."""
    largest = np.maximum(np.abs(channels[0]), np.abs(channels[1])).clip(FEWEST)
    heaviest = np.max([np.abs(matrix).max(axis=0) for matrix in matrices], axis=0).clip(FEWEST)
    factor: Vectors = largest**SMOOTHING / heaviest ** (1 - SMOOTHING)
    even: Vectors = (factor / factor.mean()).astype(np.float32)
    return even


def _products(
    graph: _Graph,
    name: str,
    states: str,
    matrices: list[Vectors],
    bias: Vectors | None = None,
) -> list[str]:
    """The states times each matrix, (outputs, inputs) as torch keeps it."""
    ranges = graph.ranges
    if ranges is None:
        entered = _Input(states)
    else:
        factor = smoothing(ranges[name], matrices)
        graph.constant(f"{name}.smoothing", 1 / factor)
        even = graph.add("Mul", [states, f"{name}.smoothing"], f"{name}.even")
        entered = _fixed(graph, even, (ranges[name][0] / factor, ranges[name][1] / factor))
        matrices = [matrix * factor for matrix in matrices]
    return [
        _product(graph, f"{name}.product{number}", entered, matrix, bias)
        for number, matrix in enumerate(matrices)
    ]


def _fixed(graph: _Graph, states: str, channels: tuple[Vectors, Vectors] | None) -> _Input:
    """The states in 256 steps from the lowest to the highest that the sample had (float32 without a sample)."""
    if channels is None:
        return _Input(states)
    low, high = min(float(channels[0].min()), 0.0), max(float(channels[1].max()), 0.0)
    step = (high - low) / STEPS
    scale = graph.constant(f"{states}.step", np.float32(step))
    zero = graph.constant(f"{states}.zero", np.uint8(round(-low / step)))
    return _Input(graph.add("QuantizeLinear", [states, scale, zero], f"{states}.steps"), scale, zero)


def _product(graph: _Graph, name: str, entered: _Input, matrix: Vectors, bias: Vectors | None = None) -> str:
    added = [] if bias is None else [graph.constant(f"{name}.bias", bias)]
    if entered.scale is None or entered.zero is None:
        weight = graph.constant(f"{name}.weight", matrix.T.astype(np.float32))
        if bias is None:
            return graph.add("MatMul", [entered.name, weight], name)
        bare = graph.add("MatMul", [entered.name, weight], f"{name}.bare")
        return graph.add("Add", [bare, *added], name)
    step = np.abs(matrix).max(axis=1).clip(1e-12) / LARGEST_WEIGHT
    steps = np.rint(matrix / step[:, None]).T.astype(np.int8)
    weight = graph.constant(f"{name}.weight", steps)
    scale = graph.constant(f"{name}.step", step.astype(np.float32))
    zero = graph.constant(f"{name}.zero", np.zeros(len(step), np.int8))
    inputs = [entered.name, weight, entered.scale, scale, entered.zero, zero, *added]
    return graph.add("MatMulIntegerToFloat", inputs, name, fused=True)
