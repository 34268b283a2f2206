"""What an installation consists of, and its first use at a Python prompt."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import sysconfig

import daskjob
from daskjob import program


def run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_metadata_tell_what_it_is():
    metadata = importlib.metadata.metadata("daskjob")
    assert metadata["Version"] == daskjob.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Summary"]
    requirements = importlib.metadata.requires("daskjob")
    assert any(requirement.startswith("distributed") for requirement in requirements)


def test_licence_is_part_of_it():
    files = importlib.metadata.files("daskjob")
    (licence,) = [file for file in files if file.name == "LICENSE"]
    assert "Apache License" in licence.read_text()


def test_program_is_beside_the_interpreter_and_of_the_same_version():
    assert program.find().startswith(sysconfig.get_path("scripts"))
    assert run(program.find(), "--version").split() == ["daskjob", daskjob.__version__]


def test_importing_it_imports_no_dask():
    run(sys.executable, "-c", "import sys, daskjob; assert not {'dask', 'distributed', 'tornado'} & set(sys.modules)")


def test_unknown_names_are_refused():
    text = run(
        *(sys.executable, "-c"),
        "import daskjob\n"
        "assert 'LocalCluster' in dir(daskjob)\n"
        "try:\n    daskjob.Nothing\nexcept AttributeError as error:\n    print(error)",
    )
    assert "Nothing" in text


PROMPT = """\
from daskjob import LocalCluster
from distributed import Client
client = Client(LocalCluster(n_workers=4))
len(client.scheduler_info(n_workers=-1)["workers"])
def square(x):
    return x * x

sum(client.gather(client.map(square, range(10))))
"""


def test_prompt_computes_and_leaves_nothing_behind(marked):
    assert run(sys.executable, "-i", "-q", text=PROMPT).split() == ["4", "285"]
    assert marked.all_gone()
