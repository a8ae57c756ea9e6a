"""Every parameter: turned by its control in the real window while a song plays, and found in what the window records.

One window plays it all. Before the turn a recording is the song's rendering without it, sample for sample; from one
hop behind the first sample that differs on it is the rendering with it.
"""

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
import soxr
from PySide6.QtCore import QPoint, Qt
from stage import stages

from rtae.audio.file import read_audio
from rtae.audio.output import AudioWriter
from rtae.demo import DEMO_PATH
from rtae.engine import DEFAULT_CROSSFADE, Engine
from rtae.models.catalogue import shipped_folder
from rtae.params import PARAMETERS, TABLE, Snapshot
from rtae.prior import Dream, load_network
from rtae.render import rendered_blocks
from rtae.runtime import OnnxModel
from rtae.session import GATE_SECONDS
from rtae.setup import DREAM

RATE = 22_050  # the model's own
HOP = 960
MODEL = shipped_folder() / "vae"  # it has principal components for macros and the map, and a prior for dreams
PCM_STEP = 2.0**-23  # full scale; the recording has 24 bits
SAME_ATOL = 2 * PCM_STEP  # full scale; measured 6e-8
LOOP_ATOL = 1e-5  # full scale; measured 0: rounding is not the same at every place of a window
TOLD_APART = 1e-3  # full scale, 500 times that: by so much a turned knob changes the sound somewhere
BEFORE_SECONDS, AFTER_SECONDS = 0.15, 0.4  # of a recording
SONG_SECONDS = 6.0  # far more than is recorded
FADE = round(2 * GATE_SECONDS * RATE)  # a recording begins behind the gate, and ends in a fade: left out

pytestmark = pytest.mark.qt_log_level_fail("CRITICAL")


@dataclass(frozen=True)
class Case:
    """A telling turn. typed: what is typed into the knob. others: knobs that it needs; second: it needs song B."""

    typed: str
    others: dict = field(default_factory=dict)
    second: bool = False


NOISE = {"noise_amount": 1.0}
SLOW = {"gain_noise": 2.0}
CASES = {
    "input_gain": Case("-20"),
    "output_gain": Case("-20"),
    "mix": Case("0"),
    "bypass": Case("1"),
    "ceiling": Case("-24", {"output_gain": 12.0}),
    "latent_scale": Case("2"),
    "interpolation": Case("1", second=True),
    "noise_amount": Case("1"),
    "noise_share": Case("0.5", NOISE),
    "noise_speed": Case("2", SLOW),
    "noise_seed": Case("7", NOISE),
    "random_mix": Case("1"),
    "gain_noise": Case("2"),
    "drop": Case("1"),
    "permute": Case("1"),
    "quantise": Case("2"),
    "blur": Case("0.2"),
    "echo": Case("0.8"),
    "echo_time": Case("0.05", {"echo": 0.8}),
    "map_x": Case("2", {"map_pull": 1.0}),
    "map_y": Case("2", {"map_pull": 1.0}),
    "map_pull": Case("1", {"map_x": 1.5, "map_y": -1.5}),
    **{f"macro_{number}": Case("4") for number in range(1, 9)},
    "difference": Case("1"),
    "match": Case("1", {"input_gain": -12.0}),
}
FROZEN, DREAMT = ("freeze", "freeze_length"), ("dream_temperature", "dream_seed")  # see their own tests


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Two parts of the demo track, at the model's own rate."""
    place = tmp_path_factory.mktemp("songs")
    sound, rate = read_audio(DEMO_PATH)
    for name, start in (("song.wav", 8.0), ("other.wav", 20.0)):
        part = 0.5 * sound[:, round(start * rate) : round((start + SONG_SECONDS) * rate)]
        with AudioWriter(place / name, RATE, len(part)) as out:
            out.write(np.ascontiguousarray(soxr.resample(part.T, rate, RATE).T))
    (place / "models").mkdir()
    return place


@pytest.fixture(scope="module")
def player(request, qapp, songs, tmp_path_factory):
    """The window, its song held at the start."""
    with stages(request, songs, tmp_path_factory.mktemp("home")) as build:
        yield build(model=str(MODEL), hop=HOP)


@pytest.fixture(scope="module")
def rendering(songs):
    """What the song is with these values, (channels, samples), as far as a recording goes and up to a second more."""
    engine = Engine(OnnxModel.load(MODEL), hop=HOP)

    @cache
    def render(values: Snapshot, halves: int, second: bool, dream: bool) -> np.ndarray:
        sound, other = (read_audio(songs / name)[0] for name in ("song.wav", "other.wav"))
        dreamer = Dream(load_network(MODEL, engine.model.spec)) if dream else None
        engine.prepare(RATE, len(sound), second=second, dream=dreamer)
        played = np.concatenate([sound, other]) if second else 0 * sound if dream else sound
        blocks = iter([played[:, : halves * RATE // 2]])
        return np.concatenate(list(rendered_blocks(blocks, engine, values)), axis=1)

    def like(recorded: np.ndarray, values: Snapshot, second: bool = False, dream: bool = False) -> np.ndarray:
        halves = 2 + 2 * recorded.shape[1] // RATE
        return render(values, halves, second, dream)[:, FADE : FADE + recorded.shape[1]]

    return like


def opened(player, source: str, second: str = "") -> None:
    """Play these next."""
    control = player.controller
    if control.setup.source != source:
        control.open(source)
    if control.setup.second != second:
        control.open_second(second)
    player.wait(lambda: (control.setup.source, control.setup.second) == (source, second))


def turned(player, id: str, typed: str, values: Snapshot) -> np.ndarray:
    """What plays from its start, a knob turned while it does, as the window records it."""
    control = player.controller
    control.knobs.load(values)
    player.click(player.window.transport.stop)
    player.wait(lambda: player.status.position == 0 and not control.setup.playing)
    with player.recording() as sound:
        player.click(player.window.transport.play)
        player.wait(lambda: player.status.recorded_seconds >= BEFORE_SECONDS)
        turn(player, id, typed)
        until = player.status.recorded_seconds + AFTER_SECONDS
        player.wait(lambda: player.status.recorded_seconds >= until)
        player.click(player.window.transport.play)
        player.wait(lambda: not player.status.playing)
    return sound[0][:, FADE:-FADE]


def turn(player, id: str, typed: str) -> None:
    """By the control that the window has for it."""
    if id in player.knobs:
        player.turn(id, typed)
        return
    panel = player.window.map
    player.window.docks["Map"].raise_()
    player.wait(panel.map.isVisible)
    if id == "map_pull":
        panel.pull.setValue(round(float(typed) * panel.pull.maximum()))
        return
    x, y = (float(typed) if id == name else 0.0 for name in ("map_x", "map_y"))
    area = panel.map.area()
    scale = area.width() / 8
    place = QPoint(round(area.center().x() + x * scale), round(area.center().y() - y * scale))
    player.qtbot.mouseClick(panel.map, Qt.MouseButton.LeftButton, pos=place)


def first_difference(sound: np.ndarray, other: np.ndarray) -> int:
    """The sample from which on they are not the same; their length if there is none."""
    apart = np.flatnonzero(np.abs(sound - other).max(axis=0) > SAME_ATOL)
    return int(apart[0]) if len(apart) else sound.shape[1]


def test_every_parameter_has_a_test():
    assert {*CASES, *FROZEN, *DREAMT} == set(TABLE)


@pytest.mark.parametrize("id", [parameter.id for parameter in PARAMETERS if parameter.id in CASES])
def test_a_turned_knob_is_recorded(player, songs, rendering, id):
    case = CASES[id]
    opened(player, str(songs / "song.wav"), str(songs / "other.wav") if case.second else "")
    values = Snapshot().replace(**case.others)
    sound = turned(player, id, case.typed, values)
    now = player.controller.knobs.values
    assert now != values
    plain, bent = (rendering(sound, each, case.second) for each in (values, now))
    changed = first_difference(sound, plain)
    assert BEFORE_SECONDS * RATE - FADE <= changed < sound.shape[1]
    settled = changed + HOP + DEFAULT_CROSSFADE + player.controller.spec.reach.receptive_field
    assert settled < sound.shape[1] - HOP
    assert np.abs(sound - bent)[:, settled:].max() <= SAME_ATOL
    assert np.abs(bent - plain)[:, settled:].max() > TOLD_APART


def period_of(sound: np.ndarray, longest: int) -> int:
    """The number of samples after which a sound repeats to the rounding, 0 for none."""
    size = sound.shape[1] - longest
    for period in range(1, longest):
        if np.abs(sound[:, period : period + size] - sound[:, :size]).max() <= LOOP_ATOL:
            return period
    return 0


@pytest.mark.parametrize(("id", "others"), [("freeze", {"freeze_length": 0.1}), ("freeze_length", {"freeze": 1.0})])
def test_what_is_frozen_repeats_by_its_length(player, songs, rendering, id, others):
    opened(player, str(songs / "song.wav"))
    values = Snapshot().replace(**others)
    sound = turned(player, id, "1" if id == "freeze" else "0.1", values)
    assert first_difference(sound, rendering(sound, values)) >= BEFORE_SECONDS * RATE - FADE
    spec = player.controller.spec
    period = round(0.1 * spec.frame_rate) * spec.stride
    held = sound[:, -2 * period - HOP :]
    assert period_of(held, period + 1) == period
    assert np.abs(np.diff(held)).max() > TOLD_APART  # it is no silence


@pytest.mark.parametrize(("id", "typed"), [("dream_temperature", "0"), ("dream_seed", "7")])
def test_a_dream_becomes_another_one(player, rendering, id, typed):
    """How a dream goes on depends on how it went, so that only its beginning is known before."""
    opened(player, DREAM)
    player.controller.seek(0.0)  # it has heard nothing now
    sound = turned(player, id, typed, Snapshot())
    plain = rendering(sound, Snapshot(), dream=True)
    changed = first_difference(sound, plain)
    assert BEFORE_SECONDS * RATE - FADE <= changed < sound.shape[1] - RATE // 10
    assert np.abs(sound - plain)[:, changed:].max() > TOLD_APART
    assert np.abs(sound[:, changed:]).max() > TOLD_APART
