DROP FUNCTION append_events(jsonb, jsonb, jsonb);
DROP FUNCTION check_event_stream(uuid, jsonb);
DROP FUNCTION check_event_condition(uuid, jsonb, text[]);
DROP FUNCTION rarest_event_tag(uuid, text[], bigint);
REVOKE SELECT (id) ON tenants FROM bedplate_definer;
DROP POLICY definer ON tenants;
DROP FUNCTION event_was_seen(xid8, bigint, text[]);
DROP FUNCTION event_token();
DROP FUNCTION event_head();
