//! The catalogue as lines that can be compared: what migrations make, without object ids, without the order of
//! columns (one that is added again moves to the end), and without the engine's own tables.

use super::session::Session;
use crate::error::Result;

/// Schemas and tables that are looked at.
const MINE: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";
const RELATION: &str =
    "c.relname NOT LIKE '\\_\\_bedplate\\_%' AND c.relname NOT LIKE '\\_\\_diesel\\_schema\\_migrations%'";

/// A kind of object, and the query for its lines.
const KINDS: [(&str, &str); 16] = [
    (
        "schema",
        "SELECT concat_ws(' ', n.nspname, nspowner::regrole, @acl(nspacl, 'n', nspowner), obj_description(n.oid, 'pg_namespace')) \
        FROM pg_namespace AS n WHERE @mine",
    ),
    ("extension", "SELECT extname || ' ' || extversion FROM pg_extension"),
    (
        "relation",
        "SELECT concat_ws(' ', c.oid::regclass, relkind, relpersistence, relowner::regrole, \
            CASE WHEN relrowsecurity THEN 'rls' END, CASE WHEN relforcerowsecurity THEN 'forced' END, reloptions::text, \
            @acl(relacl, CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", relowner), pg_get_partkeydef(c.oid), pg_get_expr(relpartbound, c.oid), obj_description(c.oid, 'pg_class')) \
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace WHERE @mine AND @relation AND relkind <> 'i' AND relkind <> 'I'",
    ),
    (
        "column",
        "SELECT concat_ws(' ', attrelid::regclass, attname, format_type(atttypid, atttypmod), \
            CASE WHEN attnotnull THEN 'not null' END, nullif(attidentity, ''), nullif(attgenerated, ''), \
            nullif(attcollation, 0)::regcollation, nullif(attstorage, typstorage), @acl(attacl, 'c', relowner), \
            pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)) \
        FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid JOIN pg_namespace AS n ON n.oid = relnamespace \
        JOIN pg_type AS y ON y.oid = atttypid LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum) \
        WHERE @mine AND @relation AND relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND attnum > 0 AND NOT attisdropped",
    ),
    (
        "index",
        "SELECT concat_ws(' ', pg_get_indexdef(c.oid), CASE WHEN NOT indisvalid THEN 'INVALID' END, \
            obj_description(c.oid, 'pg_class')) \
        FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid JOIN pg_namespace AS n ON n.oid = relnamespace \
        WHERE @mine AND @relation",
    ),
    (
        "sequence",
        "SELECT concat_ws(' ', seqrelid::regclass, format_type(seqtypid, NULL), seqstart, seqincrement, seqmin, seqmax, seqcycle) \
        FROM pg_sequence JOIN pg_class AS c ON c.oid = seqrelid JOIN pg_namespace AS n ON n.oid = relnamespace \
        WHERE @mine AND @relation",
    ),
    (
        "constraint",
        "SELECT concat_ws(' ', conrelid::regclass, contypid::regtype, conname, pg_get_constraintdef(k.oid), \
            CASE WHEN NOT convalidated THEN 'NOT VALID' END, obj_description(k.oid, 'pg_constraint')) \
        FROM pg_constraint AS k JOIN pg_namespace AS n ON n.oid = connamespace LEFT JOIN pg_class AS c ON c.oid = conrelid \
        WHERE @mine AND (c.oid IS NULL OR @relation) AND contype <> 'n'",
    ),
    (
        "policy",
        "SELECT concat_ws(' ', polrelid::regclass, polname, polcmd, CASE WHEN NOT polpermissive THEN 'restrictive' END, \
            array(SELECT r::regrole::text FROM unnest(polroles) AS r ORDER BY 1)::text, 'USING ' || pg_get_expr(polqual, polrelid), \
            'CHECK ' || pg_get_expr(polwithcheck, polrelid), obj_description(oid, 'pg_policy')) FROM pg_policy",
    ),
    (
        "trigger",
        "SELECT concat_ws(' ', pg_get_triggerdef(oid), tgenabled, obj_description(oid, 'pg_trigger')) \
        FROM pg_trigger WHERE NOT tgisinternal",
    ),
    (
        "rule",
        "SELECT concat_ws(' ', pg_get_ruledef(r.oid), obj_description(r.oid, 'pg_rewrite')) \
        FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = ev_class JOIN pg_namespace AS n ON n.oid = relnamespace WHERE @mine",
    ),
    (
        "function",
        "SELECT concat_ws(' ', CASE WHEN prokind = 'a' THEN p.oid::regprocedure::text ELSE pg_get_functiondef(p.oid) END, \
            proowner::regrole, @acl(proacl, 'f', proowner), obj_description(p.oid, 'pg_proc')) \
        FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace \
        WHERE @mine AND NOT EXISTS (SELECT FROM pg_depend WHERE (classid, objid, deptype) = ('pg_proc'::regclass, p.oid, 'e'))",
    ),
    (
        "type",
        "SELECT concat_ws(' ', y.oid::regtype, typtype, typowner::regrole, @acl(typacl, 'T', typowner), typdefault, \
            array(SELECT enumlabel FROM pg_enum WHERE enumtypid = y.oid ORDER BY enumsortorder)::text, obj_description(y.oid, 'pg_type')) \
        FROM pg_type AS y JOIN pg_namespace AS n ON n.oid = typnamespace WHERE @mine AND typtype IN ('e', 'd', 'r', 'm')",
    ),
    (
        "statistics",
        "SELECT concat_ws(' ', pg_get_statisticsobjdef(s.oid), obj_description(s.oid, 'pg_statistic_ext')) \
        FROM pg_statistic_ext AS s JOIN pg_namespace AS n ON n.oid = stxnamespace WHERE @mine",
    ),
    (
        "default privileges",
        "SELECT concat_ws(' ', defaclrole::regrole, nullif(defaclnamespace, 0)::regnamespace, defaclobjtype, defaclacl::text) \
        FROM pg_default_acl",
    ),
    (
        "database",
        "SELECT concat_ws(' ', @acl(datacl, 'd', datdba), array(SELECT s FROM pg_db_role_setting AS d, unnest(setconfig) AS s \
            WHERE setdatabase = b.oid AND setrole = 0 ORDER BY 1)::text) FROM pg_database AS b WHERE datname = current_database()",
    ),
    (
        "publication",
        "SELECT concat_ws(' ', pubname, tablename) FROM pg_publication LEFT JOIN pg_publication_tables USING (pubname)",
    ),
];

/// Every object, a line each, sorted.
pub(super) async fn snapshot(session: &Session) -> Result<Vec<String>> {
    let all: Vec<_> =
        KINDS.iter().map(|(kind, query)| format!("SELECT '{kind} ' || line FROM ({query}) AS q (line)")).collect();
    let query = with_acls(&all.join(" UNION ALL ")).replace("@mine", MINE).replace("@relation", RELATION);
    let mut lines = session.texts(&query).await?;
    lines.sort();
    Ok(lines)
}

/// `@acl(grants, kind, owner)`: the grants in an order of their own, because one that is taken and given again moves to
/// the end; where there are none, the ones that this means.
fn with_acls(query: &str) -> String {
    let mut parts = query.split("@acl(");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |made, part| {
        let (arguments, rest) = part.split_once(')').unwrap_or((part, ""));
        let (column, default) = arguments.split_once(',').unwrap_or((arguments, ""));
        format!(
            "{made}nullif(array(SELECT a::text FROM unnest(coalesce({column}, acldefault({default}))) AS a ORDER BY 1)::text, '{{}}'){rest}"
        )
    })
}

/// What one has and the other has not, as lines that begin with `-` and `+`.
pub(super) fn differences(before: &[String], after: &[String]) -> Vec<String> {
    let only = |a: &[String], b: &[String], sign: &str| {
        a.iter().filter(|line| b.binary_search(line).is_err()).map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
    };
    [only(before, after, "-"), only(after, before, "+")].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_tell_both_sides() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(differences(&lines("a b c"), &lines("a c d")), ["- b", "+ d"]);
    }
}
