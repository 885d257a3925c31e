//! How one table of the catalogue is compared.

/// One table of the catalogue, with all its columns in every supported version.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// `None` where no column is compared by itself.
    pub(super) lines: Option<Lines>,
    pub(super) columns: &'static [Column],
}

/// The lines of a table: one for each row.
pub(super) struct Lines {
    /// The kind of object.
    pub(super) kind: &'static str,
    /// The object, in words that hold no object id. The table's alias is `t`.
    pub(super) object: &'static str,
    /// The table and what is joined to it.
    pub(super) from: &'static str,
    /// The rows to compare.
    pub(super) condition: &'static str,
    /// The object id that tells objects of the server from others; `None` where all rows are compared by their lines.
    pub(super) built_in: Option<&'static str>,
    /// Class and object id of the object that an extension can own.
    pub(super) member: (&'static str, &'static str),
}

/// A column of the catalogue.
pub(super) struct Column {
    pub(super) name: &'static str,
    /// The first major version that has it.
    pub(super) since: u32,
    /// The last major version that has it.
    pub(super) until: u32,
    pub(super) how: How,
}

/// How a column is compared.
pub(super) enum How {
    /// By this expression, without the column's name.
    Bare(&'static str),
    /// By this expression, which is NULL for the usual value.
    Shown(&'static str),
    /// By the elements of this array, which have no order.
    Sorted(&'static str),
    /// As the rights of this kind of object, which belongs to this owner; NULL where they are the usual ones.
    Rights(&'static str, &'static str),
    /// By the checksum of this expression, where the login may read it.
    Secret(&'static str),
    /// As a part of what another column shows.
    Within(&'static str),
    /// Not at all.
    Not(&'static str),
}

const OLDEST: u32 = 15;

const fn column(name: &'static str, how: How) -> Column {
    Column { name, since: OLDEST, until: u32::MAX, how }
}

pub(super) const fn bare(name: &'static str, sql: &'static str) -> Column {
    column(name, How::Bare(sql))
}

pub(super) const fn shown(name: &'static str, sql: &'static str) -> Column {
    column(name, How::Shown(sql))
}

pub(super) const fn sorted(name: &'static str, array: &'static str) -> Column {
    column(name, How::Sorted(array))
}

pub(super) const fn rights(name: &'static str, kind: &'static str, owner: &'static str) -> Column {
    column(name, How::Rights(kind, owner))
}

pub(super) const fn secret(name: &'static str, sql: &'static str) -> Column {
    column(name, How::Secret(sql))
}

pub(super) const fn within(name: &'static str, what: &'static str) -> Column {
    column(name, How::Within(what))
}

pub(super) const fn not(name: &'static str, reason: &'static str) -> Column {
    column(name, How::Not(reason))
}

impl Column {
    pub(super) const fn since(self, version: u32) -> Self {
        Self { name: self.name, since: version, until: self.until, how: self.how }
    }

    pub(super) const fn until(self, version: u32) -> Self {
        Self { name: self.name, since: self.since, until: version, how: self.how }
    }

    pub(super) fn is_in(&self, version: u32) -> bool {
        (self.since..=self.until).contains(&version)
    }
}

/// The reasons that hold in many tables.
pub(super) const OBJECT_ID: &str = "An object id is new each time.";
pub(super) const OBJECT: &str = "the object's name";
