// @generated automatically by Diesel CLI.

diesel::table! {
    /// Who did what and when. Append-only: no role can change or remove an entry; retention drops whole months.
    audit_log (tenant_id, created_at, sequence) {
        /// The tenant whose row it was; it may be gone.
        tenant_id -> Uuid,
        /// The entry's id.
        id -> Uuid,
        /// Orders the changes of one row.
        sequence -> Int8,
        /// Who did it (setting app.user_id); NULL: the system.
        user_id -> Nullable<Uuid>,
        /// insert, update or delete; baseline: the row was there when the log began; else a word of the application.
        #[max_length = 100]
        action -> Varchar,
        /// The table.
        #[max_length = 100]
        entity_type -> Varchar,
        /// The row's key beside the tenant; of two columns user_id:organization_id.
        #[max_length = 255]
        entity_id -> Varchar,
        /// What the changed columns held before; of a deleted row all. Secrets are redacted.
        old_value -> Nullable<Jsonb>,
        /// What the changed columns hold; of a new row all. Secrets are redacted.
        new_value -> Nullable<Jsonb>,
        /// What an action of the application wants to tell, an object.
        details -> Jsonb,
        /// The request it was part of (setting app.correlation_id).
        correlation_id -> Nullable<Uuid>,
        /// Where the request came from (setting app.ip_address).
        ip_address -> Nullable<Inet>,
        /// With what (setting app.user_agent).
        user_agent -> Nullable<Text>,
        /// When, by the clock; inside a transaction it goes on.
        created_at -> Timestamptz,
    }
}

diesel::table! {
    /// Messages to the outside, written in the transaction of what they tell and published by a relay, at least once.
    outbox_events (tenant_id, id) {
        /// The tenant that it is about; it may be gone.
        tenant_id -> Uuid,
        /// Unique inside the tenant.
        id -> Uuid,
        /// Orders the messages of one entity.
        sequence -> Int8,
        /// What happened: business_idea.submitted.
        #[max_length = 255]
        event_type -> Varchar,
        /// What receivers know it by, and know it again by; unique inside the tenant.
        event_id -> Uuid,
        /// The request it was part of (setting app.correlation_id).
        correlation_id -> Nullable<Uuid>,
        /// What it happened to, usually a table.
        #[max_length = 100]
        entity_type -> Varchar,
        /// To which; messages of one entity go out in their order.
        #[max_length = 255]
        entity_id -> Varchar,
        /// What is sent.
        payload -> Jsonb,
        /// When the row was made.
        created_at -> Timestamptz,
        /// Not claimed before: a delivery put off, or the next attempt. Later messages of the entity wait for it.
        available_at -> Timestamptz,
        /// The relay worker that claimed it last.
        #[max_length = 255]
        claimed_by -> Nullable<Varchar>,
        /// The claim that holds it, a new one each time: a late worker's marks name another and have no effect.
        claim_id -> Nullable<Uuid>,
        /// From then on another worker may take it over.
        lease_expires_at -> Nullable<Timestamptz>,
        /// How often it failed.
        retry_count -> Int4,
        /// What the sink said when it failed last, cut to 2000 characters.
        last_error -> Nullable<Text>,
        /// When the sink took it; kept for some days after.
        published_at -> Nullable<Timestamptz>,
        /// When the relay gave it up; then later messages of the entity go on. bedplate outbox replay brings it back.
        dead_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Endpoints that asked for no more messages (410 Gone). Relays send nothing to them until bedplate outbox start deletes the row.
    outbox_stopped_endpoints (id) {
        /// The endpoint: the first 16 hexadecimal digits of the SHA-256 of its URL, which may hold a token.
        #[max_length = 64]
        id -> Varchar,
        /// Scheme, host and port, for people.
        #[max_length = 300]
        name -> Varchar,
        /// What it answered.
        reason -> Text,
        /// When it answered that.
        stopped_at -> Timestamptz,
    }
}

diesel::table! {
    /// Which consumer has done what an event asks for: a second delivery has no effect.
    processed_events (tenant_id, id) {
        /// The tenant of the event; it may be gone.
        tenant_id -> Uuid,
        /// Unique inside the tenant.
        id -> Uuid,
        /// Who processed it; another group does so for itself.
        #[max_length = 255]
        consumer_group -> Varchar,
        /// The event, as its sender names it.
        event_id -> Uuid,
        /// What happened.
        #[max_length = 255]
        event_type -> Varchar,
        /// When; the effect was written in the same transaction.
        processed_at -> Timestamptz,
    }
}

diesel::table! {
    /// What venues answer to an RFQ.
    rfq_quotes (tenant_id, id) {
        /// The tenant of the RFQ.
        tenant_id -> Uuid,
        /// Unique inside the tenant.
        id -> Uuid,
        /// The RFQ that it answers.
        rfq_id -> Uuid,
        /// Who quotes: the MIC of a venue of the database marketdata.
        #[max_length = 4]
        venue_code -> Varchar,
        /// For one unit, in the instrument's currency.
        price -> Numeric,
        /// How much at this price.
        quantity -> Numeric,
        /// From then on it is not accepted, whatever its status still says.
        valid_until -> Timestamptz,
        /// live, accepted, rejected (another one was accepted, or the RFQ cancelled) or expired.
        status -> Text,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// Requests for quotes: what a user wants to trade, for venues to name their price.
    rfqs (tenant_id, id) {
        /// The tenant that asks; its row is in the database main.
        tenant_id -> Uuid,
        /// Unique inside the tenant.
        id -> Uuid,
        /// What to trade: a symbol of the database marketdata.
        #[max_length = 64]
        instrument_symbol -> Varchar,
        /// buy or sell, as the requester sees it.
        side -> Text,
        /// How much, in units of the instrument.
        quantity -> Numeric,
        /// open, quoted (a quote came in), accepted, expired or cancelled.
        status -> Text,
        /// The user who asks; its row is in the database main.
        requested_by -> Uuid,
        /// From then on it is neither quoted nor accepted, whatever its status still says.
        expires_at -> Timestamptz,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    audit_log,
    outbox_events,
    outbox_stopped_endpoints,
    processed_events,
    rfq_quotes,
    rfqs,
);
