"""Which System a name at the command line means; where it means none, what was probably meant.

`shop` and `exchange` come with Archstone. `package.module:attribute` is one of your own, found from the working
directory.
"""

import difflib
import importlib
import importlib.util
import pkgutil
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Final

import archstone
from archstone import systems
from archstone.errors import ConfigError
from archstone.services import System

__all__ = ["TRACEBACK", "built_in", "find_system"]

TRACEBACK: Final = "ARCHSTONE_TRACEBACK"
_HOW: Final = "name `shop`, `exchange` or package.module:attribute"
_MODULE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def find_system(name: str) -> System:
    """Return the system called `name`: one that comes with Archstone, or `package.module:attribute`.

    Raises:
        ConfigError: There is no such module or attribute, it is not a System, or importing it failed; the text has the
            names that would do, or the file and line where the import failed.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    module_name, colon, attribute = name.partition(":")
    if "/" in module_name or module_name.endswith(".py"):
        raise ConfigError(_path(name, Path(module_name)))
    if not colon and name in built_in():
        module_name, attribute = f"archstone.systems.{name}.system", name
    elif not colon:
        raise ConfigError(_without_attribute(name))
    elif not _MODULE.fullmatch(module_name) or not attribute.isidentifier():
        raise ConfigError(f"no system {name!r}: {_HOW}")
    found = _attribute(name, _imported(name, module_name), attribute)
    found.called = name
    return found


def built_in() -> list[str]:
    """Return the names of the systems that come with Archstone."""
    packages = (each.name for each in pkgutil.iter_modules(systems.__path__) if each.ispkg)
    # A package without a system is one in the making.
    return sorted(name for name in packages if importlib.util.find_spec(f"{systems.__name__}.{name}.system"))


def _attribute(name: str, module: ModuleType, attribute: str) -> System:
    found = getattr(module, attribute, None)
    if isinstance(found, System):
        return found
    if found is None:
        problem = f"no system {name!r}: module {module.__name__} has no {attribute!r}"
    else:
        problem = f"{name} is a {type(found).__name__}, not a System"
    raise ConfigError(f"{problem}; {_instead(module)}")


def _instead(module: ModuleType) -> str:
    """Return what to write to get a System of the module."""
    named = [key for key, value in vars(module).items() if isinstance(value, System) and not key.startswith("_")]
    if named:
        return f"write {' or '.join(f'{module.__name__}:{each}' for each in named)}"
    if below := [each.name for each in pkgutil.iter_modules(getattr(module, "__path__", []))]:
        return f"it is a package: name a module of it, {', '.join(below)}, as {module.__name__}.{below[0]}:attribute"
    return "there is no System in it: make one, such as mine = System(...), and name that"


def _path(name: str, path: Path) -> str:
    here = Path.cwd()
    inside = path.resolve()
    if not inside.is_relative_to(here):
        return f"system {name!r} is a path: go to its folder, and write module:attribute without .py"
    module_name = ".".join(inside.relative_to(here).with_suffix("").parts)
    what = f"system {name!r} is a path: write {module_name or 'module'}:attribute, with dots and without .py"
    if not inside.is_file() or not _MODULE.fullmatch(module_name):
        return what
    return f"system {name!r} is a path; {_instead(_imported(name, module_name))}"


def _without_attribute(name: str) -> str:
    """Return what is meant by a name without a colon that no system of Archstone has."""
    near = difflib.get_close_matches(name, built_in(), n=1)
    if near:
        return f"no system {name!r}: did you mean {near[0]}?"
    if _MODULE.fullmatch(name) and _is_module(name):
        return f"system {name!r} is a module; {_instead(_imported(name, name))}"
    return f"no system {name!r}: {' and '.join(built_in())} come with Archstone; your own is package.module:attribute"


def _is_module(name: str) -> bool:
    top, _, below = name.partition(".")
    if importlib.util.find_spec(top) is None:
        return False
    return not below or importlib.util.find_spec(name) is not None


def _imported(name: str, module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ConfigError:
        raise
    except ModuleNotFoundError as error:
        raise ConfigError(_missing(name, module_name, error)) from error
    except (Exception, SystemExit) as error:
        what = error.msg if isinstance(error, SyntaxError) else error
        told = f"system {name!r}: {_place(error) or module_name}: {type(error).__name__}: {what}"
        raise ConfigError(f"{told}; mend it, {TRACEBACK}=1 shows all of it") from error


def _missing(name: str, module_name: str, error: ModuleNotFoundError) -> str:
    missing, place = error.name or str(error), _place(error)
    if place is None and f"{module_name}.".startswith(f"{missing}."):
        return f"no system {name!r}: there is no module {missing}; {_HOW}, from the folder that has it"
    wants = f"system {name!r}: {place or module_name} imports {missing}, which is not installed"
    top = missing.partition(".")[0]
    if top == module_name.partition(".")[0] != "archstone":
        return f"system {name!r}: {place or module_name} imports {missing}, which is not there: mend the import"
    if place is not None and str(Path(archstone.__path__[0])) in place:
        extras = "systems,exchange" if "/exchange/" in place else "systems"
        return f"{wants}: pip install 'archstone[{extras}]'"
    return f"{wants}: install the package that has it, such as pip install {top}"


def _place(error: BaseException) -> str | None:
    """Return file and line of what failed, as near to the user's own code as can be; None if no code ran."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{_shown(error.filename)} line {error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename not in {__file__, importlib.__file__}
    ]
    if not frames:
        return None
    here = Path.cwd()
    own = [each for each in frames if Path(each.filename).is_relative_to(here) and "-packages" not in each.filename]
    frame = (own or frames)[-1]
    return f"{_shown(frame.filename)} line {frame.lineno}"


def _shown(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
