from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from rtae.nets.config import LARGE, SMALL, TINY, WINDOW, NetConfig
from rtae.runtime import OnnxModel

ONNX_ATOL = 1e-4  # of the largest value, or of full scale; measured 2e-6
VARIANTS = {
    "large": LARGE,
    "small": SMALL,
    "tiny": TINY,
    "large symmetric": replace(LARGE, causal=False),
    "small symmetric": replace(SMALL, causal=False),
    "tiny symmetric": replace(TINY, causal=False),
    "tiny without shortcut": replace(TINY, shortcut_frames=0),
    "small with a block code": replace(SMALL, shortcut_frames=1),
}
LENGTHS = {"1": 1, "a frame less 1": 191, "odd": 5003}


@pytest.fixture(params=VARIANTS)
def config(request) -> NetConfig:
    return VARIANTS[request.param]


def compare(net, model: OnnxModel, std: np.ndarray, audio: np.ndarray) -> None:
    """Both directions of torch and ONNX; the latents of the graphs are divided by their standard deviation."""
    with torch.no_grad():
        z = net.encoder(torch.from_numpy(audio)[:, None]).numpy()
        scaled = z / std[None, :, None].astype(np.float32)
        sound = net.decoder(torch.from_numpy(z))[:, 0].numpy()
    for ours, expected in ((model.encode(audio), scaled), (model.decode(scaled), sound)):
        assert ours.shape == expected.shape
        scale = max(1, np.abs(expected).max())
        assert np.abs(ours - expected).max() <= ONNX_ATOL * scale
        assert np.abs(expected).max() > 0.01


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("samples", LENGTHS.values(), ids=LENGTHS)
def test_torch_equals_onnx(rng, net_of, files_of, model_of, config, samples, batch):
    audio = rng.uniform(-1, 1, (batch, samples)).astype(np.float32)
    compare(net_of(config), model_of(config), files_of(config).std, audio)


@pytest.mark.parametrize("config", ["large", "small", "tiny"], indirect=True)
def test_torch_equals_onnx_over_a_whole_window(rng, net_of, files_of, model_of, config):
    audio = rng.uniform(-1, 1, (2, WINDOW)).astype(np.float32)
    compare(net_of(config), model_of(config), files_of(config).std, audio)


def test_graphs_are_valid_and_plain(files_of, config):
    files = files_of(config)
    layers = {"encoder": config.encoder, "decoder": config.decoder}
    for name, content in (("encoder", files.encoder), ("decoder", files.decoder)):
        graph = onnx.load_from_string(content)
        onnx.checker.check_model(graph, full_check=True)
        kinds = [node.op_type for node in graph.graph.node]
        assert "BatchNormalization" not in kinds
        weighted = sum(layer.channels > 0 for layer in layers[name]) + (config.shortcut_frames > 0)
        assert sum(kind in ("Conv", "ConvTranspose") for kind in kinds) == weighted
        assert kinds.count("LeakyRelu") == sum(layer.channels > 0 for layer in layers[name]) - 1
        assert all(not part.external_data for part in graph.graph.initializer)


def test_graphs_say_what_goes_in_and_out(files_of, config):
    files = files_of(config)
    for content, expected in (
        (files.encoder, [("audio", ["batch", 1, "samples"]), ("latent", ["batch", config.latent_dim, "frames"])]),
        (files.decoder, [("latent", ["batch", config.latent_dim, "frames"]), ("audio", ["batch", 1, "samples"])]),
    ):
        graph = onnx.load_from_string(content).graph
        found = [
            (value.name, [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim])
            for value in (*graph.input, *graph.output)
        ]
        assert found == expected


def test_graphs_hold_no_path_of_this_machine(files_of, config):
    files = files_of(config)
    for content in (files.encoder, files.decoder):
        graph = onnx.load_from_string(content)
        for part in graph.graph.initializer:  # random weights may hold any byte
            part.ClearField("raw_data")
        plain = graph.SerializeToString()
        assert b"stack.0" in plain
        for trace in (b"/", b"\\", b".py", b"site-packages"):
            assert trace not in plain
        assert not graph.doc_string
        assert not graph.metadata_props
