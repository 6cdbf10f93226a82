//! Samples of a log that contain each other: the 100 rows of a seed are among its 300, and these among its 1,000.
//!
//! Each row has a random number that depends on the seed and on the row alone, and the rows with the smallest numbers are the
//! sample (permanent random numbers; Ohlsson 1995). Therefore the order of the rows in the file does not matter, and a log from
//! which rows were removed keeps the others in the same order. Stages that draw with one seed draw the same rows.

use std::cmp::Ordering;

use anyhow::{Result, ensure};
use rayon::prelude::*;

use super::Interactions;

/// What the random numbers are for, so that equal seeds elsewhere are independent of them.
const PURPOSE: u64 = 0x5a3b;

impl Interactions {
    /// All rows in the random order of `seed`; every sample is a beginning of it. Uniform over the orders of the rows.
    #[must_use]
    pub fn sample_order(&self, seed: u64) -> Vec<usize> {
        let mut numbered = self.numbered(seed);
        numbered.par_sort_unstable_by(|a, b| self.smaller(a, b, seed));
        numbered.into_iter().map(|numbered| numbered.row).collect()
    }

    /// The first `n` rows of that order, or all where there are fewer, rising: nothing is sorted but them.
    #[must_use]
    pub fn sample_rows(&self, n: usize, seed: u64) -> Vec<usize> {
        let mut numbered = self.numbered(seed);
        if n < numbered.len() {
            numbered.select_nth_unstable_by(n, |a, b| self.smaller(a, b, seed));
            numbered.truncate(n);
        }
        let mut rows: Vec<usize> = numbered.into_iter().map(|numbered| numbered.row).collect();
        rows.par_sort_unstable();
        rows
    }

    /// What tells rows apart that are not equal.
    fn content(&self, row: usize) -> (u32, u32, i64, u32) {
        (self.user[row], self.item[row], self.timestamp[row], self.rating[row].to_bits())
    }

    /// All rows with their random numbers.
    fn numbered(&self, seed: u64) -> Vec<Numbered> {
        let mut rows = self.rows_by_user();
        let of_user = rows.par_chunk_by_mut(|&a, &b| self.user[a] == self.user[b]);
        of_user.for_each(|rows| rows.sort_unstable_by_key(|&row| (self.content(row), row)));
        // Equal rows are told apart by their number among their equals: which of them is drawn makes no difference.
        let mut numbered: Vec<Numbered> = Vec::with_capacity(rows.len());
        for row in rows {
            let last = numbered.last().filter(|last| self.content(last.row) == self.content(row));
            let copy = last.map_or(0, |last| last.copy + 1);
            numbered.push(Numbered { beginning: 0, row, copy });
        }
        numbered.par_iter_mut().for_each(|numbered| {
            let number = self.number(numbered, seed);
            numbered.beginning = number[..8].iter().fold(0, |all, &byte| all << 8 | u64::from(byte));
        });
        numbered
    }

    /// All rows, by user and then in the order of the log.
    fn rows_by_user(&self) -> Vec<usize> {
        let mut next = vec![0; self.user.iter().max().map_or(0, |&last| last as usize + 1)];
        self.user.iter().for_each(|&user| next[user as usize] += 1);
        let mut so_far = 0;
        next.iter_mut().for_each(|next| so_far += std::mem::replace(next, so_far));
        let mut rows = vec![0; self.len()];
        for (row, &user) in self.user.iter().enumerate() {
            rows[next[user as usize]] = row;
            next[user as usize] += 1;
        }
        rows
    }

    /// The random number of a row.
    fn number(&self, &Numbered { row, copy, .. }: &Numbered, seed: u64) -> [u8; 32] {
        let (user, item, time, rating) = self.content(row);
        let mut bytes = [0; 56];
        let parts = [PURPOSE, seed, user.into(), item.into(), time as u64, rating.into(), copy];
        bytes.chunks_exact_mut(8).zip(parts).for_each(|(bytes, part)| bytes.copy_from_slice(&part.to_le_bytes()));
        *blake3::hash(&bytes).as_bytes()
    }

    /// By their random numbers, of which the beginning decides nearly always.
    fn smaller(&self, a: &Numbered, b: &Numbered, seed: u64) -> Ordering {
        let whole = || (self.number(a, seed), a.row).cmp(&(self.number(b, seed), b.row));
        a.beginning.cmp(&b.beginning).then_with(whole)
    }

    /// The first `n` rows of the random order of `seed`, in the order of the log: a uniform sample without replacement that
    /// contains every smaller one of that seed.
    ///
    /// # Errors
    /// Where the log has fewer rows.
    pub fn nested_sample(&self, n: usize, seed: u64) -> Result<Self> {
        ensure!(
            n <= self.len(),
            "a sample of {n} interactions was requested of a log with {}\nhelp: request at most {}",
            self.len(),
            self.len()
        );
        Ok(self.take(&self.sample_rows(n, seed)))
    }
}

/// A row with its random number.
struct Numbered {
    /// The first 8 bytes of the number, the first of them the most significant.
    beginning: u64,
    row: usize,
    /// How many equal rows stand before it.
    copy: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(rows: usize) -> Interactions {
        Interactions {
            user: (0..rows).map(|row| row as u32 % 7).collect(),
            item: (0..rows).map(|row| row as u32).collect(),
            rating: (0..rows).map(|row| (row % 5) as f32).collect(),
            timestamp: vec![0; rows],
        }
    }

    #[test]
    fn a_smaller_sample_is_part_of_a_larger_one_and_both_keep_the_order_of_the_log() {
        let log = log(500);
        let items = |n| log.nested_sample(n, 3).unwrap().item;
        let (few, more) = (items(30), items(100));
        assert_eq!((few.len(), more.len()), (30, 100));
        assert!(few.iter().all(|item| more.contains(item)));
        assert!(few.is_sorted() && more.is_sorted());
        assert_eq!(log.nested_sample(500, 3).unwrap(), log);
        assert!(log.nested_sample(0, 3).unwrap().is_empty());
        assert_eq!(items(30), few, "equal seeds, equal rows");
        assert_ne!(log.nested_sample(30, 4).unwrap().item, few);
    }

    #[test]
    fn neither_the_order_of_the_rows_nor_a_removed_row_changes_the_order_of_the_others() {
        let log = log(200);
        let order =
            |log: &Interactions| -> Vec<u32> { log.sample_order(9).into_iter().map(|row| log.item[row]).collect() };
        let reversed: Vec<usize> = (0..200).rev().collect();
        assert_eq!(order(&log.take(&reversed)), order(&log));
        let without: Vec<usize> = (0..200).filter(|&row| row != 17).collect();
        let rest: Vec<u32> = order(&log).into_iter().filter(|&item| item != 17).collect();
        assert_eq!(order(&log.take(&without)), rest);
    }

    #[test]
    fn the_order_is_that_of_the_numbers_and_a_sample_is_its_beginning() {
        // Of three users, in no order, with rows that are equal.
        let mut log = log(300);
        (0..300).for_each(|row| (log.user[row], log.item[row]) = (row as u32 * 7 % 3, row as u32 % 40));
        log.rating.fill(2.0);
        let mut numbered: Vec<([u8; 32], usize)> = Vec::new();
        for row in 0..300 {
            let copy = (0..row).filter(|&other| log.content(other) == log.content(row)).count() as u64;
            let mut hasher = blake3::Hasher::new();
            let parts = [PURPOSE, 6, log.user[row].into(), log.item[row].into(), 0, 2.0_f32.to_bits().into(), copy];
            parts.iter().for_each(|part| _ = hasher.update(&part.to_le_bytes()));
            numbered.push((*hasher.finalize().as_bytes(), row));
        }
        numbered.sort_unstable();
        let order = log.sample_order(6);
        assert!(numbered.iter().map(|(_, row)| *row).eq(order.iter().copied()));
        for n in [0, 1, 77, 299, 300, 301] {
            let mut first = order[..n.min(300)].to_vec();
            first.sort_unstable();
            assert_eq!(log.sample_rows(n, 6), first);
        }
    }

    #[test]
    fn each_row_is_drawn_equally_often() {
        // 10 of 40 rows by 4,000 seeds: each row 1,000 times, with a variance of 750. The sum over the rows of the squared
        // deviations / 750 × 39/40 is chi-squared with 39 degrees of freedom, above 72.1 once in 1,000.
        let log = log(40);
        let mut drawn = [0_i32; 40];
        for seed in 0..4_000 {
            log.sample_order(seed).into_iter().take(10).for_each(|row| drawn[row] += 1);
        }
        let square: f64 = drawn.iter().map(|&count| f64::from(count - 1_000).powi(2)).sum();
        let chi_squared = square / 750.0 * 39.0 / 40.0;
        assert!((12.0..72.1).contains(&chi_squared), "{chi_squared}: {drawn:?}");
    }

    #[test]
    fn equal_rows_are_rows_of_their_own() {
        let log = Interactions { user: vec![1; 6], item: vec![2; 6], rating: vec![3.0; 6], timestamp: vec![4; 6] };
        let mut order = log.sample_order(0);
        assert_eq!(log.nested_sample(4, 0).unwrap().len(), 4);
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn more_than_the_log_has_is_refused_with_its_size() {
        let error = log(8).nested_sample(9, 0).unwrap_err().to_string();
        assert_eq!(error, "a sample of 9 interactions was requested of a log with 8\nhelp: request at most 8");
    }
}
