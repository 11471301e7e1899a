-- What a database needs to find texts by meaning, with one model. Not a migration: it needs the extension pgvector, and a
-- model. `edgememory reembed` runs it, as often as it likes. {schema}, {model} and {dimensions} are filled in.

CREATE TABLE IF NOT EXISTS edgememory.embedder (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    model text NOT NULL,
    dimensions integer NOT NULL
);
COMMENT ON TABLE edgememory.embedder IS 'One row: which model makes the vectors. Those of any other are compared with nothing.';

CREATE TABLE IF NOT EXISTS edgememory.embeddings (
    namespace text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    model text COLLATE "C",
    vector {schema}.halfvec,
    small bytea,
    PRIMARY KEY (namespace, user_id, id)
);
CREATE INDEX IF NOT EXISTS embeddings_model ON edgememory.embeddings (model);
COMMENT ON TABLE edgememory.embeddings IS
    'One row for each message, summary and fact. Without the current model it waits for `edgememory work`; a text that has no '
    'vector, since the model knows none of its words, has the model all the same.';

CREATE OR REPLACE FUNCTION edgememory.on_text() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM edgememory.embeddings e
        WHERE e.namespace = OLD.namespace AND e.user_id = OLD.user_id AND e.id = OLD.id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO edgememory.embeddings (namespace, user_id, id)
        SELECT NEW.namespace, NEW.user_id, NEW.id WHERE NEW.id IS NOT NULL AND NEW.text IS NOT NULL
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER text_to_embed AFTER INSERT OR DELETE OR UPDATE OF id, text ON edgememory.messages
    FOR EACH ROW EXECUTE FUNCTION edgememory.on_text();
CREATE OR REPLACE TRIGGER text_to_embed AFTER INSERT OR DELETE OR UPDATE OF id, text ON edgememory.summaries
    FOR EACH ROW EXECUTE FUNCTION edgememory.on_text();
CREATE OR REPLACE TRIGGER text_to_embed AFTER INSERT OR DELETE OR UPDATE OF id, text ON edgememory.facts
    FOR EACH ROW EXECUTE FUNCTION edgememory.on_text();

INSERT INTO edgememory.embeddings (namespace, user_id, id)
SELECT namespace, user_id, id FROM edgememory.messages
UNION ALL SELECT namespace, user_id, id FROM edgememory.summaries
UNION ALL SELECT namespace, user_id, id FROM edgememory.facts WHERE id IS NOT NULL AND text IS NOT NULL
ON CONFLICT DO NOTHING;

CREATE OR REPLACE FUNCTION edgememory.small_vectors(namespace text, user_id text, snapshot json) RETURNS json
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT json_build_object('model', {model}, 'of', json_object_agg(e.id, translate(encode(e.small, 'base64'), E'\n', '')))
        FROM (
            SELECT (item ->> 'id')::uuid AS id FROM json_array_elements(snapshot -> 'facts') item
            UNION ALL SELECT (item ->> 'id')::uuid FROM json_array_elements(snapshot -> 'summaries') item
            UNION ALL SELECT (item ->> 'id')::uuid FROM json_array_elements(snapshot -> 'messages') item
        ) shown
        JOIN edgememory.embeddings e ON (e.namespace, e.user_id, e.id) = ($1, $2, shown.id)
        WHERE e.model = {model} AND e.small IS NOT NULL
        HAVING count(*) > 0
    );
END $$;

CREATE OR REPLACE FUNCTION edgememory.search_near(namespace text, user_id text, query json, vector text) RETURNS json
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, {schema}, pg_temp
-- Whoever has more texts than are worth comparing one by one: the index goes on until it has found enough of this user's.
SET hnsw.iterative_scan = relaxed_order
AS $$
#variable_conflict use_column
DECLARE
    namespace_ CONSTANT text := $1;
    user_id_ CONSTANT text := $2;
    wanted halfvec({dimensions});
    most CONSTANT integer := coalesce((query ->> 'most')::integer, 40);
    filters CONSTANT text := query #>> '{filters}';
    ids uuid[];
    similarities json;
BEGIN
    -- An agent that still has another model, or the same at another length.
    IF query ->> 'model' IS DISTINCT FROM {model} OR vector_dims($4::halfvec) <> {dimensions} THEN
        RETURN json_build_object('found', edgememory.search(namespace_, user_id_, query), 'similarities', json_build_object());
    END IF;
    wanted := $4::halfvec({dimensions});
    IF coalesce(filters, '{}') = '{}' THEN
        SELECT array_agg(near.id), json_object_agg(near.id, 1 - near.distance) INTO ids, similarities
        FROM (
            SELECT id, vector::halfvec({dimensions}) <=> wanted AS distance
            FROM edgememory.embeddings
            WHERE namespace = namespace_ AND user_id = user_id_ AND model = {model} AND vector IS NOT NULL
            ORDER BY distance LIMIT most
        ) near;
    ELSE
        -- The nearest of those allowed, each compared: among the nearest of all there may be none of them.
        WITH allowed AS MATERIALIZED (
            SELECT e.id, e.vector::halfvec({dimensions}) <=> wanted AS distance
            FROM edgememory.allowed(namespace_, user_id_, filters::json) AS allowed(id)
            JOIN edgememory.embeddings e ON (e.namespace, e.user_id, e.id) = (namespace_, user_id_, allowed.id)
            WHERE e.model = {model} AND e.vector IS NOT NULL
        )
        SELECT array_agg(near.id), json_object_agg(near.id, 1 - near.distance) INTO ids, similarities
        FROM (SELECT id, distance FROM allowed ORDER BY distance LIMIT most) near;
    END IF;
    RETURN json_build_object(
        'found', edgememory.search(namespace_, user_id_, query, coalesce(ids, ARRAY[]::uuid[])),
        'similarities', coalesce(similarities, json_build_object())
    );
END $$;
COMMENT ON FUNCTION edgememory.search_near(text, text, json, text) IS
    'As edgememory.search, with the texts whose vectors are nearest to "vector", and the cosine of each: where query.model is theirs.';

-- The same model at another length is another: nothing tells their vectors apart but that.
DO $$
DECLARE
    former text;
BEGIN
    IF EXISTS (SELECT FROM edgememory.embedder WHERE model = {model} AND dimensions <> {dimensions}) THEN
        FOR former IN
            SELECT indexname FROM pg_indexes WHERE schemaname = 'edgememory' AND starts_with(indexname, 'embeddings_near_')
        LOOP
            EXECUTE format('DROP INDEX edgememory.%I', former);
        END LOOP;
        UPDATE edgememory.embeddings SET model = NULL, vector = NULL, small = NULL WHERE model = {model};
    END IF;
END $$;

INSERT INTO edgememory.embedder (model, dimensions) VALUES ({model}, {dimensions})
ON CONFLICT (one) DO UPDATE SET model = excluded.model, dimensions = excluded.dimensions;
