"""The report, logged by an agent about itself."""

import logging

from edgememory.config import Config
from edgememory.doctor.examination import examine
from edgememory.doctor.report import Report, rendered

_log = logging.getLogger("edgememory.doctor")


async def log_report(config: Config, *, region: str | None = None) -> Report | None:
    """Examine *config* from this process and log it, as one record: a warning if something is wrong.

    For a deployed agent, beside its `EdgeMemory`. Never raises; `None` if it could not be done, which is logged too.
    """
    try:
        report = await examine(config, region=region)
    except Exception:  # an agent must not fall over what only looks
        _log.exception("the doctor itself has failed")
        return None
    _log.log(logging.WARNING if report.problems else logging.INFO, "%s", "\n".join(rendered(report)))
    return report
