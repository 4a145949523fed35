"""A shell completes commands, options and names."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("clsim comp", {"compare"}),
        ("clsim compare --dry", {"--dry-run"}),
        ("clsim plan digits-lt-", {"digits-lt-joint", "digits-lt-single"}),
        ("clsim plan ./mi", set()),
        ("clsim plan mi", {"mine.yaml", "mist/"}),
        ("clsim plan mist/", {"mist/other.yml"}),
        ("clsim run x --strategy lwf+e", {"lwf+er", "lwf+er-ace", "lwf+ewc"}),
        ("clsim compare x --strategies joint,er+o", {"joint,er+ocdm", "joint,er+oewc", "joint,er+or"}),
        ("clsim strategies jo", {"joint"}),
        ("clsim parts s", {"strategy", "selection", "sampler", "schedule", "stream-rule"}),
    ],
)
def test_a_shell_completes_commands_options_and_names(
    clsim_command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str, offered: set[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mist").mkdir()
    for name in ("mine.yaml", "minus.txt", "mist/other.yml"):
        (tmp_path / name).touch()
    for name, value in {"_CLSIM_COMPLETE": "complete_bash", "COMP_WORDS": words}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert set(clsim_command()[1].split()) == offered
