-- Does what a publication needs: it runs, it writes, and it publishes.
-- KEYS[1]  key to write
-- ARGV[1]  channel to publish to

redis.call('SET', KEYS[1], '', 'EX', 60)
redis.call('PUBLISH', ARGV[1], '')
