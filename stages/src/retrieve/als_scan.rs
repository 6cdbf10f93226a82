//! The best items of each user by a dot product over the whole catalogue: every item is scored, none is skipped.
//!
//! Items are laid out in tiles whose scores are computed for several users while the tile is in the cache, and only scores above the
//! lowest of a user's best so far are looked at again.

use anyhow::Result;
use pipeline::Context;
use rayon::prelude::*;

use super::top_k::Best;
use super::top_k::Ranked;
use crate::nn::with_simd;

/// Items a tile, and users that share it: 64 factors of 256 items take 64 kB.
const ITEMS: usize = 256;
const USERS: usize = 16;

/// The best `top_k` items of each user by x_u·y_i in f32, added in the order of the factors; `x` is `[U, width]` and `y` is
/// `[I, width]`. Users who are `cold` get the first of `popular`, `[I]`, each with the score 0.
pub(super) fn rank(
    x: &[f64],
    y: &[f64],
    width: usize,
    top_k: usize,
    cold: &(dyn Fn(usize) -> bool + Sync),
    popular: &[u32],
    cx: &Context,
) -> Result<Vec<Ranked>> {
    let (users, items) = (x.len() / width, y.len() / width);
    let tiles = tiles(y, width);
    let bar = cx.bar("rank", Some(users as u64), "users");
    let of_group = |(group, x): (usize, &[f64])| {
        cx.check_cancelled()?;
        let x: Vec<f32> = x.iter().map(|&value| value as f32).collect();
        let mut best: Vec<Best> = x.chunks_exact(width).map(|_| Best::new(top_k)).collect();
        for (tile, factors) in tiles.chunks_exact(ITEMS * width).enumerate() {
            let first = tile * ITEMS;
            for (x, best) in x.chunks_exact(width).zip(&mut best) {
                let scores = scores(x, factors);
                best.scan(first as u32, &scores[..ITEMS.min(items - first)]);
            }
        }
        bar.inc(best.len() as u64);
        let ranked = best.iter_mut().enumerate().map(|(offset, best)| match cold(group * USERS + offset) {
            true => popular.iter().take(top_k).map(|&item| (item, 0.0)).unzip(),
            false => best.take(),
        });
        Ok(ranked.collect::<Vec<_>>())
    };
    let groups: Vec<Vec<Ranked>> = x.par_chunks(USERS * width).enumerate().map(of_group).collect::<Result<_>>()?;
    Ok(groups.into_iter().flatten().collect())
}

/// `[I, width]` as tiles `[width, ITEMS]`, zeros after the last item.
fn tiles(y: &[f64], width: usize) -> Vec<f32> {
    let items = y.len() / width;
    let mut tiles = vec![0.0; items.div_ceil(ITEMS) * ITEMS * width];
    tiles.par_chunks_mut(ITEMS * width).zip(y.par_chunks(ITEMS * width)).for_each(|(tile, y)| {
        for (item, y) in y.chunks_exact(width).enumerate() {
            y.iter().enumerate().for_each(|(factor, &value)| tile[factor * ITEMS + item] = value as f32);
        }
    });
    tiles
}

/// x·y of the items of a tile.
fn scores(x: &[f32], tile: &[f32]) -> [f32; ITEMS] {
    with_simd(|| {
        let mut scores = [0.0; ITEMS];
        for (&x, y) in x.iter().zip(tile.chunks_exact(ITEMS)) {
            scores.iter_mut().zip(y).for_each(|(score, y)| *score += x * y);
        }
        scores
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scan_finds_what_sorting_all_scores_finds() {
        let (users, items, width) = (37, 600, 3);
        let value = |k: usize| ((k * 7919 % 23) as f64 - 11.0) / 8.0;
        let x: Vec<f64> = (0..users * width).map(value).collect();
        let y: Vec<f64> = (0..items * width).map(|k| value(k + 5)).collect();
        let popular: Vec<u32> = (0..items as u32).rev().collect();
        let cx = Context::detached(std::path::Path::new("unused"));
        let ranked = |top_k| rank(&x, &y, width, top_k, &|user| user == 36, &popular, &cx).unwrap();
        let ten = ranked(10);
        for (user, all) in ranked(items).into_iter().enumerate().take(36) {
            let mut sorted: Vec<(f32, u32)> = (0..items)
                .map(|item| ((0..width).map(|k| (x[user * width + k] * y[item * width + k]) as f32).sum(), item as u32))
                .collect();
            sorted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            assert_eq!(all.0, sorted.iter().map(|pair| pair.1).collect::<Vec<_>>(), "{user}");
            assert_eq!(all.1, sorted.iter().map(|pair| pair.0).collect::<Vec<_>>(), "{user}");
            assert_eq!(ten[user].0, all.0[..10], "{user}");
        }
        assert_eq!(ten[36], ((590..600).rev().collect(), vec![0.0; 10]));
    }
}
