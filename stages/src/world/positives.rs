//! The interactions of a log that count as positive, where a world is fitted to what people took.

use anyhow::{Result, ensure};
use pipeline::Context;

use crate::artifact::Interactions;

/// The rows of `log` and of `holdout` that count: those rated `min_rating` or more; without it all, or where zeros say that nothing was
/// taken all but them. How many of `log` are left out is noted on the run.
///
/// # Errors
/// When no row of `log` counts, or a row names a user or item beyond `[users, items]`.
pub(super) fn positives(
    log: &Interactions,
    holdout: Option<&Interactions>,
    (min_rating, zeros_count): (Option<f64>, bool),
    [users, items]: [usize; 2],
    cx: &Context,
) -> Result<[Interactions; 2]> {
    log.check_within("interactions", users, items)?;
    let of = |log: &Interactions| {
        let counts = |row: &usize| {
            let rating = log.rating[*row];
            min_rating.map_or(zeros_count || rating != 0.0, |least| f64::from(rating) >= least)
        };
        log.take(&(0..log.len()).filter(counts).collect::<Vec<_>>())
    };
    let fitted = of(log);
    ensure!(
        !fitted.is_empty(),
        "{}",
        match min_rating {
            Some(least) if !log.is_empty() =>
                format!("none of {} interactions is rated {least} or more\nhelp: lower `min_rating`", log.len()),
            _ => "no interaction to fit a world on".to_owned(),
        }
    );
    let left_out = log.len() - fitted.len();
    if left_out > 0 {
        let why = min_rating.map_or("rated 0".to_owned(), |least| format!("rated below `min_rating` {least}"));
        cx.note("left out", format!("{left_out} of {} interactions, {why}", log.len()));
    }
    let holdout = holdout.map(of).unwrap_or_default();
    holdout.check_within("holdout", users, items)?;
    Ok([fitted, holdout])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_do_not_count_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::detached(folder.path());
        let log = Interactions {
            user: vec![0; 4],
            item: vec![0, 1, 2, 3],
            rating: vec![0.0, 0.05, 1.0, 0.0],
            timestamp: vec![0; 4],
        };
        let kept = |min_rating, zeros_count| {
            positives(&log, Some(&log), (min_rating, zeros_count), [1, 4], &cx).map(|kept| kept.map(|log| log.item))
        };
        for (rule, items) in
            [((None, true), vec![0, 1, 2, 3]), ((None, false), vec![1, 2]), ((Some(0.1), true), vec![2])]
        {
            assert_eq!(kept(rule.0, rule.1).unwrap(), [items.clone(), items]);
        }
        let error = kept(Some(2.0), true).unwrap_err().to_string();
        assert!(error.contains("none of 4 interactions is rated 2 or more\nhelp: lower"), "{error}");
    }
}
