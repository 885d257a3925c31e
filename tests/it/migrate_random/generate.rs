//! Folders of random migrations that PostgreSQL accepts: a model of what exists keeps each statement valid.
//!
//! Every effect that is not idempotent leaves a row in `public.ledger`, so that running twice shows.

mod alone;
mod session;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// The role that some statements become. It is granted to the owner.
pub const ROLE: &str = "bedplate_random";

/// What both databases have before the first migration. Each row of the ledger takes a moment that a fault can hit.
pub const SETUP: &str = "
    CREATE TABLE public.ledger (step int NOT NULL, seen text);
    CREATE TABLE public.base (id int PRIMARY KEY, a int);
    INSERT INTO public.base SELECT g, g % 7 FROM generate_series(1, 300) AS g;
    CREATE INDEX base_first ON public.base (a);
    CREATE INDEX base_second ON public.base (a, id);
    CREATE TABLE public.parts (id int) PARTITION BY RANGE (id);
    CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES FROM (0) TO (10);
    CREATE TABLE public.parts_2 PARTITION OF public.parts FOR VALUES FROM (10) TO (20);
    CREATE TABLE public.parts_3 PARTITION OF public.parts FOR VALUES FROM (20) TO (30);
    INSERT INTO public.parts SELECT g FROM generate_series(0, 29) AS g;
    CREATE TABLE public.guarded (id int PRIMARY KEY);
    INSERT INTO public.guarded SELECT g FROM generate_series(1, 300) AS g;
    ALTER TABLE public.guarded ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    CREATE POLICY seen_by_the_role ON public.guarded USING (current_user = 'bedplate_random');
    CREATE FUNCTION public.linger() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_sleep(0.004); RETURN NULL; END';
    CREATE TRIGGER linger AFTER INSERT ON public.ledger FOR EACH STATEMENT EXECUTE FUNCTION public.linger();
    CREATE SCHEMA app;
    GRANT USAGE, CREATE ON SCHEMA app TO bedplate_random;
    GRANT SELECT, INSERT ON public.ledger TO bedplate_random;
    GRANT SELECT, UPDATE ON public.base, public.guarded TO bedplate_random;
";

/// How to see in the database whether a statement ran.
#[derive(Debug, Clone)]
pub enum Proof {
    /// All of these rows of the ledger, which one statement or one CALL writes.
    Ledger(Vec<i32>),
    /// This condition holds.
    Holds(String),
    /// Nothing to see: the statement changes its session, or may run any number of times.
    Nothing,
}

/// One statement of a file.
#[derive(Debug, Clone)]
pub struct Step {
    pub sql: String,
    pub proof: Proof,
    /// Whether the statement and its record are one transaction, by what PostgreSQL allows.
    pub recorded_with: bool,
    /// Whether later statements of the migration need it in their session.
    pub of_session: bool,
    /// The partition that it detaches.
    pub detaches: Option<String>,
}

/// One migration.
#[derive(Debug, Clone)]
pub struct Random {
    pub name: String,
    pub bare: bool,
    pub steps: Vec<Step>,
}

impl Random {
    pub fn version(&self) -> String {
        self.name.split('_').next().unwrap().replace('-', "")
    }

    pub fn sql(&self) -> String {
        let statements: Vec<_> = self.steps.iter().map(|step| step.sql.as_str()).collect();
        format!("{};\n", statements.join(";\n"))
    }

    /// The steps that one transaction of the file holds, from the nth on: its own BEGIN up to COMMIT, or one.
    pub fn end_of_unit(&self, start: usize) -> usize {
        if self.steps.get(start).is_none_or(|step| step.sql != "BEGIN") {
            return start + 1;
        }
        self.steps[start..].iter().position(|step| step.sql == "COMMIT").map_or(start + 1, |end| start + end + 1)
    }
}

/// What exists, at the point that is generated.
#[derive(Default)]
struct Model {
    number: i32,
    /// (qualified name, made by the role).
    tables: Vec<(String, bool)>,
    /// Of `base`, made before the migration that is generated.
    droppable: Vec<String>,
    /// Of `base`, made in it.
    fresh: Vec<String>,
    partitions: Vec<&'static str>,
    enums: Vec<String>,
}

/// What the session of the migration is like.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
struct Session {
    role: bool,
    app_first: bool,
    scratch: Option<bool>,
    prepared: bool,
    /// Whether the migration set its own: that of the runner is not compared.
    lock_timeout: bool,
    /// Whether `app.x` was set; behind a RESET its value is empty and no longer NULL.
    reads_x: bool,
}

pub struct Generator {
    random: StdRng,
    model: Model,
    session: Session,
    steps: Vec<Step>,
    bare: bool,
}

/// The migrations of a seed.
pub fn folder(seed: u64) -> Vec<Random> {
    let model = Model {
        droppable: vec!["base_first".into(), "base_second".into()],
        partitions: vec!["parts_1", "parts_2", "parts_3"],
        ..Model::default()
    };
    let mut generator = Generator {
        random: StdRng::seed_from_u64(seed),
        model,
        session: Session::default(),
        steps: Vec::new(),
        bare: false,
    };
    let count = generator.random.random_range(1..=4);
    (1..=count).map(|n| generator.migration(n)).collect()
}

impl Generator {
    fn migration(&mut self, number: u32) -> Random {
        self.bare = self.random.random_bool(0.55);
        self.session = Session { reads_x: true, ..Session::default() };
        self.steps = Vec::new();
        let made = std::mem::take(&mut self.model.fresh);
        self.model.droppable.extend(made);
        for _ in 0..self.random.random_range(1..=8) {
            let before = self.steps.len();
            while self.steps.len() == before {
                self.one();
            }
        }
        let steps = std::mem::take(&mut self.steps);
        Random { name: format!("2026-01-{number:02}-000000_step"), bare: self.bare, steps }
    }

    fn next(&mut self) -> i32 {
        self.model.number += 1;
        self.model.number
    }

    fn add(&mut self, sql: impl Into<String>, proof: Proof) -> &mut Step {
        self.steps.push(Step { sql: sql.into(), proof, recorded_with: true, of_session: false, detaches: None });
        self.steps.last_mut().unwrap()
    }

    fn ledger(&mut self, seen: &str) {
        let n = self.next();
        self.add(format!("INSERT INTO public.ledger (step, seen) VALUES ({n}, {seen})"), Proof::Ledger(vec![n]));
    }

    fn set(&mut self, sql: impl Into<String>) {
        self.add(sql, Proof::Nothing).of_session = true;
    }

    fn alone(&mut self, sql: impl Into<String>, proof: Proof) -> &mut Step {
        let step = self.add(sql, proof);
        step.recorded_with = false;
        step
    }

    /// One template. Adds nothing where the template does not fit, and is asked again.
    fn one(&mut self) {
        let owner = !self.session.role;
        match self.random.random_range(0..34) {
            0 | 1 => self.create_table(),
            2 => self.add_column(),
            3 if owner => self.comment(),
            4 if owner => self.view(),
            5 if owner => self.function(),
            6 if owner => self.enumeration(),
            7 | 8 => self.ledger("NULL"),
            9 => self.ledger("current_schema()"),
            10 => self.ledger("current_user"),
            11 if self.session.reads_x => self.ledger("current_setting('app.x', true)"),
            12 if self.session.lock_timeout => self.ledger("current_setting('lock_timeout')"),
            12 => self.ledger("current_setting('TimeZone')"),
            13 => self.ledger("'it''s; /* no comment */ -- here' /* a comment; 'quoted */"),
            14 | 15 => self.block(),
            16 if owner => self.call(),
            17 => self.role(),
            18 => self.search_path(),
            19 | 20 => self.custom(),
            21 => self.zone(),
            22 => self.scratch(),
            23 => self.prepared(),
            24 if self.bare => self.own_transaction(),
            25 | 26 if self.bare && owner => self.batch(),
            27 | 28 if self.bare && owner => self.index(),
            29 if self.bare && owner => self.drop_index(),
            30 if self.bare && owner => self.reindex(),
            31 if self.bare && owner => self.detach(),
            32 if self.bare && owner => {
                let sql = ["VACUUM public.base", "VACUUM (ANALYZE) public.ledger"];
                let sql = sql[self.random.random_range(0..sql.len())];
                self.alone(sql, Proof::Nothing);
            }
            33 if owner => {
                self.add("ANALYZE public.base", Proof::Nothing);
            }
            _ => {}
        }
    }

    fn create_table(&mut self) {
        let n = self.next();
        let role = self.session.role;
        let (written, schema) = match (self.session.app_first, role || self.random.random_bool(0.3)) {
            (true, _) => (format!("t_{n}"), "app"),
            (false, true) => (format!("app.t_{n}"), "app"),
            (false, false) => (format!("t_{n}"), "public"),
        };
        let made = format!("{schema}.t_{n}");
        let body = if self.random.random_bool(0.5) {
            "(id int, name text DEFAULT 'a;b')".to_owned()
        } else {
            format!("AS SELECT {n} AS id, current_user::text AS name")
        };
        self.add(format!("CREATE TABLE {written} {body}"), Proof::Holds(format!("to_regclass('{made}') IS NOT NULL")));
        self.model.tables.push((made, role));
    }

    /// A table that the session may alter: its own, or the role's, which the owner is a member of.
    fn table(&mut self) -> Option<String> {
        let mine: Vec<_> = self
            .model
            .tables
            .iter()
            .filter(|(_, by_role)| !self.session.role || *by_role)
            .map(|(name, _)| name)
            .collect();
        (!mine.is_empty()).then(|| mine[self.random.random_range(0..mine.len())].clone())
    }

    fn add_column(&mut self) {
        let Some(table) = self.table() else { return };
        let n = self.next();
        self.add(format!("ALTER TABLE {table} ADD COLUMN c_{n} int DEFAULT {n}"), has_column(&table, n));
    }

    fn comment(&mut self) {
        let Some(table) = self.table() else { return };
        let n = self.next();
        self.add(format!("COMMENT ON TABLE {table} IS 'comment {n}; it''s'"), Proof::Nothing);
    }

    fn view(&mut self) {
        let n = self.next();
        let proof = Proof::Holds(format!("to_regclass('public.v_{n}') IS NOT NULL"));
        self.add(format!("CREATE VIEW public.v_{n} AS SELECT step, 'a;b' AS text FROM public.ledger"), proof);
    }

    fn function(&mut self) {
        let n = self.next();
        let proof = Proof::Holds(format!("to_regprocedure('public.f_{n}()') IS NOT NULL"));
        let sql = if self.random.random_bool(0.5) {
            format!(
                "CREATE FUNCTION public.f_{n}() RETURNS int LANGUAGE plpgsql AS $body$\nBEGIN\n  -- a comment; $$ of it\n  \
                 PERFORM 1;\n  RETURN {n};\nEND\n$body$"
            )
        } else {
            format!(
                "CREATE FUNCTION public.f_{n}() RETURNS int LANGUAGE sql\nBEGIN ATOMIC\n  SELECT 1;\n  \
                 SELECT CASE WHEN true THEN {n} END;\nEND"
            )
        };
        self.add(sql, proof);
    }

    fn enumeration(&mut self) {
        if self.model.enums.is_empty() || self.random.random_bool(0.5) {
            let n = self.next();
            let proof = Proof::Holds(format!("to_regtype('public.e_{n}') IS NOT NULL"));
            self.add(format!("CREATE TYPE public.e_{n} AS ENUM ('first')"), proof);
            self.model.enums.push(format!("public.e_{n}"));
            return;
        }
        let n = self.next();
        let name = self.model.enums[self.random.random_range(0..self.model.enums.len())].clone();
        let holds =
            format!("EXISTS (SELECT FROM pg_enum WHERE enumtypid = to_regtype('{name}') AND enumlabel = 'l_{n}')");
        self.add(format!("ALTER TYPE {name} ADD VALUE 'l_{n}'"), Proof::Holds(holds));
    }

    /// A DO, which may sleep, end its transaction, or change the session.
    fn block(&mut self) {
        let n = self.next();
        let insert = |n: i32| format!("INSERT INTO public.ledger (step) VALUES ({n});");
        match self.random.random_range(0..6) {
            0 | 1 => {
                self.add(format!("DO $$ BEGIN {} END $$", insert(n)), Proof::Ledger(vec![n]));
            }
            2 | 3 => {
                let seconds = f64::from(self.random.random_range(5..60)) / 1000.0;
                let sql = format!("DO $$ BEGIN {} PERFORM pg_sleep({seconds}); END $$", insert(n));
                self.add(sql, Proof::Ledger(vec![n]));
            }
            4 if self.bare => {
                let second = self.next();
                let sql =
                    format!("DO $do$ BEGIN {} COMMIT; PERFORM pg_sleep(0.02); {} END $do$", insert(n), insert(second));
                self.alone(sql, Proof::Ledger(vec![n, second]));
            }
            _ => {
                self.session.reads_x = true;
                let sql = format!("DO $$ BEGIN PERFORM set_config('app.x', 'v{n}', false); {} END $$", insert(n));
                self.add(sql, Proof::Ledger(vec![n])).of_session = true;
            }
        }
    }

    fn call(&mut self) {
        let (n, first) = (self.next(), self.next());
        let name = format!("public.p_{n}");
        let insert = |n: i32| format!("INSERT INTO public.ledger (step) VALUES ({n});");
        let ends = self.bare && self.random.random_bool(0.5);
        let steps = if ends { vec![first, self.next()] } else { vec![first] };
        let body: Vec<_> = steps.iter().map(|step| insert(*step)).collect();
        let sql = format!(
            "CREATE PROCEDURE {name}() LANGUAGE plpgsql AS $$ BEGIN {} END $$",
            body.join(" COMMIT; PERFORM pg_sleep(0.02); ")
        );
        self.add(sql, Proof::Holds(format!("to_regprocedure('{name}()') IS NOT NULL")));
        let sql = format!("CALL {name}()");
        if ends {
            self.alone(sql, Proof::Ledger(steps));
        } else {
            self.add(sql, Proof::Ledger(steps));
        }
    }
}

fn has_column(table: &str, n: i32) -> Proof {
    Proof::Holds(format!(
        "EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('{table}') AND attname = 'c_{n}')"
    ))
}
