"""Layers of the package: a module imports only from its own layer and from layers above it."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import jaxmg
import pytest

PACKAGE = Path(jaxmg.__file__).parent
# From the bottom of the dependencies up, as CONTRIBUTING.md lists them.
ROOMS = (
    "_version _warning _supported _config",
    "_mesh",
    "_arguments",
    "_native",
    "_planning",
    "_programs",
    "_rules",
    "_linalg",
    "linalg plan utils",
    "compat",
    "__init__ lineax",
    "_tools",
    "__main__",
)
FLOORS = {name: floor for floor, names in enumerate(ROOMS) for name in names.split()}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imported(module):
    """Return the modules of the package that a module imports, at any nesting depth."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "jaxmg":
                yield module_of(name.partition(".")[2])


def module_of(name):
    """Return the module with this name, or the module that defines it."""
    while name not in MODULES:
        name = name.rpartition(".")[0] or "__init__"
    return name


def floor(module):
    return FLOORS[module.split(".")[0]]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_come_from_above(module):
    wrong = [name for name in imported(module) if floor(name) > floor(module)]
    assert not wrong


def test_no_module_imports_itself_through_others():
    graph = {module: set(imported(module)) - {module} for module in MODULES}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)
