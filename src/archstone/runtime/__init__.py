"""Runs a system: embedded mode, its data folder, configuration, control socket, backup.

running, Embedded               a whole system in this process
serve                           the same behind an HTTP server, as `archstone up` does (needs `archstone[serve]`)
database_url                    where a service keeps its data
load_settings, Settings         one configuration model, each value with its source
back_up, restore                one file, consistent over all databases
ask_system, Operator            what an operator can ask, of a running system or of its folder
"""

from archstone.runtime.backup import BackupError, BackupInfo, back_up, restore
from archstone.runtime.config import Loaded, Setting, Settings, load_settings
from archstone.runtime.control import ControlAbsentError, ControlError, ControlServer, ask
from archstone.runtime.embedded import Embedded, running
from archstone.runtime.folder import DataFolder, FolderError, FolderFormatError, FolderInUseError, owner_of
from archstone.runtime.operator import OPERATOR, Operator, VerbError
from archstone.runtime.remote import ask_system
from archstone.runtime.strays import GroupInUseError
from archstone.runtime.wiring import database_url

__all__ = [
    "OPERATOR",
    "BackupError",
    "BackupInfo",
    "ControlAbsentError",
    "ControlError",
    "ControlServer",
    "DataFolder",
    "Embedded",
    "FolderError",
    "FolderFormatError",
    "FolderInUseError",
    "GroupInUseError",
    "Loaded",
    "Operator",
    "Setting",
    "Settings",
    "VerbError",
    "ask",
    "ask_system",
    "back_up",
    "database_url",
    "load_settings",
    "owner_of",
    "restore",
    "running",
]
