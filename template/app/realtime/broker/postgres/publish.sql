-- Publish a batch in one transaction. Each element of the arrays is
--   a record  with the digests of its id and of its content
--   a string  without an id, which is not remembered
--   a canary  without a message; the channel is the worker's name
-- Times are in microseconds; "period" is that of the shared epoch, and "lifetime" how long a
-- position is remembered without a publication. Answers for each element:
--   a record  its position, and whether the channel remembers other content under its id
--   a canary  the epoch of all channels, how much write-ahead log there is, whether a sweep
--             is due, and how full the queue of NOTIFY is, from 0 to 1
CREATE OR REPLACE FUNCTION {schema}.publish(
  fresh text, known text, wal bigint, history_size integer, history bigint,
  period bigint, lifetime bigint, sweep_after bigint,
  channels text[], ids bytea[], digests bytea[], messages bytea[],
  seen_epochs text[], seen_offsets bigint[]
) RETURNS TABLE (
  out_number bigint, out_epoch text, out_offset bigint, out_flag boolean, out_queue float
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  item record;
  first record;
  channel {schema}.channels;
  whole text;
  now bigint;
  previous bigint;
BEGIN
  -- Whoever sent this does not wait longer. A lock that is never released must not keep
  -- connections for ever.
  PERFORM set_config('lock_timeout', '800', true);
  FOR item IN
    SELECT * FROM unnest(channels, ids, digests, messages, seen_epochs, seen_offsets)
      WITH ORDINALITY AS t(name, id, digest, message, seen_epoch, seen_offset, number)
      ORDER BY t.name COLLATE "C", t.number
  LOOP
    IF channel.name <> item.name THEN
      PERFORM {schema}.keep(channel, now + history);
      channel := NULL;
    END IF;
    out_number := item.number;
    IF item.id IS NULL AND item.message IS NOT NULL THEN
      -- Of equal notifications in a transaction PostgreSQL sends one, hence the number.
      PERFORM {schema}.send(item.name, 's' || item.number || ' ', item.message);
      RETURN NEXT;
      CONTINUE;
    END IF;
    IF whole IS NULL THEN
      PERFORM {schema}.server_epoch(fresh, known, wal);
      PERFORM pg_advisory_xact_lock_shared(hashtextextended('{schema} epoch', 0));
      SELECT s.epoch INTO whole FROM {schema}.server s;
    END IF;
    IF item.message IS NULL THEN
      now := {schema}.now_us();
      INSERT INTO {schema}.canaries (worker, sent_at) VALUES (item.name, now)
        ON CONFLICT (worker) DO UPDATE SET sent_at = excluded.sent_at;
      PERFORM pg_notify('{notifications}', item.name || E'\nc');
      out_epoch := whole;
      out_offset := {schema}.wal_written();
      out_flag := (SELECT s.swept_at + sweep_after < now FROM {schema}.server s);
      out_queue := pg_notification_queue_usage();
      RETURN NEXT;
      CONTINUE;
    END IF;
    IF channel.number IS NULL THEN
      SELECT * INTO channel FROM {schema}.channels c WHERE c.name = item.name FOR UPDATE;
      now := {schema}.now_us();
    END IF;
    IF channel.server IS DISTINCT FROM whole
      OR item.seen_epoch = channel.epoch AND item.seen_offset > channel.last_offset
    THEN
      channel := {schema}.lock_channel(
        item.name, whole, period, lifetime, fresh || '.' || item.number,
        item.seen_epoch, item.seen_offset);
      now := {schema}.now_us();
    END IF;
    out_epoch := channel.epoch;
    out_flag := false;
    IF channel.count > 0 THEN
      SELECT p."offset", p.digest INTO first FROM {schema}.publications p
        WHERE p.channel = channel.number AND p.id = item.id;
      IF FOUND AND first."offset" >= now - history THEN
        out_offset := first."offset";
        out_flag := first.digest <> item.digest;
        RETURN NEXT;
        CONTINUE;
      ELSIF FOUND THEN
        DELETE FROM {schema}.publications p
          WHERE p.channel = channel.number AND p."offset" = first."offset";
        channel.count := channel.count - 1;
      END IF;
      IF channel.count >= history_size AND channel.count > 0 THEN
        channel.count := channel.count - {schema}.forget_oldest(
          channel.number, channel.last_offset, channel.count - greatest(history_size - 1, 0));
      END IF;
    END IF;
    previous := channel.last_offset;
    channel.last_offset := greatest(previous + 1, now);
    IF history_size > 0 THEN
      INSERT INTO {schema}.publications (channel, "offset", previous, id, digest, message)
        VALUES (channel.number, channel.last_offset, previous, item.id, item.digest, item.message);
      channel.count := channel.count + 1;
    END IF;
    PERFORM {schema}.send(
      item.name,
      concat('p', channel.epoch, ' ', channel.last_offset, ' ', previous, ' '),
      item.message);
    out_offset := channel.last_offset;
    RETURN NEXT;
  END LOOP;
  IF channel.number IS NOT NULL THEN
    PERFORM {schema}.keep(channel, now + history);
  END IF;
END
$$;

-- Notify everybody of a message. One that does not fit is stored, and named by its number.
CREATE OR REPLACE FUNCTION {schema}.send(name text, head text, message bytea) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  reference bigint;
BEGIN
  IF octet_length(name) + octet_length(head) + octet_length(message) < 7999
    AND position('\x00'::bytea IN message) = 0
  THEN
    PERFORM pg_notify(
      '{notifications}', name || E'\n' || head || convert_from(message, 'UTF8'));
  ELSE
    INSERT INTO {schema}.large (stored_at, message) VALUES ({schema}.now_us(), send.message)
      RETURNING number INTO reference;
    PERFORM pg_notify('{notifications}', name || E'\n' || upper(left(head, 1))
      || substr(head, 2) || reference);
  END IF;
END
$$;

-- Forget the oldest publications of a channel, which is locked: at most 1,000 at once.
CREATE OR REPLACE FUNCTION {schema}.forget_oldest(number bigint, until bigint, excess bigint)
RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  deleted integer;
BEGIN
  DELETE FROM {schema}.publications d WHERE d.channel = number AND d."offset" = ANY (ARRAY(
    SELECT p."offset" FROM {schema}.publications p
      WHERE p.channel = number AND p."offset" <= until
      ORDER BY p."offset" LIMIT least(excess, 1000)));
  GET DIAGNOSTICS deleted = ROW_COUNT;
  RETURN deleted;
END
$$;
