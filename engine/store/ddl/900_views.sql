-- What dashboards read. Views hold no data: they are made anew at every migration.

CREATE OR REPLACE VIEW v_trades AS
SELECT * EXCEPT (inserted_at) FROM trades;

CREATE OR REPLACE VIEW v_candles AS
SELECT * EXCEPT (inserted_at) FROM candles FINAL;

CREATE OR REPLACE VIEW v_signal_history AS
SELECT * EXCEPT (inserted_at) FROM signals FINAL;

CREATE OR REPLACE VIEW v_latest_signals AS
SELECT * EXCEPT (inserted_at) FROM signals FINAL
WHERE (timeframe, as_of) IN (SELECT timeframe, max(as_of) FROM signals GROUP BY timeframe)
ORDER BY timeframe, rank;

CREATE OR REPLACE VIEW v_contributions AS
SELECT signal_id, exchange, instrument, timeframe, as_of, rank, score, factor, value, z, weight, contribution
FROM signals FINAL
ARRAY JOIN
    contributions_factor AS factor,
    contributions_value AS value,
    contributions_z AS z,
    contributions_weight AS weight,
    contributions_contribution AS contribution;

CREATE OR REPLACE VIEW v_open_gaps AS
SELECT * EXCEPT (inserted_at) FROM feed_gaps FINAL WHERE isNull(repaired_at);

CREATE OR REPLACE VIEW v_instruments AS
SELECT * EXCEPT (inserted_at) FROM instruments FINAL
ORDER BY valid_from DESC
LIMIT 1 BY exchange, instrument;

CREATE OR REPLACE VIEW v_books AS
SELECT * EXCEPT (inserted_at) FROM book_snapshots FINAL;

CREATE OR REPLACE VIEW v_perpetuals AS
SELECT * EXCEPT (inserted_at) FROM perpetuals FINAL;

CREATE OR REPLACE VIEW v_feed_health AS
SELECT
    t.exchange AS exchange,
    t.instrument AS instrument,
    t.trades AS trades_last_hour,
    t.newest AS newest_trade,
    dateDiff('millisecond', t.newest_received, now64(3, 'UTC')) AS silence_ms,
    g.open_gaps AS open_gaps
FROM
(
    SELECT exchange, instrument, count() AS trades, max(exchange_time) AS newest, max(receive_time) AS newest_received
    FROM trades
    WHERE exchange_time >= now64(3, 'UTC') - INTERVAL 1 HOUR
    GROUP BY exchange, instrument
) AS t
LEFT JOIN
(
    SELECT exchange, instrument, count() AS open_gaps
    FROM feed_gaps FINAL
    WHERE isNull(repaired_at)
    GROUP BY exchange, instrument
) AS g USING (exchange, instrument);

CREATE OR REPLACE VIEW v_sentiment_latest AS
SELECT * EXCEPT (inserted_at), bullish + bearish + neutral AS mentions
FROM sentiment_aggregates FINAL
ORDER BY as_of DESC
LIMIT 1 BY instrument, window, model;

CREATE OR REPLACE VIEW v_sentiment_events AS
SELECT * EXCEPT (inserted_at) FROM sentiment_events FINAL;

CREATE OR REPLACE VIEW v_topic_volume AS
SELECT
    toStartOfHour(available_at) AS hour,
    topic,
    version,
    count() AS texts,
    avg(fear) AS fear,
    avg(greed) AS greed,
    avg(excitement) AS excitement
FROM text_topics FINAL
ARRAY JOIN topics AS topic
GROUP BY hour, topic, version;

CREATE OR REPLACE VIEW v_feature_latest AS
SELECT * EXCEPT (inserted_at) FROM features FINAL
WHERE (timeframe, exchange, instrument, open_time) IN
    (SELECT timeframe, exchange, instrument, max(open_time) FROM features GROUP BY timeframe, exchange, instrument);

CREATE OR REPLACE VIEW v_text_volume AS
SELECT toStartOfHour(available_at) AS hour, source, kind, uniqExact(text_id) AS texts
FROM texts GROUP BY hour, source, kind;

CREATE OR REPLACE VIEW v_dead_letters AS
SELECT toStartOfMinute(receive_time) AS minute, exchange, kind, count() AS frames, any(reason) AS example
FROM dead_letters GROUP BY minute, exchange, kind;
