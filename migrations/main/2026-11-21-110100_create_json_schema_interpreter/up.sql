-- The interpreter of forms: it runs a program that bedplate made of a JSON Schema, in which every reference is settled.
-- It checks versions that are seldom used, and says of all of them what is wrong with data.
--
-- A program is {"root": node, "shared": {name: node}, "deep": whether it goes as deep as the data}. A node is
-- {"go": name}, or what it demands: keywords of JSON Schema for any value, those for one type under "object", "array",
-- "string", "number"; "at": where it stands in the schema; "say" and "params": messages and parameters by keyword.
--
-- The functions of the schema json_schema are called by json_schema_violations(), which pins the search_path for them:
-- a SET of their own would cost more than their work, for they are called for every value of the data.
CREATE SCHEMA json_schema;
COMMENT ON SCHEMA json_schema IS 'The parts of json_schema_violations().';
GRANT USAGE ON SCHEMA json_schema TO bedplate_app, bedplate_system;

CREATE FUNCTION json_schema.violation(node jsonb, at text, keyword text, params jsonb DEFAULT NULL) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN jsonb_build_object('instancePath', at, 'schemaPath', (node ->> 'at') || CASE keyword WHEN 'false' THEN '' ELSE '/' || keyword END,
                              'keyword', keyword, 'message', node -> 'say' ->> keyword,
                              'params', coalesce(params, CASE keyword
                                  WHEN 'const' THEN jsonb_build_object('allowedValue', node -> 'const')
                                  WHEN 'enum' THEN jsonb_build_object('allowedValues', node -> 'enum')
                                  ELSE node -> 'params' -> keyword END, '{}'));
COMMENT ON FUNCTION json_schema.violation(jsonb, text, text, jsonb) IS
    'That a value breaks a keyword, for the list of json_schema_violations(); params: those that depend on the data.';

CREATE FUNCTION json_schema.inside(at text, name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN at || '/' || replace(replace(name, '~', '~0'), '/', '~1');
COMMENT ON FUNCTION json_schema.inside(text, text) IS 'A JSON Pointer, one name longer (RFC 6901).';

CREATE FUNCTION json_schema.interpret(node jsonb, shared jsonb, data jsonb, at text) RETURNS jsonb[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    kind text := jsonb_typeof(data);
    rule jsonb;
    rules jsonb;
    child jsonb;
    item jsonb;
    name text;
    word text;
    size int;
    hits int;
    passing jsonb;
    first int;
    taken boolean[];
    names jsonb;
    other boolean;
    wrong jsonb[];
    fault jsonb;
    -- NULL: nothing is wrong. Grows by appending: to concatenate would copy it each time.
    found jsonb[];
BEGIN
    IF node ? 'go' THEN
        node := shared -> (node ->> 'go');
    END IF;
    IF node ? 'false' THEN
        RETURN ARRAY[json_schema.violation(node, at, 'false')];
    END IF;
    rule := node -> 'type';
    IF rule IS NOT NULL AND NOT rule ? kind
        AND (CASE WHEN kind = 'number' AND rule ? 'integer' THEN data::numeric % 1 <> 0 ELSE true END)
    THEN
        found := array_append(found, json_schema.violation(node, at, 'type'));
    END IF;
    rule := node -> 'const';
    IF rule <> data THEN
        found := array_append(found, json_schema.violation(node, at, 'const'));
    END IF;
    rule := node -> 'enum';
    IF rule IS NOT NULL THEN
        -- A scalar is contained in an array where it is one of its items; an object where it is a part of one.
        IF kind IN ('object', 'array') THEN
            other := NOT EXISTS (SELECT FROM jsonb_array_elements(rule) AS e WHERE e.value = data);
        ELSE
            other := NOT rule @> data;
        END IF;
        IF other THEN
            found := array_append(found, json_schema.violation(node, at, 'enum'));
        END IF;
    END IF;

    rules := node -> kind;
    IF rules IS NULL THEN
        NULL;
    ELSIF kind = 'string' THEN
        word := data #>> '{}';
        IF length(word) < (rules -> 'minLength')::bigint THEN
            found := array_append(found, json_schema.violation(node, at, 'minLength'));
        END IF;
        IF length(word) > (rules -> 'maxLength')::bigint THEN
            found := array_append(found, json_schema.violation(node, at, 'maxLength'));
        END IF;
        rule := rules -> 'pattern';
        IF rule IS NOT NULL AND NOT json_schema.matches(word, rule) THEN
            found := array_append(found, json_schema.violation(node, at, 'pattern'));
        END IF;
        rule := rules -> 'format';
        IF rule IS NOT NULL AND NOT json_schema.matches(word, rule) THEN
            found := array_append(found, json_schema.violation(node, at, 'format'));
        END IF;
    ELSIF kind = 'number' THEN
        IF data::numeric < (rules -> 'minimum')::numeric THEN
            found := array_append(found, json_schema.violation(node, at, 'minimum'));
        END IF;
        IF data::numeric > (rules -> 'maximum')::numeric THEN
            found := array_append(found, json_schema.violation(node, at, 'maximum'));
        END IF;
        IF data::numeric <= (rules -> 'exclusiveMinimum')::numeric THEN
            found := array_append(found, json_schema.violation(node, at, 'exclusiveMinimum'));
        END IF;
        IF data::numeric >= (rules -> 'exclusiveMaximum')::numeric THEN
            found := array_append(found, json_schema.violation(node, at, 'exclusiveMaximum'));
        END IF;
        IF data::numeric % (rules -> 'multipleOf')::numeric <> 0 THEN
            found := array_append(found, json_schema.violation(node, at, 'multipleOf'));
        END IF;
    ELSIF kind = 'object' THEN
        rule := rules -> 'required';
        IF rule IS NOT NULL THEN
            FOR i IN 0..jsonb_array_length(rule) - 1 LOOP
                IF NOT data ? (rule ->> i) THEN
                    found := array_append(found, json_schema.violation(node, at, 'required', jsonb_build_object('missingProperty', rule -> i))
                        || jsonb_build_object('message', 'is missing ' || (rule -> i)::text));
                END IF;
            END LOOP;
        END IF;
        rule := rules -> 'dependentRequired';
        IF rule IS NOT NULL THEN
            FOR name, item IN SELECT e.key, e.value FROM jsonb_each(rule) AS e LOOP
                IF data ? name THEN
                    FOR i IN 0..jsonb_array_length(item) - 1 LOOP
                        IF NOT data ? (item ->> i) THEN
                            found := array_append(found, json_schema.violation(node, at, 'dependentRequired',
                                    jsonb_build_object('property', name, 'missingProperty', item -> i,
                                        'depsCount', jsonb_array_length(item), 'deps',
                                        (SELECT string_agg(e.value, ', ' ORDER BY e.ordinality)
                                           FROM jsonb_array_elements_text(item) WITH ORDINALITY AS e)))
                                || jsonb_build_object('message', 'is missing ' || (item -> i)::text));
                        END IF;
                    END LOOP;
                END IF;
            END LOOP;
        END IF;
        IF rules ?| '{minProperties,maxProperties}' THEN
            size := count(*) FROM jsonb_object_keys(data);
            IF size < (rules -> 'minProperties')::bigint THEN
                found := array_append(found, json_schema.violation(node, at, 'minProperties'));
            END IF;
            IF size > (rules -> 'maxProperties')::bigint THEN
                found := array_append(found, json_schema.violation(node, at, 'maxProperties'));
            END IF;
        END IF;
        IF rules ?| '{properties,patternProperties,additionalProperties,propertyNames}' THEN
            FOR name, item IN SELECT e.key, e.value FROM jsonb_each(data) AS e LOOP
                word := json_schema.inside(at, name);
                child := rules -> 'propertyNames';
                IF child IS NOT NULL THEN
                    wrong := json_schema.interpret(child, shared, to_jsonb(name), word);
                    FOR i IN 1..coalesce(cardinality(wrong), 0) LOOP
                        found := array_append(found,
                            wrong[i] || jsonb_build_object('message', 'has a name that ' || (wrong[i] ->> 'message'),
                                'params', (wrong[i] -> 'params') || jsonb_build_object('propertyName', name)));
                    END LOOP;
                END IF;
                child := rules -> 'properties' -> name;
                other := child IS NULL;
                IF child IS NOT NULL THEN
                    wrong := json_schema.interpret(child, shared, item, word);
                    IF wrong IS NOT NULL THEN
                        FOREACH fault IN ARRAY wrong LOOP
                            found := array_append(found, fault);
                        END LOOP;
                    END IF;
                END IF;
                rule := rules -> 'patternProperties';
                IF rule IS NOT NULL THEN
                    FOR child IN SELECT e.value FROM jsonb_each(rule) AS e WHERE (name COLLATE "C") ~ e.key LOOP
                        other := false;
                        wrong := json_schema.interpret(child, shared, item, word);
                        IF wrong IS NOT NULL THEN
                            FOREACH fault IN ARRAY wrong LOOP
                                found := array_append(found, fault);
                            END LOOP;
                        END IF;
                    END LOOP;
                END IF;
                child := rules -> 'additionalProperties';
                IF other AND child IS NOT NULL THEN
                    IF child = 'false' THEN
                        found := array_append(found, json_schema.violation(node, word, 'additionalProperties',
                            jsonb_build_object('additionalProperty', name)));
                    ELSE
                        wrong := json_schema.interpret(child, shared, item, word);
                        IF wrong IS NOT NULL THEN
                            FOREACH fault IN ARRAY wrong LOOP
                                found := array_append(found, fault);
                            END LOOP;
                        END IF;
                    END IF;
                END IF;
            END LOOP;
        END IF;
        rule := rules -> 'dependentSchemas';
        IF rule IS NOT NULL THEN
            FOR child IN SELECT e.value FROM jsonb_each(rule) AS e WHERE data ? e.key LOOP
                wrong := json_schema.interpret(child, shared, data, at);
                IF wrong IS NOT NULL THEN
                    FOREACH fault IN ARRAY wrong LOOP
                        found := array_append(found, fault);
                    END LOOP;
                END IF;
            END LOOP;
        END IF;
    ELSIF kind = 'array' THEN
        size := jsonb_array_length(data);
        IF size < (rules -> 'minItems')::bigint THEN
            found := array_append(found, json_schema.violation(node, at, 'minItems'));
        END IF;
        IF size > (rules -> 'maxItems')::bigint THEN
            found := array_append(found, json_schema.violation(node, at, 'maxItems'));
        END IF;
        IF rules ? 'uniqueItems' AND size > 1
            AND (SELECT count(*) <> count(DISTINCT e.value) FROM jsonb_array_elements(data) AS e)
        THEN
            -- The last item that is equal to one before it, and the nearest of those: the indexes that AJV tells.
            found := array_append(found, json_schema.violation(node, at, 'uniqueItems', (
                SELECT jsonb_build_object('i', e.i, 'j', e.j)
                  FROM (SELECT n - 1 AS i, lag(n) OVER (PARTITION BY value ORDER BY n) - 1 AS j
                          FROM jsonb_array_elements(data) WITH ORDINALITY AS item (value, n)) AS e
                 WHERE e.j IS NOT NULL ORDER BY e.i DESC LIMIT 1)));
        END IF;
        first := 0;
        rule := rules -> 'prefixItems';
        IF rule IS NOT NULL THEN
            first := jsonb_array_length(rule);
            FOR i IN 0..least(size, first) - 1 LOOP
                wrong := json_schema.interpret(rule -> i, shared, data -> i, at || '/' || i);
                IF wrong IS NOT NULL THEN
                    FOREACH fault IN ARRAY wrong LOOP
                        found := array_append(found, fault);
                    END LOOP;
                END IF;
            END LOOP;
        END IF;
        rule := rules -> 'items';
        IF rule IS NOT NULL THEN
            FOR i IN first..size - 1 LOOP
                wrong := json_schema.interpret(rule, shared, data -> i, at || '/' || i);
                IF wrong IS NOT NULL THEN
                    FOREACH fault IN ARRAY wrong LOOP
                        found := array_append(found, fault);
                    END LOOP;
                END IF;
            END LOOP;
        END IF;
        rule := rules -> 'contains';
        IF rule IS NOT NULL THEN
            hits := 0;
            FOR i IN 0..size - 1 LOOP
                IF json_schema.interpret(rule, shared, data -> i, '') IS NULL THEN
                    hits := hits + 1;
                END IF;
            END LOOP;
            IF hits < coalesce((rules -> 'minContains')::bigint, 1)
                OR hits > coalesce((rules -> 'maxContains')::bigint, hits)
            THEN
                found := array_append(found, json_schema.violation(node, at, 'contains'));
            END IF;
        END IF;
    END IF;

    rule := node -> 'allOf';
    IF rule IS NOT NULL THEN
        FOR i IN 0..jsonb_array_length(rule) - 1 LOOP
            wrong := json_schema.interpret(rule -> i, shared, data, at);
            IF wrong IS NOT NULL THEN
                FOREACH fault IN ARRAY wrong LOOP
                    found := array_append(found, fault);
                END LOOP;
            END IF;
        END LOOP;
    END IF;
    rule := node -> 'anyOf';
    IF rule IS NOT NULL THEN
        hits := 0;
        FOR i IN 0..jsonb_array_length(rule) - 1 LOOP
            IF json_schema.interpret(rule -> i, shared, data, '') IS NULL THEN
                hits := 1;
                EXIT;
            END IF;
        END LOOP;
        IF hits = 0 THEN
            found := array_append(found, json_schema.violation(node, at, 'anyOf'));
        END IF;
    END IF;
    rule := node -> 'oneOf';
    IF rule IS NOT NULL THEN
        passing := '[]';
        FOR i IN 0..jsonb_array_length(rule) - 1 LOOP
            IF json_schema.interpret(rule -> i, shared, data, '') IS NULL THEN
                passing := passing || to_jsonb(i);
                EXIT WHEN jsonb_array_length(passing) = 2;
            END IF;
        END LOOP;
        IF jsonb_array_length(passing) <> 1 THEN
            found := array_append(found, json_schema.violation(node, at, 'oneOf',
                jsonb_build_object('passingSchemas', nullif(passing, '[]'))));
        END IF;
    END IF;
    rule := node -> 'not';
    IF rule IS NOT NULL THEN
        IF json_schema.interpret(rule, shared, data, '') IS NULL THEN
            found := array_append(found, json_schema.violation(node, at, 'not'));
        END IF;
    END IF;
    rule := node -> 'if';
    IF rule IS NOT NULL AND node ?| '{then,else}' THEN
        IF json_schema.interpret(rule, shared, data, '') IS NULL THEN
            child := node -> 'then';
        ELSE
            child := node -> 'else';
        END IF;
        IF child IS NOT NULL THEN
            wrong := json_schema.interpret(child, shared, data, at);
            IF wrong IS NOT NULL THEN
                FOREACH fault IN ARRAY wrong LOOP
                    found := array_append(found, fault);
                END LOOP;
            END IF;
        END IF;
    END IF;

    -- A schema that fails evaluates nothing: what it leaves over says nothing more.
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    child := rules -> 'unevaluatedProperties';
    IF child IS NOT NULL THEN
        names := json_schema.evaluated_names(rules -> 'evaluated', shared, data);
        FOR name, item IN SELECT e.key, e.value FROM jsonb_each(data) AS e WHERE NOT names ? e.key LOOP
            IF json_schema.interpret(child, shared, item, '') IS NOT NULL THEN
                found := array_append(found,
                    json_schema.violation(node, json_schema.inside(at, name), 'unevaluatedProperties',
                        jsonb_build_object('unevaluatedProperty', name)));
            END IF;
        END LOOP;
    END IF;
    child := rules -> 'unevaluatedItems';
    IF child IS NOT NULL THEN
        taken := json_schema.evaluated_items(rules -> 'evaluated', shared, data, array_fill(false, ARRAY[size]));
        FOR i IN 0..size - 1 LOOP
            IF NOT taken[i + 1] AND json_schema.interpret(child, shared, data -> i, '') IS NOT NULL THEN
                RETURN ARRAY[json_schema.violation(node, at, 'unevaluatedItems')];
            END IF;
        END LOOP;
    END IF;
    RETURN found;
END
$$;
COMMENT ON FUNCTION json_schema.interpret(jsonb, jsonb, jsonb, text) IS
    'What is wrong with data, by one node of a program; NULL: nothing.';

CREATE FUNCTION json_schema.matches(word text, parts jsonb) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    part jsonb;
BEGIN
    FOR i IN 0..jsonb_array_length(parts) - 1 LOOP
        part := parts -> i;
        -- [negated, expression], or [negated, expression, min, max] with the lengths that the text may have.
        IF ((word COLLATE "C") ~ (part ->> 1)
            AND CASE WHEN part -> 2 IS NULL THEN true
                     ELSE length(word) BETWEEN (part -> 2)::bigint AND (part -> 3)::bigint END)
           = (part -> 0)::boolean
        THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION json_schema.matches(text, jsonb) IS 'Whether a text matches all parts of a pattern.';

CREATE FUNCTION json_schema.evaluated_names(evaluated jsonb, shared jsonb, data jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    branch jsonb;
    names jsonb;
BEGIN
    IF evaluated -> 'all' = 'true' THEN
        RETURN data;
    END IF;
    names := (SELECT coalesce(jsonb_object_agg(e.value, NULL), '{}') FROM jsonb_array_elements_text(evaluated -> 'names') AS e);
    IF evaluated -> 'patterns' <> '[]' THEN
        names := names || (SELECT coalesce(jsonb_object_agg(k.name, NULL), '{}') FROM jsonb_object_keys(data) AS k (name)
                            WHERE EXISTS (SELECT FROM jsonb_array_elements_text(evaluated -> 'patterns') AS p
                                           WHERE (k.name COLLATE "C") ~ p.value));
    END IF;
    FOR branch IN SELECT e.value FROM jsonb_array_elements(evaluated -> 'branches') AS e LOOP
        names := names || json_schema.evaluated_names(
            branch -> CASE WHEN json_schema.applies(branch, shared, data) THEN 'then' ELSE 'else' END, shared, data);
    END LOOP;
    RETURN names;
END
$$;
COMMENT ON FUNCTION json_schema.evaluated_names(jsonb, jsonb, jsonb) IS
    'An object with the names of the properties that some schema at the same place evaluates.';

CREATE FUNCTION json_schema.evaluated_items(evaluated jsonb, shared jsonb, data jsonb, taken boolean[]) RETURNS boolean[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    branch jsonb;
    node jsonb;
    size int := jsonb_array_length(data);
BEGIN
    FOR i IN 1..CASE WHEN evaluated -> 'all' = 'true' THEN size ELSE least(size, (evaluated -> 'prefix')::int) END LOOP
        taken[i] := true;
    END LOOP;
    FOR node IN SELECT e.value FROM jsonb_array_elements(evaluated -> 'contains') AS e LOOP
        FOR i IN 1..size LOOP
            IF NOT taken[i] AND json_schema.interpret(node, shared, data -> (i - 1), '') IS NULL THEN
                taken[i] := true;
            END IF;
        END LOOP;
    END LOOP;
    FOR branch IN SELECT e.value FROM jsonb_array_elements(evaluated -> 'branches') AS e LOOP
        taken := json_schema.evaluated_items(
            branch -> CASE WHEN json_schema.applies(branch, shared, data) THEN 'then' ELSE 'else' END, shared, data, taken);
    END LOOP;
    RETURN taken;
END
$$;
COMMENT ON FUNCTION json_schema.evaluated_items(jsonb, jsonb, jsonb, boolean[]) IS
    'For each item, whether it is taken, or some schema at the same place evaluates it.';

CREATE FUNCTION json_schema.applies(branch jsonb, shared jsonb, data jsonb) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
BEGIN
    IF branch ? 'has' THEN
        RETURN CASE jsonb_typeof(data) WHEN 'object' THEN data ? (branch ->> 'has') ELSE false END;
    END IF;
    RETURN json_schema.interpret(branch -> 'valid', shared, data, '') IS NULL;
END
$$;
COMMENT ON FUNCTION json_schema.applies(jsonb, jsonb, jsonb) IS 'Whether the condition of a branch holds.';

CREATE FUNCTION json_schema.inexact(data jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    AS $$
BEGIN
    IF public.json_is_readable(data) THEN
        RETURN NULL;
    END IF;
    IF jsonb_path_exists(data, 'strict $.**{127} ? (@.type() == "object" || @.type() == "array")') THEN
        RETURN jsonb_build_array(jsonb_build_object('instancePath', ''::text, 'schemaPath', ''::text,
            'keyword', 'maxDepth'::text, 'message', 'is nested deeper than 127 levels'::text, 'params', '{"limit": 127}'::jsonb));
    END IF;
    RETURN (
        WITH RECURSIVE inside AS (
            SELECT data AS value, ''::text AS at
            UNION ALL
            SELECT e.value, json_schema.inside(inside.at, e.key)
              FROM inside CROSS JOIN LATERAL (
                   SELECT o.key, o.value
                     FROM jsonb_each(CASE jsonb_typeof(inside.value) WHEN 'object' THEN inside.value ELSE '{}' END) AS o
                   UNION ALL
                   SELECT (a.ordinality - 1)::text, a.value
                     FROM jsonb_array_elements(CASE jsonb_typeof(inside.value) WHEN 'array' THEN inside.value ELSE '[]' END)
                          WITH ORDINALITY AS a) AS e)
        SELECT jsonb_agg(jsonb_build_object('instancePath', found.at, 'schemaPath', ''::text, 'keyword', 'exact'::text,
                   'message', 'is a number that 64 bits do not hold exactly: write it as a text'::text, 'params', '{}'::jsonb)
                   ORDER BY found.at COLLATE "C")
          FROM (SELECT at FROM inside
                 WHERE CASE jsonb_typeof(value) WHEN 'number' THEN NOT public.json_numbers_are_exact(value) ELSE false END
                 ORDER BY at COLLATE "C" LIMIT 100) AS found);
END
$$;
COMMENT ON FUNCTION json_schema.inexact(jsonb) IS
    'What of data clients would change or not read, as violations; NULL: nothing.';

CREATE FUNCTION json_schema_violations(program jsonb, data jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    inexact jsonb;
    found jsonb[];
BEGIN
    IF program IS NULL OR data IS NULL THEN
        RAISE EXCEPTION 'neither the program nor the data may be NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    -- Stored values are unpacked once.
    program := program #> '{}';
    data := data #> '{}';
    -- A level takes at least 8 bytes.
    IF (program -> 'deep')::boolean AND pg_column_size(data) > 800 AND jsonb_path_exists(data, '$.**{101}') THEN
        RETURN jsonb_build_array(jsonb_build_object('instancePath', ''::text, 'schemaPath', ''::text,
            'keyword', 'maxDepth'::text, 'message', 'is nested deeper than 100 levels'::text, 'params', '{"limit": 100}'::jsonb));
    END IF;
    inexact := json_schema.inexact(data);
    IF inexact IS NOT NULL THEN
        RETURN inexact;
    END IF;
    found := json_schema.interpret(program -> 'root', program -> 'shared', data, '');
    IF found IS NULL THEN
        RETURN '[]';
    END IF;
    RETURN (
        SELECT jsonb_agg(v ORDER BY a, b, c, d, e, f, g)
          FROM (SELECT DISTINCT v, v ->> 'instancePath' COLLATE "C" AS a, v ->> 'schemaPath' COLLATE "C" AS b,
                                v ->> 'keyword' COLLATE "C" AS c, v ->> 'message' COLLATE "C" AS d,
                                coalesce(v -> 'params' ->> 'property', '') COLLATE "C" AS e,
                                coalesce(v -> 'params' ->> 'passingSchemas', '') COLLATE "C" AS f,
                                coalesce(v -> 'params' ->> 'limit', '') COLLATE "C" AS g
                  FROM unnest(found) AS v ORDER BY a, b, c, d, e, f, g LIMIT 100) AS arranged);
END
$$;
COMMENT ON FUNCTION json_schema_violations(jsonb, jsonb) IS
    'What is wrong with data, by a program that bedplate compiled from a JSON Schema: [{instancePath, schemaPath, keyword, message, params}], sorted, at most 100; []: it is valid.';
REVOKE EXECUTE ON FUNCTION json_schema_violations(jsonb, jsonb) FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA json_schema FROM PUBLIC;
GRANT EXECUTE ON FUNCTION json_schema_violations(jsonb, jsonb) TO bedplate_app, bedplate_system;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA json_schema TO bedplate_app, bedplate_system;
