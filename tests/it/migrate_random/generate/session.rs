//! What changes the session of a migration, and what needs that later on.

use rand::RngExt as _;

use super::{Generator, Proof, ROLE};

impl Generator {
    pub(super) fn role(&mut self) {
        self.session.role = !self.session.role;
        let sql = match (self.session.role, self.random.random_bool(0.5)) {
            (true, true) => format!("SET ROLE {ROLE}"),
            (true, false) => format!("SELECT set_config('role', '{ROLE}', false)"),
            (false, true) => "RESET ROLE".into(),
            (false, false) => "SET ROLE NONE".into(),
        };
        self.set(sql);
    }

    pub(super) fn search_path(&mut self) {
        self.session.app_first = !self.session.app_first;
        let sql = match (self.session.app_first, self.random.random_range(0..3)) {
            (true, 0) => "SET search_path = app, public",
            (true, 1) => "SET SCHEMA 'app'",
            (true, _) => "SELECT set_config('search_path', 'app', false)",
            (false, 0) => "SET search_path TO public",
            (false, _) => "RESET search_path",
        };
        self.set(sql);
    }

    pub(super) fn custom(&mut self) {
        let n = self.next();
        match self.random.random_range(0..5) {
            0 | 1 => self.set(format!("SET app.x = 'v{n}; it''s'")),
            2 => self.set(format!("SET SESSION app.x TO v{n}")),
            3 => self.set(format!("SELECT set_config('app.x', 'v{n}', false)")),
            _ => {
                self.set("RESET app.x");
                self.session.reads_x = false;
                return;
            }
        }
        self.session.reads_x = true;
    }

    pub(super) fn zone(&mut self) {
        let zones = ["SET TIME ZONE 'Asia/Tokyo'", "SET TimeZone = 'Europe/Berlin'", "RESET TimeZone"];
        let zone = zones[self.random.random_range(0..zones.len())];
        self.set(zone);
        if self.random.random_bool(0.3) {
            self.session.lock_timeout = true;
            let patience = self.random.random_range(50..200);
            self.set(format!("SET lock_timeout = '{patience}ms'"));
        }
    }

    /// A temporary table, which every migration may name alike.
    pub(super) fn scratch(&mut self) {
        match self.session.scratch {
            None => {
                self.session.scratch = Some(self.session.role);
                let n = self.next();
                self.set("CREATE TEMPORARY TABLE scratch (id int)");
                self.set(format!("INSERT INTO scratch VALUES ({n})"));
            }
            Some(by_role) if by_role || !self.session.role => {
                let n = self.next();
                self.add(
                    format!("INSERT INTO public.ledger (step, seen) SELECT {n}, id FROM scratch"),
                    Proof::Ledger(vec![n]),
                );
            }
            Some(_) => {}
        }
    }

    pub(super) fn prepared(&mut self) {
        if !self.session.prepared {
            self.session.prepared = true;
            self.set("PREPARE note (int) AS INSERT INTO public.ledger (step, seen) VALUES ($1, 'prepared')");
        }
        let n = self.next();
        self.add(format!("EXECUTE note ({n})"), Proof::Ledger(vec![n]));
    }

    pub(super) fn own_transaction(&mut self) {
        self.add("BEGIN", Proof::Nothing);
        for _ in 0..self.random.random_range(1..=3) {
            match self.random.random_range(0..4) {
                0 => {
                    let n = self.next();
                    self.add(format!("SET LOCAL app.local = 'l{n}'"), Proof::Nothing);
                    self.ledger("current_setting('app.local', true)");
                }
                1 => self.create_table(),
                2 => {
                    let n = self.next();
                    self.session.reads_x = true;
                    self.set(format!("SET app.x = 'v{n}'"));
                }
                _ => self.ledger("NULL"),
            }
        }
        self.add("COMMIT", Proof::Nothing);
    }
}
