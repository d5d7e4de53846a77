"""The command line: `archstone VERB SYSTEM`, also as `python -m archstone`.

find.py     which System a name means, and what is wrong where it means none
verbs.py    the verbs
surge.py    one more, with what it shows
lab.py      experiments that need no system
replay.py   historical files through an exchange
show.py     tables, fields and JSON
"""

import importlib
import sys

from archstone.errors import ConfigError

try:
    for needed in ("typer", "rich", "archstone.runtime.serve"):
        importlib.import_module(needed)
except (ImportError, ConfigError):
    # The script `archstone` comes with the blocks alone, too: it says what it needs, in one line.
    sys.stderr.write("archstone: the command line needs more than the blocks: pip install 'archstone[systems]'\n")
    raise SystemExit(2) from None

from archstone.cli.find import find_system
from archstone.cli.verbs import app, main

__all__ = ["app", "find_system", "main"]
