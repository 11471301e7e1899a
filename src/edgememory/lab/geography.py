"""The world file: who is where, and how far from whom."""

import math
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from edgememory.errors import ConfigError

_EARTH_RADIUS_KM = 6371.0
_GLASS_KM_PER_MS = 200.0
_LONGEST_MS = 10_000.0

_Name = Annotated[str, Meta(min_length=1)]
_ByPair = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Milliseconds by source, here and there."""


class Place(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A point on the map, in degrees."""

    label: _Name
    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]


class _Caller(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    place: _Name
    agent: _Name | None = None


class _Agent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    place: _Name
    edge: _Name
    hosts: tuple[_Name, ...] = ()


class _Replica(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    place: _Name


class _Jitter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    share: Annotated[float, Meta(ge=0, le=1)]
    source: _Name


class _Delay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    milliseconds: Annotated[float, Meta(ge=0, le=_LONGEST_MS)]
    source: _Name


class _Kv(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    first_read: _Delay
    distant_object: _Delay


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: _Name
    origin: _Name
    path_factor: Annotated[float, Meta(ge=1, le=10)]
    jitter: _Jitter
    sources: dict[str, _Name]
    places: dict[str, Place]
    callers: Annotated[tuple[_Caller, ...], Meta(min_length=1)]
    agents: Annotated[tuple[_Agent, ...], Meta(min_length=1)]
    replicas: tuple[_Replica, ...] = ()
    kv: _Kv | None = None
    round_trip_ms: dict[str, dict[str, dict[str, float]]] = {}
    jitter_ms: dict[str, dict[str, dict[str, float]]] = {}


class _Measured(NamedTuple):
    milliseconds: float
    source: str


class LinkShape(NamedTuple):
    """How far two places are from each other, in seconds."""

    round_trip: float
    jitter: float
    """What queues add to a round trip, on average."""
    source: str | None
    """Who says how long the round trip is; `None` if it follows from the distance."""


class KvDelays(NamedTuple):
    """What Cloudflare's network adds to requests of the Worker, in seconds."""

    first_read: float
    """To the first read of a key in a location."""
    distant_object: float
    """To each request of an object in another part of the world."""


class Region(Struct, frozen=True, kw_only=True):
    """Callers, and the places of what serves them."""

    name: str
    caller: str
    agent: str
    hosts: tuple[str, ...]
    edge: str
    replica: str | None
    """The nearest to the agent; none where the origin is nearer."""


class World:
    """A checked world file."""

    def __init__(self, file: _File) -> None:
        _check_places(file)
        self.name = file.name
        self.origin = file.origin
        self.places: Mapping[str, Place] = file.places
        self.sources: Mapping[str, str] = file.sources
        self.callers = tuple(caller.place for caller in file.callers)
        self.replicas = tuple(replica.place for replica in file.replicas)
        self.kv = _kv_delays(file)
        """`None` in a world without Cloudflare."""
        self._file = file
        self._round_trips = _measured("round_trip_ms", file.round_trip_ms, file)
        self._jitters = _measured("jitter_ms", file.jitter_ms, file)
        _check_insides(file, self._round_trips)

    def link(self, here: str, there: str) -> LinkShape:
        """Return how far *here* is from *there*: the same both ways."""
        pair = frozenset((here, there))
        measured, jittery = self._round_trips.get(pair), self._jitters.get(pair)
        round_trip, source = (self._estimated(here, there), None) if measured is None else measured
        jitter = self._file.jitter.share * round_trip if jittery is None else jittery.milliseconds
        return LinkShape(round_trip / 1000, jitter / 1000, source)

    def region(self, name: str) -> Region:
        """Return who serves the callers of the place *name*: the nearest, unless the file says otherwise."""
        caller = next(caller for caller in self._file.callers if caller.place == name)
        agents = {agent.place: agent for agent in self._file.agents}
        agent = agents[caller.agent or self._nearest(name, agents)]
        database = self._nearest(agent.place, (self.origin, *self.replicas))
        return Region(
            name=name,
            caller=name,
            agent=agent.place,
            hosts=agent.hosts,
            edge=agent.edge,
            replica=None if database == self.origin else database,
        )

    def _nearest(self, place: str, places: Iterable[str]) -> str:
        return min(places, key=lambda other: self.link(place, other).round_trip)

    def _estimated(self, here: str, there: str) -> float:
        over_ground = distance(self.places[here], self.places[there])
        return 2 * over_ground * self._file.path_factor / _GLASS_KM_PER_MS


def distance(here: Place, there: Place) -> float:
    """Return the way over ground between two places, in kilometres (haversine, on a sphere)."""
    south, north = math.radians(here.latitude), math.radians(there.latitude)
    turn = math.radians(there.longitude - here.longitude)
    chord = math.sin((north - south) / 2) ** 2 + math.cos(south) * math.cos(north) * math.sin(turn / 2) ** 2
    return 2 * _EARTH_RADIUS_KM * math.asin(math.sqrt(chord))


def read_world(path: Path | None = None) -> World:
    """Read and check a world file: the default one, unless *path* names another.

    Raises:
        ConfigError: names the setting, and says what it must be.
    """
    where = "the default world" if path is None else str(path)
    try:
        text = (files("edgememory.lab") / "world.toml" if path is None else path).read_text(encoding="utf-8")
        return World(msgspec.convert(tomllib.loads(text), _File))
    except OSError as error:
        raise ConfigError(f"cannot read the world file: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not valid TOML: {error}") from error
    except ValueError as error:  # msgspec's, and those of the checks below
        raise ConfigError(f"{where}: {error}") from error


def _check_places(file: _File) -> None:
    used = {
        "callers.place": [caller.place for caller in file.callers],
        "agents.place": [agent.place for agent in file.agents],
        "replicas.place": [replica.place for replica in file.replicas],
    }
    for setting, places in used.items():
        for place in places:
            _check_known(setting, place, file.places, "places")
            if places.count(place) > 1:
                raise ValueError(f"{setting} names {place!r} twice")
    _check_known("origin", file.origin, file.places, "places")
    _check_known("jitter.source", file.jitter.source, file.sources, "sources")
    for agent in file.agents:
        _check_known("agents.edge", agent.edge, file.places, "places")
    for caller in file.callers:
        if caller.agent is not None:
            _check_known("callers.agent", caller.agent, used["agents.place"], "agents")


def _check_known(setting: str, name: str, known: Iterable[str], section: str) -> None:
    if name not in known:
        raise ValueError(f"{setting} names {name!r}, which is not among the {section}: {', '.join(known)}")


def _kv_delays(file: _File) -> KvDelays | None:
    if file.kv is None:
        return None
    _check_known("kv.first_read.source", file.kv.first_read.source, file.sources, "sources")
    _check_known("kv.distant_object.source", file.kv.distant_object.source, file.sources, "sources")
    return KvDelays(file.kv.first_read.milliseconds / 1000, file.kv.distant_object.milliseconds / 1000)


def _measured(setting: str, by_pair: _ByPair, file: _File) -> dict[frozenset[str], _Measured]:
    found: dict[frozenset[str], _Measured] = {}
    for source, here, there, milliseconds in _flat(by_pair):
        _check_known(setting, source, file.sources, "sources")
        for place in (here, there):
            _check_known(f"{setting}.{source}", place, file.places, "places")
        between = f"from {here} to {there}"
        if not 0 <= milliseconds <= _LONGEST_MS:
            raise ValueError(f"{setting}.{source} {between} must be from 0 to {_LONGEST_MS:,.0f}, not {milliseconds}")
        pair = frozenset((here, there))
        if pair in found:
            raise ValueError(f"{setting} has the way {between} twice: in {found[pair].source} and in {source}")
        found[pair] = _Measured(milliseconds, source)
    return found


def _flat(by_pair: _ByPair) -> Iterable[tuple[str, str, str, float]]:
    for source, rows in by_pair.items():
        for here, row in rows.items():
            for there, milliseconds in row.items():
                yield source, here, there, milliseconds


def _check_insides(file: _File, round_trips: Mapping[frozenset[str], object]) -> None:
    """Refuse a place that is asked from within, if nobody says how long that takes: its distance is 0."""
    near = {file.origin, *(caller.place for caller in file.callers), *(replica.place for replica in file.replicas)}
    inside = [file.origin, *(agent.place for agent in file.agents if agent.place in near | {agent.edge})]
    for place in inside:
        if frozenset((place,)) not in round_trips:
            raise ValueError(f"round_trip_ms lacks the way from {place} to {place}: no distance tells it")
