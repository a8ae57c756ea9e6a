"""A trained network as two ONNX graphs, written node by node.

The networks are plain stacks, and ONNX can say exactly what they do (it pads and crops each side on its own), so the
graphs hold one node for each layer and nothing else: batch norm is folded into the weights, in double precision, and
so is the scaling of the latents to unit variance. What is written is verified against the network in any case.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from rtae.nets.autoencoder import Autoencoder, Convolution, Upsampling
from rtae.nets.fixed import FixedUpsampling

OPSET = 17
IR_VERSION = 8
Array = NDArray[np.float64]


def folded(layer: Convolution | Upsampling, norm: nn.BatchNorm1d | None) -> tuple[Array, Array]:
    """Weight and bias of a layer with the batch norm behind it; output channels first."""
    weight, bias = (t.detach().double().numpy() for t in (layer.conv.weight, layer.conv.bias))
    if isinstance(layer, Upsampling):
        weight = weight.transpose(1, 0, 2)
    if norm is None:
        return weight, bias
    gamma, beta, mean, variance = (
        t.detach().double().numpy() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    scale = gamma / np.sqrt(variance + norm.eps)
    return weight * scale[:, None, None], (bias - mean) * scale + beta


class GraphWriter:
    """Collects nodes and weights in the order of the signal."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        """One node; returns the name of its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def weight(self, name: str, value: NDArray[np.generic]) -> str:
        """One constant; returns its name."""
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def layer(self, layer: Convolution | Upsampling, weight: Array, bias: Array, source: str, name: str) -> str:
        """A convolution or transposed convolution with its padding or cropping."""
        up = isinstance(layer, Upsampling)
        sides = (layer.left, layer.right) if isinstance(layer, Upsampling) else layer.padding
        stored = weight.transpose(1, 0, 2) if up else weight
        inputs = [
            source,
            self.weight(name + ".weight", stored.astype(np.float32)),
            self.weight(name + ".bias", bias.astype(np.float32)),
        ]
        return self.node(
            "ConvTranspose" if up else "Conv",
            inputs,
            name,
            kernel_shape=list(layer.conv.kernel_size),
            strides=list(layer.conv.stride),
            pads=list(sides),
        )

    def fixed(self, layer: FixedUpsampling, source: str, name: str) -> str:
        """Upsampling without trained weights: a transposed convolution of each channel on its own."""
        weight = self.weight(name + ".weight", layer.weight.numpy().astype(np.float32))
        sides = {"strides": [layer.stride], "pads": [layer.left, layer.right], "group": layer.weight.shape[0]}
        return self.node("ConvTranspose", [source, weight], name, kernel_shape=[layer.weight.shape[2]], **sides)

    def stack(self, stack: nn.Sequential, source: str, name: str, first: Array | None, last: Array | None) -> str:
        """A whole stack; `first` scales the inputs of its first layer, `last` the outputs of its last one."""
        modules = list(stack)
        for number, module in enumerate(modules):
            label = f"{name}.{number}"
            following = modules[number + 1] if number + 1 < len(modules) else None
            if isinstance(module, Convolution | Upsampling):
                weight, bias = folded(module, following if isinstance(following, nn.BatchNorm1d) else None)
                if number == 0 and first is not None:
                    weight = weight * first[None, :, None]
                if following is None and last is not None:
                    weight, bias = weight * last[:, None, None], bias * last
                source = self.layer(module, weight, bias, source, label)
            elif isinstance(module, FixedUpsampling):
                source = self.fixed(module, source, label)
            elif isinstance(module, nn.LeakyReLU):
                source = self.node("LeakyRelu", [source], label, alpha=module.negative_slope)
            elif isinstance(module, nn.MaxPool1d | nn.AvgPool1d):
                kind = "MaxPool" if isinstance(module, nn.MaxPool1d) else "AveragePool"
                size = int(np.ravel(module.kernel_size)[0])
                source = self.node(kind, [source], label, kernel_shape=[size], strides=[size])
            elif not isinstance(module, nn.BatchNorm1d):
                raise TypeError(f"no ONNX node is known for {type(module).__name__}")
        return source

    def model(self, source: tuple[str, int, str], result: tuple[str, int, str], last: str) -> bytes:
        """The finished graph; source and result are (name, channels, name of the time axis)."""
        self.node("Identity", [last], result[0])
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, axis])
            for name, channels, axis in (source, result)
        ]
        graph = helper.make_graph(self.nodes, "rtae", values[:1], values[1:], self.weights)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="rtae")
        return model.SerializeToString()


def encoder_graph(net: Autoencoder, latent_std: Array) -> bytes:
    """encoder.onnx: audio (batch, 1, samples) to latent (batch, latent_dim, frames), each divided by its latent_std."""
    writer, scale = GraphWriter(), 1 / latent_std
    pads = writer.weight("pads", np.array([0, 0, 0, 0, 0, net.encoder.padding], np.int64))
    padded = writer.node("Pad", ["audio", pads], "padded")
    z = writer.stack(net.encoder.stack, padded, "stack", None, scale)
    if net.encoder.analysis is not None:
        weight, bias = folded(net.encoder.analysis, None)
        shortcut = writer.layer(net.encoder.analysis, weight * scale[:, None, None], bias * scale, padded, "analysis")
        z = writer.node("Add", [z, shortcut], "sum")
    return writer.model(("audio", 1, "samples"), ("latent", net.config.latent_dim, "frames"), z)


def decoder_graph(net: Autoencoder, latent_std: Array) -> bytes:
    """decoder.onnx: latent (batch, latent_dim, frames), each times its latent_std, to audio (batch, 1, samples)."""
    writer = GraphWriter()
    audio = writer.stack(net.decoder.stack, "latent", "stack", latent_std, None)
    if net.decoder.synthesis is not None:
        weight, bias = folded(net.decoder.synthesis, None)
        shortcut = writer.layer(net.decoder.synthesis, weight * latent_std[None, :, None], bias, "latent", "synthesis")
        audio = writer.node("Add", [audio, shortcut], "sum")
    return writer.model(("latent", net.config.latent_dim, "frames"), ("audio", 1, "samples"), audio)
