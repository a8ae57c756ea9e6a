import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from rtae import clips, plots, report, report_sections
from rtae.audio.file import find_audio
from rtae.errors import AudioFileError
from rtae.models import catalogue
from rtae.nets.config import SMALL, TINY
from rtae.report import collect_songs, flac, make_report
from rtae.report_ground import Excerpt, Ground, Likeness, by_size, in_words, likeness
from rtae.report_sections import SECTIONS, WARM_SECONDS, loudness_swing, made_up, two_ends, variational

RATE = 22_050
SECONDS = 1.0


class Links(HTMLParser):
    """What a page loads, and how often each tag stands in it."""

    def __init__(self):
        super().__init__()
        self.loads, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loads += [value for key, value in attributes if key in ("src", "href", "srcset", "poster", "action")]


@pytest.fixture(scope="module")
def place(tmp_path_factory, files_of, store_model):
    """Three models, of which no two are as large as the shipped ones, and songs."""
    place = tmp_path_factory.mktemp("report")
    for name, net in (("large", TINY), ("small", SMALL), ("tiny", TINY), ("vae", TINY)):
        store_model(place / "models" / name, files_of(net))
    seconds, rng = np.arange(16 * RATE) / RATE, np.random.default_rng(3)
    (place / "songs").mkdir()
    beat = 0.4 * np.sin(2 * np.pi * 220 * seconds) * (seconds % 0.5 < 0.2) + 0.002 * rng.standard_normal(len(seconds))
    sf.write(place / "songs" / "a <b> & c.flac", beat, RATE)
    sf.write(place / "songs" / "noise.flac", 0.1 * rng.standard_normal(16 * RATE).clip(-4, 4), RATE)
    sf.write(place / "songs" / "short.wav", beat[: 2 * RATE], RATE)
    sf.write(place / "quiet.wav", 0 * beat, RATE)
    return place


@pytest.fixture(scope="module")
def page(place):
    """The page, as text, and the notes."""
    (place / "out").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RTAE_MODELS", str(place / "models"))
        patch.setattr(catalogue, "shipped_folder", lambda: place / "out")
        patch.setattr(clips, "cache_folder", lambda: place / "latents")
        patch.setattr(plots, "DPI", 20)
        target, notes = make_report(find_audio(place / "songs"), place / "out", SECONDS, 100, 0)
    return target.read_text(encoding="utf-8"), notes


def test_the_page_has_everything_in_it(page):
    text, notes = page
    found = Links()
    found.feed(text)
    assert found.tags.count("section") == len(SECTIONS) == 11
    assert all(load.startswith(("data:image/png;base64,", "data:audio/flac;base64,")) for load in found.loads)
    assert found.tags.count("img") + found.tags.count("audio") == len(found.loads) > 40
    assert not {"script", "link", "iframe"} & set(found.tags)
    assert "default-src 'none'" in text
    assert "http:" not in text.replace("http-equiv", "")
    assert len(notes) == 1
    assert "short.wav is not among the clips: shorter than 5 s" in notes[0]


def test_sounds_of_the_page_can_be_heard(page):
    sounds = re.findall(r'data:audio/flac;base64,([^"]+)"', page[0])
    lengths = [sf.info(io.BytesIO(base64.b64decode(sound))).frames for sound in sounds]
    assert set(lengths) == {RATE, 5 * RATE}  # excerpts, and clips nearest to a centre


def test_names_of_songs_are_text(page):
    assert "a &lt;b&gt; &amp; c.flac" in page[0]
    assert "a <b>" not in page[0]


def test_words_follow_from_figures():
    good, bad = in_words("x", Likeness(50, 0.999, 0.1)), in_words("x", Likeness(5, 0.5, -20))
    assert "50.0 dB below the song, far too little to be heard" in good
    assert "the treble is all there" in good
    assert "as loud as a part of the music" in bad
    assert "the rhythm is damaged" in bad
    assert "hardly any treble is left" in bad
    assert in_words("x", Likeness(5, 0.5, float("nan"))).endswith("next to nothing above 4 kHz.")
    assert by_size(float("nan"), (1, "much"), (0, "little")) == "little"


def test_a_song_whose_name_is_no_text(place, monkeypatch, tmp_path, model_of, rng):
    song = Excerpt("\udcff $1 $2.flac", 0.1 * rng.standard_normal(RATE).astype(np.float32), 0.0)
    monkeypatch.setattr(report, "lay_ground", lambda *_: (ground_of(model_of, song), ["\udcff is skipped"]))
    monkeypatch.setattr(plots, "DPI", 20)
    target, _ = make_report([], tmp_path, SECONDS, 10, 0)
    assert "<li>? is skipped</li>" in target.read_text(encoding="utf-8")


def test_figures_of_a_likeness(rng):
    song = rng.standard_normal(RATE).astype(np.float32)
    spectrum = np.fft.rfft(song)
    spectrum[4000:] *= 0.5
    found = likeness(np.fft.irfft(spectrum, RATE).astype(np.float32), song, RATE)
    assert found.treble == pytest.approx(-6.02, abs=0.05)
    tone = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE).astype(np.float32)
    assert np.isnan(likeness(tone, tone, RATE).treble)
    assert loudness_swing(song, RATE) < 1 < loudness_swing(tone * (np.arange(RATE) % 5000 < 2000), RATE)


def ground_of(model_of, *excerpts):
    models = {"large": model_of(TINY), "small": model_of(TINY), "tiny": model_of(TINY)}
    return Ground(models, dict.fromkeys(models, Path("nowhere")), excerpts, None, RATE, SECONDS, 0)


def test_one_short_song_is_enough_for_what_needs_no_clips(model_of, rng):
    song = Excerpt("song", 0.1 * rng.standard_normal(RATE).astype(np.float32), 0.0)
    ground = ground_of(model_of, song)
    sections = {name: SECTIONS[name](ground) for name in ("Principal components", "Clusters", "Interpolation")}
    assert "There are 0 clips of 5 s, and this takes 4" in sections["Clusters"].text[0]
    assert "song, first half to song, second half" in sections["Interpolation"].text[0]
    first, second = two_ends(ground)
    np.testing.assert_array_equal(np.concatenate([first.audio, second.audio]), song.audio)
    assert "no model 'vae'" in variational(ground).text[0]


def test_a_dream_is_heard_once_it_has_begun(model_of, monkeypatch):
    def sample(model, prior, seconds, *_):
        return np.arange(round(seconds * RATE), dtype=np.float32)[None]

    monkeypatch.setattr(report_sections, "load", lambda kind, *_: kind)
    monkeypatch.setattr(report_sections, "sample", sample)
    made = made_up(model_of(TINY), Path(), 1.0, 0)
    assert list(made) == ["independent prior", "gaussian prior", "network prior"]
    assert all(len(audio) == RATE and audio[0] == WARM_SECONDS * RATE for audio in made.values())


def test_silence_alone_is_told(place, monkeypatch):
    monkeypatch.setenv("RTAE_MODELS", str(place / "models"))
    with pytest.raises(AudioFileError, match=r"None of the songs can be used: .*is silent there"):
        make_report([place / "quiet.wav"], place, SECONDS, 100, 0)
    assert not (place / "index.html").exists()


def test_songs_are_collected_once(place):
    songs = place / "songs"
    assert collect_songs([songs / "short.wav", songs]) == [songs / "short.wav", *find_audio(songs)[:2]]


def test_what_would_clip_is_turned_down():
    heard, rate = sf.read(io.BytesIO(flac(np.array([0, 2, -4, np.nan], np.float32), RATE)))
    np.testing.assert_allclose(heard, [0, 0.5, -1, 0], atol=1e-4)
    assert rate == RATE
