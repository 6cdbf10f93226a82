//! Distances of what items are said to be: genres, or the trigrams of a title.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::artifact::tensors::Array;

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

    /// From [`arrays`](Self::arrays).
    pub(super) fn from_arrays(measure: SetMeasure, [sizes, members, counts]: [Array; 3]) -> Result<Self> {
        let sizes: Vec<usize> = sizes.data.iter().map(|&size| size as usize).collect();
        let numbers = |array: Array| array.data.iter().map(|&x| x as u32).collect::<Vec<u32>>();
        let (members, counts) = (numbers(members), numbers(counts));
        let all = sizes.iter().sum::<usize>();
        ensure!(
            members.len() == all && counts.len() == all,
            "sets of {all} members in all have {} members and {} counts",
            members.len(),
            counts.len()
        );
        Ok(Self::of(measure, &sizes, members, counts))
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
