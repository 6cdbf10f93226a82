//! Rows of fields with a separator between them, without quotes.

use super::bad_rows::Fault;
use super::shards::Row;

/// Where a row's parts stand among the fields of a line.
pub(super) struct Separated<'a> {
    /// What stands between two fields.
    pub separator: &'a str,
    /// How many fields a line has.
    pub fields: usize,
    /// The place of the user's id, from 0.
    pub user: usize,
    /// The place of the item's id.
    pub item: usize,
    /// The name and place of the rating.
    pub rating: (&'a str, usize),
    /// The name and place of the time in seconds; without it all times are 0.
    pub timestamp: Option<(&'a str, usize)>,
}

impl Separated<'_> {
    /// The row in a line.
    pub fn parse<'l>(&self, line: &'l str) -> Result<Row<'l>, Fault> {
        let wanted = [Some(self.user), Some(self.item), Some(self.rating.1), self.timestamp.map(|(_, at)| at)];
        let mut found = [""; 4];
        let mut count = 0;
        for (place, text) in line.split(self.separator).enumerate() {
            count += 1;
            for (slot, wanted) in wanted.iter().enumerate() {
                if *wanted == Some(place) {
                    found[slot] = text;
                }
            }
        }
        if count != self.fields {
            return Err(Fault::row(format!("{count} fields"), self.fields.to_string()));
        }
        let [user, item, rating, time] = found;
        let timestamp = self.timestamp.map_or(Ok(0.0), |(column, _)| number(time, column))?;
        Ok(Row {
            user: user.into(),
            item: item.into(),
            rating: number(rating, self.rating.0)? as f32,
            timestamp: timestamp as i64,
        })
    }
}

fn number(text: &str, column: &str) -> Result<f64, Fault> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| Fault::value(column, text, "a finite number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_row_or_a_fault() {
        let form = Separated {
            separator: "::",
            fields: 4,
            user: 0,
            item: 1,
            rating: ("rating", 2),
            timestamp: Some(("timestamp", 3)),
        };
        let row = form.parse("1::1193::4.5::978300760").unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!((&*row.user, &*row.item, row.rating, row.timestamp), ("1", "1193", 4.5, 978_300_760));
        let fault = |line: &str| form.parse(line).err().unwrap().to_string();
        assert_eq!(fault("1::2::3"), "found 3 fields, wanted 4");
        assert_eq!(fault("1::2::x::4"), "column `rating`: found \"x\", wanted a finite number");
        assert_eq!(fault("1::2::3::NaN"), "column `timestamp`: found \"NaN\", wanted a finite number");
    }
}
