"""What an export is to hold, as far as the store decides it: models, versions, series."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.datasets.request import DatasetRequest
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.features.catalogue import FEATURE_NAMES, FEATURE_VERSION
from engine.settings.export_dataset import ExportDatasetSection
from engine.store.client import Store
from engine.store.dataset_reader import QUERIES, BarSelection, DatasetReader, bars_query


def plan_dataset(
    store: Store, section: ExportDatasetSection, timeframe: Timeframe, watermark: int
) -> DatasetRequest:
    """Return what an export holds as of a watermark.

    Parameters
    ----------
    store
        Where the rows are.
    section
        What was asked for.
    timeframe
        Of the bars.
    watermark
        UTC nanoseconds.

    Raises
    ------
    ConfigError
        Where a feature, a model or a label is not there, or which one is meant is not clear.
    StoreUnavailable
        Where the store does not answer.
    """
    reader = DatasetReader(store)
    begin, end = section.moments()
    request = DatasetRequest(
        timeframe=timeframe.value,
        exchange=section.exchange or "",
        instruments=tuple(sorted(section.instruments)),
        begin=begin or 0,
        end=watermark if end is None else min(end, watermark),
        watermark=watermark,
        features=chosen_features(section.features),
        feature_version=FEATURE_VERSION,
        horizons=section.horizons,
        label_version="",
        sentiment_window=section.sentiment_window,
        sentiment_model=_model(reader, section, watermark),
        mood_series=tuple(reader.mood_series(watermark)),
    )
    if not reader.ranges(selection_of(request)):
        raise ConfigError(_nothing_to_export(reader, request))
    return _with_labels(reader, request)


def selection_of(request: DatasetRequest) -> BarSelection:
    """Return which bars a data set holds."""
    return BarSelection(
        Timeframe(request.timeframe),
        request.feature_version,
        request.begin,
        request.end,
        request.watermark,
        request.exchange,
        request.instruments,
    )


def queries_of(request: DatasetRequest) -> dict[str, str]:
    """Return all that is asked of the store for a data set's rows, by name, for its manifest."""
    return {"bars": bars_query(request.features), **QUERIES}


def parameters_of(request: DatasetRequest) -> dict[str, dict[str, Any]]:
    """Return the parameters of `queries_of` that hold for a whole data set, by the query's name.

    An export asks a stretch of bars at a time, with its own ``begin`` and ``end``; what the other
    queries take besides (``instruments``, ``after``, ``until``) follows from the stretch's bars.
    """
    bars = selection_of(request).parameters()
    return {
        "bars": bars,
        "sentiment": {"window": request.sentiment_window, "model": request.sentiment_model},
        "ticks": {"step": Timeframe(request.timeframe).ns},
        "outcomes": bars
        | {"horizons": list(request.horizons), "label_version": request.label_version},
    }


def chosen_features(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the features of these names in the catalogue's order; all where there are none.

    Raises
    ------
    ConfigError
        Where one is unknown.
    """
    unknown = sorted(set(names) - set(FEATURE_NAMES))
    if unknown:
        raise ConfigError(f"features: {unknown[0]!r} is no feature; docs/features.md lists them")
    return tuple(name for name in FEATURE_NAMES if not names or name in names)


def _model(reader: DatasetReader, section: ExportDatasetSection, watermark: int) -> str:
    stored = reader.sentiment_models(section.sentiment_window, watermark)
    wanted = section.sentiment_model
    if wanted and wanted not in stored:
        there = f"there are those of {', '.join(stored)}" if stored else "there are none at all"
        raise ConfigError(
            f"sentiment_model: no aggregates of {wanted} over {section.sentiment_window} are "
            f"stored; {there}"
        )
    if len(stored) > 1 and not wanted:
        raise ConfigError(
            f"sentiment_model: the store holds aggregates of {', '.join(stored)}; name one"
        )
    return wanted or (stored[0] if stored else "")


def _with_labels(reader: DatasetReader, request: DatasetRequest) -> DatasetRequest:
    """Note the version of the labels, of which there may be only one."""
    if not request.horizons:
        return request
    versions = reader.label_versions(selection_of(request), request.horizons)
    found = {name for horizons in versions.values() for name in horizons}
    missing = [horizon for horizon in request.horizons if horizon not in found]
    if missing:
        raise ConfigError(
            f"horizons: no label over {missing[0]} of these bars was known by the watermark; run "
            f"label_outcomes --set horizons=[{','.join(request.horizons)}]"
        )
    if len(versions) > 1:
        told = "; ".join(f"{version} ({', '.join(of)})" for version, of in versions.items())
        raise ConfigError(
            f"horizons: the labels of these bars are of several versions: {told}; run "
            "label_outcomes over all of them with the same settings"
        )
    return msgspec.structs.replace(request, label_version=next(iter(versions)))


def _nothing_to_export(reader: DatasetReader, request: DatasetRequest) -> str:
    of = ", ".join(request.instruments) or request.exchange or "any market"
    others = reader.other_versions(selection_of(request))
    older = f" ({others:,} are of another version of the catalogue)" if others else ""
    return (
        f"there are no features of {request.timeframe} bars of {of} in that stretch of time"
        f"{older}; build_features makes them"
    )
