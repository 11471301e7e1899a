"""What the page is told, as plain data: it only has to show it."""

from datetime import datetime

from edgememory import Read, Receipt, Session
from voicebot.providers import Providers

# What a memory's tiers are called, in `edgememory.toml` and in `opened_with`, and what a caller may make of it.
_PLACES = {"memory": "process", "host": "host", "replica": "replica", "origin": "Geneva"}


def place_of(tier: str) -> str:
    """Return which of process, host, edge, replica and Geneva a tier is; empty if nothing answered."""
    return _PLACES.get(tier, "edge") if tier else ""


def memory_message(
    session: Session, providers: Providers, *, opened_in: float, waited: float, origin_is_here: bool
) -> dict[str, object]:
    """Return what is remembered, where it was found, and how long that took (seconds)."""
    snapshot, read = session.snapshot, session.opened_with
    lines = [found(read, opened_in) if session.user_id else "Nobody said who calls: nothing is looked up or kept."]
    if waited:
        lines.append(f"The last reply waited {shown(waited)} for it.")
    if origin_is_here:
        lines.append("Geneva stands for the origin: here, a Postgres on this machine.")
    return {
        "kind": "memory",
        "name": snapshot.name,
        "facts": [fact.text for fact in snapshot.facts],
        "talks": talks(len({message.session_id for message in snapshot.messages})),
        "tier": place_of(read.tier),
        "found": lines,
        "providers": f"Hears: {providers.hears}. Thinks: {providers.thinks}. Speaks: {providers.speaks}.",
    }


def receipt_message(receipt: Receipt) -> dict[str, object]:
    """Return what was forgotten where, and what was not."""
    left = [cleared.store for cleared in receipt.stores if not cleared.cleared]
    return {
        "kind": "receipt",
        "summary": (
            f"Not forgotten yet in: {', '.join(left)}."
            if left
            else "You are forgotten, and nothing of this call is kept from here on."
        ),
        "stores": [
            {"store": it.store, "outcome": it.error or "not cleared" if not it.cleared else cleared_by(it.effective_by)}
            for it in receipt.stores
        ],
    }


def error_message(error: Exception) -> dict[str, object]:
    """Return that nothing was forgotten, and why."""
    return {"kind": "receipt", "summary": f"You are not forgotten: {error}. Try again.", "stores": []}


def talks(count: int) -> str:
    """Return how many conversations it still has words of."""
    if count == 0:
        return ""
    return "The last words of one conversation." if count == 1 else f"The last words of {count} conversations."


def found(read: Read, seconds: float) -> str:
    """Return where memory was found, how quickly and how fresh."""
    if not read.tier:
        return f"Nothing answered within {shown(seconds)}: the call goes on without memory."
    return f"Found in {shown(seconds)}: {read.status}, {aged(read.age)} old."


def shown(seconds: float) -> str:
    """Return a short time, in the unit that it is read best in."""
    # With a space that does not break.
    return f"{seconds * 1000:.1f}\u00a0ms" if seconds < 0.1 else f"{seconds * 1000:.0f}\u00a0ms"


def aged(seconds: float) -> str:
    """Return a time that may be long, roughly."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}\u00a0{unit}"
    return f"{seconds:.1f}\u00a0s"


def cleared_by(moment: datetime | None) -> str:
    """Return from when on a store serves nothing of the user."""
    return "cleared" if moment is None else f"cleared by {moment:%H:%M:%S} UTC"
