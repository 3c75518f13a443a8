"""A policy as an ONNX graph, written node by node.

The whole of it is a subtraction, a division and a few matrix products. A general converter
(jax2onnx 0.17) would take any program, but brings fifteen packages and an older orbax than training
uses, for a graph that fits on a page.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.mirror import Reflection
from lamour_jax.policies import PolicyHeader
from lamour_jax.ppo.networks import MAX_NORMALIZED_OBSERVATION, Agent

OPSET = 17  # read by every onnxruntime since 1.12 (2022), TensorRT and others
_IR_VERSION = 8  # the file format of that opset
_ACTIVATIONS = {"tanh": "Tanh", "elu": "Elu", "relu": "Relu"}


def policy_model(header: PolicyHeader, agent: Agent, about: dict[str, str]) -> Any:
    """Returns the deterministic policy as an `onnx.ModelProto`, normaliser and clipping included.

    Args:
        header: says what the networks are.
        agent: their parameters and the normaliser's statistics.
        about: metadata that the file carries.

    Returns:
        The model: `observation` `(batch, observation_size)` to `action` `(batch, action_size)` in
        -1..1, float32.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, value: Any) -> str:
        array = np.asarray(value, np.float32)
        constants.append(numpy_helper.from_array(array, name))
        return name

    def node(kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{kind.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def activate(name: str, x: str) -> str:
        if name == "linear":
            return x
        if name == "swish":  # an operator of its own only from opset 24 on
            return node("Mul", x, node("Sigmoid", x))
        return node(_ACTIVATIONS[name], x)

    statistics = agent.observation_statistics
    x = node("Sub", "observation", constant("mean", statistics.mean))
    x = node("Div", x, constant("std", statistics.std))
    limit = MAX_NORMALIZED_OBSERVATION
    x = node("Clip", x, constant("lowest", -limit), constant("highest", limit))
    layers = agent.params.policy["params"]
    weights = [
        (constant(f"kernel_{i}", layer["kernel"]), constant(f"bias_{i}", layer["bias"]))
        for i, layer in enumerate(layers[f"Dense_{i}"] for i in range(len(layers)))
    ]
    activations = [header.activation] * (len(layers) - 1) + [header.output]

    def mean(x: str) -> str:
        for (kernel, bias), activation in zip(weights, activations, strict=True):
            x = activate(activation, node("Gemm", x, kernel, bias))
        return x

    def reflect(x: str, reflection: Reflection, name: str) -> str:
        index = numpy_helper.from_array(np.asarray(reflection.index, np.int64), f"{name}_index")
        constants.append(index)
        swapped = node("Gather", x, index.name, axis=1)
        return node("Mul", swapped, constant(f"{name}_sign", reflection.sign))

    if header.mirror is None:
        x = mean(x)
    else:
        mirrored = mean(reflect(x, header.mirror.observation, "observation"))
        mirrored = reflect(mirrored, header.mirror.action, "action")
        mirrored = node("Add", mirrored, constant("action_offset", header.mirror.action.offset))
        x = node("Mul", node("Add", mean(x), mirrored), constant("half", 0.5))
    node("Clip", x, constant("smallest", -1.0), constant("largest", 1.0), output="action")

    def value(name: str, size: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])

    graph = helper.make_graph(
        nodes,
        "policy",
        [value("observation", header.observation_size)],
        [value("action", header.action_size)],
        constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="lamour-jax",
    )
    helper.set_model_props(model, about)
    checker.check_model(model, full_check=True)
    return model
