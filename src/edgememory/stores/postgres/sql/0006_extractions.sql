-- Which sessions await the extraction of what they leave behind, and who is at it.

CREATE TABLE edgememory.extractions (
    namespace text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    session_id text COLLATE "C" NOT NULL CHECK (octet_length(session_id) BETWEEN 1 AND 512),
    session_started double precision NOT NULL,
    base bigint,
    language text COLLATE "C" NOT NULL,
    due timestamptz NOT NULL DEFAULT now(),
    tries integer NOT NULL DEFAULT 0,
    done boolean NOT NULL DEFAULT false,
    error text,
    PRIMARY KEY (namespace, user_id, id)
);
CREATE INDEX extractions_due ON edgememory.extractions (namespace, due) WHERE NOT done;
COMMENT ON TABLE edgememory.extractions IS
    'One row for each session that ended and was to be extracted. It stays when that is done, so that a repeated change asks for nothing.';

CREATE FUNCTION edgememory.claim_extractions(namespace text, lease double precision, most integer) RETURNS json
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    WITH due AS MATERIALIZED (
        SELECT e.namespace, e.user_id, e.id FROM edgememory.extractions e
        WHERE e.namespace = $1 AND NOT e.done AND e.due <= clock_timestamp()
        ORDER BY e.due LIMIT most FOR UPDATE SKIP LOCKED
    ),
    claimed AS (
        UPDATE edgememory.extractions e
        SET due = clock_timestamp() + make_interval(secs => lease), tries = e.tries + 1
        FROM due WHERE (e.namespace, e.user_id, e.id) = (due.namespace, due.user_id, due.id)
        RETURNING e.*
    )
    SELECT coalesce(json_agg(json_build_object('user', json_build_object('namespace', namespace, 'user_id', user_id),
        'id', id, 'session_id', session_id, 'session_started', session_started, 'base', base, 'language', language,
        'tries', tries) ORDER BY id), '[]')
    FROM claimed;
$$;
COMMENT ON FUNCTION edgememory.claim_extractions(text, double precision, integer) IS
    'Takes at most "most" sessions that await extraction, for "lease" seconds: until then nobody else is given them.';

CREATE FUNCTION edgememory.finish_extraction(namespace text, user_id text, id uuid, changes json) RETURNS json
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- The user's row before the extraction's, as commit() and delete_user() lock them.
    PERFORM FROM edgememory.users u WHERE u.namespace = $1 AND u.user_id = $2 FOR UPDATE;
    UPDATE edgememory.extractions e SET done = true, error = NULL
    WHERE e.namespace = $1 AND e.user_id = $2 AND e.id = $3 AND NOT e.done;
    RETURN CASE WHEN FOUND THEN edgememory.commit(namespace, user_id, changes) END;
END $$;
COMMENT ON FUNCTION edgememory.finish_extraction(text, text, uuid, json) IS
    'Commits what was extracted, once: null if somebody else has done so, or the user was deleted meanwhile.';

CREATE FUNCTION edgememory.postpone_extraction(
    namespace text, user_id text, id uuid, tries integer, seconds double precision, error text, gives_up boolean
) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE edgememory.extractions e
    SET due = clock_timestamp() + make_interval(secs => seconds), error = $6, done = gives_up
    WHERE e.namespace = $1 AND e.user_id = $2 AND e.id = $3 AND e.tries = $4 AND NOT e.done;
$$;
COMMENT ON FUNCTION edgememory.postpone_extraction(text, text, uuid, integer, double precision, text, boolean) IS
    'Gives a claimed extraction back, to be tried in "seconds", or never again; "error" says why and stays. Does nothing if '
    'somebody else has claimed it since: "tries" is then another.';
