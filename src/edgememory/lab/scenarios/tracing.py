"""Which requests each call has made: found in its agent's record by the user, once all of them have ended."""

from collections.abc import Sequence

from edgememory.lab.calls import Call
from edgememory.lab.people import Person
from edgememory.lab.samples import Traced
from edgememory.lab.stage import Stage, drained


async def trace(stage: Stage, calls: Sequence[Call]) -> None:
    """Keep what was asked for each of *calls*, background included."""
    await drained(stage.site)
    for call in calls:
        person = Person(stage.ledger.said[call.said], "")
        requests = [
            request
            for agent in stage.agents
            for request in agent.record.requests
            if request.user == person.key and request.started >= call.asked
        ]
        stage.samples.traced.append(
            Traced(
                region=stage.site.region.name,
                asked=call.asked,
                opened=call.opened,
                leaving=call.leaving,
                left=call.left,
                requests=tuple(sorted(requests, key=lambda request: request.started)),
            )
        )
