//! The items of highest score among those that may be taken.

use crate::nn::MASKED_LOGIT;

/// The `count` items of highest score, best first, with their scores; ties to the lowest number. What is masked is left out. It keeps
/// a few times as many, not a copy of the catalogue.
#[must_use]
pub fn top_items(scores: &[f32], count: usize) -> Vec<(u32, f32)> {
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let room = count.saturating_mul(2).clamp(64, scores.len().max(64));
    let mut kept: Vec<(u32, f32)> = Vec::with_capacity(room);
    // The lowest score of `count` items that were met before: what comes later has to be higher.
    let mut floor = None;
    for (item, &score) in (0..).zip(scores) {
        let low = floor.is_some_and(|floor: f32| score.total_cmp(&floor).is_le());
        if low || f64::from(score) <= MASKED_LOGIT / 2.0 {
            continue;
        }
        if kept.len() == room && count < room {
            kept.select_nth_unstable_by(count, order);
            kept.truncate(count);
            floor = kept.iter().map(|pair| pair.1).min_by(f32::total_cmp);
            if floor.is_none_or(|floor| score.total_cmp(&floor).is_le()) {
                continue;
            }
        }
        kept.push((item, score));
    }
    kept.sort_unstable_by(order);
    kept.truncate(count);
    kept
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::nn::rng;

    #[test]
    fn the_best_are_among_what_may_be_taken() {
        let not = MASKED_LOGIT as f32;
        assert_eq!(top_items(&[1.0, 3.0 + not, 2.0, 3.0], 2), [(3, 3.0), (2, 2.0)]);
        assert_eq!(top_items(&[1.0, 1.0, not], 9), [(0, 1.0), (1, 1.0)]);
        assert!(top_items(&[1.0], 0).is_empty() && top_items(&[not], 3).is_empty());
        // As a sort of everything, with many ties, in any order.
        let mut draw = rng(&[3]);
        let scores: Vec<f32> =
            (0..3000).map(|_| if draw.random_bool(0.1) { not } else { draw.random_range(0..40) as f32 }).collect();
        for count in [1, 31, 32, 33, 500, 5000] {
            let mut all: Vec<(u32, f32)> = (0..).zip(scores.iter().copied()).filter(|pair| pair.1 > -1.0).collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            all.truncate(count);
            assert_eq!(top_items(&scores, count), all, "{count}");
        }
    }
}
