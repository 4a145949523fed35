"""Nothing in the source can run code that comes with data: pickles, YAML tags, texts, commands of a shell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for home in ("clsim", "strategies", "benchmarks") for path in (ROOT / home).rglob("*.py"))
SOURCES += [ROOT / "docs" / "generate.py", *sorted((ROOT / "docs" / "examples").glob("*.py"))]
RUN_TEXT = {"eval", "exec", "compile", "__import__", "system", "popen", "getoutput", "getstatusoutput"}
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "yaml"}
"""Modules whose loading runs what a file says; `yaml` is PyYAML. `pickle` is imported for the name of its error."""
OWN_PICKLES = {
    "clsim/running/scoring/process.py": 3,  # between a process and the one that it has forked, through their pipe
    "clsim/launch/engines/slurm.py": 1,  # the exit code of a job that this process has submitted, as submitit leaves it
}
"""Files that unpickle what this program alone has written, and how often."""
LOADERS = {"find_class", "Unpickler", "loads", "load", "unsafe_load", "full_load", "read_pickle"}


def problems(source: str) -> Iterator[str]:
    """Yield each call that could run what a file says, with its line."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        of = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        given = {one.arg: ast.unparse(one.value) for one in node.keywords}
        if of in ("torch", "torch.jit") and name == "load" and given.get("weights_only") != "True":
            yield f"{node.lineno}: torch.load without weights_only=True"
        if name == "get_state_dict" and given.get("weights_only") != "True":
            yield f"{node.lineno}: get_state_dict without weights_only=True"
        if name in ("load_state_dict_from_url", "load_url") and given.get("weights_only") != "True":
            yield f"{node.lineno}: {name} without weights_only=True"
        if of in ("np", "numpy") and name == "load" and given.get("allow_pickle") != "False":
            yield f"{node.lineno}: numpy.load without allow_pickle=False"
        if (given.get("allow_pickle") == "True" and name != "load") or given.get("shell", "False") != "False":
            yield f"{node.lineno}: {name} with pickles or a shell"
        if (not of or of in ("os", "subprocess", "builtins")) and name in RUN_TEXT:
            yield f"{node.lineno}: {name} runs a text"
        if (of in PICKLES or name == "read_pickle") and name in LOADERS:
            yield f"{node.lineno}: {of}.{name} runs what a file says"
        if of == "YAML" or (name == "YAML" and given.get("typ", "'rt'") not in ("'rt'", "'safe'")):
            yield f"{node.lineno}: YAML that makes objects"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_source_can_run_what_a_file_says(path: Path) -> None:
    found = [problem.partition(": ")[2] for problem in problems(path.read_text(encoding="utf-8"))]
    assert found == ["pickle.loads runs what a file says"] * OWN_PICKLES.get(path.relative_to(ROOT).as_posix(), 0)


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "pickle.loads(content)",
        "pandas.read_pickle(path)",
        "eval(text)",
        "exec(text)",
        "os.system(command)",
        "subprocess.run(command, shell=True)",
        "kind.get_state_dict(progress=False)",
        "YAML(typ='unsafe')",
    ],
)
def test_the_search_finds_it(line: str) -> None:
    assert len(list(problems(f"def f():\n    {line}\n"))) == 1


def test_the_search_leaves_methods_of_networks_alone() -> None:
    assert list(problems("network.eval()\nre.compile(text)\ntorch.compile(network)\nmodel.load(path)\n")) == []
