-- What edgememory keeps, keyed by namespace and user first in every table, so that it can be distributed by that key.
--
-- An application's role needs no more than:
--   GRANT USAGE ON SCHEMA edgememory TO app;
--   GRANT SELECT ON edgememory.epoch, edgememory.migrations TO app;
--   GRANT SELECT, INSERT, UPDATE, DELETE
--     ON edgememory.users, edgememory.messages, edgememory.facts, edgememory.preferences, edgememory.summaries,
--        edgememory.extractions TO app;
-- All functions run with the rights of their caller. Reading alone needs USAGE and SELECT.
--
-- Text keys are COLLATE "C", so that they are ordered as Python orders them. Values are json and not jsonb, which would
-- reorder keys and change numbers. The sizes in the checks are those of edgememory.limits; a test holds both together.

-- In the checks and functions below, an error of SQLSTATE class 22 or 23 means: this change is refused.

CREATE FUNCTION edgememory.is_scalar(value json) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plain text := value #>> '{}';  -- raises for escapes that are no character
BEGIN
    CASE json_typeof(value)
        WHEN 'number' THEN
            -- Raises for what no 64 bits hold: readers would fail on it.
            IF plain ~ '[.eE]' THEN PERFORM plain::double precision; ELSE PERFORM plain::bigint; END IF;
            RETURN true;
        WHEN 'object', 'array' THEN RETURN false;
        ELSE RETURN true;
    END CASE;
END $$;

CREATE FUNCTION edgememory.is_flat(value json) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN json_typeof(value) = 'object' AND NOT EXISTS (
        SELECT FROM json_each(value) AS field WHERE field.key = '' OR NOT edgememory.is_scalar(field.value)
    );
END $$;

CREATE TABLE edgememory.epoch (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch bigint NOT NULL DEFAULT 0 CHECK (epoch BETWEEN 0 AND 2097151)
);
INSERT INTO edgememory.epoch DEFAULT VALUES;
COMMENT ON TABLE edgememory.epoch IS
    'One row: how often, and when, this database was restored from a backup. See edgememory.restored().';

CREATE TABLE edgememory.users (
    namespace text COLLATE "C" NOT NULL CHECK (octet_length(namespace) BETWEEN 1 AND 64),
    user_id text COLLATE "C" NOT NULL CHECK (octet_length(user_id) BETWEEN 1 AND 512),
    version bigint NOT NULL,
    "exists" boolean NOT NULL DEFAULT false,
    erased_at bigint NOT NULL DEFAULT 0,
    erased_time double precision NOT NULL DEFAULT 0,
    last_id uuid,
    name text CHECK (octet_length(name) BETWEEN 1 AND 512),
    name_id uuid,
    PRIMARY KEY (namespace, user_id)
);
COMMENT ON TABLE edgememory.users IS
    'One row a user, which every commit locks first. A deleted user''s row stays, without data: the tombstone.';
COMMENT ON COLUMN edgememory.users.version IS
    'epoch * 2^32 + n as of the last write; read as no less than epoch.epoch * 2^32.';

CREATE TABLE edgememory.messages (
    namespace text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    session_id text COLLATE "C" NOT NULL CHECK (octet_length(session_id) BETWEEN 1 AND 512),
    role text NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
    text text NOT NULL CHECK (octet_length(text) BETWEEN 1 AND 1048576),
    -- The years that Python's datetime knows.
    at timestamptz NOT NULL CHECK (at >= '0001-01-01 00:00:00Z' AND at < '10000-01-01 00:00:00Z'),
    interrupted boolean NOT NULL DEFAULT false,
    agent_id text CHECK (octet_length(agent_id) BETWEEN 1 AND 512),
    language text COLLATE "C" NOT NULL DEFAULT 'english',
    metadata json CHECK (octet_length(metadata::text) <= 4096) CHECK (edgememory.is_flat(metadata)),
    PRIMARY KEY (namespace, user_id, id)
);
CREATE INDEX messages_of_session ON edgememory.messages (namespace, user_id, session_id, id);

CREATE TABLE edgememory.facts (
    namespace text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 512),
    id uuid,
    text text CHECK (octet_length(text) BETWEEN 1 AND 1024),
    importance integer NOT NULL DEFAULT 0 CHECK (importance BETWEEN 0 AND 10),
    used uuid,
    replaced uuid,
    language text COLLATE "C" NOT NULL DEFAULT 'english',
    PRIMARY KEY (namespace, user_id, key)
);
COMMENT ON TABLE edgememory.facts IS
    'A forgotten fact keeps its key and id without its text, so that no older change can bring the text back.';
COMMENT ON COLUMN edgememory.facts.replaced IS
    'The newest change of a fact that takes this one''s place. Where it is above "id", the fact is history since then.';

CREATE TABLE edgememory.preferences (
    namespace text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 128),
    id uuid NOT NULL,
    value json NOT NULL CHECK (edgememory.is_scalar(value)) CHECK (octet_length(value #>> '{}') <= 1024),
    PRIMARY KEY (namespace, user_id, name)
);

CREATE TABLE edgememory.summaries (
    namespace text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    session_id text COLLATE "C" NOT NULL CHECK (octet_length(session_id) BETWEEN 1 AND 512),
    text text NOT NULL CHECK (octet_length(text) BETWEEN 1 AND 8192),
    language text COLLATE "C" NOT NULL DEFAULT 'english',
    PRIMARY KEY (namespace, user_id, id)
);
