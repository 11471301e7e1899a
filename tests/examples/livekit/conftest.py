"""The example is a program of its own: its modules are found beside it, as they are when it runs."""

import sys

from tests.docs.fences import ROOT

sys.path.insert(0, str(ROOT / "examples" / "livekit_agent"))
