//! What PostgreSQL refuses inside of a transaction, and backfills in batches.

use rand::RngExt as _;

use super::{Generator, Proof, ROLE, has_column};

impl Generator {
    pub(super) fn batch(&mut self) {
        let guarded = self.random.random_bool(0.4);
        let table = if guarded { "public.guarded" } else { "public.base" };
        let n = self.next();
        self.add(format!("ALTER TABLE {table} ADD COLUMN c_{n} int"), has_column(table, n));
        if guarded {
            self.set(format!("SET ROLE {ROLE}"));
        }
        // The owner sees no row of `guarded`: what is left is counted by the comparison at the end.
        self.alone(format!("UPDATE {table} SET c_{n} = id + {n} WHERE c_{n} IS NULL /* batch */"), Proof::Nothing);
        if guarded {
            self.set("RESET ROLE");
        }
    }

    pub(super) fn index(&mut self) {
        let n = self.next();
        let unique = if self.random.random_bool(0.4) { "UNIQUE " } else { "" };
        let valid = |condition: String| {
            Proof::Holds(format!(
                "EXISTS (SELECT FROM pg_index WHERE indrelid = 'public.base'::regclass AND indisvalid AND {condition})"
            ))
        };
        if self.random.random_bool(0.5) {
            let missing = if self.random.random_bool(0.3) { "IF NOT EXISTS " } else { "" };
            let sql = format!("CREATE {unique}INDEX CONCURRENTLY {missing}i_{n} ON public.base (id, a)");
            self.alone(sql, valid(format!("indexrelid = to_regclass('public.i_{n}')")));
            self.model.fresh.push(format!("i_{n}"));
        } else {
            // A condition that no other index has: the server makes up the name.
            let sql = format!("CREATE {unique}INDEX CONCURRENTLY ON public.base (a, id) WHERE id > {}", 100_000 + n);
            self.alone(sql, valid(format!("pg_get_expr(indpred, indrelid) LIKE '%{}%'", 100_000 + n)));
        }
    }

    pub(super) fn drop_index(&mut self) {
        // Only what was there before: whether another one was made could not be seen any more.
        let droppable: Vec<_> = self.model.droppable.iter().filter(|name| name.starts_with("base_")).cloned().collect();
        if droppable.is_empty() {
            return;
        }
        let name = droppable[self.random.random_range(0..droppable.len())].clone();
        self.model.droppable.retain(|other| *other != name);
        let proof = Proof::Holds(format!("to_regclass('public.{name}') IS NULL"));
        self.alone(format!("DROP INDEX CONCURRENTLY public.{name}"), proof);
    }

    pub(super) fn reindex(&mut self) {
        if self.random.random_bool(0.5) || self.model.droppable.is_empty() {
            self.alone("REINDEX TABLE CONCURRENTLY public.base", Proof::Nothing);
        } else {
            let name = &self.model.droppable[self.random.random_range(0..self.model.droppable.len())];
            let sql = format!("REINDEX INDEX CONCURRENTLY public.{name}");
            self.alone(sql, Proof::Nothing);
        }
    }

    pub(super) fn detach(&mut self) {
        let Some(part) = self.model.partitions.pop() else { return };
        let attached = format!("SELECT FROM pg_inherits WHERE inhrelid = 'public.{part}'::regclass");
        let sql = format!("ALTER TABLE public.parts DETACH PARTITION public.{part} CONCURRENTLY");
        self.alone(sql, Proof::Holds(format!("NOT EXISTS ({attached})"))).detaches = Some(part.to_owned());
    }
}
