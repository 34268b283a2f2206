"""One executor for all tests of a file that ask for `executor`; those that end or spoil theirs start their own."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import cloudpickle  # noqa: E402
import harness  # noqa: E402


@pytest.fixture(scope="module")
def executor():
    with harness.Executor(nthreads=2) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def functions_travel_by_value(request):
    """The executor cannot import the tests."""
    cloudpickle.register_pickle_by_value(request.module)
    yield
    cloudpickle.unregister_pickle_by_value(request.module)
