-- The time in microseconds since 1970.
CREATE OR REPLACE FUNCTION {schema}.now_us() RETURNS bigint
LANGUAGE sql VOLATILE AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;

-- How much write-ahead log there is, in bytes. NULL where the server does not tell.
CREATE OR REPLACE FUNCTION {schema}.wal_written() RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint;
EXCEPTION WHEN insufficient_privilege OR feature_not_supported THEN
  RETURN NULL;
END
$$;

-- Which data this is. A replica that takes over and a recovery from an archive begin another
-- timeline; a restored dump has tables with other OIDs.
CREATE OR REPLACE FUNCTION {schema}.identity() RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  here text := (SELECT oid FROM pg_database WHERE datname = current_database())
    || ' ' || '{schema}.channels'::regclass::oid;
BEGIN
  RETURN here || ' ' || (SELECT system_identifier FROM pg_control_system())
    || ' ' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8);
EXCEPTION WHEN insufficient_privilege OR feature_not_supported THEN
  RETURN here;
END
$$;

-- The epoch of all channels, and the generation of those that begin now.
--   fresh        epoch to begin with, if one has to begin
--   known, wal   an epoch and how much write-ahead log there was in it, as the worker knows:
--                with less of it now, an older copy of the data was restored, or the last
--                transactions were lost in a crash
CREATE OR REPLACE FUNCTION {schema}.server_epoch(
  fresh text, known text, wal bigint, OUT epoch text, OUT generation bigint
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  here text := {schema}.identity();
  is_less boolean := wal IS NOT NULL AND {schema}.wal_written() < wal;
BEGIN
  SELECT s.epoch, s.generation INTO epoch, generation FROM {schema}.server s
    WHERE s.identity = here AND NOT (is_less AND s.epoch = known);
  IF FOUND THEN
    RETURN;
  END IF;
  -- Nobody publishes meanwhile.
  PERFORM pg_advisory_xact_lock(hashtextextended('{schema} epoch', 0));
  INSERT INTO {schema}.server AS s (identity, epoch) VALUES (here, fresh)
    ON CONFLICT (one) DO UPDATE SET identity = excluded.identity, epoch = excluded.epoch
    WHERE s.identity <> excluded.identity OR (is_less AND s.epoch = known);
  SELECT s.epoch, s.generation INTO epoch, generation FROM {schema}.server s;
END
$$;

-- The epoch of all channels that begin now. A position outlives a period. So if one was
-- forgotten, this is another epoch than that of the publications that are forgotten.
CREATE OR REPLACE FUNCTION {schema}.shared_epoch(
  whole text, generation bigint, now bigint, period bigint
) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT whole || '-' || now / period || '-' || generation
$$;

-- Where a channel stands. Without a row it is at 0 in the shared epoch.
--   channel               its row, or NULLs
--   fresh                 epoch to begin with, if what the worker has seen was lost
--   seen_epoch/_offset    where the worker stands
CREATE OR REPLACE FUNCTION {schema}.position_of(
  channel {schema}.channels, whole text, generation bigint, now bigint, period bigint,
  lifetime bigint, fresh text, seen_epoch text, seen_offset bigint,
  OUT epoch text, OUT last_offset bigint, OUT begins boolean
) LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  begins := false;
  IF channel.server = whole THEN
    epoch := channel.epoch;
    last_offset := channel.last_offset;
    begins := seen_epoch = epoch AND seen_offset > last_offset;
  ELSIF starts_with(seen_epoch, whole || '-') THEN
    -- The worker has listened since: nothing was published.
    epoch := seen_epoch;
    last_offset := seen_offset;
    -- The offset is a time. If it is recent, the position did not expire: it was lost.
    begins := seen_offset > 0 AND now - seen_offset < lifetime;
  ELSE
    epoch := {schema}.shared_epoch(whole, generation, now, period);
    last_offset := 0;
  END IF;
  IF begins THEN
    epoch := fresh;
    last_offset := 0;
  END IF;
END
$$;

-- Lock a channel, and make it if there is none. All who lock several do it in the order of
-- their names, so they never wait for each other in a circle.
CREATE OR REPLACE FUNCTION {schema}.lock_channel(
  name text, whole text, period bigint, lifetime bigint,
  fresh text, seen_epoch text, seen_offset bigint
) RETURNS {schema}.channels LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  channel {schema}.channels;
  stands record;
  now bigint;
  generation bigint;
BEGIN
  LOOP
    SELECT * INTO channel FROM {schema}.channels c WHERE c.name = lock_channel.name FOR UPDATE;
    now := {schema}.now_us();
    -- Read now: a channel that is gone by now has ended the generation.
    SELECT s.generation INTO generation FROM {schema}.server s;
    stands := {schema}.position_of(
      channel, whole, generation, now, period, lifetime, fresh, seen_epoch, seen_offset);
    IF channel.number IS NULL THEN
      INSERT INTO {schema}.channels (name, server, epoch, last_offset, count, is_empty, due)
        VALUES (lock_channel.name, whole, stands.epoch, stands.last_offset, 0, true,
          now + lifetime)
        ON CONFLICT DO NOTHING RETURNING * INTO channel;
    END IF;
    EXIT WHEN channel.number IS NOT NULL;
  END LOOP;
  IF channel.server <> whole OR stands.begins THEN
    DELETE FROM {schema}.publications p WHERE p.channel = channel.number;
    channel.server := whole;
    channel.epoch := stands.epoch;
    channel.last_offset := stands.last_offset;
    channel.count := 0;
    PERFORM {schema}.keep(channel, now + lifetime);
  END IF;
  RETURN channel;
END
$$;

-- Write where a channel stands. "due" counts if it had no history and has one now, or the
-- other way round.
CREATE OR REPLACE FUNCTION {schema}.keep(channel {schema}.channels, due bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  UPDATE {schema}.channels c SET
    server = channel.server,
    epoch = channel.epoch,
    last_offset = channel.last_offset,
    count = channel.count,
    is_empty = channel.count = 0,
    due = CASE WHEN c.is_empty = (channel.count = 0) THEN c.due ELSE keep.due END
    WHERE c.number = channel.number;
END
$$;
