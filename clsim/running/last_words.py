"""What is said of a run that ends without a result."""

from __future__ import annotations

from clsim.plugin_files import PluginFileError
from clsim.running.checkpoint_files import newest_checkpoint
from clsim.running.checkpointer import place, resume_command
from clsim.running.run_folder import RunFolder


def error_text(error: BaseException) -> str:
    """Return what `error.txt` says."""
    told = isinstance(error, KeyboardInterrupt | PluginFileError)  # of which the text says everything
    return str(error) if told else f"{type(error).__name__}: {error}"


def interruption_text(files: RunFolder) -> str:
    """Return what is left of a run that was stopped at once."""
    checkpoint = newest_checkpoint(files.path)
    if checkpoint is not None:
        saved = place(checkpoint.header["position"])
        return f"interrupted; last saved {saved}; go on with: {resume_command(files.path)}"
    if not files.environment.exists():
        return f"interrupted before training; go on with: {resume_command(files.path)}"
    return "interrupted before its first checkpoint"
