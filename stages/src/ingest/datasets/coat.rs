//! Coat shopping (Schnabel et al. 2016, arXiv 1602.05352): ratings of coats that users chose, and of coats drawn at random.
//!
//! `train.ascii` and `test.ascii` are matrices of users × items in which 0 means "not rated"; `user_item_features/` holds
//! one-hot features and the names of their columns. Items have no titles: a coat is described by its features ([`Items::describe`]). The
//! propensities are read by `world.propensities`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use pipeline::{AssetName, Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Array, Interactions, Items, TextFile, Users, read_matrix};
use crate::ingest::NoInputs;
use crate::ingest::readers::shard::not_empty;

/// The feature that serves as the genre.
const GENRE: &str = "jackettype";

/// `ingest.coat`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Coat {
    /// The folder with `train.ascii`, `test.ascii` and `user_item_features/`.
    pub asset: AssetName,
}

pipeline::ports! {
    /// The tables of Coat.
    pub struct Outputs {
        /// Ratings of coats that users chose, for training.
        interactions: Interactions,
        /// Ratings of coats drawn at random, for evaluation. Where a true matrix was fitted to them, neither may be used for training.
        random: Interactions,
        /// The coats with their features; the title lists the features, the genre is the type of the jacket.
        items: Items,
        /// The users with their features.
        users: Users,
    }
}

impl Stage for Coat {
    const KIND: &'static str = "ingest.coat";
    /// 1: first. 2: items have features. 3: an empty log is refused. 4: coats are described in words, not by the names of columns.
    /// 5: a byte-order mark is not part of the first feature.
    const VERSION: u32 = 5;
    const ABOUT: &'static str = "read Coat shopping: ratings of coats that users chose, and of random coats";
    type Inputs = NoInputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }

    fn run(&self, _: NoInputs, cx: &Context) -> Result<Outputs> {
        let folder = cx.asset(&self.asset)?;
        let (train, test) = (read_matrix(&folder.join("train.ascii"))?, read_matrix(&folder.join("test.ascii"))?);
        ensure!(
            train.shape == test.shape,
            "{}: train.ascii is {:?}, test.ascii is {:?}",
            folder.display(),
            train.shape,
            test.shape
        );
        let users = Features::read(folder, "user", train.shape[0])?;
        let items = Features::read(folder, "item", train.shape[1])?;
        let outputs = Outputs {
            interactions: rated(&train),
            random: rated(&test),
            items: items.as_items(),
            users: users.as_users(),
        };
        let (chosen, random) = (outputs.interactions.len(), outputs.random.len());
        not_empty(chosen, &folder.join("train.ascii"))?;
        not_empty(random, &folder.join("test.ascii"))?;
        let [users, items] = train.shape[..] else { unreachable!("a matrix has two dimensions") };
        cx.note("read", format!("{chosen} chosen and {random} random ratings, {users} users, {items} items"));
        Ok(outputs)
    }
}

/// The entries that are not 0, row by row; Coat has no times.
fn rated(matrix: &Array) -> Interactions {
    let items = matrix.shape[1];
    let mut log = Interactions::default();
    for (at, &rating) in matrix.data.iter().enumerate().filter(|(_, rating)| **rating != 0.0) {
        log.user.push((at / items) as u32);
        log.item.push((at % items) as u32);
        log.rating.push(rating);
        log.timestamp.push(0);
    }
    log
}

/// The value of each feature per row: `gender` → `men`.
struct Features {
    /// By feature, in the order of the file.
    values: Vec<(String, Vec<String>)>,
    rows: usize,
}

impl Features {
    /// One-hot columns, named `feature:value`.
    fn read(folder: &Path, of: &str, rows: usize) -> Result<Self> {
        let folder = folder.join("user_item_features");
        let path = folder.join(format!("{of}_features_map.txt"));
        let names = TextFile::new(&path).text()?;
        let names: Vec<&str> = names.lines().filter(|line| !line.trim().is_empty()).collect();
        let one_hot = read_matrix(&folder.join(format!("{of}_features.ascii")))?;
        ensure!(
            one_hot.shape == [rows, names.len()],
            "{of}_features.ascii is {:?}; the ratings have {rows} {of}s and {} names {} columns",
            one_hot.shape,
            path.display(),
            names.len()
        );
        let mut values: Vec<(String, Vec<String>)> = Vec::new();
        for (column, name) in names.iter().enumerate() {
            let place = || format!("{}:{}: found {name:?}, wanted `feature:value`", path.display(), column + 1);
            let (feature, value) = name.split_once(':').with_context(place)?;
            if values.last().is_none_or(|(last, _)| last != feature) {
                values.push((feature.to_owned(), vec![String::new(); rows]));
            }
            let (_, texts) = values.last_mut().expect("one was just pushed");
            for (row, text) in texts.iter_mut().enumerate().filter(|(row, _)| one_hot.row(*row)[column] > 0.0) {
                ensure!(text.is_empty(), "{of} {row} has two values of `{feature}`: `{text}` and `{value}`");
                value.clone_into(text);
            }
        }
        Ok(Self { values, rows })
    }

    fn ids(&self) -> Vec<String> {
        (0..self.rows).map(|row| row.to_string()).collect()
    }

    fn as_users(&self) -> Users {
        let features: BTreeMap<String, Vec<String>> = self.values.iter().cloned().collect();
        Users { id: self.ids(), features }
    }

    fn as_items(&self) -> Items {
        let of = |wanted: &str| self.values.iter().find(|(feature, _)| feature == wanted);
        let genres = |row: usize| of(GENRE).map(|(_, values)| values[row].clone()).into_iter().collect();
        let mut items = Items {
            id: self.ids(),
            title: vec![String::new(); self.rows],
            year: vec![None; self.rows],
            genres: (0..self.rows).map(genres).collect(),
            features: self.values.iter().filter(|(feature, _)| feature != GENRE).cloned().collect(),
        };
        items.title = (0..self.rows).map(|row| items.description(row).unwrap_or_default()).collect();
        items
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn run(change: impl Fn(&Path)) -> Result<Outputs> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        fs::create_dir(folder.path().join("user_item_features")).unwrap();
        write("train.ascii", "0 2 0\n5 0 1\n");
        write("test.ascii", "3 0 0\n0 0 0\n");
        write("user_item_features/user_features_map.txt", "gender:men\ngender:women\nage:20-30\nage:over 60\n");
        write("user_item_features/user_features.ascii", "1 0 0 1\n0 1 1 0\n");
        write(
            "user_item_features/item_features_map.txt",
            "gender:men\ngender:women\njackettype:pea\njackettype:rain\n",
        );
        write("user_item_features/item_features.ascii", "1 0 1 0\n0 1 0 1\n1 0 0 1\n");
        change(folder.path());
        let mut cx = Context::detached(folder.path());
        cx.add_asset("coat", folder.path());
        Coat { asset: AssetName("coat".into()) }.run(NoInputs {}, &cx)
    }

    #[test]
    fn matrices_become_logs_and_one_hot_columns_words() {
        let outputs = run(|_| {}).unwrap();
        assert_eq!((outputs.interactions.user, outputs.interactions.item), (vec![0, 1, 1], vec![1, 0, 2]));
        assert_eq!(outputs.interactions.rating, [2.0, 5.0, 1.0]);
        assert_eq!((outputs.random.user, outputs.random.rating), (vec![0], vec![3.0]));
        assert_eq!(outputs.items.title, ["men's pea", "women's rain", "men's rain"]);
        assert_eq!(outputs.items.genres[1], ["rain"]);
        assert_eq!(outputs.items.features.keys().collect::<Vec<_>>(), ["gender"], "the genre is no feature once more");
        assert_eq!(outputs.items.features["gender"], ["men", "women", "men"]);
        assert_eq!(outputs.users.features["age"], ["over 60", "20-30"]);
    }

    #[test]
    fn a_mark_is_no_part_of_the_first_value() {
        let whole = run(|_| {}).unwrap();
        let marked = run(|folder| {
            let names =
                ["user_features_map.txt", "item_features_map.txt", "user_features.ascii", "item_features.ascii"];
            let names = names.map(|name| format!("user_item_features/{name}"));
            for name in names.iter().map(String::as_str).chain(["train.ascii", "test.ascii"]) {
                let text = fs::read_to_string(folder.join(name)).unwrap();
                fs::write(folder.join(name), format!("\u{feff}{text}")).unwrap();
            }
        });
        let marked = marked.unwrap();
        assert_eq!((marked.interactions, marked.users.features), (whole.interactions, whole.users.features));
        assert_eq!(marked.items.features, whole.items.features);
    }

    #[test]
    fn files_that_do_not_fit_together_are_named() {
        let error = |name: &'static str, text: &'static str| {
            run(move |folder| fs::write(folder.join(name), text).unwrap()).err().unwrap().to_string()
        };
        assert!(error("test.ascii", "1 2\n3 4\n").contains("train.ascii is [2, 3], test.ascii is [2, 2]"));
        let features = error("user_item_features/user_features.ascii", "1 0 0 1\n");
        assert!(features.contains("user_features.ascii is [1, 4]; the ratings have 2 users"), "{features}");
        let twice = error("user_item_features/user_features.ascii", "1 1 0 1\n0 1 1 0\n");
        assert!(twice.contains("user 0 has two values of `gender`: `men` and `women`"), "{twice}");
    }
}
