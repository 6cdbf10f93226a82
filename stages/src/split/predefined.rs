//! The test part as the benchmark defines it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use pipeline::Context;

use super::ports::Outputs;
use super::ties::Ties;
use crate::artifact::Interactions;

/// The test part is `test`; the training part is the log without its rows.
pub(super) fn parts(log: &Interactions, rows_of: &[Vec<usize>], test: &Interactions, cx: &Context) -> Result<Outputs> {
    ensure!(!test.is_empty(), "the input `test` is empty");
    let key = |log: &Interactions, row: usize| (log.user[row], log.item[row], log.timestamp[row]);
    let kept: BTreeSet<_> = (0..test.len()).map(|row| key(test, row)).collect();
    let train: Vec<usize> = rows_of.iter().flatten().copied().filter(|&row| !kept.contains(&key(log, row))).collect();
    ensure!(!train.is_empty(), "every row of the log is in the input `test`");
    let both = log.len() - train.len();
    cx.note("cut", format!("{} train, {} test as given ({both} rows were in both)", train.len(), test.len()));
    let in_order: Vec<usize> = Ties::FileOrder.by_user(test, 0).into_iter().flatten().collect();
    Ok(Outputs { train: log.take(&train), test: test.take(&in_order) })
}
