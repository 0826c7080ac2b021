-- Does what a publication does, so that it fails where a publication fails.
-- KEYS[1]  key to write
-- ARGV[1]  command that publishes
-- ARGV[2]  channel to publish to
-- The message names the run of the server: whoever hears it from another server is told.

redis.call('HSET', KEYS[1], 'written', 1)
redis.call('EXPIRE', KEYS[1], 60)
redis.call(ARGV[1], ARGV[2], string.match(redis.call('INFO', 'server'), 'run_id:(%x+)'))
