"""A short piece in D minor, composed and synthesised in code: what a new user hears first through the instrument.

Thirty-two seconds: intro (bars 1-4), build (5-6), chorus (7-14), ending (15-16). The score is the text below, an
instrument is a function of one note or stroke, a part plays its line of the score, and `compose` mixes the parts.
`python -m rtae.demo [OUT.ogg]` writes the piece as Ogg Vorbis, by default over the shipped file.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Signal = NDArray[np.float64]  # (samples,) for a note, (2, samples) for a track
Part = Iterator[tuple[int, Signal, float]]  # the notes of one part: first sample, sound, place from -1 (left) to 1
Instrument = Callable[[float, float, Generator], Signal]  # of a frequency in Hz and a length in seconds

RATE = 44100
DEMO_PATH = Path(__file__).parent / "assets" / "demo.ogg"
TABLE = 2048  # samples in a cycle of the wavetables
CUTOFFS_HZ = np.geomspace(150, 14000, 28)  # a wavetable for each

# ---- The score. "A5/3" is a note and its length in sixteenths, "-" a rest, "|" a bar line for the eye.
BPM, BAR, BARS = 120, 16, 16
STEP = 60 / BPM / 4 * RATE  # samples per sixteenth
SWING = 0.14  # of a step: how late every second sixteenth comes
LENGTH = round(BARS * BAR * STEP + 1.6 * RATE)
# Four upper voices without the root, which the bass has; few move far. A prime: the higher position.
VOICINGS = {"Dm9": "F3 C4 E4 A4", "Dm9'": "A3 E4 F4 C5", "Bbmaj9": "F3 C4 D4 A4", "Bbmaj9'": "A3 D4 F4 C5",
            "C6/9": "G3 D4 E4 A4", "C6/9'": "A3 D4 G4 C5", "Fmaj9": "G3 C4 E4 A4", "Fmaj9'": "A3 E4 G4 C5",
            "A7sus": "G3 Bb3 D4 A4", "A7sus'": "A3 D4 G4 Bb4", "A7b9": "G3 Bb3 C#4 A4", "A7b9'": "A3 C#4 G4 Bb4",
            "Gm9": "F3 Bb3 D4 A4", "Am7": "G3 C4 E4 A4"}  # fmt: skip
CHORDS = """Dm9/16 | Bbmaj9/16 | Fmaj9/16 | C6/9/16 | Gm9/16 | A7sus/8 A7b9/8 | Bbmaj9/16 | C6/9/16 | Am7/16 | Dm9/16
    | Bbmaj9'/16 | C6/9'/16 | Fmaj9'/16 | A7sus'/8 A7b9'/8 | Bbmaj9'/16 | Dm9'/16"""
BASS = """-/16 | Bb1/14 E2/2 | F2/6 C2/2 F2/5 E2/3 | C2/6 G2/2 E2/4 C2/2 A1/2
    | G1/3 G1/3 G2/2 -/2 G1/2 D2/2 G#1/2 | A1/2 A1/2 A2/2 A1/2 A1/2 -/6 | Bb1/3 Bb1/3 Bb2/2 -/2 F2/2 Bb1/2 B1/2
    | C2/3 C2/3 C3/2 -/2 G2/2 C2/2 Bb1/2 | A1/3 A1/3 A2/2 -/2 E2/2 G2/2 C#2/2 | D2/3 D2/3 D3/2 -/2 A2/2 F2/2 C2/2
    | Bb1/3 Bb1/3 Bb2/2 -/2 F2/2 Bb1/2 B1/2 | C2/3 C2/3 C3/2 -/2 G2/2 C2/2 E2/2 | F2/3 F2/3 C2/2 -/2 F2/2 E2/2 Bb1/2
    | A1/3 A1/3 A2/2 A1/2 E2/2 G2/2 A2/2 | Bb1/14 C2/2 | D2/16"""
# Question (two bars, left open on the sixth), answer (from a third higher, then home); again, rising to the D.
MELODY = f"""{"-/16 | " * 6} A5/3 G5/3 F5/2 D5/4 F5/2 G5/2 | G5/3 E5/3 G5/2 A5/6 -/2
    | C6/3 A5/3 G5/2 E5/4 G5/2 E5/2 | F5/3 E5/3 C5/2 D5/6 -/2
    | A5/3 G5/3 F5/2 D5/2 F5/2 A5/2 C6/2 | D6/3 C6/3 A5/2 G5/4 A5/2 C6/2
    | A5/6 G5/2 E5/4 -/2 F5/2 | D5/3 E5/3 F5/2 E5/4 C#5/4 | D5/8 -/8 | -/16"""
# The plucked string hints at the question in the intro, before it is sung, and has the last word.
SOLO = f"""-/16 | -/10 D5/2 F5/2 G5/2 | A5/3 G5/3 E5/2 C5/8 | -/8 G5/3 E5/3 D5/2 | D5/3 F5/3 A5/10 | D5/8 E5/4 -/4
    | {"-/16 | " * 8} -/4 F5/3 E5/3 C5/2 D5/4 | E5/3 A5/3 C6/2 E6/8"""
# One character per sixteenth: the velocity, 1 to 9. In ARPEGGIO: the voice of the chord, counted from the lowest.
INTRO = {"hat": "5.3.6.3.5.3.6.34", "shaker": "3243324332433243"}
BUILD = INTRO | {"kick": "7...7...7...7...", "clap": "....5.......5...", "riser": "9"}
ROLL = {"kick": "7...7...7.......", "snare": "3.3.4.4.5566789.", "hat": "4.4.5.5.6.6.7..."}
GROOVE = {"kick": "9...8...9...8..5", "clap": "....8.......8...", "hat": "4.463.574.463.56",
          "open": "..6...6...6...6.", "snare": ".......2.1.....2", "shaker": "3142314231423142"}  # fmt: skip
FILL = GROOVE | {"kick": "9...8...9...8...", "hat": "4.463.574.46....", "open": "..6...6...6.....",
                 "snare": "..........3..577", "tom": "........7..6.6..", "low tom": "............8.8."}  # fmt: skip
LAST = INTRO | {"crash": "7", "kick": "9"}
CHORUS = [GROOVE | {"crash": "9"}, GROOVE, GROOVE, FILL] * 2
DRUMS = [{}, {}, INTRO, INTRO, BUILD, ROLL, *CHORUS, LAST, {"kick": "6", "crash": "3"}]
COMPING = [*["8......5..5....."] * 4, "7..6..6...5..5..", "7.......7.......", *["7..6..6...5..6.."] * 8, "8", "8"]
ARPEGGIO = [*["0.2.3.2.1.3.2.1."] * 6, *["0231230212303120"] * 8, "0.2.3.2.1.3.2.1.", "0"]
PAD_CUTOFF_HZ = ((0, 500), (2, 800), (4, 1000), (5.75, 6500), (6, 3600), (10, 4500), (14, 5000), (15, 1800), (16, 600))


def pitch(name: str) -> float:
    """Frequency in Hz of a note such as "Bb3"; A4 is 440."""
    semitone = "C-D-EF-G-A-B".index(name[0]) + name.count("#") - name.count("b")
    return 440.0 * float(2.0 ** ((semitone + 12 * int(name[-1]) - 57) / 12))


def read(line: str) -> Iterator[tuple[int, int, str]]:
    """Read a line of the score into (start, length, name), in sixteenths; rests are left out."""
    step = 0
    for token in line.replace("|", " ").split():
        name, _, length = token.rpartition("/")
        if name != "-":
            yield step, int(length), name
        step += int(length)


def strokes(bars: list[str]) -> list[tuple[int, int]]:
    """Read step patterns, one string a bar, into (step, digit)."""
    return [(b * BAR + s, int(c)) for b, bar in enumerate(bars) for s, c in enumerate(bar) if c != "."]


def at(step: int) -> int:
    """Sample at which a sixteenth begins, swung."""
    return round((step + SWING * (step % 2)) * STEP)


def clock(seconds: float) -> Signal:
    """Time of every sample in seconds."""
    return np.arange(round(seconds * RATE)) / RATE


def edges(samples: int, attack: float, release: float) -> Signal:
    """Gain that rises and falls along an S (seconds), so that no note starts or stops with a click."""
    n = np.arange(samples) / RATE
    ramp: Signal = np.clip(np.minimum(n / attack, n[::-1] / release), 0, 1)
    return ramp**2 * (3 - 2 * ramp)


def band(x: Signal, low_hz: float, high_hz: float) -> Signal:
    """Band-pass without phase: the magnitude of second-order Butterworth slopes, applied by FFT."""
    size = 1 << (x.shape[-1] + RATE // 10).bit_length()
    hz = np.fft.rfftfreq(size, 1 / RATE)
    gain = 1 / np.sqrt((1 + (hz / high_hz) ** 4) * (1 + (low_hz / np.maximum(hz, 1e-3)) ** 4))
    return np.fft.irfft(np.fft.rfft(x, size) * gain, size)[..., : x.shape[-1]]


def saw(hz: Signal, cutoff_hz: Signal, start_phase: float, resonance: float = 0.8) -> Signal:
    """Saw up to 15 kHz through a moving two-pole low-pass, which is in its wavetables: one a cutoff, cross-faded."""
    k = np.arange(1, min(int(15000 / hz.max()), TABLE // 2 - 1) + 1)
    ratio = k * hz.mean() / CUTOFFS_HZ[:, None]
    spectrum = np.zeros((len(CUTOFFS_HZ), TABLE // 2 + 1), np.complex128)
    spectrum[:, k] = -1j * TABLE / np.pi / k / np.sqrt((1 - ratio**2) ** 2 + (ratio / resonance) ** 2)
    tables = np.pad(np.fft.irfft(spectrum, axis=1), ((0, 0), (0, 1)), mode="wrap").ravel()
    position = (start_phase + np.cumsum(hz) / RATE) % 1 * TABLE
    row = np.interp(np.log(cutoff_hz), np.log(CUTOFFS_HZ), np.arange(len(CUTOFFS_HZ)) * 0.9999)
    index, between = row.astype(np.int64) * (TABLE + 1) + position.astype(np.int64), position % 1
    dark = tables[index] * (1 - between) + tables[index + 1] * between
    bright = tables[index + TABLE + 1] * (1 - between) + tables[index + TABLE + 2] * between
    mixed: Signal = dark + row % 1 * (bright - dark)
    return mixed


def electric_piano(hz: float, seconds: float, velocity: float) -> Signal:
    """Two FM pairs as in the pianos of the eighties: a body at ratio 1 and a short bell at ratio 14."""
    t = clock(seconds + 0.15)
    w = 2 * np.pi * hz * t
    body = np.sin(w + velocity * (0.4 + 1.5 * np.exp(-t / 0.4)) * np.sin(w))
    bell = np.sin(w + 0.5 * velocity * np.exp(-t / 0.12) * np.sin(14 * w))
    return velocity * (0.7 * body + 0.4 * bell) * np.exp(-t / 1.1) * edges(len(t), 0.003, 0.14)


def pluck(hz: float, seconds: float, rng: Generator, velocity: float = 0.9) -> Signal:
    """Karplus-Strong string: a burst of noise goes round a delay of one period and loses treble at each turn."""
    period, fraction = divmod(RATE / hz - 1, 1)  # the symmetric kernel below is itself one sample long
    loss = 0.5 ** (1 / (0.28 * hz))  # half as loud after 0.28 s
    kernel = loss * np.convolve([0.06, 0.88, 0.06], [1 - fraction, fraction])
    n, samples = int(period), round((seconds + 0.4) * RATE)
    burst = band(np.tile(rng.uniform(-1, 1, n), 3), 20, 2500 + 6500 * velocity)[n : 2 * n]
    turns = [np.zeros(3), burst / burst.std() - burst.mean() / burst.std()]
    for _ in range(samples // n):
        turns.append(np.convolve(np.concatenate([turns[-2][-3:], turns[-1]]), kernel, "valid"))
    return velocity * np.concatenate(turns[1:])[:samples] * edges(samples, 0.002, 0.09)


def bass(hz: float, seconds: float, rng: Generator) -> Signal:
    """A sine for the weight and a saw, never quite in tune, through a closing low-pass."""
    t = clock(seconds)
    cutoff = 220 + 1700 * np.exp(-t / 0.11)
    tone = 0.9 * np.sin(2 * np.pi * hz * t) + saw(np.full(len(t), hz * rng.uniform(0.996, 1.004)), cutoff, 0.0, 1.6)
    return tone * (0.4 + 0.6 * np.exp(-t / 0.35)) * edges(len(t), 0.005, 0.05)


def lead(hz: float, seconds: float, rng: Generator) -> Signal:
    """Saw with a late vibrato and a filter that speaks at the start of the note."""
    t = clock(seconds + 0.12)
    vibrato = 1 + 0.006 * np.clip((t - 0.2) / 0.3, 0, 1) * np.sin(2 * np.pi * 5.4 * t)
    tone = saw(hz * vibrato, 1500 + 5000 * np.exp(-t / 0.2), rng.random(), 1.2)
    return tone * (0.6 + 0.4 * np.exp(-t / 0.25)) * edges(len(t), 0.008, 0.12)


def membrane(hz: float, sweep_hz: float, decay: float, click: float, rng: Generator) -> Signal:
    """Kick and toms: a sine that falls from `hz + sweep_hz` to `hz`, with a click of noise."""
    t = clock(6 * decay)
    phase = 2 * np.pi * (hz * t + sweep_hz * 0.025 * (1 - np.exp(-t / 0.025)))
    tick = click * band(rng.standard_normal(len(t)), 1500, 7000) * np.exp(-t / 0.004)
    return np.tanh(1.6 * np.sin(phase) * np.exp(-t / decay) + tick) * edges(len(t), 0.001, 0.03)


def noise(low_hz: float, high_hz: float, decay: float, rng: Generator, attack: float = 0.001) -> Signal:
    """A stroke of filtered noise: hats, cymbals, what rattles in a snare; backwards, a riser."""
    t = clock(6 * decay)
    return band(rng.standard_normal(len(t)), low_hz, high_hz) * np.exp(-t / decay) * edges(len(t), attack, decay)


KIT: dict[str, tuple[Callable[[Generator], Signal], float]] = {  # one stroke at full velocity, and its place
    "kick": (lambda rng: 0.95 * membrane(49, 190, 0.13, 0.5, rng), 0.0),
    "tom": (lambda rng: 0.6 * membrane(130, 90, 0.11, 0.3, rng), -0.4),
    "low tom": (lambda rng: 0.7 * membrane(88, 70, 0.14, 0.3, rng), 0.4),
    "snare": (lambda rng: 0.4 * noise(1200, 9000, 0.075, rng) + 0.35 * membrane(185, 120, 0.075, 0.0, rng), 0.08),
    "clap": (lambda rng: 0.36 * noise(900, 7000, 0.045, rng), -0.05),
    "hat": (lambda rng: 0.34 * noise(7000, 15000, 0.03, rng), 0.25),
    "open": (lambda rng: 0.26 * noise(6000, 14000, 0.1, rng, 0.004), 0.25),
    "shaker": (lambda rng: 0.22 * noise(4500, 11000, 0.03, rng, 0.02), -0.45),
    "crash": (lambda rng: 0.3 * noise(3000, 12000, 0.5, rng), -0.2),
    "riser": (lambda rng: 0.2 * noise(1500, 12000, 0.6, rng, 0.02)[::-1], 0.2),
}


def play_drums(rng: Generator) -> Part:
    """All strokes of DRUMS."""
    for voice, (stroke, pan) in KIT.items():
        for step, velocity in strokes([bar.get(voice, "") for bar in DRUMS]):
            for late in (0, 485, 1014) if voice == "clap" else (0,):  # hands, not quite together
                yield at(step) + late, velocity / 9 * stroke(rng), pan


def play_line(line: str, instrument: Instrument, spread: float, rng: Generator) -> Part:
    """One melodic line on two instruments, apart in place (0 to 1) and, by a few cents, in pitch."""
    for start, length, name in read(line):
        for side in (-spread, spread):
            yield at(start), instrument(pitch(name) * (1 + 0.005 * side), length * STEP / RATE, rng), side


def play_pad(rng: Generator) -> Part:
    """The chords held by three detuned saws a voice, from left to right, under the moving filter."""
    for start, length, name in read(CHORDS):
        samples = round(length * STEP + 0.35 * RATE)
        gain = edges(samples, 0.06, 0.33)
        cutoff = np.interp((at(start) + np.arange(samples)) / (BAR * STEP), *np.transpose(PAD_CUTOFF_HZ))
        for hz in map(pitch, VOICINGS[name].split()):
            for pan, detune in ((-0.9, 0.996), (0.0, 1.0005), (0.9, 1.0045)):
                yield at(start), gain * saw(np.full(samples, hz * detune), cutoff, rng.random()), pan


def play_keys(rng: Generator) -> Part:
    """The chords on the electric piano in the rhythm of COMPING, each stroke held until the next stroke or chord."""
    for start, length, name in read(CHORDS):
        hits = [hit for hit in strokes(COMPING) if start <= hit[0] < start + length]
        for (step, velocity), until in zip(hits, [*(s for s, _ in hits[1:]), start + length], strict=True):
            for voice, hz in enumerate(map(pitch, VOICINGS[name].split())):
                sound = electric_piano(hz, (until - step) * STEP / RATE, velocity / 9 * rng.uniform(0.9, 1))
                yield at(step) + round(0.007 * voice * RATE), sound, 0.3 * (voice - 1.5)  # rolled, as a hand does


def play_pluck(rng: Generator) -> Part:
    """The chords broken as in ARPEGGIO, an octave up, from side to side."""
    for start, length, name in read(CHORDS):
        for step, voice in strokes(ARPEGGIO):
            if start <= step < start + length:
                accent = 0.75 if step % 4 == 0 else rng.uniform(0.4, 0.6)
                sound = pluck(2 * pitch(VOICINGS[name].split()[voice]), 0.3, rng, accent)
                yield at(step), sound, 0.5 * (-1) ** (step // 2)


def track(part: Part) -> Signal:
    """Lay the notes of a part on a stereo track, panned at equal power."""
    out = np.zeros((2, LENGTH))
    for start, sound, pan in part:
        angle, end = np.pi / 4 * (1 + pan), min(start + len(sound), LENGTH)
        out[:, start:end] += np.outer([np.cos(angle), np.sin(angle)], sound[: end - start])
    return out


def ducking(depth: float) -> Signal:
    """Gain that makes room for the kick: down within 4 ms, back over a quarter of a second."""
    gain, t = np.ones(LENGTH), clock(0.3)
    dip = 1 - depth * np.clip(t / 0.004, 0, 1) * (0.5 + 0.5 * np.cos(np.pi * np.clip((t - 0.04) / 0.22, 0, 1)))
    for step, _ in strokes([bar.get("kick", "") for bar in DRUMS]):
        part = gain[at(step) : at(step) + len(dip)]
        np.minimum(part, dip[: len(part)], out=part)
    return gain


def echo(x: Signal) -> Signal:
    """Ping-pong delay of three sixteenths: six returns that change sides, without the extremes of the range."""
    out, tap = np.zeros_like(x), band(x, 250, 5000)
    for turn in range(1, 7):
        tap, late = 0.5 * tap[::-1], round(3 * turn * STEP)
        out[:, late:] += tap[:, : LENGTH - late]
    return out


def reverb(x: Signal, rng: Generator) -> Signal:
    """Convolution with noise that decays, treble first, different on both sides (Moorer, 1979)."""
    t = clock(2.2)
    room = np.zeros((2, len(t)))
    for low_hz, high_hz, seconds in ((180, 900, 1.9), (900, 3500, 1.5), (3500, 10000, 0.8)):
        room += band(rng.standard_normal(room.shape), low_hz, high_hz) * 10 ** (-3 * t / seconds)
    room *= edges(len(t), 0.012, 0.5) / np.sqrt(np.sum(room**2, axis=1, keepdims=True))
    size = 1 << (LENGTH + len(t)).bit_length()
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(room, size), size)[:, :LENGTH]


def limit(x: Signal, ceiling: float) -> Signal:
    """Look-ahead limiter: the gain that the loudest of three blocks of 6 ms needs, and straight lines between."""
    block, blocks = 256, -(-x.shape[1] // 256)
    peaks = np.pad(np.abs(x).max(axis=0), (0, blocks * block - x.shape[1])).reshape(blocks, block).max(axis=1)
    needed = np.pad(np.minimum(1, ceiling / np.maximum(peaks, 1e-9)), 1, mode="edge")
    lowest = np.minimum(np.minimum(needed[:-2], needed[1:-1]), needed[2:])
    gain: Signal = np.interp(np.arange(x.shape[1]), (np.arange(blocks) + 0.5) * block, lowest)
    return x * gain


# Part: its player, level, how deep the kick ducks it, and how much of it goes to the echo and to the reverb.
MIX: dict[str, tuple[Callable[[Generator], Part], float, float, float, float]] = {
    "drums": (play_drums, 0.6, 0.0, 0.0, 0.08),
    "bass": (lambda rng: play_line(BASS, bass, 0.0, rng), 0.078, 0.7, 0.0, 0.0),
    "pad": (play_pad, 0.042, 0.7, 0.0, 0.2),
    "keys": (play_keys, 0.088, 0.4, 0.1, 0.3),
    "pluck": (play_pluck, 0.16, 0.3, 0.35, 0.3),
    "solo": (lambda rng: play_line(SOLO, pluck, 0.1, rng), 0.16, 0.0, 0.35, 0.3),
    "lead": (lambda rng: play_line(MELODY, lead, 0.5, rng), 0.145, 0.2, 0.3, 0.25),
}


def compose() -> NDArray[np.float32]:
    """The finished piece: (2, samples) at RATE, float32, peak -1 dBFS. The same numbers on each call."""
    rng = np.random.default_rng(1979)
    mix, delayed, room = np.zeros((3, 2, LENGTH))
    for play, level, depth, to_echo, to_room in MIX.values():
        stem = level * ducking(depth) * track(play(rng))
        mix += stem
        delayed += to_echo * stem
        room += to_room * stem
    delayed = echo(delayed)
    mix += delayed + reverb(room + 0.3 * delayed, rng)
    mix = np.tanh(band(mix, 28, 18000))  # the bus: rumble off, then tape-like rounding
    return (limit(1.15 * mix, 10 ** (-1 / 20)) * edges(LENGTH, 0.02, 3.0)).astype(np.float32)


def main() -> None:
    """Write the piece to the path given on the command line, or over the shipped file."""
    import sys

    import soundfile

    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO_PATH
    with soundfile.SoundFile(path, "w", RATE, 2, format="OGG", subtype="VORBIS") as file:
        for second in np.array_split(compose(), LENGTH // RATE, axis=1):  # one long write can overflow the encoder
            file.write(second.T)


if __name__ == "__main__":
    main()
