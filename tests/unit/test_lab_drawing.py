"""Where things stand in the figures of the lab's page."""

import itertools

import pytest

from edgememory.lab.drawing import LinearScale, linear_scale, log_scale, ticks, timeline_views, wait_bar
from edgememory.lab.report import Operation, Timeline, Waits
from edgememory.lab.worldmap import HEIGHT, WIDTH, world_map
from tests.lab_report import REGIONS, made_up_report, only


def test_a_third_of_a_millisecond_and_a_second_fit_on_one_axis() -> None:
    scale = log_scale([0.31, 6.8, 1220.0])
    assert (scale.low, scale.high) == (0.1, 2000.0)
    assert [tick.words for tick in ticks(scale)] == ["0.1", "1", "10", "100", "1,000"]
    assert scale.at(0.31) > 0.1
    assert scale.at(100.0) - scale.at(10.0) == pytest.approx(scale.at(1.0) - scale.at(0.1))
    assert (scale.at(0.01), scale.at(9e9)) == (0.0, 1.0)


def test_the_tail_of_a_bar_begins_where_its_median_ends() -> None:
    bar = wait_bar(LinearScale(100.0), "edge", Waits(20.0, 25.0, 30.0, 10))
    assert (bar.median.start, bar.median.end, bar.tail.start, bar.tail.end) == (0.0, 0.2, 0.2, 0.3)


@pytest.mark.parametrize(("most", "marks"), [(258.0, "0 100 200"), (17.0, "0 5 10 15"), (100.0, "0 20 40 60 80 100")])
def test_ticks_are_round_numbers(most: float, marks: str) -> None:
    assert " ".join(tick.words for tick in ticks(linear_scale([most]))) == marks


def test_a_call_is_drawn_twice_if_its_background_takes_far_longer() -> None:
    timeline = made_up_report().timeline
    assert timeline is not None
    near, whole = timeline_views(timeline)
    assert [request.phase for lane in near.lanes for request in lane.requests] == [
        "open", "leave", "open", "leave", "background", "background",
    ]  # fmt: skip
    assert sum(len(lane.requests) for lane in whole.lanes) == len(timeline.operations)
    assert near.marks[2].at == pytest.approx(1 / 1.1)


def test_a_refresh_that_ends_before_the_call_is_left_is_in_the_background_all_the_same() -> None:
    timeline = Timeline(
        region="tokyo", scenario="edge", opened=5.0, leaving=6.0, left=9.0,
        operations=(Operation("edge", "get", 0.0, 5.0), Operation("geneva", "get", 5.2, 8.0)),
    )  # fmt: skip
    (view,) = timeline_views(timeline)
    assert [request.phase for lane in view.lanes for request in lane.requests] == ["open", "background"]


def test_no_two_requests_stand_on_one_line() -> None:
    timeline = made_up_report().timeline
    assert timeline is not None
    for view in timeline_views(timeline):
        tops = [request.top for lane in view.lanes for request in lane.requests]
        assert len(tops) == len(set(tops))
        assert all(
            lane.top < request.top < lane.top + lane.height <= view.height
            for lane in view.lanes
            for request in lane.requests
        )


@pytest.mark.parametrize("regions", [tuple(REGIONS), ("london",), ("san_francisco", "tokyo")])
def test_words_on_the_map_stand_on_nothing_else(regions: tuple[str, ...]) -> None:
    report = only(made_up_report(), regions=regions, scenarios=("edge",))
    drawn = world_map(report)
    words = [each.words for each in (*drawn.markers, *drawn.routes) if each.words is not None]
    assert {report.places[report.origin].label} <= {each.text for each in words}
    for one, other in itertools.combinations(words, 2):
        assert not one.box.meets(other.box), (one.text, other.text)
    for each in words:
        assert each.box.left >= 0
        assert each.box.right <= WIDTH
        assert each.box.top >= 0
        assert each.box.bottom <= HEIGHT


def test_every_place_of_the_whole_world_has_its_words() -> None:
    drawn = world_map(made_up_report())
    assert {marker.words.text for marker in drawn.markers if marker.words is not None} == {
        spot.label for spot in made_up_report().places.values()
    }


def test_a_link_takes_the_short_way_around_the_globe() -> None:
    report = only(made_up_report(), regions=("tokyo",), scenarios=("edge",))
    voice, memory = world_map(report).routes
    assert [voice.carries, memory.carries] == ["voice", "memory"]
    assert len(memory.lines) == 1
    assert len(voice.lines) == 2
    assert all(abs(there.x - here.x) < WIDTH / 2 for here, there in voice.lines)
