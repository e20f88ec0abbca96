-- L2 books, perpetuals, the dated registry of instruments, and why a gap is still open.

CREATE TABLE IF NOT EXISTS book_snapshots
(
    exchange LowCardinality(String) COMMENT 'Venue',
    instrument LowCardinality(String) COMMENT 'Instrument',
    bid_prices Array(Float64) COMMENT 'Best first, quote currency' CODEC(ZSTD(1)),
    bid_amounts Array(Float64) COMMENT 'Base currency' CODEC(ZSTD(1)),
    ask_prices Array(Float64) COMMENT 'Best first, quote currency' CODEC(ZSTD(1)),
    ask_amounts Array(Float64) COMMENT 'Base currency' CODEC(ZSTD(1)),
    spread_bps Float64 COMMENT '(ask - bid) / mid, hundredths of a percent' CODEC(ZSTD(1)),
    imbalance Float64 COMMENT '(bid amount - ask amount) / their sum over the levels, -1 to 1' CODEC(ZSTD(1)),
    microprice Float64 COMMENT 'Best prices, each weighted by the other side''s amount' CODEC(ZSTD(1)),
    sequence Int64 COMMENT 'The venue''s update number, 0 where it gives none' CODEC(Delta, ZSTD(1)),
    epoch Int64 COMMENT 'Counts the snapshots this book was started anew from' CODEC(Delta, ZSTD(1)),
    exchange_time Nullable(DateTime64(9, 'UTC')) COMMENT 'The venue''s clock, of the newest update in it' CODEC(ZSTD(1)),
    receive_time DateTime64(9, 'UTC') COMMENT 'Our clock, of the newest update in it' CODEC(DoubleDelta, ZSTD(1)),
    as_of DateTime64(9, 'UTC') COMMENT 'When it was taken: when it became available' CODEC(DoubleDelta, ZSTD(1)),
    inserted_at DateTime('UTC') DEFAULT now('UTC') COMMENT 'When this row was written: retention counts from here' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(receive_time)
PARTITION BY toYYYYMM(as_of)
ORDER BY (exchange, instrument, as_of)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Best levels of verified L2 books over time, of redundant streams the freshest. Read with FINAL';

CREATE TABLE IF NOT EXISTS book_deltas
(
    exchange LowCardinality(String) COMMENT 'Venue',
    instrument LowCardinality(String) COMMENT 'Instrument',
    is_snapshot Bool COMMENT 'It replaces all that was known',
    bid_prices Array(Float64) COMMENT 'Quote currency' CODEC(ZSTD(1)),
    bid_amounts Array(Float64) COMMENT 'Base currency; 0 deletes the price' CODEC(ZSTD(1)),
    ask_prices Array(Float64) COMMENT 'Quote currency' CODEC(ZSTD(1)),
    ask_amounts Array(Float64) COMMENT 'Base currency; 0 deletes the price' CODEC(ZSTD(1)),
    sequence Int64 COMMENT 'The venue''s update number, 0 where it gives none' CODEC(Delta, ZSTD(1)),
    epoch Int64 COMMENT 'Counts the snapshots this book was started anew from' CODEC(Delta, ZSTD(1)),
    exchange_time Nullable(DateTime64(9, 'UTC')) COMMENT 'The venue''s clock' CODEC(ZSTD(1)),
    receive_time DateTime64(9, 'UTC') COMMENT 'Our clock' CODEC(DoubleDelta, ZSTD(1)),
    inserted_at DateTime('UTC') DEFAULT now('UTC') COMMENT 'When this row was written: retention counts from here' CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(receive_time)
ORDER BY (exchange, instrument, receive_time, epoch, sequence)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every applied change of L2 books, where asked for';

CREATE TABLE IF NOT EXISTS perpetuals
(
    exchange LowCardinality(String) COMMENT 'Venue',
    instrument LowCardinality(String) COMMENT 'Instrument',
    mark_price Nullable(Float64) COMMENT 'Quote currency; NULL where the message did not tell' CODEC(Gorilla, ZSTD(1)),
    index_price Nullable(Float64) COMMENT 'Quote currency' CODEC(Gorilla, ZSTD(1)),
    funding_rate Nullable(Float64) COMMENT 'Of the current interval, a fraction' CODEC(ZSTD(1)),
    next_funding_time Nullable(DateTime64(9, 'UTC')) COMMENT 'When it is paid' CODEC(ZSTD(1)),
    open_interest Nullable(Float64) COMMENT 'Base currency' CODEC(Gorilla, ZSTD(1)),
    exchange_time Nullable(DateTime64(9, 'UTC')) COMMENT 'The venue''s clock' CODEC(ZSTD(1)),
    receive_time DateTime64(9, 'UTC') COMMENT 'Our clock' CODEC(DoubleDelta, ZSTD(1)),
    inserted_at DateTime('UTC') DEFAULT now('UTC') COMMENT 'When this row was written: retention counts from here' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(receive_time)
ORDER BY (exchange, instrument, receive_time)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Mark price, funding and open interest of perpetuals. Read with FINAL';

CREATE TABLE IF NOT EXISTS instruments
(
    exchange LowCardinality(String) COMMENT 'Venue',
    instrument LowCardinality(String) COMMENT 'Canonical name; ~N counts instruments that bore it',
    symbol String COMMENT 'The venue''s own name',
    status LowCardinality(String) COMMENT 'trading, halted or delisted',
    tick_size Nullable(Float64) COMMENT 'Smallest price step, quote currency',
    lot_size Nullable(Float64) COMMENT 'Smallest amount step, base currency',
    contract_size Float64 COMMENT 'Base currency in one unit of the venue''s amounts',
    listed_at Nullable(DateTime64(9, 'UTC')) COMMENT 'When trading began, where the venue tells',
    delisted_at Nullable(DateTime64(9, 'UTC')) COMMENT 'When trading ended; NULL while listed',
    valid_from DateTime64(9, 'UTC') COMMENT 'From when on this was known',
    inserted_at DateTime('UTC') DEFAULT now('UTC') COMMENT 'When this row was written: retention counts from here'
)
ENGINE = ReplacingMergeTree
ORDER BY (exchange, instrument, valid_from)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Dated registry: what a venue listed, and from when on we knew. Read with FINAL';

ALTER TABLE feed_gaps ADD COLUMN IF NOT EXISTS problem String DEFAULT '' COMMENT 'Why it could not be repaired; empty where nobody tried in vain' AFTER how;
