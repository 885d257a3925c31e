//! One test binary: linking one is quicker than linking twenty, and all share one server.
//!
//! Every test has a database of its own, cloned from a template; see `support`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "tests fail by panicking"
)]

mod support;

mod agent_results;
mod api_keys;
mod audit;
mod audit_columns;
mod audit_history;
mod backup;
mod boundary;
mod cancellation;
mod catalogue;
mod catalogue_lists;
mod certificates;
mod chaos;
mod claims;
mod cli;
mod cli_output;
mod columns;
mod compose;
mod connecting;
mod connections;
mod diesel_cli;
mod doctor;
mod doctor_rules;
mod entitlements;
mod error_classes;
mod event_conditions;
mod event_decisions;
mod event_input;
mod event_keys;
mod event_kills;
mod event_lists;
mod event_model;
mod event_races;
mod event_restore;
mod event_rights;
mod event_subscription_changes;
mod event_subscriptions;
mod events;
mod events_cli;
mod exercise;
mod failover;
mod failures;
mod form_drafts;
mod form_numbers;
mod form_publish;
mod form_races;
mod form_remarks;
mod form_submission_lists;
mod form_submissions;
mod form_tiers;
mod form_violations;
mod forms;
mod forms_cli;
mod forms_fuzz;
mod forms_hostile;
mod forms_suite;
mod health;
mod idea_status;
mod ideas;
mod identity_races;
mod isolation;
mod lists;
mod maintain;
mod marketdata;
mod marketdata_load;
mod migrate_faults;
mod migrate_kinds;
mod migrate_lint;
mod migrate_plan;
mod migrate_plan_server;
mod migrate_pooler;
mod migrate_promises;
mod migrate_random;
mod migrate_readers;
mod migrate_side_by_side;
mod migrate_statements;
mod migrate_verify;
mod migrate_verify_catalogue;
mod migrate_verify_forgotten;
mod migrations;
mod organizations;
mod outbox;
mod outbox_cli;
mod outbox_failures;
mod outbox_order;
mod outbox_relay;
mod outbox_webhook;
mod pipelines;
mod plans;
mod pooler;
mod prepared;
mod private_server;
mod processed;
mod quoting;
mod races;
mod recorded_events;
mod replicas;
mod rfq;
mod rfq_races;
mod schema_changes;
mod schema_docs;
mod scripts;
mod seeds;
mod seeds_ledger;
#[cfg(feature = "tower-sessions")]
mod session_http;
mod sessions;
mod spawning;
mod tenants;
mod tracing_of_queries;
mod transactions;
mod users;
