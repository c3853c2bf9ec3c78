//! A flow's columns as records have them: by name, at whatever depth.

use tally_domain::{Column, Field, Fields, Kind, TimeUnit, TimeUnits};

/// The columns of a flow. Points in their names lead into inner records.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) root: Level,
    count: usize,
}

/// What of a record matters: members of it by name.
#[derive(Debug, Default)]
pub(super) struct Level {
    members: Vec<Member>,
}

/// A member that is a column, or leads to some, or both.
#[derive(Debug)]
pub(super) struct Member {
    name: String,
    /// With the names of those that it is in.
    pub(super) path: String,
    /// The column that it is.
    pub(super) column: Option<MemberColumn>,
    /// What matters of the record that it is.
    pub(super) inner: Level,
}

/// The column that a member is.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemberColumn {
    /// Its place among the columns.
    pub(super) place: usize,
    pub(super) kind: Kind,
    /// Of its numbers, where they are times.
    pub(super) unit: Option<TimeUnit>,
}

impl MemberColumn {
    /// What was found, a number as a time where the unit is known.
    pub(super) fn in_unit(self, field: Field) -> Field {
        match self.unit {
            Some(unit) => unit.read(field),
            None => field,
        }
    }
}

impl Columns {
    pub(super) fn new(columns: &[Column], units: &TimeUnits) -> Self {
        let mut root = Level::default();
        for (place, Column { name, kind }) in columns.iter().enumerate() {
            let unit = units.get(&**name).copied().filter(|_| *kind == Kind::Timestamp);
            root.add("", name, MemberColumn { place, kind: *kind, unit });
        }
        Self { root, count: columns.len() }
    }

    /// The fields of a record that has none of them.
    pub(super) fn absent(&self) -> Fields {
        vec![Field::Absent; self.count]
    }
}

impl Level {
    fn add(&mut self, outer: &str, path: &str, column: MemberColumn) {
        let (name, inner) = match path.split_once('.') {
            Some((name, inner)) => (name, Some(inner)),
            None => (path, None),
        };
        let place = self.members.iter().position(|member| member.name == name);
        let place = place.unwrap_or_else(|| {
            let path = if outer.is_empty() { name.to_owned() } else { format!("{outer}.{name}") };
            let inner = Self::default();
            self.members.push(Member { name: name.to_owned(), path, column: None, inner });
            self.members.len() - 1
        });
        let member = &mut self.members[place];
        match inner {
            Some(inner) => member.inner.add(&member.path, inner, column),
            None => member.column = Some(column),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The member of this name and its place. It is looked for at `next` first, which then is behind it: records often have
    /// their members in the order of the columns.
    pub(super) fn find(&self, name: &str, next: &mut usize) -> Option<(usize, &Member)> {
        let is_it = |member: &Member| member.name == name;
        let place = match self.members.get(*next) {
            Some(member) if is_it(member) => *next,
            _ => self.members.iter().position(is_it)?,
        };
        *next = place + 1;
        Some((place, &self.members[place]))
    }

    /// All columns in a record that is null are null.
    pub(super) fn set_null(&self, fields: &mut Fields) {
        for member in &self.members {
            if let Some(column) = member.column {
                fields[column.place] = Field::Null;
            }
            member.inner.set_null(fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lead_into_inner_records() {
        let names = ["op", "after.id", "after.at.day", "after", "id"];
        let columns = names.map(|name| Column::new(name, Kind::Json));
        let columns = Columns::new(&columns, &TimeUnits::new());
        assert_eq!(columns.absent(), vec![Field::Absent; 5]);

        let find = |level: &'_ Level, name: &str| {
            let (place, member) = level.find(name, &mut 0)?;
            let column = member.column.map(|column| column.place);
            Some((place, column, member.path.clone()))
        };
        assert_eq!(find(&columns.root, "op"), Some((0, Some(0), "op".into())));
        assert_eq!(find(&columns.root, "after"), Some((1, Some(3), "after".into())));
        assert_eq!(find(&columns.root, "id"), Some((2, Some(4), "id".into())));
        assert_eq!(find(&columns.root, "at"), None);
        let (_, after) = columns.root.find("after", &mut 0).unwrap();
        assert_eq!(find(&after.inner, "id"), Some((0, Some(1), "after.id".into())));
        assert_eq!(find(&after.inner, "at"), Some((1, None, "after.at".into())));

        let mut fields = columns.absent();
        after.inner.set_null(&mut fields);
        let [absent, null] = [Field::Absent, Field::Null];
        assert_eq!(fields, [absent.clone(), null.clone(), null, absent.clone(), absent]);
    }

    #[test]
    fn members_are_found_in_any_order() {
        let columns = ["a", "b", "c"].map(|name| Column::new(name, Kind::Text));
        let columns = Columns::new(&columns, &TimeUnits::new());
        let mut next = 0;
        let places: Vec<_> = ["c", "a", "x", "b", "c", "c"]
            .into_iter()
            .map(|name| columns.root.find(name, &mut next).map(|(place, _)| place))
            .collect();
        assert_eq!(places, [Some(2), Some(0), None, Some(1), Some(2), Some(2)]);
    }
}
