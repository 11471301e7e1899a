"""Notes what one process does with its sessions, as the events that the promises are checked on."""

import time
from collections.abc import Callable, Mapping

from edgememory.changes import Change, FactForgotten, FactRemembered, MessageAdded, NameSet, PreferenceSet, SummaryAdded
from edgememory.models import Snapshot
from edgememory.session import Session
from edgememory.testing.history import Event, Form, Got, Left, Made, Of, Saw, texts_of
from edgememory.walk import Read


class Witness:
    """Hands each event to *add* as it happens: to a `History`, or to a file that outlives the process.

    *clock* is in seconds; the witnesses of one history share it. *host* names the outbox, unless
    `History.outboxes` says more.
    """

    def __init__(
        self,
        add: Callable[[Event], None],
        *,
        process: str,
        host: str,
        region: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._add = add
        self._process = process
        self._host = host
        self._region = region
        self._clock = clock

    def note(self, kind: Callable[..., Of], user: str, began: float | None = None, **fields: object) -> None:
        """Note an event of any kind; one that took no time if *began* is left out."""
        at = self._clock()
        began = at if began is None else began
        names = {"process": self._process, "host": self._host, "region": self._region}
        self._add(kind(at=at, began=began, user=user, **names, **fields))

    def read(self, user: str, began: float, read: Read, shown: Snapshot | None = None, **fields: object) -> None:
        """Note an answer, and what was shown of it if that was more."""
        shown = read.snapshot if shown is None else shown
        self.note(
            Got,
            user,
            began,
            status=read.status,
            tier=read.tier,
            version=read.snapshot.version,
            erased_at=shown.erased_at,
            erased_time=shown.erased_time,
            exists=shown.exists,
            texts=texts_of(shown),
            **fields,
        )

    def opened(self, session: Session, user: str, began: float, *, at_least: int = 0) -> None:
        """Note what a session opened on: before it changes anything."""
        shown = None if session.ended else session.snapshot
        self.read(user, began, session.opened_with, shown, at_least=at_least, session=session.session_id)

    def made(
        self,
        session: Session,
        user: str,
        text: str,
        *,
        form: Form | None = None,
        refusable: bool = False,
        later: int = 0,
    ) -> None:
        """Note the last change of *session*, or the one that *later* others followed.

        At once, before the event loop can make it durable: so too what `Session.identify` has handed over.

        *text* is what it shows and no other change does: of a preference, the value. *form* is said where it is not
        the change's own: a fact that the change has replaced is `forgotten`.
        """
        change = _change_of(session, later)
        self.note(
            Made,
            user,
            session=session.session_id,
            id=change.id,
            form=_FORMS[type(change)] if form is None else form,
            text=text,
            base=change.base,
            started=change.session_started,
            refusable=refusable,
        )

    def saw(self, session: Session, user: str) -> None:
        """Note what an open session shows."""
        shown = session.snapshot
        version, texts, ended = shown.version, texts_of(shown), session.ended
        self.note(Saw, user, session=session.session_id, version=version, texts=texts, ended=ended)

    def left(self, session: Session, user: str, began: float) -> None:
        """Note that a session was left; leaving it began at *began*."""
        self.note(Left, user, began, session=session.session_id, durable=session.durable, ended=session.ended)


_FORMS: Mapping[type[Change], Form] = {
    FactForgotten: "forgotten",
    FactRemembered: "fact",
    MessageAdded: "message",
    NameSet: "name",
    PreferenceSet: "preference",
    SummaryAdded: "summary",
}


def _change_of(session: Session, later: int) -> Change:
    # What the origin judges a change by is shown to nobody else.
    return [*session._stay.view.own.values()][-1 - later]  # pyright: ignore[reportPrivateUsage]
