"""The thundering herd: what happens at the origin when values end, with and without each defence against it.

scene.py        what happens: a hot key ends, many keys end together, the cache is empty
defences.py     how values are read: as a naive program does, and with each defence
origin.py       where values come from: so many at once, the others stand in line
remote.py       the same origin behind HTTP, in a process of its own
trial.py        one scene with one defence
report.py       all trials as one JSON document, the table and the conclusion
page.py         the same as one HTML file with plots

Nothing here knows whether time is virtual: the command line runs the trials on virtual time, or on real time against
the origin of another process.
"""

from archstone.lab.herd.defences import DEFENCES, Defence
from archstone.lab.herd.origin import Origin, OriginRecord
from archstone.lab.herd.page import page_of
from archstone.lab.herd.report import report_of
from archstone.lab.herd.scene import SCENES, Scene
from archstone.lab.herd.trial import Trial, run_trial

__all__ = [
    "DEFENCES",
    "SCENES",
    "Defence",
    "Origin",
    "OriginRecord",
    "Scene",
    "Trial",
    "page_of",
    "report_of",
    "run_trial",
]
