use super::*;
use crate::artifact::{Ids, World};
use crate::env::cluster_world;
use crate::nn::actor_critic::ActorCriticConfig;
use crate::nn::{ActorCritic, Encoder};
use crate::recommend;
use pipeline::recommend::{Answer, RecommendBatch, RecommendQuery};

const USERS: usize = 6;
const ITEMS: usize = 40;
const GENRES: [&str; 4] = ["war", "love", "space", "crime"];

/// A number without a pattern, in [−1, 1].
fn noise(k: usize) -> f32 {
    ((k * k % 977) as f32 * 1.7 + 0.3).sin()
}

/// A catalogue in which item k is of genre k mod 4, with a price that means nothing.
fn catalogue(items: std::ops::Range<usize>) -> Items {
    Items {
        id: items.clone().map(|k| format!("i{k}")).collect(),
        title: items.clone().map(|k| format!("Title {k}")).collect(),
        year: vec![None; items.len()],
        genres: items.clone().map(|k| vec![GENRES[k % 4].to_owned()]).collect(),
        features: [("price".to_owned(), items.map(|k| format!("{:.2}", 50.0 + 40.0 * noise(k + 3))).collect())].into(),
    }
}

/// A policy of the first items whose vectors are those of their genres, as far as `told`, and noise.
fn policy(told: f32) -> PolicyFile {
    let config = ActorCriticConfig {
        users: USERS,
        items: ITEMS,
        width: 3,
        window: 2,
        hidden_size: 4,
        encoder: Encoder::Window,
        prior_scale: 1.0,
        similarity_penalty: 1.0,
        similar_fraction: 0.1,
    };
    let vector = |k: usize, d: usize| told * noise(17 * (k % 4) + d) + (1.0 - told) * noise(91 * k + d);
    let items = Array::new(&[ITEMS, 3], (0..ITEMS).flat_map(|k| [0, 1, 2].map(|d| vector(k, d))).collect());
    let users = Array::new(&[USERS, 3], (0..USERS * 3).map(|k| noise(k + 1000)).collect());
    let network = ActorCritic::new(config, &users, &items, 1).unwrap();
    let mut world: World = cluster_world(&[5.0, 4.0], 2, 1, 4, 3);
    let of = catalogue(0..ITEMS);
    world.ids = Ids { users: (0..USERS).map(|u| format!("u{u}")).collect(), items: of.id, titles: of.title };
    PolicyFile::new(network.export().unwrap(), "rl.bc", &world).unwrap()
}

/// What is added to a policy from a catalogue, and the policy.
fn added(policy: &PolicyFile, catalogue: &Items, features: &[(&str, &str)]) -> Result<(AddedItems, PolicyFile)> {
    let folder = tempfile::tempdir().unwrap();
    let [from, items, out] = ["policy", "items", "out"].map(|name| folder.path().join(name));
    policy.write(&from).unwrap();
    catalogue.write(&items).unwrap();
    let features = features.iter().map(|&(name, kind)| (name.to_owned(), kind.to_owned())).collect();
    let found = add_items(&AddItems { policy: &from, catalogue: &items, features, out: &out })?;
    Ok((found, PolicyFile::read(&out).unwrap()))
}

fn answer(policy: &PolicyFile, history: &[&str]) -> Answer {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy");
    policy.write(&path).unwrap();
    let history = history.iter().map(|&item| item.to_owned()).collect();
    let queries = vec![RecommendQuery { user: Some("u2".into()), history, ..RecommendQuery::default() }];
    let batch = RecommendBatch { queries, count: 100, exclude_history: true, ..RecommendBatch::default() };
    recommend::load(&path).unwrap().answer(&batch).unwrap().answers.remove(0)
}

/// Ids with scores, of known or of new items.
fn scores(answer: &Answer, new: bool) -> Vec<(&str, f32)> {
    answer.items.iter().filter(|item| item.new_item == new).map(|item| (item.id.as_str(), item.score)).collect()
}

#[test]
fn new_items_are_scored_as_their_columns_and_known_ones_as_before() {
    let policy = policy(0.9);
    let (found, more) = added(&policy, &catalogue(10..ITEMS + 8), &[]).unwrap();
    assert_eq!((found.known, found.not_in_catalogue, found.added, found.by_mean), (ITEMS - 10, 10, 8, 0));
    assert_eq!(found.columns[0], "genres (multi_valued, 4 values)");
    assert!(found.columns[1].starts_with("price (numeric, mean ") && found.left_out.is_empty(), "{found:?}");
    assert!(found.agreement > 0.5 && found.users == USERS, "{found:?}");
    for history in [&[][..], &["i3", "i7"]] {
        let (before, after) = (answer(&policy, history), answer(&more, history));
        let (old, known, new) = (scores(&before, false), scores(&after, false), scores(&after, true));
        assert_eq!((known.len(), new.len()), (ITEMS - history.len(), 8));
        for (old, known) in old.iter().zip(&known) {
            assert!(old.0 == known.0 && (old.1 - known.1).abs() < 1e-4, "{old:?} {known:?}");
        }
        // The best genre of the known ones is that of the new ones, too.
        let genre = |id: &str| id[1..].parse::<usize>().unwrap() % 4;
        let mean = |of: &[(&str, f32)], wanted: usize| {
            let of: Vec<f32> = of.iter().filter(|(id, _)| genre(id) == wanted).map(|(_, score)| *score).collect();
            of.iter().sum::<f32>() / of.len() as f32
        };
        let best = |of: &[(&str, f32)]| (0..4).max_by(|&a, &b| mean(of, a).total_cmp(&mean(of, b)));
        assert_eq!(best(&known), best(&new), "{known:?} {new:?}");
    }
    // Shown, a new item counts as any other.
    assert!(answer(&more, &["i44"]).items.iter().all(|item| item.id != "i44"));
}

#[test]
fn columns_that_say_nothing_are_said_to() {
    let (found, more) = added(&policy(0.0), &catalogue(0..ITEMS + 2), &[("genres", "multi_valued:|")]).unwrap();
    assert!(found.agreement.abs() < 0.4, "{found:?}");
    assert_eq!(more.origin().unwrap().added_items, 2);
    // Again with more: what was added before teaches nothing, and stays.
    let (found, twice) = added(&more, &catalogue(0..ITEMS + 5), &[("genres", "multi_valued:|")]).unwrap();
    assert_eq!((found.known, found.added, twice.origin().unwrap().added_items), (ITEMS + 2, 3, 5));
    assert_eq!(scores(&answer(&twice, &[]), true).len(), 5);
    assert_eq!(twice.0.arrays["table.similarity_bandwidth"], more.0.arrays["table.similarity_bandwidth"]);
}

#[test]
fn values_that_no_known_item_has_are_counted() {
    let mut items = catalogue(0..ITEMS + 2);
    items.genres[ITEMS] = vec!["opera".into()];
    let found = added(&policy(0.9), &items, &[("genres", "multi_valued:|")]).unwrap().0;
    assert_eq!((found.added, found.by_mean), (2, 1));
}

#[test]
fn what_cannot_be_added_is_said_with_the_reason() {
    let policy = policy(0.9);
    let refused = |items: &Items, features: &[(&str, &str)]| {
        let error = added(&policy, items, features).unwrap_err();
        assert!(error.is::<UsageError>(), "{error:#}");
        error.to_string()
    };
    assert_eq!(
        refused(&catalogue(0..ITEMS), &[]),
        "the policy knows all 40 items of the catalogue: there is none to add"
    );
    let other = refused(&catalogue(100..120), &[]);
    assert!(other.starts_with("none of the 20 items of the catalogue, such as \"i100\", is one that the policy knows"));
    assert!(refused(&catalogue(35..50), &[]).starts_with("the catalogue has 5 items that the policy was trained with"));
    let all = catalogue(0..ITEMS + 1);
    let unknown = refused(&all, &[("brnd", "categorical")]);
    assert!(unknown.contains("`--feature brnd=categorical`: the table of items has no column `brnd`"), "{unknown}");
    assert!(refused(&all, &[("price", "number")]).contains("found `number`, wanted `categorical`, `numeric`"));
    assert!(refused(&all, &[("genres", "numeric")]).contains("declared numeric"));
    let mut same = all.clone();
    same.genres.fill(vec!["war".into()]);
    same.features.clear();
    let nothing = refused(&same, &[]);
    assert!(nothing.starts_with("no column of the catalogue says anything of an item: genres (one value"), "{nothing}");
}
