-- Reading. Both functions are one statement's snapshot each, and run on replicas too.

CREATE FUNCTION edgememory.rfc3339(at timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

CREATE FUNCTION edgememory.message(m edgememory.messages) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE
RETURN json_build_object('id', m.id, 'session_id', m.session_id, 'role', m.role, 'text', m.text,
    'at', edgememory.rfc3339(m.at), 'interrupted', m.interrupted, 'agent_id', m.agent_id, 'metadata', m.metadata);

CREATE FUNCTION edgememory.small_vectors(namespace text, user_id text, snapshot json) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE
RETURN NULL::json;
COMMENT ON FUNCTION edgememory.small_vectors(text, text, json) IS
    'The vectors of a snapshot''s texts, one byte a dimension; null where there are none. `edgememory reembed` replaces it.';

CREATE FUNCTION edgememory.get(namespace text, user_id text) RETURNS json
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
-- The keys are always equalities on primary keys: planning again and again would cost more than the query.
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    namespace_ CONSTANT text := $1;
    user_id_ CONSTANT text := $2;
BEGIN
    RETURN (
        SELECT json_build_object(
            'format', 1,
            -- A replica's content is as old as the last commit that it has replayed.
            'synced_at', CASE
                WHEN pg_is_in_recovery() THEN coalesce(extract(epoch FROM pg_last_xact_replay_timestamp()), 0)
                ELSE extract(epoch FROM statement_timestamp())
            END,
            'snapshot', held.snapshot,
            'vectors', edgememory.small_vectors(namespace_, user_id_, held.snapshot)
        )
        FROM (
            SELECT json_build_object(
                'version', greatest(u.version, e.epoch << 32),
                'exists', coalesce(u."exists", false),
                'erased_at', coalesce(u.erased_at, 0),
                'erased_time', coalesce(u.erased_time, 0),
                'last_id', coalesce(u.last_id::text, ''),
                'name', u.name,
                'name_id', coalesce(u.name_id::text, ''),
                'preferences', (
                    SELECT coalesce(json_agg(json_build_object('name', p.name, 'id', p.id, 'value', p.value)
                        ORDER BY p.name), '[]')
                    FROM (
                        SELECT name, id, value FROM edgememory.preferences
                        WHERE namespace = namespace_ AND user_id = user_id_
                        ORDER BY id DESC, name LIMIT 256
                    ) p
                ),
                'facts', (
                    SELECT coalesce(json_agg(json_build_object('key', f.key, 'id', f.id, 'text', f.text,
                        'importance', f.importance, 'used', coalesce(f.used::text, ''))
                        ORDER BY f.importance DESC, greatest(f.id, f.used) DESC, f.key DESC), '[]')
                    FROM (
                        SELECT key, id, text, importance, used FROM edgememory.facts
                        WHERE namespace = namespace_ AND user_id = user_id_ AND text IS NOT NULL
                            AND (replaced IS NULL OR replaced <= id)
                        ORDER BY importance DESC, greatest(id, used) DESC, key DESC LIMIT 64
                    ) f
                ),
                'forgotten', (
                    SELECT coalesce(json_agg(json_build_object('key', f.key, 'id', coalesce(f.id::text, ''),
                        'used', coalesce(f.used::text, ''),
                        'replaced', CASE WHEN f.replaced <= f.id THEN '' ELSE coalesce(f.replaced::text, '') END)
                        ORDER BY greatest(f.id, f.replaced) DESC NULLS LAST, f.key DESC), '[]')
                    FROM (
                        SELECT key, id, used, replaced FROM edgememory.facts
                        WHERE namespace = namespace_ AND user_id = user_id_ AND (text IS NULL OR replaced > id)
                        ORDER BY greatest(id, replaced) DESC NULLS LAST, key DESC LIMIT 64
                    ) f
                ),
                'summaries', (
                    SELECT coalesce(json_agg(json_build_object('id', s.id, 'session_id', s.session_id,
                        'text', s.text) ORDER BY s.id), '[]')
                    FROM (
                        SELECT id, session_id, text FROM edgememory.summaries
                        WHERE namespace = namespace_ AND user_id = user_id_
                        ORDER BY id DESC LIMIT 5
                    ) s
                ),
                'messages', (
                    SELECT coalesce(json_agg(json_build_object('id', m.id, 'session_id', m.session_id,
                        'role', m.role, 'text', m.text, 'at', edgememory.rfc3339(m.at),
                        'interrupted', m.interrupted, 'agent_id', m.agent_id) ORDER BY m.id), '[]')
                    FROM (
                        -- Cut to characters here, to bytes by the reader.
                        SELECT id, session_id, role, left(text, 8192) AS text, at, interrupted, agent_id
                        FROM edgememory.messages
                        WHERE namespace = namespace_ AND user_id = user_id_
                        ORDER BY id DESC LIMIT 10
                    ) m
                )
            ) AS snapshot
            FROM edgememory.epoch e
            LEFT JOIN edgememory.users u ON u.namespace = namespace_ AND u.user_id = user_id_
        ) held
    );
END $$;
COMMENT ON FUNCTION edgememory.get(text, text) IS
    'The user''s entry, as edgememory''s caches hold it: a bounded snapshot of the memory as of one version, and when it '
    'was true. A user who does not exist has an entry too. Call it once and use what it returns: two calls may see two versions.';

CREATE FUNCTION edgememory.get_messages(namespace text, user_id text, session_id text, before uuid, most integer)
RETURNS json
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    namespace_ CONSTANT text := $1;
    user_id_ CONSTANT text := $2;
    session_id_ CONSTANT text := $3;
    before_ CONSTANT uuid := coalesce(before, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
BEGIN
    -- Two queries, so that each walks its own index and stops after `most` rows.
    IF session_id_ IS NULL THEN
        RETURN (
            SELECT coalesce(json_agg(edgememory.message(m) ORDER BY m.id DESC), '[]')
            FROM (
                SELECT * FROM edgememory.messages
                WHERE namespace = namespace_ AND user_id = user_id_ AND id < before_
                ORDER BY id DESC LIMIT most
            ) m
        );
    END IF;
    RETURN (
        SELECT coalesce(json_agg(edgememory.message(m) ORDER BY m.id DESC), '[]')
        FROM (
            SELECT * FROM edgememory.messages
            WHERE namespace = namespace_ AND user_id = user_id_ AND session_id = session_id_ AND id < before_
            ORDER BY id DESC LIMIT most
        ) m
    );
END $$;
COMMENT ON FUNCTION edgememory.get_messages(text, text, text, uuid, integer) IS
    'The user''s newest messages in full, newest first: at most "most", of one session unless that is null, with ids below '
    '"before" unless that is null.';
