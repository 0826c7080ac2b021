-- Which run of which server this is.
return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
