//! The propensity of each rating of a log: the probability that it was observed.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use arrow::array::{Float64Array, UInt32Array};
use pipeline::{Artifact, IdSpaces};

use super::{Interactions, frame};

/// Parquet, one row a pair of user and item that the log holds, by user, then item:
/// `user: u32`, `item: u32`, `propensity: f64` (the probability that the pair was rated, in (0, 1]).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Propensities {
    /// Row of the user.
    pub user: Vec<u32>,
    /// Row of the item.
    pub item: Vec<u32>,
    /// P(rated).
    pub propensity: Vec<f64>,
}

impl Propensities {
    /// Those of distinct `pairs`, in any order.
    ///
    /// # Errors
    /// When one is no probability above 0, or a pair comes twice with different ones.
    pub fn new(mut pairs: Vec<(u32, u32, f64)>) -> Result<Self> {
        pairs.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        pairs.dedup();
        let mut all = Self::default();
        for (user, item, p) in pairs {
            ensure!(p > 0.0 && p <= 1.0, "user {user}, item {item}: found {p}, wanted a probability above 0");
            let twice = all.user.last() == Some(&user) && all.item.last() == Some(&item);
            ensure!(!twice, "user {user}, item {item}: two propensities");
            all.user.push(user);
            all.item.push(item);
            all.propensity.push(p);
        }
        Ok(all)
    }

    /// How many pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.user.len()
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.user.is_empty()
    }

    /// That of each row of `log`.
    ///
    /// # Errors
    /// When a row has none.
    pub fn of(&self, log: &Interactions) -> Result<Vec<f64>> {
        let find = |(&user, &item): (&u32, &u32)| {
            let first = self.user.partition_point(|&u| u < user);
            let last = first + self.user[first..].partition_point(|&u| u == user);
            let place = self.item[first..last].binary_search(&item).ok();
            place.map(|place| self.propensity[first + place]).with_context(|| {
                format!(
                    "user {user} rated item {item}, but there is no propensity of that\nhelp: estimate the propensities on \
                     the log that holds all of these ratings"
                )
            })
        };
        log.user.iter().zip(&log.item).map(find).collect()
    }
}

impl Artifact for Propensities {
    const KIND: &'static str = "propensities";
    const EXTENSION: &'static str = "parquet";
    /// 2: with the spaces of ids that its row numbers belong to.
    const FORMAT: u32 = 2;
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
            ("propensity", Arc::new(Float64Array::from(self.propensity.clone()))),
        ];
        frame::write_parquet(path, &frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let user = frame::column::<UInt32Array>(&batch, "user")?.values();
        let item = frame::column::<UInt32Array>(&batch, "item")?.values();
        let propensity = frame::column::<Float64Array>(&batch, "propensity")?.values();
        // Read like any others: `of` searches, so the order must hold.
        Self::new(user.iter().zip(item).zip(propensity).map(|((&u, &i), &p)| (u, i, p)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_and_what_is_no_propensity_is_named() {
        let all = Propensities::new(vec![(1, 0, 0.5), (0, 2, 0.25), (0, 1, 1.0), (0, 1, 1.0)]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p");
        all.write(&path).unwrap();
        let read = Propensities::read(&path).unwrap();
        assert_eq!((read.len(), &read), (3, &all));
        let log = |user, item| Interactions {
            user: vec![1, user],
            item: vec![0, item],
            rating: vec![1.0; 2],
            timestamp: vec![0; 2],
        };
        assert_eq!(read.of(&log(0, 2)).unwrap(), [0.5, 0.25]);
        let error = |pairs| Propensities::new(pairs).unwrap_err().to_string();
        assert!(read.of(&log(1, 2)).unwrap_err().to_string().starts_with("user 1 rated item 2, but there is no"));
        assert!(error(vec![(0, 0, 0.0)]).contains("found 0, wanted a probability above 0"));
        assert!(error(vec![(3, 0, 0.1), (3, 0, 0.2)]).contains("user 3, item 0: two propensities"));
    }
}
