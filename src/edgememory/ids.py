"""Change ids: UUIDv7, in order of making, and above whatever their session has seen."""

from uuid_utils import uuid7


def next_id(above: str = "") -> str:
    """Return a new id, larger than *above* (an id, or empty).

    What was said later with knowledge of the earlier must win, also where this host's clock is behind the one that
    made *above*: then the new id stands one millisecond after it. Elsewhere ids also grow from call to call.
    """
    fresh = str(uuid7())
    if fresh > above:
        return fresh
    try:
        millisecond = f"{int(above[:8] + above[9:13], 16) + 1:012x}"
    except ValueError:
        return fresh  # What a foreign program calls an id no origin takes: there is nothing to be above.
    return f"{millisecond[:8]}-{millisecond[8:]}{fresh[13:]}"
