import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rtae.errors import ModelError
from rtae.nets.config import LARGE, SMALL, TINY
from rtae.runtime import OnnxModel
from rtae.spec import DECODER_FILE, ENCODER_FILE, SPEC_FILE

NAMES = [ENCODER_FILE, DECODER_FILE]


def store(folder: Path, spec, encoder: bytes, decoder: bytes) -> Path:
    """A model's folder, with the checksums of what is in it."""
    contents = dict(zip(NAMES, (encoder, decoder), strict=True))
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    (folder / SPEC_FILE).write_text(replace(spec, files=sums).to_json(), encoding="utf-8")
    return folder


@pytest.fixture
def small(files_of):
    return files_of(SMALL)


@pytest.fixture
def folder(tmp_path, small) -> Path:
    return store(tmp_path, small.spec, small.encoder, small.decoder)


def test_a_model_loads_and_runs(rng, tmp_path, files, model):
    loaded = OnnxModel.load(store(tmp_path, files.spec, files.encoder, files.decoder))
    spec = loaded.spec
    assert replace(spec, files={}) == replace(files.spec, files={})
    audio = rng.uniform(-1, 1, (2, 10 * spec.stride + 1)).astype(np.float32)
    z = loaded.encode(audio)
    assert z.dtype == np.float32
    assert z.shape == (2, spec.latent_dim, 11 + spec.extra_frames)
    assert loaded.decode(z).shape == (2, (11 + spec.extra_frames) * spec.stride)
    assert np.array_equal(z, model.encode(audio))
    assert np.array_equal(loaded.decode(z), model.decode(z))


def test_views_of_any_layout_are_taken(rng, model):
    audio = rng.uniform(-1, 1, (3000, 2)).astype(np.float32)
    z = model.encode(audio.T)
    assert np.array_equal(z, model.encode(audio.T.copy()))
    assert np.array_equal(model.decode(z[:, :, ::2]), model.decode(z[:, :, ::2].copy()))


def test_a_missing_spec(folder):
    (folder / SPEC_FILE).unlink()
    with pytest.raises(ModelError, match=r"No model in .*model\.json"):
        OnnxModel.load(folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=rf"{name} cannot be read \(No such file.*copy the whole model again"):
        OnnxModel.load(folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_file_that_was_cut_short(folder, name, keep):
    (folder / name).write_bytes((folder / name).read_bytes()[:keep])
    with pytest.raises(ModelError, match=rf"{name} is not the file .*checksum.*cut short"):
        OnnxModel.load(folder)


def test_files_that_were_swapped(folder):
    encoder, decoder = folder / ENCODER_FILE, folder / DECODER_FILE
    first, second = encoder.read_bytes(), decoder.read_bytes()
    encoder.write_bytes(second)
    decoder.write_bytes(first)
    with pytest.raises(ModelError, match=r"checksum.*swapped"):
        OnnxModel.load(folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_checksum_in_the_spec(folder, small, name):
    spec = OnnxModel.load(folder).spec
    for checksum in ("", "0" * 64):
        (folder / SPEC_FILE).write_text(replace(spec, files={**spec.files, name: checksum}).to_json())
        with pytest.raises(ModelError, match=rf"{name} is not the file that model\.json describes"):
            OnnxModel.load(folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_in_place_of_a_file(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(ModelError, match=rf"{name} cannot be read"):
        OnnxModel.load(folder)


def test_a_file_that_is_too_large_is_not_read(folder, monkeypatch):
    monkeypatch.setattr("rtae.runtime.LARGEST_FILE", 1 << 10)
    with pytest.raises(ModelError, match=rf"{ENCODER_FILE} is larger than"):
        OnnxModel.load(folder)


@pytest.mark.parametrize("other", [LARGE, TINY], ids=lambda config: config.preset)
@pytest.mark.parametrize("which", NAMES)
def test_half_of_another_model(tmp_path, small, files_of, other, which):
    foreign = files_of(other)
    encoder = foreign.encoder if which == ENCODER_FILE else small.encoder
    decoder = foreign.decoder if which == DECODER_FILE else small.decoder
    with pytest.raises(ModelError, match=r"^The model 'random-small' (does not run|gives latents)"):
        OnnxModel.load(store(tmp_path, small.spec, encoder, decoder))


def test_encoder_and_decoder_in_each_others_place(tmp_path, small):
    with pytest.raises(ModelError, match=r"^The model 'random-small' does not run"):
        OnnxModel.load(store(tmp_path, small.spec, small.decoder, small.encoder))


@pytest.mark.parametrize("change", [{"stride": 24}, {"stride": 96}, {"extra_frames": 0}], ids=str)
def test_a_spec_that_does_not_fit_its_graphs(tmp_path, small, change):
    with pytest.raises(ModelError, match=r"gives latents .* do not belong to its model\.json"):
        OnnxModel.load(store(tmp_path, replace(small.spec, **change), small.encoder, small.decoder))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 5000], ids=["empty", "text", "zeros"])
@pytest.mark.parametrize("which", NAMES)
def test_bytes_that_are_no_model(tmp_path, small, content, which):
    encoder = content if which == ENCODER_FILE else small.encoder
    decoder = content if which == DECODER_FILE else small.decoder
    with pytest.raises(ModelError, match=rf"^{which} of 'random-small' is not an ONNX model that can be run here: ."):
        OnnxModel.load(store(tmp_path, small.spec, encoder, decoder))


def test_a_graph_that_was_cut_short_before_its_checksum_was_taken(tmp_path, small):
    with pytest.raises(ModelError, match=rf"^{ENCODER_FILE} of 'random-small' is not an ONNX model"):
        OnnxModel.load(store(tmp_path, small.spec, small.encoder[:-50], small.decoder))
