import copy
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from rtae.errors import ModelError
from rtae.nets.autoencoder import Autoencoder
from rtae.nets.config import LARGE, PRESETS, SMALL, TINY, WINDOW, Layer, NetConfig, preset
from rtae.nets.linear import LinearCode
from rtae.nets.reach import computed_reach, measured_reach

SHAPES = {
    "large": (32, 4596),
    "small": (16, 2299),
    "tiny": (16, 575),
    "vae": (16, 575),
}  # (latent_dim, frames) of one window
ENCODER_LAYERS = {
    "large": {"conv": 3, "max_pool": 1},
    "small": {"conv": 3, "avg_pool": 1, "max_pool": 1},
    "tiny": {"conv": 6, "avg_pool": 1, "max_pool": 1},
}
ENCODER_LAYERS["vae"] = ENCODER_LAYERS["tiny"]
DECODER_LAYERS = {"large": {"up": 4}, "small": {"up": 5}, "tiny": {"up": 8}, "vae": {"up": 8}}
TORCH_ATOL = 1e-5  # full scale; lengths take different kernels; measured 8e-7
LINEAR_ATOL = 1e-5  # full scale, float32 sums of 192 products; measured 3e-6


def count(layers: tuple[Layer, ...]) -> dict[str, int]:
    kinds = [layer.kind for layer in layers]
    return {kind: kinds.count(kind) for kind in kinds}


def slim(config: NetConfig) -> NetConfig:
    """The same kernels and strides, two channels wide: what a network sees does not depend on its width."""
    stacks = {
        name: tuple(replace(layer, channels=2) if layer.channels else layer for layer in stack[:-1]) + stack[-1:]
        for name, stack in (("encoder", config.encoder), ("decoder", config.decoder))
    }
    return replace(config, **stacks)


def reverberant(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Noise whose neighbouring samples are alike, as music's are: a linear code has something to find."""
    return np.convolve(rng.standard_normal(samples), np.exp(-np.arange(40) / 8), "same").astype(np.float32) / 4


def test_latent_shape_of_a_window(net_of, config):
    with torch.no_grad():
        z = net_of(config).encoder(torch.zeros(1, 1, WINDOW))
    assert tuple(z.shape[1:]) == SHAPES[config.preset]
    assert config.frames(WINDOW) == SHAPES[config.preset][1]


def test_layers_are_those_of_the_paper(config):
    assert count(config.encoder) == ENCODER_LAYERS[config.preset]
    assert count(config.decoder) == DECODER_LAYERS[config.preset]


def test_networks_have_the_layers_of_their_configuration(net_of, config):
    net = net_of(config)
    kinds = {"conv": "Convolution", "up": "Upsampling", "max_pool": "MaxPool1d", "avg_pool": "AvgPool1d"}
    for stack, layers in ((net.encoder.stack, config.encoder), (net.decoder.stack, config.decoder)):
        names = [type(module).__name__ for module in stack]
        assert [name for name in names if name in kinds.values()] == [kinds[layer.kind] for layer in layers]
        weighted = sum(layer.channels > 0 for layer in layers)
        assert names.count("BatchNorm1d") == names.count("LeakyReLU") == weighted - 1


def test_every_length_comes_back(config):
    net = Autoencoder(slim(config)).eval()
    with torch.no_grad():
        for samples in (*range(1, 2 * config.stride + 2), *range(2 * config.stride + 2, 501, 7)):
            audio = torch.zeros(1, 1, samples)
            z = net.encoder(audio)
            assert z.shape == (1, config.latent_dim, config.frames(samples))
            assert net.decoder(z).shape == (1, 1, config.frames(samples) * config.stride)
            assert net(audio).shape == audio.shape


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "symmetric"])
def test_a_frame_does_not_depend_on_the_length(rng, net_of, config, causal):
    config = replace(config, causal=causal)
    net, stride, future = net_of(config), config.stride, computed_reach(config).encoder_future
    audio = torch.from_numpy(rng.uniform(-1, 1, (1, 1, 6000)).astype(np.float32))
    with torch.no_grad():
        whole = net.encoder(audio)
        for samples in (5999, 5000, 4801, 5 * stride + 1):
            short = net.encoder(audio[..., :samples])
            difference = (short - whole[..., : short.shape[2]]).abs()
            certain = (samples - future) // stride  # frames that see nothing of what was cut off
            assert certain > 0
            assert difference[..., :certain].max() <= TORCH_ATOL
            assert difference[..., certain:].max() > 100 * TORCH_ATOL


@pytest.mark.parametrize(
    "variant",
    [
        *PRESETS.values(),
        *(replace(config, shortcut_frames=0) for config in PRESETS.values()),
        replace(LARGE, causal=False),
        replace(SMALL, causal=False),
        replace(SMALL, shortcut_frames=12),  # the shortcut reaches further than the stack
        replace(SMALL, shortcut_frames=12, causal=False),
    ],
    ids=lambda config: f"{config.preset}-{config.shortcut_frames}-{'causal' if config.causal else 'symmetric'}",
)
def test_computed_reach_is_what_a_trial_finds(variant):
    assert measured_reach(Autoencoder(slim(variant)).eval()) == computed_reach(variant)


def test_causal_networks_never_look_past_their_frame(config):
    reach = computed_reach(config)
    assert (reach.encoder_future, reach.decoder_future) == (0, 0)
    assert reach.look_ahead == config.stride - 1


def test_without_the_shortcut_the_stacks_stand_alone():
    net = Autoencoder(replace(SMALL, shortcut_frames=0))
    assert net.encoder.analysis is None
    assert net.decoder.synthesis is None
    before = copy.deepcopy(net.state_dict())
    net.start_from_linear(torch.zeros(SMALL.latent_dim, SMALL.stride))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize("shortcut_frames", [1, 3])
def test_start_from_linear_is_the_linear_code(rng, net_of, config, shortcut_frames):
    net = copy.deepcopy(net_of(replace(config, shortcut_frames=shortcut_frames)))
    code = LinearCode.fit([reverberant(rng, 40_000)], config.stride, config.latent_dim)
    net.start_from_linear(torch.from_numpy(code.basis))
    audio = reverberant(rng, 20 * config.stride)
    with torch.no_grad():
        ours = net(torch.from_numpy(audio)[None, None])[0, 0].numpy()
        z = net.encoder(torch.from_numpy(audio)[None, None])[0].numpy()
    expected = code.reconstruct(audio)
    assert np.abs(ours - expected).max() <= LINEAR_ATOL
    assert np.abs(expected).max() > 0.1
    frames = audio.reshape(-1, config.stride)
    assert np.abs(z[:, :20] - code.basis @ frames.T).max() <= LINEAR_ATOL


def test_a_linear_code_as_wide_as_a_frame_keeps_everything(rng):
    audio = reverberant(rng, 5000)
    for latent_dim in (24, 32):
        code = LinearCode.fit([audio], 24, latent_dim)
        assert code.basis.shape == (latent_dim, 24)
        assert np.abs(code.reconstruct(audio) - audio).max() <= LINEAR_ATOL
        assert not code.basis[24:].any()


@pytest.mark.parametrize(("stride", "latent_dim"), [(48, 16), (192, 16), (24, 1)])
def test_no_random_basis_beats_the_linear_code(rng, stride, latent_dim):
    audio = reverberant(rng, stride * 200)
    code = LinearCode.fit([audio], stride, latent_dim)
    assert np.abs(code.basis @ code.basis.T - np.eye(latent_dim)).max() < LINEAR_ATOL
    best = np.square(code.reconstruct(audio) - audio).sum()
    assert best > 0
    for _ in range(5):
        turned, _ = np.linalg.qr(rng.standard_normal((stride, latent_dim)))
        assert best < np.square(LinearCode(turned.T.astype(np.float32)).reconstruct(audio) - audio).sum()
        # Nor does one that is close by: it is a true optimum, not one in a crowd.
        near, _ = np.linalg.qr(code.basis.T + 0.05 * rng.standard_normal((stride, latent_dim)))
        assert best < np.square(LinearCode(near.T.astype(np.float32)).reconstruct(audio) - audio).sum()


def test_the_strongest_components_come_first(rng):
    audio = reverberant(rng, 48 * 200)
    code = LinearCode.fit([audio], 48, 16)
    power = np.square(audio.reshape(-1, 48) @ code.basis.T).sum(axis=0)
    assert np.all(np.diff(power) <= 0)
    assert power[0] > 3 * power[-1]


def test_a_linear_code_of_pieces_leaves_their_rests_out(rng):
    audio = reverberant(rng, 48 * 50)
    pieces = [np.append(audio[: 48 * 20], [9] * 47), audio[48 * 20 :], np.array([5.0])]
    ours, whole = LinearCode.fit(pieces, 48, 8), LinearCode.fit([audio], 48, 8)
    assert np.abs(ours.reconstruct(audio) - whole.reconstruct(audio)).max() <= LINEAR_ATOL


@pytest.mark.parametrize("samples", [1, 47, 48, 49, 500])
def test_reconstruct_keeps_the_shape(rng, samples):
    code = LinearCode.fit([reverberant(rng, 5000)], 48, 16)
    stereo = rng.uniform(-1, 1, (2, samples)).astype(np.float32)
    out = code.reconstruct(stereo)
    assert out.shape == stereo.shape
    assert np.array_equal(out[1], code.reconstruct(stereo[1]))


@pytest.mark.parametrize("variant", [*PRESETS.values(), replace(TINY, causal=False, shortcut_frames=0)])
def test_configuration_round_trip(variant):
    assert NetConfig.from_dict(asdict(variant)) == variant


@pytest.mark.parametrize("key", ["preset", "latent_dim", "stride", "extra_frames", "encoder", "decoder"])
def test_a_configuration_with_a_missing_key_is_refused(key):
    values = asdict(SMALL)
    del values[key]
    with pytest.raises(ModelError, match=key):
        NetConfig.from_dict(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "colour"),
        ({"encoder": 5}, "not the configuration"),
        ({"encoder": [5]}, "not the configuration"),
        ({"encoder": [{"kind": "conv"}]}, "stride"),
        ({"encoder": []}, "multiply to 1"),
        ({"decoder": asdict(LARGE)["decoder"]}, "decoder multiply to 24, not to 48"),
        ({"stride": 47}, "multiply to 48, not to 47"),
        ({"latent_dim": 17}, "must have 17 output channels"),
        ({"encoder": [{"kind": "magic", "stride": 48, "kernel": 48, "channels": 16}]}, "'magic'.*max_pool"),
        ({"encoder": [{"kind": "conv", "stride": 48, "kernel": 47, "channels": 16}]}, "not possible"),
        ({"encoder": [{"kind": "conv", "stride": 48, "kernel": 48}]}, "0 output channels"),
        ({"encoder": [{"kind": "max_pool", "stride": 48, "kernel": 48, "channels": 16}]}, "16 output channels"),
        ({"encoder": [{"kind": "avg_pool", "stride": 48, "kernel": 49}]}, "not possible"),
    ],
)
def test_an_impossible_configuration_is_refused(change, message):
    with pytest.raises(ModelError, match=message):
        NetConfig.from_dict(asdict(SMALL) | change)


def test_an_unknown_preset_is_refused_with_a_list():
    assert preset("tiny") is TINY
    with pytest.raises(ModelError, match=r"'darbuka'; there are large, small, tiny"):
        preset("darbuka")
