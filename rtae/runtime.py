"""A trained model, ready to run: the only live file that knows onnxruntime."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from rtae.errors import ModelError
from rtae.spec import DECODER_FILE, ENCODER_FILE, ModelSpec

FloatArray = NDArray[np.float32]
LARGEST_FILE = 512 << 20


def session_options() -> onnxruntime.SessionOptions:
    """One thread that does not spin: on nets this small more threads cost cores and gain nothing."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    return options


def open_session(content: bytes, where: str) -> onnxruntime.InferenceSession:
    """A session on the CPU. Raises ModelError where the bytes are no model that onnxruntime can run."""
    try:
        return onnxruntime.InferenceSession(content, session_options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class but this one
        raise ModelError(f"{where} is not an ONNX model that can be run here: {first_line(error)}") from None


def run_session(
    session: onnxruntime.InferenceSession, outputs: list[str] | None, inputs: dict[str, FloatArray], where: str
) -> list[Any]:
    """The outputs by their names, or all of them. Raises ModelError where onnxruntime does not run it."""
    try:
        found: list[Any] = session.run(outputs, inputs)
    except Exception as error:  # see open_session
        raise ModelError(f"{where} does not run: {first_line(error)}") from None
    return found


def first_line(error: Exception) -> str:
    """What an exception says; its kind if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


class OnnxModel:
    """An encoder and a decoder.

    Raises ModelError where the two do not fit each other or their spec.
    """

    def __init__(self, spec: ModelSpec, encoder: bytes, decoder: bytes) -> None:
        self.spec, self.title = spec, f"The model '{spec.name}'"
        self.encoder = open_session(encoder, f"{ENCODER_FILE} of '{spec.name}'")
        self.decoder = open_session(decoder, f"{DECODER_FILE} of '{spec.name}'")
        self.try_out()

    @classmethod
    def load(cls, folder: Path) -> OnnxModel:
        """The model in a folder, if its files are the ones that were exported. Raises ModelError."""
        spec = ModelSpec.load(folder)
        return cls(spec, *(read_checked(folder / name, spec.files[name]) for name in (ENCODER_FILE, DECODER_FILE)))

    def encode(self, audio: FloatArray) -> FloatArray:
        """Audio (channels, samples) to latents (channels, latent_dim, ceil(samples / stride) + extra_frames)."""
        return self.run(self.encoder, "audio", np.ascontiguousarray(audio)[:, None])

    def decode(self, z: FloatArray) -> FloatArray:
        """Latents (channels, latent_dim, frames) to audio (channels, frames * stride)."""
        return self.run(self.decoder, "latent", np.ascontiguousarray(z))[:, 0]

    def run(self, session: onnxruntime.InferenceSession, name: str, value: FloatArray) -> FloatArray:
        """One input, one output, of three dimensions both."""
        found: FloatArray = run_session(session, None, {name: value}, self.title)[0]
        if not isinstance(found, np.ndarray) or found.ndim != 3:
            raise ModelError(f"{self.title} does not run: for {name} it gives what is no audio and no latents")
        return found

    def try_out(self) -> None:
        """Run once, which also warms up; raises ModelError unless the shapes are what the spec says."""
        spec = self.spec
        samples = 8 * spec.stride + 1
        z = self.encode(np.zeros((2, samples), np.float32))
        audio = self.decode(z)
        frames = 9 + spec.extra_frames
        if z.shape != (2, spec.latent_dim, frames) or audio.shape != (2, frames * spec.stride):
            raise ModelError(
                f"The model '{spec.name}' gives latents {z.shape} and audio {audio.shape} for {samples} samples; "
                f"its {ENCODER_FILE} and {DECODER_FILE} do not belong to its model.json"
            )


def read_checked(path: Path, checksum: str) -> bytes:
    """A file's bytes, if they hash to the checksum. Raises ModelError."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ModelError(f"{path} is larger than {LARGEST_FILE >> 20} MB, which no model of this program is")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); export or copy the whole model again") from None
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ModelError(
            f"{path} is not the file that model.json describes (its checksum differs): "
            "it was changed, cut short or swapped; export or copy the whole model again"
        )
    return content
