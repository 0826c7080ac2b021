-- Does what a publication does, so that it fails where a publication fails.
-- KEYS[1]  key to write
-- ARGV[1]  channel to publish to

redis.call('HSET', KEYS[1], 'written', 1)
redis.call('EXPIRE', KEYS[1], 60)
redis.call('PUBLISH', ARGV[1], '')
