import os
import stat
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf

from rtae.audio import output as output_module
from rtae.audio.file import AudioReader, find_audio, read_audio
from rtae.audio.output import AudioWriter, check_output
from rtae.errors import AudioFileError

RATE = 48_000
LENGTH = 100_000  # samples; more than one chunk of the decoder
PCM_ATOL = {"PCM_16": 2**-15, "PCM_24": 2**-23, "PCM_32": 2**-23, "FLOAT": 0.0}  # full scale; one step, or float32's
LOSSY_ATOL = 0.1  # full scale, on noise of amplitude 0.5; measured 0.03 (ogg), 0.05 (mp3)
SEEK_ATOL = {"a.mp3": 1e-6, "a.opus": 1e-5}  # full scale, the decoders' rounding; measured 6e-8 and 2e-6


def noise(channels: int = 2, length: int = LENGTH) -> np.ndarray:
    """Smooth noise in bursts: the lossy formats drop what is above 16 kHz, and Ogg pages get all sizes."""
    white = np.random.default_rng(7).uniform(-1.0, 1.0, (channels, length + 31))
    smooth = np.stack([np.convolve(row, np.hanning(32), "valid") for row in white])
    bursts = np.sin(np.arange(length) / 20_000) > -0.5
    return (0.5 * bursts * smooth / np.abs(smooth).max()).astype(np.float32)


def store(path: Path, audio: np.ndarray, **options: str) -> Path:
    sf.write(path, audio.T, RATE, **options)
    return path


def forge_flac_length(path: Path, samples: int) -> None:
    """Write the 36 bits of 'total samples' in STREAMINFO, whose data start at byte 8."""
    data = bytearray(path.read_bytes())
    data[21] = data[21] & 0xF0 | samples >> 32
    data[22:26] = struct.pack(">I", samples & 0xFFFFFFFF)
    path.write_bytes(data)


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "PCM_16"),
        ("a.wav", None),
        ("a.WAV", "PCM_32"),
        ("a.wav", "FLOAT"),
        ("a.flac", "PCM_16"),
        ("a.flac", None),
    ],
)
def test_what_is_written_is_read(tmp_path, name, subtype):
    audio = noise(3)
    with AudioWriter(tmp_path / name, RATE, 3, subtype) as writer:
        for start in range(0, LENGTH, 70_001):
            writer.write(audio[:, start : start + 70_001])
    read, rate = read_audio(tmp_path / name)
    with AudioReader(tmp_path / name) as reader:
        assert (reader.info.subtype, reader.info.samples) == (subtype or "PCM_24", LENGTH)
        assert reader.info.seconds == LENGTH / RATE
    assert rate == RATE
    assert read.dtype == np.float32
    assert read.shape == (3, LENGTH)
    np.testing.assert_allclose(read, audio, rtol=0, atol=PCM_ATOL[subtype or "PCM_24"])


@pytest.mark.parametrize(
    ("name", "options", "atol"),
    [
        ("a.ogg", {}, LOSSY_ATOL),
        ("a.mp3", {}, LOSSY_ATOL),
        ("a.opus", {"format": "OGG", "subtype": "OPUS"}, LOSSY_ATOL),
        ("a.aiff", {}, PCM_ATOL["PCM_16"]),
        ("a.caf", {}, PCM_ATOL["PCM_16"]),
        ("a.au", {}, PCM_ATOL["PCM_16"]),
    ],
)
def test_other_formats_are_read(tmp_path, name, options, atol):
    audio = noise()
    read, rate = read_audio(store(tmp_path / name, audio, **options))
    assert rate == RATE
    assert read.shape == audio.shape
    np.testing.assert_allclose(read, audio, rtol=0, atol=atol)


@pytest.mark.parametrize("block", [1, 63, 1023, 70_000, 10**15])
def test_blocks_join_to_the_file(tmp_path, block):
    length = 200 if block == 1 else LENGTH
    path = store(tmp_path / "a.wav", noise(2, length), subtype="FLOAT")
    with AudioReader(path) as reader:
        blocks = [reader.read(block)]
        while blocks[-1].shape[1]:
            blocks.append(reader.read(block))
        assert all(part.shape == (2, block) for part in blocks[:-2])
        assert reader.position == length
        assert not reader.truncated
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), noise(2, length))


def test_max_seconds_reads_the_start_only(tmp_path):
    path = store(tmp_path / "a.wav", noise(), subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(path, max_seconds=0.25)[0], noise()[:, : RATE // 4])
    assert read_audio(path, max_seconds=np.inf)[0].shape == (2, LENGTH)


def test_ten_samples_are_a_file(tmp_path):
    read, _ = read_audio(store(tmp_path / "a.wav", noise(1, 10), subtype="FLOAT"))
    np.testing.assert_array_equal(read, noise(1, 10))


@pytest.mark.parametrize("claim", [2**36 - 1, LENGTH + 1, 0])
def test_forged_length_gives_what_is_there(tmp_path, claim):
    path = store(tmp_path / "a.flac", noise())
    whole, _ = read_audio(path)
    forge_flac_length(path, claim)
    with AudioReader(path) as reader:
        assert reader.info.samples == claim
        np.testing.assert_array_equal(reader.read(2**40), whole)
        assert reader.truncated == (claim > LENGTH)
        reader.seek(2**40)
        assert (reader.position, reader.read(1).shape) == (LENGTH, (2, 0))
        reader.seek(1234)
        np.testing.assert_array_equal(reader.read(100), whole[:, 1234:1334])


CUT = {
    "a.flac": {},
    "a.mp3": {},
    "a.ogg": {},
    "a.opus": {"format": "OGG", "subtype": "OPUS"},
    "a.wav": {},
    "big.wav": {"endian": "BIG"},
    "float.wav": {"subtype": "FLOAT"},
    "long.wav": {"format": "RF64"},
    "a.aiff": {},
    "little.aiff": {"endian": "LITTLE"},
    "a.au": {},
    "little.au": {"endian": "LITTLE"},
    "a.w64": {},
}


@pytest.mark.parametrize("name", CUT)
def test_a_cut_file_gives_all_that_is_good(tmp_path, name):
    path = store(tmp_path / name, noise(), **CUT[name])
    whole, _ = read_audio(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with AudioReader(path) as reader:
        read = reader.read(2**40)
        assert reader.truncated
        assert reader.read(10).shape == (2, 0)
        assert reader.position == read.shape[1]
        reader.seek(20_000)
        np.testing.assert_array_equal(reader.read(1000), whole[:, 20_000:21_000])
    # 60 % of the bytes; bursts and whole pages make that more or less of the time.
    assert 0.25 * LENGTH < read.shape[1] < 0.9 * LENGTH
    np.testing.assert_array_equal(read, whole[:, : read.shape[1]])


@pytest.mark.parametrize("name", [*CUT, "a.caf"])
def test_a_whole_file_is_not_called_cut(tmp_path, name):
    path = store(tmp_path / name, noise(), **CUT.get(name, {}))
    if path.suffix != ".w64":  # where libsndfile takes it for sound
        with path.open("ab") as file:
            file.write(b"TAG" + bytes(125))  # as players append them
    with AudioReader(path) as reader:
        assert not reader.truncated
        assert reader.read(2**40).shape == (2, LENGTH)
        assert not reader.truncated


def test_a_cut_file_that_cannot_be_opened_is_called_cut(tmp_path):
    path = store(tmp_path / "a.caf", noise())
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(AudioFileError, match="is cut short, and nothing of it can be read"):
        AudioReader(path)


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_F000, 0xFFFF_FFFF - 36])
def test_a_length_left_open_is_no_cut(tmp_path, size):
    """What ffmpeg and sox write into a pipe."""
    path = store(tmp_path / "a.wav", noise())
    data = bytearray(path.read_bytes())
    data[40:44] = struct.pack("<I", size)
    path.write_bytes(data)
    with AudioReader(path) as reader:
        assert reader.read(2**40).shape == (2, LENGTH)
        assert not reader.truncated


def test_an_ogg_that_ends_between_two_pages_is_cut(tmp_path):
    path = store(tmp_path / "a.ogg", noise())
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"OggS")])
    with AudioReader(path) as reader:
        assert reader.truncated
        assert 0 < reader.read(2**40).shape[1] < LENGTH


def test_a_guessed_length_is_no_sign_of_a_cut(tmp_path):
    """An mp3 of varying bit rate that does not say how long it is."""
    audio = np.concatenate([np.zeros((1, LENGTH)), noise(1)], axis=1)[:, ::-1]
    path = store(tmp_path / "a.mp3", audio, bitrate_mode="VARIABLE", compression_level=0.5)
    data = path.read_bytes()
    path.write_bytes(b"ID3\x04\0\0\0\0\x27\x10" + bytes(5008) + data[data.index(data[:2], 4) :])
    with AudioReader(path) as reader:
        claimed = reader.info.samples
        assert reader.read(2**40).shape[1] < claimed
        assert not reader.truncated


def test_the_decoder_of_mp3_prints_nothing(tmp_path, capfd):
    path = store(tmp_path / "a.mp3", noise())
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 5000] = bytes(5000)
    path.write_bytes(data)
    with AudioReader(path) as reader:
        reader.read(2**40)
        reader.seek(100)
        reader.read(10)
        assert reader.truncated
    path.write_bytes(b"no audio " * 500)
    with pytest.raises(AudioFileError, match="not audio"):
        AudioReader(path)
    assert capfd.readouterr().err == ""


def test_a_hole_in_a_flac_ends_it_with_what_was_good(tmp_path):
    path = store(tmp_path / "a.flac", noise())
    whole, _ = read_audio(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 4 : len(data) // 4 + 20_000] = bytes(20_000)
    path.write_bytes(data)
    with AudioReader(path) as reader:
        read = reader.read(2**40)
        assert reader.truncated
    assert 0.15 * LENGTH < read.shape[1] < 0.26 * LENGTH
    np.testing.assert_array_equal(read, whole[:, : read.shape[1]])


def test_broken_samples_become_zero_and_are_counted(tmp_path):
    audio = noise()
    audio[0, 5], audio[1, 6], audio[1, 99_999] = np.nan, np.inf, -np.inf
    with AudioReader(store(tmp_path / "a.wav", audio, subtype="FLOAT")) as reader:
        read = reader.read(1000)
        assert reader.repaired == 2
        read = np.concatenate([read, reader.read(LENGTH)], axis=1)
        assert reader.repaired == 3
    np.testing.assert_array_equal(read, np.where(np.isfinite(audio), audio, 0.0))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.opus"])
def test_seeks_are_exact(tmp_path, name):
    options = {"format": "OGG", "subtype": "OPUS"} if name == "a.opus" else {}
    path = store(tmp_path / name, noise(1, 300_000), **options)
    whole, _ = read_audio(path)
    # Ogg Vorbis goes wrong most in its last page.
    places = [0, 1, 299_999, 299_000, 295_000, *np.random.default_rng(3).integers(0, 300_000, 40).tolist()]
    with AudioReader(path) as reader:
        for place in places:
            reader.seek(place)
            assert reader.position == place
            wanted = whole[:, place : place + 500]
            np.testing.assert_allclose(reader.read(500), wanted, rtol=0, atol=SEEK_ATOL.get(name, 0), err_msg=place)
        reader.seek(10**9)
        assert (reader.position, reader.read(1).shape) == (300_000, (1, 0))
        reader.seek(-5)
        assert reader.position == 0
        assert reader.read(500).shape == (1, 500)
        assert not reader.truncated


def patched_wav(path: Path, offset: int, value: bytes) -> None:
    data = bytearray(store(path, noise(1, 100)).read_bytes())
    data[offset : offset + len(value)] = value
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.wav", lambda _: None, "does not exist"),
        ("a.wav", Path.mkdir, "is a folder"),
        ("a.wav", Path.touch, r"empty \(0 bytes\)"),
        ("a.wav", lambda path: path.write_bytes(b"no audio " * 99), "not audio .* flac"),
        ("a.raw", lambda path: path.write_bytes(b"no audio " * 99), "not audio"),
        ("a.m4a", lambda path: path.write_bytes(b"\0\0\0\x20ftypM4A " * 9), r"ffmpeg -i '.*a\.m4a' '.*a\.wav'"),
        ("a.wav", lambda path: store(path, np.zeros((2, 0))), "holds no samples"),
        ("a.wav", lambda path: patched_wav(path, 24, struct.pack("<I", 2_000_000_000)), "1000 to 768000 Hz"),
        ("a.wav", lambda path: store(path, noise(33, 10)), "33 channels; allowed are 1 to 32"),
        ("x" * 300 + ".wav", lambda _: None, "cannot be opened"),
        ("a\0.wav", lambda _: None, "cannot be opened"),
    ],
)
def test_unreadable_files_say_why(tmp_path, name, make, message):
    make(tmp_path / name)
    with pytest.raises(AudioFileError, match=message) as caught:
        read_audio(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_path_below_a_file_does_not_exist(tmp_path):
    with pytest.raises(AudioFileError, match="does not exist"):
        read_audio(store(tmp_path / "a.wav", noise(1, 10)) / "b.wav")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(AudioFileError, match="pipe"):
        read_audio(tmp_path / "a.wav")


def test_no_permission_to_read(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = store(tmp_path / "a.wav", noise(1, 10))
    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(AudioFileError, match="Permission denied"):
        AudioReader(path)


@pytest.mark.skipif(os.name == "nt", reason="names are text on Windows")
def test_names_that_are_no_text(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n.wav"))
    with AudioWriter(path, RATE, 1, "FLOAT") as writer:
        writer.write(noise(1, 10))
    np.testing.assert_array_equal(read_audio(path)[0], noise(1, 10))
    path.write_bytes(b"")
    with pytest.raises(AudioFileError, match=r"caf\\udce9\\n\.wav") as caught:
        AudioReader(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_exception_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with AudioWriter(path, RATE, 1) as writer:
            writer.write(noise(1, 1000))
            assert path.read_bytes() == b"old"
            assert len(leftovers(tmp_path)) == 1
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"old"
    assert not leftovers(tmp_path)


def test_a_clean_exit_replaces_the_old_file_or_what_a_link_points_to(tmp_path):
    (tmp_path / "real").mkdir()
    path = tmp_path / "real" / "a.wav"
    path.write_bytes(b"old")
    link = tmp_path / "link.wav"
    link.symlink_to(path)
    with AudioWriter(link, RATE, 1, "FLOAT") as writer:
        writer.write(noise(1, 10))
    assert link.is_symlink()
    np.testing.assert_array_equal(read_audio(path)[0], noise(1, 10))
    assert not leftovers(tmp_path) + leftovers(tmp_path / "real")


@pytest.mark.skipif(os.name == "nt", reason="rights differ on Windows")
def test_others_may_read_what_is_written(tmp_path):
    old = os.umask(0o022)
    try:
        with AudioWriter(tmp_path / "a.wav", RATE, 1) as writer:
            writer.write(noise(1, 10))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.wav").stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_no_samples_leave_the_old_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"old")
    with pytest.raises(AudioFileError, match="no samples"), AudioWriter(tmp_path / name, RATE, 1):
        pass
    assert (tmp_path / name).read_bytes() == b"old"
    assert not leftovers(tmp_path)


def test_overwrite_false_keeps_the_old_file(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"old")
    with pytest.raises(AudioFileError, match="exists"):
        AudioWriter(tmp_path / "a.wav", RATE, 1, overwrite=False)
    with AudioWriter(tmp_path / "new.wav", RATE, 1, overwrite=False) as writer:
        writer.write(noise(1, 10))
    assert (tmp_path / "a.wav").read_bytes() == b"old"
    assert read_audio(tmp_path / "new.wav")[0].shape == (1, 10)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_integers_clip_and_never_wrap(tmp_path, name, subtype):
    audio = np.array([[2.0, -2.0, 1.0, -1.0, 0.5, np.nan, np.inf, -np.inf]], np.float32)
    given = audio.copy()
    with AudioWriter(tmp_path / name, RATE, 1, subtype) as writer:
        writer.write(audio)
    wanted = [[1, -1, 1, -1, 0.5, 0, 0, 0]]
    np.testing.assert_allclose(read_audio(tmp_path / name)[0], wanted, rtol=0, atol=PCM_ATOL[subtype])
    np.testing.assert_array_equal(audio, given)


def test_float_keeps_what_is_over_full_scale_but_not_nan(tmp_path):
    with AudioWriter(tmp_path / "a.wav", RATE, 1, "FLOAT") as writer:
        writer.write(np.array([[2.0, np.nan, -3.0]], np.float32))
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav")[0], [[2.0, 0.0, -3.0]])


@pytest.mark.parametrize(
    ("name", "rate", "channels", "subtype", "message"),
    [
        ("a.flac", RATE, 9, None, "9 channels; allowed are 1 to 8"),
        ("a.flac", 700_000, 1, None, "700000 Hz; allowed are 1000 to 655350"),
        ("a.flac", RATE, 1, "FLOAT", "FLOAT; allowed are PCM_16, PCM_24"),
        ("a.wav", RATE, 0, None, "0 channels"),
        ("a.wav", 0, 1, None, "0 Hz"),
        ("a.mp3", RATE, 1, None, r"\.wav or \.flac"),
        ("none/a.wav", RATE, 1, None, "no folder .*none.*create"),
        ("file/a.wav", RATE, 1, None, "no folder"),
        ("folder.wav", RATE, 1, None, "it is a folder"),
        ("x" * 300 + ".wav", RATE, 1, None, "too long|another path"),
    ],
)
def test_impossible_outputs_say_why(tmp_path, name, rate, channels, subtype, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(AudioFileError, match=message):
        AudioWriter(tmp_path / name, rate, channels, subtype)
    assert not leftovers(tmp_path)


def test_writing_blocks_of_another_shape(tmp_path):
    for shape in [(10,), (1, 10), (10, 2)]:
        with pytest.raises(ValueError, match=r"\(2, n\)"), AudioWriter(tmp_path / "a.wav", RATE, 2) as writer:
            writer.write(np.zeros(shape, np.float32))
    assert list(tmp_path.iterdir()) == []


def test_a_wav_ends_before_its_header_overflows(tmp_path, monkeypatch):
    monkeypatch.setattr(output_module, "MAX_WAV_BYTES", 3 * 2 * 1000)
    with AudioWriter(tmp_path / "a.wav", RATE, 2) as writer:
        writer.write(noise(2, 1000))
        with pytest.raises(AudioFileError, match="4 GiB"):
            writer.write(noise(2, 1))
    assert read_audio(tmp_path / "a.wav")[0].shape == (2, 1000)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_full_disk_leaves_the_old_file(tmp_path, name):
    resource = pytest.importorskip("resource")
    (tmp_path / name).write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        with AudioWriter(tmp_path / name, RATE, 2) as writer:
            writer.write(noise())

    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # Python ignores SIGXFSZ: writing fails instead
        with pytest.raises(AudioFileError, match="free some space"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / name).read_bytes() == b"old"
    assert not leftovers(tmp_path)


def test_output_may_not_be_the_input(tmp_path, monkeypatch):
    source = store(tmp_path / "a.wav", noise(1, 10))
    (tmp_path / "hard.wav").hardlink_to(source)
    (tmp_path / "soft.wav").symlink_to(source)
    (tmp_path / "sub").mkdir()
    store(tmp_path / "other.wav", noise(1, 10))
    monkeypatch.chdir(tmp_path)
    for name in ["a.wav", "sub/../a.wav", "hard.wav", "soft.wav"]:
        with pytest.raises(AudioFileError, match="input"):
            check_output(source, Path(name))
        check_output(None, Path(name))
    for name in ["other.wav", "new.flac"]:
        check_output(source, Path(name))
    check_output(Path("missing.wav"), Path("a.wav"))


def test_output_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(AudioFileError, match="permission"):
        check_output(None, tmp_path / "a.wav")


@pytest.mark.skipif(os.name == "nt", reason="no device files")
def test_a_device_is_not_replaced(tmp_path):
    (tmp_path / "a.wav").symlink_to("/dev/null")
    with pytest.raises(AudioFileError, match="device"):
        AudioWriter(tmp_path / "a.wav", RATE, 1)


def test_find_audio_nested_hidden_and_loops(tmp_path):
    music, elsewhere = tmp_path / "music", tmp_path / "elsewhere"
    for folder in [music / "b" / "deep", music / ".hidden", music / "folder.wav", elsewhere]:
        folder.mkdir(parents=True)
    for name in ["z.wav", "b/a.FLAC", "b/deep/c.opus", "b/notes.txt", "b/._a.wav", ".hidden/d.wav", ".e.wav"]:
        (music / name).touch()
    (elsewhere / "f.mp3").touch()
    (music / "b" / "loop").symlink_to(music)
    (music / "linked").symlink_to(elsewhere)
    (music / "again").symlink_to(elsewhere)
    (music / "broken.wav").symlink_to(tmp_path / "nowhere.wav")
    (music / "self.wav").symlink_to(music / "self.wav")
    names = [path.relative_to(music).as_posix() for path in find_audio(music)]
    assert names == ["again/f.mp3", "b/a.FLAC", "b/deep/c.opus", "z.wav"]


def test_find_audio_of_nothing(tmp_path):
    assert find_audio(tmp_path) == []
    with pytest.raises(AudioFileError, match="does not exist"):
        find_audio(tmp_path / "none")
    (tmp_path / "a.wav").touch()
    with pytest.raises(AudioFileError, match="not a folder"):
        find_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("total", "free", "reason"),
    [(0, 0, "the system keeps no files there"), (2**40, 2**19, "the disk is full"), (2**40, 2**39, "No such thing")],
)
def test_a_target_that_cannot_be_made_says_why(tmp_path, monkeypatch, total, free, reason):
    def refuse(*_: object) -> None:
        raise OSError(2, "No such thing")

    monkeypatch.setattr(output_module.sf, "SoundFile", refuse)
    monkeypatch.setattr(output_module.shutil, "disk_usage", lambda _: SimpleNamespace(total=total, free=free))
    with pytest.raises(AudioFileError, match=f"Cannot write .*a.wav': {reason}; free some space"):
        AudioWriter(tmp_path / "a.wav", RATE, 1)
    assert not list(tmp_path.iterdir())
