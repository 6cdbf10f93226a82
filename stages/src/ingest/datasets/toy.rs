//! A small synthetic log of known structure, for experiments that run in seconds anywhere.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use rand::RngExt;

use crate::nn::rng;

const USERS: u32 = 40;
const ITEMS: u32 = 60;
const GENRES: [&str; 6] = ["Drama", "Comedy", "Action", "War", "Romance", "Horror"];

/// Writes `toy.inter`, `toy.item` and `toy.user`: 40 users, 60 items in 6 genres of 10, 20 ratings a user. A user of group g
/// (= user mod 3) likes genres 2g and 2g + 1: 5 there and 2 elsewhere, give or take 1, and the lower an item's number within
/// its genre, the better by up to 1.
pub fn write_toy(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut items = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n".to_owned();
    for item in 0..ITEMS {
        let genre = GENRES[item as usize / 10];
        writeln!(items, "{item}\t{genre} {}\t{}\t{genre}", item % 10, 1950 + item)?;
    }
    let mut users = "user_id:token\tgroup:token\n".to_owned();
    let mut log = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n".to_owned();
    for user in 0..USERS {
        writeln!(users, "{user}\t{}", user % 3)?;
        let mut draw = rng(&[0x107, u64::from(user)]);
        for turn in 0..20 {
            // Steps of 7 from a start of its own visit every item once before any twice.
            let item = (user * 11 + turn * 7) % ITEMS;
            let liked = item / 20 == user % 3;
            let base = if liked { 5.0 } else { 2.0 } - f64::from(item % 10) / 10.0;
            let rating = (base + draw.random_range(-1.0..1.0)).round().clamp(1.0, 5.0);
            writeln!(log, "{user}\t{item}\t{rating}\t{}", 1_000_000 + user * 100 + turn)?;
        }
    }
    for (name, text) in [("toy.inter", log), ("toy.item", items), ("toy.user", users)] {
        std::fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}
