"""Says what is wrong with a configuration where it runs, and what to do.

In a deployed agent, `await log_report(read_config(...))` logs from there what `edgememory doctor` prints.
"""

from edgememory.doctor.examination import examine
from edgememory.doctor.report import Part, Report, Step, rendered
from edgememory.doctor.telling import log_report

__all__ = ["Part", "Report", "Step", "examine", "log_report", "rendered"]
