-- Finding texts by their words. Which of those found are best is decided by the caller (edgememory.recall), who needs
-- for it what stands beside them in the conversation, and how often each word occurs in all that the user has said.

CREATE FUNCTION edgememory.lexemes(language text, text text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    -- More of a text than this is not searched, as no more is shown: nobody says that much at once.
    plain text := lower(left(text, 8192));
    unspaced text[] := '{}';
    -- Punctuation, symbols and emoji: where a database's locale is "C", each character beyond ASCII passes for a letter.
    no_letter CONSTANT text := '[\u00a1-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7\u055a-\u055f\u0589\u058a\u05be\u05f3\u05f4'
        '\u060c\u061b-\u061f\u066a-\u066d\u06d4\u0964\u0965\u104a\u104b\u1361-\u1368\u17d4-\u17d6\u200b\u200e-\u206f\u20a0-\u20cf'
        '\u2190-\u245f\u2500-\u2775\u2794-\u2bff\u2e00-\u2e2e\u3000-\u3004\u3008-\u3020\u3030\u30fb\ufe00-\ufe0f\ufeff'
        '\U0001f000-\U0001faff\U000e0000-\U000e0fff]';
    configuration CONSTANT regconfig := CASE
        WHEN language IN ('danish', 'dutch', 'english', 'finnish', 'french', 'german', 'hungarian', 'italian', 'norwegian',
            'portuguese', 'romanian', 'russian', 'spanish', 'swedish', 'turkish') THEN language
        ELSE 'simple'
    END::regconfig;
BEGIN
    IF octet_length(plain) > length(plain) THEN
        plain := replace(translate(lower(normalize(plain, NFKC)), 'İς', 'iσ'), E'i\u0307', 'i');
        -- With an accent that stands alone, or what joined two emoji.
        plain := regexp_replace(plain, '(?:\s|' || no_letter || ')[\u0300-\u036f\u200c\u200d]+|' || no_letter, ' ', 'g');
    END IF;
    -- Japanese and Chinese: each pair of neighbours of one script, and each Chinese character. See recall/words.py.
    IF octet_length(plain) > length(plain) AND plain ~ '[\u3005\u3041-\u309f\u30a1-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]' THEN
        -- Each run taken apart once: to reach one character of many is to pass all that stand before it.
        unspaced := array_remove(ARRAY(
            SELECT letter || lead(letter) OVER (PARTITION BY run ORDER BY place)
            FROM regexp_matches(plain, '[\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]{2,}|[\u3041-\u309f]{2,}'
                '|[\u30a1-\u30ff\u31f0-\u31ff]{2,}', 'g') WITH ORDINALITY found(letters, run),
                unnest(string_to_array(letters[1], NULL)) WITH ORDINALITY neighbour(letter, place)
            UNION
            SELECT single[1] FROM regexp_matches(plain, '[\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]', 'g') single
        ), NULL);
        plain := regexp_replace(plain,
            '[\u3005\u3041-\u309f\u30a1-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+', ' ', 'g');
    END IF;
    -- Without what Postgres would glue together: "and/or" is a path to it, and an address one word.
    plain := translate(plain, $x$./-'’@_:&<>=%~+$x$, repeat(' ', 15));
    RETURN tsvector_to_array(to_tsvector(configuration, plain)) || unspaced;
END $$;
COMMENT ON FUNCTION edgememory.lexemes(text, text) IS
    'The stems of a text''s words, without stop words. "language" is a text search configuration of Postgres, or ''simple''.';

CREATE FUNCTION edgememory.seed(namespace text, user_id text) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN hashtextextended(namespace || E'\x01' || user_id, 0);
COMMENT ON FUNCTION edgememory.seed(text, text) IS 'Not for callers: what a user''s lexemes are hashed with.';

CREATE FUNCTION edgememory.words(namespace text, user_id text, language text, text text) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seed CONSTANT bigint := edgememory.seed(namespace, user_id);
BEGIN
    RETURN ARRAY(SELECT hashtextextended(lexeme, seed) FROM unnest(edgememory.lexemes(language, text)) AS lexeme);
END $$;
COMMENT ON FUNCTION edgememory.words(text, text, text, text) IS
    'What a text is found by: its lexemes, each hashed together with its user. So one look into an index finds what one '
    'user has said with a word, however much the others have.';

-- Expressions, so that no row gets longer by them.
CREATE INDEX messages_words ON edgememory.messages
    USING gin (edgememory.words(namespace, user_id, language, text));
CREATE INDEX summaries_words ON edgememory.summaries
    USING gin (edgememory.words(namespace, user_id, language, text));
CREATE INDEX facts_words ON edgememory.facts
    USING gin (edgememory.words(namespace, user_id, language, text)) WHERE text IS NOT NULL;

CREATE FUNCTION edgememory.id_time(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN CASE
    WHEN id::text ~ '^.{14}7.{4}[89ab]' AND id < 'e677d21f-dc00-0000-0000-000000000000' THEN
        to_timestamp(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0)
END;
COMMENT ON FUNCTION edgememory.id_time(uuid) IS 'When a UUIDv7 was made; null for any other, and from the year 10000 on.';

CREATE FUNCTION edgememory.allowed(namespace text, user_id text, filters json) RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT said.id
    FROM json_to_record($3) AS wanted(kinds text[], session_id text, except_session_id text, agent_id text, role text,
            after timestamptz, before timestamptz, metadata jsonb, former boolean)
    CROSS JOIN LATERAL (
        SELECT 'message' AS kind, m.id, m.at, m.session_id, m.agent_id, m.role, m.metadata::jsonb AS metadata, true AS holds
        FROM edgememory.messages m WHERE m.namespace = $1 AND m.user_id = $2
        UNION ALL
        SELECT 'summary', s.id, edgememory.id_time(s.id), s.session_id, NULL, NULL, NULL, true
        FROM edgememory.summaries s WHERE s.namespace = $1 AND s.user_id = $2
        UNION ALL
        SELECT 'fact', f.id, edgememory.id_time(f.id), NULL, NULL, NULL, NULL, f.replaced IS NULL OR f.replaced <= f.id
        FROM edgememory.facts f WHERE f.namespace = $1 AND f.user_id = $2 AND f.text IS NOT NULL
    ) said
    WHERE (wanted.kinds IS NULL OR said.kind = ANY (wanted.kinds))
        AND (wanted.session_id IS NULL OR said.session_id = wanted.session_id)
        AND (wanted.except_session_id IS NULL OR said.session_id IS DISTINCT FROM wanted.except_session_id)
        AND (wanted.agent_id IS NULL OR said.agent_id = wanted.agent_id)
        AND (wanted.role IS NULL OR said.role = wanted.role)
        AND (wanted.after IS NULL OR said.at >= wanted.after)
        AND (wanted.before IS NULL OR said.at < wanted.before)
        AND (wanted.metadata IS NULL OR said.metadata @> wanted.metadata)
        AND (wanted.former OR said.holds)
$$;
COMMENT ON FUNCTION edgememory.allowed(text, text, json) IS
    'Not for callers: which of the user''s texts the filters of a query let be found, as in edgememory.search.';

CREATE FUNCTION edgememory.search(namespace text, user_id text, query json, also uuid[] DEFAULT '{}') RETURNS json
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
-- `words` is declared dear, so that no plan computes it: by such costs a server with a compiler would compile each search.
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    namespace_ CONSTANT text := $1;
    user_id_ CONSTANT text := $2;
    language_ CONSTANT text := coalesce(query ->> 'language', 'english');
    seed CONSTANT bigint := edgememory.seed(namespace_, user_id_);
    most CONSTANT integer := coalesce((query ->> 'most')::integer, 50);
    kinds CONSTANT text[] := ARRAY(SELECT json_array_elements_text(
        coalesce(query #> '{filters,kinds}', '["fact", "summary", "message"]')));
    session_ CONSTANT text := query #>> '{filters,session_id}';
    except_session_ CONSTANT text := query #>> '{filters,except_session_id}';
    agent_ CONSTANT text := query #>> '{filters,agent_id}';
    role_ CONSTANT text := query #>> '{filters,role}';
    after_ CONSTANT timestamptz := coalesce(query #>> '{filters,after}', '-infinity');
    before_ CONSTANT timestamptz := coalesce(query #>> '{filters,before}', 'infinity');
    metadata_ CONSTANT jsonb := query #> '{filters,metadata}';
    former_ CONSTANT boolean := coalesce((query #>> '{filters,former}')::boolean, false);
    is_said CONSTANT boolean := role_ IS NULL AND agent_ IS NULL AND metadata_ IS NULL;
BEGIN
    RETURN (
        WITH wanted AS MATERIALIZED (
            SELECT term.n, array_agg(DISTINCT hashtextextended(lexeme, seed)) AS words
            FROM json_array_elements(query -> 'terms') WITH ORDINALITY AS term(forms, n)
            CROSS JOIN LATERAL (SELECT string_agg(form, ' ') AS text FROM json_array_elements_text(term.forms) form) forms
            CROSS JOIN unnest(edgememory.lexemes(language_, forms.text)) AS lexeme
            GROUP BY term.n
        ),
        -- What may be found. That it is this user's stands where these are used: beside the words, which are the user's
        -- own, it would only send the planner to a second index.
        message AS NOT MATERIALIZED (
            SELECT m.*, edgememory.words(m.namespace, m.user_id, m.language, m.text) AS words
            FROM edgememory.messages m
            WHERE 'message' = ANY (kinds)
                AND m.at >= after_ AND m.at < before_
                AND (session_ IS NULL OR m.session_id = session_)
                AND (except_session_ IS NULL OR m.session_id <> except_session_)
                AND (agent_ IS NULL OR m.agent_id = agent_)
                AND (role_ IS NULL OR m.role = role_)
                AND (metadata_ IS NULL OR m.metadata::jsonb @> metadata_)
        ),
        summary AS NOT MATERIALIZED (
            SELECT s.*, edgememory.words(s.namespace, s.user_id, s.language, s.text) AS words
            FROM edgememory.summaries s
            WHERE 'summary' = ANY (kinds) AND is_said
                AND coalesce(edgememory.id_time(s.id), '-infinity') >= after_
                AND (before_ = 'infinity' OR edgememory.id_time(s.id) < before_)
                AND (session_ IS NULL OR s.session_id = session_)
                AND (except_session_ IS NULL OR s.session_id <> except_session_)
        ),
        fact AS NOT MATERIALIZED (
            SELECT f.*, edgememory.words(f.namespace, f.user_id, f.language, f.text) AS words
            FROM edgememory.facts f
            WHERE 'fact' = ANY (kinds) AND is_said
                AND f.text IS NOT NULL AND (former_ OR f.replaced IS NULL OR f.replaced <= f.id)
                AND coalesce(edgememory.id_time(f.id), '-infinity') >= after_
                AND (before_ = 'infinity' OR edgememory.id_time(f.id) < before_)
                AND session_ IS NULL
        ),
        -- One row for each term that a text holds.
        hit AS MATERIALIZED (
            SELECT wanted.n, found.id, found.octets
            FROM wanted CROSS JOIN LATERAL (
                SELECT id, octet_length(text) AS octets FROM message WHERE words && wanted.words
                UNION ALL
                SELECT id, octet_length(text) FROM summary WHERE words && wanted.words
                UNION ALL
                SELECT id, octet_length(text) FROM fact WHERE words && wanted.words
            ) found
        ),
        known AS MATERIALIZED (
            SELECT (SELECT count(*) FROM edgememory.messages WHERE namespace = namespace_ AND user_id = user_id_)
                + (SELECT count(*) FROM edgememory.summaries WHERE namespace = namespace_ AND user_id = user_id_)
                + (SELECT count(*) FROM edgememory.facts WHERE namespace = namespace_ AND user_id = user_id_) AS texts
        ),
        term AS MATERIALIZED (
            SELECT n, count(*) AS texts,
                ln(1 + (greatest(t.texts - count(*), 0) + 0.5)::double precision / (count(*) + 0.5)::double precision) AS weight
            FROM hit, known t GROUP BY n, t.texts
        ),
        holds AS MATERIALIZED (
            SELECT id, octets, sum(weight) AS weight FROM hit JOIN term USING (n) GROUP BY id, octets
        ),
        total AS MATERIALIZED (
            SELECT texts, greatest((SELECT avg(octets::double precision) FROM holds), 1) AS octets FROM known
        ),
        -- BM25 as if each term stood once: near enough to choose whom the caller ranks.
        best AS MATERIALIZED (
            SELECT id FROM (
                SELECT id, weight / (1.72 + 0.48 * octets::double precision / (SELECT total.octets FROM total)) AS score
                FROM holds ORDER BY score DESC, id DESC LIMIT most
            ) scored
            UNION
            SELECT unnest(also)
        ),
        -- With the two before and the two after them in the conversation.
        told AS MATERIALIZED (
            SELECT near.id, (array_agg(near.previous ORDER BY near.previous DESC NULLS LAST))[1] AS previous
            FROM best JOIN message m ON (m.namespace, m.user_id, m.id) = (namespace_, user_id_, best.id)
            CROSS JOIN LATERAL (
                SELECT around.id, lag(around.id) OVER (ORDER BY around.id) AS previous FROM (
                    (SELECT p.id FROM edgememory.messages p
                    WHERE p.namespace = namespace_ AND p.user_id = user_id_ AND p.session_id = m.session_id AND p.id <= m.id
                    ORDER BY p.id DESC LIMIT 3)
                    UNION ALL
                    (SELECT p.id FROM edgememory.messages p
                    WHERE p.namespace = namespace_ AND p.user_id = user_id_ AND p.session_id = m.session_id AND p.id > m.id
                    ORDER BY p.id LIMIT 2)
                ) around
            ) near
            GROUP BY near.id
        ),
        shown AS (
            SELECT m.id, json_build_object('kind', 'message', 'id', m.id, 'text', left(m.text, 8192),
                'at', edgememory.rfc3339(m.at), 'session_id', m.session_id, 'role', m.role, 'agent_id', m.agent_id,
                'previous', told.previous) AS item
            FROM told JOIN message m ON (m.namespace, m.user_id, m.id) = (namespace_, user_id_, told.id)
            UNION ALL
            SELECT s.id, json_build_object('kind', 'summary', 'id', s.id, 'text', s.text,
                'at', edgememory.rfc3339(edgememory.id_time(s.id)), 'session_id', s.session_id)
            FROM best JOIN summary s ON (s.namespace, s.user_id, s.id) = (namespace_, user_id_, best.id)
            UNION ALL
            SELECT f.id, json_build_object('kind', 'fact', 'id', f.id, 'key', f.key, 'text', f.text,
                'at', edgememory.rfc3339(edgememory.id_time(f.id)),
                'valid_until', CASE WHEN f.replaced > f.id THEN edgememory.rfc3339(edgememory.id_time(f.replaced)) END)
            FROM best JOIN fact f ON (f.namespace, f.user_id, f.id) = (namespace_, user_id_, best.id)
        )
        SELECT json_build_object(
            'version', (
                SELECT greatest(u.version, e.epoch << 32) FROM edgememory.epoch e
                LEFT JOIN edgememory.users u ON u.namespace = namespace_ AND u.user_id = user_id_
            ),
            'items', (SELECT coalesce(json_agg(item ORDER BY id), '[]') FROM shown),
            'texts', total.texts,
            'octets', total.octets,
            'frequencies', (
                SELECT coalesce(json_agg(coalesce(term.texts, 0) ORDER BY place), '[]')
                FROM generate_series(1, json_array_length(query -> 'terms')) place LEFT JOIN term ON term.n = place
            )
        )
        FROM total
    );
END $$;
COMMENT ON FUNCTION edgememory.search(text, text, json, uuid[]) IS
    'What of the user''s messages, summaries and facts holds any term of "query" (see edgememory.recall.query), the most promising '
    '"most" of them and those of "also", each message with the two before and after it; and how often each term occurs.';
