"""Priors: what they make up, whatever is asked together; torch against ONNX; and a dream that plays."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import soundfile as sf
import torch
from typer.testing import CliRunner

from rtae.engine import Engine
from rtae.errors import ExportError, ModelError, ParameterError, TrainingError
from rtae.export import prior as exporting
from rtae.export.prior import export_prior, parity, prior_graph, spec_of
from rtae.nets.config import SMALL
from rtae.params import Snapshot
from rtae.prior import KINDS, Dream, Gaussian, Independent, Network, PriorSpec, load, load_network, normal
from rtae.runtime import OnnxModel
from rtae.sample import CHUNK_FRAMES, decoded, heard_of, sample, sample_to_file
from rtae.session import Session
from rtae.spec import PRIOR_FILE, PRIOR_NETWORK_FILE, ModelSpec
from rtae.training.prior import LEVELS, Examples, PriorConfig, PriorRun, Process, train_prior
from rtae.training.rhythm import AHEAD, CONTEXT, LAGS, SPANS, Rhythm

RATE = 22_050
DIMS = SMALL.latent_dim
CONFIG = PriorConfig(minutes=1, order=6, recent=3, state=12, parts=3, batch=2, stretch=24, rhythm=False)
RHYTHMIC = replace(CONFIG, rhythm=True, pulse=1.5)
CORRELATION_ATOL = 0.06  # of correlations over 6000 frames; measured 0.03
LATENT_ATOL = 1e-6  # standard deviations: the same frames, asked for together or not; measured 0
PARITY_ATOL = 1e-4  # standard deviations, over 64 frames; measured 1e-6
DECODED_ATOL = 1e-5  # full scale; measured 2e-6


def latents(rng, frames, dims=DIMS):
    """Slow noise whose dimensions have something in common."""
    z = np.stack([np.convolve(rng.standard_normal(frames), np.exp(-np.arange(20) / 4), "same") for _ in range(dims)])
    z[1] += z[0]
    return (z / z.std(axis=1, keepdims=True) + 0.5).astype(np.float32)


@pytest.fixture(scope="module")
def pieces():
    rng = np.random.default_rng(3)
    return [latents(rng, 1500) for _ in range(3)]


def untaught(config, pieces):
    """A prior whose network does something, though it has learned nothing."""
    run = PriorRun.start(config, Process.fit(pieces, config.order), "")
    with torch.random.fork_rng():
        torch.manual_seed(5)
        torch.nn.init.normal_(run.net.head.weight, std=0.3)
    return run


@pytest.fixture(scope="module")
def untrained(pieces):
    return untaught(CONFIG, pieces)


@pytest.fixture(scope="module")
def rhythmic(pieces):
    return untaught(RHYTHMIC, pieces)


@pytest.fixture(scope="module")
def files(untrained):
    content = prior_graph(untrained.net)
    return spec_of(untrained, content), content


@pytest.fixture
def network(files):
    return Network(*files, "prior.onnx")


@pytest.fixture
def folder(tmp_path, files_of, store_model, untrained):
    """A model with a prior, as a folder."""
    place = store_model(tmp_path / "model", files_of(SMALL))
    encoder = ModelSpec.load(place).files["encoder.onnx"]
    run = PriorRun(untrained.config, untrained.process, encoder, untrained.net, untrained.optimizer)
    export_prior(run, place)
    return place


# -- what is made up ---------------------------------------------------------------------------------------------------
def priors(files):
    return {"independent": Independent(files[0]), "gaussian": Gaussian(files[0]), "network": Network(*files, "p")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_dream_does_not_depend_on_what_is_asked_together(files, kind):
    whole = Dream(priors(files)[kind]).latents(0, 40, 1.0, 7)
    assert whole.shape == (DIMS, 40)
    assert whole.dtype == np.float32
    dream = Dream(priors(files)[kind])
    parts = [dream.latents(first, count, 1.0, 7) for first, count in ((0, 1), (1, 17), (18, 0), (18, 22))]
    assert np.abs(np.concatenate(parts, axis=1) - whole).max() <= LATENT_ATOL
    assert np.abs(dream.latents(30, 10, 1.0, 7) - whole[:, 30:]).max() <= LATENT_ATOL  # back: from the start again
    dream.reset()
    assert np.abs(dream.latents(5, 3, 1.0, 7) - whole[:, 5:8]).max() <= LATENT_ATOL
    assert np.abs(Dream(priors(files)[kind]).latents(0, 40, 1.0, 8) - whole).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_without_temperature_there_is_no_chance(files, kind):
    first, second = (Dream(priors(files)[kind]).latents(0, 20, 0.0, seed) for seed in (1, 2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("kind", ["gaussian", "network"])
def test_a_dream_goes_on_behind_what_it_heard(rng, files, kind):
    heard = latents(rng, 50)
    dream = Dream(priors(files)[kind])
    cold = dream.latents(0, 20, 1.0, 0)
    dream.listen(heard)
    warm = dream.latents(0, 20, 1.0, 0)
    assert np.abs(cold - warm).max() > 0.1
    assert np.abs(Dream(priors(files)[kind], heard).latents(0, 20, 1.0, 0) - warm).max() <= LATENT_ATOL


def test_a_network_hears_what_it_said_as_it_said_it(files, network):
    dream = Dream(network)
    whole = dream.latents(0, 30, 1.0, 3)
    again = Network(*files, "p")
    again.listen(whole[:, :20])
    dream.reset()
    dream.latents(0, 20, 1.0, 3)
    assert np.abs(again.past - network.past).max() <= LATENT_ATOL
    assert np.abs(again.state - network.state).max() <= LATENT_ATOL


def correlations(z):
    z = z - z.mean(axis=1, keepdims=True)
    z = z / z.std(axis=1, keepdims=True)
    return np.array([z[:, lag:] @ z[:, : z.shape[1] - lag].T / (z.shape[1] - lag) for lag in (0, 1, 2, 4)])


def test_the_gaussian_process_moves_as_the_music_does(files, pieces):
    z = Dream(Gaussian(files[0])).latents(0, 6000, 1.0, 0)
    music = np.mean([correlations(piece) for piece in pieces], axis=0)
    assert np.abs(np.diagonal(correlations(z) - music, axis1=1, axis2=2)).mean() <= CORRELATION_ATOL
    assert abs(correlations(z)[0][0, 1] - 0.7) < 0.1  # what the dimensions have in common
    assert z.std(axis=1) == pytest.approx(np.ones(DIMS), abs=0.15)
    assert z.mean(axis=1) == pytest.approx(np.full(DIMS, 0.5), abs=0.2)
    alone = Dream(Independent(files[0])).latents(0, 6000, 1.0, 0)
    assert np.abs(correlations(alone)[1:]).mean() < 0.03 < np.abs(music[1]).max()
    assert alone.std(axis=1) == pytest.approx(np.ones(DIMS), abs=0.05)


def test_normal_values_are_normal():
    rng = np.random.default_rng(0)
    values = np.concatenate([normal(rng.uniform(-1, 1, 100)) for _ in range(400)])
    assert abs(values.mean()) < 0.03
    assert abs(values.std() - 1) < 0.03
    assert abs((np.abs(values) < 1).mean() - 0.6827) < 0.02
    assert np.isfinite(normal(np.array([-1.0, 1 - 2**-52, 0.5, -1.0]))).all()


def test_latents_stay_within_reach(files, network):
    for prior in (network, Gaussian(files[0])):
        z = Dream(prior, np.full((DIMS, 10), 1e6, np.float32)).latents(0, 50, 2.0, 0)
        assert np.isfinite(z).all()
        assert np.abs(z).max() < 20


# -- the export --------------------------------------------------------------------------------------------------------
def test_torch_against_onnx(untrained, network):
    assert parity(untrained.net, network) <= PARITY_ATOL


def test_torch_against_onnx_with_a_rhythm(rhythmic):
    content = prior_graph(rhythmic.net)
    network = Network(spec_of(rhythmic, content), content, "prior.onnx")
    assert network.past.shape == (CONTEXT, DIMS)
    assert parity(rhythmic.net, network) <= PARITY_ATOL


def test_a_step_is_what_training_sees(rng, rhythmic):
    """The likelihood of a stretch is made of the very steps that are taken when it is made up."""
    net, frames = rhythmic.net, 5
    z = torch.from_numpy(rng.standard_normal((1, CONTEXT + frames, DIMS)).astype(np.float32))
    windows = z[:, CONTEXT - CONFIG.order :].unfold(1, CONFIG.order, 1)[:, :-1].transpose(2, 3)
    with torch.no_grad():
        seen, foreseen, level = net.features(windows)
        beats = net.beats(z[:, :-1])
        states, _ = net.gru(torch.cat([seen, beats], -1))
        state = torch.zeros(1, CONFIG.state)
        for frame in range(frames):
            silent = torch.zeros(1, CONFIG.parts), torch.zeros(1, DIMS), torch.zeros(1, 1)
            made, state = net.step(z[:, frame : frame + CONTEXT], state, *silent)
            assert torch.allclose(state, states[:, frame], atol=1e-5)
            logits, means, _ = net.mixture(state, beats[:, frame])
            e = means[0, logits.argmax()]
            expected = net.mean + foreseen[0, frame] + level[0, frame].clamp(*LEVELS) * (net.triangle @ e)
            assert torch.allclose(made[0], expected, atol=1e-4)


def test_a_prior_of_before_has_the_context_of_its_order(files):
    values = asdict(files[0])
    del values["context"]
    assert PriorSpec.from_json(json.dumps({**values, "format": 1}), "prior.json").memory == CONFIG.order


def test_what_does_not_verify_is_not_written(tmp_path, untrained, monkeypatch):
    monkeypatch.setattr(exporting, "parity", lambda *_: float("inf"))
    with pytest.raises(ExportError, match="nothing was written"):
        export_prior(untrained, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_prior_survives_its_files(folder, files):
    network = load_network(folder, ModelSpec.load(folder))
    assert network.spec.order == CONFIG.order
    assert replace(network.spec, encoder="", figures={}) == replace(files[0], figures={})
    assert {path.name for path in folder.iterdir()} == {
        "model.json", "encoder.onnx", "decoder.onnx", PRIOR_FILE, PRIOR_NETWORK_FILE
    }  # fmt: skip


def broken(values, **changes):
    return json.dumps({**values, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 3},
        {"format": None},
        {"latent_dim": DIMS + 1},
        {"latent_dim": True},
        {"coefficients": []},
        {"coefficients": [[[1.0]]]},
        {"coefficients": 5},
        {"innovation": [["x"]]},
        {"mean": [float("nan")] * DIMS},
        {"context": 5},
        {"context": -1},
        {"context": 10**6},
        {"context": 6.5},
        {"state": 0},
        {"state": 10**9},
        {"parts": 0},
        {"files": {}},
        {"files": 3},
        {"encoder": 3},
    ],
    ids=str,
)
def test_a_broken_spec_is_refused(files, changes):
    with pytest.raises(ModelError, match="does not describe a prior"):
        PriorSpec.from_json(broken(asdict(files[0]), **changes), "prior.json")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "null"])
def test_what_is_no_spec_is_refused(text):
    with pytest.raises(ModelError, match="does not describe a prior"):
        PriorSpec.from_json(text, "prior.json")


def test_a_folder_that_is_wrong_is_refused_in_words(folder):
    spec = ModelSpec.load(folder)
    with pytest.raises(ModelError, match="No prior 'magic'; there are independent, gaussian, network"):
        load("magic", folder, spec)
    with pytest.raises(ModelError, match="belongs to another model"):
        load("gaussian", folder, replace(spec, files=spec.files | {"encoder.onnx": "other"}))
    content = (folder / PRIOR_NETWORK_FILE).read_bytes()
    (folder / PRIOR_NETWORK_FILE).write_bytes(content[:-1] + b"x")
    with pytest.raises(ModelError, match=r"prior\.json describes"):
        load_network(folder, spec)
    (folder / PRIOR_NETWORK_FILE).unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load_network(folder, spec)
    (folder / PRIOR_FILE).unlink()
    with pytest.raises(ModelError, match="has no prior to dream with; make one with: rtae prior"):
        load_network(folder, spec)


def test_a_network_of_other_sizes_is_refused(files):
    spec, content = files
    for changes in ({"state": 5}, {"parts": 4}):
        with pytest.raises(ModelError, match="does not run"):
            Network(replace(spec, **changes), content, "prior.onnx")
    with pytest.raises(ModelError, match="not an ONNX model"):
        Network(spec, b"no network", "prior.onnx")


# -- rhythm ------------------------------------------------------------------------------------------------------------
def beats(rng, period, frames, dims=DIMS):
    """Bursts every so many frames over a quiet floor, (1, frames, dims)."""
    z = 0.02 * rng.standard_normal((frames, dims))
    for start in range(5, frames, period):
        z[start : start + 6] += rng.standard_normal((min(6, frames - start), dims))
    return torch.from_numpy(z[None].astype(np.float32))


@pytest.mark.parametrize("period", [40, 58, 100])
def test_a_rhythm_is_foreseen(rng, period):
    rhythm, x = Rhythm(DIMS), beats(rng, period, CONTEXT + 200)
    with torch.no_grad():
        found = rhythm(x)
        moves = rhythm.movements(x)[0].mean(0)
    width = rhythm.groups.shape[1] * len(AHEAD)
    assert found.shape == (1, 201, rhythm.size) == (1, 201, len(SPANS) * (width + 1))
    for head in range(len(SPANS)):
        first = head * (width + 1)
        foreseen = found[0, :-1, first : first + width].unflatten(1, (-1, len(AHEAD)))[..., 0].mean(1)
        assert torch.corrcoef(torch.stack([foreseen, moves[-200:]]))[0, 1] > 0.7
        assert (found[0, :, first + width] > 0.8).all()  # it is sure


def test_where_there_is_no_rhythm_it_is_not_sure(rng):
    rhythm = Rhythm(DIMS)
    noise = torch.from_numpy(rng.standard_normal((1, CONTEXT + 50, DIMS)).astype(np.float32))
    width = rhythm.groups.shape[1] * len(AHEAD)
    with torch.no_grad():
        assert (rhythm(noise)[0, :, width] < 0.5).all()
        assert rhythm(torch.zeros(1, CONTEXT, DIMS)).abs().max() < 1e-4
    assert max(AHEAD) < min(LAGS)  # what followed has been heard


def test_a_pulse_accents_and_softens_nothing(rng, rhythmic):
    net, depth = rhythmic.net, rhythmic.config.depth
    state, beats = (
        torch.from_numpy(rng.standard_normal((50, size)).astype(np.float32)) for size in (12, net.rhythm.size)
    )
    with torch.no_grad():
        plain, accented = (net.mixture(state, beats, pulse)[2] for pulse in (1.0, 5.0))
        assert torch.equal(*(net.mixture(state, 0 * beats, pulse)[2] for pulse in (1.0, 5.0)))
    more = accented - plain
    assert more.min() >= 0
    assert 0.9 * depth < more.max() <= depth + 1e-6
    assert (more == 0).any()  # where nothing is foreseen to rise


def test_what_is_made_up_stays_between_levels(rhythmic):
    """Noise at full level behind a loud past, at the least behind silence; never without end."""
    net = rhythmic.net
    noise, gumbel = torch.ones(1, DIMS), torch.zeros(1, CONFIG.parts)
    with torch.no_grad():
        for factor, level in ((0.0, LEVELS[0]), (100.0, LEVELS[1])):
            past = net.mean + factor * torch.ones(1, CONTEXT, DIMS)
            hot, cold = (
                net.step(past, torch.zeros(1, CONFIG.state), gumbel, noise, torch.full((1, 1), t))[0]
                for t in (0.01, 0.0)
            )
            beats = net.beats(past)
            seen = net.features(past[:, -CONFIG.order :])[0]
            states, _ = net.gru(torch.cat([seen[:, None], beats], -1))
            logits, _, scales = net.mixture(states[0], beats[:, 0], net.config.pulse)
            spread = 0.01 * torch.exp(scales[0, logits[0].argmax()])
            expected = level * (net.triangle @ spread)
            inside = (cold - net.mean).abs()[0] < 11  # the others are at the reach
            assert torch.allclose((hot - cold)[0][inside], expected[inside], atol=1e-3)


# -- training ----------------------------------------------------------------------------------------------------------
def steps(count):
    """Stops after so many steps."""
    seen = []

    def report(_share, step, _loss):
        seen.append(step)

    return report, lambda: len(seen) >= count


def test_training_lowers_the_nats_of_held_out_latents(tmp_path, pieces):
    run = PriorRun.start(replace(CONFIG, learning_rate=0.01), Process.fit(pieces, CONFIG.order), "")
    train_prior(run, pieces[:2], pieces[2:], tmp_path, *steps(60))
    assert run.step == 60
    assert run.figures["nats"] < run.figures["start_nats"] - 0.1


def test_a_resumed_prior_goes_on_with_the_same_examples(tmp_path, pieces):
    def started():
        return PriorRun.start(CONFIG, Process.fit(pieces, CONFIG.order), "")

    whole = started()
    train_prior(whole, pieces, pieces, tmp_path / "whole", *steps(6))
    train_prior(started(), pieces, pieces, tmp_path / "parts", *steps(3))
    part = PriorRun.load(tmp_path / "parts")
    assert part.step == 3
    examples = Examples(pieces, CONFIG, DIMS)
    assert torch.equal(examples.batch(3)[0], Examples(pieces, CONFIG, DIMS).batch(3)[0])
    assert not torch.equal(examples.batch(3)[0], examples.batch(4)[0])
    train_prior(part, pieces, pieces, tmp_path / "parts", *steps(3))
    assert part.step == whole.step == 6
    # The rate follows the clock, so the weights are close and not the same.
    for name, value in whole.net.state_dict().items():
        assert torch.allclose(part.net.state_dict()[name], value, atol=1e-3), name


def test_what_cannot_be_trained_on_is_said(tmp_path, pieces):
    with pytest.raises(TrainingError, match="too few"):
        Process.fit([piece[:, :20] for piece in pieces], 6)
    with pytest.raises(TrainingError, match="No song is long enough"):
        Examples([piece[:, :20] for piece in pieces], CONFIG, DIMS)
    with pytest.raises(TrainingError, match="no prior"):
        PriorRun.load(tmp_path)
    (tmp_path / "prior.safetensors").write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match="damaged"):
        PriorRun.load(tmp_path)
    with pytest.raises(TrainingError, match="minutes"):
        PriorConfig(minutes=0)


# -- sounds ------------------------------------------------------------------------------------------------------------
def test_chunks_join_as_if_decoded_in_one_go(folder):
    model = OnnxModel.load(folder)
    frames = CHUNK_FRAMES + 40
    parts = list(decoded(model, Dream(load_network(folder, model.spec)), frames, 1.0, 0))
    z = Dream(load_network(folder, model.spec)).latents(0, frames, 1.0, 0)
    assert len(parts) == 2
    whole = model.decode(z[None])
    assert np.abs(np.concatenate(parts, axis=1) - whole).max() <= DECODED_ATOL
    assert np.abs(whole).max() > 1e-2


def test_a_song_is_continued_from_its_end(rng, folder, tmp_path):
    song = tmp_path / "song.wav"
    sf.write(song, 0.1 * rng.standard_normal((44_100, 2)), 44_100)
    model = OnnxModel.load(folder)
    heard = heard_of(song, model)
    assert heard.shape == (DIMS, RATE // model.spec.stride)
    with_song = sample(model, load_network(folder, model.spec), 0.5, 1.0, 0, heard)
    without = sample(model, load_network(folder, model.spec), 0.5, 1.0, 0)
    assert with_song.shape == without.shape == (1, RATE // 2)
    assert np.abs(with_song - without).max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_a_file(folder, tmp_path, kind):
    target = tmp_path / "out.wav"
    sample_to_file(folder, target, kind, 0.7, 1.0, 3)
    audio, rate = sf.read(target)
    assert (rate, audio.shape) == (RATE, (round(0.7 * RATE),))
    assert 0 < np.abs(audio).max() <= 1


def test_an_impossible_sample_is_refused(folder):
    model = OnnxModel.load(folder)
    for seconds in (0, -1, float("nan"), 1e9):
        with pytest.raises(ParameterError, match="allowed are lengths"):
            sample(model, load_network(folder, model.spec), seconds, 1.0, 0)
    with pytest.raises(ParameterError, match="dream_temperature"):
        sample(model, load_network(folder, model.spec), 1, 3.0, 0)


def test_the_command(folder, tmp_path):
    from rtae.cli import build

    target = tmp_path / "out.flac"
    done = CliRunner().invoke(
        build(), ["sample", str(target), "--model", str(folder), "--seconds", "0.3", "--seed", "5"]
    )
    assert done.exit_code == 0, done.output
    assert sf.info(target).frames == round(0.3 * RATE)
    assert "network prior" in done.output


# -- live --------------------------------------------------------------------------------------------------------------
DREAMY = Snapshot().replace(dream_temperature=1, dream_seed=4, output_gain=-40)


def played(folder, block, hop=960, channels=2, values=DREAMY, full=False, second=False):
    """Half a second of a dream through an engine, without its latency; the audio that goes in does not matter."""
    model = OnnxModel.load(folder)
    engine = Engine(model, hop=hop, full_window=full)
    engine.prepare(RATE, channels, second=second, dream=Dream(load_network(folder, model.spec)))
    rows = channels * (2 if second else 1)
    audio = np.random.default_rng(block).uniform(-0.5, 0.5, (rows, RATE // 2)).astype(np.float32)
    audio = np.pad(audio, ((0, 0), (0, engine.latency.total)))
    out = [engine.process(audio[:, i : i + block], values) for i in range(0, audio.shape[1], block)]
    return np.concatenate(out, axis=1)[:, engine.latency.total :]


def test_a_dream_sounds_the_same_however_it_is_cut_up(folder):
    model = OnnxModel.load(folder)
    z = Dream(load_network(folder, model.spec)).latents(0, RATE // 2 // model.spec.stride + 1, 1.0, 4)
    whole = model.decode(z[None])[:, : RATE // 2] * np.float32(0.01)
    for block, hop in ((63, 960), (480, 960), (1023, 2064)):
        assert np.abs(played(folder, block, hop) - whole).max() <= DECODED_ATOL
    assert np.abs(played(folder, 500, full=True) - whole).max() <= DECODED_ATOL
    assert np.abs(whole).max() > 1e-2


def test_latent_effects_apply_to_a_dream_and_a_song_can_be_mixed_in(folder):
    plain = played(folder, 500)
    assert np.abs(played(folder, 500, values=DREAMY.replace(latent_scale=0.5)) - plain).max() > 1e-3
    assert np.abs(played(folder, 500, values=DREAMY.replace(dream_seed=5)) - plain).max() > 1e-3
    assert np.abs(played(folder, 500, second=True) - plain).max() <= DECODED_ATOL
    assert np.abs(played(folder, 500, second=True, values=DREAMY.replace(interpolation=0.5)) - plain).max() > 1e-3


def test_a_session_dreams_on_behind_the_song_that_plays(rng, folder, tmp_path):
    from rtae.feed import Feed
    from rtae.shared import SharedState
    from rtae.source import FileSource, open_source

    sf.write(tmp_path / "song.wav", 0.2 * rng.standard_normal(RATE), RATE)
    model = OnnxModel.load(folder)
    feed = Feed(RATE, 1, 0, 100, 600)
    feed.armed = True
    session = Session(Engine(model, hop=960), feed, RATE, 1, SharedState())
    session.first = FileSource(tmp_path / "song.wav", RATE, 1)
    session.prepare()
    session.playing = True
    for _ in range(20):  # a device that takes what there is
        feed.output.taken = feed.output.written
        session.work()
    dream = Dream(load_network(folder, model.spec))

    def swap():
        session.first, session.dream = open_source("dream", RATE, 1), dream

    session.change(swap)
    assert dream.heard.shape[0] == DIMS
    assert dream.heard.shape[1] > 5
    assert np.abs(dream.heard).max() > 0.01
    feed.output.taken = feed.output.written
    session.work()
    assert session.output_peak > 0
