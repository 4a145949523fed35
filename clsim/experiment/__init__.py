"""The place of modules of clsim 0.1.0 that documentation named; importing it says where they are now."""

NOW_AT = {
    "progress": "clsim.launch.progress",
    "report": "clsim.report.writing",
    "report_figures": "clsim.report.figures",
    "results": "clsim.report.results",
}

raise ModuleNotFoundError(
    "clsim.experiment is now clsim.running, clsim.report and clsim.launch: "
    + ", ".join(f"{name} is {module}" for name, module in NOW_AT.items())
)
