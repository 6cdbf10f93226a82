//! The interactions of a log that count as positive, where a world is fitted to what people took.

use anyhow::{Result, ensure};

use crate::artifact::Interactions;

/// The rows of `log` and of `holdout` that count: those rated `min_rating` or more; without it all, or where zeros say that nothing was
/// taken all but them.
///
/// # Errors
/// When no row of `log` counts, or a row names a user or item beyond `[users, items]`.
pub(super) fn positives(
    log: &Interactions,
    holdout: Option<&Interactions>,
    (min_rating, zeros_count): (Option<f64>, bool),
    [users, items]: [usize; 2],
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
    let holdout = holdout.map(of).unwrap_or_default();
    holdout.check_within("holdout", users, items)?;
    Ok([fitted, holdout])
}
