-- Many users at once, as their calls would have left them. The temporary table `earlier` holds one user's changes, and
-- benchmarks.users how many users to make. Call after call, and user after user within a call: as commits come in. So
-- the indexes grow in random order, and a user's rows lie apart, as far as their calls did.

SET edgememory.writing = 'on';  -- versions are set below

CREATE TEMPORARY TABLE callers AS
SELECT 'lab' AS namespace, md5(number::text) AS user_id, random() * interval '24 hours' AS hour
FROM generate_series(1, current_setting('benchmarks.users')::integer) number;

-- Four calls of each, ten days apart.
CREATE TEMPORARY TABLE calls AS
SELECT callers.*, call, 'call-' || call || '-' || user_id AS session_id,
    interval '10 days' * (call - 5) + hour AS ago  -- from now, so negative
FROM callers CROSS JOIN generate_series(1, 4) call
ORDER BY call, hour;

-- The n-th change of a kind belongs to one of the calls: five messages to each, the rest in turn.
CREATE TEMPORARY TABLE made AS
SELECT change ->> 'kind' AS kind, change, number * interval '1 second' AS after,
    CASE change ->> 'kind' WHEN 'message_added' THEN (nth - 1) / 5 ELSE (nth - 1) % 4 END + 1 AS call
FROM (
    SELECT change, number, row_number() OVER (PARTITION BY change ->> 'kind' ORDER BY number) AS nth FROM earlier
) numbered;

INSERT INTO edgememory.messages (namespace, user_id, id, session_id, role, text, at)
SELECT namespace, user_id, uuidv7(ago + after), session_id, change ->> 'role', change ->> 'text', now() + ago + after
FROM calls JOIN made USING (call) WHERE kind = 'message_added' ORDER BY call, hour, after;

INSERT INTO edgememory.facts (namespace, user_id, key, id, text, importance)
SELECT namespace, user_id, change ->> 'key', uuidv7(ago + after), change ->> 'text', (change ->> 'importance')::integer
FROM calls JOIN made USING (call) WHERE kind = 'fact_remembered' ORDER BY call, hour, after;

INSERT INTO edgememory.preferences (namespace, user_id, name, id, value)
SELECT namespace, user_id, change ->> 'name', uuidv7(ago + after), change -> 'value'
FROM calls JOIN made USING (call) WHERE kind = 'preference_set' ORDER BY call, hour, after;

INSERT INTO edgememory.summaries (namespace, user_id, id, session_id, text)
SELECT namespace, user_id, uuidv7(ago + after), session_id, change ->> 'text'
FROM calls JOIN made USING (call) WHERE kind = 'summary_added' ORDER BY call, hour, after;

INSERT INTO edgememory.users (namespace, user_id, version, "exists", last_id, name, name_id)
SELECT namespace, user_id, 4, true, newest.id, change ->> 'name', uuidv7(ago + after)
FROM calls JOIN made USING (call) CROSS JOIN LATERAL (
    SELECT id FROM edgememory.messages m
    WHERE m.namespace = calls.namespace AND m.user_id = calls.user_id ORDER BY id DESC LIMIT 1
) newest
WHERE kind = 'name_set' ORDER BY hour;

RESET edgememory.writing;
