-- The audit log of this database, as the database main has it. By month, so that what is old is dropped and not
-- deleted.
CREATE TABLE audit_log (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    -- now() is one time for a whole transaction, and clocks step back: the sequence orders the changes of a
    -- row, because it is drawn under the row's lock.
    sequence bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    user_id uuid,
    action varchar(100) NOT NULL,
    entity_type varchar(100) NOT NULL,
    entity_id varchar(255) NOT NULL,
    old_value jsonb,
    new_value jsonb,
    details jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT audit_log_details_json CHECK (json_is_readable(details)),
    correlation_id uuid,
    ip_address inet,
    user_agent text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- No CHECK: PostgreSQL reads each anew for every statement, which auditing would pay for with every row.
    -- Only audit() and record_audit() write, and they see to it.
    CONSTRAINT audit_log_pkey PRIMARY KEY (tenant_id, created_at, sequence)
) PARTITION BY RANGE (created_at);
CREATE INDEX audit_log_entity_id_idx ON audit_log (tenant_id, entity_type, entity_id, created_at, sequence);
COMMENT ON INDEX audit_log_entity_id_idx IS 'What happened to a row.';
CREATE INDEX audit_log_user_id_idx ON audit_log (tenant_id, user_id, created_at, sequence) WHERE user_id IS NOT NULL;
COMMENT ON INDEX audit_log_user_id_idx IS 'What a user did.';
CREATE INDEX audit_log_correlation_id_idx ON audit_log (tenant_id, correlation_id, created_at, sequence)
    WHERE correlation_id IS NOT NULL;
COMMENT ON INDEX audit_log_correlation_id_idx IS 'What a request did.';
COMMENT ON INDEX audit_log_pkey IS 'Entries by time; the sequence tells those of one moment apart.';

COMMENT ON TABLE audit_log IS 'Who did what and when. Append-only: no role can change or remove an entry; retention drops whole months.';
COMMENT ON COLUMN audit_log.tenant_id IS 'The tenant whose row it was; it may be gone.';
COMMENT ON COLUMN audit_log.id IS 'The entry''s id.';
COMMENT ON COLUMN audit_log.sequence IS 'Orders the changes of one row.';
COMMENT ON COLUMN audit_log.user_id IS 'Who did it (setting app.user_id); NULL: the system.';
COMMENT ON COLUMN audit_log.action IS 'insert, update or delete; baseline: the row was there when the log began; else a word of the application.';
COMMENT ON COLUMN audit_log.entity_type IS 'The table.';
COMMENT ON COLUMN audit_log.entity_id IS 'The row''s key beside the tenant; of two columns user_id:organization_id.';
COMMENT ON COLUMN audit_log.old_value IS 'What the changed columns held before; of a deleted row all. Secrets are redacted.';
COMMENT ON COLUMN audit_log.new_value IS 'What the changed columns hold; of a new row all. Secrets are redacted.';
COMMENT ON COLUMN audit_log.details IS 'What an action of the application wants to tell, an object.';
COMMENT ON COLUMN audit_log.correlation_id IS 'The request it was part of (setting app.correlation_id).';
COMMENT ON COLUMN audit_log.ip_address IS 'Where the request came from (setting app.ip_address).';
COMMENT ON COLUMN audit_log.user_agent IS 'With what (setting app.user_agent).';
COMMENT ON COLUMN audit_log.created_at IS 'When, by the clock; inside a transaction it goes on.';

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON audit_log TO bedplate_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
COMMENT ON POLICY tenant ON audit_log IS 'A tenant sees its own rows.';
CREATE POLICY system ON audit_log TO bedplate_system
    USING (current_user = 'bedplate_system') WITH CHECK (current_user = 'bedplate_system');
COMMENT ON POLICY system ON audit_log IS 'Work across tenants, after SET ROLE.';
CREATE POLICY definer_insert ON audit_log FOR INSERT TO bedplate_definer WITH CHECK (true);
COMMENT ON POLICY definer_insert ON audit_log IS 'For audit() and record_audit(): nobody else writes.';
GRANT SELECT ON audit_log TO bedplate_app, bedplate_system;
GRANT INSERT ON audit_log TO bedplate_definer;
-- An owner may do everything by default. It can grant itself these again, by DDL; the trigger still refuses.
REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM CURRENT_USER;

CREATE FUNCTION refuse_change_of_audit_log() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION 'permission denied: audit_log is append-only, % is refused', TG_OP
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Entries leave with their month: see drop_audit_partitions().';
END
$$;
COMMENT ON FUNCTION refuse_change_of_audit_log() IS 'Trigger: the audit log is append-only, for every role.';
REVOKE EXECUTE ON FUNCTION refuse_change_of_audit_log() FROM PUBLIC;

-- Statement triggers are not handed to partitions, so each table gets its own. ALWAYS: a session in
-- replication's mode, which skips other triggers, is refused too.
CREATE FUNCTION make_append_only(target regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s
        FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change_of_audit_log()', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', target);
END
$$;
COMMENT ON FUNCTION make_append_only(regclass) IS 'For migrations: refuses UPDATE, DELETE and TRUNCATE of a table of the audit log.';
REVOKE EXECUTE ON FUNCTION make_append_only(regclass) FROM PUBLIC;
SELECT make_append_only('audit_log');

-- A partition is a table of its own: it inherits neither row-level security nor grants nor statement triggers.
CREATE FUNCTION close_audit_partition(target regclass, comment text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON %s FROM CURRENT_USER', target);
    EXECUTE format('COMMENT ON TABLE %s IS %L', target, comment);
    PERFORM public.make_append_only(target);
END
$$;
COMMENT ON FUNCTION close_audit_partition(regclass, text) IS
    'For create_audit_partition(): a partition is read and written through audit_log alone.';
REVOKE EXECUTE ON FUNCTION close_audit_partition(regclass, text) FROM PUBLIC;

-- The default partition catches what no month is ready for, so that no insert ever fails; but a month that it
-- holds rows of cannot be created. Then it is replaced: detached, its rows copied into the month that they
-- belong to and into a new default one. Writers wait meanwhile; `bedplate maintain` keeps months ahead, so
-- that it never comes to that.
CREATE FUNCTION create_audit_partition(month date) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
    AS $$
DECLARE
    since timestamptz := date_trunc('month', month::timestamptz);
    until timestamptz := since + interval '1 month';
    name text := 'audit_log_' || to_char(since, 'YYYY_MM');
    caller text := current_setting('role');
    caught bigint;
    copied bigint;
BEGIN
    -- One at a time: a second caller finds the first one's work.
    PERFORM pg_advisory_xact_lock(hashtextextended('bedplate.create_audit_partition', 0));
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- By a role that sees them: to the owner, under FORCE, there are none.
    PERFORM set_config('role', 'bedplate_system', true);
    SELECT count(*) INTO caught FROM public.audit_log WHERE created_at >= since AND created_at < until;
    PERFORM set_config('role', caller, true);

    EXECUTE format('CREATE TABLE public.%I (LIKE public.audit_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    IF caught > 0 THEN
        -- Waits for the writers at work; from here to the end no other one starts.
        ALTER TABLE public.audit_log DETACH PARTITION public.audit_log_default;
        ALTER TABLE public.audit_log_default RENAME TO audit_log_caught;
        ALTER TABLE public.audit_log_caught NO FORCE ROW LEVEL SECURITY;
        CREATE TABLE public.audit_log_default (LIKE public.audit_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
        -- By now there may be more of them.
        SELECT count(*) INTO caught FROM public.audit_log_caught;
        EXECUTE format('INSERT INTO public.%I SELECT * FROM public.audit_log_caught
                         WHERE created_at >= $1 AND created_at < $2', name) USING since, until;
        INSERT INTO public.audit_log_default SELECT * FROM public.audit_log_caught
         WHERE NOT (created_at >= since AND created_at < until);
        EXECUTE format('SELECT count(*) + (SELECT count(*) FROM public.audit_log_default) FROM public.%I', name)
           INTO copied;
        IF copied <> caught THEN
            RAISE EXCEPTION 'audit_log: % of % rows were copied; nothing is changed', copied, caught;
        END IF;
        DROP TABLE public.audit_log_caught;
        PERFORM public.close_audit_partition('public.audit_log_default', 'Audit log of months that have no partition.');
        ALTER TABLE public.audit_log ATTACH PARTITION public.audit_log_default DEFAULT;
    END IF;
    PERFORM public.close_audit_partition(format('public.%I', name)::regclass,
        format('Audit log of %s.', to_char(since, 'YYYY-MM')));
    EXECUTE format('ALTER TABLE public.audit_log ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', name, since, until);
    RETURN true;
END
$$;
COMMENT ON FUNCTION create_audit_partition(date) IS
    'Makes the partition of a month, also when the default partition holds rows of it; false: it was there. For the owner.';
REVOKE EXECUTE ON FUNCTION create_audit_partition(date) FROM PUBLIC;

CREATE FUNCTION drop_audit_partitions(before date) RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid
         WHERE inhparent = 'public.audit_log'::regclass AND relname ~ '^audit_log_\d{4}_\d{2}$'
           -- Wholly before: the month of the day itself stays.
           AND to_date(substr(relname, 11), 'YYYY_MM') + interval '1 month' <= before
         ORDER BY relname
    LOOP
        EXECUTE format('DROP TABLE public.%I', name);
        RETURN NEXT name;
    END LOOP;
END
$$;
COMMENT ON FUNCTION drop_audit_partitions(date) IS
    'Retention: drops the months that are over before a day, and names them. For the owner.';
REVOKE EXECUTE ON FUNCTION drop_audit_partitions(date) FROM PUBLIC;

CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;
SELECT close_audit_partition('audit_log_default', 'Audit log of months that have no partition.');
SELECT create_audit_partition((date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month')::date)
  FROM generate_series(0, 3) AS n;

-- Which columns are secrets is told by their names, so that a new column is redacted without anybody thinking
-- of it. What JSON columns hold inside is not looked at. Its body is bound when it is made (RETURN), so it
-- needs no search_path, which would keep it from being inlined.
CREATE FUNCTION names_secret(words text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN words ~ '(^|[^a-z])(password|passphrase|secret|token|hash|credential|private_key)s?([^a-z]|$)';
COMMENT ON FUNCTION names_secret(text) IS
    'Whether a name is that of a secret (password_hash, access_token), or a text has such a name in it.';
REVOKE EXECUTE ON FUNCTION names_secret(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION names_secret(text) TO bedplate_app, bedplate_system, bedplate_definer;

CREATE FUNCTION redact(fields jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (SELECT fields || coalesce(jsonb_object_agg(name, '[redacted]'::text), '{}')
              FROM jsonb_object_keys(fields) AS name
             WHERE public.names_secret(name) AND jsonb_typeof(fields -> name) <> 'null');
END
$$;
COMMENT ON FUNCTION redact(jsonb) IS 'A row as JSON, with [redacted] for each secret that is not NULL.';
REVOKE EXECUTE ON FUNCTION redact(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION redact(jsonb) TO bedplate_app, bedplate_system, bedplate_definer;

-- Which columns a table had, as its writers saw it. Only a superuser could be told of every ALTER TABLE (event
-- triggers); so each write compares, and what was altered between two of these rows was altered at an unknown time.
CREATE TABLE __bedplate_audit_columns (
    entity_type varchar(100) NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    columns jsonb NOT NULL,
    checksum bigint
);
CREATE INDEX __bedplate_audit_columns_seen_at_idx ON __bedplate_audit_columns (entity_type, seen_at);
COMMENT ON INDEX __bedplate_audit_columns_seen_at_idx IS 'The columns of a table at a time.';
COMMENT ON TABLE __bedplate_audit_columns IS 'The columns of audited tables: a row for each change that was seen, and one for the begin.';
COMMENT ON COLUMN __bedplate_audit_columns.entity_type IS 'The table.';
COMMENT ON COLUMN __bedplate_audit_columns.seen_at IS 'The first write that saw these columns.';
COMMENT ON COLUMN __bedplate_audit_columns.columns IS 'By attnum, which no rename changes and no other column gets: name, type, modifier; [] for a dropped one.';
COMMENT ON COLUMN __bedplate_audit_columns.checksum IS 'What each write compares, because it is quicker; NULL: not written by audit().';
GRANT SELECT ON __bedplate_audit_columns TO bedplate_app, bedplate_system;
GRANT SELECT, INSERT ON __bedplate_audit_columns TO bedplate_definer;

CREATE FUNCTION audit_columns(audited regclass) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- A partition may count its columns otherwise than its table does. A dropped column stays, as [].
    RETURN (SELECT jsonb_object_agg(attnum, CASE WHEN attisdropped THEN '[]'
                                                 ELSE jsonb_build_array(attname, atttypid::bigint, atttypmod) END)
              FROM pg_attribute
             WHERE attrelid = coalesce(pg_partition_root(audited), audited) AND attnum > 0);
END
$$;
COMMENT ON FUNCTION audit_columns(regclass) IS 'The columns of a table, as __bedplate_audit_columns has them.';
REVOKE EXECUTE ON FUNCTION audit_columns(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_columns(regclass) TO bedplate_app, bedplate_system, bedplate_definer;

CREATE FUNCTION audit_fields_as(fields jsonb, written jsonb, wanted jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN (SELECT coalesce(jsonb_object_agg(w.value ->> 0, fields -> (f.value ->> 0)), '{}')
              FROM jsonb_each(wanted) AS w JOIN jsonb_each(written) AS f USING (key)
             WHERE w.value - 0 = f.value - 0 AND fields ? (f.value ->> 0));
END
$$;
COMMENT ON FUNCTION audit_fields_as(jsonb, jsonb, jsonb) IS
    'Fields of a row with these columns, under the names of the wanted columns; a column of another type is left out.';
REVOKE EXECUTE ON FUNCTION audit_fields_as(jsonb, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_fields_as(jsonb, jsonb, jsonb) TO bedplate_app;

-- SECURITY DEFINER, so that nobody but this trigger writes the log. A trigger cannot be called, so the tenant
-- comes from the row, which the policies have checked. Its arguments are the table's name (a shard has
-- another) and its key beside the tenant. The settings make equal values equal texts: JSON says 1.0 = 1,
-- and a client may have any time zone.
--
-- It runs for every row that is written, so what it costs was measured (benches/audit.rs): taking away what
-- is the same is quicker than gathering what differs, and gen_random_uuid() asks the operating system, which
-- would be a tenth of it all.
CREATE FUNCTION audit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET extra_float_digits = 1
    AS $$
DECLARE
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    old_tenant uuid := coalesce(old_row ->> 'tenant_id', old_row ->> 'id');
    new_tenant uuid := coalesce(new_row ->> 'tenant_id', new_row ->> 'id');
    old_key text := concat_ws(':', old_row ->> TG_ARGV[1], old_row ->> TG_ARGV[2]);
    new_key text := concat_ws(':', new_row ->> TG_ARGV[1], new_row ->> TG_ARGV[2]);
    seen bigint := (SELECT bit_xor(hashtextextended(attname::text, (attnum::bigint << 32) + atttypid::bigint + (atttypmod::bigint << 40)))
                      FROM pg_attribute
                     WHERE attrelid = coalesce(pg_partition_root(TG_RELID), TG_RELID) AND attnum > 0);
    same text[];
BEGIN
    IF seen IS DISTINCT FROM (SELECT c.checksum FROM public.__bedplate_audit_columns AS c
                               WHERE c.entity_type = TG_ARGV[0] ORDER BY c.seen_at DESC LIMIT 1) THEN
        -- Before the entry, so that its time tells which columns it was written under. Two writers may both add it.
        INSERT INTO public.__bedplate_audit_columns (entity_type, columns, checksum)
        VALUES (TG_ARGV[0], public.audit_columns(TG_RELID), seen);
    END IF;
    IF old_tenant = new_tenant AND old_key = new_key THEN
        same := ARRAY(SELECT name FROM jsonb_object_keys(new_row) AS name
                       WHERE (new_row -> name)::text = (old_row -> name)::text);
        new_row := new_row - same;
        old_row := old_row - same;
        IF new_row = '{}' THEN
            RETURN NULL;
        END IF;
        -- Also where a value has such a word in it: then nothing is found.
        IF public.names_secret(new_row::text) THEN
            new_row := public.redact(new_row);
            old_row := public.redact(old_row);
        END IF;
        INSERT INTO public.audit_log (tenant_id, id, user_id, action, entity_type, entity_id, old_value, new_value,
                                      correlation_id, ip_address, user_agent)
        VALUES (new_tenant, md5(clock_timestamp()::text || random()::text)::uuid,
                nullif(current_setting('app.user_id', true), '')::uuid, 'update', TG_ARGV[0], new_key, old_row, new_row,
                nullif(current_setting('app.correlation_id', true), '')::uuid,
                nullif(current_setting('app.ip_address', true), '')::inet,
                nullif(left(current_setting('app.user_agent', true), 512), ''));
        RETURN NULL;
    END IF;
    -- A row that gets another key is another row: the old one ends, the new one begins.
    INSERT INTO public.audit_log (tenant_id, user_id, action, entity_type, entity_id, old_value, new_value,
                                  correlation_id, ip_address, user_agent)
    SELECT tenant, nullif(current_setting('app.user_id', true), '')::uuid, action, TG_ARGV[0], key,
           public.redact(old_value), public.redact(new_value),
           nullif(current_setting('app.correlation_id', true), '')::uuid,
           nullif(current_setting('app.ip_address', true), '')::inet,
           nullif(left(current_setting('app.user_agent', true), 512), '')
      FROM (VALUES (1, 'delete', old_tenant, old_key, old_row, NULL), (2, 'insert', new_tenant, new_key, NULL, new_row))
           AS entries (n, action, tenant, key, old_value, new_value)
     WHERE tenant IS NOT NULL ORDER BY n;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION audit() IS
    'Trigger: records the change of a row in audit_log. Its arguments are the table''s name and its key beside the tenant.';
REVOKE EXECUTE ON FUNCTION audit() FROM PUBLIC;
SELECT give_to_definer('audit()');

-- What no row shows: a sign-in, an export, a look at something confidential.
CREATE FUNCTION record_audit(action text, entity_type text, entity_id text, details jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenant uuid := public.require_tenant();
BEGIN
    IF action IN ('insert', 'update', 'delete', 'baseline') THEN
        RAISE EXCEPTION '% is recorded by the trigger alone', action
            USING ERRCODE = 'check_violation', TABLE = 'audit_log', COLUMN = 'action',
                  CONSTRAINT = 'audit_log_action_reserved';
    END IF;
    IF action !~ '^[a-z][a-z0-9_.]*$' OR action IS NULL THEN
        RAISE EXCEPTION '% is no word in lower case', action
            USING ERRCODE = 'check_violation', TABLE = 'audit_log', COLUMN = 'action',
                  CONSTRAINT = 'audit_log_action_check';
    ELSIF jsonb_typeof(details) <> 'object' OR details IS NULL THEN
        RAISE EXCEPTION 'details are no JSON object'
            USING ERRCODE = 'check_violation', TABLE = 'audit_log', COLUMN = 'details',
                  CONSTRAINT = 'audit_log_details_check';
    END IF;
    INSERT INTO public.audit_log (tenant_id, user_id, action, entity_type, entity_id, details,
                                  correlation_id, ip_address, user_agent)
    VALUES (tenant, nullif(current_setting('app.user_id', true), '')::uuid, action, entity_type, entity_id, details,
            nullif(current_setting('app.correlation_id', true), '')::uuid,
            nullif(current_setting('app.ip_address', true), '')::inet,
            nullif(left(current_setting('app.user_agent', true), 512), ''));
END
$$;
COMMENT ON FUNCTION record_audit(text, text, text, jsonb) IS
    'Records an action of the application; who, where and when come from the transaction.';
REVOKE EXECUTE ON FUNCTION record_audit(text, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record_audit(text, text, text, jsonb) TO bedplate_app;
SELECT give_to_definer('record_audit(text, text, text, jsonb)');

-- Backwards from the row as it is: so it needs no older entry than the time asked for, and a row that never
-- changed needs none at all. The columns are those of that time: a column is the one that has the same attnum. What a
-- column held that is gone, or has another type, is told by the last entry before that time; else it is an error.
-- STABLE: the row and its history are of one snapshot.
CREATE FUNCTION audit_as_of(entity_type text, entity_id text, moment timestamptz) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET extra_float_digits = 1
    AS $$
#variable_conflict use_column
DECLARE
    tenant uuid := public.require_tenant();
    audited regclass;
    arguments text[];
    keys text;
    columns_now jsonb;
    columns_then jsonb;
    columns_seen_at timestamptz;
    -- A dump leaves dropped columns out, so a restored table counts anew: the last write before that.
    restored_after timestamptz;
    -- The first write after the moment that saw other columns.
    changed_at timestamptz;
    state jsonb;
    since bigint;
    first_action text;
    -- The last one at or before the moment.
    last_action text;
    missing text;
    entry record;
BEGIN
    SELECT tgrelid, string_to_array(encode(tgargs, 'escape'), '\000') INTO audited, arguments
      FROM pg_trigger
     WHERE tgname = 'audit' AND NOT tgisinternal
       AND (string_to_array(encode(tgargs, 'escape'), '\000'))[1] = audit_as_of.entity_type;
    IF audited IS NULL THEN
        RAISE EXCEPTION '% is not audited', audit_as_of.entity_type
            USING ERRCODE = 'check_violation', TABLE = 'audit_log', COLUMN = 'entity_type',
                  CONSTRAINT = 'audit_log_entity_type_audited';
    END IF;
    columns_now := public.audit_columns(audited);
    IF moment >= statement_timestamp() THEN
        columns_then := columns_now;
    ELSE
        SELECT c.columns, c.seen_at INTO columns_then, columns_seen_at FROM public.__bedplate_audit_columns AS c
         WHERE c.entity_type = audit_as_of.entity_type AND c.seen_at <= moment ORDER BY c.seen_at DESC LIMIT 1;
        SELECT min(c.seen_at) INTO changed_at FROM public.__bedplate_audit_columns AS c
         WHERE c.entity_type = audit_as_of.entity_type AND c.seen_at > moment AND c.columns IS DISTINCT FROM columns_then;
    END IF;
    SELECT max(c.seen_at) INTO restored_after FROM public.__bedplate_audit_columns AS c
     WHERE c.entity_type = audit_as_of.entity_type
       AND EXISTS (SELECT FROM jsonb_each(c.columns) AS d WHERE d.value = '[]' AND columns_now -> d.key IS DISTINCT FROM '[]');

    SELECT string_agg(format('%I = split_part($2, '':'', %s)::%s', attname, n, format_type(atttypid, NULL)), ' AND ')
      INTO keys
      FROM unnest(arguments[2:]) WITH ORDINALITY AS a (name, n) JOIN pg_attribute ON attrelid = audited AND attname = name;
    EXECUTE format('SELECT public.audit_fields_as(public.redact(to_jsonb(t)), $3, $4) FROM %s AS t WHERE %s = $1 AND %s',
                   audited, CASE WHEN arguments[1] = 'tenants' THEN 'id' ELSE 'tenant_id' END, keys)
       INTO state USING tenant, audit_as_of.entity_id, columns_now, columns_then;

    SELECT max(sequence) INTO since FROM public.audit_log AS l
     WHERE l.tenant_id = tenant AND l.entity_type = audit_as_of.entity_type AND l.entity_id = audit_as_of.entity_id
       AND l.created_at <= moment AND l.action IN ('insert', 'update', 'delete', 'baseline');
    FOR entry IN
        SELECT l.action, public.audit_fields_as(l.old_value, (
                   SELECT c.columns FROM public.__bedplate_audit_columns AS c
                    WHERE c.entity_type = l.entity_type AND c.seen_at <= l.created_at ORDER BY c.seen_at DESC LIMIT 1),
               columns_then) AS old_value
          FROM public.audit_log AS l
         WHERE l.tenant_id = tenant AND l.entity_type = audit_as_of.entity_type AND l.entity_id = audit_as_of.entity_id
           AND l.sequence > coalesce(since, 0) AND l.action IN ('insert', 'update', 'delete', 'baseline')
         ORDER BY l.sequence DESC
    LOOP
        first_action := entry.action;
        state := CASE entry.action
            WHEN 'update' THEN state || entry.old_value
            WHEN 'insert' THEN NULL
            WHEN 'delete' THEN entry.old_value
            ELSE state END;
    END LOOP;
    -- TRUNCATE and a disabled trigger leave no entry: then the row and its entries contradict each other.
    SELECT l.action INTO last_action FROM public.audit_log AS l
     WHERE l.tenant_id = tenant AND l.entity_type = audit_as_of.entity_type AND l.entity_id = audit_as_of.entity_id
       AND l.sequence = since;
    IF moment < statement_timestamp() AND (state IS NULL) <> (last_action = 'delete') THEN
        RAISE EXCEPTION 'rows of % were written past the audit log: it cannot tell what the row was at %',
                audit_as_of.entity_type, moment
            USING ERRCODE = 'check_violation', TABLE = 'audit_log', COLUMN = 'created_at',
                  CONSTRAINT = 'audit_log_complete';
    END IF;
    IF state IS NULL THEN
        RETURN NULL;
    END IF;
    -- Nothing at or before the moment, and the oldest entry is not the row's beginning.
    IF since IS NULL AND (first_action = 'baseline' OR moment < (
        SELECT min(to_date(substr(relname, 11), 'YYYY_MM'))::timestamptz FROM pg_inherits JOIN pg_class ON oid = inhrelid
         WHERE inhparent = 'public.audit_log'::regclass AND relname ~ '^audit_log_\d{4}_\d{2}$'))
    THEN
        RAISE EXCEPTION 'the audit log does not reach back to %', moment
            USING ERRCODE = 'check_violation', TABLE = 'audit_log', COLUMN = 'created_at',
                  CONSTRAINT = 'audit_log_created_at_reach';
    END IF;
    -- The columns are known where they are the same before and after the moment: by what was seen, by any entry of the
    -- table until the change was seen, or by the table itself.
    IF columns_then IS NULL OR columns_seen_at <= restored_after
       OR (changed_at IS NOT NULL OR columns_now <> columns_then) AND moment < statement_timestamp() AND NOT EXISTS (
           SELECT FROM public.audit_log AS l
            WHERE l.tenant_id = tenant AND l.entity_type = audit_as_of.entity_type
              AND l.action IN ('insert', 'update', 'delete', 'baseline')
              AND l.created_at >= moment AND l.created_at < coalesce(changed_at, 'infinity'))
    THEN
        RAISE EXCEPTION 'the columns of % were changed, before or after %: the audit log cannot tell which the row had',
                audit_as_of.entity_type, moment
            USING ERRCODE = 'check_violation', TABLE = 'audit_log', COLUMN = 'created_at',
                  CONSTRAINT = 'audit_log_columns_known';
    END IF;
    FOR entry IN
        SELECT l.action, public.audit_fields_as(l.new_value, (
                   SELECT c.columns FROM public.__bedplate_audit_columns AS c
                    WHERE c.entity_type = l.entity_type AND c.seen_at <= l.created_at ORDER BY c.seen_at DESC LIMIT 1),
               columns_then) AS new_value
          FROM public.audit_log AS l
         WHERE l.tenant_id = tenant AND l.entity_type = audit_as_of.entity_type AND l.entity_id = audit_as_of.entity_id
           AND l.sequence <= since AND l.action IN ('insert', 'update', 'delete', 'baseline')
           AND l.created_at > coalesce(restored_after, '-infinity')
         ORDER BY l.sequence DESC
    LOOP
        SELECT string_agg(value ->> 0, ', ' ORDER BY value ->> 0) INTO missing
          FROM jsonb_each(columns_then) WHERE NOT state ? (value ->> 0);
        EXIT WHEN missing IS NULL OR entry.action = 'delete';
        state := entry.new_value || state;
        EXIT WHEN entry.action IN ('insert', 'baseline');
    END LOOP;
    SELECT string_agg(value ->> 0, ', ' ORDER BY value ->> 0) INTO missing
      FROM jsonb_each(columns_then) WHERE NOT state ? (value ->> 0);
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'columns of % were dropped or got another type since %: the audit log cannot tell what they held: %',
                audit_as_of.entity_type, moment, missing
            USING ERRCODE = 'check_violation', TABLE = 'audit_log', COLUMN = 'created_at',
                  CONSTRAINT = 'audit_log_columns_known';
    END IF;
    -- Once more: a name of that time may be that of a secret.
    RETURN public.redact(state);
END
$$;
COMMENT ON FUNCTION audit_as_of(text, text, timestamptz) IS
    'A row of this tenant as it was at a moment, with the columns of then, secrets redacted; NULL: it did not exist. An error where the log does not reach back, or cannot tell which columns there were.';
REVOKE EXECUTE ON FUNCTION audit_as_of(text, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_as_of(text, text, timestamptz) TO bedplate_app;
