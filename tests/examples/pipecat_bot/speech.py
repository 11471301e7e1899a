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


def microphone_file(path: Path, *, silence: float, text: str) -> None:
    """Write what Chromium's false microphone plays: *silence* seconds, then *text*, then silence; at 48 kHz."""
    speech = np.frombuffer(spoken(text), np.int16)
    finer = np.interp(np.arange(len(speech) * 3) / 3, np.arange(len(speech)), speech).astype(np.int16)
    with wave.open(str(path), "wb") as recording:
        recording.setparams((1, 2, RATE * 3, 0, "NONE", "not compressed"))
        quiet = bytes(int(silence * RATE) * 6)
        recording.writeframes(quiet + finer.tobytes() + bytes(30 * RATE * 6))
