"""How good sentiment models are on labelled texts, as files to read.

::

    python -m jobs.evaluate_sentiment --set path=labelled.csv --set models=[lexicon,tfidf]
    engine submit evaluate_sentiment --set path=labelled.csv --set columns={text: headline} --wait

A model that collapsed, or a test that shows nothing, is refused: the files are written and say
why, and the run counts as failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.config import Config
from engine.sentiment.evaluation.evaluate import evaluate
from engine.sentiment.evaluation.files import write_evaluation
from engine.sentiment.evaluation.quality import Evaluation
from engine.sentiment.evaluation.report import EvaluationReport
from engine.sentiment.registry import check_model_name, sentiment_model
from engine.sentiment.training.examples import Example
from engine.sentiment.training.gather import examples_of
from engine.sentiment.training.split import stratified
from engine.settings.evaluate_sentiment import EvaluateSentimentSection
from engine.settings.train_sentiment import TrainingSet
from jobs.progress import Step, step
from jobs.run import Run, command, running
from jobs.summary import Summary

JOB = "evaluate_sentiment"


def main(config: Config) -> Summary:
    """Evaluate, and write what was found.

    Raises
    ------
    ConfigError
        Where no model has a name, or the texts cannot be read or understood.
    StartError
        Where the folder cannot be written.
    """
    section = config.evaluate_sentiment
    models = section.models or (config.sentiment.model,)
    for name in models:
        check_model_name(name)
    with running(JOB, config) as run:
        examples = _examples(section)
        with step("texts", len(examples) * len(models)) as progress:
            found = [_evaluated(name, examples, config, progress) for name in models]
        report = EvaluationReport(section.path, tuple(found))
        folder = Path(section.out or Path(config.data_dir) / "reports" / "sentiment")
        files = write_evaluation(report, folder, section.formats, run.started_at)
        run.wrote("texts evaluated", len(examples) * len(models))
        run.note("files", [str(file) for file in files])
        for one in found:
            _tell(run, one)
        return run.summary


def _examples(section: EvaluateSentimentSection) -> list[Example]:
    named = TrainingSet(
        path=section.path,
        columns=section.columns,
        labels=section.labels,
        labelled_by=section.labelled_by,
        delimiter=section.delimiter,
    )
    examples = examples_of(named)
    if not section.held_out:
        return examples
    return stratified(examples, 0.0, section.held_out, section.seed).test


def _evaluated(
    name: str, examples: Sequence[Example], config: Config, progress: Step
) -> Evaluation:
    section = config.evaluate_sentiment
    return evaluate(
        lambda: sentiment_model(name, config.sentiment),
        examples,
        section.least_per_label,
        section.batch_texts,
        lambda number: progress.advance(number, rows=number),
    )


def _tell(run: Run, one: Evaluation) -> None:
    if one.overall is not None:
        run.note(
            one.model,
            f"weighted F1 {one.overall.weighted_f1:.3f}, macro F1 {one.overall.macro_f1:.3f}, "
            f"ECE {one.overall.calibration_error:.3f}, {one.speed.texts_per_s:,.0f} texts/s",
        )
        if one.overall.unreadable:
            run.skip(f"texts that {one.model} cannot read", one.overall.unreadable)
    if one.refusals:
        told = f"{one.model} is refused: {'; '.join(one.refusals)}"
        run.summary.problem = "; ".join(filter(None, (run.summary.problem, told)))


if __name__ == "__main__":
    raise SystemExit(command(JOB, main))
