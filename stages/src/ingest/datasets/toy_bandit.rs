//! A small log in the form of the Open Bandit sample: what a uniformly random policy showed, and who clicked.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use rand::RngExt;

use crate::nn::rng;

const USERS: u32 = 60;
const ITEMS: u32 = 20;
/// Recommendations to a user.
const SHOWN: u32 = 60;

/// Writes `log.csv` with the columns of the Open Bandit sample and one of user features: 60 users, 20 items, 60 rows a user. A user of
/// group g (= user mod 4) clicks on an item of that group (= item mod 4) with chance 0.6 and on another with chance 0.1.
pub fn write_toy_bandit(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut log = "timestamp,item_id,position,click,propensity_score,user_feature_0\n".to_owned();
    for user in 0..USERS {
        let mut draw = rng(&[0x0bd, u64::from(user)]);
        for turn in 0..SHOWN {
            let item = draw.random_range(0..ITEMS);
            let chance = if item % 4 == user % 4 { 0.6 } else { 0.1 };
            let click = u8::from(draw.random_bool(chance));
            let time = 1_574_553_600 + turn * 600 + user;
            writeln!(log, "{time},{item},{},{click},{},user-{user}", turn % 3 + 1, 1.0 / f64::from(ITEMS))?;
        }
    }
    std::fs::write(folder.join("log.csv"), log).context("cannot write log.csv")
}
