"""The structure docs/design.md promises: imports go only one way, and the packages say what they hold."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = [
    {
        *("clsim", "clsim.allocator", "clsim.children", "clsim.cores", "clsim.errors", "clsim.files"),
        *("clsim.avalanche_imports", "clsim.csv_text", "clsim.file_lock", "clsim.opening"),
        "clsim.global_generators",
        *(
            "clsim.html_table",
            "clsim.lazy",
            "clsim.model_names",
            "clsim.option_marks",
            "clsim.part_files",
            "clsim.part_kinds",
            "clsim.parts",
            "clsim.plugin_files",
            "clsim.preparation",
            "clsim.randomness",
            "clsim.sealing",
            "clsim.source_code",
            "clsim.standard_streams",
            "clsim.strict_json",
            "clsim.torchrun",
            "clsim.transfer",
            "clsim.vocabulary",
        ),
    },
    {"clsim.data"},
    {"clsim.scenario"},
    {"clsim.models"},
    {"clsim.training"},
    {"clsim.kit"},
    {"clsim.evaluation"},
    {"clsim.running"},
    {"clsim.inference"},
    {"clsim.report"},
    {"clsim.launch"},
    {"clsim.cli", "clsim.__main__", "clsim.experiment"},
]
MODULES = sorted((ROOT / "clsim").rglob("*.py"))
API = ROOT / "clsim" / "__init__.py"  # the lazy front door names everything


def layer(module: str) -> int | None:
    """Rank of a module, by its name or its package's."""
    for rank, names in enumerate(LAYERS):
        if any(module == name or (name != "clsim" and module.startswith(name + ".")) for name in names):
            return rank
    return None


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.append(node.module)
    return found


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", [path for path in MODULES if path != API], ids=module_name)
def test_imports_go_only_downwards(path: Path) -> None:
    own = layer(module_name(path))
    assert own is not None, "a module outside the layers of docs/design.md"
    for name in imports(path):
        if name.split(".")[0] in ("clsim", "strategies", "scenarios", "tests"):
            rank = layer(name)
            assert rank is not None, f"imports {name}"
            assert rank <= own, f"imports {name} from a higher layer"


def imported_at_once(path: Path) -> set[str]:
    """The modules of clsim that are imported while a module is: not those in functions, nor for types only."""
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    found: set[str] = set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes += ast.iter_child_nodes(node)
    return found & set(map(module_name, MODULES))


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = {module_name(path): imported_at_once(path) for path in MODULES if path.name != "__init__.py"}
    while ready := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in ready:
            del left[name]
    assert not left, "each of these can be imported only after another of them"


def test_the_report_knows_little_of_a_run() -> None:
    names = ("record", "record_parts", "checksums", "evaluation_record", "run_folder", "logged_values", "dotted_keys")
    shared = {f"clsim.running.{name}" for name in names}
    for path in (ROOT / "clsim" / "report").rglob("*.py"):
        assert {name for name in imports(path) if name.startswith("clsim.running")} <= shared, path


def test_no_package_bears_the_name_of_a_public_function() -> None:
    import clsim

    packages = {path.name for path in (ROOT / "clsim").iterdir() if path.is_dir()}
    assert not packages & set(clsim.__all__)


@pytest.mark.parametrize("path", sorted((ROOT / "strategies").glob("*.py")), ids=lambda path: path.stem)
def test_strategies_use_the_surface_that_every_author_has(path: Path) -> None:
    """Beyond `clsim.kit` only what makes a part what it is: not each other, no metrics, no runs."""
    own = {
        "a_gem": {"clsim.training.memory.projection"},
        "class_embeddings": {"clsim.models.class_embeddings", "clsim.training.unknown_class"},
        "csc": {"clsim.models.class_graph"},
        "agcn": {"clsim.models.label_graph", "clsim.training.label_graph"},
        "cgc": {"clsim.training.losses.compensated"},
        "ewc": {"clsim.training.quadratic_penalty"},
        "gdumb": {"clsim.training.memory.memory_only"},
        "identity": {"clsim.training.memory.photo_identity"},
        "joint": {"clsim.scenario.plan.planning"},
        "lwf": {"clsim.training.unknown"},
        "mas": {"clsim.training.importances"},
        "krt": {"clsim.models.cross_attention", "clsim.training.token_distillation"},
        "more": {"clsim.models.low_rank", "clsim.training.more.plugin"},
        "multi_lane": {"clsim.models.prompted_vit"},
        "online_relabelling": {"clsim.training.memory.relabelling"},
        "podnet": {"clsim.training.feature_distillation"},
        "si": {"clsim.training.importances"},
        "slow_learners": {"clsim.training.slow_learners"},
        "wa": {"clsim.training.weight_aligning"},
        "max_entropy": {"clsim.training.entropy"},
        "pseudo": {"clsim.training.pseudo_labels"},
        "relational": {"clsim.training.relations"},
    }
    found = {name for name in imports(path) if name.split(".")[0] in ("clsim", "strategies", "scenarios")}
    assert found - {"clsim"} == own.get(path.stem, set())


@pytest.mark.parametrize("path", MODULES + sorted((ROOT / "strategies").glob("*.py")), ids=module_name)
def test_every_public_thing_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.name != "__main__.py":
        assert ast.get_docstring(tree), "module"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node) or _is_plain_section(node), node.name
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


def _is_plain_section(node: ast.ClassDef) -> bool:
    """Sections of the schema and options of strategies describe each field instead."""
    bases = {ast.unparse(base) for base in node.bases}
    return bool(bases & {"Section", "kit.Options"})


def test_one_module_locks_files() -> None:
    assert [module_name(path) for path in MODULES if "fcntl" in imports(path)] == ["clsim.file_lock"]


def test_one_module_writes_records_of_tensorboard() -> None:
    writers = {"tensorboard.summary.writer.record_writer", "torch.utils.tensorboard.writer"}
    assert not [module_name(path) for path in MODULES if writers & set(imports(path))]
    events = [module_name(path) for path in MODULES if "tensorboard.compat.proto.event_pb2" in imports(path)]
    assert events == ["clsim.evaluation.event_file"]


def test_no_module_is_a_drawer_for_leftovers() -> None:
    assert not [path for path in MODULES if path.stem in ("utils", "helpers", "misc", "common")]


def test_every_strategy_file_is_an_entry_point() -> None:
    import tomllib

    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["clsim.strategies"]
    files = {path.stem for path in (ROOT / "strategies").glob("*.py")} - {"__init__"}
    assert {target.split(":")[0].removeprefix("clsim.strategies.") for target in points.values()} == files


def test_a_test_file_is_named_after_its_module_or_stands_with_the_promises() -> None:
    homes = {"strategies": ROOT / "strategies", "benchmarks": ROOT / "benchmarks"}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        folder, *below = path.relative_to(ROOT / "tests").parts
        if folder in ("behaviour", "project", "fuzz", "gpu_sim", "cuda"):
            continue
        home = homes[folder].joinpath(*below) if folder in homes else ROOT / "clsim" / path.relative_to(ROOT / "tests")
        words = path.stem.removeprefix("test_").split("_")
        names = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
        there = [name for name in names if (home.parent / f"{name}.py").is_file() or (home.parent / name).is_dir()]
        assert there, f"{path}: no module {home.parent / names[0]}; a promise of several modules: tests/behaviour"
