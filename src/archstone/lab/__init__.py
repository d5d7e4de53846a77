"""Experiments: what a running system does under a load that nobody would wish for, and what a choice costs.

surge.py       base rate, surge, recovery; the report
sender.py      the open loop: requests are sent when they are due, and timed from then
prober.py      asks for health from a process of its own
report.py      what it came to, as one JSON document
page.py        the same as one HTML file with plots
shot.py        what a system's load model hands over
"""

from archstone.lab.http import Http, LabError
from archstone.lab.shot import Kept, Load, Shot

__all__ = ["Http", "Kept", "LabError", "Load", "Shot"]
