"""Opening specs: what tasks share is shared only where no task can tell."""

import functools
import operator
import pickle

import measure
import pytest
from harness import Executor


def outcomes_of(function, count=4) -> list:
    """Values of `count` tasks that our scheduler would write with one start."""
    with Executor(nthreads=1) as executor:
        for number, spec in enumerate(measure.specs_with_start(count, function)):
            executor.send(["execute", number + 1, f"one-{number}", spec, [], {}])
        for number in range(count):
            assert executor.outcome(number + 1)[0] == "done"
        return [executor.value(f"one-{number}") for number in range(count)]


SEEN: list = []
CALLS = 0


def sees(number):
    SEEN.append(number)
    return len(SEEN)


def counts(number):
    global CALLS
    CALLS += 1
    return CALLS


def marks(number):
    marks.calls = getattr(marks, "calls", 0) + 1
    return marks.calls


def remembers(number, memory=[]):  # noqa: B006
    memory.append(number)
    return len(memory)


def with_closure():
    memory = []

    def closes(number):
        memory.append(number)
        return len(memory)

    return closes


def with_nonlocal():
    calls = 0

    def counts(number):
        nonlocal calls
        calls += 1
        return calls

    return counts


def with_empty_cell():
    def keeps(number):
        if number < 0:
            return never
        return 1

    if False:
        never = 1
    return keeps


class Adder:
    def __init__(self):
        self.total = 0

    def add(self, number):
        self.total += 1
        return self.total

    def __call__(self, number):
        return self.add(number)


def helps(number):
    return number


FACTOR = 3


def multiplies(number):
    return number * FACTOR + helps(number)


def lambda_of(module):
    made = lambda number: number + 1  # noqa: E731
    made.__module__ = module
    return made


for travels_by_value in (sees, counts, marks, remembers, Adder, helps, multiplies):
    travels_by_value.__module__ = "__main__"

CHANGING = {
    "a global list": sees,
    "a global number": counts,
    "an attribute of itself": marks,
    "a default": remembers,
    "a closure": with_closure(),
    "a nonlocal": with_nonlocal(),
    "an empty cell": with_empty_cell(),
    "a method": Adder().add,
    "a callable object": Adder(),
    "a partial's argument": functools.partial(lambda memory, number: memory.append(number) or len(memory), []),
}


@pytest.mark.parametrize("name", CHANGING)
def test_each_task_has_its_own_of_what_can_be_changed(name):
    assert outcomes_of(CHANGING[name]) == [1, 1, 1, 1]


SHARED = {
    "a lambda": lambda_of("__main__"),
    "a function with globals": multiplies,
    "a function found by name": operator.neg,
    "a partial": functools.partial(operator.add, 5),
}


@pytest.mark.parametrize("name", [*SHARED, *CHANGING])
def test_what_is_opened_equals_what_unpickling_gives(name):
    function = {**SHARED, **CHANGING}[name]
    specs = measure.part("specs")
    starts = specs.SharedStarts()
    for spec in measure.specs_with_start(3, function):
        data = measure.harness.unpack(spec[0])["pickled-obj"]
        whole = pickle.loads(data)
        opened, is_coroutine = starts.task(data)
        assert (opened.key, opened.args, opened.kwargs) == (whole.key, whole.args, whole.kwargs)
        assert opened.dependencies == whole.dependencies and type(opened) is type(whole)
        assert opened() == whole() and not is_coroutine
    assert [start.is_shared for start in starts.starts] in ([name in SHARED], [])


@pytest.mark.parametrize("name", SHARED)
def test_what_cannot_be_changed_is_opened_once(name):
    specs = measure.part("specs")
    starts = specs.SharedStarts()
    data = [measure.harness.unpack(spec[0])["pickled-obj"] for spec in measure.specs_with_start(6, SHARED[name])]
    tasks = [starts.task(one)[0] for one in data]  # the first is written whole, the second is where the start is learnt
    assert len(starts.starts) == 1 and starts.starts[0].is_shared
    assert len({id(task.func) for task in tasks[2:]}) == 1


def test_coroutine_functions_are_known_from_their_start():
    async def waits(number):
        return number

    specs = measure.part("specs")
    starts = specs.SharedStarts()
    for spec in measure.specs_with_start(3, waits):
        assert starts.task(measure.harness.unpack(spec[0])["pickled-obj"])[1] is True
    assert outcomes_of(waits) == [0, 1, 2, 3]
