"""A sentiment model, from labelled texts: trained, tested on what it never saw, written.

::

    python -m jobs.train_sentiment --config train.yaml
    engine submit train_sentiment --set sets=[{path: labelled.csv}] --set epochs=2 --wait

A model that collapsed to one label, learnt from mostly empty texts or was tested on a sliver is
refused: its report is written and says why, the model is not. A run that was stopped goes on from
its checkpoint.
"""

from __future__ import annotations

from pathlib import Path

from engine.config import Config
from engine.sentiment.evaluation.evaluate import evaluate
from engine.sentiment.evaluation.files import write_evaluation
from engine.sentiment.evaluation.quality import Evaluation
from engine.sentiment.evaluation.report import EvaluationReport
from engine.sentiment.training.checks import check_parts
from engine.sentiment.training.gather import gathered
from engine.sentiment.training.trainers import train
from jobs.progress import step
from jobs.run import Run, command, running
from jobs.summary import Summary

JOB = "train_sentiment"

FORMATS = ("md", "json", "html")


def main(config: Config) -> Summary:
    """Train, test and write.

    Raises
    ------
    ConfigError
        Where the texts cannot be read, or no sound model can come from them.
    StartError
        Where the folder cannot be written.
    """
    section = config.train_sentiment
    folder = Path(section.out or Path(config.data_dir) / "models" / section.model)
    with running(JOB, config) as run:
        parts = gathered(section)
        for name, examples in parts._asdict().items():
            run.note(f"texts for {name}", len(examples))
        check_parts(parts._asdict(), section.least_per_label)
        with step("epochs", section.most_epochs) as progress:
            trained = train(
                section, parts, folder, lambda: progress.advance(1, rows=len(parts.training))
            )
        for key, value in trained.notes.items():
            run.note(key, value)
        tested = evaluate(lambda: trained.model, parts.test, section.least_per_label)
        report = EvaluationReport("texts held out of the training", (tested,))
        files = write_evaluation(report, folder, FORMATS, run.started_at)
        run.note("files", [str(file) for file in files])
        _judge(run, tested)
        if not tested.refusals:
            run.note("model", str(trained.save()))
            run.wrote("models", 1)
        return run.summary


def _judge(run: Run, tested: Evaluation) -> None:
    if tested.overall is not None:
        run.note(
            "test",
            f"weighted F1 {tested.overall.weighted_f1:.3f}, "
            f"macro F1 {tested.overall.macro_f1:.3f}, "
            f"ECE {tested.overall.calibration_error:.3f}",
        )
    if tested.refusals:
        run.summary.problem = f"the model is refused, and not written: {'; '.join(tested.refusals)}"


if __name__ == "__main__":
    raise SystemExit(command(JOB, main))
