//! What a restore can leave behind in the event store. Of the database that has one.

use super::{Check, Scope, seen};

/// Asked as `bedplate_system`: the owner sees no event.
pub(super) const OF_THE_SYSTEM: &[Check] = &[
    Check {
        name: "event-sequence",
        why: "the next append gets positions that events have already, and is refused; readers stop before the last event",
        scope: Scope::Tenants,
        seen: seen::EVENTS,
        sql: "SELECT 'events_position_seq' AS object,
                     format('SELECT setval(''events_position_seq'', %s);', max(position)) AS fix, 'events' AS about
                FROM events HAVING max(position) > coalesce(pg_sequence_last_value('events_position_seq'), 0)",
    },
    Check {
        name: "event-tags-hash",
        why: "queries and conditions by tag do not find events: hashes differ between architectures, so a restore has to make event_tags anew",
        scope: Scope::Tenants,
        seen: seen::EVENTS,
        // Of a sample: whatever spoils hashes spoils them all. A superuser has to be the definer for it.
        sql: "SELECT format('event_tags: %s of the last %s events', count(*) FILTER (WHERE wrong), count(*)) AS object,
                     'SET ROLE bedplate_definer; '
                     'INSERT INTO event_tags SELECT DISTINCT e.tenant_id, event_tag_hash(t.tag), e.position '
                         'FROM events AS e, unnest(e.tags) AS t (tag) ON CONFLICT DO NOTHING; '
                     'DELETE FROM event_tags AS o WHERE NOT EXISTS (SELECT FROM events AS e, unnest(e.tags) AS t (tag) '
                         'WHERE e.tenant_id = o.tenant_id AND e.position = o.position AND event_tag_hash(t.tag) = o.tag); '
                     'RESET ROLE;' AS fix, 'event_tags' AS about
                FROM (SELECT EXISTS (SELECT FROM unnest(e.tags) AS t (tag) WHERE NOT EXISTS (
                                     SELECT FROM event_tags AS o WHERE o.tenant_id = e.tenant_id
                                        AND o.tag = event_tag_hash(t.tag) AND o.position = e.position)) AS wrong
                        FROM (SELECT * FROM events ORDER BY position DESC LIMIT 1000) AS e) AS sample
              HAVING bool_or(wrong)",
    },
];
