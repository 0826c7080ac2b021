-- What the broker keeps. Times and offsets are microseconds since 1970, except in "migrations".

CREATE TABLE {schema}.migrations (
  version integer PRIMARY KEY,
  applied_at timestamptz NOT NULL DEFAULT now()
);

-- One row: the epoch of everything here, and which data it belongs to.
CREATE TABLE {schema}.server (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  identity text NOT NULL,
  epoch text NOT NULL,
  generation bigint NOT NULL DEFAULT 0,
  swept_at bigint NOT NULL DEFAULT 0
);

-- Where each channel stands. A publication changes no column that has an index, so that
-- PostgreSQL can update the row in its page.
CREATE TABLE {schema}.channels (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  server text NOT NULL,        -- the epoch of "server" in which it began
  epoch text NOT NULL,
  last_offset bigint NOT NULL,
  count integer NOT NULL,      -- its rows in "publications"
  is_empty boolean NOT NULL,   -- whether it has none
  due bigint NOT NULL          -- when the sweep has to look at it
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX channels_due ON {schema}.channels (due);
CREATE INDEX channels_empty ON {schema}.channels (due) WHERE is_empty;

-- What the channels remember.
CREATE TABLE {schema}.publications (
  channel bigint NOT NULL,     -- its number
  "offset" bigint NOT NULL,
  previous bigint NOT NULL,
  id bytea NOT NULL,           -- a digest of the id
  digest bytea NOT NULL,       -- of the content
  message bytea NOT NULL,
  PRIMARY KEY (channel, "offset"),
  UNIQUE (channel, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- Messages that are too large for NOTIFY, for as long as a listener may ask for them.
CREATE TABLE {schema}.large (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  stored_at bigint NOT NULL,
  message bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- What workers write to see whether they can.
CREATE TABLE {schema}.canaries (
  worker text COLLATE "C" PRIMARY KEY,
  sent_at bigint NOT NULL
) WITH (fillfactor = 50);
