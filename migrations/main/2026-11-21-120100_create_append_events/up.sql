-- Where readers stop. Every append announces, before it draws positions, "mine are greater than this one": the
-- announcement is an advisory lock whose key says the position (two numbers of 32 bits: 72, 12 bits of the
-- tenant's hash, 43 bits of the position), in shared mode, so that nobody waits for it, and it ends with the
-- transaction, after the commit can be seen.
CREATE FUNCTION event_head() RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenant uuid := public.current_tenant();
    -- Before the locks are looked at: what is drawn later is greater.
    last bigint := coalesce(pg_sequence_last_value('public.events_position_seq'), 0);
    announced bigint;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'event_head() asks the primary: a standby does not see who is appending'
            USING ERRCODE = 'feature_not_supported';
    END IF;
    SELECT min((classid::bigint & 4095) << 31 | objid::bigint) INTO announced
      FROM pg_locks
     WHERE locktype = 'advisory' AND objsubid = 2 AND mode = 'ShareLock' AND granted
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND classid::bigint >> 24 = 72
       AND (tenant IS NULL OR (classid::bigint >> 12) & 4095 = uuid_hash_extended(tenant, 0) & 4095);
    RETURN least(last, announced);
END
$$;
COMMENT ON FUNCTION event_head() IS
    'The position up to which every event is there that ever will be: of this tenant, without one of all. Read events in a later statement, never in the same.';
REVOKE EXECUTE ON FUNCTION event_head() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_head() TO bedplate_app, bedplate_system;

-- A crash keeps the postmaster, and transaction ids that were not yet on disk are given out again: it resets the
-- statistics, also those of the background writer.
CREATE FUNCTION event_token_origin(tenant uuid) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    -- Not extract(), whose numeric takes ten times as long.
    RETURN ((date_part('epoch', pg_postmaster_start_time()) * 1000000)::bigint
            # (date_part('epoch', pg_stat_get_bgwriter_stat_reset_time()) * 1000000)::bigint)
         # (uuid_hash_extended(tenant, 0) & 4294967295);
COMMENT ON FUNCTION event_token_origin(uuid) IS 'For event_token(): tells one life of the server from another, and a tenant from others.';
REVOKE EXECUTE ON FUNCTION event_token_origin(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_token_origin(uuid) TO bedplate_app, bedplate_definer;

-- For a decision: a token, then what is decided on, in a later statement, then the append with the token. The head
-- comes from before the snapshot. A position would not do: an append that is under way has a lower one than events
-- that were read, and matches a moment later. A transaction sees its own events, whatever its snapshot says: those
-- up to the last position of this moment.
CREATE FUNCTION event_token() RETURNS text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    head bigint := public.event_head();
    last bigint := coalesce(pg_sequence_last_value('public.events_position_seq'), 0);
BEGIN
    RETURN concat_ws('.', public.event_token_origin(public.require_tenant()), head, last,
        coalesce(pg_current_xact_id_if_assigned(), '0'), pg_current_snapshot());
END
$$;
COMMENT ON FUNCTION event_token() IS
    'What was committed before, as the condition of an append wants it ("after"): take it before you read what you decide on. Good for this tenant, until the server is started anew.';
REVOKE EXECUTE ON FUNCTION event_token() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_token() TO bedplate_app;

-- Whether an event was seen by the statement that made the token.
CREATE FUNCTION event_was_seen(event_transaction xid8, event_position bigint, token text[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN token IS NULL THEN false
        WHEN event_transaction = token[4]::xid8 THEN event_position <= token[3]::bigint
        ELSE pg_visible_in_snapshot(event_transaction, token[5]::pg_snapshot) END;
COMMENT ON FUNCTION event_was_seen(xid8, bigint, text[]) IS 'For append_events(): whether a token of event_token() covers an event.';
REVOKE EXECUTE ON FUNCTION event_was_seen(xid8, bigint, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_was_seen(xid8, bigint, text[]) TO bedplate_definer;

-- append_events() asks whether the tenant is there.
CREATE POLICY definer ON tenants FOR SELECT TO bedplate_definer USING (true);
COMMENT ON POLICY definer ON tenants IS 'For append_events(), which looks whether the tenant is there.';
GRANT SELECT (id) ON tenants TO bedplate_definer;

-- Of several tags an event has to have all: it is looked for by the one that the fewest have, of those after `since`.
CREATE FUNCTION rarest_event_tag(tenant uuid, tags text[], since bigint) RETURNS bigint
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT event_tag_hash(t.tag) FROM unnest(rarest_event_tag.tags) AS t (tag)
         ORDER BY (SELECT count(*) FROM (SELECT FROM event_tags AS o
                    WHERE o.tenant_id = rarest_event_tag.tenant AND o.tag = event_tag_hash(t.tag)
                      AND o.position > rarest_event_tag.since
                    LIMIT 1000) AS few)
         LIMIT 1;
    END;
COMMENT ON FUNCTION rarest_event_tag(uuid, text[], bigint) IS
    'The hash of the tag that the fewest events after a position have; from a thousand on they count as equal.';
REVOKE EXECUTE ON FUNCTION rarest_event_tag(uuid, text[], bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rarest_event_tag(uuid, text[], bigint) TO bedplate_app, bedplate_definer;

-- A filter looks into an array in an array, .type() says what it is: so types are asked for before any filter.
CREATE FUNCTION is_event_condition(condition jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN jsonb_path_match(condition, '$.fail_if_events_match.type() == "array"
        && !exists($.fail_if_events_match[*].type() ? (@ != "object"))
        && !exists($.fail_if_events_match[*] ? (exists(@.tags) && @.tags.type() != "array"
               || exists(@.types) && @.types.type() != "array"))
        && !exists($.fail_if_events_match[*].tags[*].type() ? (@ != "string"))
        && !exists($.fail_if_events_match[*].types[*].type() ? (@ != "string"))
        && !exists($.fail_if_events_match[*].tags[*] ? (!(@ like_regex "^[^:\x01-\x1f]+:[^\x01-\x1f]+$")))
        && !exists($.fail_if_events_match[*].types[*] ? (!(@ like_regex "^[^\x01-\x1f]*[^\\s\x01-\x1f][^\x01-\x1f]*$")))
        && !exists($.keyvalue() ? (@.key != "fail_if_events_match" && @.key != "after"))
        && !exists($.fail_if_events_match[*].keyvalue() ? (@.key != "types" && @.key != "tags"))', silent => true);
COMMENT ON FUNCTION is_event_condition(jsonb) IS 'For append_events() and event_subscriptions: whether a condition has items whose tags and types are arrays of what events can have, and no other keys.';
REVOKE EXECUTE ON FUNCTION is_event_condition(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION is_event_condition(jsonb) TO bedplate_app, bedplate_system, bedplate_definer;

-- A misspelt key that is ignored loses data, or switches a condition off.
CREATE FUNCTION refuse_unknown_event_keys(place text, objects jsonb, known text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    unknown record;
BEGIN
    SELECT format(place, o.ordinality - 1) AS place, k.key INTO unknown
      FROM jsonb_array_elements(CASE jsonb_typeof(objects) WHEN 'array' THEN objects ELSE '[]' END) WITH ORDINALITY AS o
     CROSS JOIN LATERAL jsonb_object_keys(CASE jsonb_typeof(o.value) WHEN 'object' THEN o.value - known ELSE '{}' END) AS k (key)
     ORDER BY o.ordinality, k.key COLLATE "C" LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'append_events(): % has no key %', unknown.place, to_json(left(unknown.key, 100))
            USING ERRCODE = 'check_violation', TABLE = 'events', COLUMN = unknown.place || '.' || left(unknown.key, 100),
                  CONSTRAINT = 'events_keys_check', HINT = 'Its keys are ' || array_to_string(known, ', ') || '.';
    END IF;
END
$$;
COMMENT ON FUNCTION refuse_unknown_event_keys(text, jsonb, text[]) IS
    'For append_events(): raises check_violation where one of several objects has a key that is not known, and names it.';
REVOKE EXECUTE ON FUNCTION refuse_unknown_event_keys(text, jsonb, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refuse_unknown_event_keys(text, jsonb, text[]) TO bedplate_definer;

-- Exactly what the condition says, under the locks of append_events().
CREATE FUNCTION check_event_condition(tenant uuid, condition jsonb, token text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
    AS $$
DECLARE
    since bigint := coalesce(token[2]::bigint, 0);
    item record;
    driver bigint;
    conflict record;
BEGIN
    FOR item IN
        SELECT i.ordinality - 1 AS number, ARRAY(SELECT jsonb_array_elements_text(i.value -> 'tags')) AS tags,
               ARRAY(SELECT jsonb_array_elements_text(i.value -> 'types')) AS types
          FROM jsonb_array_elements(condition -> 'fail_if_events_match') WITH ORDINALITY AS i
    LOOP
        IF cardinality(item.tags) > 0 THEN
            driver := public.rarest_event_tag(tenant, item.tags, since);
            -- OFFSET 0: as a join, a planner without statistics reads the tenant's events for each tag's position.
            SELECT e.position, e.id, e.event_type INTO conflict
              FROM public.event_tags AS t
             CROSS JOIN LATERAL (
                   SELECT * FROM public.events AS e
                    WHERE e.tenant_id = tenant AND e.position = t.position
                      AND e.tags @> item.tags AND (item.types = '{}' OR e.event_type = ANY (item.types))
                      AND NOT public.event_was_seen(e.transaction_id, e.position, token)
                   OFFSET 0) AS e
             WHERE t.tenant_id = tenant AND t.tag = driver AND t.position > since
             ORDER BY t.position LIMIT 1;
        ELSIF cardinality(item.types) > 0 THEN
            SELECT e.position, e.id, e.event_type INTO conflict FROM public.events AS e
             WHERE e.tenant_id = tenant AND e.event_type = ANY (item.types) AND e.position > since
               AND NOT public.event_was_seen(e.transaction_id, e.position, token)
             LIMIT 1;
        ELSE
            SELECT e.position, e.id, e.event_type INTO conflict FROM public.events AS e
             WHERE e.tenant_id = tenant AND e.position > since
               AND NOT public.event_was_seen(e.transaction_id, e.position, token)
             ORDER BY e.position LIMIT 1;
        END IF;
        IF FOUND THEN
            RAISE EXCEPTION 'append condition failed: % at position % was not seen', conflict.event_type, conflict.position
                USING ERRCODE = 'BP001', HINT = 'Read again, and decide again.',
                      DETAIL = jsonb_build_object('item', item.number, 'position', conflict.position, 'id', conflict.id,
                                                  'event_type', conflict.event_type);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION check_event_condition(uuid, jsonb, text[]) IS
    'For append_events(): raises BP001 where an event matches the condition and was not seen.';
REVOKE EXECUTE ON FUNCTION check_event_condition(uuid, jsonb, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION check_event_condition(uuid, jsonb, text[]) TO bedplate_definer;

CREATE FUNCTION check_event_stream(tenant uuid, stream jsonb) RETURNS int
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    stream_id uuid := stream ->> 'aggregate_id';
    expected int := stream ->> 'expected_version';
    version int;
    type text;
BEGIN
    SELECT e.event_version, e.aggregate_type INTO version, type FROM public.events AS e
     WHERE e.tenant_id = tenant AND e.aggregate_id = stream_id ORDER BY e.event_version DESC LIMIT 1;
    version := coalesce(version, 0);
    IF type <> stream ->> 'aggregate_type' THEN
        RAISE EXCEPTION 'stream % is of the type %', stream_id, type
            USING ERRCODE = 'check_violation', TABLE = 'events', COLUMN = 'aggregate_type',
                  CONSTRAINT = 'events_aggregate_type_check';
    ELSIF version <> expected THEN
        RAISE EXCEPTION 'append condition failed: stream % is at version %, expected was %', stream_id, version, expected
            USING ERRCODE = 'BP001', HINT = 'Read again, and decide again.',
                  DETAIL = jsonb_build_object('aggregate_id', stream_id, 'expected', expected, 'version', version);
    END IF;
    RETURN version;
END
$$;
COMMENT ON FUNCTION check_event_stream(uuid, jsonb) IS
    'For append_events(): the version that a stream is at; raises BP001 where another one was expected.';
REVOKE EXECUTE ON FUNCTION check_event_stream(uuid, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION check_event_stream(uuid, jsonb) TO bedplate_definer;

-- 1. Locks, before anything is looked at; what looks is a later statement, for it must see what was committed while
--    a lock was waited for. The tenant first, then everything else by name: types (\x01), the stream (\x02), tags.
--    So no two appends wait for each other; and a later append of the same transaction, whose names may come before
--    those that are held, does not wait for them: it tries, and gives up as a serialization failure.
--    Shared: the tenant, and types and tags of the events. Exclusive: the first tag of each item of the condition;
--    of an item without tags its types; of one without both, the tenant. An event that matches an item has what the
--    item locks, so its append waits for this one, or this one for it.
-- 2. The announcement to readers (see event_head()). Only then positions are drawn.
-- 3. The condition: is there an event that matches and was not seen?
CREATE FUNCTION append_any_events(events jsonb, condition jsonb, stream jsonb) RETURNS bigint[]
    LANGUAGE plpgsql
    -- A plan that is made while a table is small is kept when it has grown.
    SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
    AS $$
DECLARE
    tenant constant uuid := public.require_tenant();
    seed constant bigint := uuid_hash_extended(tenant, 0);
    -- The greatest name that an earlier append of this transaction has locked; '': this is the first one.
    held constant text := substr(coalesce(current_setting('bedplate.last_event_name', true), ''), 20);
    -- What it has announced; a second announcement would be one more lock.
    announced bigint := nullif(substr(current_setting('bedplate.last_event_name', true), 1, 19), '')::bigint;
    items constant jsonb := condition -> 'fail_if_events_match';
    token constant text[] := string_to_array(condition ->> 'after', '.');
    tags text[];
    types text[];
    shared text[];
    exclusive text[] := '{}';
    names text[];
    stream_id uuid;
    version int;
    positions bigint[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'append_events() works at READ COMMITTED, not at %', upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'A snapshot that is older than the locks does not see what it has to.';
    END IF;
    PERFORM public.refuse_unknown_event_keys('events[%s]', events, '{id,event_type,event_data,metadata,tags,correlation_id,causation_id}'),
            public.refuse_unknown_event_keys('condition', jsonb_build_array(condition), '{fail_if_events_match,after}'),
            public.refuse_unknown_event_keys('condition.fail_if_events_match[%s]', items, '{types,tags}'),
            public.refuse_unknown_event_keys('stream', jsonb_build_array(stream), '{aggregate_type,aggregate_id,expected_version}');
    IF (CASE jsonb_typeof(events) WHEN 'array' THEN
            jsonb_array_length(events) BETWEEN 1 AND 1000
            AND public.json_is_readable(events)
            AND NOT jsonb_path_exists(events, 'strict $[*] ? (@.type() != "object")')
            -- PostgreSQL would make a text of a number, and an array of a text.
            AND NOT jsonb_path_exists(events, '$[*] ? (@.metadata.type() != "object" && @.metadata.type() != "null"
                                                       || @.event_type.type() != "string"
                                                       || @.tags.type() != "array" && @.tags.type() != "null")')
            AND NOT jsonb_path_exists(events, '$[*] ? (@.tags.size() > 1000)')
            AND NOT jsonb_path_exists(events, 'strict $[*] ? (exists (@.tags[*] ? (@.type() != "string")))') END)
    THEN
        SELECT coalesce(array_agg(DISTINCT t.tag) FILTER (WHERE t.ordinality IS NOT NULL), '{}'), array_agg(DISTINCT e.event_type)
          INTO tags, types
          FROM jsonb_to_recordset(append_any_events.events) AS e (event_type text, tags text[])
          LEFT JOIN LATERAL unnest(e.tags) WITH ORDINALITY AS t (tag) ON true;
    END IF;
    -- Joined by what neither a tag nor a type may hold; what holds it is found where nothing joins.
    IF (array_position(tags || types, NULL) IS NULL AND array_position(tags, '') IS NULL
        AND array_to_string(tags || types, '') !~ '[\x01-\x1f]'
        AND array_to_string(tags, E'\x1f') ~ '^([^:\x1f]+:[^\x1f]+(\x1f|$))*$'
        AND array_to_string(types, E'\x1f') ~ '^([^\x1f]*[^\s\x1f][^\x1f]*(\x1f|$))+$'
        AND 255 >= ALL (SELECT length(t) FROM unnest(tags) AS t)) IS NOT TRUE
    THEN
        RAISE EXCEPTION 'append_events() takes an array of 1 to 1000 objects with an event_type, metadata that are an object, and at most 1000 tags of the form key:value; at most 255 characters each, no control characters, at most 100 levels of JSON, no number that 64 bits do not hold exactly'
            USING ERRCODE = 'check_violation', TABLE = 'events', COLUMN = 'events', CONSTRAINT = 'events_events_check';
    END IF;
    shared := tags || ARRAY(SELECT E'\x01' || t FROM unnest(types) AS t);

    IF condition IS NOT NULL THEN
        IF (CASE WHEN public.is_event_condition(condition) THEN jsonb_array_length(items) BETWEEN 1 AND 100 END) THEN
            -- NULL stands for an item that any event matches.
            SELECT array_agg(coalesce(i.item #>> '{tags,0}', E'\x01' || t.type)) INTO exclusive
              FROM jsonb_array_elements(items) AS i (item)
              LEFT JOIN LATERAL jsonb_array_elements_text(i.item -> 'types') AS t (type) ON i.item #>> '{tags,0}' IS NULL;
        END IF;
        IF exclusive = '{}' OR 256 < ANY (SELECT length(n) FROM unnest(exclusive) AS n) THEN
            RAISE EXCEPTION 'a condition is an object with an array fail_if_events_match of 1 to 100 items, whose types and tags are such as events have'
                USING ERRCODE = 'check_violation', TABLE = 'events', COLUMN = 'condition', CONSTRAINT = 'events_condition_check';
        ELSIF token IS NOT NULL
            AND (num_nulls(token[1]::bigint, token[2]::bigint, token[3]::bigint, token[4]::xid8, token[5]::pg_snapshot) > 0
                 OR cardinality(token) > 5)
        THEN
            RAISE EXCEPTION 'after is no token of event_token()'
                USING ERRCODE = 'check_violation', TABLE = 'events', COLUMN = 'after', CONSTRAINT = 'events_after_check';
        ELSIF token[1]::bigint <> public.event_token_origin(tenant) THEN
            RAISE EXCEPTION 'append condition failed: the token is from before the server was started, or of another tenant'
                USING ERRCODE = 'BP001', DETAIL = '{"stale_token": true}', HINT = 'Read again, and decide again.';
        END IF;
    END IF;
    IF stream IS NOT NULL THEN
        stream_id := (stream ->> 'aggregate_id')::uuid;
        IF (stream_id IS NOT NULL AND jsonb_typeof(stream -> 'aggregate_type') = 'string' AND stream ->> 'aggregate_type' ~ '\S'
            AND coalesce(jsonb_typeof(stream -> 'expected_version'), 'null') IN ('number', 'null')
            AND coalesce((stream ->> 'expected_version')::int, 0) >= 0) IS NOT TRUE
        THEN
            RAISE EXCEPTION 'a stream has an aggregate_type, an aggregate_id, and perhaps an expected_version of 0 or more'
                USING ERRCODE = 'check_violation', TABLE = 'events', COLUMN = 'stream', CONSTRAINT = 'events_stream_check';
        END IF;
        exclusive := exclusive || (E'\x02' || stream_id);
    END IF;

    IF array_position(exclusive, NULL) IS NOT NULL OR cardinality(shared) + cardinality(exclusive) > 256 THEN
        -- The tenant alone: every append has it, and locks have a table of one size for the whole server. Tried where
        -- an earlier append holds it shared: two of those would wait for each other.
        names := ARRAY[E'\x7f'];
        IF (CASE held WHEN '' THEN pg_advisory_xact_lock(seed) IS NULL ELSE NOT pg_try_advisory_xact_lock(seed) END) THEN
            RAISE EXCEPTION 'another append is under way, and this is not the first one of its transaction'
                USING ERRCODE = 'serialization_failure', HINT = 'Run the transaction again.';
        END IF;
    ELSE
        PERFORM pg_advisory_xact_lock_shared(seed);
        -- By way of a tsvector: sorted bytewise, without doubles.
        names := tsvector_to_array(array_to_tsvector(shared || exclusive));
        IF held <> '' AND EXISTS (
            SELECT FROM unnest(names) AS n (name)
             WHERE n.name <= held COLLATE "C"
               AND NOT (CASE WHEN n.name = ANY (exclusive) THEN pg_try_advisory_xact_lock(hashtextextended(n.name, seed))
                             -- The second one is there for what it holds exclusively, while others wait for it.
                             ELSE pg_try_advisory_xact_lock_shared(hashtextextended(n.name, seed))
                                  OR pg_try_advisory_xact_lock(hashtextextended(n.name, seed)) END))
        THEN
            RAISE EXCEPTION 'another append is under way, and this is not the first one of its transaction'
                USING ERRCODE = 'serialization_failure', HINT = 'Run the transaction again.';
        END IF;
        PERFORM CASE WHEN n.name = ANY (exclusive) THEN pg_advisory_xact_lock(hashtextextended(n.name, seed))
                     ELSE pg_advisory_xact_lock_shared(hashtextextended(n.name, seed)) END
           FROM unnest(names) AS n (name) WHERE n.name > held COLLATE "C";
    END IF;
    announced := least(announced, coalesce(pg_sequence_last_value('public.events_position_seq'), 0));
    PERFORM pg_advisory_xact_lock_shared((1207959552 | ((seed & 4095) << 12) | (announced >> 31))::int, (announced & 2147483647)::int),
            set_config('bedplate.last_event_name',
                       lpad(announced::text, 19, '0') || greatest(names[cardinality(names)] COLLATE "C", held), true);

    IF stream IS NOT NULL THEN
        version := public.check_event_stream(tenant, stream);
    END IF;
    IF condition IS NOT NULL THEN
        PERFORM public.check_event_condition(tenant, condition, token);
    END IF;
    -- It may have been deleted while its lock was waited for.
    PERFORM FROM public.tenants AS t WHERE t.id = tenant;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'tenant % does not exist', tenant
            USING ERRCODE = 'foreign_key_violation', TABLE = 'events', COLUMN = 'tenant_id', CONSTRAINT = 'events_tenant_id_fkey';
    END IF;
    WITH appended AS (
        INSERT INTO public.events AS e (tenant_id, id, event_type, event_data, metadata, tags,
                                        aggregate_type, aggregate_id, event_version, correlation_id, causation_id)
        SELECT tenant, coalesce(n.id, gen_random_uuid()), n.event_type, n.event_data, coalesce(n.metadata, '{}'),
               tsvector_to_array(array_to_tsvector(coalesce(n.tags, '{}'))),
               stream ->> 'aggregate_type', stream_id, version + n.ordinality,
               coalesce(n.correlation_id, nullif(current_setting('app.correlation_id', true), '')::uuid), n.causation_id
          FROM ROWS FROM (jsonb_to_recordset(append_any_events.events) AS (
                   id uuid, event_type text, event_data jsonb, metadata jsonb, tags text[], correlation_id uuid, causation_id uuid))
               WITH ORDINALITY AS n
        RETURNING e.position, e.tags),
    tagged AS (
        INSERT INTO public.event_tags (tenant_id, tag, position)
        SELECT tenant, hashtextextended(t.tag COLLATE "C", 0), a.position FROM appended AS a, unnest(a.tags) AS t (tag))
    SELECT array_agg(a.position) INTO positions FROM appended AS a;
    RETURN positions;
END
$$;
COMMENT ON FUNCTION append_any_events(jsonb, jsonb, jsonb) IS 'For append_events(): any number of events under any condition.';
REVOKE EXECUTE ON FUNCTION append_any_events(jsonb, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append_any_events(jsonb, jsonb, jsonb) TO bedplate_definer;

-- The commonest append is done here: one event with at most three tags, as the first append of its transaction, under
-- no condition or one item with tags, where nothing new has the first of them. It does what append_any_events() does
-- with everything else, in the same order, and in a quarter of the time: every node of an expression of PL/pgSQL is
-- prepared anew in each transaction, so there are few. `IF … IS NULL THEN NULL` calls functions as an expression, for
-- PERFORM would make a statement of it.
CREATE FUNCTION append_events(events jsonb, condition jsonb DEFAULT NULL, stream jsonb DEFAULT NULL) RETURNS bigint[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
    AS $$
#variable_conflict use_variable
DECLARE
    tenant constant uuid := public.current_tenant();
    seed constant bigint := uuid_hash_extended(tenant, 0);
    new public.events := CASE WHEN jsonb_typeof(events -> 0) = 'object' AND (events -> 1) IS NULL
                                   AND (events -> 0) - '{id,event_type,event_data,metadata,tags,correlation_id,causation_id}'::text[] = '{}'
                                   AND NOT events @? '$[0] ? (@.tags[*].type() != "string" || @.tags.type() != "array" || @.event_type.type() != "string")'
                              THEN jsonb_populate_record(NULL::public.events, events -> 0) END;
    first_tag constant text := condition #>> '{fail_if_events_match,0,tags,0}';
    after constant text := condition ->> 'after';
    token constant text[] := string_to_array(after, '.');
    names text[];
    name text;
    position bigint;
BEGIN
    -- 255: so long a tag may be; of 2048 bytes array_to_tsvector() would forget the first.
    IF (tenant IS NOT NULL AND coalesce(strpos(array_to_string(new.tags, ''), E'\x1f'), 0) = 0
        AND coalesce(octet_length(array_to_string(new.tags, '')), 0) <= 255
        AND array_to_string(new.tags || (E'\x01' || new.event_type), E'\x1f', E'\x1f')
            ~ '^([^:\x01-\x1f]+:[^\x01-\x1f]+\x1f){0,3}\x01[^\x01-\x1f]*[^\s\x01-\x1f][^\x01-\x1f]*$'
        AND (CASE WHEN condition IS NULL THEN true
                  ELSE first_tag = ANY (new.tags) AND (condition #> '{fail_if_events_match,1}') IS NULL
                       AND public.is_event_condition(condition)
                       AND (after IS NULL
                            OR cardinality(token) = 5 AND token[1]::bigint = public.event_token_origin(tenant)
                               AND num_nulls(token[3]::bigint, token[4]::xid8, token[5]::pg_snapshot) = 0) END)
        AND stream IS NULL AND jsonb_typeof(coalesce(new.metadata, '{}')) = 'object'
        AND public.json_is_readable(new.event_data) IS NOT FALSE AND public.json_is_readable(new.metadata) IS NOT FALSE
        AND coalesce(current_setting('bedplate.last_event_name', true), '') = ''
        AND current_setting('transaction_isolation') = 'read committed') IS NOT TRUE
    THEN
        PERFORM public.require_tenant();
        RETURN public.append_any_events(events, condition, stream);
    END IF;
    names := tsvector_to_array(array_to_tsvector(coalesce(new.tags, '{}')));
    IF pg_advisory_xact_lock_shared(seed) IS NULL
        OR pg_advisory_xact_lock_shared(hashtextextended(E'\x01' || new.event_type, seed)) IS NULL
    THEN
        NULL;
    END IF;
    FOREACH name IN ARRAY names LOOP
        IF (CASE name WHEN first_tag THEN pg_advisory_xact_lock(hashtextextended(name, seed))
                      ELSE pg_advisory_xact_lock_shared(hashtextextended(name, seed)) END) IS NULL
        THEN
            NULL;
        END IF;
    END LOOP;
    -- The announcement, and what a later append of this transaction has to know.
    position := coalesce(pg_sequence_last_value('public.events_position_seq'), 0);
    IF pg_advisory_xact_lock_shared((1207959552 | ((seed & 4095) << 12) | (position >> 31))::int, (position & 2147483647)::int) IS NULL
        OR set_config('bedplate.last_event_name',
                      lpad(position::text, 19, '0') || coalesce(names[cardinality(names)], E'\x01' || new.event_type), true) IS NULL
    THEN
        NULL;
    END IF;
    PERFORM FROM public.tenants AS t
      WHERE t.id = tenant
        AND NOT EXISTS (SELECT FROM public.event_tags AS o
                         WHERE o.tenant_id = tenant AND o.tag = hashtextextended(first_tag COLLATE "C", 0)
                           AND o.position > coalesce(token[2]::bigint, 0));
    IF NOT FOUND THEN
        RETURN public.append_any_events(events, condition, stream);
    END IF;
    INSERT INTO public.events AS e (tenant_id, id, event_type, event_data, metadata, tags, correlation_id, causation_id)
    VALUES (tenant, coalesce(new.id, gen_random_uuid()), new.event_type, new.event_data, coalesce(new.metadata, '{}'),
            names, coalesce(new.correlation_id, nullif(current_setting('app.correlation_id', true), '')::uuid), new.causation_id)
    RETURNING e.position INTO position;
    INSERT INTO public.event_tags (tenant_id, tag, position)
    SELECT tenant, hashtextextended(unnest(names) COLLATE "C", 0), position;
    RETURN ARRAY[position];
END
$$;
COMMENT ON FUNCTION append_events(jsonb, jsonb, jsonb) IS
    'Appends 1 to 1000 events in one go, and answers their positions. An event is {"event_type", "event_data"} and perhaps "id", "metadata", "tags", "correlation_id", "causation_id". Nothing is appended (error BP001) if an event that was not seen matches an item of condition {"fail_if_events_match": [{"types": […], "tags": […]}], "after": event_token()}, or stream {"aggregate_type", "aggregate_id", "expected_version"} is at another version. A key that is not among these is refused. READ COMMITTED only; error 40001: run the transaction again.';
REVOKE EXECUTE ON FUNCTION append_events(jsonb, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append_events(jsonb, jsonb, jsonb) TO bedplate_app;
SELECT give_to_definer('append_events(jsonb, jsonb, jsonb)');
