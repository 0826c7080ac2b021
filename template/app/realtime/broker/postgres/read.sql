-- What a channel remembers. The first row answered is where it stands; then come
-- publications, newest first. Nothing is stored, unless an epoch has to begin.
--   last     how many of the last publications, at least
--   before   of those before this offset; NULL for the newest
--   wanted   "epoch offset epoch offset …": and all after these positions, if nothing is
--            missing
CREATE OR REPLACE FUNCTION {schema}.read(
  whole text, generation bigint, fresh text, history_size integer, history bigint,
  period bigint, lifetime bigint, name text, seen_epoch text, seen_offset bigint,
  last integer, before bigint, wanted text
) RETURNS TABLE (out_epoch text, out_offset bigint, out_previous bigint, out_message bytea)
LANGUAGE plpgsql VOLATILE ROWS 10 AS $$
DECLARE
  channel {schema}.channels;
  stands record;
  now bigint := {schema}.now_us();
  oldest bigint;
  reaches_back_to bigint;
  after bigint;
  start bigint;
  parts text[] := string_to_array(wanted, ' ');
BEGIN
  SELECT * INTO channel FROM {schema}.channels c WHERE c.name = read.name;
  stands := {schema}.position_of(
    channel, whole, generation, now, period, lifetime, fresh, seen_epoch, seen_offset);
  IF stands.begins THEN
    PERFORM set_config('lock_timeout', '800', true);
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('{schema} epoch', 0));
    channel := {schema}.lock_channel(
      name, whole, period, lifetime, fresh, seen_epoch, seen_offset);
    stands.epoch := channel.epoch;
    stands.last_offset := channel.last_offset;
  END IF;
  out_epoch := stands.epoch;
  out_offset := stands.last_offset;
  RETURN NEXT;
  IF channel.server IS DISTINCT FROM whole OR channel.count = 0 OR history_size = 0 THEN
    RETURN;
  END IF;

  -- What is older is forgotten, and may be there still.
  oldest := now - history;
  IF channel.count > history_size THEN
    SELECT greatest(oldest, p."offset") INTO oldest FROM {schema}.publications p
      WHERE p.channel = channel.number AND p."offset" <= channel.last_offset
      ORDER BY p."offset" DESC OFFSET history_size - 1 LIMIT 1;
  END IF;
  after := stands.last_offset;
  IF parts <> '{}' THEN
    SELECT p.previous INTO reaches_back_to FROM {schema}.publications p
      WHERE p.channel = channel.number AND p."offset" >= oldest ORDER BY p."offset" LIMIT 1;
    SELECT coalesce(min(w.at), after) INTO after FROM (
      SELECT parts[i + 1]::bigint AS at FROM generate_series(1, cardinality(parts), 2) AS i
        WHERE parts[i] = stands.epoch
    ) AS w WHERE w.at BETWEEN reaches_back_to AND stands.last_offset;
  END IF;
  IF last > 0 THEN
    SELECT min(p."offset") - 1 INTO start FROM (
      SELECT l."offset" FROM {schema}.publications l
        WHERE l.channel = channel.number AND l."offset" >= oldest
          AND l."offset" <= least(channel.last_offset, before - 1)
        ORDER BY l."offset" DESC LIMIT last
    ) AS p;
    after := least(after, start);
  END IF;
  RETURN QUERY
    SELECT stands.epoch, p."offset", p.previous, p.message FROM {schema}.publications p
      WHERE p.channel = channel.number AND p."offset" >= oldest AND p."offset" > after
        AND p."offset" <= least(channel.last_offset, before - 1)
      ORDER BY p."offset" DESC;
END
$$;
