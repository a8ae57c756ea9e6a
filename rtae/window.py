"""From hops of audio to hops of processed audio at the model's rate: windows, slices of them, and the crossfade.

The definition: a model call sees a window of 110 250 samples; each new window ends one hop later; successive outputs
are crossfaded. Windows lie on the stride grid and the network is frozen, so where two of them overlap they agree to
rounding, and the crossfade only ever hides a change of parameters.

What is computed: an output sample depends on no more than the receptive field, so by default only that slice of the
window is run. `full=True` computes all of it, which is the reference.

The input gain is applied here, to the whole slice that a call sees, and where it has changed the latents of what the
crossfade still hides are computed anew: so it is heard as soon as any other parameter, and by the same crossfade.

    audio   ...|-------- window, 110 250 ---------------------|
    latents            ...|--- kept ---|-- this hop's frames --|      encoded once, from encoder_past samples earlier
    bent           |-- past of effects --|-- what is decoded --|      anew each time, with the newest parameters
    decoded                   |-- past --|fade|------ hop -----|
    emitted                              |---- hop -----|fade|         the last fade waits for the next window
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rtae.dsp import History, db_to_gain, fade_in, finite
from rtae.errors import ParameterError
from rtae.latent import Chain
from rtae.params import Snapshot
from rtae.spec import ModelSpec

FloatArray = NDArray[np.float32]


class Model(Protocol):
    """What the engine needs of a model; `rtae.runtime.OnnxModel` is one."""

    spec: ModelSpec

    def encode(self, audio: FloatArray) -> FloatArray:
        """Audio (channels, samples) to latents (channels, latent_dim, frames)."""
        ...

    def decode(self, z: FloatArray) -> FloatArray:
        """Latents (channels, latent_dim, frames) to audio (channels, frames * stride)."""
        ...


class Dreamer(Protocol):
    """Makes latents up in place of an encoder; `rtae.prior.Dream` is one."""

    def reset(self) -> None:
        """Frame 0 comes next."""
        ...

    def latents(self, frame: int, count: int, temperature: float, seed: int) -> FloatArray:
        """Frames from this absolute number on, (latent_dim, count)."""
        ...


def grid_up(samples: int, stride: int) -> int:
    """The next multiple of the stride."""
    return -(-samples // stride) * stride


class Windows:
    """One stream through a model.

    sources: 1, or 2 whose latents are interpolated; the channels of the second one follow those of the first.
    hop: samples per step, a whole number of strides; crossfade: samples, at most a hop.
    dream: makes up the latents of the first source, whose audio then does not matter.
    delay: samples by which what `step` returns is behind what it was given.
    """

    def __init__(
        self,
        model: Model,
        channels: int,
        hop: int,
        crossfade: int,
        full: bool = False,
        sources: int = 1,
        dream: Dreamer | None = None,
    ) -> None:
        spec, reach = model.spec, model.spec.reach
        if hop < 1 or hop % spec.stride:
            raise ParameterError(f"hop is {hop}; for '{spec.name}' it must be a multiple of {spec.stride}")
        if not 0 <= crossfade <= hop:
            raise ParameterError(f"crossfade is {crossfade}; allowed are 0 to the hop, {hop} samples")
        self.model, self.channels, self.hop, self.crossfade = model, channels, hop, crossfade
        self.rows = channels * sources
        self.dream = dream
        self.full = full or reach is None
        self.encoder_past = reach.encoder_past if reach else spec.window
        self.decoder_past = reach.decoder_past if reach else spec.window // spec.stride
        ahead = grid_up(reach.encoder_future, spec.stride) + reach.decoder_future * spec.stride if reach else 0
        if ahead + crossfade + hop + spec.stride > spec.window:
            raise ParameterError(
                f"a hop of {hop} and a crossfade of {crossfade} do not fit a window of {spec.window}; "
                f"hops up to {spec.window - ahead - crossfade - 2 * spec.stride} do"
            )
        self.encoder_wait = grid_up(reach.encoder_future, spec.stride) if reach else 0
        self.look_ahead = ahead
        self.delay = crossfade + ahead
        self.fade = fade_in(crossfade)
        self.effects = Chain(spec)
        frames = spec.window // spec.stride if self.full else (ahead + crossfade + hop) // spec.stride + 2
        self.latents = History(self.rows, spec.latent_dim, frames + self.decoder_past + self.effects.longest_past)
        self.kept_samples = (
            spec.window if self.full else min(spec.window, self.encoder_past + spec.stride + crossfade + hop + ahead)
        )
        self.reset()

    def reset(self) -> None:
        """As new."""
        self.end = 0  # samples received
        self.encoded = 0  # frames whose latents are known
        self.gain_db: float | None = None  # that they were encoded with
        self.audio: FloatArray = np.zeros((self.rows, 0), np.float32)
        self.latents.clear()
        if self.dream is not None:
            self.dream.reset()
        self.effects.reset()
        self.tail: FloatArray = np.zeros((self.channels, self.crossfade), np.float32)
        self.bent = self.latents.newest(0)  # the newest hop's latents after the effects, to look at
        self.broken = 0
        self.failures = 0

    def step(self, block: FloatArray, values: Snapshot) -> FloatArray:
        """(channels * sources, hop) in, (channels, hop) out, `delay` samples behind. Never raises, always finite."""
        self.end += self.hop
        self.audio = np.concatenate([self.audio, block], axis=1)[:, -self.kept_samples :]
        try:
            self.encode(values)
            fresh = self.decode(values)
        except Exception:  # whatever a model or its runtime raises: the sound goes on
            self.failures += 1
            self.encoded = max(0, (self.end - self.encoder_wait) // self.model.spec.stride)
            self.latents.clear()
            fresh = np.zeros((self.channels, self.crossfade + self.hop), np.float32)
        joined = fresh[:, : self.crossfade]
        if self.crossfade:
            joined = self.tail + (joined - self.tail) * self.fade
        self.tail = fresh[:, self.hop :]
        return np.concatenate([joined, fresh[:, self.crossfade : self.hop]], axis=1)

    def encode(self, values: Snapshot) -> None:
        """Latents of the frames that this hop completes."""
        stride = self.model.spec.stride
        ready = (self.end - self.encoder_wait) // stride
        if ready <= self.encoded:
            return
        dreamt = self.dreamt(ready, values)
        if dreamt is not None and self.rows == self.channels:
            self.latents.append(dreamt)
            self.encoded = ready
            return
        gain_db, before = values["input_gain"], self.gain_db
        self.gain_db = gain_db
        # A whole window, or another gain, says anew what will be heard of it; what was heard already stays as it was.
        anew = dreamt is None and (self.full or before not in (None, gain_db))
        again = min(self.encoded, max(0, self.heard() // stride)) if anew else self.encoded
        oldest = self.end - self.audio.shape[1]
        wanted = 0 if self.full else again * stride - self.encoder_past
        start = grid_up(max(oldest, wanted // stride * stride), stride)
        audio = self.audio[:, start - oldest :]
        z = self.model.encode(audio if gain_db == 0 else audio * np.float32(db_to_gain(gain_db)))
        first = start // stride
        again = max(first, again)
        self.latents.cut(self.encoded - again)
        z = z[:, :, min(again, self.encoded) - first : ready - first]
        self.latents.append(z if dreamt is None else np.concatenate([dreamt, z[self.channels :]]))
        self.encoded = ready

    def dreamt(self, ready: int, values: Snapshot) -> FloatArray | None:
        """The new frames of a dream, the same in every channel; None where nobody dreams."""
        if self.dream is None:
            return None
        count = ready - self.encoded
        z = self.dream.latents(self.encoded, count, values["dream_temperature"], int(values["dream_seed"]))
        return np.repeat(z[None], self.channels, axis=0)

    def recent(self, seconds: float) -> FloatArray:
        """The newest latents of the first source's first channel, before the effects, (latent_dim, frames)."""
        newest: FloatArray = self.latents.newest(round(seconds * self.model.spec.frame_rate))[0].copy()
        return newest

    def heard(self) -> int:
        """Samples whose sound was given out for good before this hop; below 0 at the start of a stream."""
        return self.end - self.look_ahead - self.hop - self.crossfade

    def decode(self, values: Snapshot) -> FloatArray:
        """The newest crossfade + hop samples of output, (channels, crossfade + hop); zeros before sample 0."""
        stride = self.model.spec.stride
        wanted = self.heard()
        fresh = np.zeros((self.channels, self.crossfade + self.hop), np.float32)
        context = self.model.spec.window // stride if self.full else self.encoded - wanted // stride + self.decoder_past
        frames = min(context, self.encoded)
        z = self.latents.newest(frames + self.effects.past(values))
        frames = min(frames, z.shape[2])
        if frames == 0:
            return fresh
        if self.rows > self.channels:
            share = np.float32(values["interpolation"])
            z = (1 - share) * z[: self.channels] + share * z[self.channels :]
        bent = self.effects.apply(z, self.encoded - z.shape[2], frames, values)
        self.bent = bent[:, :, -(self.hop // stride) :].copy()  # the latents' place will be used again
        first = self.encoded - frames
        audio = self.model.decode(bent)
        audio = audio[:, max(0, wanted - first * stride) :]
        missing = max(0, -wanted)
        audio = audio[:, : max(0, fresh.shape[1] - missing)]
        fresh[:, missing : missing + audio.shape[1]] = audio
        sound, broken = finite(fresh)
        if broken:
            self.broken += finite(fresh[:, self.crossfade :])[1]  # the rest was counted with the window before
        return sound
