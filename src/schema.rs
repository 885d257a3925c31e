// @generated automatically by Diesel CLI.

pub mod sql_types {
    #[derive(diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "xid8", schema = "pg_catalog"))]
    pub struct Xid8;
}

diesel::table! {
    /// What one agent found out about one idea, in one evaluation.
    agent_results (tenant_id, id) {
        /// The tenant of the idea.
        tenant_id -> Uuid,
        /// Unique inside the tenant.
        id -> Uuid,
        /// The evaluation it belongs to.
        evaluation_id -> Uuid,
        /// Which agent: market-research, competitive-analysis, customer-research, financial-analysis, technical-feasibility, risk-assessment or synthesis; each once an evaluation.
        agent_type -> Text,
        /// pending, running, completed or failed.
        status -> Text,
        /// What the agent was given.
        input_data -> Nullable<Jsonb>,
        /// What the agent answered; set when completed.
        output_data -> Nullable<Jsonb>,
        /// 0 to 100; NULL: the agent gave none.
        score -> Nullable<Float8>,
        /// What is worth telling, for people.
        insights -> Nullable<Jsonb>,
        /// When the agent started (the last time).
        started_at -> Nullable<Timestamptz>,
        /// When the agent ended, completed or failed.
        completed_at -> Nullable<Timestamptz>,
        /// Why it failed.
        error_message -> Nullable<Text>,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// With what programs sign in. The key itself is shown once and stored nowhere.
    api_keys (tenant_id, id) {
        /// The tenant that the key opens; part of the key.
        tenant_id -> Uuid,
        /// Unique inside the tenant; part of the key.
        id -> Uuid,
        /// The organization that the key belongs to; NULL: it belongs to its maker and works while the maker is active.
        organization_id -> Nullable<Uuid>,
        /// Who made it.
        user_id -> Uuid,
        /// What it is for, in its maker's words.
        #[max_length = 255]
        name -> Varchar,
        /// How the key begins, to tell keys apart in lists.
        #[max_length = 32]
        prefix -> Varchar,
        /// SHA-256 of the key's random 256 bits.
        key_hash -> Bytea,
        /// What it may do: ideas:read, or ideas:* for all of an area.
        scopes -> Array<Nullable<Text>>,
        /// From then on it is refused; NULL: never.
        expires_at -> Nullable<Timestamptz>,
        /// When it was last used, to the minute.
        last_used_at -> Nullable<Timestamptz>,
        /// When it was revoked; NULL: it was not.
        revoked_at -> Nullable<Timestamptz>,
        /// The key that it was rotated into; NULL: it was not rotated.
        replaced_by -> Nullable<Uuid>,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
    }
}

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
    /// What users submit for evaluation.
    business_ideas (tenant_id, id) {
        /// The tenant of the idea.
        tenant_id -> Uuid,
        /// Unique inside the tenant.
        id -> Uuid,
        /// Who owns the idea.
        user_id -> Uuid,
        /// Title, not blank.
        #[max_length = 255]
        title -> Varchar,
        /// The idea itself, 50 to 5,000 characters.
        description -> Text,
        /// draft, submitted, evaluating, completed or archived; only a draft is edited.
        status -> Text,
        /// Counts the changes of the row (trigger); an update names the version that it read.
        lock_version -> Int4,
        /// When the idea was deleted (softly); NULL: not deleted.
        deleted_at -> Nullable<Timestamptz>,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// One pass of the agents over an idea; also the queue of their workers.
    evaluations (tenant_id, id) {
        /// The tenant of the idea.
        tenant_id -> Uuid,
        /// Unique inside the tenant.
        id -> Uuid,
        /// The idea under evaluation.
        business_idea_id -> Uuid,
        /// pending, analyzing, completed or failed.
        status -> Text,
        /// low, normal or high: high ones are claimed first.
        priority -> Text,
        /// When a worker first claimed it.
        started_at -> Nullable<Timestamptz>,
        /// When it ended, completed or failed.
        completed_at -> Nullable<Timestamptz>,
        /// What the agents found, aggregated; an object, set when completed.
        results -> Nullable<Jsonb>,
        /// Why it failed.
        error_message -> Nullable<Text>,
        /// How often it was claimed. Also the fencing token of the lease.
        attempts -> Int4,
        /// The worker that holds it, or held it last.
        #[max_length = 255]
        claimed_by -> Nullable<Varchar>,
        /// From then on another worker may take it over.
        lease_expires_at -> Nullable<Timestamptz>,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// Where subscribers stand. A subscription is shared by its workers in partitions; a worker has one for as long as its lease.
    event_subscriptions (tenant_id, name, partition) {
        /// Whose events; the nil UUID: those of all tenants.
        tenant_id -> Uuid,
        /// Who reads them: mailer.
        #[max_length = 255]
        name -> Varchar,
        /// Which share: events whose partition key has this hash modulo partitions.
        partition -> Int4,
        /// How many shares there are.
        partitions -> Int4,
        /// The partition key: aggregate, tenant, or tag: and the key of a tag. Another one would put events into shares that are past them.
        #[max_length = 300]
        partition_by -> Varchar,
        /// The events that it reads, as an array of items {"types": […], "tags": […]}, sorted and without doubles. Under another query it would be past events that it had not asked for.
        query -> Jsonb,
        /// Up to here everything is done.
        position -> Int8,
        /// The worker that has it.
        #[max_length = 255]
        claimed_by -> Nullable<Varchar>,
        /// Counts the claims: the fencing token. What a worker writes names the claim that it made.
        claims -> Int4,
        /// Until then nobody else gets it.
        lease_expires_at -> Nullable<Timestamptz>,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// Which events have a tag. Written by append_events() alone; whoever reads it compares events.tags too, for two tags may have one hash.
    event_tags (tenant_id, tag, position) {
        /// The tenant of the event.
        tenant_id -> Uuid,
        /// event_tag_hash() of the tag.
        tag -> Int8,
        /// Of the event.
        position -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::Xid8;

    /// What happened, in order. Append-only: written by append_events() alone, in every language; nobody changes an event.
    events (tenant_id, position) {
        /// The tenant of the event.
        tenant_id -> Uuid,
        /// Its place in the order of all events of all tenants. Grows with gaps; what is committed later may have a lower one, so readers stop at event_head().
        position -> Int8,
        /// Unique inside the tenant.
        id -> Uuid,
        /// What happened: StudentEnrolled.
        #[max_length = 255]
        event_type -> Varchar,
        /// The facts, any JSON.
        event_data -> Jsonb,
        /// An object: user_id, schema_version (1 where it is missing), and what the application adds.
        metadata -> Jsonb,
        /// What it is about, key:value each, sorted: course:c1. Found by event_tags.
        tags -> Array<Nullable<Text>>,
        /// Of which kind the stream is; all three of aggregate_type, aggregate_id, event_version are set or none.
        #[max_length = 255]
        aggregate_type -> Nullable<Varchar>,
        /// Which stream it belongs to.
        aggregate_id -> Nullable<Uuid>,
        /// Its place in the stream: 1 for the first, without gaps.
        event_version -> Nullable<Int4>,
        /// The request that led to it (setting app.correlation_id).
        correlation_id -> Nullable<Uuid>,
        /// The event that led to it.
        causation_id -> Nullable<Uuid>,
        /// When it was appended, by the clock.
        created_at -> Timestamptz,
        /// Which transaction wrote it: what a snapshot has seen. No order: after a dump and restore they begin anew.
        transaction_id -> Xid8,
    }
}

diesel::table! {
    /// Forms, by version: each a JSON Schema that submissions have to match.
    form_definitions (tenant_id, id) {
        /// The tenant of the form.
        tenant_id -> Uuid,
        /// The id of this version, unique inside the tenant.
        id -> Uuid,
        /// The form's name, not blank; its versions share it.
        #[max_length = 100]
        name -> Varchar,
        /// The version's number, from 1.
        version -> Int4,
        /// JSON Schema as it was written, at most 256 KB: draft 2020-12, or an older draft that is translated when it is compiled.
        definition -> Jsonb,
        /// Schemas that the definition refers to, by URI, at most 512 KB together.
        resources -> Jsonb,
        /// Whether "format" is a rule; otherwise it is a remark.
        assert_formats -> Bool,
        /// What the database runs to check a submission, compiled from the definition; NULL: a draft.
        program -> Nullable<Jsonb>,
        /// How long its functions in forms_compiled are; NULL: it has none, and is interpreted.
        compiled_bytes -> Nullable<Int4>,
        /// The name of its function in forms_compiled, from tenant and id.
        validator -> Text,
        /// draft, active or archived; at most one version of a name is active.
        status -> Text,
        /// When it was published; NULL: a draft. From then on it never changes.
        published_at -> Nullable<Timestamptz>,
        /// Counts the changes of the row (trigger); an update names the version that it read.
        lock_version -> Int4,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// What was filled into forms; what is submitted matches its form, for clients of every language.
    form_submissions (tenant_id, id) {
        /// The tenant of the submission.
        tenant_id -> Uuid,
        /// Unique inside the tenant.
        id -> Uuid,
        /// The version of the form; it stays.
        form_definition_id -> Uuid,
        /// That version's number.
        form_version -> Int4,
        /// What was filled in, at most 1 MB; checked when it is submitted, and from then on.
        data -> Jsonb,
        /// draft (may be incomplete), submitted or archived.
        status -> Text,
        /// The text data.title, if it has at most 255 characters.
        title -> Nullable<Text>,
        /// The number data.priority, if it is an integer of 32 bits.
        priority -> Nullable<Int4>,
        /// Counts the changes of the row (trigger); a change names the version that it read.
        lock_version -> Int4,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// What was done once and is not done again: a repeated request gets the first one's response.
    idempotency_keys (tenant_id, id) {
        /// The tenant whose request it was.
        tenant_id -> Uuid,
        /// Unique inside the tenant.
        id -> Uuid,
        /// The key that the client sent, unique inside the tenant.
        #[max_length = 255]
        key -> Varchar,
        /// SHA-256 of the request: the same key with another request is refused.
        request_hash -> Bytea,
        /// What the first request got; NULL while it runs, which nobody else sees.
        response -> Nullable<Jsonb>,
        /// When the row was made.
        created_at -> Timestamptz,
    }
}

diesel::table! {
    /// Groups of users inside a tenant.
    organizations (tenant_id, id) {
        /// The tenant of the organization.
        tenant_id -> Uuid,
        /// Unique inside the tenant.
        id -> Uuid,
        /// Name for people.
        #[max_length = 255]
        name -> Varchar,
        /// Short name for URLs: a DNS label, unique inside the tenant.
        #[max_length = 63]
        slug -> Varchar,
        /// Free settings, a JSON object.
        settings -> Jsonb,
        /// Free data of other systems, a JSON object.
        metadata -> Jsonb,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
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
    /// Sessions of browsers. Shaped as the session stores of other languages expect it.
    sessions (sid) {
        /// The session's id, a secret: who has it has the session.
        sid -> Varchar,
        /// What the session holds, an object; user_id and tenant_id, where there are, say whose it is.
        sess -> Jsonb,
        /// From then on it is over, in UTC.
        expire -> Timestamp,
    }
}

diesel::table! {
    /// The boundary of isolation: whatever belongs to a tenant is seen by that tenant alone.
    tenants (id) {
        /// What tenant_id of every other table refers to.
        id -> Uuid,
        /// Short name for URLs: a DNS label, unique among all tenants.
        #[max_length = 63]
        slug -> Varchar,
        /// Name for people.
        #[max_length = 255]
        name -> Varchar,
        /// standard, premium, enterprise or internal.
        #[sql_name = "type"]
        type_ -> Text,
        /// active, suspended or closed; only a closed tenant can be deleted.
        status -> Text,
        /// Free settings, a JSON object.
        settings -> Jsonb,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// What a user may trade, and how much. A user without a row may trade nothing.
    user_entitlements (tenant_id, id) {
        /// The tenant of the user.
        tenant_id -> Uuid,
        /// Unique inside the tenant.
        id -> Uuid,
        /// Whose they are; one row a user.
        user_id -> Uuid,
        /// Allowed asset classes; * allows all, an empty list none.
        asset_classes -> Array<Nullable<Text>>,
        /// Allowed instruments by symbol; * allows all, an empty list none.
        instruments -> Array<Nullable<Text>>,
        /// Allowed venues by code; * allows all, an empty list none.
        venues -> Array<Nullable<Text>>,
        /// Greatest notional of an order; NULL: no limit.
        max_notional -> Nullable<Numeric>,
        /// Most requests for quotes a minute.
        rfq_rate_limit -> Int4,
        /// Most orders a minute.
        order_rate_limit -> Int4,
        /// Most orders that are open at a time.
        max_open_orders -> Int4,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// Which user is a member of which organization, and as what.
    user_organizations (tenant_id, user_id, organization_id) {
        /// The tenant of both.
        tenant_id -> Uuid,
        /// The member.
        user_id -> Uuid,
        /// The organization.
        organization_id -> Uuid,
        /// owner, admin, member or viewer.
        role -> Text,
        /// When the row was made.
        created_at -> Timestamptz,
    }
}

diesel::table! {
    /// Which roles a user has in the whole tenant, beside those in organizations.
    user_roles (tenant_id, id) {
        /// The tenant of the user.
        tenant_id -> Uuid,
        /// Unique inside the tenant.
        id -> Uuid,
        /// Who has the role.
        user_id -> Uuid,
        /// A word of the application, in lower case: trader, compliance, support.
        #[max_length = 50]
        role -> Varchar,
        /// When the role was granted.
        created_at -> Timestamptz,
    }
}

diesel::table! {
    /// Who signs in. A user belongs to one tenant.
    users (tenant_id, id) {
        /// The tenant of the user.
        tenant_id -> Uuid,
        /// Unique inside the tenant.
        id -> Uuid,
        /// Address in lower case, unique among the tenant's users that are not deleted.
        #[max_length = 255]
        email -> Varchar,
        /// Login name, unique among the tenant's users that are not deleted.
        #[max_length = 255]
        username -> Varchar,
        /// Full name.
        #[max_length = 255]
        name -> Varchar,
        /// Name to show; NULL: the full name is shown.
        #[max_length = 255]
        display_name -> Nullable<Varchar>,
        /// Argon2id PHC string. Never shown, logged or serialised.
        password_hash -> Text,
        /// active, invited, suspended or deactivated; only an active user can sign in.
        status -> Text,
        /// Last successful sign-in; NULL: none so far.
        last_login_at -> Nullable<Timestamptz>,
        /// When the user was deleted (softly); NULL: not deleted.
        deleted_at -> Nullable<Timestamptz>,
        /// When the row was made.
        created_at -> Timestamptz,
        /// When the row last changed (trigger).
        updated_at -> Timestamptz,
    }
}

diesel::joinable!(agent_results -> tenants (tenant_id));
diesel::joinable!(api_keys -> tenants (tenant_id));
diesel::joinable!(business_ideas -> tenants (tenant_id));
diesel::joinable!(evaluations -> tenants (tenant_id));
diesel::joinable!(form_definitions -> tenants (tenant_id));
diesel::joinable!(form_submissions -> tenants (tenant_id));
diesel::joinable!(idempotency_keys -> tenants (tenant_id));
diesel::joinable!(organizations -> tenants (tenant_id));
diesel::joinable!(user_entitlements -> tenants (tenant_id));
diesel::joinable!(user_organizations -> tenants (tenant_id));
diesel::joinable!(user_roles -> tenants (tenant_id));
diesel::joinable!(users -> tenants (tenant_id));

diesel::allow_tables_to_appear_in_same_query!(
    agent_results,
    api_keys,
    audit_log,
    business_ideas,
    evaluations,
    event_subscriptions,
    event_tags,
    events,
    form_definitions,
    form_submissions,
    idempotency_keys,
    organizations,
    outbox_events,
    outbox_stopped_endpoints,
    processed_events,
    sessions,
    tenants,
    user_entitlements,
    user_organizations,
    user_roles,
    users,
);
