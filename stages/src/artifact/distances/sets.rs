//! Distances of what items are said to be: genres, or the trigrams of a title.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::artifact::tensors::Array;
use crate::artifact::whole_numbers::whole_numbers;

/// How two sets are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetMeasure {
    /// 1 − |A ∩ B| / |A ∪ B|, from 0 to 1; 1 of two empty sets, for what nothing is known of is like nothing.
    Jaccard,
    /// 1 − cos of the weighted counts, from 0 to 1. A count is weighted by ln((1 + n)/(1 + df)) + 1, where df of the n sets hold the
    /// member (Salton and Buckley 1988; the 1s keep what all sets hold above 0).
    Cosine,
}

/// One set an item, and how they are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct SetDistances {
    measure: SetMeasure,
    /// Where the members of each item begin, and where the last ones end, `[I + 1]`.
    starts: Vec<usize>,
    /// Numbers of members, rising within an item.
    members: Vec<u32>,
    /// How often an item has the member.
    counts: Vec<u32>,
    /// For cosines: what a member weighs in an item's vector of length 1.
    weights: Vec<f64>,
}

impl SetDistances {
    /// Of the members of each item and how often it has them, rising by their numbers.
    #[must_use]
    pub fn new(measure: SetMeasure, sets: &[Vec<(u32, u32)>]) -> Self {
        let sizes: Vec<usize> = sets.iter().map(Vec::len).collect();
        let (members, counts) = sets.iter().flatten().copied().unzip();
        Self::of(measure, &sizes, members, counts)
    }

    fn of(measure: SetMeasure, sizes: &[usize], members: Vec<u32>, counts: Vec<u32>) -> Self {
        let mut starts = vec![0];
        starts.extend(sizes.iter().scan(0, |end, size| {
            *end += size;
            Some(*end)
        }));
        let weights = match measure {
            SetMeasure::Jaccard => Vec::new(),
            SetMeasure::Cosine => unit_weights(&starts, &members, &counts),
        };
        Self { measure, starts, members, counts, weights }
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn measure(&self) -> SetMeasure {
        self.measure
    }

    /// Of two different items.
    #[must_use]
    pub fn between(&self, item: u32, other: u32) -> f32 {
        let [a, b] = [item, other].map(|item| self.starts[item as usize]..self.starts[item as usize + 1]);
        let (mut i, mut j) = (a.start, b.start);
        let (mut common, mut cosine) = (0, 0.0);
        // In the order of the members' numbers, so that a sum is the same either way.
        while i < a.end && j < b.end {
            match self.members[i].cmp(&self.members[j]) {
                std::cmp::Ordering::Less => i += 1,
                std::cmp::Ordering::Greater => j += 1,
                std::cmp::Ordering::Equal => {
                    match self.measure {
                        SetMeasure::Jaccard => common += 1,
                        SetMeasure::Cosine => cosine += self.weights[i] * self.weights[j],
                    }
                    (i, j) = (i + 1, j + 1);
                }
            }
        }
        match (self.measure, a.len() + b.len() - common) {
            (SetMeasure::Cosine, _) => (1.0 - cosine).clamp(0.0, 1.0) as f32,
            (SetMeasure::Jaccard, 0) => 1.0,
            (SetMeasure::Jaccard, all) => (1.0 - common as f64 / all as f64) as f32,
        }
    }

    /// What they are made of: the sizes of the sets, their members and counts.
    pub(super) fn arrays(&self) -> [Array; 3] {
        let array = |values: Vec<f32>| Array::new(&[values.len()], values);
        let sizes = self.starts.windows(2).map(|pair| (pair[1] - pair[0]) as f32).collect();
        let numbers = |values: &[u32]| values.iter().map(|&x| x as f32).collect();
        [array(sizes), array(numbers(&self.members)), array(numbers(&self.counts))]
    }

    /// From [`arrays`](Self::arrays) of a file, by the names that they have there.
    ///
    /// # Errors
    /// When they are no such sets.
    pub(super) fn from_arrays(measure: SetMeasure, names: [&str; 3], arrays: [Array; 3]) -> Result<Self> {
        for (name, array) in names.iter().zip(&arrays) {
            ensure!(array.shape.len() == 1, "`{name}` is {:?}, wanted one row of numbers", array.shape);
        }
        let [sizes, members, counts] = arrays.map(|array| array.data);
        // Members are numbered without gaps, so there are no more of them than places for them.
        let limits = [members.len() as u64 + 1, members.len() as u64, u64::MAX];
        let sizes: Vec<usize> =
            whole_numbers(names[0], &sizes, limits[0])?.into_iter().map(|size| size as usize).collect();
        let all = sizes.iter().sum::<usize>();
        ensure!(
            members.len() == all && counts.len() == all,
            "sets of {all} members in all have {} members and {} counts",
            members.len(),
            counts.len()
        );
        let (members, counts) =
            (whole_numbers(names[1], &members, limits[1])?, whole_numbers(names[2], &counts, limits[2])?);
        ensure!(!counts.contains(&0), "`{}` counts a member that an item does not have", names[2]);
        let read = Self::of(measure, &sizes, members, counts);
        let rises = |set: &[usize]| read.members[set[0]..set[1]].is_sorted_by(|a, b| a < b);
        ensure!(read.starts.windows(2).all(rises), "`{}` does not rise within each item", names[1]);
        Ok(read)
    }
}

/// Each count times its member's weight, so that an item's are of length 1.
fn unit_weights(starts: &[usize], members: &[u32], counts: &[u32]) -> Vec<f64> {
    let sets = starts.len() - 1;
    let mut holding = vec![0_u32; members.iter().max().map_or(0, |&last| last as usize + 1)];
    members.iter().for_each(|&member| holding[member as usize] += 1);
    let idf: Vec<f64> =
        holding.iter().map(|&held| ((1.0 + sets as f64) / (1.0 + f64::from(held))).ln() + 1.0).collect();
    let mut weights: Vec<f64> =
        members.iter().zip(counts).map(|(&member, &count)| f64::from(count) * idf[member as usize]).collect();
    for set in starts.windows(2) {
        let own = &mut weights[set[0]..set[1]];
        let length = own.iter().map(|x| x * x).sum::<f64>().sqrt();
        own.iter_mut().for_each(|x| *x /= length);
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_damaged_file_holds_is_refused_and_takes_no_memory() {
        let row = |values: &[f32]| Array::new(&[values.len()], values.to_vec());
        let read = |sizes: &[f32], members: &[f32], counts: &[f32]| {
            SetDistances::from_arrays(SetMeasure::Cosine, ["s", "m", "c"], [row(sizes), row(members), row(counts)])
        };
        assert_eq!(read(&[2.0, 1.0], &[0.0, 1.0, 0.0], &[1.0, 3.0, 1.0]).unwrap().len(), 2);
        let error =
            |sizes: &[f32], members: &[f32], counts: &[f32]| read(sizes, members, counts).unwrap_err().to_string();
        // One bit of an exponent: 51 GB of weights, once.
        assert!(error(&[1.0, 1.0], &[0.0, 3e38], &[1.0; 2]).starts_with("`m` holds 3"));
        assert!(error(&[f32::INFINITY, 1.0], &[0.0, 1.0], &[1.0; 2]).starts_with("`s` holds inf"));
        assert!(error(&[1.0, f32::NAN], &[0.0, 1.0], &[1.0; 2]).starts_with("`s` holds NaN"));
        assert!(error(&[2.0], &[1.0, 0.0], &[1.0; 2]).starts_with("`m` does not rise"));
        assert!(error(&[2.0], &[1.0, 1.0], &[1.0; 2]).starts_with("`m` does not rise"));
        assert!(error(&[2.0], &[0.0, 1.0], &[1.0, 0.0]).starts_with("`c` counts a member"));
        assert!(error(&[2.0, 2.0], &[0.0, 1.0], &[1.0; 2]).starts_with("sets of 4 members"));
        let square = [row(&[1.0]), Array::new(&[1, 1], vec![0.0]), row(&[1.0])];
        let error = SetDistances::from_arrays(SetMeasure::Jaccard, ["s", "m", "c"], square).unwrap_err().to_string();
        assert_eq!(error, "`m` is [1, 1], wanted one row of numbers");
    }
}
