-- Does what a publication needs, with commands that a publication uses.
-- KEYS[1]  key to write
-- ARGV[1]  channel to publish to

redis.call('HSET', KEYS[1], 'written', 1)
redis.call('EXPIRE', KEYS[1], 60)
redis.call('PUBLISH', ARGV[1], '')
