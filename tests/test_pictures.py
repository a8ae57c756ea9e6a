import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile as sf
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QImage

from rtae.audio.file import CHUNK, AudioReader
from rtae.errors import AudioFileError
from rtae.gui.pictures.envelope import (
    FLOOR_DB,
    LatentColumns,
    SpectrumColumns,
    envelope,
    inked,
    joined,
    newest,
    overview,
    row_frequencies,
)
from rtae.gui.pictures.heatmap import LatentHeatmap
from rtae.gui.pictures.latent_map import LatentMap
from rtae.gui.pictures.meter import FALL_DB, HOLD_SECONDS, Meter
from rtae.gui.pictures.overview import Overview
from rtae.gui.pictures.picture import Picture, ramp
from rtae.gui.pictures.scope import Scope
from rtae.gui.pictures.spectrogram import COLUMNS, ROWS, Spectrograms, SpectrogramView
from rtae.gui.theme import ALERT, BACKGROUND, DRY, TEXT, WARM, WET

pytestmark = [
    pytest.mark.qt_log_level_fail("WARNING"),
    pytest.mark.qt_log_ignore("propagateSizeHints"),  # the offscreen platform, about any window
]
RATE = 22_050
LEVEL_DB = 1.5  # a sine between two frequencies of a Hann window's transform: 1.42 dB less
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton


def sine(hz: float, seconds: float, rate: int = RATE) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate).astype(np.float32)


def noise(rng, *shape: int) -> np.ndarray:
    return rng.uniform(-1, 1, shape).astype(np.float32)


def drawn(widget) -> QImage:
    """What a widget shows, one pixel per unit of its coordinates, whatever the screen's scale."""
    return widget.grab().toImage().scaled(widget.size())


def number(color: str) -> int:
    return QColor(color).rgba()


# Envelopes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 37, 999, 1000, 3001])
def test_envelope_holds_every_sample(rng, columns):
    samples = noise(rng, 1000)
    low, high = envelope(samples, columns)
    column = np.minimum(((np.arange(1000) + 1) * columns - 1) // 1000, columns - 1)
    assert low.shape == high.shape == (columns,)
    assert np.all(low[column] <= samples)
    assert np.all(samples <= high[column])
    assert set(low) | set(high) <= set(samples)


def test_newest_columns_stay_the_same_while_they_move(rng):
    samples, per_column, columns = noise(rng, 20_000), 27.3, 100
    first = newest(samples[5000:9000], columns, per_column, 9000)
    second = newest(samples[5100:9100], columns, per_column, 9100)
    moved = int(9100 / per_column) - int(9000 / per_column)
    assert moved == 4
    np.testing.assert_array_equal(first[:, moved:], second[:, :-moved])


def test_newest_ends_with_the_last_whole_column():
    samples = np.arange(10, dtype=np.float32)
    np.testing.assert_array_equal(newest(samples, 3, 4.0, 10), [[0, 4], [3, 7]])  # samples 8 and 9 are half a column
    np.testing.assert_array_equal(newest(samples, 2, 5.0, 10), [[0, 5], [4, 9]])
    np.testing.assert_array_equal(newest(samples, 1, 5.0, 10), [[5], [9]])


def test_newest_with_more_columns_than_samples():
    assert newest(np.arange(4, dtype=np.float32), 8, 0.5, 4)[0].tolist() == [0, 1, 1, 2, 2, 3, 3, 3]


def test_joined_leaves_no_holes():
    square = np.repeat(np.array([[-1.0, 1.0, -1.0, 1.0]], np.float32), 2, axis=0)
    low, high = joined(square)
    assert np.all(low[1:] <= high[:-1])
    assert np.all(high[1:] >= low[:-1])


def test_ink_of_silence_is_a_line_and_of_full_scale_the_height():
    silence, full = np.zeros((2, 3), np.float32), np.array([[-2.0] * 3, [1.0] * 3], np.float32)
    assert inked(silence, 21).sum(axis=0).tolist() == [1, 1, 1]
    assert inked(silence, 21)[10].all()
    assert inked(full, 21).all()
    half = inked(np.array([[0.0], [1.0]], np.float32), 21)[:, 0]
    assert half[:11].all()
    assert not half[11:].any()


def test_what_is_no_number_is_zero():
    samples = np.array([np.nan, 0.5, 0.25, 0.75], np.float32)
    np.testing.assert_array_equal(envelope(samples, 2), [[0, 0.25], [0, 0.75]])


def test_nothing_gives_zeros():
    np.testing.assert_array_equal(envelope(np.zeros(0, np.float32), 3), np.zeros((2, 3)))
    assert newest(np.zeros(0, np.float32), 3, 10.0).shape == (2, 0)
    assert envelope(np.ones(3, np.float32), 0).shape == (2, 0)


def test_envelopes_need_no_qt():
    code = "import sys; sys.modules['PySide6'] = None; import rtae.gui.pictures.envelope"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# A whole song -------------------------------------------------------------------------------------------------------


def overview_of(path, *arguments):
    with AudioReader(path) as reader:
        return overview(reader, *arguments)


@pytest.mark.parametrize("samples", [1, 50, CHUNK, 3 * CHUNK + 1])
def test_overview_of_a_file(tmp_path, rng, samples):
    audio = 0.5 * noise(rng, samples, 2)
    place = samples * 2 // 3
    audio[place, 1] = 0.9  # in one channel only
    sf.write(tmp_path / "song.wav", audio, RATE, subtype="FLOAT")
    done = []
    found = overview_of(tmp_path / "song.wav", 100, done.append)
    assert found.shape == (2, 100)
    assert found.dtype == np.float32
    assert found[0].min() == audio.min()
    assert found[1].max() == audio.max()
    assert abs(int(found[1].argmax()) - place * 100 // samples) <= 1
    assert done == sorted(done)
    assert done[-1] == 1


def test_overview_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for minutes in (1, 4):
        sf.write(tmp_path / "song.wav", np.zeros(minutes * 60 * 8000, np.int16), 8000)
        tracemalloc.start()
        overview_of(tmp_path / "song.wav", 500)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_overview_can_be_cancelled(tmp_path):
    sf.write(tmp_path / "song.wav", np.zeros(10 * CHUNK), RATE)
    done = []
    assert overview_of(tmp_path / "song.wav", 100, done.append, lambda: len(done) == 2) is None
    assert len(done) == 2


def test_overview_of_what_is_no_song(tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"RIFF and nothing else")
    sf.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    with pytest.raises(AudioFileError, match="not audio"):
        overview_of(tmp_path / "noise.wav", 100)
    with pytest.raises(AudioFileError, match="no samples"):
        overview_of(tmp_path / "empty.wav", 100)


# Columns of scrolling pictures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
@pytest.mark.parametrize("hz", [100, 1000, 7000])
def test_sine_is_a_line_at_its_frequency_and_level(hz, rate):
    column = SpectrumColumns(rate, rate // 100, ROWS).feed(0.5 * sine(hz, 1, rate), 1)[:, -1]
    loudest = row_frequencies(ROWS)[column.argmax()]
    # Rows lie 3.6 % apart, frequencies of the transform 11 Hz.
    assert abs(loudest - hz) <= max(0.02 * hz, 6)
    assert -6.02 - LEVEL_DB < column.max() <= -6.02 + 0.1
    away = np.abs(row_frequencies(ROWS) - hz) > max(0.1 * hz, 60)  # beyond six frequencies of the transform
    assert np.all(column[away] < -60)


def test_spectrum_does_not_depend_on_the_blocks(rng):
    audio, hop = noise(rng, 20_000), 172
    whole = SpectrumColumns(RATE, hop, ROWS).feed(audio, 1000)
    source, parts, start = SpectrumColumns(RATE, hop, ROWS), [], 0
    for size in [1, 63, 0, 171, 172, 173, 5000, 20_000]:
        parts.append(source.feed(audio[start : start + size], 1000))
        start += size
    assert whole.shape == (ROWS, 20_000 // hop)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-3)  # dB; float32 sums, measured 0


def test_spectrum_of_silence_of_no_numbers_and_above_half_the_rate():
    silence = SpectrumColumns(RATE, 100, ROWS).feed(np.zeros(1000, np.float32), 10)
    assert silence.shape == (ROWS, 10)
    assert np.all(silence == FLOOR_DB)
    assert np.all(SpectrumColumns(RATE, 100, ROWS).feed(np.full(1000, np.nan, np.float32), 10) == FLOOR_DB)
    loud = SpectrumColumns(8000, 100, ROWS).feed(np.tile(np.array([1, -1, 1, 1], np.float32), 2000), 1)[:, 0]
    assert np.all(loud[row_frequencies(ROWS) >= 4000] == FLOOR_DB)
    assert loud.max() > -10


def test_latent_columns_keep_what_is_farthest_from_zero(rng):
    frames = np.array([[1, -3, 2, 0, np.nan, 0.5, 9], [0, 0, 1, -1, -2, 2, 9]], np.float32)
    np.testing.assert_array_equal(LatentColumns(2, 3).feed(frames), [[-3, 0.5], [1, -2]])
    frames = noise(rng, 4, 100)
    source = LatentColumns(4, 7)
    parts = [source.feed(frames[:, a:b]) for a, b in ((0, 0), (0, 1), (1, 50), (50, 100))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), LatentColumns(4, 7).feed(frames))
    assert sum(part.shape[1] for part in parts) == 14


# All widgets --------------------------------------------------------------------------------------------------------


def feed_scope(widget, samples):
    widget.set_audio(samples, samples, RATE)


def feed_overview(widget, samples):
    widget.set_song(envelope(samples, 500), 200, "A song with a name that is longer than any window is wide " * 3)
    widget.set_position(float(samples[0]) if len(samples) else 100)
    widget.set_region((10.0, float("nan")))


def feed_map(widget, samples):
    points = samples[: len(samples) // 2 * 2].reshape(-1, 2)
    widget.set_cloud(points)
    widget.show_trail(points)
    widget.set_target(*(map(float, samples[:3]) if len(samples) > 2 else (1, 9, 2)))


def feed_meter(widget, samples):
    for peak in samples[:5]:
        widget.feed(float(peak), 0.03)


WIDGETS = {
    "scope": (Scope, feed_scope),
    "spectrogram": (lambda: SpectrogramView("input"), lambda widget, samples: widget.feed(samples, RATE)),
    "spectrograms": (Spectrograms, lambda widget, samples: widget.feed(samples, samples, RATE)),
    "heatmap": (
        LatentHeatmap,
        lambda widget, samples: widget.feed(samples[: len(samples) // 8 * 8].reshape(8, -1), 919.0),
    ),
    "overview": (Overview, feed_overview),
    "map": (LatentMap, feed_map),
    "meter": (lambda: Meter("Output"), feed_meter),
    "upright meter": (lambda: Meter("Input", DRY, Qt.Orientation.Vertical), feed_meter),
}
SAMPLES = {
    "none": np.zeros(0, np.float32),
    "one": np.ones(1, np.float32),
    "many": np.tile(np.linspace(-5, 5, 999, dtype=np.float32), 300),
    "nan": np.full(4000, np.nan, np.float32),
    "infinite": np.tile(np.array([np.inf, -np.inf], np.float32), 4000),
}


@pytest.mark.parametrize("kind", WIDGETS)
@pytest.mark.parametrize("what", SAMPLES)
def test_every_widget_draws_anything_at_any_size(qtbot, kind, what):
    make, feed = WIDGETS[kind]
    widget = make()
    qtbot.addWidget(widget)
    for size in [(0, 0), (1, 1), (9, 300), (200, 80), (1000, 20), (700, 300)]:
        widget.resize(*size)
        feed(widget, SAMPLES[what])
        assert widget.grab().deviceIndependentSize().toSize() == widget.size()


@pytest.mark.parametrize("kind", WIDGETS)
def test_every_widget_has_a_name_and_a_tip(qtbot, kind):
    widget = WIDGETS[kind][0]()
    qtbot.addWidget(widget)
    assert widget.accessibleName()
    pictures = [widget] if isinstance(widget, Picture) else widget.findChildren(Picture)
    assert pictures
    assert all(picture.toolTip() and picture.accessibleName() for picture in pictures)


def test_pictures_on_a_screen_of_twice_the_pixels():
    command = [sys.executable, "-m", "pytest", "-q", "-k", "draw", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "QT_SCALE_FACTOR": "2"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout


def test_ramp_is_even_to_the_eye():
    pixels = ramp(BACKGROUND, WET, TEXT, even=True)
    assert pixels[0] == number(BACKGROUND)
    assert pixels[-1] == number(TEXT)
    # Luminance to the power of 1/3 is what lightness is made of; rounding to 8 bits makes the rest.
    red, green, blue = (((pixels >> shift) & 255) / 255 for shift in (16, 8, 0))
    lightness = np.cbrt(0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2)
    steps = np.diff(lightness[::15])
    assert steps.min() > 0.5 * steps.mean()
    assert steps.max() < 1.5 * steps.mean()


# Scope --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def scope(qtbot):
    widget = Scope(seconds=1.0)
    qtbot.addWidget(widget)
    widget.resize(600, 200)
    return widget


def color_at(widget, x: float, y: float) -> int:
    """The colour at a share of the drawing area, from its left and top."""
    image, area = drawn(widget), widget.area()
    return image.pixel(round(area.left() + x * (area.width() - 1)), round(area.top() + y * (area.height() - 1)))


def test_scope_draws_output_over_input(scope):
    tone = sine(300, 1)
    scope.set_audio(tone, 0.3 * tone, RATE)
    assert color_at(scope, 0.5, 0.4) == number(WET)
    assert color_at(scope, 0.5, 0.1) == number(DRY)
    scope.switches[1].click()
    assert color_at(scope, 0.5, 0.4) == number(DRY)
    scope.switches[0].click()
    assert color_at(scope, 0.5, 0.4) == number(BACKGROUND)


def test_scope_has_now_at_the_right_edge(scope):
    late = np.concatenate([np.zeros(RATE * 9 // 10, np.float32), sine(3000, 0.1)])
    scope.set_audio(late, late, RATE)
    assert color_at(scope, 1.0, 0.3) == number(WET)
    assert color_at(scope, 0.93, 0.3) == number(WET)
    assert color_at(scope, 0.87, 0.3) == number(BACKGROUND)
    scope.set_audio(late[-RATE // 10 :], late[-RATE // 10 :], RATE)  # less than fits: the left stays empty
    assert color_at(scope, 0.93, 0.3) == number(WET)
    assert color_at(scope, 0.87, 0.5) != number(WET)


# Spectrogram --------------------------------------------------------------------------------------------------------


@pytest.fixture
def spectrogram(qtbot):
    widget = SpectrogramView("input")
    qtbot.addWidget(widget)
    widget.resize(600, 260)
    return widget


@pytest.mark.parametrize("hz", [200, 1000, 5000])
def test_spectrogram_draws_a_sine_where_its_label_is(spectrogram, hz):
    spectrogram.feed(sine(hz, 5), RATE)
    area, image = spectrogram.area(), drawn(spectrogram)
    x = area.center().x()
    bright = [QColor(image.pixel(x, y)).lightness() for y in range(area.top(), area.bottom() + 1)]
    loud = np.flatnonzero(np.array(bright) >= max(bright) - 8)
    assert abs(area.top() + loud.mean() - spectrogram.height_of(hz, area)) <= 3


def test_spectrogram_shows_what_is_new_once_at_the_right(spectrogram):
    hop = round(RATE * spectrogram.seconds / COLUMNS)
    dark = number(BACKGROUND)
    for count in (10, 1, 0, 6):
        spectrogram.feed(sine(1000, 1)[: count * hop], RATE)
    spectrogram.feed(sine(1000, 1)[: hop - 1], RATE)  # not a column yet
    filled = (spectrogram.image.pixels != dark).any(axis=0)
    assert filled[-17:].all()
    assert not filled[:-17].any()
    spectrogram.feed(np.zeros(hop, np.float32), RATE / 2)  # another rate: another picture
    assert not (spectrogram.image.pixels != dark).any()


# Heat map -----------------------------------------------------------------------------------------------------------


def test_heatmap_colours_clamps_and_scrolls(qtbot):
    widget = LatentHeatmap()
    qtbot.addWidget(widget)
    widget.feed(np.array([[0, 0], [0, 3], [0, 100], [0, -3], [0, -1e9]], np.float32), 100.0)
    pixels = widget.image.pixels
    assert pixels.shape == (5, 400)
    assert pixels[::-1, -1].tolist() == [number(color) for color in (BACKGROUND, WET, WET, WARM, WARM)]
    assert np.all(pixels[:, :-1] == number(BACKGROUND))
    widget.feed(np.zeros((5, 7), np.float32), 100.0)
    assert widget.image.pixels[3, -8] == number(WET)


def test_heatmap_starts_anew_with_other_dimensions(qtbot):
    widget = LatentHeatmap()
    qtbot.addWidget(widget)
    widget.feed(np.full((4, 50), 3, np.float32), 115.0)
    widget.feed(np.zeros((64, 8), np.float32), 919.0)
    assert widget.dims == 64
    assert np.all(widget.image.pixels == number(BACKGROUND))
    assert widget.image.pixels.shape[1] / 919 * 8 == pytest.approx(4, abs=0.01)
    widget.feed(np.zeros((0, 8), np.float32), 919.0)
    assert widget.dims == 0


# Overview -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def song(qtbot):
    widget = Overview()
    qtbot.addWidget(widget)
    widget.resize(1000, 100)
    widget.set_song(np.tile(np.array([[-0.5], [0.5]], np.float32), 300), 200.0, "song.flac")
    widget.heard = []
    widget.seek_requested.connect(lambda seconds: widget.heard.append(("seek", seconds)))
    widget.region_changed.connect(lambda start, end: widget.heard.append(("region", start, end)))
    widget.region_cleared.connect(lambda: widget.heard.append(("cleared",)))
    return widget


PIXEL = 0.25  # seconds of 200 in an area of 984 pixels, and a little


def at(widget, seconds: float) -> QPoint:
    area = widget.area()
    return QPoint(area.left() + round(seconds / widget.duration * (area.width() - 1)), area.center().y())


def drag(qtbot, widget, start: QPoint, *stops: QPoint) -> None:
    qtbot.mousePress(widget, LEFT, pos=start)
    for stop in stops:
        qtbot.mouseMove(widget, stop)
    qtbot.mouseRelease(widget, LEFT, pos=stops[-1])


def test_click_seeks_and_beyond_the_edge_stays_inside(qtbot, song):
    qtbot.mouseClick(song, LEFT, pos=at(song, 50))
    qtbot.mouseClick(song, LEFT, pos=QPoint(0, 50))
    qtbot.mouseClick(song, LEFT, pos=QPoint(999, 50))
    assert [kind for kind, _ in song.heard] == ["seek"] * 3
    assert [seconds for _, seconds in song.heard] == pytest.approx([50, 0, 200], abs=PIXEL)
    assert song.position == 200


def test_drag_selects_either_way(qtbot, song):
    drag(qtbot, song, at(song, 120), at(song, 100), at(song, 80))
    drag(qtbot, song, at(song, 10), at(song, 30))
    assert song.heard == [
        ("region", pytest.approx(80, abs=PIXEL), pytest.approx(120, abs=PIXEL)),
        ("region", pytest.approx(10, abs=PIXEL), pytest.approx(30, abs=PIXEL)),
    ]


def test_handles_move_one_end_and_may_cross(qtbot, song):
    song.set_region((50, 100))
    drag(qtbot, song, at(song, 100), at(song, 150))
    assert song.region == (50, pytest.approx(150, abs=PIXEL))
    drag(qtbot, song, at(song, 50), at(song, 180))
    assert song.heard[-1] == ("region", pytest.approx(150, abs=PIXEL), pytest.approx(180, abs=PIXEL))


def test_region_from_outside_does_not_disturb_a_drag(qtbot, song):
    qtbot.mousePress(song, LEFT, pos=at(song, 20))
    qtbot.mouseMove(song, at(song, 60))
    song.set_region(None)
    qtbot.mouseRelease(song, LEFT, pos=at(song, 60))
    assert song.heard == [("region", pytest.approx(20, abs=PIXEL), pytest.approx(60, abs=PIXEL))]


def test_right_click_and_escape_clear_once(qtbot, song):
    song.set_region((50, 100))
    qtbot.mouseClick(song, RIGHT, pos=at(song, 10))
    qtbot.mouseClick(song, RIGHT, pos=at(song, 10))
    assert song.heard == [("cleared",)]
    assert song.region is None
    song.set_region((50, 100))
    qtbot.keyClick(song, Qt.Key.Key_Escape)
    assert song.heard == [("cleared",)] * 2


def test_keys_seek_five_seconds_inside_the_song(qtbot, song):
    song.set_position(8)
    for key in (Qt.Key.Key_Left, Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Home):
        qtbot.keyClick(song, key)
    assert [seconds for _, seconds in song.heard] == [3, 0, 5, 10, 0]


def test_setting_says_nothing_back_and_is_kept_inside(song):
    song.set_position(500)
    assert song.position == 200
    song.set_region((150, 500))
    assert song.region == (150, 200)
    song.set_region((300, 400))
    assert song.region is None
    assert song.heard == []


def test_same_song_keeps_its_region_and_another_does_not(song):
    song.set_region((50, 100))
    song.set_song(np.zeros((2, 10), np.float32), 200.0, "song.flac")
    assert song.region == (50, 100)
    song.set_song(None, 100.0, "other.flac")
    assert song.region is None
    assert song.accessibleDescription() == "other.flac, 0:00 / 1:40"


def test_without_a_song_nothing_happens(qtbot, song):
    song.set_song(None, 0, "")
    qtbot.mouseClick(song, LEFT, pos=QPoint(500, 50))
    drag(qtbot, song, QPoint(100, 50), QPoint(500, 50))
    qtbot.keyClick(song, Qt.Key.Key_Right)
    assert song.heard == []
    assert "press O" in song.accessibleDescription()


def test_playhead_is_drawn_at_the_position(song):
    song.set_position(50)
    area, image = song.area(), drawn(song)
    line = [x for x in range(area.left(), area.right() + 1) if image.pixel(x, area.top() + 3) == number(TEXT)]
    assert line == [at(song, 50).x()]


# Latent map ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def latent_map(qtbot):
    widget = LatentMap()
    qtbot.addWidget(widget)
    widget.resize(400, 300)
    widget.heard = []
    widget.place_chosen.connect(lambda x, y: widget.heard.append((x, y)))
    widget.place_cleared.connect(lambda: widget.heard.append(None))
    return widget


def place(widget, x: float, y: float) -> QPoint:
    area = widget.area()
    return QPoint(
        round(area.left() + area.width() * (x + 4) / 8),
        round(area.top() + area.height() * (4 - y) / 8),
    )


def test_click_and_drag_choose_a_place_on_the_map(qtbot, latent_map):
    drag(qtbot, latent_map, place(latent_map, 0, 0), place(latent_map, 2, -3), QPoint(399, 0))
    near = 8 / latent_map.area().width()
    assert latent_map.heard[0] == (pytest.approx(0, abs=near), pytest.approx(0, abs=near))
    assert latent_map.heard[1] == (pytest.approx(2, abs=near), pytest.approx(-3, abs=near))
    assert latent_map.heard[2] == (4, 4)
    qtbot.mouseMove(latent_map, place(latent_map, 1, 1))  # the button is up
    assert len(latent_map.heard) == 3


def test_double_click_and_escape_let_go(qtbot, latent_map):
    latent_map.set_target(1, 1, 0.5)
    assert latent_map.heard == []
    qtbot.mouseDClick(latent_map, LEFT, pos=place(latent_map, 2, 2))
    assert latent_map.heard[-1] is None
    assert latent_map.target is None
    latent_map.set_target(1, 1, 0.5)
    qtbot.keyClick(latent_map, Qt.Key.Key_Escape)
    assert latent_map.target is None


def test_keys_move_the_place_and_keep_the_pull(qtbot, latent_map):
    latent_map.set_target(3.9, 0, 0.5)
    qtbot.keyClick(latent_map, Qt.Key.Key_Right)
    qtbot.keyClick(latent_map, Qt.Key.Key_Up)
    assert latent_map.heard == [(4, 0), (4, 0.25)]
    assert latent_map.target == (4, 0.25, 0.5)
    assert latent_map.accessibleDescription() == "drawn to 4.00, 0.25 by 50%"


def test_map_draws_the_playing_point_last_in_the_trail(latent_map):
    latent_map.show_trail(np.array([[-3, -3], [2, 1]], np.float32))
    image = drawn(latent_map)
    assert image.pixel(place(latent_map, 2, 1)) == number(TEXT)
    assert image.pixel(place(latent_map, -3, -3)) != number(TEXT)


# Meter --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def meter(qtbot):
    widget = Meter("Output level")
    qtbot.addWidget(widget)
    widget.resize(300, 30)
    return widget


def test_meter_rises_at_once_and_falls_in_time(meter):
    meter.feed(0.5, 0.03)
    assert meter.level_db == pytest.approx(-6.02, abs=0.01)
    meter.feed(0.0, 0.5)
    assert meter.level_db == pytest.approx(-6.02 - FALL_DB / 2, abs=0.01)
    meter.feed(0.5, 0.03)
    assert meter.level_db == pytest.approx(-6.02, abs=0.01)


def test_peak_is_held_and_then_falls_to_the_level(meter):
    meter.feed(0.5, 0.03)
    meter.feed(0.0, HOLD_SECONDS)
    assert meter.held_db == pytest.approx(-6.02, abs=0.01)
    meter.feed(0.0, 0.25)
    assert meter.held_db == pytest.approx(-6.02 - FALL_DB / 4, abs=0.01)
    meter.feed(0.1, 99.0)
    assert meter.held_db == meter.level_db == pytest.approx(-20)


def test_clip_light_stays_on_until_clicked(qtbot, meter):
    meter.feed(0.999, 0.03)
    assert not meter.clipped
    meter.feed(1.0, 0.03)
    meter.feed(0.0, 99.0)
    assert meter.clipped
    assert drawn(meter).pixel(meter.light().center()) == number(ALERT)
    with qtbot.waitSignal(meter.clip_cleared, timeout=1000):
        qtbot.mouseClick(meter, LEFT)
    assert not meter.clipped
    assert drawn(meter).pixel(meter.light().center()) != number(ALERT)
    meter.feed(float("inf"), 0.03)
    qtbot.keyClick(meter, Qt.Key.Key_Space)
    assert not meter.clipped


@pytest.mark.parametrize("orientation", Qt.Orientation)
def test_bar_is_as_long_as_the_level(qtbot, orientation):
    meter = Meter("Level", WET, orientation)
    qtbot.addWidget(meter)
    meter.resize(*((60, 300) if meter.upright else (300, 60)))
    meter.feed(10 ** (-30 / 20), 0.03)  # half of the scale
    meter.feed(0, 0.0)
    image, bar = drawn(meter), meter.bar()
    filled = [
        image.pixel(bar.center().x(), y) if meter.upright else image.pixel(x, bar.center().y())
        for x in ([0] if meter.upright else range(bar.left(), bar.right() + 1))
        for y in (range(bar.bottom(), bar.top() - 1, -1) if meter.upright else [0])
    ]
    count = sum(color == number(WET) for color in filled)
    assert all(color == number(WET) for color in filled[:count])
    assert count == pytest.approx(len(filled) / 2, abs=3)  # the held peak is a line of two pixels at its end


def test_meter_says_its_value_in_words(meter):
    assert meter.accessibleDescription() == "silent"
    meter.feed(0.25, 0.03)
    assert meter.accessibleDescription() == "−12 dB"
    meter.feed(2.0, 0.03)
    assert meter.accessibleDescription() == "6 dB, has clipped"
