import json
import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from rtae import presets
from rtae.audio.file import AudioReader
from rtae.demo import DEMO_PATH
from rtae.engine import Engine
from rtae.errors import PresetError
from rtae.models import shipped_folder
from rtae.params import TABLE, Snapshot
from rtae.presets import FACTORY_FOLDER, MAX_BYTES, MAX_FILE_NAME, Preset, file_name, find, listing, load, named, save
from rtae.runtime import OnnxModel

FACTORY = sorted(FACTORY_FOLDER.glob("*.json"))
LEVEL_DB = 12  # from dry, at most; measured 3.1
CLIPPED = 0.01  # share of samples at the ceiling, at most; measured 0.0002
SMALLEST_DISTANCE_DB = 1.2  # mean over a spectrogram; measured 1.86 between two, 2.6 from the plain sound
GOOD = {"format": 1, "name": "Good", "description": "As it should be.", "values": {"mix": 0.5, "freeze": 1}}


@pytest.fixture
def own(tmp_path, monkeypatch):
    folder = tmp_path / "own"
    monkeypatch.setenv("RTAE_PRESETS", str(folder))
    return folder


def store(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


# -- files -------------------------------------------------------------------------------------------------------------
def test_a_preset_is_loaded_and_the_rest_is_at_its_default(tmp_path):
    preset = load(store(tmp_path / "x.json", GOOD))
    assert (preset.name, preset.description, preset.notes) == ("Good", "As it should be.", ())
    assert preset.values == Snapshot().replace(mix=0.5, freeze=1)


def test_what_is_saved_is_loaded(tmp_path):
    values = Snapshot().replace(mix=1 / 3, noise_speed=0.1 + 0.2, input_gain=-60, bypass=1, noise_seed=65_535)
    preset = Preset("Ünï 日本", "Two words.", values)
    save(tmp_path / "x.json", preset)
    assert load(tmp_path / "x.json") == preset
    assert json.loads((tmp_path / "x.json").read_text())["values"].keys() == TABLE.keys()
    assert list(tmp_path.iterdir()) == [tmp_path / "x.json"]


def test_a_preset_of_the_future_is_used_as_far_as_it_is_known(tmp_path):
    content = GOOD | {"colour": "red", "values": {"mix": 0.5, "warp_9": 3, "x" * 900: 1, "a\nb": "c"}}
    preset = load(store(tmp_path / "x.json", content))
    assert preset.values == Snapshot().replace(mix=0.5)
    (note,) = preset.notes
    assert "'warp_9'" in note
    assert len(note) < 200
    assert "\n" not in note


def test_a_file_from_a_windows_editor_is_read(tmp_path):
    assert load(store(tmp_path / "x.json", b"\xef\xbb\xbf" + json.dumps(GOOD).encode())).name == "Good"


def values(**changes):
    return GOOD | {"values": changes}


HOSTILE = {
    "nothing": (b"", "not valid JSON"),
    "no json": (b"{", "not valid JSON"),
    "binary": (bytes(range(256)), "it is no text"),
    "utf 16": (json.dumps(GOOD).encode("utf-16"), "it is no text"),
    "huge": (b" " * (MAX_BYTES + 1), "too large"),
    "deep": (b"[" * 60_000, "nested too deeply"),
    "deep objects": (b'{"a":' * 12_000, "nested too deeply"),
    "a list": ([1], "it has no format number"),
    "a number": (b"1", "it has no format number"),
    "no format": ({"name": "x", "values": {}}, "it has no format number"),
    "format true": (GOOD | {"format": True}, "it has no format number"),
    "format 0": (GOOD | {"format": 0}, "it has no format number"),
    "format 2": (GOOD | {"format": 2}, "update the program"),
    "no name": (GOOD | {"name": " "}, "it has no name"),
    "a name of 5": (GOOD | {"name": 5}, "its name must be one line"),
    "a long name": (GOOD | {"name": "x" * 81}, "at most 80 characters"),
    "two lines": (GOOD | {"name": "a\nb"}, "its name must be one line"),
    "half a character": (rb'{"format": 1, "name": "\ud800", "values": {}}', "its name must be one line"),
    "a long description": (GOOD | {"description": "x" * 501}, "at most 500 characters"),
    "no values": ({"format": 1, "name": "x"}, "must be an object of numbers by id"),
    "a list of values": (GOOD | {"values": [1]}, "must be an object of numbers by id"),
    "too much": (values(mix=1.5), "mix is 1.5; allowed are 0 to 1"),
    "too loud": (values(input_gain=25), "input_gain is 25; allowed are -60 to 24 dB"),
    "half a switch": (values(freeze=0.5), "freeze is 0.5; allowed are 0 to 1, whole numbers"),
    "a text": (values(mix="0.5"), "mix is '0.5'; it must be a number"),
    "true": (values(mix=True), "mix is True; it must be a number"),
    "null": (values(mix=None), "mix is None; it must be a number"),
    "an object": (values(mix={"a": 1}), "it must be a number"),
    "NaN": (b'{"format": 1, "name": "x", "values": {"mix": NaN}}', "NaN is no number"),
    "-Infinity": (b'{"format": 1, "name": "x", "values": {"mix": -Infinity}}', "-Infinity is no number"),
    "infinite": (b'{"format": 1, "name": "x", "values": {"mix": 1e999}}', "mix is inf; allowed are 0 to 1"),
    "400 digits": (b'{"format": 1, "name": "x", "values": {"mix": 1' + b"0" * 400 + b"}}", "mix is 1000"),
    "5000 digits": (b'{"format": 1, "name": "x", "values": {"mix": 1' + b"0" * 5000 + b"}}", "x.json"),
    "a value twice": (b'{"format": 1, "name": "x", "values": {"mix": 0, "mix": 1}}', "'mix' occurs twice"),
    "a name twice": (b'{"format": 1, "name": "x", "name": "y", "values": {}}', "'name' occurs twice"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_one_clear_error(tmp_path, content, message):
    path = store(tmp_path / "x.json", content)
    with pytest.raises(PresetError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "nosuch.json", Path("a\0b"), Path("x" * 5000)):
        with pytest.raises(PresetError):
            load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = store(tmp_path / "x.json", GOOD)
    before = path.read_bytes()
    for preset in (Preset(" "), Preset("x" * 81), Preset("a\nb"), Preset("x", "y" * 501)):
        with pytest.raises(PresetError):
            save(path, preset)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(PresetError, match="No space left on device"):
            save(path, Preset("x"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "x.json"]
    with pytest.raises(PresetError, match="choose another folder"):
        save(tmp_path / "nowhere" / "x.json", Preset("x"))


# -- names and folders -------------------------------------------------------------------------------------------------
NAMES = [
    "../../etc/passwd",
    "a/b",
    "a\\b",
    "C:x",
    "..",
    ".",
    ".hidden",
    "con",
    "NUL.txt",
    "LPT1",
    "a\0b",
    "a\nb",
    "x. ",
]


@pytest.mark.parametrize("name", [*NAMES, "x" * 300, "日本" * 90, 'a?*<>|:"'], ids=ascii)
def test_every_name_is_a_safe_file_name(name, tmp_path):
    try:
        file = file_name(name)
    except PresetError:
        assert not set(name) - set(". ")
        return
    assert (tmp_path / file).parent == tmp_path
    assert Path(file).name == file
    assert not set(file) & set('<>:"/\\|?*\0\n')
    stem = file.removesuffix(".json")
    assert 0 < len(stem.encode()) <= MAX_FILE_NAME
    assert stem[0] not in ". "
    assert stem[-1] not in ". "
    assert stem.partition(".")[0].lower() not in ("con", "nul", "lpt1")
    (tmp_path / file).touch()


def test_own_presets_are_saved_found_and_kept(own):
    path = presets.save_own(Preset("My: Sound", "", Snapshot().replace(drop=0.5)))
    assert path == own / "My_ Sound.json"
    assert named("my: sound").values["drop"] == 0.5
    with pytest.raises(PresetError, match="give another name"):
        presets.save_own(Preset("My? Sound"))
    presets.save_own(Preset("My: Sound"), overwrite=True)
    assert named("My: Sound").values == Snapshot()
    assert find(str(path)).name == "My: Sound"


def test_a_name_is_never_a_path(own, tmp_path):
    path = store(tmp_path / "secret.json", GOOD)
    for name in (str(path), "../secret", "secret.json", "x" * 5000, "\0"):
        with pytest.raises(PresetError, match=r"^No preset .*Underwater"):
            named(name)
    assert find(str(path)).name == "Good"
    with pytest.raises(PresetError, match="cannot be read"):
        find(str(tmp_path / "nosuch.json"))


def test_own_presets_hide_shipped_ones_and_broken_ones_are_told(own):
    shipped, problems = listing()
    assert problems == []
    assert len(shipped) == len(FACTORY)
    store(own / "a.json", GOOD | {"name": "underwater"})
    store(own / "b.json", b"{")
    store(own / ".c.json", b"{")
    store(own / "d.txt", b"{")
    entries, problems = listing()
    assert len(entries) == len(shipped)
    assert [entry.preset.name for entry in entries if entry.own] == ["underwater"]
    assert named("Underwater").values["mix"] == 0.5
    assert len(problems) == 1
    assert "b.json" in problems[0]


# -- the presets that are shipped --------------------------------------------------------------------------------------
def test_there_are_enough_and_all_are_described():
    found = [load(path) for path in FACTORY]
    assert len(found) >= 14
    assert len({preset.values for preset in found} | {Snapshot()}) == len(found) + 1
    for path, preset in zip(FACTORY, found, strict=True):
        assert preset.notes == ()
        assert path.stem == preset.name.lower().replace(" ", "-")
        assert preset.description.endswith(".")
        assert 30 < len(preset.description) < 120
        assert not preset.values["bypass"]


def spectrum(audio):
    frames = np.lib.stride_tricks.sliding_window_view(audio[0], 1024)[::512] * np.hanning(1024)
    return 10 * np.log10(np.abs(np.fft.rfft(frames)) ** 2 + 1e-4)


def level(audio):
    return 10 * np.log10(np.mean(np.square(audio)))


def test_they_sound_and_each_sounds_different(run_blocks):
    with AudioReader(DEMO_PATH) as reader:
        reader.seek(8 * reader.rate)
        audio = reader.read(4 * reader.rate)[:1]
        engine = Engine(OnnxModel.load(shipped_folder() / "tiny"))
        engine.prepare(reader.rate, 1)
    sounds = {"plain": spectrum(audio)}
    for path in FACTORY:
        engine.reset()
        out = run_blocks(engine, audio, 4096, load(path).values)[:, engine.latency.total :]
        sounds[path.stem] = spectrum(np.pad(out, ((0, 0), (0, engine.latency.total))))
        assert abs(level(out) - level(audio)) < LEVEL_DB, path.stem
        assert np.mean(np.abs(out) > 0.98) < CLIPPED, path.stem
    distances = {(a, b): np.abs(sounds[a] - sounds[b]).mean() for a, b in combinations(sounds, 2)}
    assert min(distances.values()) > SMALLEST_DISTANCE_DB, min(distances, key=distances.get)
