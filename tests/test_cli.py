import hashlib
import json
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import typer
from rich.console import Console
from typer.testing import CliRunner

from rtae import __version__, cli, evaluate, live, show, show_training
from rtae.audio.device import NO_CARD
from rtae.audio.file import AudioReader, read_audio
from rtae.demo import DEMO_PATH
from rtae.engine import Engine
from rtae.errors import AudioFileError, DeviceError, DisturbedError
from rtae.gui.begin import SCREENS
from rtae.metrics import METRICS
from rtae.models import catalogue, shipped_folder
from rtae.nets.config import PRESETS, SMALL, TINY
from rtae.params import PARAMETERS, Snapshot
from rtae.performance import Performance
from rtae.performance import save as save_performance
from rtae.presets import FACTORY_FOLDER, Preset, named, save_own
from rtae.shared import Status
from rtae.spec import DECODER_FILE, ENCODER_FILE, SPEC_FILE
from rtae.training import data
from rtae.training.checkpoint import CHECKPOINT_FILE
from rtae.training.config import TUNING_RATE, TrainConfig

RATE = 22_050
COMMANDS = typer.main.get_command(cli.build()).commands
WITH_PARAMETERS = [name for name, command in COMMANDS.items() if any(option.name == "mix" for option in command.params)]
HEAVY = (
    "torch",
    "lightning",
    "onnx",
    "onnxruntime",
    "PySide6",
    "pyqtgraph",
    "sounddevice",
    "soundfile",
    "numpy",
    "soxr",
)
QUICK = ("--validate-every", "2", "--threads", "1", "--crop", "4096", "--batch", "1")
NULL = "/dev/null"


def store_model(folder, files):
    folder.mkdir(parents=True)
    contents = {ENCODER_FILE: files.encoder, DECODER_FILE: files.decoder}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    (folder / SPEC_FILE).write_text(replace(files.spec, name=folder.name, files=sums).to_json())


def noise(channels=1, samples=6000):
    return (0.1 * np.random.default_rng(2).standard_normal((samples, channels))).astype(np.float32)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, files_of):
    """A folder to work in: two models, songs good and bad."""
    place = tmp_path_factory.mktemp("cli") / "work"
    store_model(place / "models" / "mine", files_of(SMALL))
    store_model(place / "models" / "other", files_of(TINY))
    (place / "empty folder").mkdir()
    (place / "songs").mkdir()
    for number in range(3):
        time = np.arange(RATE) / RATE
        tone = 0.3 * np.sin(2 * np.pi * 150 * (number + 1) * time)
        sf.write(place / "songs" / f"{number}.wav", tone + noise(1, RATE)[:, 0], RATE)
    sf.write(place / "good.wav", noise(2), 44_100)
    sf.write(place / "none.wav", noise(1, 0), RATE)
    sf.write(place / "nine.wav", noise(9), RATE)
    (place / "empty.wav").touch()
    (place / "cut.wav").write_bytes((place / "good.wav").read_bytes()[:30])
    (place / "text.wav").write_text("no audio" * 100)
    (place / "file").write_text("a file")
    (place / "kept.wav").write_text("an older file")
    for name in ("one", "short", "broken"):
        (place / name).mkdir()
    shutil.copy(place / "songs" / "0.wav", place / "one")
    sf.write(place / "short" / "a.wav", noise(1, 2205), RATE)
    shutil.copy(place / "text.wav", place / "broken")
    shutil.copy(place / "empty.wav", place / "broken")
    return place


@pytest.fixture
def work(prepared, tmp_path, monkeypatch):
    """A fresh copy to work in, and nothing of the user's own."""
    place = shutil.copytree(prepared, tmp_path / "work")
    (place / "link.wav").symlink_to("good.wav")
    monkeypatch.chdir(place)
    monkeypatch.setenv("RTAE_MODELS", str(place / "models"))
    monkeypatch.setenv("RTAE_PRESETS", str(tmp_path / "presets"))
    monkeypatch.setattr(catalogue, "shipped_folder", lambda: place / "empty folder")
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(show, "console", Console(highlight=False, width=200))
    # tests/test_metrics.py has the figures that take long
    monkeypatch.setattr(evaluate, "cache_folder", lambda: tmp_path / "figures")
    monkeypatch.setattr(evaluate, "hop_costs", lambda *_: ())
    for name in ("visqol", "log_mel", "beat_f", "onset_f"):
        monkeypatch.setitem(METRICS, name, replace(METRICS[name], measure=lambda *_: 0.5, modules=()))
    return place


def contents(place):
    return {
        str(path.relative_to(place)): "link" if path.is_symlink() else path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


def words(text):
    """Without the frame and the line breaks of a box."""
    return " ".join(text.translate(dict.fromkeys(map(ord, "│╭╮╰╯─"), " ")).split())


# -- help --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(rtae, command):
    done = rtae(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"rtae {command}" in done.out
    about = COMMANDS[command].help
    assert words(about.splitlines()[0])[:40] in words(done.out)


def test_help_lists_the_commands(rtae):
    done = rtae("--help")
    assert done.code == 0
    assert {"play", "render", "models", "devices", "bench", "train", "export", "evaluate"} <= COMMANDS.keys()
    for command in COMMANDS:
        assert f" {command} " in done.out
    assert {"play", "render"} <= set(WITH_PARAMETERS)


def test_help_of_the_program_makes_no_options_of_its_commands():
    """They take longer than all else that help does."""
    light = typer.main.get_command(cli.build("")).commands
    assert list(light) == list(COMMANDS)
    assert [command.help for command in light.values()] == [command.help for command in COMMANDS.values()]
    assert not any(command.params for command in light.values())
    one = typer.main.get_command(cli.build("render")).commands
    assert [len(command.params) for name, command in one.items() if name != "render"] == [0] * (len(one) - 1)
    assert len(one["render"].params) == len(COMMANDS["render"].params)


@pytest.mark.parametrize(("arguments", "song"), [((), None), (("window",), None), (("window", "demo"), DEMO_PATH)])
def test_without_a_command_the_window_opens(rtae, monkeypatch, arguments, song):
    opened = []
    monkeypatch.setattr("rtae.gui.ahead.launch", lambda: "launched")
    monkeypatch.setattr("rtae.gui.ahead.meet", lambda launched: opened.append(launched) or NoClient(opened))
    monkeypatch.setattr("rtae.gui.app.run", lambda *what: opened.append(what[:2]) or 0)
    assert rtae(*arguments).code == 0
    assert sorted(opened, key=str) == sorted([(song, None), "launched", "closed"], key=str)


class NoClient:
    def __init__(self, log):
        self.log = log

    def close(self):
        self.log.append("closed")


def test_a_window_that_cannot_be_opened_is_explained(rtae, monkeypatch):
    monkeypatch.setitem(sys.modules, "rtae.gui.app", None)
    monkeypatch.setattr("rtae.gui.ahead.launch", lambda: None)
    monkeypatch.setattr("rtae.gui.ahead.meet", lambda _: NoClient([]))
    done = rtae()
    assert done.code == 1
    assert "apt install" in done.err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is always a screen")
def test_a_window_without_a_screen_is_explained(rtae, monkeypatch):
    for name in SCREENS:
        monkeypatch.delenv(name, raising=False)
    done = rtae()
    assert done.code == 1
    assert "no screen" in done.err


def test_the_version(rtae):
    assert rtae("--version").out == f"rtae {__version__}\n"


@pytest.mark.parametrize("command", WITH_PARAMETERS)
def test_every_parameter_is_an_option(command):
    options = {option.name: option for option in COMMANDS[command].params}
    for parameter in PARAMETERS:
        option = options[parameter.id]
        assert option.opts == [f"--{parameter.id.replace('_', '-')}"]
        assert option.default == parameter.default
        assert parameter.help in option.help
        assert not parameter.unit or f"In {parameter.unit}." in option.help


def between(parameter, share):
    """A value that an option takes, a share of the way from one end of the range to the other."""
    value = parameter.low + share * (parameter.high - parameter.low)
    return round(value) if parameter.curve in ("whole", "switch") else value


def test_parameters_reach_the_engine(work, rtae, monkeypatch):
    def given(values):
        options = [f"--{id.replace('_', '-')}={value}" for id, value in values.items()]
        done = rtae("render", "good.wav", "out.wav", "-m", "mine", *options)
        assert done.code == 0, done.err
        return dict(seen[-1][3])

    seen = []
    monkeypatch.setattr(show, "rendering", lambda *given: seen.append(given))
    defaults = {parameter.id: parameter.default for parameter in PARAMETERS}
    assert given({}) == defaults
    for share in (0, 1):
        values = {parameter.id: between(parameter, share) for parameter in PARAMETERS}
        assert given(values) == values
    # Each at another place of its range, so that none is taken for another; of switches, one at a time.
    places = {
        parameter.id: between(parameter, (number + 1) / (len(PARAMETERS) + 1))
        for number, parameter in enumerate(PARAMETERS)
        if parameter.curve != "switch"
    }
    assert given(places) == defaults | places
    for parameter in PARAMETERS:
        if parameter.curve == "switch":
            turned = {parameter.id: 1 - parameter.default}
            assert given(turned) == defaults | turned


def test_hop_and_window_reach_the_engine(work, rtae, monkeypatch):
    seen = []
    monkeypatch.setattr(show, "rendering", lambda *given: seen.append(given[2]))
    rtae("render", "good.wav", "out.wav", "-m", "mine", "--hop", "480", "--full-window")
    rtae("render", "good.wav", "out.wav", "-m", "mine")
    assert [(engine.hop, engine.full_window) for engine in seen] == [(480, True), (2064, False)]


def test_a_preset_is_where_the_other_options_start_from(work, rtae, monkeypatch):
    seen = []
    monkeypatch.setattr(show, "rendering", lambda *given: seen.append(given[3]))
    save_own(Preset("Mine", "", Snapshot().replace(drop=0.5, mix=0.25, noise_seed=7)))
    render = ("render", "good.wav", "out.wav", "-m", "mine")
    assert rtae(*render, "--preset", "mine").code == 0
    assert rtae(*render, "--preset", str(FACTORY_FOLDER / "rain.json"), "--mix=1").code == 0
    # An option that is typed counts, even where it is at its default.
    assert rtae(*render, "--preset", "Mine", "--mix=1", "--blur=0.5").code == 0
    assert seen[0] == Snapshot().replace(drop=0.5, mix=0.25, noise_seed=7)
    assert seen[1] == named("Rain").values != Snapshot()
    assert seen[2] == Snapshot().replace(drop=0.5, noise_seed=7, blur=0.5)


@pytest.mark.parametrize("command", ["play", "live"])
def test_a_preset_reaches_what_is_played(work, rtae, monkeypatch, command):
    from rtae import live

    seen = []
    monkeypatch.setattr(live, f"play_{'songs' if command == 'play' else 'live'}", lambda *given: seen.append(given))
    assert rtae(command, "-m", "mine", "--preset", "Underwater", "--blur", "0.5").code == 0
    values = next(value for value in seen[0] if isinstance(value, Snapshot))
    assert values == named("Underwater").values.replace(blur=0.5)


def test_live_options_reach_the_setup(work, rtae, monkeypatch):
    from rtae import live

    seen = []
    monkeypatch.setattr(live, "play_live", lambda *given: seen.append(given[0]))
    monkeypatch.setattr(live, "latency_report", lambda *given: seen.append(given[0]))
    for command in (("live",), ("live", "--no-guard", "--hop=480"), ("latency",), ("latency", "--hop=960")):
        assert rtae(*command, "-m", "mine").code == 0
    assert [(setup.hop, setup.guard) for setup in seen] == [(0, True), (480, False), (0, True), (960, True)]


def test_sources_and_devices_of_play_reach_the_setup(work, rtae, monkeypatch):
    from rtae import live

    seen = []
    monkeypatch.setattr(live, "play_songs", lambda *given: seen.append(given[:2]))
    for made in ("tone", "noise", "silence", "dream"):
        assert rtae("play", made, "-m", "mine", "--second", "tone", "--follow-default").code == 0
        assert seen[-1][1] == [made]
        assert (seen[-1][0].second, seen[-1][0].follow_default) == ("tone", True)
    (work / "tone").write_bytes((work / "good.wav").read_bytes())
    assert rtae("play", "tone", "good.wav", "-m", "mine").code == 0
    assert seen[-1][1] == [str(work / "tone"), str(work / "good.wav")]  # a file of that name goes first
    assert (seen[-1][0].second, seen[-1][0].follow_default) == ("", False)


@pytest.mark.parametrize("songs", [("good.wav", "nowhere.wav"), ("good.wav", "--second", "nowhere.wav")])
def test_songs_are_checked_before_the_first_one_plays(work, rtae, monkeypatch, songs):
    from rtae import live

    monkeypatch.setattr(live, "Client", lambda _: pytest.fail("it begins to play"))
    done = rtae("play", *songs, "-m", "mine")
    assert done.code == 1
    assert "nowhere.wav' does not exist" in done.err


def test_a_song_that_is_gone_at_its_turn_is_left_out(work, rtae, monkeypatch):
    from rtae import live

    class Client(FakeClient):
        def open(self, song):
            opened.append(Path(song).name)
            if song.endswith("other.wav"):
                raise AudioFileError("other.wav does not exist")

        def play(self):
            opened.append("plays")

    opened = []
    monkeypatch.setattr(live, "Client", Client)
    (work / "other.wav").write_bytes((work / "good.wav").read_bytes())
    done = rtae("play", "good.wav", "other.wav", "good.wav", "-m", "mine")
    assert done.code == 0, done.err
    assert opened == ["plays", "other.wav", "good.wav", "plays"]
    assert "other.wav does not exist. It is left out" in done.out


FACTS = {"device": "card", "rate": 44_100, "block": 256, "hop": 240, "latency": {"hop": 480, "lead": 960}}
FOUND = {
    "rate": 48_000,
    "stated": 4800.0,
    "measured": 4896.0,
    "confidence": 12.34,
    "late": 0,
    "flags": 0,
    "drift_ms": 0.1,
}
FOUND |= {"whole_rate": 44_100, "whole_stated": 8820.0, "whole_measured": 8864.1}


class FakeClient:
    """The client of an audio process that there is not, and a microphone whose guard ducks."""

    def __init__(self, notify=None):
        self.measured = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def configure(self, setup):
        return FACTS

    def facts(self):
        return FACTS

    def respond(self, setup):
        return {"output_gain": 0.3, "latent_scale": 0.31, "stated": 0.32, "late": 0, "flags": 0}

    def measure(self, setup):
        assert setup.hop == 240  # the one that was found, and not another search
        return FOUND

    def set(self, values):
        pass

    def status(self):
        return Status(position=1.0, guard_db=-12.3, ended=1.0)

    def pause(self):
        pass

    def stop_recording(self):
        return 0.0


def test_the_hop_that_was_found_is_said(work, rtae, monkeypatch):
    from rtae import live

    monkeypatch.setattr(live, "Client", FakeClient)
    done = rtae("live", "-m", "mine")
    assert "a hop of 240 samples, found by measuring" in done.out
    assert "found by measuring" not in rtae("live", "-m", "mine", "--hop=240").out
    done = rtae("latency", "-m", "mine")
    song, microphone = done.out.splitlines()
    assert "found by measuring" not in song
    assert "found by measuring" in microphone


def test_both_measured_latencies_are_printed(work, rtae, monkeypatch):
    from rtae import live

    monkeypatch.setattr(live, "Client", FakeClient)
    done = rtae("latency", "-m", "mine", "--measure")
    assert "device, there and back: 102.0 ms measured through the loopback, 100.0 ms stated" in done.out
    assert "at most 300 ms (output gain), 310 ms (latent scale); stated are 320 ms" in done.out
    assert "201.0 ms measured through the loopback, 200.0 ms stated" in done.out
    assert "Confidence 12.3" in done.out
    assert "Note" not in done.out


def test_a_latency_is_measured_again_where_sound_was_lost(work, rtae, monkeypatch):
    from rtae import live

    monkeypatch.setattr(live, "Client", FakeClient)
    for losses in ([{"late": 64}, {"drift_ms": 2.0}, {}], [None, None, {}], [None] * 3):

        def measure(*_, losses=losses):
            lost = losses.pop(0)
            if lost is None:
                raise DisturbedError("Sound was lost while it was measured")
            return FOUND | lost

        expected = losses[-1]
        monkeypatch.setattr(FakeClient, "measure", measure)
        done = rtae("latency", "-m", "mine", "--measure")
        assert "Note" not in done.out
        assert not losses
        assert done.code == (0 if expected is not None else 1), done.err
        assert ("102.0 ms measured" in done.out) == (expected is not None)
    monkeypatch.setattr(FakeClient, "measure", lambda *_: FOUND | {"late": 64, "flags": 2})
    done = rtae("latency", "-m", "mine", "--measure")
    assert "64 samples came late, the device flagged 2 blocks" in done.out
    assert "102.0 ms measured" in done.out


def test_it_shows_when_the_guard_ducks(monkeypatch):
    from rtae import live

    shown = []
    bar = SimpleNamespace(
        add_task=lambda _: 0, update=lambda _, **what: shown.append(what["description"]), remove_task=lambda _: None
    )
    for level in (-12.3, -0.5):
        client = FakeClient()
        client.status = lambda level=level: Status(guard_db=level, ended=1.0)
        live.follow(client, threading.Event(), bar)
    assert "feedback: turned down by 12 dB" in shown[0]
    assert "feedback" not in shown[1]


def test_presets_are_listed(work, rtae):
    save_own(Preset("[bold]", "My own."))
    (work.parent / "presets" / "bad.json").write_text("{")
    done = rtae("presets")
    assert done.code == 0
    table, _, below = done.out.partition("Not usable: ")
    rows = {line.split("│")[1].strip(): line for line in table.splitlines() if "│" in line}
    assert len(rows) == len(list(FACTORY_FOLDER.glob("*.json"))) + 1
    assert "shipped" in rows["Underwater"]
    assert "My own." in rows["[bold]"]
    assert "yours" in rows["[bold]"]
    assert "bad.json" in below


def played(place, **changes):
    """A performance of 0.1 s and 44.1 kHz, half of it dry."""
    facts = {"song": "good.wav", "model": "mine", "hop": 480, "quality": "HQ", "rate": 44_100, "channels": 2}
    values = Snapshot().replace(output_gain=-20)
    events = ((0, dict(values)), (5000, {"mix": 0.0}))
    path = place / "played.json"
    save_performance(path, Performance(**facts | {"length": 8000, "events": events} | changes))
    return path


def test_a_performance_is_rendered_from_its_own_song_or_another(work, rtae):
    played(work)
    done = rtae("render", "own.wav", "--performance", "played.json")
    assert done.code == 0, done.err
    assert "Wrote own.wav: 0:00, 2 changes of the knobs, from good.wav" in done.out
    assert rtae("render", "good.wav", "same.wav", "--performance", "played.json").code == 0
    assert rtae("render", "songs/0.wav", "other.wav", "--performance", "played.json").code == 0
    assert rtae("render", "held.wav", "--performance", "played.json", "--mix=1").code == 0
    assert rtae("render", "model.wav", "--performance", "played.json", "-m", "other").code == 0
    own, same, other, held, model = (
        read_audio(work / f"{name}.wav")[0] for name in ("own", "same", "other", "held", "model")
    )
    assert own.shape[0] == 2
    assert 5000 < own.shape[1] < 8000
    assert np.array_equal(own, same)
    for another in (other, held, model):
        count = min(own.shape[1], another.shape[1])
        assert not np.array_equal(own[:, :count], another[:, :count])
    # What was dry is the song.
    song = read_audio(work / "good.wav")[0]
    gain = 10 ** (-20 / 20)
    assert (
        np.abs(own[:, -500:-300] - gain * np.pad(song, ((0, 0), (0, 9000)))[:, own.shape[1] - 500 :][:, :200]).max()
        < 1e-3
    )


WRONG_PERFORMANCES = {
    "missing": ({}, ("out.wav", "--performance", "nosuch.json"), 1, "nosuch.json cannot be read"),
    "no performance": ({}, ("out.wav", "--performance", "good.wav"), 1, "good.wav is not a performance"),
    "a microphone": ({"song": "microphone"}, ("out.wav",), 1, "was played on a microphone; give a recording"),
    "a song that is gone": ({"song": "gone.wav"}, ("out.wav",), 1, "'gone.wav' does not exist"),
    "a model that is gone": ({"model": "gone"}, ("out.wav",), 1, "No model 'gone'"),
    "a second song that is gone": ({"second": "gone.wav"}, ("out.wav",), 1, "'gone.wav' does not exist"),
    "over the song": ({}, ("good.wav",), 1, "it is the input file"),
    "too short": ({"length": 10, "events": ()}, ("out.wav",), 1, "record a longer one"),
    "with a preset": ({}, ("out.wav", "--preset", "Rain"), 2, "it goes with neither --preset nor --full-window"),
    "in full windows": ({}, ("out.wav", "--full-window"), 2, "it goes with neither --preset nor --full-window"),
}


@pytest.mark.parametrize(
    ("changes", "arguments", "code", "message"), WRONG_PERFORMANCES.values(), ids=WRONG_PERFORMANCES
)
def test_a_performance_with_something_wrong_is_told(work, rtae, changes, arguments, code, message):
    played(work, **changes)
    before = contents(work)
    done = rtae("render", "--performance", "played.json", *arguments)
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err
    assert contents(work) == before


# -- what is not loaded ------------------------------------------------------------------------------------------------
def loaded_by(code):
    check = f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    program = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n{check}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "code",
    [
        "import rtae",
        "import rtae.cli",
        "sys.argv = ['rtae', '--help']; import rtae.cli; rtae.cli.main()",
        "sys.argv = ['rtae', 'train', '--help']; import rtae.cli; rtae.cli.main()",
        "sys.argv = ['rtae', 'models']; import rtae.cli; rtae.cli.main()",
    ],
    ids=["import", "cli", "help", "train help", "models"],
)
def test_nothing_heavy_is_loaded_for_it(code):
    assert loaded_by(code) == "[]"


def test_the_check_for_heavy_modules_finds_one():
    assert loaded_by("import numpy") == "['numpy']"


# -- what a user may do wrong ------------------------------------------------------------------------------------------
RENDER = ("render", "good.wav")
WRONG = {
    # the song
    "missing song": (("render", "missing.wav", "out.wav"), "'missing.wav' does not exist; check the path"),
    "empty song": (("render", "empty.wav", "out.wav"), "is empty (0 bytes)"),
    "cut song": (("render", "cut.wav", "out.wav"), "is not audio that can be read"),
    "text": (("render", "text.wav", "out.wav"), "is not audio that can be read"),
    "no samples": (("render", "none.wav", "out.wav"), "holds no samples"),
    "folder as song": (("render", "songs", "out.wav"), "is a folder; give one audio file"),
    "below a file": (("render", "file/x.wav", "out.wav"), "does not exist"),
    "pipe": (("render", NULL, "out.wav"), "is a device or a pipe"),
    "bad song, old target": (("render", "text.wav", "kept.wav"), "is not audio that can be read"),
    "no samples, old target": (("render", "none.wav", "kept.wav"), "holds no samples"),
    # the target
    "mp3": ((*RENDER, "out.mp3"), "its name must end in .wav or .flac"),
    "no suffix": ((*RENDER, "out"), "its name must end in .wav or .flac"),
    "no folder": ((*RENDER, "nowhere/out.wav"), "there is no folder 'nowhere'; create it first"),
    "target below a file": ((*RENDER, "file/out.wav"), "there is no folder 'file'"),
    "itself": ((*RENDER, "good.wav"), "it is the input file"),
    "itself by a link": ((*RENDER, "link.wav"), "it is the input file"),
    "itself by another path": ((*RENDER, "songs/../good.wav"), "it is the input file"),
    "a long name": ((*RENDER, "x" * 300 + ".wav"), "give another path"),
    "too many channels": (("render", "nine.wav", "out.flac"), "9 channels; allowed are 1 to 8"),
    # the model
    "unknown model": ((*RENDER, "out.wav", "-m", "nosuch"), "No model 'nosuch'; there are mine, other"),
    "a model's name of two lines": ((*RENDER, "out.wav", "-m", "a\nb"), "No model 'a"),
    "folder without a model": ((*RENDER, "out.wav", "-m", "songs"), "songs holds no model"),
    "a hop without room": ((*RENDER, "out.wav", "--hop", "110250"), "do not fit a window of 110250"),
    "play without a model": (("play", "good.wav", "-m", "nosuch"), "No model 'nosuch'; there are mine, other"),
    "bench without a model": (("bench", "mine", "nosuch"), "No model 'nosuch'; there are mine, other"),
    # presets
    "unknown preset": ((*RENDER, "out.wav", "--preset", "nosuch"), "No preset 'nosuch'; there are Blizzard, "),
    "a preset that is none": (
        (*RENDER, "out.wav", "--preset", "./good.wav"),
        "good.wav is not a preset: it is no text",
    ),
    # evaluation
    "evaluate without a model": (("evaluate", "nosuch", "--on", "songs"), "No model 'nosuch'"),
    "evaluate on nothing": (("evaluate", "mine", "--on", "empty folder"), "No audio files in empty folder"),
    "evaluate on no folder": (("evaluate", "mine", "--on", "nowhere"), "does not exist; give a folder"),
    "evaluate on a file": (("evaluate", "mine", "--on", "good.wav"), "is not a folder; give a folder"),
    "evaluate on broken songs": (("evaluate", "mine", "--on", "broken"), "None of the files in broken could be"),
    # export
    "export nothing": (("export", "nowhere", "--name", "x"), "Make one with: rtae train FOLDER --out nowhere"),
    "export songs": (("export", "songs", "--name", "x"), "No checkpoint at songs/checkpoint.safetensors"),
    "export a file": (("export", "file", "--name", "x"), "is not a checkpoint of this program"),
    "export a bad name": (("export", "nowhere", "--name", "../x"), "'../x' cannot name a model"),
    "export no name": (("export", "nowhere", "--name", ""), "'' cannot name a model"),
    "export a name that Windows keeps": (("export", "nowhere", "--name", "CON"), "'CON' cannot name a model"),
    "export over a model": (("export", "nowhere", "--name", "mine"), "choose another --name, or add --overwrite"),
}
TRAIN = ("--out", "run", "--steps", "1", *QUICK)
WRONG_TRAINING = {
    "no folder": (("nowhere", *TRAIN), "does not exist; give a folder"),
    "a file": (("good.wav", *TRAIN), "is not a folder; give a folder"),
    "no audio": (("empty folder", *TRAIN), "No audio files in empty folder"),
    "broken audio": (("broken", *TRAIN), "None of the 2 audio files in broken can be used"),
    "one song": (("one", *TRAIN), "add a second, or cut it in two"),
    "short songs": (("short", *TRAIN), "shorter than 0.2 s"),
    "a long crop": (("songs", *TRAIN, "--crop", "1000000"), "shorter than 45.4 s"),
    "a preset": (("songs", *TRAIN, "-m", "huge"), "No preset 'huge'; there are large, small, tiny"),
    "an optimiser": (("songs", *TRAIN, "--optimizer", "sgd"), "optimizer must be 'soap' or 'adam'"),
    "a loss": (("songs", *TRAIN, "--loss", "best"), "loss must be 'spectral', 'mse' or 'paper-vae'"),
    "a rate of NaN": (("songs", *TRAIN, "--learning-rate", "nan"), "learning_rate must lie in (0, 1)"),
    "a rate of 1": (("songs", *TRAIN, "--learning-rate", "1"), "learning_rate must lie in (0, 1)"),
    "no held-out songs": (("songs", *TRAIN, "--held-out", "empty folder"), "No audio files in empty folder"),
    "nothing to resume": (("songs", *TRAIN, "--resume"), "Make one with: rtae train FOLDER --out run"),
    "a run that is a file": (("songs", *TRAIN, "--out", "file"), "cannot be made"),
    "a run below a file": (("songs", *TRAIN, "--out", "file/run"), "cannot be made"),
}


def assert_one_line(done, message):
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("Error: ")
    assert message in done.err
    assert "Traceback" not in done.out


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_one_line_and_changes_nothing(work, rtae, arguments, message):
    before = contents(work)
    if arguments[0] == "render" and "-m" not in arguments:
        arguments += ("-m", "mine")
    assert_one_line(rtae(*arguments), message)
    assert contents(work) == before


@pytest.mark.parametrize(("arguments", "message"), WRONG_TRAINING.values(), ids=WRONG_TRAINING)
def test_a_training_that_cannot_start_is_one_line(work, rtae, arguments, message):
    before = contents(work)
    assert_one_line(rtae("train", *arguments), message)
    assert contents(work) == before


def test_a_training_that_cannot_start_leaves_no_folder(work, rtae):
    assert rtae("train", "nowhere", *TRAIN).code == 1
    assert not (work / "run").exists()


BAD_OPTIONS = [
    *[("render", "good.wav", "out.wav", "-m", "mine", option) for option in ("--mix=nan", "--mix=inf", "--mix=1e99")],
    *[("render", "good.wav", "out.wav", "-m", "mine", option) for option in ("--mix=x", "--mix=", "--mix=-0.1")],
    *[("render", "good.wav", "out.wav", "-m", "mine", option) for option in ("--bypass=0.5", "--noise-seed=1e3")],
    *[("render", "good.wav", "out.wav", "-m", "mine", option) for option in ("--hop=0", "--hop=nan", "--hop=110251")],
    *[("render", "good.wav", "out.wav", "-m", "mine", option) for option in ("--noise-speed=0", "--nosuch=1")],
    *[("train", "songs", *TRAIN, option) for option in ("--minutes=nan", "--minutes=0", "--steps=0", "--steps=1.5")],
    *[("train", "songs", *TRAIN, option) for option in ("--crop=4095", "--batch=0", "--batch=1e3", "--seed=-1")],
    *[("train", "songs", *TRAIN, option) for option in ("--validate-every=0", "--threads=0", "--shortcut-frames=17")],
    ("train", "songs"),
    ("export", "run"),
    ("evaluate", "--on", "songs"),
    ("evaluate", "mine"),
    ("render", "good.wav"),
    ("nosuch",),
]


@pytest.mark.parametrize("arguments", BAD_OPTIONS, ids=" ".join)
def test_a_wrong_option_is_named_and_changes_nothing(work, rtae, arguments):
    before = contents(work)
    done = rtae(*arguments)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    name = arguments[-1].split("=")[0]
    assert name not in ("--mix", "--hop", "--crop", "--steps") or name in done.err
    assert done.err.startswith("Error: ")
    assert " --help)" in done.err
    assert contents(work) == before


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.id)
@pytest.mark.parametrize("command", WITH_PARAMETERS)
def test_no_parameter_leaves_its_range(command, parameter):
    option = f"--{parameter.id.replace('_', '-')}"
    files = {"render": ["good.wav", "out.wav"], "play": ["good.wav"]}.get(command, [])
    with COMMANDS[command].make_context(command, [*files, f"{option}={between(parameter, 0.5)}"]) as allowed:
        assert allowed.params[parameter.id] == between(parameter, 0.5)
    for value in (parameter.low - 1, parameter.high + 1, "nan", "-inf", "loud"):
        with pytest.raises(typer.BadParameter) as raised:
            COMMANDS[command].make_context(command, [*files, f"{option}={value}"])
        line = cli.one_line(raised.value)
        assert option in line
        assert f"allowed are {parameter.low:g} to {parameter.high:g}" in line


OVERFLOWS = [("--seed", str(2**70)), ("--threads", "100000000000")]


@pytest.mark.parametrize("option", OVERFLOWS, ids=" ".join)
def test_numbers_too_large_for_torch(work, rtae, option):
    assert rtae("train", "songs", *TRAIN, *option).code in (1, 2)


def test_an_error_of_the_program_is_not_hidden(work, rtae, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(Engine, "process", fail)
    before = contents(work)
    with pytest.raises(ZeroDivisionError):
        rtae("render", "good.wav", "out.wav", "-m", "mine")
    assert contents(work) == before


def test_an_interrupted_render_ends_and_changes_nothing(work, rtae, monkeypatch):
    process, calls = Engine.process, []

    def interrupted(self, *given):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return process(self, *given)

    monkeypatch.setattr(Engine, "process", interrupted)
    before = contents(work)
    done = rtae("render", "good.wav", "kept.wav", "-m", "mine")
    assert done.code == 130
    assert "Traceback" not in done.err
    assert len(calls) == 2
    assert contents(work) == before


@pytest.mark.parametrize("missing", ["torch", "lightning", "pytorch_optimizer"])
def test_training_without_its_extra_says_how_to_install_it(work, rtae, monkeypatch, missing):
    import importlib.util as machinery

    find = machinery.find_spec
    monkeypatch.setattr(machinery, "find_spec", lambda name, *more: None if name == missing else find(name, *more))
    assert_one_line(rtae("train", "songs", *TRAIN), f"This needs {missing}. Install the extra 'train'")


# -- models with something wrong ---------------------------------------------------------------------------------------
def edit(**changes):
    def change(folder):
        spec = json.loads((folder / SPEC_FILE).read_text())
        (folder / SPEC_FILE).write_text(json.dumps(spec | changes))

    return change


def swap(folder):
    (folder / ENCODER_FILE).rename(folder / "x")
    (folder / DECODER_FILE).rename(folder / ENCODER_FILE)
    (folder / "x").rename(folder / DECODER_FILE)


def adopt(folder):
    """The decoder of another preset, with its checksum."""
    content = (folder.parent / "other" / DECODER_FILE).read_bytes()
    (folder / DECODER_FILE).write_bytes(content)
    sums = json.loads((folder / SPEC_FILE).read_text())["files"]
    edit(files=sums | {DECODER_FILE: hashlib.sha256(content).hexdigest()})(folder)


def cut(folder):
    (folder / DECODER_FILE).write_bytes((folder / DECODER_FILE).read_bytes()[:5000])


WRONG_MODELS = {
    "no encoder": (lambda folder: (folder / ENCODER_FILE).unlink(), "export or copy the whole model again"),
    "a cut decoder": (cut, "it was changed, cut short or swapped"),
    "swapped": (swap, "it was changed, cut short or swapped"),
    "another decoder": (adopt, "do not belong to its model.json"),
    "the future": (edit(format=2), "update the program"),
    "no json": (lambda folder: (folder / SPEC_FILE).write_text("{"), "is not valid JSON"),
    "no text": (lambda folder: (folder / SPEC_FILE).write_bytes(b"\xff\x00\xfe"), "cannot be read (not text)"),
    "a window of 48": (edit(window=48), "its reach must be whole numbers within the window"),
}


@pytest.mark.parametrize(("change", "message"), WRONG_MODELS.values(), ids=WRONG_MODELS)
def test_a_model_with_something_wrong_is_one_line(work, rtae, change, message):
    change(work / "models" / "mine")
    assert_one_line(rtae("render", "good.wav", "kept.wav", "-m", "mine"), message)
    assert (work / "kept.wav").read_text() == "an older file"


ODD_SPECS = {
    "preset": edit(preset={"a": 1}),
    "training": edit(training=[1, 2]),
    "extra frames": edit(extra_frames="2"),
}


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in ODD_SPECS.items()])
def test_one_odd_model_does_not_hide_the_others(work, rtae, change):
    change(work / "models" / "mine")
    done = rtae("models")
    assert done.code == 0
    assert "other" in done.out


BROKEN_MODELS = {
    "no json": (lambda folder: (folder / SPEC_FILE).write_text("{"), "is not valid JSON"),
    "no encoder": (lambda folder: (folder / ENCODER_FILE).unlink(), "encoder.onnx cannot be read (No such file"),
    "a folder as encoder": (
        lambda folder: ((folder / ENCODER_FILE).unlink(), (folder / ENCODER_FILE).mkdir()),
        "encoder.onnx is not a file",
    ),
    "a cut decoder": (cut, "decoder.onnx is not the file that model.json describes"),
    "swapped": (swap, "encoder.onnx is not the file that model.json describes"),
}


@pytest.mark.parametrize(("change", "message"), BROKEN_MODELS.values(), ids=BROKEN_MODELS)
def test_broken_models_are_listed_below_the_others(work, rtae, change, message):
    change(work / "models" / "mine")
    done = rtae("models")
    assert done.code == 0
    table, _, below = done.out.partition("Not usable: ")
    assert "other" in table
    assert "mine" not in table
    assert message in below


def test_models_are_listed(work, rtae):
    done = rtae("models")
    rows = [line for line in done.out.splitlines() if "mine" in line or "other" in line]
    assert len(rows) == 2
    assert all(word in rows[0] for word in ("mine", "small", "22050 Hz", "16 x", "459", "41 ms", "yours"))
    assert all(word in rows[1] for word in ("other", "tiny", "115", "yours"))


def test_a_model_with_brackets_in_its_name_is_listed(work, rtae):
    (work / "models" / "mine").rename(work / "models" / "[bold]")
    assert "[bold]" in rtae("models").out


# -- what goes right ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["a b.wav", "[bold]x.wav", "[red]ü [.wav", "日本 ünï.wav", "-dash.wav", "x.WAV"])
def test_names_of_all_kinds(work, rtae, name):
    shutil.copy(work / "good.wav", work / name)
    done = rtae("render", "-m", "mine", "--", name, f"out {name}")
    assert (done.code, done.err) == (0, "")
    assert f"Wrote out {name}: 0:00 at 44100 Hz, 2 channels, " in done.out
    assert read_audio(work / f"out {name}")[0].shape == (2, 6000)


@pytest.mark.parametrize("path", ["models/mine", "./models/mine/"])
def test_a_model_by_its_path(work, rtae, path):
    assert rtae("render", "good.wav", "out.flac", "-m", path).code == 0
    assert rtae("render", "good.wav", "named.flac", "-m", "mine").code == 0
    assert (work / "out.flac").read_bytes() == (work / "named.flac").read_bytes()


def test_notes_on_what_was_wrong_with_the_input(work, rtae):
    audio = noise(2)
    audio[10:20] = np.nan
    sf.write("holes.wav", audio, RATE, subtype="FLOAT")
    assert (
        "Note: 20 samples were not finite and were silenced" in rtae("render", "holes.wav", "o.wav", "-m", "mine").out
    )
    sf.write("silent.wav", 0 * noise(1), RATE)
    silent = rtae("render", "silent.wav", "o.wav", "-m", "mine", "--mix", "0").out
    assert "Note: silent.wav is silent" in silent
    assert "Note: the result is silent" in silent
    noisy = rtae("render", "silent.wav", "o.wav", "-m", "mine", "--noise-amount", "1").out
    assert "Note: silent.wav is silent" in noisy
    assert "the result" not in noisy
    sf.write("whole.flac", noise(2, 60_000), RATE)
    Path("cut.flac").write_bytes(Path("whole.flac").read_bytes()[:100_000])
    assert "Note: cut.flac is cut short or damaged" in rtae("render", "cut.flac", "o.wav", "-m", "mine").out
    Path("cut.wav").write_bytes(Path("good.wav").read_bytes()[:20_000])
    assert "Note: cut.wav is cut short or damaged" in rtae("render", "cut.wav", "o.wav", "-m", "mine").out
    assert "Note" not in rtae("render", "good.wav", "o.wav", "-m", "mine").out


@pytest.mark.parametrize("name", ["cut.wav", "cut.flac", "good.wav", "good.flac"])
def test_a_song_that_is_cut_short_is_told_when_it_is_played(work, rtae, monkeypatch, name):
    from rtae import live

    whole = Path(name.replace("cut", "good"))
    sf.write(whole, noise(2, 5 * RATE), RATE)
    if whole != Path(name):
        Path(name).write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with AudioReader(name) as reader:
        seconds = reader.read(10**9).shape[1] / RATE

    class Player(FakeClient):
        def play(self):
            pass

        def status(self):
            return Status(position=seconds, duration=5.0, ended=1.0)

    monkeypatch.setattr(live, "Client", Player)
    done = rtae("play", name, "-m", "mine")
    assert done.code == 0, done.err
    notes = [line for line in done.out.splitlines() if line.startswith("Note")]
    assert len(notes) == name.startswith("cut")
    assert all(f"{name} is " in note and "cut short" in note for note in notes)


def test_songs_that_are_cut_short_are_told_before_training(work, capsys):
    for name in "abcd":
        Path(f"songs/{name}.wav").write_bytes(Path("songs/0.wav").read_bytes()[:30_000])
    show_training.survey_folder(Path("songs"), RATE, 4096)
    assert "4 cut short or damaged, used as far as they go: a.wav, b.wav, c.wav and 1 more" in capsys.readouterr().out


def test_the_demo_is_a_source_unless_there_is_a_file_of_that_name(work):

    assert cli.find_source(Path("demo")) == DEMO_PATH
    shutil.copy("good.wav", "demo")
    assert cli.find_source(Path("demo")) == Path("demo")
    assert cli.find_source(Path("missing.wav")) == Path("missing.wav")


def test_from_songs_to_a_model_that_plays(work, rtae, monkeypatch):
    from rtae.nets import config

    def slim(net):
        stacks = [
            tuple(replace(layer, channels=3) if layer.channels else layer for layer in stack[:-1]) + stack[-1:]
            for stack in (net.encoder, net.decoder)
        ]
        return replace(net, encoder=stacks[0], decoder=stacks[1])

    monkeypatch.setattr(config, "PRESETS", {name: slim(net) for name, net in PRESETS.items()})
    done = rtae("train", "songs", "--out", "run", "--steps", "2", *QUICK)
    assert (done.code, done.err) == (0, "")
    assert "songs: 3 files, 0.1 minutes (3 at 22050 Hz); 0 skipped" in done.out
    assert "Trained 2 steps" in done.out
    assert "Next: rtae export run --name NAME" in done.out
    assert_one_line(rtae("train", "songs", *TRAIN), "continue it with --resume, or choose another --out")
    assert_one_line(
        rtae("train", "songs", "--out", "run", "--resume", "--steps", "2"), "The budget of this run is used up"
    )
    assert_one_line(
        rtae("train", "songs", "--out", "run", "--resume", "-m", "tiny", "--steps", "3"),
        "The run was started with model small, not tiny",
    )
    done = rtae("train", "songs", "--out", "run", "--resume", "--steps", "3")
    assert (done.code, done.err) == (0, "")
    assert "Trained 3 steps" in done.out
    done = rtae("train", "songs", "--out", "on", "--from", "run", "--steps", "1", *QUICK)
    assert (done.code, done.err) == (0, "")
    tuned = {"learning_rate": TUNING_RATE, "freeze_norm_at": 0.0}
    assert TrainConfig.load(work / "on") == replace(TrainConfig.load(work / "run"), steps=1, **tuned)
    assert_one_line(
        rtae("train", "songs", "--out", "other", "--from", "run", "-m", "tiny", "--steps", "1", *QUICK),
        "The model to start from is another network (small)",
    )
    done = rtae("export", "run", "--name", "new", "--licence", "CC0")
    assert (done.code, done.err) == (0, "")
    assert "FAILED" not in done.out
    assert "Play it: rtae play SONG --model new" in done.out
    assert "new" in rtae("models").out
    assert rtae("render", "good.wav", "out.wav", "-m", "new").code == 0
    done = rtae("evaluate", "new", "--on", "songs", "--json", "figures.json")
    assert (done.code, done.err) == (0, "")
    figures = json.loads(Path("figures.json").read_text())
    assert figures["mean"].keys() == {"input", "linear 48 to 16", "new"}
    assert figures["tracks"].keys() == {"0.wav", "1.wav", "2.wav"}
    assert f"{figures['mean']['new']['mr_stft']:.3f}" in done.out
    Path("run", CHECKPOINT_FILE).write_bytes(b"junk" * 99)
    assert_one_line(rtae("train", "songs", "--out", "run", "--resume", "--steps", "4"), "or is damaged")
    assert not [path for path in work.rglob("*") if ".part" in path.name or path.name.endswith(".old")]


def test_an_evaluation_fits_80_columns(work, rtae, monkeypatch):
    from rtae import show

    monkeypatch.setattr(show, "console", Console(highlight=False, width=80))
    done = rtae("evaluate", "other", "mine", "--on", "songs", "--tracks", "--picture", "p.png")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in done.out
    for heading in ("Mean over 3 tracks", "Energy of the output against the input", "x real time"):
        assert heading in done.out
    assert sum(line.split()[:1] == ["1.wav"] for line in lines) == 3  # the input, and two models
    assert Path("p.png").read_bytes()[:4] == b"\x89PNG"


def test_an_evaluation_that_is_interrupted_says_that_it_goes_on(work, rtae, monkeypatch):
    from rtae import evaluation_report

    def stop(folders, songs, progress, fresh):
        progress(1, 3, "1.wav")
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation_report, "evaluate", stop)
    done = rtae("evaluate", "other", "--on", "songs", "--json", "figures.json")
    assert done.code == 130
    assert "Stopped with 1 of 3 files measured; the same command goes on from there" in done.out
    assert not Path("figures.json").exists()


@pytest.mark.parametrize("target", ["nowhere/x.png", "x.jpg", "songs"])
def test_a_picture_that_cannot_be_drawn_is_refused_before_the_work(work, rtae, target):
    before = contents(work)
    assert_one_line(rtae("evaluate", "other", "--on", "songs", "--picture", target), "its name must end in .png")
    assert contents(work) == before


def test_an_evaluation_with_a_broken_file_names_it_and_fails(work, rtae):
    shutil.copy("text.wav", "songs")
    done = rtae("evaluate", "other", "--on", "songs", "--json", "figures.json")
    assert_one_line(done, "1 of 4 files were left out")
    assert "Not measured: text.wav: 'songs/text.wav' is not audio that can be read" in done.out
    assert json.loads(Path("figures.json").read_text())["skipped"].keys() == {"text.wav"}


@pytest.mark.parametrize(
    "target",
    [
        "nowhere/x.json",
        "file/x.json",
        "songs",
        "",
    ],
)
def test_figures_that_cannot_be_written(work, rtae, target):
    before = contents(work)
    done = rtae("evaluate", "other", "--on", "songs", "--json", target)
    assert_one_line(done, "choose another --json")
    assert contents(work) == before


def test_bench_prints_tables_and_writes_figures(work, rtae, monkeypatch):
    from rtae import bench

    monkeypatch.setattr(bench, "RUNS", 1)
    monkeypatch.setattr(bench, "FULL_RUNS", 1)
    edit(window=9600)(work / "models" / "other")  # full windows of five seconds take long
    done = rtae("bench", "other", "--json", "figures.json")
    assert (done.code, done.err) == (0, "")
    for heading in ("times real time", "engine / bare onnxruntime", "latency, samples", "look-ahead"):
        assert heading in done.out
    (figures,) = json.loads(Path("figures.json").read_text())
    assert figures["model"] == "other"
    assert f"{sum(figures['latency'].values())} = {figures['latency_ms']} ms" in done.out


def test_live_bench_prints_a_table_and_writes_figures(work, rtae, monkeypatch):
    def run(folders, block, seconds, stop, progress, notify):
        progress(1.0, streams)
        seen.append(([folder.name for folder in folders], block, seconds))
        return live_bench.LiveBench("card", 44_100, block, 100.0, 90.0, streams)

    from rtae import live_bench

    seen = []
    streams = (live_bench.Dropouts("pass-through", 7), live_bench.Dropouts("[b]mine", 2, 345, 6, 0.125, 1))
    monkeypatch.setattr(live_bench, "live_bench", run)
    done = rtae("bench", "--live", "--minutes=1.5", "--blocks=64,128", "mine", "--json", "figures.json")
    assert (done.code, done.err) == (0, "")
    assert seen == [(["mine"], 64, 90.0), (["mine"], 128, 90.0)]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.out.splitlines() if line.startswith("│")]
    assert rows[0] == ["64", "pass-through", "7", "-", "-", "-", "-", "1.5"]
    assert rows[3] == ["128", "[b]mine", "2", "345", "6", "12%", "1", "1.5"]
    figures = json.loads(Path("figures.json").read_text())
    assert [entry["block"] for entry in figures] == [64, 128]
    assert figures[0]["streams"][1]["late"] == 345
    rtae("bench", "--live")
    assert seen[2:] == [(["mine", "other"], 256, 600), (["mine", "other"], 512, 600)]


def test_a_live_bench_says_where_it_is_and_keeps_what_it_has(work, rtae, monkeypatch):
    def run(folders, block, seconds, stop, progress, notify):
        if block == 128:
            assert [entry["block"] for entry in json.loads(Path("figures.json").read_text())] == [64]
            raise DeviceError("the device is gone")
        for second in range(1, 181, 2):
            progress(second, streams)
        return live_bench.LiveBench("card", 44_100, block, 100.0, 180.0, streams)

    from rtae import live_bench

    streams = (live_bench.Dropouts("pass-through", 7), live_bench.Dropouts("mine", 2, 345, 6, 0.125, 1))
    monkeypatch.setattr(live_bench, "live_bench", run)
    done = rtae("bench", "--live", "--minutes=3", "--blocks=64,128", "mine", "--json", "figures.json")
    assert done.code == 1
    assert [line.split(" minutes")[0] for line in done.out.splitlines() if "dropouts so far" in line] == [
        "1 of 6",
        "2 of 6",
    ]
    assert "1 of 6 minutes: blocks of 64; dropouts so far: pass-through 7, mine 2" in done.out
    assert len(json.loads(Path("figures.json").read_text())) == 1  # ten minutes are not to be lost


def test_what_a_live_bench_has_when_it_is_stopped(work, rtae, monkeypatch):
    def run(folders, block, seconds, stop, progress, notify):
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        return live_bench.LiveBench("card", 44_100, block, 100.0, 3.0, ())

    from rtae import live_bench

    monkeypatch.setattr(live_bench, "live_bench", run)
    done = rtae("bench", "--live", "mine", "--json", "figures.json")
    assert done.code == 0
    assert [entry["block"] for entry in json.loads(Path("figures.json").read_text())] == [256]


def test_a_soak_is_summed_up(work, rtae, monkeypatch):
    from rtae import live_bench

    seen = []
    stream = live_bench.Dropouts("mine", 2, 345, 6, 0.1, 1)

    def run(folder, seconds, stop, progress, notify):
        seen.append((folder.name, seconds))
        return live_bench.summed_up(stream, seconds, [(0.0, 100.0), (61.0, 110.0), (120.0, 110.5)])

    monkeypatch.setattr(live_bench, "soak", run)
    done = rtae("bench", "--soak=2", "mine", "--json", "figures.json")
    assert done.code == 0, done.err
    assert seen == [("mine", 120)]
    assert "100.0 MiB at the start, 110.0 MiB after one minute, 110.5 MiB after 2:00" in done.out
    assert "growth after the first minute: 0.5 MiB" in done.out
    assert "Device dropouts: 2; late samples: 345; restarts: 1" in done.out
    assert json.loads(Path("figures.json").read_text())["growth_mb"] == 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--blocks=256",), "with --live"),
        (("--minutes=1",), "with --live"),
        (("--live", "--blocks=256,many"), "numbers from 16 to 8192"),
        (("--live", "--blocks=8"), "numbers from 16 to 8192"),
        (("--live", "--soak=1"), "not with --live"),
        (("--soak=1", "mine", "other"), "one model"),
    ],
)
def test_bench_options_that_do_not_go_together(work, rtae, options, words):
    done = rtae("bench", *options)
    assert done.code == 2
    assert words in " ".join(done.err.split())


def test_a_pipe_that_closes_is_no_error(work):
    program = [sys.executable, "-m", "rtae", "models"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        error = running.stderr.read().decode()
        running.wait(60)
    assert "Traceback" not in error


def test_a_name_that_the_output_cannot_show(work, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    shutil.copy("good.wav", "日本.wav")
    program = [sys.executable, "-m", "rtae", "render", "good.wav", "日本 out.wav", "-m", "mine"]
    done = subprocess.run(program, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


# -- small parts -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599.6, "1:00:00"), (3725, "1:02:05"), (float("inf"), "--:--")],
)
def test_clock(seconds, text):
    assert show.clock(seconds) == text


def test_brackets_are_no_markup(capsys, monkeypatch):
    monkeypatch.setattr(show, "console", Console(highlight=False, width=40))
    line = "[bold]x[/bold] [/nothing] " + "long " * 20
    show.say(line)
    assert capsys.readouterr().out == line + "\n"


def test_the_runner_of_typer_agrees(work):
    done = CliRunner().invoke(cli.build(), ["render", "good.wav", "out.wav", "-m", "mine"])
    assert done.exit_code == 0
    assert "Wrote out.wav" in done.output


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        ((), "rtae render demo out.wav --model small"),
        (("good.wav",), "rtae render good.wav out.wav --model small"),
        (("tone",), "rtae render demo out.wav --model small"),
        (("dream", "--model", "vae"), "rtae sample out.wav --model vae"),
    ],
)
def test_without_a_card_it_says_what_to_do_instead(work, rtae, monkeypatch, words, instead):
    def refuse(*_):
        raise DeviceError(NO_CARD)

    monkeypatch.setattr(live, "play_songs", refuse)
    monkeypatch.setattr(catalogue, "shipped_folder", shipped_folder)
    done = rtae("play", *words)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert done.err.endswith(f"write what you would hear to a file: {instead}\n")
