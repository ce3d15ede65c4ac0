"""Who is who, and how workers agree."""

import json
import threading

import pytest
import tensorflow as tf

from tf_lottery.train import Workers
from tf_lottery.train import lost_workers
from tf_lottery.train import read_task
from tf_lottery.train.workers import Task


@pytest.mark.parametrize(
    "cluster, task, expected",
    [
        ({"worker": ["a:1", "b:1"]}, ("worker", 0), Task(0, 2)),
        ({"worker": ["a:1", "b:1"]}, ("worker", 1), Task(1, 2)),
        ({"chief": ["c:1"], "worker": ["a:1"]}, ("chief", 0), Task(0, 2)),
        ({"chief": ["c:1"], "worker": ["a:1"]}, ("worker", 0), Task(1, 2)),
        ({"worker": ["a:1"], "evaluator": ["e:1"]}, ("worker", 0), Task(0, 1)),
    ],
)
def test_the_chief_is_the_first(cluster, task, expected, monkeypatch):
    values = {
        "cluster": cluster, "task": {"type": task[0], "index": task[1]},
    }
    monkeypatch.setenv("TF_CONFIG", json.dumps(values))
    assert read_task("multi_worker") == expected
    # Another strategy does not ask for it.
    assert read_task("auto") == Task(0, 1)


@pytest.fixture
def pair():
    """Two workers in two threads, in place of two processes."""
    barrier = threading.Barrier(2, timeout=60)
    values = [None, None]

    class Threaded(Workers):
        def __init__(self, number):
            self._task = Task(number, 2)

        def exchange(self, value):
            values[self._task.number] = json.loads(json.dumps(value))
            barrier.wait()
            seen = list(values)
            barrier.wait()
            return seen

    def both(act):
        ends = [None, None]

        def one(number):
            try:
                ends[number] = act(Threaded(number))
            except Exception as error:
                ends[number] = error

        threads = [threading.Thread(target=one, args=(i,)) for i in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ends

    return both


def test_the_chief_decides_for_all(pair):
    asked = []

    def decide(workers):
        def answer():
            asked.append(workers.chief)
            return ["x", None]

        return workers.agree(answer)

    assert pair(decide) == [["x", None], ["x", None]]
    assert asked == [True]
    assert pair(lambda workers: workers.agree(lambda: None)) == [None, None]


def test_the_chief_s_error_ends_the_others(pair):
    def fail(workers):
        return workers.agree(lambda: {}["missing"])

    one, other = pair(fail)
    assert isinstance(one, KeyError)
    assert isinstance(other, RuntimeError)
    assert str(other).startswith("The first worker must be able to go on. ")


def test_the_chief_comes_first(pair):
    order = []

    def come(workers):
        return workers.chief_first(
            lambda: order.append(workers.chief) or len(order)
        )

    assert pair(come) == [1, 2] and order == [True, False]


def test_the_loss_of_a_worker_is_told():
    with pytest.raises(RuntimeError, match="^All workers must stay until the"):
        with lost_workers("multi_worker"):
            raise tf.errors.UnavailableError(None, None, "Connection reset")
    with pytest.raises(tf.errors.ResourceExhaustedError):
        with lost_workers("multi_worker"):
            raise tf.errors.ResourceExhaustedError(None, None, "memory")


def test_without_other_workers_none_is_lost():
    with pytest.raises(tf.errors.UnavailableError):
        with lost_workers("mirrored"):
            raise tf.errors.UnavailableError(None, None, "a bucket's")


def test_workers_must_be_started_alike(pair):
    flags = ["a" * 500, "replicate 0 main level 1"]
    assert pair(lambda workers: workers.check_same(flags)) == [None, None]
    ends = pair(lambda workers: workers.check_same(flags[: 1 + workers.chief]))
    for end in ends:
        assert isinstance(end, RuntimeError)
        assert str(end).startswith("All workers must be started with the same")


def test_a_shared_directory_is_written_by_the_chief(pair, tmp_path):
    from tf_lottery.tickets import SharedDirectory

    def open_it(workers):
        # The other looks elsewhere: a folder of its own machine.
        path = tmp_path / ("here" if workers.chief or shared else "there")
        store = SharedDirectory(str(path), print, workers)
        store.open({"a": 1}, str)
        return store.writes

    shared = True
    assert pair(open_it) == [True, False]
    (config,) = (tmp_path / "here").iterdir()
    assert config.name == "config.json"
    shared = False
    for error in pair(open_it):
        assert isinstance(error, RuntimeError)
        assert str(error).startswith(
            "`output_dir` must be a folder that all workers share. Received: "
        )
    assert not (tmp_path / "there").exists()
