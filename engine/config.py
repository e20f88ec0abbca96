"""Configuration: one tree, read from YAML, ``ENGINE__SECTION__KEY`` and ``--set``.

Later wins: defaults < file < environment < ``--set``. Unknown keys are refused with the
nearest known one. Secrets are never written here: they come from the environment.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from engine.clock import parse_iso_utc
from engine.domain.instrument import ExchangeName, Instrument
from engine.domain.market import Channel
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError, InstrumentError
from engine.settings.aggregate_sentiment import AggregateSentimentSection
from engine.settings.backfill import BackfillSection
from engine.settings.build_candles import BuildCandlesSection
from engine.settings.build_features import BuildFeaturesSection
from engine.settings.calibrate_sentiment import CalibrateSentimentSection
from engine.settings.check_quality import CheckQualitySection, QualitySection
from engine.settings.evaluate_sentiment import EvaluateSentimentSection
from engine.settings.export_dataset import ExportDatasetSection
from engine.settings.import_candles import ImportCandlesSection
from engine.settings.label_outcomes import LabelOutcomesSection
from engine.settings.measure_credibility import MeasureCredibilitySection
from engine.settings.report import ReportSection
from engine.settings.schedule import ScheduledJob
from engine.settings.score_texts import ScoreTextsSection
from engine.settings.section import FilePath, Port, Section, Share
from engine.settings.sentiment import SentimentConfig
from engine.settings.sources import MoodConfig, SourceConfig
from engine.settings.texts import TextsSection
from engine.settings.train_sentiment import TrainSentimentSection

ENVIRONMENT_PREFIX = "ENGINE__"

LIST_EXPECTED = ("tuple_type", "list_type", "set_type", "frozen_set_type")
"""What pydantic calls the mistake of giving one value instead of several."""

Place = tuple[str, ...]
"""A key of the tree, section by section."""


class _Loader(yaml.SafeLoader):
    """YAML without its own idea of dates: a time stays the text that we check for its zone."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _load_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


class RayConfig(Section):
    """The Ray cluster to run on."""

    address: str | None = None
    """Address of a running cluster (``auto`` or ``ray://…``); none starts a local one."""
    num_cpus: PositiveInt = 8
    """Logical CPUs of a local cluster. Actors are mostly idle, so more than the cores is fine."""
    object_store_mb: PositiveInt = 256
    """Size of a local cluster's object store, MiB."""
    dashboard: bool = True
    """Whether a local cluster serves Ray's dashboard and job API, on loopback; without it no job
    can be submitted."""


class RetentionConfig(Section):
    """How long rows stay in the store, days from when they were written; 0 keeps them for ever."""

    trades: int = Field(90, ge=0)
    """Days that rows of ``trades`` stay; 0 for ever. The other tables likewise."""
    book_tops: int = Field(14, ge=0)
    book_snapshots: int = Field(30, ge=0)
    book_deltas: int = Field(7, ge=0)
    perpetuals: int = Field(365, ge=0)
    instruments: int = Field(0, ge=0)
    candles: int = Field(1825, ge=0)
    feed_gaps: int = Field(1825, ge=0)
    texts: int = Field(365, ge=0)
    sentiment_scores: int = Field(365, ge=0)
    sentiment_aggregates: int = Field(1825, ge=0)
    sentiment_events: int = Field(1825, ge=0)
    text_topics: int = Field(365, ge=0)
    source_credibility: int = Field(1825, ge=0)
    market_mood: int = Field(0, ge=0)
    features: int = Field(365, ge=0)
    signals: int = Field(1825, ge=0)
    dead_letters: int = Field(14, ge=0)
    job_runs: int = Field(1825, ge=0)
    job_blocks: int = Field(1825, ge=0)
    outcomes: int = Field(1825, ge=0)
    datasets: int = Field(0, ge=0)
    quarantine: int = Field(90, ge=0)
    quality_scores: int = Field(1825, ge=0)
    schedules: int = Field(0, ge=0)
    schedule_runs: int = Field(1825, ge=0)


class StoreConfig(Section):
    """Where rows are kept."""

    url: str = "embedded"
    """``embedded`` (below `data_dir`), ``embedded:PATH``, or
    ``http(s)://user:password@host:port/database``."""
    port: Port = 0
    """Loopback port of the embedded home; 0 takes a free one."""
    memory_mb: PositiveInt = 2048
    """Memory that the embedded home may take for queries, MiB."""
    flush_ms: PositiveInt = 1000
    """How long a row waits before it is written, ms; up to three times as long while the store is
    slow to answer, and always in book_tops, candles and perpetuals."""
    flush_rows: PositiveInt = 20_000
    """A batch is written when it has this many rows."""
    buffer_rows: PositiveInt = 200_000
    """Most rows held in memory; beyond them, reading from the socket pauses."""
    spool_mb: int = Field(1024, ge=0)
    """Disk that batches of one writer may take below ``data_dir/spool`` while the store does not
    answer, MiB; when it is full, rows wait in memory. 0 keeps everything there."""
    retention: RetentionConfig = RetentionConfig()


class BusConfig(Section):
    """Snapshots and fan-out."""

    url: str = "embedded"
    """``embedded`` or a Redis URL (``redis://[:password@]host:port/db``)."""
    prefix: str = "engine"
    """First part of every key and channel name."""


class ExchangeConfig(Section):
    """One venue."""

    enabled: bool = True
    """Whether to stream from it."""
    ws_url: str = ""
    """WebSocket endpoint; empty takes the venue's own public one."""
    rest_url: str = ""
    """REST endpoint; empty takes the venue's own public one."""
    instruments: tuple[str, ...] = ()
    """Canonical names (``BTC-USDT``); empty takes none."""
    channels: tuple[Channel, ...] = ("trades", "book_top")
    """What to subscribe to: trades, book_top (best bid and ask), book (L2), perpetual (mark price,
    funding and open interest, of perpetuals)."""
    book_top_every_ms: int = Field(250, ge=0)
    """Of each market's book tops the last in so many ms is kept; 0 keeps all."""
    book_snapshot_every_ms: PositiveInt = 1000
    """Of each L2 book the best levels are kept this often, ms, if it has changed."""
    book_snapshot_levels: PositiveInt = 20
    """Levels a side that are kept."""
    book_deltas: bool = False
    """Whether every applied change of an L2 book is kept too."""
    shards: PositiveInt = 1
    """Stream actors (and connections) that share the instruments."""
    redundancy: int = Field(1, ge=1, le=2)
    """2 has a second actor, on another node where there is one, stream the same; the first to
    deliver a trade wins."""
    rotate_after_s: PositiveFloat | None = None
    """Age at which a connection is replaced by a new one, s; none takes what the venue needs."""
    repair: bool = True
    """Fetch missing trades over REST."""
    audit_every_s: PositiveFloat = 30.0
    """Seconds between looks, over REST, for trades that the stream did not bring, on venues whose
    ids do not show a missing one (Bybit, Bitstamp)."""
    metadata_every_s: PositiveFloat = 900.0
    """Seconds between looks at what the venue lists."""
    rest_per_second: PositiveFloat | None = None
    """REST requests a second; none takes what the venue allows everybody."""
    stale_after_ms: PositiveInt = 60_000
    """Silence on an instrument and channel after which it counts as stale, ms; of trades unless
    the venue's REST says that nobody traded."""
    silence_ms: PositiveInt = 15_000
    """Silence of the whole connection after which it is closed and opened anew, ms."""

    @field_validator("instruments")
    @classmethod
    def _canonical(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            try:
                Instrument.parse(name)
            except InstrumentError as error:
                raise ValueError(str(error)) from None
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"listed more than once: {', '.join(repeated)}")
        return names


class ReconnectConfig(Section):
    """How a stream comes back. Delay n is uniform in [0, min(cap, base x 2^n)]."""

    base_ms: PositiveInt = 250
    """First delay's bound, ms (the very first retry is immediate)."""
    cap_ms: PositiveInt = 30_000
    """Largest bound, ms."""
    stable_ms: PositiveInt = 10_000
    """The delays start over only after this long of data without a break, ms."""


class RelistingConfig(Section):
    """A simulated delisting, and the ticker's second use for another instrument."""

    exchange: ExchangeName
    """The venue."""
    instrument: str
    """Canonical name of its first generation (``LUNA-USDT``)."""
    delist_after_s: PositiveFloat
    """Seconds from the simulator's start to the delisting."""
    relist_after_s: PositiveFloat | None = None
    """Seconds from the simulator's start to the ticker's second use; none never."""

    @model_validator(mode="after")
    def _ordered(self) -> RelistingConfig:
        if self.relist_after_s is not None and self.relist_after_s <= self.delist_after_s:
            raise ValueError("relist_after_s must lie after delist_after_s")
        return self


class FaultsConfig(Section):
    """Faults that the simulated venues commit on purpose; all off by default.

    Each connection draws its own, from the seed, the venue and the connection's number there.
    """

    garbage_per_minute: NonNegativeFloat = 0.0
    """Frames that are no JSON, per connection."""
    truncated_per_minute: NonNegativeFloat = 0.0
    """Frames cut in the middle (the whole one follows)."""
    duplicate_share: Share = 0.0
    """Share of trade frames sent twice."""
    late_share: Share = 0.0
    """Share of trade frames held back for up to two seconds."""
    swapped_share: Share = 0.0
    """Share of trade and book frames that change places with the next one."""
    lost_share: Share = 0.0
    """Share of trade and book frames that a connection never gets, though REST knows them."""
    disconnect_every_s: NonNegativeFloat = 0.0
    """Mean seconds between dropped connections, without a closing handshake; 0 never."""
    cut_after_s: NonNegativeFloat = 0.0
    """Age at which the venue closes a connection, as Binance does at 24 hours, s; 0 never."""
    cut_abruptly: bool = False
    """Whether it does so without a closing handshake."""
    stall_every_s: NonNegativeFloat = 0.0
    """Mean seconds between silences of an open connection; 0 never. What it misses is lost."""
    stall_s: PositiveFloat = 30.0
    """Mean length of such a silence, s; each lasts between two thirds and four thirds of it."""
    deaf_every_s: NonNegativeFloat = 0.0
    """Mean seconds until an open connection forgets one of its subscriptions, which brings nothing
    from then on while the others do; 0 never."""
    rest_slow_ms: NonNegativeFloat = 0.0
    """Longest delay of a REST answer, ms; each is delayed by up to so much."""
    rest_busy_share: Share = 0.0
    """Share of REST requests refused as too many (429, with Retry-After)."""
    rest_retry_after_s: PositiveInt = 1
    """Seconds in that Retry-After. Who asks on meanwhile is refused too, and banned by Binance
    (418)."""
    rest_ban_s: PositiveInt = 10
    """Length of such a ban, s."""
    rest_error_share: Share = 0.0
    """Share of REST requests that fail with a 5xx."""
    clock_skew_ms: dict[ExchangeName, int] = {}
    """By venue, how far its clock runs ahead (negative behind), ms: all times that it states."""
    relistings: tuple[RelistingConfig, ...] = ()
    """Delistings and reused tickers."""


class SimulatorConfig(Section):
    """Venues of our own that speak the real protocols on loopback."""

    enabled: bool = False
    """Start them and stream from them instead of the public endpoints."""
    seed: int = 7
    """Same seed and epoch: the same market, to the last trade."""
    epoch: str = "2026-01-01T00:00:00Z"
    """When its market began (ISO-8601 with zone)."""
    trades_per_second: PositiveFloat = 120.0
    """Mean of the default markets of Binance spot, Coinbase and Kraken together; those of other
    venues come on top, in proportion."""
    book_step_ms: PositiveInt = 100
    """Time between two changes of an L2 book, ms."""
    book_levels: int = Field(200, ge=2, le=1000)
    """Levels that an L2 book has on each side."""
    texts_per_hour: NonNegativeFloat = 60.0
    """Mean number of headlines and posts."""
    sentiment_strength: float = Field(0.5, ge=0.0, le=3.0)
    """How far a text of tone 1 moves its instrument over `sentiment_lead_h`, in daily
    standard deviations; 0 plants nothing."""
    sentiment_lead_h: PositiveFloat = 24.0
    """Over how many hours after a text its effect arrives."""
    sentiment_noise: Share = 0.3
    """Share of texts that say nothing about what follows."""
    faults: FaultsConfig = FaultsConfig()

    @field_validator("epoch")
    @classmethod
    def _zoned(cls, text: str) -> str:
        parse_iso_utc(text)
        return text

    @property
    def epoch_ns(self) -> int:
        """`epoch` in UTC nanoseconds."""
        return parse_iso_utc(self.epoch)


class CandlesConfig(Section):
    """Trades to candles."""

    timeframes: tuple[Timeframe, ...] = tuple(Timeframe)
    """Which are stored and published. Coarser ones are built from finer ones, so the finer
    are always computed."""
    grace_ms: int = Field(500, ge=0)
    """How long after its end, in the venue's time, an interval waits before it closes, ms.
    Trades later than this rebuild the candle."""
    backfill: bool = True
    """Fetch the bars that features need from the venue's REST at start."""


class FeaturesConfig(Section):
    """Candles to features."""

    timeframes: tuple[Timeframe, ...] = (Timeframe.M1, Timeframe.H1)
    """Which timeframes get features and rankings."""
    shards: PositiveInt = 1
    """Feature actors that share the markets."""
    reference: str = "BTC"
    """Base currency that correlation and beta are measured against."""


class RankingConfig(Section):
    """Features and sentiment to signals."""

    timeframe: Timeframe = Timeframe.H1
    """The one answered where a client names none."""
    every_ms: PositiveInt = 1000
    """Time between rankings that include the forming bars, ms."""
    sentiment_share: Share = 0.20
    """Weight of sentiment in the score; the other factors share the rest."""
    sentiment_window: Literal["1h", "4h", "1d", "1w"] = "1d"
    """Which aggregate counts."""
    neutral_band: Share = 0.05
    """Scores within plus or minus this are neutral."""
    min_universe: PositiveInt = 2
    """Fewest markets with features for a ranking."""
    weights: str = "spot_1h_2021_2023"
    """Named weights in ``engine/signals/weights/``."""


class ServeConfig(Section):
    """HTTP."""

    host: str = "127.0.0.1"
    """Address to listen on; loopback unless told otherwise."""
    port: Port = 8000
    """Port; 0 takes a free one."""
    replicas: PositiveInt = 1
    """Serve replicas that answer."""
    haproxy: bool = True
    """HAProxy in front (Linux); off takes Ray Serve's own proxy."""


class MetricsConfig(Section):
    """Prometheus."""

    port: Port = 9464
    """Loopback port of ``/metrics``; 0 takes a free one."""


class LogConfig(Section):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe records that are kept."""
    format: Literal["text", "json"] = "text"
    """``text`` for people, ``json`` for machines."""


class ReplayConfig(Section):
    """Recorded frames instead of venues; set by ``engine up --replay``."""

    files: tuple[str, ...] = ()
    """Recordings or folders of them."""
    speed: float | Literal["max"] = 1.0
    """Times real time; ``max`` as fast as everything keeps up."""

    @field_validator("speed")
    @classmethod
    def _positive(cls, speed: float | Literal["max"]) -> float | Literal["max"]:
        if speed != "max" and not 0 < speed < float("inf"):
            raise ValueError("speed must be above 0, or max")
        return speed


class Config(Section):
    """The whole engine."""

    data_dir: FilePath = "data"
    """Recordings, spools and logs go below it."""
    record: bool = False
    """Keep every raw frame, byte for byte, below ``data_dir/recordings``."""
    ray: RayConfig = RayConfig()
    store: StoreConfig = StoreConfig()
    bus: BusConfig = BusConfig()
    exchanges: dict[ExchangeName, ExchangeConfig] = {}
    """Venues by name. Their order decides which one's market stands for a base currency in
    the ranking."""
    reconnect: ReconnectConfig = ReconnectConfig()
    simulator: SimulatorConfig = SimulatorConfig()
    candles: CandlesConfig = CandlesConfig()
    features: FeaturesConfig = FeaturesConfig()
    sources: tuple[SourceConfig, ...] = ()
    mood: tuple[MoodConfig, ...] = ()
    """Indices of mood that are read; without any, the simulator's Fear & Greed where it runs."""
    sentiment: SentimentConfig = SentimentConfig()
    texts: TextsSection = TextsSection()
    ranking: RankingConfig = RankingConfig()
    serve: ServeConfig = ServeConfig()
    metrics: MetricsConfig = MetricsConfig()
    log: LogConfig = LogConfig()
    replay: ReplayConfig = ReplayConfig()
    quality: QualitySection = QualitySection()
    schedule: tuple[ScheduledJob, ...] = ()
    """Jobs that a running engine submits by itself."""
    backfill: BackfillSection = BackfillSection()
    import_candles: ImportCandlesSection = ImportCandlesSection()
    build_candles: BuildCandlesSection = BuildCandlesSection()
    build_features: BuildFeaturesSection = BuildFeaturesSection()
    score_texts: ScoreTextsSection = ScoreTextsSection()
    aggregate_sentiment: AggregateSentimentSection = AggregateSentimentSection()
    train_sentiment: TrainSentimentSection = TrainSentimentSection()
    evaluate_sentiment: EvaluateSentimentSection = EvaluateSentimentSection()
    calibrate_sentiment: CalibrateSentimentSection = CalibrateSentimentSection()
    label_outcomes: LabelOutcomesSection = LabelOutcomesSection()
    measure_credibility: MeasureCredibilitySection = MeasureCredibilitySection()
    check_quality: CheckQualitySection = CheckQualitySection()
    export_dataset: ExportDatasetSection = ExportDatasetSection()
    report: ReportSection = ReportSection()

    @property
    def store_url(self) -> str:
        """`store.url` with the embedded home's path written out."""
        if self.store.url == "embedded":
            return f"embedded:{self.data_dir}/store"
        return self.store.url

    @model_validator(mode="after")
    def _sources_have_names_of_their_own(self) -> Config:
        names: dict[str, list[str]] = {
            "sources": [source.name for source in self.sources],
            "mood": [mood.kind for mood in self.mood],
        }
        for section, given in names.items():
            repeated = sorted({name for name in given if given.count(name) > 1})
            if repeated:
                raise ValueError(f"{section} names {', '.join(repeated)} more than once")
        return self

    @model_validator(mode="after")
    def _ranked_timeframe_has_features(self) -> Config:
        if self.ranking.timeframe not in self.features.timeframes:
            known = ", ".join(self.features.timeframes)
            raise ValueError(
                f"ranking.timeframe {self.ranking.timeframe} is not among "
                f"features.timeframes ({known})"
            )
        return self


def load_config(
    path: Path | None = None,
    overrides: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
    base: Mapping[str, Any] | None = None,
    given_by: str = "--set",
) -> Config:
    """Read the configuration, or say in one sentence a line what is wrong with it.

    Parameters
    ----------
    path
        YAML file; none takes the defaults.
    overrides
        ``section.key=value`` texts, values in YAML.
    environment
        Where ``ENGINE__SECTION__KEY`` is looked up; the process's own by default.
    base
        A tree to start from where no file is given.
    given_by
        What the overrides came with, for messages.

    Raises
    ------
    ConfigError
        Where the file cannot be read or any key or value is wrong; it names all of them.
    """
    tree: dict[str, Any] = _read_yaml(path) if path else deepcopy(dict(base or {}))
    variables = os.environ if environment is None else environment
    origins: dict[Place, str] = {}
    for name in sorted(variables):
        if name.startswith(ENVIRONMENT_PREFIX):
            keys = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            value = _value(variables[name], name)
            origins.update(dict.fromkeys(_put(tree, keys, value, name), name))
    for override in overrides:
        key, value = read_override(override)
        origins.update(dict.fromkeys(_put(tree, key.split("."), value, override), given_by))
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        where = str(path) if path else "the configuration"
        raise ConfigError(_explain(error, where, origins)) from None


def read_override(text: str) -> tuple[str, Any]:
    """Read ``key=value``, the value in YAML.

    Raises
    ------
    ConfigError
        Where it is not of that form.

    Examples
    --------
    >>> read_override("top=5"), read_override("formats=[md, html]")
    (('top', 5), ('formats', ['md', 'html']))
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"override {text!r} is not of the form section.key=value")
    return key.strip(), _value(value, text)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = _load_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"configuration file {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place else ""
        problem = getattr(error, "problem", None) or "not valid"
        raise ConfigError(f"configuration file {path}{line} is not YAML: {problem}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"configuration file {path} must hold sections, not a single value")
    return tree


def _value(text: str, where: str) -> Any:
    try:
        return _load_yaml(text)
    except yaml.YAMLError:
        raise ConfigError(f"the value of {where!r} is not YAML") from None


def _put(tree: dict[str, Any], keys: list[str], value: Any, where: str) -> list[Place]:
    """Put a value in its place; return that, and each section above it that was not there."""
    branch = tree
    new = [tuple(keys)]
    for depth, key in enumerate(keys[:-1], 1):
        if key not in branch:
            new.append(tuple(keys[:depth]))
        below = branch.setdefault(key, {})
        if not isinstance(below, dict):
            raise ConfigError(f"{where!r}: {key!r} holds a value, not a section")
        branch = below
    branch[keys[-1]] = value
    return new


def _explain(error: ValidationError, where: str, origins: Mapping[Place, str]) -> str:
    """Say what is wrong, a line each: where it came from, which key, and what to do."""
    lines = []
    for problem in error.errors(include_url=False):
        path = [str(part) for part in problem["loc"] if part != "[key]"]
        above = (tuple(path[:depth]) for depth in range(len(path), 0, -1))
        origin = next((origins[place] for place in above if place in origins), where)
        if problem["type"] == "extra_forbidden":
            lines.append(f"{origin}: unknown key {'.'.join(path)!r}{_nearest(path)}")
        else:
            lines.append(f"{origin}: {'.'.join(path) or 'configuration'}{_fault(problem)}")
    return "\n".join(lines)


def _fault(problem: ErrorDetails) -> str:
    given = problem["input"]
    is_plain = isinstance(given, str | int | float)
    if problem["type"] in LIST_EXPECTED:
        return " takes a list" + (f": write [{given}]" if is_plain else "")
    text = problem["msg"].removeprefix("Value error, ")
    return f": {text}" + (f" (given {given!r})" if is_plain else "")


def _nearest(path: list[str]) -> str:
    known = list(known_keys())
    full = ".".join(path)
    section = ".".join(path[:-1])
    siblings = [key.split(".")[-1] for key in known if key.rpartition(".")[0] == section]
    close = difflib.get_close_matches(path[-1], siblings, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {'.'.join([*path[:-1], close[0]])!r}?"
    anywhere = difflib.get_close_matches(full, known, n=1, cutoff=0.4)
    by_leaf = [key for key in known if key.split(".")[-1] == path[-1]]
    if by_leaf or anywhere:
        return f"; did you mean {(by_leaf or anywhere)[0]!r}?"
    return f"; known here: {', '.join(sorted(siblings))}" if siblings else ""


class Key(NamedTuple):
    """One key of the tree, described."""

    name: str
    """Dotted; ``exchanges.NAME.…`` stands for every venue."""
    default: str
    doc: str


def known_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterable[str]:
    """Yield every key of the tree in dotted form, sections included."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        yield key
        if name == "exchanges":
            for exchange in get_args(ExchangeName):
                yield f"{key}.{exchange}"
                yield from known_keys(ExchangeConfig, f"{key}.{exchange}.")
        elif section := _section(field):
            yield from known_keys(section, f"{key}.")


def described_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterable[Key]:
    """Yield every key that holds a value, with its default and what it is for."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        if name == "exchanges":
            yield from described_keys(ExchangeConfig, f"{key}.NAME.")
        elif item := _listed_section(field):
            yield from described_keys(item, f"{key}[].")
        elif section := _section(field):
            yield from described_keys(section, f"{key}.")
        else:
            yield Key(key, _default(field), " ".join((field.description or "").split()))


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _listed_section(field: FieldInfo) -> type[BaseModel] | None:
    kind = get_args(field.annotation)[0] if get_origin(field.annotation) is tuple else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, tuple):
        value = [str(item) for item in value]
    return json.dumps(value)
