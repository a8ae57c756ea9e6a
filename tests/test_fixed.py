from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from rtae.errors import ModelError
from rtae.nets.config import TINY, Layer
from rtae.nets.fixed import FixedUpsampling, with_decoder
from rtae.nets.reach import computed_reach, measured_reach


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
    for name in ("unpool", "linear"):
        layers = with_decoder(config, name).decoder
        assert all(layer.stride == 1 for layer in layers if layer.kind in ("up", "conv"))
        assert [layer.stride for layer in layers if layer.stride > 1] == [
            layer.stride for layer in config.decoder if layer.stride > 1
        ]
    assert with_decoder(config, "transposed") is config
    with pytest.raises(ModelError, match="there are unpool, linear, transposed"):
        with_decoder(config, "nearest")


def test_unpooling_puts_a_value_first_among_zeros():
    up = FixedUpsampling(2, Layer("unpool", 3, 3), 0)
    values = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert up(values).tolist() == [[[1, 0, 0, 2, 0, 0], [3, 0, 0, 4, 0, 0]]]


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
