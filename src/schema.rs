// @generated automatically by Diesel CLI.

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
diesel::joinable!(business_ideas -> tenants (tenant_id));
diesel::joinable!(evaluations -> tenants (tenant_id));
diesel::joinable!(organizations -> tenants (tenant_id));
diesel::joinable!(user_organizations -> tenants (tenant_id));
diesel::joinable!(users -> tenants (tenant_id));

diesel::allow_tables_to_appear_in_same_query!(
    agent_results,
    business_ideas,
    evaluations,
    organizations,
    tenants,
    user_organizations,
    users,
);
