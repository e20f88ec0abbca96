"""A model's probabilities, and an ensemble's weights, fitted on labelled texts.

::

    python -m jobs.calibrate_sentiment --set path=labelled.csv --set model=tfidf
    engine submit calibrate_sentiment --set path=labelled.csv --set model=ensemble --wait

The texts must be ones that the model did not learn from: on those it did it is surer than it may
be. The file that is written is named in ``sentiment.calibration``, that of an ensemble in
``sentiment.ensemble.parameters``.

A model that with its calibration collapses to one label, or was judged by mostly empty texts or
by a sliver, is refused: the summary says why, nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.config import Config
from engine.sentiment.calibration.files import write_parameters
from engine.sentiment.calibration.judged import (
    Judged,
    Recorded,
    calibrate,
    calibrate_ensemble,
    split,
)
from engine.sentiment.calibration.model import Calibration
from engine.sentiment.ensemble.parameters import METHODS, EnsembleParameters
from engine.sentiment.evaluation.gates import refusals
from engine.sentiment.evaluation.labelled import read_labelled
from engine.sentiment.registry import check_model_name, sentiment_model
from engine.sentiment.training.examples import Example
from engine.sentiment.training.split import Parts
from jobs.progress import Step, step
from jobs.run import Run, command, running
from jobs.summary import Summary

JOB = "calibrate_sentiment"


def main(config: Config) -> Summary:
    """Fit, judge on held-out texts, and write.

    Raises
    ------
    ConfigError
        Where no model has that name, or the texts cannot be understood or are too few.
    StartError
        Where the file cannot be written.
    """
    section = config.calibrate_sentiment
    name = section.model or config.sentiment.model
    check_model_name(name)
    members = members_of(config) if name == "ensemble" else (name,)
    with running(JOB, config) as run:
        examples = read_labelled(section.path, section.columns, section.labels)
        parts = split(examples, section.held_out)
        with step("texts", len(examples) * len(members)) as progress:
            models = [(one, _recorded(one, examples, config, progress)) for one in members]
        fitted, table, used = _fitted(name, models, examples, parts, config)
        reasons = refusals(parts.test, used.quality, section.least_per_label)
        if reasons:
            run.summary.problem = f"the fit is refused, and not written: {'; '.join(reasons)}"
        else:
            path = Path(section.out or _file_of(name, config))
            write_parameters(path, fitted)
            run.wrote("texts fitted on", len(examples))
            run.note("file", str(path))
        run.note("texts that judged", len(parts.test))
        _tell(run, table)
        return run.summary


def members_of(config: Config) -> tuple[str, ...]:
    """Return whom an ensemble is fitted for: the members configured, or those for coins."""
    asked = config.sentiment.ensemble.members
    return asked or tuple(one.name for one in EnsembleParameters.shipped().members)


def _recorded(name: str, examples: Sequence[Example], config: Config, progress: Step) -> Recorded:
    # A calibration that is in use already is not what is to be calibrated.
    bare = config.sentiment.model_copy(update={"calibration": ""})
    model = sentiment_model(name, bare)
    batch = config.calibrate_sentiment.batch_texts
    texts = [example.text for example in examples]
    readings = []
    for first in range(0, len(texts), batch):
        part = texts[first : first + batch]
        readings += model.score(part)
        progress.advance(len(part), rows=len(part))
    return Recorded(model, texts, readings)


def _fitted(
    name: str,
    models: Sequence[tuple[str, Recorded]],
    examples: Sequence[Example],
    parts: Parts,
    config: Config,
) -> tuple[Calibration | EnsembleParameters, list[Judged], Judged]:
    """Return what is to be written, how everything does, and how that does which will be used."""
    if name == "ensemble":
        parameters, table = calibrate_ensemble(models, examples, parts, METHODS)
        used = {one.name: one for one in table}[config.sentiment.ensemble.method]
        return parameters, table, used
    asked = config.calibrate_sentiment.method
    method = None if asked == "best" else asked
    calibration, table = calibrate(models[0][1], examples, parts, method)
    return calibration, table, table[-1]


def _file_of(name: str, config: Config) -> Path:
    if name == "ensemble":
        return Path(config.data_dir) / "models" / "ensemble.json"
    plain = "".join(sign if sign.isalnum() else "-" for sign in name)
    return Path(config.data_dir) / "models" / f"{plain}-calibration.json"


def _tell(run: Run, table: Sequence[Judged]) -> None:
    for one in table:
        found = one.quality
        run.note(
            one.name,
            f"log loss {found.log_loss:.3f}, ECE {found.calibration_error:.3f}, "
            f"macro F1 {found.macro_f1:.3f}, weighted F1 {found.weighted_f1:.3f}",
        )


if __name__ == "__main__":
    raise SystemExit(command(JOB, main))
