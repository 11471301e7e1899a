"""What callers say, spoken by flite."""

import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

RATE = 16_000


def spoken(text: str) -> bytes:
    """Return 16-bit samples, mono, at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speech.wav"
        subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", file], check=True)
        with wave.open(str(file)) as recording:
            assert recording.getframerate() == RATE
            return bytes(recording.readframes(recording.getnframes()))


def microphone_file(path: Path, *, silence: float, text: str = "") -> None:
    """Write what Chromium's false microphone plays at 48 kHz, again and again: *silence* seconds, then *text*."""
    speech = np.frombuffer(spoken(text) if text else b"", np.int16)
    finer = np.interp(np.arange(len(speech) * 3) / 3, np.arange(len(speech)), speech) if text else speech
    with wave.open(str(path), "wb") as recording:
        recording.setparams((1, 2, RATE * 3, 0, "NONE", "not compressed"))
        recording.writeframes(bytes(int(silence * RATE) * 6) + finer.astype(np.int16).tobytes())
