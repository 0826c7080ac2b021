-- Forget a bounded number of what is too old. Answers whether there may be more.
-- One worker at a time does it, and nobody waits for it: a channel that is in use is skipped.
--   sweep_after     since the last sweep, in microseconds
--   max_positions   channels without a history whose position is remembered
CREATE OR REPLACE FUNCTION {schema}.sweep(
  history bigint, period bigint, lifetime bigint, sweep_after bigint, large_for bigint,
  max_positions integer
) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  channel {schema}.channels;
  server {schema}.server;
  now bigint := {schema}.now_us();
  oldest bigint;
  deleted integer;
  excess bigint;
  is_more boolean := false;
  ends_generation boolean := false;
BEGIN
  PERFORM set_config('lock_timeout', '800', true);
  IF NOT pg_try_advisory_xact_lock(hashtextextended('{schema} sweep', 0))
    OR NOT pg_try_advisory_xact_lock_shared(hashtextextended('{schema} epoch', 0))
  THEN
    RETURN false;
  END IF;
  SELECT * INTO server FROM {schema}.server;
  IF server.swept_at + sweep_after > now THEN
    RETURN false;
  END IF;

  FOR channel IN
    SELECT * FROM {schema}.channels c WHERE c.due <= now ORDER BY c.due LIMIT 100
      FOR UPDATE SKIP LOCKED
  LOOP
    is_more := true;
    deleted := {schema}.forget_oldest(
      channel.number,
      CASE WHEN channel.server = server.epoch THEN now - history - 1 ELSE channel.last_offset END,
      1000);
    channel.count := channel.count - deleted;
    SELECT min(p."offset") INTO oldest FROM {schema}.publications p
      WHERE p.channel = channel.number;
    IF oldest IS NULL
      AND (channel.server <> server.epoch OR channel.last_offset <= now - lifetime)
    THEN
      DELETE FROM {schema}.channels c WHERE c.number = channel.number;
    ELSE
      UPDATE {schema}.channels c SET count = channel.count, is_empty = oldest IS NULL,
        due = CASE
          WHEN deleted = 1000 THEN c.due
          WHEN oldest IS NULL THEN greatest(channel.last_offset + lifetime, now + sweep_after)
          ELSE greatest(oldest + history, now) + sweep_after END
        WHERE c.number = channel.number;
    END IF;
  END LOOP;

  -- Too many positions: forget those without a history that are unused the longest. Channels
  -- that begin afterwards have another epoch than the publications that are forgotten.
  SELECT count(*) - max_positions INTO excess FROM {schema}.channels c WHERE c.is_empty;
  IF excess > 0 THEN
    FOR channel IN
      SELECT * FROM {schema}.channels c WHERE c.is_empty ORDER BY c.due LIMIT least(excess, 1000)
        FOR UPDATE SKIP LOCKED
    LOOP
      is_more := true;
      IF channel.last_offset + lifetime > channel.due THEN
        -- It was used since, so its turn comes later.
        UPDATE {schema}.channels c SET due = channel.last_offset + lifetime
          WHERE c.number = channel.number;
      ELSE
        DELETE FROM {schema}.channels c WHERE c.number = channel.number;
        ends_generation := ends_generation OR channel.epoch
          = {schema}.shared_epoch(server.epoch, server.generation, now, period);
      END IF;
    END LOOP;
  END IF;

  DELETE FROM {schema}.large d WHERE d.number = ANY (ARRAY(
    SELECT l.number FROM {schema}.large l WHERE l.stored_at < now - large_for
      ORDER BY l.number LIMIT 100));
  GET DIAGNOSTICS deleted = ROW_COUNT;
  is_more := is_more OR deleted = 100;
  DELETE FROM {schema}.canaries c WHERE c.sent_at < now - 60000000;

  UPDATE {schema}.server s SET
    generation = s.generation + ends_generation::integer,
    swept_at = CASE WHEN is_more THEN s.swept_at ELSE now END;
  RETURN is_more;
END
$$;
