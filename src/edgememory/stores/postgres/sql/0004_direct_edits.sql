-- Rows may be edited directly. Then these triggers add one to the version of each user concerned, so that caches take
-- the new content. Inside edgememory.commit() and delete_user(), which count versions themselves, they do not run.
--
-- An edit locks its rows before the user's row, commit() the other way round: the rare deadlock fails one of the two with
-- 40P01, which is safe to repeat. SELECT edgememory.lock_user(namespace, user_id) first avoids it.

CREATE FUNCTION edgememory.on_direct_edit() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET edgememory.writing = 'on'
AS $$
DECLARE
    base CONSTANT bigint := (SELECT epoch << 32 FROM edgememory.epoch);
BEGIN
    -- "edited" are the statement's rows; an update's are its new ones. Ordered, so that two edits do not deadlock.
    INSERT INTO edgememory.users AS held (namespace, user_id, version, "exists", last_id)
    SELECT namespace, user_id, base + 1, TG_OP = 'INSERT', (array_agg(newest ORDER BY newest DESC NULLS LAST))[1]
    FROM (
        SELECT edited.namespace, edited.user_id,
            CASE WHEN TG_OP <> 'DELETE' THEN greatest(
                (to_json(edited) ->> 'id')::uuid, (to_json(edited) ->> 'used')::uuid,
                (to_json(edited) ->> 'replaced')::uuid
            ) END AS newest
        FROM edited
    ) rows
    GROUP BY namespace, user_id
    ORDER BY namespace, user_id
    ON CONFLICT (namespace, user_id) DO UPDATE SET
        version = greatest(held.version, base) + 1,
        "exists" = held."exists" OR excluded."exists",
        last_id = greatest(held.last_id, excluded.last_id);
    RETURN NULL;
END $$;

DO $$
DECLARE
    name text;
    operation text;
BEGIN
    FOREACH name IN ARRAY ARRAY['messages', 'facts', 'preferences', 'summaries'] LOOP
        FOREACH operation IN ARRAY ARRAY['INSERT', 'UPDATE', 'DELETE'] LOOP
            EXECUTE format(
                'CREATE TRIGGER direct_%s AFTER %s ON edgememory.%I REFERENCING %s TABLE AS edited FOR EACH STATEMENT '
                'WHEN (current_setting(''edgememory.writing'', true) IS DISTINCT FROM ''on'') '
                'EXECUTE FUNCTION edgememory.on_direct_edit()',
                lower(operation), operation, name, CASE operation WHEN 'DELETE' THEN 'OLD' ELSE 'NEW' END);
        END LOOP;
    END LOOP;
END $$;

CREATE FUNCTION edgememory.on_direct_name() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.version := greatest(OLD.version, (SELECT epoch << 32 FROM edgememory.epoch)) + 1;
    RETURN NEW;
END $$;

CREATE TRIGGER direct_name BEFORE UPDATE OF name ON edgememory.users FOR EACH ROW
WHEN (OLD.name IS DISTINCT FROM NEW.name AND current_setting('edgememory.writing', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION edgememory.on_direct_name();

CREATE FUNCTION edgememory.on_direct_delete() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE 'a deleted user must leave a tombstone: SELECT edgememory.delete_user(%, %)',
        quote_literal(OLD.namespace), quote_literal(OLD.user_id) USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER direct_delete BEFORE DELETE ON edgememory.users FOR EACH ROW
EXECUTE FUNCTION edgememory.on_direct_delete();
