"""A logger of your own, by Avalanche's protocol: one line of text per task, for whoever watches a cluster.

clsim run digits-b0c2 --strategy er --set 'loggers=[tensorboard, docs/examples/own_logger.py:Watch]'
"""

from avalanche.logging import BaseLogger


class Watch(BaseLogger):
    def __init__(self, file: str = "watch.txt"):  # its parameters are its options
        super().__init__()
        self.file = file

    def begin(self, run):  # optional; clsim.evaluation.outside_loggers.LoggedRun
        self.path = run.folder / self.file
        self.tell(f"{run.name} {'goes on' if run.sent else 'begins'}")

    def after_eval_exp(self, strategy, metric_values, **kwargs):  # any callback of Avalanche's plugins
        values = {metric.name: metric.value for metric in metric_values}
        if "mAP/seen" in values:
            self.tell(f"task {strategy.position.task - 1}: mAP {values['mAP/seen']:.1f}")

    def end(self, result):  # optional; None: interrupted or failed
        self.tell("stopped" if result is None else f"finished, forgetting {result['forgetting']}")

    def tell(self, text):
        with self.path.open("a") as file:
            print(text, file=file)
