"""What was claimed when the problem was posed, and what a run says of it: pure, from the report, in plain words."""

from collections.abc import Iterator, Sequence

from edgememory.lab.report import Conclusion, Report

CLAIMED_LINK = 20.0
HOT, COLD = 30.0, 180.0
COLD_MOST = 1.1 * COLD
"""A claim of "about" so much is met within a tenth."""
HOT_MEMORY = 10.0
MEDIA, DATABASE, BUDGET = 50.0, 50.0, 100.0
HOT_SHARE = 0.99
_HOT_CLAIM = f"{100 * HOT_SHARE:g} % of calls are hot, in a cache with a TTL of one hour"


def conclude(report: Report) -> Iterator[Conclusion]:
    """Yield a conclusion for each claim that the played scenarios can speak of."""
    for claim in (_hot, _cold, _share, _media, _response, _database, _moved, _recipe, _lag, _travel, _nothing_lost):
        yield from claim(report)


def _hot(report: Report) -> Iterator[Conclusion]:
    claim = (
        f"A call with a hot cache starts in under {HOT:g} ms: {CLAIMED_LINK:g} to the agent, {HOT_MEMORY:g} for memory"
    )
    totals = _p50(report, "edge")
    if totals:
        memory = [report.open_ms[region]["edge"].p50 for region in totals]
        met = [region for region, total in totals.items() if total < HOT]
        found = f"Memory takes {_range(memory)} at the median. With the way from the caller, {_each(report, totals)}."
        if len(met) < len(totals):
            found += (
                " Where it is not met, the agent is too far from the caller, and no memory layer helps: agents are"
                f" hosted in few places, up to {_ms(max(report.regions[name].user_ms for name in totals))} away."
            )
        yield _concluded(report, claim, met, totals, found)


def _cold(report: Report) -> Iterator[Conclusion]:
    totals = _p50(report, "cold")
    if totals:
        met = [region for region, total in totals.items() if total <= COLD_MOST]
        found = f"With open connections: {_each(report, totals)}."
        anew = _p50(report, "cold_new_process")
        if anew:
            found += (
                f" A process that has to connect first needs {_range(list(anew.values()))}:"
                " open the memory before the first call."
            )
        yield _concluded(report, f"A cold call starts in about {COLD:g} ms", met, totals, found)


def _share(report: Report) -> Iterator[Conclusion]:
    month = report.month
    best = max(month.hot, key=lambda policy: month.hot[policy])
    shares = ", ".join(f"{policy}: {100 * share:.1f} %" for policy, share in month.hot.items())
    found = (
        f"Of {month.calls:,} calls of {month.callers:,} callers in a simulated month, so many are hot, by policy:"
        f" {shares}."
    )
    if month.hot[best] >= HOT_SHARE:
        condition = " The condition is that an entry answers past its TTL too, while the origin is asked."
        yield Conclusion(_HOT_CLAIM, "true under a condition", found + condition)
    else:
        yield Conclusion(_HOT_CLAIM, "not true", found)


def _media(report: Report) -> Iterator[Conclusion]:
    far = {name: region.user_ms for name, region in report.regions.items()}
    met = [name for name, milliseconds in far.items() if milliseconds < MEDIA]
    found = f"From the caller to the nearest hosted agent and back: {_each(report, far)}."
    yield _concluded(report, f"Media takes under {MEDIA:g} ms", met, far, found)


def _response(report: Report) -> Iterator[Conclusion]:
    totals = _p50(report, "edge")
    if totals:
        left = {region: BUDGET - total for region, total in totals.items()}
        met = [region for region, milliseconds in left.items() if milliseconds > 0]
        found = (
            f"Of {BUDGET:g} ms, memory and the way from the caller leave {_each(report, left)} for everything else:"
            " speech recognition, the model and the voice take several hundred in practice, which memory cannot mend."
        )
        yield _concluded(report, f"The agent responds in under {BUDGET:g} ms in total", met, totals, found)


def _database(report: Report) -> Iterator[Conclusion]:
    waited = _memory(report, "replica")
    if waited:
        met = [region for region, milliseconds in waited.items() if milliseconds < DATABASE]
        found = f"From a replica, at the median: {_each(report, waited)}."
        direct = _memory(report, "direct_pooled")
        if direct:
            found += f" From the primary: {_each(report, direct)}."
        yield _concluded(report, f"A database answers the agent in under {DATABASE:g} ms", met, waited, found)


def _moved(report: Report) -> Iterator[Conclusion]:
    there, here = _p50(report, "agent_in_geneva"), _p50(report, "direct_pooled")
    both = [region for region in there if region in here]
    if both:
        differences = {region: there[region] - here[region] for region in both}
        met = [region for region, difference in differences.items() if abs(difference) < 0.15 * here[region]]
        pairs = ", ".join(f"{_label(report, name)} {_ms(there[name])} against {_ms(here[name])}" for name in both)
        found = (
            f"At the start of a call, agent beside the database against agent near the caller: {pairs}."
            " After that it is worse: every word of the caller travels all the way, in each turn."
        )
        yield _concluded(report, "To move the agent to the database gains nothing", met, differences, found)


def _recipe(report: Report) -> Iterator[Conclusion]:
    waited = _memory(report, "cache_aside_1h")
    if waited:
        met = [region for region, milliseconds in waited.items() if milliseconds < HOT]
        ours = _memory(report, "edge")
        found = (
            f"Cache-aside for one hour, with callers as they come in a month: {_each(report, waited)} at the median."
        )
        if ours:
            found += f" The same cache, kept by edgememory: {_each(report, ours)}."
        yield _concluded(report, f"The sketched recipe reads memory in under {HOT:g} ms", met, waited, found)


def _lag(report: Report) -> Iterator[Conclusion]:
    lagging, told = _memory(report, "replica_lag_5s"), _memory(report, "replica_lag_5s_at_least")
    if lagging and told:
        yield Conclusion(
            "A replica's lag of 1 to 5 s is acceptable",
            "true under a condition",
            f"With 5 s of lag a call opens as fast ({_range(list(lagging.values()))}), but without what was said"
            " elsewhere in the last seconds. An agent that is given the version waits for Geneva instead"
            f" ({_range(list(told.values()))}) and meets all of it.",
        )


def _travel(report: Report) -> Iterator[Conclusion]:
    waited = {region: by["travel"].p99 for region, by in report.newest_ms.items() if "travel" in by}
    if waited:
        opened = [report.open_ms[region]["travel"].p50 for region in waited]
        yield _concluded(
            report,
            "Memory follows a caller who changes region",
            [region for region, milliseconds in waited.items() if milliseconds < 1000],
            waited,
            f"The call opens in {_range(opened)} on what the region knew; the newest memory replaces it after"
            f" {_range(list(waited.values()))} (p99), before the first turn.",
        )


def _nothing_lost(report: Report) -> Iterator[Conclusion]:
    down = _memory(report, "origin_down")
    found = (
        f"{report.delivered + report.lost:,} messages were said, {report.delivered:,} stand in the database once each."
    )
    if down:
        found += f" While Geneva could not be reached, calls opened in {_range(list(down.values()))}."
    yield Conclusion("Nothing that was said is lost", "not true" if report.lost else "true", found)


def _concluded(report: Report, claim: str, met: Sequence[str], all_of: dict[str, float], found: str) -> Conclusion:
    """Conclude from the regions in which the claim was met; where that were some, the condition is to be there."""
    if len(met) == len(all_of):
        return Conclusion(claim, "true", found)
    if not met:
        return Conclusion(claim, "not true", found)
    elsewhere = [region for region in all_of if region not in met]
    return Conclusion(
        claim, "true under a condition", f"{found} True in {_names(report, met)}; not in {_names(report, elsewhere)}."
    )


def _names(report: Report, regions: Sequence[str]) -> str:
    return ", ".join(_label(report, region) for region in regions)


def _p50(report: Report, scenario: str) -> dict[str, float]:
    """The medians with the way from the caller, by region."""
    return {region: by[scenario].p50 for region, by in report.total_ms.items() if scenario in by}


def _memory(report: Report, scenario: str) -> dict[str, float]:
    """The medians of the memory wait alone, by region."""
    return {region: by[scenario].p50 for region, by in report.open_ms.items() if scenario in by}


def _label(report: Report, region: str) -> str:
    return report.places[report.regions[region].caller].label


def _each(report: Report, by_region: dict[str, float]) -> str:
    return ", ".join(f"{_label(report, region)} {_ms(milliseconds)}" for region, milliseconds in by_region.items())


def _range(milliseconds: Sequence[float]) -> str:
    least, most = min(milliseconds), max(milliseconds)
    return _ms(least) if _ms(least) == _ms(most) else f"{_ms(least)} to {_ms(most)}"


def _ms(milliseconds: float) -> str:
    written = f"{milliseconds:.1f}" if abs(milliseconds) < 10 else f"{milliseconds:,.0f}"
    return f"{written} ms".replace("-", "\N{MINUS SIGN}")
