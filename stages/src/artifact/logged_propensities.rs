//! The propensity of each row of a log of shown items: the probability with which it was shown.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use arrow::array::{Float64Array, Int64Array, UInt32Array};
use pipeline::{Artifact, IdSpaces};

use super::{Interactions, frame};

/// Parquet, one row an item shown, by user, item, then time:
/// `user: u32`, `item: u32`, `timestamp: i64` (seconds since 1970), `propensity: f64` (the probability that this item was shown then, in
/// (0, 1]). Rows of one user, item and second are in the order of the source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoggedPropensities {
    /// Row of the user.
    pub user: Vec<u32>,
    /// Row of the item.
    pub item: Vec<u32>,
    /// Seconds since 1970.
    pub timestamp: Vec<i64>,
    /// P(shown).
    pub propensity: Vec<f64>,
}

impl LoggedPropensities {
    /// Those of the rows of `log`.
    ///
    /// # Errors
    /// When one is no probability above 0.
    pub fn new(log: &Interactions, propensity: &[f64]) -> Result<Self> {
        let mut order: Vec<usize> = (0..log.len()).collect();
        order.sort_by_key(|&row| (log.user[row], log.item[row], log.timestamp[row]));
        let Interactions { user, item, timestamp, .. } = log.take(&order);
        let all = Self { user, item, timestamp, propensity: order.iter().map(|&row| propensity[row]).collect() };
        all.checked()
    }

    fn checked(self) -> Result<Self> {
        for (row, &p) in self.propensity.iter().enumerate() {
            let (user, item) = (self.user[row], self.item[row]);
            ensure!(p > 0.0 && p <= 1.0, "user {user}, item {item}: found {p}, wanted a probability above 0");
        }
        Ok(self)
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.user.len()
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.user.is_empty()
    }

    fn key(&self, row: usize) -> (u32, u32, i64) {
        (self.user[row], self.item[row], self.timestamp[row])
    }

    /// That of each row of `log`, which may be a part of the log that they belong to. Of several rows of one user, item and second the
    /// first of `log` has that of the first.
    ///
    /// # Errors
    /// When a row has none, or one of several whose propensities differ and of which `log` has only some.
    pub fn of(&self, log: &Interactions) -> Result<Vec<f64>> {
        let mut order: Vec<usize> = (0..log.len()).collect();
        let key = |row: usize| (log.user[row], log.item[row], log.timestamp[row]);
        order.sort_by_key(|&row| key(row));
        let mut found = vec![0.0; log.len()];
        let mut at = 0;
        for rows in order.chunk_by(|&a, &b| key(a) == key(b)) {
            let (user, item, time) = key(rows[0]);
            while at < self.len() && self.key(at) < (user, item, time) {
                at += 1;
            }
            let same = (at..self.len()).take_while(|&row| self.key(row) == (user, item, time)).count();
            let known = &self.propensity[at..at + same];
            let place = || format!("item {item} was shown to user {user} at {time} s");
            ensure!(
                known.len() >= rows.len(),
                "{} {} times, of which {} have a propensity\nhelp: take log and propensities from one stage",
                place(),
                rows.len(),
                known.len()
            );
            let one = known.windows(2).all(|pair| pair[0] == pair[1]);
            ensure!(
                one || known.len() == rows.len(),
                "{} {} times with different propensities, and the log has {} of them: which ones it has cannot be told\nhelp: split by \
                 user, or after the last of such seconds",
                place(),
                known.len(),
                rows.len()
            );
            rows.iter().zip(known).for_each(|(&row, &p)| found[row] = p);
        }
        Ok(found)
    }
}

impl Artifact for LoggedPropensities {
    const KIND: &'static str = "logged_propensities";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;
    const NUMBERED: bool = true;

    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::parquet_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("user", Arc::new(UInt32Array::from(self.user.clone()))),
            ("item", Arc::new(UInt32Array::from(self.item.clone()))),
            ("timestamp", Arc::new(Int64Array::from(self.timestamp.clone()))),
            ("propensity", Arc::new(Float64Array::from(self.propensity.clone()))),
        ];
        frame::write_parquet(path, &frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let all = Self {
            user: frame::column::<UInt32Array>(&batch, "user")?.values().to_vec(),
            item: frame::column::<UInt32Array>(&batch, "item")?.values().to_vec(),
            timestamp: frame::column::<Int64Array>(&batch, "timestamp")?.values().to_vec(),
            propensity: frame::column::<Float64Array>(&batch, "propensity")?.values().to_vec(),
        };
        // `of` searches, so the order must hold.
        ensure!((1..all.len()).all(|row| all.key(row - 1) <= all.key(row)), "{} is not in order", path.display());
        all.checked().with_context(|| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(rows: &[(u32, u32, i64)]) -> Interactions {
        Interactions {
            user: rows.iter().map(|row| row.0).collect(),
            item: rows.iter().map(|row| row.1).collect(),
            rating: vec![1.0; rows.len()],
            timestamp: rows.iter().map(|row| row.2).collect(),
        }
    }

    #[test]
    fn each_row_has_its_own_and_a_part_of_the_log_keeps_them() {
        let rows = [(1, 0, 5), (0, 2, 9), (0, 2, 7), (1, 0, 5), (0, 1, 7)];
        let all = LoggedPropensities::new(&log(&rows), &[0.5, 0.25, 1.0, 0.125, 0.75]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        all.write(&folder.path().join("p")).unwrap();
        let read = LoggedPropensities::read(&folder.path().join("p")).unwrap();
        assert_eq!((read.len(), &read), (5, &all));
        assert_eq!(read.of(&log(&rows)).unwrap(), [0.5, 0.25, 1.0, 0.125, 0.75]);
        assert_eq!(read.of(&log(&[(0, 2, 7), (0, 1, 7)])).unwrap(), [1.0, 0.75]);
        let error = |rows: &[(u32, u32, i64)]| read.of(&log(rows)).unwrap_err().to_string();
        let part = error(&[(1, 0, 5)]);
        assert!(part.starts_with("item 0 was shown to user 1 at 5 s 2 times with different propensities"), "{part}");
        assert!(error(&[(0, 2, 8)]).contains("1 times, of which 0 have a propensity\nhelp: "));
        let even = LoggedPropensities::new(&log(&rows[3..4].repeat(2)), &[0.5, 0.5]).unwrap();
        assert_eq!(even.of(&log(&rows[3..4])).unwrap(), [0.5]);
        for wrong in [0.0, 1.5, f64::NAN] {
            let error = LoggedPropensities::new(&log(&rows[..1]), &[wrong]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("user 1, item 0: found {wrong}, wanted a probability")), "{error}");
        }
    }
}
