//! Which table belongs to which domain: the groups of the page and of the picture, in the order in which they are
//! told.

/// A group of tables, and the colour that tells it from others.
#[derive(Debug)]
pub(super) struct Domain {
    pub(super) name: &'static str,
    /// Of a middle lightness, so that it is seen on white and on black.
    pub(super) colour: &'static str,
    tables: &'static [&'static str],
}

/// A new table gets its place here; the test `schema_docs::every_table_has_a_domain` reminds.
const DOMAINS: [Domain; 9] = [
    Domain { name: "tenancy", colour: "#3b82f6", tables: &["tenants", "users", "user_organizations", "organizations"] },
    Domain { name: "access", colour: "#8b5cf6", tables: &["user_roles", "user_entitlements", "api_keys", "sessions"] },
    Domain { name: "ideas", colour: "#d97706", tables: &["business_ideas", "evaluations", "agent_results"] },
    Domain { name: "forms", colour: "#059669", tables: &["form_definitions", "form_submissions"] },
    Domain { name: "events", colour: "#e11d48", tables: &["events", "event_tags", "event_subscriptions"] },
    Domain {
        name: "messages",
        colour: "#db2777",
        tables: &["outbox_events", "outbox_stopped_endpoints", "processed_events", "idempotency_keys"],
    },
    Domain { name: "trading", colour: "#0891b2", tables: &["rfqs", "rfq_quotes"] },
    Domain { name: "market data", colour: "#65a30d", tables: &["venues", "instruments", "price_ticks"] },
    Domain { name: "audit", colour: "#78879c", tables: &["audit_log"] },
];

const OTHER: Domain = Domain { name: "other", colour: "#9ca3af", tables: &[] };

/// The domain of a table, `other` for one that is not in the map.
#[must_use]
pub fn domain(table: &str) -> &'static str {
    place(table).0.name
}

/// The domain, and where the table stands among all: unknown ones come last.
pub(super) fn place(table: &str) -> (&'static Domain, (usize, usize)) {
    for (n, domain) in DOMAINS.iter().enumerate() {
        if let Some(m) = domain.tables.iter().position(|name| *name == table) {
            return (domain, (n, m));
        }
    }
    (&OTHER, (DOMAINS.len(), 0))
}
