"""The map of the page: places by longitude and latitude, and the links between them. Pure geometry.

It is drawn for a width of 960 pixels, and scaled: words are put where they stand on nothing else.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from msgspec import Struct

from edgememory.lab.report import Report, Spot

_STEP = 5.0
_NORTH = 75.0
_LAND = """
...##......###########..########........##....##..################......
##.#####################.######.......##################################
...##############...###..###...##....###################################
....##...#########..####...........#.###########################...##...
..........###############.........##.###########################...#....
...........###############.........#############################........
...........###########............###.########################..#.......
...........##########.............####..####################.#.#........
............########..............##########################..#.........
.............####..#.............#############.#############............
..............###.###............###############..#########.#...........
...............###...#...........##############...###..###..#...........
..................#..##..........#############.....#....##..#...........
...................######........#############.............##...........
....................######............#######..........##.###...........
....................########..........######............#.#.#.###.......
....................#########.........######.............##....###......
.....................########.........######.#................#.#.......
......................######..........######.#...............####.......
......................######...........####..#.............#######......
......................####.............####................########.....
......................####.............###.................##.#####.....
.....................####.......................................##.....#
.....................##..........................................#....#.
.....................##..............................................#..
.....................#..................................................
"""
"""A sketch of the continents in steps of five degrees: from 75 north, and from 180 west."""

WIDTH = 960.0
_SCALE = WIDTH / 360
HEIGHT = len(_LAND.split()) * _STEP * _SCALE
_LETTER, _LINE = 6.9, 16.0
"""The width of a letter and the height of a line of 13 px: a guess that is wide enough for most fonts."""
_REACH = 13.0
"""How far from the middle of a marker words begin."""
_MARKER = 9.0
_GRID = 30
_ALONG = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74)

Role = Literal["caller", "agent", "replica", "origin"]
Carries = Literal["voice", "memory"]


class Point(NamedTuple):
    """Right and down from the upper left."""

    x: float
    y: float


class Box(NamedTuple):
    """What words or a marker cover."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> Point:
        return Point((self.left + self.right) / 2, (self.top + self.bottom) / 2)

    def meets(self, other: "Box") -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


class Words(Struct, frozen=True):
    """Words in the middle of a box."""

    text: str
    box: Box


class Marker(Struct, frozen=True):
    """A place, and what stands there."""

    at: Point
    roles: tuple[Role, ...]
    words: Words | None


class Route(Struct, frozen=True):
    """A link: one line, or two where it leaves the map on one side and comes back on the other."""

    carries: Carries
    lines: tuple[tuple[Point, Point], ...]
    words: Words | None


class WorldMap(Struct, frozen=True):
    """What to draw. Words are left out where there is no room for them."""

    width: float
    height: float
    meridians: tuple[float, ...]
    parallels: tuple[float, ...]
    land: tuple[Point, ...]
    routes: tuple[Route, ...]
    markers: tuple[Marker, ...]


class _Room:
    """Finds room for words."""

    def __init__(self, markers: Iterable[Point]) -> None:
        self._taken = [_around(at, _MARKER * 2, _MARKER * 2) for at in markers]

    def words(self, text: str, middles: Iterable[Point]) -> Words | None:
        """Put *text* around the first of *middles* where nothing else is."""
        for middle in middles:
            box = _around(middle, width_of(text), _LINE)
            inside = box.left >= 0 and box.right <= WIDTH and box.top >= 0 and box.bottom <= HEIGHT
            if inside and not any(box.meets(other) for other in self._taken):
                self._taken.append(box)
                return Words(text, box)
        return None


def world_map(report: Report) -> WorldMap:
    """Draw the places that serve the regions of *report*, and how far they are from each other."""
    roles = _roles(report)
    points = {place: project(report.places[place]) for place in roles}
    room = _Room(points.values())
    markers = [
        Marker(at, roles[place], room.words(label, _beside(at, width_of(label))))
        for place, at in points.items()
        for label in (report.places[place].label,)
    ]
    routes = [
        Route(carries, lines, room.words(words, _along(lines, width_of(words))))
        for (carries, here, there), milliseconds in _links(report).items()
        for lines, words in ((_lines(points[here], points[there]), f"{milliseconds:.0f} ms"),)
    ]
    return WorldMap(
        width=WIDTH,
        height=HEIGHT,
        meridians=tuple((longitude + 180) * _SCALE for longitude in range(-150, 180, _GRID)),
        parallels=tuple((_NORTH - latitude) * _SCALE for latitude in range(60, -60, -_GRID)),
        land=tuple(_land()),
        routes=tuple(routes),
        markers=tuple(markers),
    )


def project(spot: Spot) -> Point:
    """Equirectangular: a degree is as long everywhere."""
    return Point((spot.longitude + 180) * _SCALE, min(HEIGHT, max(0.0, (_NORTH - spot.latitude) * _SCALE)))


def width_of(text: str) -> float:
    return len(text) * _LETTER


def _roles(report: Report) -> dict[str, tuple[Role, ...]]:
    roles: dict[str, tuple[Role, ...]] = {report.origin: ("origin",)}

    def add(place: str, role: Role) -> None:
        roles[place] = tuple(dict.fromkeys((*roles.get(place, ()), role)))

    for region in report.regions.values():
        add(region.caller, "caller")
        add(region.agent, "agent")
        if region.replica is not None:
            add(region.replica, "replica")
    return roles


def _links(report: Report) -> dict[tuple[Carries, str, str], float]:
    """Round trips between places that are not the same, in milliseconds."""
    links: dict[tuple[Carries, str, str], float] = {}
    for region in report.regions.values():
        links["voice", region.caller, region.agent] = region.user_ms
        links["memory", region.agent, report.origin] = region.origin_ms
        if region.replica is not None and region.replica_ms is not None:
            links["memory", region.agent, region.replica] = region.replica_ms
    return {link: milliseconds for link, milliseconds in links.items() if link[1] != link[2]}


def _lines(here: Point, there: Point) -> tuple[tuple[Point, Point], ...]:
    """The short way around the globe."""
    if abs(there.x - here.x) <= WIDTH / 2:
        return ((here, there),)
    around = math.copysign(WIDTH, here.x - there.x)
    return ((here, Point(there.x + around, there.y)), (Point(here.x - around, here.y), there))


def _beside(at: Point, width: float) -> Iterator[Point]:
    for down in (0.0, -0.7 * _LINE, 0.7 * _LINE):
        yield Point(at.x + _REACH + width / 2, at.y + down)
        yield Point(at.x - _REACH - width / 2, at.y + down)
    for down in (-_REACH - _LINE / 2, _REACH + _LINE / 2):
        for right in (0.0, width / 3, -width / 3):
            yield Point(at.x + right, at.y + down)


def _along(lines: Iterable[tuple[Point, Point]], width: float) -> Iterator[Point]:
    lines, beside = tuple(lines), width / 2 + _REACH
    for right, down in ((0.0, 0.0), (0.0, _LINE), (0.0, -_LINE), (beside, 0.0), (-beside, 0.0)):
        for share in _ALONG:
            for here, there in lines:
                yield Point(here.x + share * (there.x - here.x) + right, here.y + share * (there.y - here.y) + down)


def _around(middle: Point, width: float, height: float) -> Box:
    return Box(middle.x - width / 2, middle.y - height / 2, middle.x + width / 2, middle.y + height / 2)


def _land() -> Iterator[Point]:
    for row, line in enumerate(_LAND.split()):
        for column, cell in enumerate(line):
            if cell == "#":
                yield Point((column + 0.5) * _STEP * _SCALE, (row + 0.5) * _STEP * _SCALE)
