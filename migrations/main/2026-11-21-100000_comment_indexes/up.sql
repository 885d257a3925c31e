-- Which query an index serves is told by its comment; the keys had none. `bedplate schema docs` shows them all.
COMMENT ON INDEX tenants_pkey IS
    'One tenant an id. A tenant by id: tenants().find and tenant; what every foreign key to a tenant looks up.';
COMMENT ON INDEX tenants_slug_key IS
    'One tenant a slug. A tenant by slug: tenants().find_by_slug.';
COMMENT ON INDEX users_pkey IS
    'One user an id and tenant. A user by id: users().find, update, set_password, delete; what foreign keys to a user look up.';
COMMENT ON INDEX organizations_pkey IS
    'One organization an id and tenant. An organization by id: organizations().find, update, delete; what foreign keys to an organization look up.';
COMMENT ON INDEX organizations_slug_key IS
    'One organization a slug and tenant. An organization by slug: organizations().find_by_slug.';
COMMENT ON INDEX user_organizations_pkey IS
    'A user is a member of an organization once. One membership: memberships().find, set_role, remove; the organizations of a user: memberships().list_organizations; the foreign key to users.';
COMMENT ON INDEX user_roles_pkey IS
    'One grant an id and tenant. What the audit log names a grant by.';
COMMENT ON INDEX user_roles_role_key IS
    'A user has a role once. The roles of a user: roles().list and has; grant and revoke; the foreign key to users.';
COMMENT ON INDEX user_entitlements_pkey IS
    'One row an id and tenant. What the audit log names entitlements by.';
COMMENT ON INDEX user_entitlements_user_id_key IS
    'One row of entitlements a user: entitlements().find, set, delete; the foreign key to users.';
COMMENT ON INDEX api_keys_pkey IS
    'One key an id and tenant. A key by id: authenticate_key, api_keys().find, revoke, rotate; what replaced_by looks up.';
COMMENT ON INDEX sessions_pkey IS
    'One session a sid. A session by sid: sessions().find, save, touch, delete, and the stores of other languages.';
COMMENT ON INDEX idempotency_keys_pkey IS
    'One row an id and tenant.';
COMMENT ON INDEX idempotency_keys_key_key IS
    'A key is used once a tenant. The response of a repeated request: idempotent.';
COMMENT ON INDEX business_ideas_pkey IS
    'One idea an id and tenant. An idea by id: business_ideas().find, update, archive, delete; what foreign keys to an idea look up.';
COMMENT ON INDEX evaluations_pkey IS
    'One evaluation an id and tenant. An evaluation by id: evaluations().find, extend, complete, fail; what foreign keys to an evaluation look up.';
COMMENT ON INDEX agent_results_pkey IS
    'One result an id and tenant. A result by id: agent_results().find, start, complete, fail, retry.';
COMMENT ON INDEX agent_results_agent_type_key IS
    'Each agent answers once an evaluation. The results of an evaluation: agent_results().list_by_evaluation; the foreign key to evaluations.';
COMMENT ON INDEX audit_log_pkey IS
    'One entry a moment and sequence. What happened in a time, newest first: audit().list.';
