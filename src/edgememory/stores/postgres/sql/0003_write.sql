-- Writing. The rules are those of edgememory.apply; a property test holds the two together.

CREATE FUNCTION edgememory.lock_user(namespace text, user_id text) RETURNS edgememory.users
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    held edgememory.users;
BEGIN
    LOOP
        SELECT * INTO held FROM edgememory.users u WHERE u.namespace = $1 AND u.user_id = $2 FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO edgememory.users (namespace, user_id, version) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING;
    END LOOP;
    held.version := greatest(held.version, (SELECT epoch << 32 FROM edgememory.epoch)) + 1;
    RETURN held;
END $$;
COMMENT ON FUNCTION edgememory.lock_user(text, text) IS
    'Not for callers: locks the user''s row, made if there was none, and returns it with its next version.';

CREATE FUNCTION edgememory.set_fact(
    namespace text, user_id text, key text, id uuid, text text, importance integer, language text
) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO edgememory.facts AS held (namespace, user_id, key, id, text, importance, language)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (namespace, user_id, key) DO UPDATE
    SET id = excluded.id, text = excluded.text, importance = excluded.importance, language = excluded.language
    WHERE held.id IS NULL OR held.id < excluded.id;
$$;

CREATE FUNCTION edgememory.make(namespace text, user_id text, id uuid, change json) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    language_ CONSTANT text := coalesce(change ->> 'language', 'english');
BEGIN
    IF id IS NULL OR id::text <> change ->> 'id' THEN
        RAISE 'id must be a UUID in its canonical form' USING ERRCODE = 'invalid_text_representation';
    END IF;
    CASE change ->> 'kind'
        WHEN 'message_added' THEN
            IF change ->> 'at' !~ '(Z|[+-]\d\d(:?\d\d)?)$' THEN
                RAISE '"at" has no time zone' USING ERRCODE = 'invalid_datetime_format';
            END IF;
            INSERT INTO edgememory.messages
                (namespace, user_id, id, session_id, role, text, at, interrupted, agent_id, language, metadata)
            VALUES ($1, $2, $3, change ->> 'session_id', change ->> 'role', change ->> 'text',
                (change ->> 'at')::timestamptz, coalesce((change ->> 'interrupted')::boolean, false),
                change ->> 'agent_id', language_,
                CASE WHEN json_typeof(change -> 'metadata') <> 'null' THEN change -> 'metadata' END)
            ON CONFLICT DO NOTHING;
        WHEN 'summary_added' THEN
            INSERT INTO edgememory.summaries (namespace, user_id, id, session_id, text, language)
            VALUES ($1, $2, $3, change ->> 'session_id', change ->> 'text', language_)
            ON CONFLICT DO NOTHING;
        WHEN 'name_set' THEN
            -- The table's own check would not see a name that loses to a newer one.
            IF octet_length(change ->> 'name') NOT BETWEEN 1 AND 512 THEN
                RAISE 'a name is 1 to 512 bytes' USING ERRCODE = 'check_violation';
            END IF;
            UPDATE edgememory.users u SET name = change ->> 'name', name_id = $3
            WHERE u.namespace = $1 AND u.user_id = $2 AND (u.name_id IS NULL OR u.name_id < $3);
        WHEN 'preference_set' THEN
            INSERT INTO edgememory.preferences AS held (namespace, user_id, name, id, value)
            VALUES ($1, $2, change ->> 'name', $3, coalesce(change -> 'value', 'null'))
            ON CONFLICT (namespace, user_id, name) DO UPDATE SET id = excluded.id, value = excluded.value
            WHERE held.id < excluded.id;
        WHEN 'fact_remembered' THEN
            IF change ->> 'text' IS NULL THEN
                RAISE 'a fact has no text' USING ERRCODE = 'not_null_violation';
            END IF;
            IF change ->> 'replaces' <> change ->> 'key' THEN
                INSERT INTO edgememory.facts AS held (namespace, user_id, key, replaced)
                VALUES ($1, $2, change ->> 'replaces', $3)
                ON CONFLICT (namespace, user_id, key) DO UPDATE
                SET replaced = greatest(held.replaced, excluded.replaced);
            END IF;
            PERFORM edgememory.set_fact($1, $2, change ->> 'key', $3, change ->> 'text',
                (change ->> 'importance')::integer, language_);
        WHEN 'fact_forgotten' THEN
            PERFORM edgememory.set_fact($1, $2, change ->> 'key', $3, NULL, 0, language_);
        WHEN 'facts_used' THEN
            INSERT INTO edgememory.facts AS held (namespace, user_id, key, used)
            SELECT DISTINCT $1, $2, key, $3 FROM json_array_elements_text(change -> 'keys') AS key
            ON CONFLICT (namespace, user_id, key) DO UPDATE SET used = greatest(held.used, excluded.used);
        WHEN 'session_ended' THEN
            INSERT INTO edgememory.extractions
                (namespace, user_id, id, session_id, session_started, base, language)
            VALUES ($1, $2, $3, change ->> 'session_id', coalesce((change ->> 'session_started')::double precision, 0),
                (change ->> 'base')::bigint, language_)
            ON CONFLICT DO NOTHING;
        ELSE
            RAISE 'unknown kind of change: %', change ->> 'kind' USING ERRCODE = 'invalid_parameter_value';
    END CASE;
END $$;
COMMENT ON FUNCTION edgememory.make(text, text, uuid, json) IS
    'Not for callers: makes one change. Errors of SQLSTATE class 22 and 23 mean that it is refused.';

CREATE FUNCTION edgememory.survives(change json, erased_at bigint, erased_time double precision) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF change ->> 'base' IS NOT NULL THEN
        RETURN (change ->> 'base')::bigint >= erased_at;
    ELSIF change ->> 'session_started' IS NULL THEN
        RAISE 'a change has neither base nor session_started' USING ERRCODE = 'not_null_violation';
    END IF;
    RETURN (change ->> 'session_started')::double precision >= erased_time;
END $$;

CREATE FUNCTION edgememory.make_one_by_one(
    held edgememory.users, changes json,
    OUT newest uuid, OUT survived boolean, OUT dropped text[], OUT refused json[]
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    change json;
    reason text;
BEGIN
    newest := held.last_id;
    survived := held."exists";
    dropped := '{}';
    refused := '{}';
    FOR change IN SELECT json_array_elements(changes) LOOP
        BEGIN
            IF edgememory.survives(change, held.erased_at, held.erased_time) THEN
                PERFORM edgememory.make(held.namespace, held.user_id, (change ->> 'id')::uuid, change);
                newest := greatest(newest, (change ->> 'id')::uuid);
                survived := true;
            ELSE
                dropped := dropped || (change ->> 'id');
            END IF;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            GET STACKED DIAGNOSTICS reason = MESSAGE_TEXT;
            -- By a pattern, because "->>" fails where any field holds an escape that is no character.
            refused := refused || json_build_object(
                'id', coalesce(substring(change::text FROM '"id"\s*:\s*"([^"]*)"'), ''), 'reason', reason);
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION edgememory.make_one_by_one(edgememory.users, json) IS
    'Not for callers: makes the changes that can be made and says which were refused.';

CREATE FUNCTION edgememory.commit(namespace text, user_id text, changes json) RETURNS json
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET edgememory.writing = 'on'
AS $$
#variable_conflict use_column
DECLARE
    -- Locked first: what two commits of one user read and return is then in the order of their versions.
    held CONSTANT edgememory.users := edgememory.lock_user(namespace, user_id);
    change json;
    newest uuid := held.last_id;
    survived boolean := held."exists";
    dropped text[] := '{}';
    refused json[] := '{}';
BEGIN
    BEGIN
        FOR change IN SELECT json_array_elements(changes) LOOP
            IF edgememory.survives(change, held.erased_at, held.erased_time) THEN
                PERFORM edgememory.make(namespace, user_id, (change ->> 'id')::uuid, change);
                newest := greatest(newest, (change ->> 'id')::uuid);
                survived := true;
            ELSE
                dropped := dropped || (change ->> 'id');
            END IF;
        END LOOP;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
        -- One of them is refused: again, each in a subtransaction of its own.
        SELECT o.newest, o.survived, o.dropped, o.refused INTO newest, survived, dropped, refused
        FROM edgememory.make_one_by_one(held, changes) o;
    END;
    UPDATE edgememory.users u SET version = held.version, "exists" = survived, last_id = newest
    WHERE u.namespace = $1 AND u.user_id = $2;
    RETURN json_build_object(
        'entry', edgememory.get(namespace, user_id),
        'dropped', to_json(dropped),
        'refused', to_json(refused)
    );
END $$;
COMMENT ON FUNCTION edgememory.commit(text, text, json) IS
    'Applies an array of changes (see edgememory.changes) to one user, adds one to the user''s version, whatever became of the '
    'changes, and returns {"entry", "dropped", "refused"}. "dropped" are ids of changes that a deletion has overtaken; "refused" '
    'are changes that will never be taken, with reasons; all others are committed. Any program may call it. Give each change a '
    'UUIDv7 of its own: then it is safe to repeat when the answer was lost. Call it at READ COMMITTED (at a stricter level it may '
    'fail with 40001: repeat it), and commit soon: the user''s row stays locked until then.';

CREATE FUNCTION edgememory.delete_user(namespace text, user_id text) RETURNS json
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET edgememory.writing = 'on'
AS $$
DECLARE
    held CONSTANT edgememory.users := edgememory.lock_user(namespace, user_id);
BEGIN
    DELETE FROM edgememory.messages m WHERE m.namespace = $1 AND m.user_id = $2;
    DELETE FROM edgememory.facts f WHERE f.namespace = $1 AND f.user_id = $2;
    DELETE FROM edgememory.preferences p WHERE p.namespace = $1 AND p.user_id = $2;
    DELETE FROM edgememory.summaries s WHERE s.namespace = $1 AND s.user_id = $2;
    DELETE FROM edgememory.extractions e WHERE e.namespace = $1 AND e.user_id = $2;
    UPDATE edgememory.users u
    SET version = held.version, "exists" = false, last_id = NULL, name = NULL, name_id = NULL,
        erased_at = held.version, erased_time = extract(epoch FROM clock_timestamp())
    WHERE u.namespace = $1 AND u.user_id = $2;
    RETURN edgememory.get(namespace, user_id);
END $$;
COMMENT ON FUNCTION edgememory.delete_user(text, text) IS
    'Erases the user and returns the entry of the tombstone that is left, also where there was no such user. Changes made '
    'before it, in ignorance of it, are dropped whenever they arrive. Safe to repeat.';

CREATE FUNCTION edgememory.restored() RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE edgememory.epoch
    SET epoch = greatest(epoch + 1, floor(extract(epoch FROM clock_timestamp() - '2020-01-01Z'::timestamptz) / 3600))
    RETURNING epoch;
$$;
COMMENT ON FUNCTION edgememory.restored() IS
    'To be called once after this database was restored from a backup, before anything writes to it. It raises the epoch, '
    'and with it every user''s version, above any that the lost time can have seen: so no cache takes the restored content '
    'for older than what it holds. Returns the epoch.';
