-- Has this run of the server begin an epoch if it may have lost something, and does no more.
return whole
