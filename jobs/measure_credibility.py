"""How often each source of texts was right: its scores against what followed.

::

    python -m jobs.measure_credibility --config configs/local.yaml [--set horizon=4h]
    engine submit measure_credibility --set half_life_days=30 --wait

The opinions are joined in the store and counted in one pass, in the order in which it became known
what followed them; a running engine takes the newest rows up by itself.
"""

from __future__ import annotations

import os

from engine.config import Config
from engine.domain.credibility import SourceCredibility
from engine.errors import EngineError
from engine.job_request import AGAIN
from engine.sentiment.registry import sentiment_model
from engine.store.client import Store
from engine.store.credibility_rows import OpinionScope, read_opinions, split_by_stored
from engine.texts.credibility import UNCONFIGURED, measure
from engine.texts.credibility_rules import CredibilityRules, credibility_rules
from jobs.progress import step
from jobs.run import Run, command, running
from jobs.summary import Summary

TABLE = "source_credibility"

ROWS_AT_ONCE = 100_000
"""Rows of one insert."""


def main(config: Config) -> Summary:
    """Measure, and store what is new.

    Raises
    ------
    EngineError
        Where no opinion can be judged: nothing is scored, or no bar is labelled.
    StoreError
        Where the store does not answer, or refuses.
    """
    with running("measure_credibility", config) as run:
        scope = scope_of(run)
        run.note("model", scope.model)
        opinions = read_opinions(run.store, scope)
        run.note("opinions", len(opinions))
        if not opinions:
            raise EngineError(
                f"no text with a bullish or bearish score of {scope.model} is followed by an "
                f"outcome over {scope.horizon} of {scope.timeframe.value} bars: run score_texts "
                f"and label_outcomes with horizons=[{scope.horizon}] first"
            )
        rules = credibility_rules(config.measure_credibility, scope.timeframe)
        configured = {source.name: source.credibility for source in config.sources}
        with step("opinions", len(opinions)) as progress:
            rows = list(
                measure(
                    opinions,
                    rules,
                    every_ns=config.measure_credibility.every.ns,
                    end=run.started_at,
                    model=scope.model,
                    configured=lambda source: configured.get(source, UNCONFIGURED),
                )
            )
            progress.advance(len(opinions), rows=len(rows))
        _store(run, rows, scope.model, rules)
        _tell(run, rows)
        return run.summary


def scope_of(run: Run) -> OpinionScope:
    """Return which opinions the configuration asks for."""
    section, config = run.config.measure_credibility, run.config
    return OpinionScope(
        model=_model(run.store, section.model or config.sentiment.model, config),
        timeframe=section.timeframe or config.ranking.timeframe,
        horizon=section.horizon,
        end=run.started_at,
    )


def _model(store: Store, name: str, config: Config) -> str:
    """Return a model's name with its version; scores of a model that is gone may be named so."""
    held = store.command(
        "SELECT count() FROM sentiment_scores WHERE model = {model:String}", {"model": name}
    )
    return name if int(held) else sentiment_model(name, config.sentiment).name


def _store(run: Run, rows: list[SourceCredibility], model: str, rules: CredibilityRules) -> None:
    """Write what is new; what was known at a moment stays, unless all is to be done again."""
    fresh, equal, differing = split_by_stored(run.store, rows, model, rules.version)
    if os.environ.get(AGAIN):
        fresh, equal, differing = rows, 0, 0
    for start in range(0, len(fresh), ROWS_AT_ONCE):
        part = fresh[start : start + ROWS_AT_ONCE]
        run.wrote(TABLE, run.store.insert(TABLE, part))
    if equal:
        run.skip("rows equal to what is stored", equal)
    if differing:
        run.skip("rows stored otherwise: what was known then stays (but with --again)", differing)


def _tell(run: Run, rows: list[SourceCredibility]) -> None:
    """Say how credible each source is now."""
    newest = {row.source: row for row in rows if row.level == "source"}
    for source, row in sorted(newest.items()):
        run.note(
            source,
            f"{row.credibility:.3f} (configured {row.prior:.3f}), {row.opinions:,} opinions, "
            f"right {row.right:.1f} and wrong {row.wrong:.1f} of those that count",
        )


if __name__ == "__main__":
    raise SystemExit(command("measure_credibility", main))
