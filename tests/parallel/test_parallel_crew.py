"""The crew's decisions, with a Ray whose workers do as they are told."""

import os
import signal
import sys
import types

import pytest

from tf_lottery import Config
from tf_lottery import train
from tf_lottery.parallel import crew
from tf_lottery.parallel import start
from tf_lottery.parallel.worker import Outcome
from tf_lottery.tickets import Key


class Death(Exception):
    """Stands for Ray's error on a worker that died."""


class OutOfMemory(Exception):
    """Stands for Ray's error on one that it killed for its memory."""


class FakeRay:
    """Calls are answered at once; `dies(key)` says which kill their worker."""

    exceptions = types.SimpleNamespace(
        RayActorError=Death, OutOfMemoryError=OutOfMemory
    )

    def __init__(self, dies, fails=lambda key: None, how=Death):
        self.dies, self.fails, self.how, self.killed = dies, fails, how, 0

    # So often none is ready.
    late = 0

    def remote(self, **_):
        return lambda cls: self

    def options(self, **_):
        actor = types.SimpleNamespace()
        actor.remote = lambda *_: types.SimpleNamespace(
            open=self._method(lambda: self._answer(None)),
            train=self._method(lambda key, parent: self._answer(key)),
            told=self._method(lambda: (None, 0, "")),
            stop=self._method(lambda number: None),
        )
        return actor

    def _method(self, call):
        made = types.SimpleNamespace(remote=lambda *a: [lambda: call(*a)][0])
        made.options = lambda **_: made
        return made

    def _answer(self, key):
        if self.dies(key):
            raise self.how("the memory ran out")
        error = self.fails(key)
        return Outcome([], "" if error else f"digest of {key}", error, "trace")

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 2}}]

    def wait(self, calls, **_):
        self.late -= 1
        return ([], calls) if self.late >= 0 else (calls[:1], calls[1:])

    def get(self, call):
        return call()

    def kill(self, worker):
        self.killed += 1


class Record:
    """Digests of what is finished; a level's parent is the one before."""

    def __init__(self):
        self.done = {}

    def parent_digest(self, key):
        return self.done.get(key.parent, "") if key.level else ""

    def finish(self, key, digest):
        self.done[key] = digest


def trainings(keys):
    plan = types.SimpleNamespace(width=2, keys=keys, steps=lambda key: 10)
    record = Record()
    return types.SimpleNamespace(
        plan=plan, record=record, is_finished=lambda key: key in record.done
    )


@pytest.fixture
def lines():
    """What the user is told."""
    return []


def run(ray, keys, lines, number=0):
    progress = types.SimpleNamespace(
        line=lines.append, advance=lambda n: None, status=lines.append
    )
    made = trainings(keys)
    config = Config(parallel=2)
    crew._Crew(ray, None, made, config, progress).run(keys, lambda: number)
    return made.record.done


KEYS = [Key(replicate, "main", 0) for replicate in range(2)]


def test_everything_is_trained_once(lines):
    ray = FakeRay(dies=lambda key: False)
    assert run(ray, KEYS, lines) == {k: f"digest of {k}" for k in KEYS}
    assert ray.killed == 2
    assert lines == ["2 trainings at once, with 1 thread(s) each."]


@pytest.mark.parametrize("how", [Death, OutOfMemory])
@pytest.mark.parametrize("deaths", [1, 3])
def test_a_training_may_lose_its_worker_three_times(lines, deaths, how):
    left = {KEYS[1]: deaths}

    def dies(key):
        left[key] = left.get(key, 0) - 1
        return left[key] >= 0

    assert set(run(FakeRay(dies, how=how), KEYS, lines)) == set(KEYS)
    told = [x for x in lines if "its worker died; it goes on" in x]
    assert len(told) == deaths and str(KEYS[1]) in told[0]


def test_the_fourth_death_ends_the_run(lines):
    ray = FakeRay(dies=lambda key: key == KEYS[1])
    with pytest.raises(RuntimeError, match="^A worker must live. Received: 4 "):
        run(ray, KEYS, lines)
    assert len([x for x in lines if "its worker died" in x]) == 3


def test_a_worker_that_does_not_even_start(lines):
    ray = FakeRay(dies=lambda key: key is None)
    with pytest.raises(RuntimeError, match="died while it started; Ray says"):
        run(ray, KEYS, lines)


def test_a_cluster_without_room_is_told_of(lines, monkeypatch):
    monkeypatch.setattr(crew, "_PATIENCE", 0.0)
    ray = FakeRay(dies=lambda key: False)
    ray.late = 2
    assert set(run(ray, KEYS, lines)) == set(KEYS)
    told = [x for x in lines if x.startswith("No worker has started")]
    assert told == [
        "No worker has started within 0 s: the cluster may have no room for 2 "
        "of 1 num_cpus, 0 num_gpus each. It is waited for; lower --parallel "
        "otherwise."
    ]


def test_an_error_of_a_training_is_raised_with_its_trace(lines):
    ray = FakeRay(
        dies=lambda key: False,
        fails=lambda key: RuntimeError("loss") if key == KEYS[0] else None,
    )
    with pytest.raises(RuntimeError, match="^loss$") as caught:
        run(ray, KEYS, lines)
    assert "in a worker:\ntrace" in str(caught.value.__cause__)


def test_a_signal_stops_and_says_so(lines):
    with pytest.raises(train.Stopped) as caught:
        run(FakeRay(dies=lambda key: False), KEYS, lines, number=15)
    assert caught.value.number == 15


def test_without_ray_there_is_one_line(monkeypatch):
    monkeypatch.setattr(start.importlib.util, "find_spec", lambda name: None)
    start.check_parallel(1)
    with pytest.raises(ValueError, match="^`parallel` must be 1 where Ray is"):
        start.check_parallel(2)


def test_threads_of_the_environment_are_checked(monkeypatch):
    monkeypatch.setenv(start.THREADS, "two")
    start.check_parallel(1)
    with pytest.raises(ValueError, match="^`TF_NUM_INTRAOP_THREADS` must be"):
        start.check_parallel(2)


@pytest.mark.parametrize(
    ("cpus", "size", "threads", "asked"),
    [
        ([2], 2, 1, 1),
        ([2], 3, 1, 0.5),
        ([4, 8], 3, 4, 4),
        ([4, 8], 4, 2, 2),
    ],
)
def test_shares_are_equal_and_find_room_at_once(cpus, size, threads, asked):
    nodes = [{"Alive": True, "Resources": {"CPU": n}} for n in cpus]
    ray = types.SimpleNamespace(nodes=lambda: nodes)
    assert start.shares(ray, size) == (
        threads, {"num_cpus": asked, "num_gpus": 0}
    )


def test_a_gpu_is_shared_by_those_that_fit_on_it():
    node = {"Alive": True, "Resources": {"CPU": 8, "GPU": 2}}
    dead = {"Alive": False, "Resources": {"CPU": 8, "GPU": 8}}
    ray = types.SimpleNamespace(nodes=lambda: [node, dead])
    assert start.shares(ray, 4)[1]["num_gpus"] == 0.5
    assert start.shares(ray, 1)[1]["num_gpus"] == 1


def test_cores_are_counted_where_the_gpus_are():
    sizes = {"CPU": 16}, {"CPU": 4, "GPU": 1}, {"CPU": 4, "GPU": 1}
    nodes = [{"Alive": True, "Resources": size} for size in sizes]
    ray = types.SimpleNamespace(nodes=lambda: nodes)
    assert start.shares(ray, 2) == (4, {"num_cpus": 4, "num_gpus": 1})


def module(monkeypatch, init, initialized=False):
    """A module named ray, and what is done with it."""
    done = []
    made = types.ModuleType("ray")
    made.is_initialized = lambda: initialized
    made.init = lambda **how: (done.append(how), init())
    made.shutdown = lambda: done.append("shutdown")
    monkeypatch.setitem(sys.modules, "ray", made)
    return done


def test_an_address_goes_to_ray_as_it_is(monkeypatch):
    done = module(monkeypatch, lambda: None)
    before = dict(os.environ)
    with start.started(Config(parallel=2, ray_address="host:6379")) as ray:
        assert ray is sys.modules["ray"]
        # A cluster's workers must reach this machine.
        assert start._LOOPBACK not in os.environ
    assert done[0]["address"] == "host:6379" and "num_cpus" not in done[0]
    assert done[1:] == ["shutdown"] and dict(os.environ) == before


def test_a_ray_that_runs_already_is_left_running(monkeypatch):
    done = module(monkeypatch, lambda: None, initialized=True)
    with start.started(Config(parallel=2)):
        pass
    assert done == []


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch):
    def refuse():
        raise ConnectionError("no\nanswer")

    module(monkeypatch, refuse)
    text = "^`ray_address` must be that of a running Ray .* says: no answer "
    with pytest.raises(RuntimeError, match=text):
        with start.started(Config(parallel=2, ray_address="host:1")):
            pass


def test_a_signal_while_ray_starts_is_a_stop(monkeypatch):
    def leave():
        raise SystemExit(1)

    module(monkeypatch, leave)
    with pytest.raises(train.Stopped):
        with start.started(Config(parallel=2)):
            pass


def test_a_signal_while_ray_is_loaded_is_not_lost(monkeypatch, lines):
    done = module(monkeypatch, lambda: signal.raise_signal(signal.SIGTERM))
    made = trainings(KEYS)
    progress = types.SimpleNamespace(line=lines.append)
    with pytest.raises(train.Stopped) as caught:
        crew.train_in_parallel(None, made, KEYS, Config(parallel=2), progress)
    assert caught.value.number == signal.SIGTERM
    assert done[-1] == "shutdown" and lines == []
