import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # before Qt is imported: no test needs a screen
# Before numba is imported: two processes that fill its cache at one time may read what is none, and crash.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).parents[1] / ".pytest_cache" / f"numba-{worker}")

import numpy as np
import pytest
import torch
from torch import nn

from rtae import cli
from rtae.audio.output import AudioWriter
from rtae.engine import Engine
from rtae.export.graph import decoder_graph, encoder_graph
from rtae.nets.autoencoder import Autoencoder
from rtae.nets.config import PRESETS, NetConfig
from rtae.nets.reach import computed_reach
from rtae.params import Snapshot
from rtae.runtime import OnnxModel
from rtae.spec import DECODER_FILE, ENCODER_FILE, SPEC_FILE, ModelSpec

SERVER_RATE = 44_100
PULSEAUDIO, PACTL = shutil.which("pulseaudio"), shutil.which("pactl")

torch.set_num_threads(1)  # two threads on networks this small wait for each other, for ever so long on a busy machine

# A shell that starts the tests in the background has their Ctrl-C ignored, and several tests press it.
# Tests that are ended from outside end what they started, such as a sound server.
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.default_int_handler)

# A change of parameters at a sample of the stream, whatever the blocks are.
Timeline = Sequence[tuple[int, Snapshot]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n 2`: a file's tests stay together, and those that play on a sound server never run two at a time."""
    on_server = {item.path for item in items if "sound_server" in getattr(item, "fixturenames", ())}
    for item in items:
        item.add_marker(pytest.mark.xdist_group("sound" if item.path in on_server else str(item.path)))


@pytest.fixture
def rng(request) -> np.random.Generator:
    """The same numbers in every run, others in every test."""
    return np.random.default_rng(list(request.node.name.encode()))


@cache
def build_net(config: NetConfig) -> Autoencoder:
    """A network as untrained weights make it, but with batch norms that do something."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        net = Autoencoder(config).eval()
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm1d):
                norm.running_mean.normal_()
                norm.running_var.uniform_(0.5, 2)
                nn.init.uniform_(norm.weight, 0.5, 1.5)
                nn.init.normal_(norm.bias, std=0.1)
    return net


@cache
def build_files(config: NetConfig) -> SimpleNamespace:
    """What an export writes: the spec, without checksums, and the two graphs."""
    net = build_net(config)
    std = np.linspace(0.5, 2, config.latent_dim)
    spec = ModelSpec(
        name=f"random-{config.preset}",
        preset=config.preset,
        sample_rate=config.sample_rate,
        stride=config.stride,
        latent_dim=config.latent_dim,
        extra_frames=config.extra_frames,
        reach=computed_reach(config),
        latent_mean=(0.0,) * config.latent_dim,
        latent_std=tuple(std.tolist()),
        files={ENCODER_FILE: "", DECODER_FILE: ""},
        licence="none",
    )
    return SimpleNamespace(
        net=net, std=std, spec=spec, encoder=encoder_graph(net, std), decoder=decoder_graph(net, std)
    )


@cache
def build_model(config: NetConfig) -> OnnxModel:
    files = build_files(config)
    return OnnxModel(files.spec, files.encoder, files.decoder)


def write_model(folder: Path, files: SimpleNamespace) -> Path:
    """A model's folder, with the checksums of what is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {ENCODER_FILE: files.encoder, DECODER_FILE: files.decoder}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    (folder / SPEC_FILE).write_text(replace(files.spec, files=sums).to_json(), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def store_model() -> Callable[[Path, SimpleNamespace], Path]:
    return write_model


@pytest.fixture(scope="session")
def net_of() -> Callable[[NetConfig], Autoencoder]:
    return build_net


@pytest.fixture(scope="session")
def files_of() -> Callable[[NetConfig], SimpleNamespace]:
    return build_files


@pytest.fixture(scope="session")
def model_of() -> Callable[[NetConfig], OnnxModel]:
    return build_model


@pytest.fixture(params=PRESETS)
def config(request) -> NetConfig:
    return PRESETS[request.param]


@pytest.fixture
def model(config) -> OnnxModel:
    return build_model(config)


@pytest.fixture
def files(config) -> SimpleNamespace:
    return build_files(config)


def play(engine: Engine, audio: np.ndarray, blocks: int | Iterable[int], values: Snapshot | Timeline) -> np.ndarray:
    """Audio through an engine in blocks of these lengths, which repeat.

    values: one snapshot, or a timeline of (sample, snapshot) from sample 0 on; blocks are cut where it changes.
    """
    timeline = [(0, values)] if isinstance(values, Snapshot) else list(values)
    ends = [start for start, _ in timeline[1:]] + [audio.shape[1]]
    lengths = cycle([blocks] if isinstance(blocks, int) else blocks)
    position, parts = 0, []
    for (_, snapshot), end in zip(timeline, ends, strict=True):
        while position < end:
            block = audio[:, position : min(end, position + next(lengths))]
            parts.append(engine.process(block, snapshot))
            assert parts[-1].shape == block.shape
            assert parts[-1].dtype == np.float32
            position += block.shape[1]
    return np.concatenate(parts, axis=1)


@pytest.fixture(scope="session")
def run_blocks():
    return play


@pytest.fixture
def rtae(monkeypatch, capsys):
    """The command line in this process: its exit code and what it prints."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["rtae", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return SimpleNamespace(code=code or 0, out=printed.out, err=printed.err)

    return call


class SoundServer:
    """PulseAudio with a null sink, whose monitor records what is played. rate: its own, in Hz."""

    OPTIONS = (
        "--daemonize=no --exit-idle-time=-1 --use-pid-file=no --high-priority=no --realtime=no "
        "--log-target=stderr --log-level=debug"
    )

    def __init__(self, folder: Path, rate: int = SERVER_RATE) -> None:
        self.folder = folder
        self.sink = f"module-null-sink sink_name=test format=float32le rate={rate} channels=2 norewinds=1"
        self.script = folder / "test.pa"
        self.script.write_text(
            f"load-module module-native-protocol-unix socket={folder}/native auth-anonymous=1\n"
            f"load-module {self.sink}\nset-default-sink test\nset-default-source test.monitor\n"
        )
        self.paths = {
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_STATE_PATH": str(folder),
            "PULSE_COOKIE": f"{folder}/cookie",
            "PULSE_SERVER": f"unix:{folder}/native",
            "JACK_NO_START_SERVER": "1",
        }
        self.environment = {**os.environ, **self.paths}
        self.process: subprocess.Popen | None = None

    def start(self) -> bool:
        """Whether it runs."""
        (self.folder / "native").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [PULSEAUDIO, "-n", "-F", str(self.script), *self.OPTIONS.split()],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        for _ in range(100):
            if self.control("info").returncode == 0:
                return True
            time.sleep(0.1)
        return False

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def underruns(self) -> int:
        """How often it says that a stream ran dry."""
        return (self.folder / "log").read_text(errors="replace").count("underrun")

    def control(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [PACTL, *words], env=self.environment, capture_output=True, text=True, timeout=10, check=False
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def sound_server(request, tmp_path):
    """A sound server of this test's own; a parameter is its rate."""
    if not (PULSEAUDIO and PACTL):
        pytest.skip("no pulseaudio and pactl to play on")
    # A socket's path has room for about 100 bytes; a test's folder may have more.
    if len(str(tmp_path)) >= 80:
        pytest.skip(f"{tmp_path} is too long for a socket")
    running = SoundServer(tmp_path, getattr(request, "param", SERVER_RATE))
    try:
        if not running.start():
            pytest.skip(f"pulseaudio does not run here: {(tmp_path / 'log').read_text()[-300:]}")
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="session")
def stage_folder(tmp_path_factory, files_of, store_model):
    """Two models of chance, a tone of 441 Hz, and a file that is none."""
    place = tmp_path_factory.mktemp("window")
    store_model(place / "models" / "one", files_of(PRESETS["small"]))
    store_model(place / "models" / "two", files_of(PRESETS["tiny"]))
    time_ = np.arange(20 * SERVER_RATE) / SERVER_RATE
    with AudioWriter(place / "song.wav", SERVER_RATE, 2) as out:
        out.write((0.25 * np.sin(2 * np.pi * 441 * time_) * np.ones((2, 1))).astype(np.float32))
    (place / "broken.flac").write_bytes(b"fLaC" + bytes(100))
    return place


@pytest.fixture
def make_stage(request, qapp, tmp_path, stage_folder):
    """Opens windows, see `stage.stages`, that end with the test."""
    from stage import stages

    with stages(request, stage_folder, tmp_path) as build:
        yield build


@pytest.fixture
def stage(make_stage):
    """A window that plays by the silent clock."""
    return make_stage()


@pytest.fixture
def stage_on_server(sound_server, monkeypatch, make_stage):
    """A window that plays on a sound server."""
    for name, value in sound_server.paths.items():
        monkeypatch.setenv(name, value)
    return make_stage(None)


def count_breaks(places: Iterable[set[int]]) -> int:
    """At how many moments something was lost: pieces that were not found, one after another, or found elsewhere.

    places: of each piece of a sound, by how many samples it may be late in a recording; empty if it is not in there.
    """
    breaks, known, lost = 0, None, False
    for piece in places:
        moved = known is not None and not known & piece
        breaks += (not piece or moved) and not lost
        lost = not piece
        known = None if lost else piece if known is None or moved else known & piece
    return breaks


@pytest.fixture(scope="session")
def breaks_of():
    return count_breaks


@pytest.fixture
def server(sound_server):
    """The same: its process id, and the environment to reach it."""
    return sound_server.pid, sound_server.environment
