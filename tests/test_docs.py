"""Every public name is documented, and every example runs."""

import doctest
import importlib
import inspect
import pathlib
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(
        tf_lottery.__path__, prefix="tf_lottery."
    )
)
# What Keras documents in the class that is overridden.
OF_KERAS = {
    "kernel", "build", "get_config", "from_config", "enable_lora", "quantize",
    "save_own_variables", "load_own_variables", "set_model",
    *(name for name in vars(keras.callbacks.Callback) if name[:3] == "on_"),
}


def public_members(module):
    """(name, object) of what a module defines, and of its classes' parts."""
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        yield name, value
        if inspect.isclass(value):
            for part, member in vars(value).items():
                if part.startswith("_") or part in OF_KERAS:
                    continue
                member = getattr(member, "__func__", member)
                if inspect.isfunction(member) or isinstance(member, property):
                    yield f"{name}.{part}", member


def test_there_is_something_to_document():
    assert {"tf_lottery.config", "tf_lottery.tickets.ticket"} <= set(MODULES)
    names = dict(
        public_members(importlib.import_module("tf_lottery.tickets.ticket"))
    )
    assert {"Ticket", "Ticket.load", "Ticket.verify"} <= set(
        names
    )


@pytest.mark.parametrize("name", ["tf_lottery", *MODULES])
def test_public_names_have_docstrings(name):
    module = importlib.import_module(name)
    bare = [
        member
        for member, value in public_members(module)
        # A dataclass without one is given its signature.
        if not (value.__doc__ or "").strip()
        or (value.__doc__ or "").startswith(f"{member}(")
    ]
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    assert not bare


@pytest.mark.parametrize("name", ["tf_lottery", *MODULES])
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    names = {
        **vars(module),
        "folder": str(tmp_path),
        "keras": keras,
        "np": np,
        "tf": tf,
    }
    tests = [
        test
        for test in doctest.DocTestFinder(exclude_empty=True).find(
            module, globs=names
        )
        if test.examples
    ]
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    report = []
    for test in tests:
        runner.run(test, out=report.append, clear_globs=False)
    assert not runner.failures, "".join(report)


def test_the_examples_are_found():
    found = 0
    for name in MODULES:
        module = importlib.import_module(name)
        found += sum(
            bool(test.examples) for test in doctest.DocTestFinder().find(module)
        )
    assert found >= 30


def test_the_readme_is_there():
    root = pathlib.Path(tf_lottery.__file__).parent.parent
    assert (root / "README.md").is_file()
