"""Experiments: what a running system does under a load that nobody would wish for, and what a choice costs.

surge.py       base rate, surge, recovery; the report
sender.py      the open loop: requests are sent when they are due, and timed from then
prober.py      asks for health from a process of its own
report.py      what it came to, as one JSON document
page.py        the same as one HTML file with plots
shot.py        what a system's load model hands over
"""

from archstone.lab.connection import Answer, WireAnswer
from archstone.lab.http import Http, LabError, good, some_at_once
from archstone.lab.shot import Choosing, Kept, Load, ManyWays, Promising, Shot, Way

__all__ = [
    "Answer",
    "Choosing",
    "Http",
    "Kept",
    "LabError",
    "Load",
    "ManyWays",
    "Promising",
    "Shot",
    "Way",
    "WireAnswer",
    "good",
    "some_at_once",
]
