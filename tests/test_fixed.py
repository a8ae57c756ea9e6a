from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from rtae.errors import ExportError, ModelError
from rtae.export.exporter import load_network
from rtae.nets.config import SMALL, TINY, Layer, pool
from rtae.nets.fixed import FixedUpsampling, PlacedUnpooling, max_places, with_decoder
from rtae.nets.reach import computed_reach, measured_reach
from rtae.training.checkpoint import Checkpoint
from rtae.training.config import TrainConfig


def slim(config):
    """The same layers with two channels each, which reach just as far and cost nothing."""
    stacks = {
        name: tuple(replace(layer, channels=min(layer.channels, 2)) for layer in getattr(config, name))
        for name in ("encoder", "decoder")
    }
    return replace(config, latent_dim=2, **stacks)


@pytest.mark.parametrize("decoder", ["unpool", "linear"])
@pytest.mark.parametrize("causal", [True, False])
def test_other_decoders_reach_as_far_as_their_layers_say(net_of, config, decoder, causal):
    net = net_of(slim(replace(with_decoder(config, decoder), causal=causal)))
    assert measured_reach(net) == computed_reach(net.config)
    assert net(torch.zeros(1, 1, 1000)).shape == (1, 1, 1000)


def test_the_other_decoders_have_no_transposed_convolution_that_upsamples(config):
    for name in ("max-unpool", "unpool", "linear"):
        layers = with_decoder(config, name).decoder
        assert all(layer.stride == 1 for layer in layers if layer.kind in ("up", "conv"))
        assert [layer.stride for layer in layers if layer.stride > 1] == [
            layer.stride for layer in config.decoder if layer.stride > 1
        ]
    assert with_decoder(config, "transposed") is config
    with pytest.raises(ModelError, match="there are max-unpool, unpool, linear, transposed"):
        with_decoder(config, "nearest")


def test_unpooling_puts_a_value_first_among_zeros():
    up = FixedUpsampling(2, Layer("unpool", 3, 3), 0)
    values = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert up(values).tolist() == [[[1, 0, 0, 2, 0, 0], [3, 0, 0, 4, 0, 0]]]


def test_max_unpooling_puts_a_value_where_the_pool_found_it():
    up = PlacedUnpooling(2, Layer("place_unpool", 3, 3), 0)
    audio = torch.tensor([[[0.0, 5, 1, 2, 0, 7], [4, 3, 3, -3, -1, -2]]])
    places = max_places(audio, 3)
    assert places.tolist() == [[[1, 2], [0, 1]]]
    pooled = nn.functional.max_pool1d(audio, 3)
    assert up(pooled, places).tolist() == [[[0, 5, 0, 0, 0, 7], [4, 0, 0, 0, -1, 0]]]
    assert up(pooled).tolist() == [[[5, 0, 0, 7, 0, 0], [4, 0, 0, -1, 0, 0]]]  # told nothing, the first
    theirs = nn.MaxUnpool1d(3)(*nn.functional.max_pool1d(audio, 3, return_indices=True))
    assert torch.equal(up(pooled, places), theirs)


@pytest.mark.parametrize("causal", [True, False])
def test_places_come_from_the_pool_of_the_same_rate(rng, net_of, config, causal):
    net = net_of(slim(replace(with_decoder(config, "max-unpool"), causal=causal)))
    assert sum(layer.kind == "place_unpool" for layer in net.config.decoder) == 1
    assert not config.placed
    audio = torch.from_numpy(rng.standard_normal((1, 1, 1003)).astype(np.float32))
    with torch.no_grad():
        z, places = net.encoder.placed(audio)
        assert torch.equal(z, net.encoder(audio))
        told, alone = net.decoder(z, places), net.decoder(z)
        assert torch.equal(net(audio), told[..., :1003])
        assert told.shape == alone.shape
        assert (told - alone).abs().max() > 1e-4
        first = {samples: torch.zeros_like(found) for samples, found in places.items()}
        assert torch.equal(net.decoder(z, first), alone)


def test_a_decoder_that_needs_places_is_not_exported(tmp_path, net_of):
    config = slim(with_decoder(TINY, "max-unpool"))
    weights = net_of(config).state_dict()
    copies = {name: value.clone() for name, value in weights.items()}
    Checkpoint(TrainConfig(config, steps=1), 1, 1.0, weights, copies, {}).save(tmp_path)
    with pytest.raises(ExportError, match="has no places to give"):
        load_network(tmp_path)


def test_places_without_a_pool_are_refused():
    config = with_decoder(SMALL, "max-unpool")
    averaged = tuple(pool("avg_pool", layer.stride) if layer.kind == "max_pool" else layer for layer in SMALL.encoder)
    with pytest.raises(ModelError, match="no max pool of stride 2 at 48 samples per frame"):
        replace(config, encoder=averaged)


def test_linear_upsampling_draws_straight_lines():
    up = FixedUpsampling(1, Layer("linear", 4, 7), 0)
    np.testing.assert_allclose(up(torch.tensor([[[4.0, 8.0, 0.0]]])).ravel(), [1, 2, 3, 4, 5, 6, 7, 8, 6, 4, 2, 0])


def test_unpooling_before_a_convolution_is_a_transposed_convolution(rng):
    taps = torch.from_numpy(rng.standard_normal((1, 1, 8)).astype(np.float32))
    values = torch.from_numpy(rng.standard_normal((1, 1, 20)).astype(np.float32))
    spread = FixedUpsampling(1, Layer("unpool", 4, 4), 0)(values)
    convolved = nn.functional.conv1d(nn.functional.pad(spread, (7, 0)), taps.flip(2))
    transposed = nn.functional.conv_transpose1d(values, taps, stride=4)[..., :80]
    np.testing.assert_allclose(convolved, transposed, atol=1e-5)


@pytest.mark.parametrize("layer", [("linear", 4, 4), ("unpool", 4, 8), ("linear", 4, 7, 3)])
def test_impossible_upsampling_is_refused(layer):
    with pytest.raises(ModelError, match=r"is not possible|cannot have"):
        Layer(*layer)


@pytest.mark.parametrize("decoder", ["unpool", "linear"])
@pytest.mark.parametrize("causal", [True, False])
def test_a_decoder_with_other_upsampling_is_exported_as_it_is(rng, net_of, model_of, files_of, decoder, causal):
    config = replace(with_decoder(TINY, decoder), causal=causal)
    z = rng.standard_normal((1, 16, 9)).astype(np.float32)
    with torch.no_grad():
        expected = net_of(config).decoder(torch.from_numpy(z * files_of(config).std[:, None].astype(np.float32)))[:, 0]
    np.testing.assert_allclose(model_of(config).decode(z), expected, atol=1e-4 * float(expected.abs().max()))
