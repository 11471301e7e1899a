"""The world file."""

from pathlib import Path
from statistics import median

import pytest

from edgememory.errors import ConfigError
from edgememory.lab.geography import Place, World, distance, read_world
from tests.docs.fences import ROOT, fences

PAGE = ROOT / "docs/reference/world.md"
OWN, _ = fences("docs/reference/world.md", "toml")
DEFAULT = read_world()
CALLERS = ("san_francisco", "new_york", "sao_paulo", "london", "tokyo", "sydney")
SMALL = """
name = "small"
origin = "geneva"
path_factor = 2
jitter = { share = 0.1, source = "us" }
sources = { us = "ours", them = "theirs" }
callers = [{ place = "london" }]
agents = [{ place = "paris", edge = "paris" }, { place = "oslo", edge = "paris", hosts = ["Host"] }]
replicas = [{ place = "oslo" }]

[places]
geneva = { label = "Geneva", latitude = 46.2, longitude = 6.1 }
london = { label = "London", latitude = 51.5, longitude = -0.1 }
paris = { label = "Paris", latitude = 48.9, longitude = 2.4 }
oslo = { label = "Oslo", latitude = 59.9, longitude = 10.7 }

[kv]
first_read = { milliseconds = 200, source = "us" }
distant_object = { milliseconds = 90, source = "them" }

[round_trip_ms.us]
geneva = { geneva = 1 }
paris = { paris = 2, geneva = 12 }
oslo = { oslo = 0, geneva = 30 }

[jitter_ms.them]
geneva = { paris = 3 }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "world.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def changed(file: Path, old: str, new: str) -> World:
    text = SMALL.replace(old, new, 1)
    assert text != SMALL
    file.write_text(text, encoding="utf-8")
    return read_world(file)


def test_the_default_world_has_the_six_regions() -> None:
    assert DEFAULT.origin == "geneva"
    assert DEFAULT.callers == CALLERS
    assert len(DEFAULT.replicas) == 3
    regions = [DEFAULT.region(name) for name in CALLERS]
    assert {region.name: (region.agent, region.edge, region.replica) for region in regions} == {
        "san_francisco": ("us-west", "us-west", "us-west"),
        "new_york": ("us-east", "us-east", "us-east"),
        "sao_paulo": ("us-east", "us-east", "us-east"),
        "london": ("eu-central", "eu-central", None),
        "tokyo": ("us-west", "us-west", "us-west"),
        "sydney": ("ap-south", "ap-south", "ap-south"),
    }
    assert DEFAULT.region("london").hosts == ("LiveKit Cloud", "Pipecat Cloud")
    assert DEFAULT.region("tokyo").hosts == ("Pipecat Cloud",)


def test_the_default_world_keeps_the_problems_numbers() -> None:
    assert DEFAULT.link("san_francisco", "us-west")[::2] == (0.020, "problem")
    assert DEFAULT.link("us-west", "geneva")[::2] == (0.150, "problem")


def test_the_default_world_estimates_one_link_only() -> None:
    agents = ("us-west", "us-east", "eu-central", "ap-south")
    used = {(caller, far) for caller in CALLERS for far in (*agents, "geneva")}
    used |= {(agent, far) for agent in agents for far in (*agents, "geneva")} | {("geneva", "geneva")}
    assert [pair for pair in used if DEFAULT.link(*pair).source is None] == [("new_york", "us-east")]
    assert {link.source for pair in used if (link := DEFAULT.link(*pair)).source} < set(DEFAULT.sources)


def test_the_default_path_factor_is_the_published_one() -> None:
    places = tuple(DEFAULT.places)
    pairs = [(here, there) for number, here in enumerate(places) for there in places[number + 1 :]]
    published = [pair for pair in pairs if DEFAULT.link(*pair).source == "azure"]
    assert len(published) == 32
    factors = [DEFAULT.link(*pair).round_trip / in_glass(DEFAULT, *pair) for pair in published]
    assert median(factors) == pytest.approx(1.7, abs=0.05)
    assert DEFAULT.link("new_york", "us-east").round_trip / in_glass(DEFAULT, "new_york", "us-east") == pytest.approx(
        1.7
    )


def in_glass(world: World, here: str, there: str) -> float:
    """How long light takes there and back, in seconds."""
    return 2 * distance(world.places[here], world.places[there]) / 200_000


def test_the_page_says_what_the_default_world_has() -> None:
    shown = [row.strip("| ").split(" | ") for row in PAGE.read_text(encoding="utf-8").splitlines() if " ms | " in row]
    assert shown == [row(DEFAULT, name) for name in CALLERS]


def row(world: World, name: str) -> list[str]:
    region = world.region(name)
    here, agent = world.places[name].label, world.places[region.agent].label
    waits = (world.link(name, region.agent).round_trip, world.link(region.agent, world.origin).round_trip)
    replica = world.places[region.replica].label if region.replica else "none: Geneva is near"
    return [here, agent, ", ".join(region.hosts), *(f"{wait * 1000:.0f} ms" for wait in waits), replica]


def test_the_default_distant_object_is_as_far_as_other_agents_are() -> None:
    agents = sorted({DEFAULT.region(name).agent for name in CALLERS})
    pairs = [(here, there) for number, here in enumerate(agents) for there in agents[number + 1 :]]
    assert DEFAULT.kv is not None
    assert DEFAULT.kv.distant_object == pytest.approx(median(DEFAULT.link(*pair).round_trip for pair in pairs))


def test_a_world_may_be_without_cloudflare(file: Path) -> None:
    assert read_world(file).kv == (0.2, 0.09)
    kv = SMALL[SMALL.index("[kv]") : SMALL.index("[round_trip_ms.us]")]
    assert changed(file, kv, "").kv is None


def test_a_distance_is_a_great_circle() -> None:
    def at(latitude: float, longitude: float) -> Place:
        return Place(label="somewhere", latitude=latitude, longitude=longitude)

    quarter = 10_007.5
    assert distance(at(0, 0), at(0, 90)) == pytest.approx(quarter, rel=1e-4)
    assert distance(at(90, 17), at(0, -120)) == pytest.approx(quarter, rel=1e-4)
    assert distance(at(0, 179), at(0, -179)) == pytest.approx(quarter / 45, rel=1e-4)
    assert distance(at(46.2, 6.1), at(37.8, -122.4)) == pytest.approx(9_357, rel=1e-3)


def test_a_link_is_as_far_back(file: Path) -> None:
    world = read_world(file)
    assert world.link("paris", "geneva") == world.link("geneva", "paris") == (0.012, 0.003, "us")


def test_what_nobody_measured_follows_from_the_distance(file: Path) -> None:
    world = read_world(file)
    link = world.link("london", "paris")
    assert link.round_trip == pytest.approx(2 * in_glass(world, "london", "paris"))
    assert link.jitter == pytest.approx(link.round_trip / 10)
    assert link.source is None


def test_a_measured_round_trip_of_nothing_is_not_estimated(file: Path) -> None:
    assert read_world(file).link("oslo", "oslo") == (0.0, 0.0, "us")


def test_the_nearest_agent_answers_unless_the_file_says_otherwise(file: Path) -> None:
    near = read_world(file).region("london")
    assert (near.caller, near.agent, near.edge, near.hosts) == ("london", "paris", "paris", ())
    given = changed(file, '{ place = "london" }', '{ place = "london", agent = "oslo" }').region("london")
    assert (given.caller, given.agent, given.edge, given.hosts) == ("london", "oslo", "paris", ("Host",))


def test_a_replica_that_is_farther_than_the_origin_is_none(file: Path) -> None:
    assert read_world(file).region("london").replica is None
    given = changed(file, '{ place = "london" }', '{ place = "london", agent = "oslo" }')
    assert given.region("london").replica == "oslo"
    alone = changed(file, 'replicas = [{ place = "oslo" }]', "")
    assert alone.replicas == ()
    assert alone.region("london").replica is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('origin = "geneva"', 'origin = "bern"', "origin names 'bern', which is not among the places: geneva,"),
        ('{ place = "london" }', '{ place = "rome" }', "callers.place names 'rome'"),
        ('{ place = "london" }', '{ place = "london" }, { place = "london" }', "callers.place names 'london' twice"),
        ('{ place = "london" }', '{ place = "london", agent = "geneva" }', "callers.agent names 'geneva'.*paris, oslo"),
        ('callers = [{ place = "london" }]', "callers = []", "length >= 1 - at `$.callers`"),
        ('agents = [{ place = "paris"', 'agents = [{ place = "rome"', "agents.place names 'rome'"),
        ('edge = "paris" }', 'edge = "rome" }', "agents.edge names 'rome'"),
        ('agents = [{ place = "paris"', 'agents = [{ place = "oslo"', "agents.place names 'oslo' twice"),
        ('replicas = [{ place = "oslo" }]', 'replicas = [{ place = "rome" }]', "replicas.place names 'rome'"),
        (
            'source = "us"',
            'source = "nobody"',
            "jitter.source names 'nobody', which is not among the sources: us, them",
        ),
        ("share = 0.1", "share = -0.1", "`float` >= 0.0 - at `$.jitter.share`"),
        ("milliseconds = 200", "milliseconds = -1", "`float` >= 0.0 - at `$.kv.first_read.milliseconds`"),
        ("milliseconds = 90", "milliseconds = 10_001", "`float` <= 10000.0 - at `$.kv.distant_object.milliseconds`"),
        ('200, source = "us"', '200, source = "nobody"', "kv.first_read.source names 'nobody'"),
        ('90, source = "them"', '90, source = "nobody"', "kv.distant_object.source names 'nobody'"),
        ("path_factor = 2", "path_factor = 0.5", "`float` >= 1.0 - at `$.path_factor`"),
        ("latitude = 46.2", "latitude = 146.2", "<= 90.0 - at `$.places"),
        ("round_trip_ms.us", "round_trip_ms.nobody", "round_trip_ms names 'nobody', which is not among the sources"),
        ("jitter_ms.them", "jitter_ms.nobody", "jitter_ms names 'nobody'"),
        ("geneva = { paris = 3 }", "geneva = { rome = 3 }", "jitter_ms.them names 'rome'"),
        ("geneva = 12", "geneva = -12", "round_trip_ms.us from paris to geneva must be from 0 to 10,000, not -12"),
        ("geneva = 12", "geneva = nan", "from paris to geneva must be"),
        ("geneva = 12", "geneva = inf", "from paris to geneva must be"),
        ("geneva = 12", 'geneva = "12"', "Expected `float`, got `str`"),
        (
            "geneva = { geneva = 1 }",
            "geneva = { geneva = 1, paris = 9 }",
            "from paris to geneva twice: in us and in us",
        ),
        ("[jitter_ms", "[round_trip_ms", "round_trip_ms has the way from geneva to paris twice: in us and in them"),
        ("geneva = { geneva = 1 }", "", "round_trip_ms lacks the way from geneva to geneva"),
        ("paris = 2, ", "", "round_trip_ms lacks the way from paris to paris"),
        ("oslo = 0, ", "", "round_trip_ms lacks the way from oslo to oslo"),
        ('name = "small"', 'name = "small"\nlinks = []', "unknown field `links`"),
        ('name = "small"', "name =", "is not valid TOML"),
    ],
)
def test_an_error_names_the_setting(file: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        changed(file, old, new)
    assert str(refused.value).startswith(str(file))
    assert all(part in str(refused.value) for part in says.split(".*"))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the world file"):
        read_world(tmp_path / "world.toml")


def test_the_world_that_the_page_shows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OWN, encoding="utf-8")
    world = read_world(path)
    region = world.region("berlin")
    assert (region.agent, region.edge, region.replica) == ("frankfurt", "frankfurt", None)
    assert world.link("frankfurt", "dublin") == (0.0245, 0.0006, "ours")
    assert world.link("berlin", "frankfurt").source is None
