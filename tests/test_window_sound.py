"""What is heard while somebody works in the real window: nothing is lost, nothing clicks, and it can be had again."""

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import time
from itertools import pairwise

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog
from stage import SERVER_RATE, Ear

from rtae.audio.file import read_audio
from rtae.models.catalogue import available, shipped_folder
from rtae.performance import load

STALL_SECONDS = 5.0
STALLS = 3  # of the window, until nothing else disturbs the sound as well
TONE_HZ, TONE_PEAK = 441, 0.25
SINE_ATOL = 1e-4  # full scale; measured 1e-7: the song is a file of 24 bits
PCM_ATOL = 2.0**-22  # full scale: two steps of the 24 bits in which both files are written; measured 1.2e-7
GAP_SECONDS = 0.05  # when models are changed; measured 0.0052
ALONE_SECONDS = 0.5  # of each model between two changes
STEP_ATOL = 1e-4  # full scale; measured 0; by so much a change may exceed the largest step of both models alone

pytestmark = pytest.mark.qt_log_level_fail("CRITICAL")


# -- the window stands still -------------------------------------------------------------------------------------------
def broken_sine(sound: np.ndarray) -> np.ndarray:
    """Where a recording is not the song's sine: for each sample by how much it is off what the two before it tell."""
    turn = 2 * np.cos(2 * np.pi * TONE_HZ / SERVER_RATE)
    return np.abs(sound[2:] + sound[:-2] - turn * sound[1:-1])


def test_the_sound_goes_on_while_the_window_stands_still(stage_on_server, sound_server, tmp_path):
    """Recorded at the sound server: the song's sine, all of it, without a hole or a step."""
    stage = stage_on_server
    stage.play()
    for _ in range(STALLS):
        stage.controller.seek(0.0)
        stage.wait(lambda: 0.5 < stage.status.position < 5)
        ear = Ear(sound_server, tmp_path / "raw")
        before, begun, recorded = stage.status, time.monotonic(), ear.seconds
        time.sleep(STALL_SECONDS)
        after, passed = stage.status, time.monotonic() - begun
        stage.wait(lambda ear=ear, end=recorded + STALL_SECONDS: ear.seconds > end)
        sound = ear.stop()[round(recorded * SERVER_RATE) :][: round(STALL_SECONDS * SERVER_RATE)]
        lost = (after.late - before.late, after.flags - before.flags, broken_sine(sound).max() > SINE_ATOL)
        if not any(lost):
            break  # nothing else took the machine away from the sound
    assert lost == (0, 0, False)
    assert after.position - before.position == pytest.approx(passed, abs=0.3)
    assert len(sound) == STALL_SECONDS * SERVER_RATE
    assert np.abs(sound).max() == pytest.approx(TONE_PEAK, rel=1e-3)


# -- a performance -----------------------------------------------------------------------------------------------------
def test_a_performance_is_rendered_as_it_was_recorded(stage, tmp_path, monkeypatch):
    """Knobs, a preset, the map and undo, while the window performs and records: every sample is in the render."""
    control, transport = stage.controller, stage.window.transport
    control.set("noise_amount", 0.5)  # of a sine alone, many parts are the same
    stage.play(dry=False)
    stage.click(transport.perform)
    stage.wait(lambda: control.performing)
    stage.goes_on(0.2)
    with stage.recording() as recorded:
        for act in (
            lambda: stage.turn("latent_scale", "2"),
            lambda: stage.turn("echo", "0.7"),
            lambda: stage.turn("freeze", "1"),
            lambda: stage.turn("freeze", "0"),
            lambda: stage.window.knobs.choose("Rain"),
            lambda: stage.click(stage.window.knobs.undo),
            lambda: stage.window.map.map.place_chosen.emit(1.0, -1.0),
        ):
            stage.goes_on(0.12)
            act()
        stage.goes_on(0.2)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "played"), ""))
    stage.click(transport.perform)
    stage.hears("A performance of", "played.json")
    assert len(load(tmp_path / "played.json").events) == 8
    stage.window.renders.performance(tmp_path / "played.json", tmp_path / "played.wav")
    stage.hears("Rendered")
    heard, rendered = recorded[0], read_audio(tmp_path / "played.wav")[0]
    windows = np.lib.stride_tricks.sliding_window_view(rendered[0], 64)
    offset = int(np.abs(windows - heard[0, :64]).max(axis=1).argmin())
    assert heard.shape[1] > SERVER_RATE
    assert np.abs(heard - rendered[:, offset : offset + heard.shape[1]]).max() <= PCM_ATOL
    assert np.abs(np.diff(heard)).max() > 0.01  # it is no silence


def test_a_performance_ends_where_the_song_is_left_and_can_still_be_saved(stage, tmp_path, monkeypatch):
    control, perform = stage.controller, stage.window.transport.perform
    stage.play()
    stage.click(perform)
    stage.wait(lambda: control.performing)
    stage.goes_on(0.3)
    control.seek(10.0)  # the rest is not what was played before
    stage.hears("The performance ended here")
    control.open(str(tmp_path / "nothing.wav"))
    place = iter([str(tmp_path / "no folder" / "played.json"), str(tmp_path / "played")])
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (next(place), ""))
    stage.click(perform)
    stage.hears("no folder")
    assert control.performing  # nothing is lost
    stage.click(perform)
    stage.hears("A performance of")
    assert load(tmp_path / "played.json").length > 0.3 * SERVER_RATE


# -- another model -----------------------------------------------------------------------------------------------------
def models_alone(stage, ear) -> list[tuple[int, int]]:
    """Press ] until the first model plays again. The samples of the recording between which each one plays alone."""
    control, alone = stage.controller, []

    def after_a_while() -> int:
        until = ear.seconds + ALONE_SECONDS
        stage.wait(lambda: ear.seconds > until)
        return round(ear.seconds * SERVER_RATE)

    first = control.setup.model
    while len(alone) < 2 or control.setup.model != first:
        if alone:
            before = control.setup.model
            stage.key(Qt.Key.Key_BracketRight)
            stage.wait(lambda before=before: control.setup.model != before)
        alone.append((after_a_while(), after_a_while()))
    return alone


def gap(sound: np.ndarray) -> float:
    """The longest time without a fifth of the song's level, in seconds."""
    return float(np.diff(np.flatnonzero(np.abs(sound) > TONE_PEAK / 5)).max()) / SERVER_RATE


def test_models_change_without_a_gap_or_a_click(make_stage, sound_server, tmp_path, monkeypatch):
    """Wet, at the sound server: the shipped models, one after another, by the key."""
    for name, value in {**sound_server.paths, "RTAE_MODELS": str(tmp_path / "none")}.items():
        monkeypatch.setenv(name, value)
    stage = make_stage(None, model=str(shipped_folder() / "tiny"))
    stage.play(dry=False)
    for _ in range(STALLS):
        stage.controller.seek(0.0)
        ear, before = Ear(sound_server, tmp_path / "raw"), stage.status
        alone = models_alone(stage, ear)
        after, sound = stage.status, ear.stop()
        steps, lost = np.abs(np.diff(sound)), (after.late - before.late, after.flags - before.flags)
        gaps = [gap(sound[end:start]) for (_, end), (start, _) in pairwise(alone)]
        most = [steps[start:end].max() for start, end in alone]
        clicks = [
            steps[end:start].max() - max(most[place : place + 2])
            for place, ((_, end), (start, _)) in enumerate(pairwise(alone))
        ]
        if lost == (0, 0) and max(gaps) <= GAP_SECONDS and max(clicks) <= STEP_ATOL:
            break  # nothing else disturbed the sound
    assert len(alone) == len(available()) + 1
    assert lost == (0, 0)
    assert max(gaps) <= GAP_SECONDS
    assert max(clicks) <= STEP_ATOL
