//! Serving: recommendations of a trained policy, outside of any world, for `apprentice recommend`.
//!
//! A policy is served as it is evaluated: greedily, and with repeats where its training world allows them, unless the history is
//! excluded. Ids come from the policy file alone, so the file gives the same answers wherever it lies. Quit distances are not
//! known here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::Instant;

use anyhow::{Error, Result};
use pipeline::recommend::{Answer, Answers, RecommendBatch, RecommendQuery, Recommended};
use pipeline::{Artifact, UsageError};

use crate::artifact::{Ids, PolicyFile, Repeats};
use crate::env::{Observation, states};
use crate::nn::{PolicyNetwork, policy_io, top_items};

/// Queries per forward pass, at most.
const BATCH: usize = 256;
/// Scores per forward pass, at most: 64 MB.
const SCORES: usize = 1 << 24;

/// Answers queries with the policy of a file.
///
/// # Errors
/// [`UsageError`] where a user or an item is not known to the policy, or nothing is left to recommend.
pub fn recommend(path: &Path, batch: &RecommendBatch) -> Result<Answers> {
    let (network, origin, ids) = {
        let policy = PolicyFile::read(path)?;
        (policy_io::load(&policy.0)?, policy.origin()?, policy.ids()?)
    };
    let names = Names::of(ids, batch, &network)?;
    let exclude = batch.exclude_history || origin.repeats != Repeats::Allowed;
    let sessions: Vec<Session> =
        batch.queries.iter().map(|query| names.session(query, &network).map_err(at(query))).collect::<Result<_>>()?;
    let fresh: Vec<usize> = match exclude {
        true => (batch.queries.iter().zip(&sessions))
            .map(|(query, session)| left(session, network.config().items).map_err(Error::from).map_err(at(query)))
            .collect::<Result<_>>()?,
        false => vec![network.config().items; sessions.len()],
    };

    let begun = Instant::now();
    let mut chosen = Vec::with_capacity(sessions.len());
    let config = network.config();
    for sessions in sessions.chunks((SCORES / config.items.max(1)).clamp(1, BATCH)) {
        let mut observation = Observation { masking: exclude, ..Observation::unmasked(config.window) };
        for Session { user, history, rewards } in sessions {
            // A session that is longer than any it learned from is at its end.
            let first = history.len().saturating_sub(origin.horizon.saturating_sub(1));
            observation.push(*user, &history[first..], &rewards[first..], origin.horizon, config.items as u32);
            observation.mask_also(&history[..first]);
        }
        let scores = network.logits(&states(&network, &observation)?)?.flatten_all()?.to_vec1::<f32>()?;
        chosen.extend(scores.chunks_exact(config.items).map(|scores| top_items(scores, batch.count)));
    }
    let seconds = begun.elapsed().as_secs_f64();

    let wanted = batch.count.min(network.config().items);
    let note = |found: usize, fresh: usize| match found {
        _ if found < wanted.min(fresh) => {
            Some(format!("{found} instead of {wanted}: the policy allows no other item in this state"))
        }
        _ if found < wanted => Some(format!("{found} instead of {wanted}: items of the history are excluded")),
        _ => None,
    };
    let answer = |((query, fresh), chosen): ((&RecommendQuery, usize), Vec<(u32, f32)>)| Answer {
        user: query.user.clone(),
        note: note(chosen.len(), fresh),
        items: chosen.into_iter().map(|(item, score)| names.item(item, score)).collect(),
    };
    Ok(Answers { answers: batch.queries.iter().zip(fresh).zip(chosen).map(answer).collect(), seconds })
}

/// How many of the catalogue's items the history leaves, at least one.
fn left(session: &Session, items: usize) -> Result<usize, UsageError> {
    let shown: BTreeSet<u32> = session.history.iter().copied().collect();
    if shown.len() < items {
        return Ok(items - shown.len());
    }
    Err(UsageError(format!(
        "all {items} items of the policy's catalogue are in the history, which is excluded\nhelp: give a shorter history: \
         the items of this session alone"
    )))
}

/// Adds to an error the place of its query in a batch file.
fn at(query: &RecommendQuery) -> impl FnOnce(Error) -> Error {
    let place = query.place.clone();
    |error| match place {
        Some(place) => error.context(place),
        None => error,
    }
}

/// A query in the policy's row numbers.
struct Session {
    user: u32,
    history: Vec<u32>,
    /// As many as `history`; 0 where they are not known and not read.
    rewards: Vec<f32>,
}

/// What the ids and titles of some queries mean to a policy. (An index of all names would be larger than many a policy.)
struct Names {
    ids: Ids,
    /// Whether ids are row numbers, as they were asked for.
    rows: bool,
    users: usize,
    item_of: HashMap<String, u32>,
    titled: HashMap<String, Vec<u32>>,
    user_of: HashMap<String, u32>,
}

impl Names {
    /// Those of the policy's file, or its row numbers.
    fn of(ids: Ids, batch: &RecommendBatch, network: &dyn PolicyNetwork) -> Result<Self> {
        let (config, rows) = (network.config(), batch.rows);
        if !rows && (ids.users.is_empty() || ids.items.is_empty()) {
            let what = "the policy's file does not say which users and items its rows stand for".to_owned();
            return Err(UsageError(format!("{what}\nhelp: `--rows` asks by row number, from 0")).into());
        }
        let users: HashSet<&str> = batch.queries.iter().map(|query| &*query.user).collect();
        let items: HashSet<&str> = batch.queries.iter().flat_map(|query| &query.history).map(String::as_str).collect();
        let numbers = |asked: &HashSet<&str>, count: usize| {
            // As a row number is written, so that `007` is none.
            let row = |name: &&str| name.parse().ok().filter(|row: &u32| row.to_string() == *name);
            let known = asked.iter().filter_map(|name| Some((String::from(*name), row(name)?)));
            known.filter(|&(_, row)| (row as usize) < count).collect()
        };
        let named = |asked: &HashSet<&str>, ids: &[String]| {
            (0..).zip(ids).filter(|(_, id)| asked.contains(id.as_str())).map(|(row, id)| (id.clone(), row)).collect()
        };
        let item_of = if rows { numbers(&items, config.items) } else { named(&items, &ids.items) };
        let user_of = if rows { numbers(&users, config.users) } else { named(&users, &ids.users) };
        let mut titled: HashMap<String, Vec<u32>> = HashMap::new();
        for (row, title) in (0..).zip(&ids.titles).filter(|(_, title)| items.contains(title.as_str())) {
            titled.entry(title.clone()).or_default().push(row);
        }
        Ok(Self { rows, users: config.users, item_of, titled, user_of, ids })
    }

    fn session(&self, query: &RecommendQuery, network: &dyn PolicyNetwork) -> Result<Session> {
        let user = self.user_of.get(&query.user);
        let unknown = || {
            let Self { users, rows, .. } = self;
            let known = self.ids.users.iter().min().map_or_else(String::new, |id| format!(", such as {id:?}"));
            let help = match rows {
                true => format!("with `--rows` users are row numbers from 0, and it knows {users}"),
                false => format!("it knows the {users} users of its log by their ids{known}"),
            };
            UsageError(format!("the policy knows no user {:?}\nhelp: {help}", query.user))
        };
        let item = |name: &String| {
            let titled = self.titled.get(name).map_or(&[][..], Vec::as_slice);
            match (self.item_of.get(name), titled) {
                // An id goes before a title that reads like it.
                (Some(&item), _) | (None, &[item]) => Ok(item),
                (None, []) => Err(UsageError(format!(
                    "the policy's catalogue has no item {name:?}\nhelp: give its id or its exact title"
                ))),
                (None, several) => {
                    let ids: Vec<String> = several.iter().map(|&item| self.item(item, 0.0).id).collect();
                    let (ids, count) = (ids.join(", "), several.len());
                    Err(UsageError(format!("{count} items have the title {name:?}\nhelp: give the id of one: {ids}")))
                }
            }
        };
        let history = query.history.iter().map(item).collect::<Result<Vec<u32>, UsageError>>()?;
        let (items, earned) = (history.len(), query.rewards.len());
        if earned != items && (earned > 0 || network.config().encoder.reads_rewards()) {
            let help = match network.config().encoder.reads_rewards() {
                true => "this policy reads the reward of each item: give",
                false => "this policy does not read rewards: leave them out, or give",
            };
            return Err(UsageError(format!(
                "user {:?}: the history has {items} items and {earned} rewards\nhelp: {help} as many `--reward` as \
                 `--history` (in a batch `rewards`), in the same order",
                query.user
            ))
            .into());
        }
        let rewards = if earned == items { query.rewards.clone() } else { vec![0.0; items] };
        Ok(Session { user: *user.ok_or_else(unknown)?, history, rewards })
    }

    fn item(&self, row: u32, score: f32) -> Recommended {
        let of = |names: &[String]| names.get(row as usize).cloned();
        let id = of(&self.ids.items).filter(|_| !self.rows).unwrap_or_else(|| row.to_string());
        Recommended { id, title: of(&self.ids.titles), score }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::World;
    use crate::env::cluster_world;
    use crate::nn::actor_critic::ActorCriticConfig;
    use crate::nn::bcq_policy::BcqPolicy;
    use crate::nn::{ActorCritic, Encoder, GruEncoder};

    /// Three users `u0` and four items `i0`, the second and the third of which are both called `T1`.
    fn world() -> World {
        let mut world = cluster_world(&[5.0, 4.0], 2, 1, 4, 3);
        let texts = |letter: char, count: usize| (0..count).map(|k| format!("{letter}{k}")).collect::<Vec<_>>();
        let titles = (0..4).map(|k| format!("T{}", k - usize::from(k == 2))).collect();
        world.ids = Ids { users: texts('u', 3), items: texts('i', 4), titles };
        world
    }

    fn batch_of(user: &str, history: &[&str], rewards: Vec<f32>, count: usize) -> RecommendBatch {
        let history = history.iter().map(|&item| item.to_owned()).collect();
        RecommendBatch {
            queries: vec![RecommendQuery { user: user.into(), history, rewards, place: None }],
            count,
            ..RecommendBatch::default()
        }
    }

    /// Of a network for [`world`].
    fn config(encoder: Encoder) -> ActorCriticConfig {
        ActorCriticConfig {
            users: 3,
            items: 4,
            width: 2,
            window: 2,
            hidden_size: 4,
            prior_scale: 1.0,
            similarity_penalty: 0.0,
            similar_fraction: 0.5,
            encoder,
        }
    }

    fn ask_in(world: &World, encoder: Encoder, batch: &RecommendBatch) -> Result<Vec<Answer>> {
        let folder = tempfile::tempdir().unwrap();
        let config = config(encoder);
        let network = ActorCritic::new(config, &world.user_vectors, &world.item_vectors, 1).unwrap();
        let path = folder.path().join("policy");
        PolicyFile::new(network.export().unwrap(), "rl.bc", world).unwrap().write(&path).unwrap();
        Ok(recommend(&path, batch)?.answers)
    }

    fn ask(user: &str, history: &[&str], count: usize) -> Result<Vec<Answer>> {
        ask_in(&world(), Encoder::Window, &batch_of(user, history, vec![], count))
    }

    fn ids(answers: &[Answer]) -> Vec<&str> {
        let mut ids: Vec<_> = answers[0].items.iter().map(|item| item.id.as_str()).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn repeats_follow_the_world_unless_the_history_is_excluded() {
        let allowed = ask("u2", &["i1", "T3"], 10).unwrap();
        assert_eq!((ids(&allowed), &allowed[0].note), (vec!["i0", "i1", "i2", "i3"], &None));
        assert!(allowed[0].items[0].score >= allowed[0].items[1].score);
        assert!(allowed[0].items[0].title.as_ref().unwrap().starts_with('T'));

        let excluding = RecommendBatch { exclude_history: true, ..batch_of("u2", &["i1", "T3"], vec![], 10) };
        let excluded = ask_in(&world(), Encoder::Window, &excluding).unwrap();
        assert_eq!(ids(&excluded), ["i0", "i2"]);
        assert_eq!(excluded[0].note.as_deref(), Some("2 instead of 4: items of the history are excluded"));
        let mut masked = world();
        masked.rules.repeats = Repeats::Masked;
        let follows = ask_in(&masked, Encoder::Window, &batch_of("u2", &["i1", "T3"], vec![], 10)).unwrap();
        assert_eq!(ids(&follows), ["i0", "i2"], "the world that it learned in shows nothing twice");

        // A history that is longer than any episode is masked as a whole, though only its end is read.
        let long = ["i0", "i1", "i2", "i1", "i2"];
        let excluding = RecommendBatch { exclude_history: true, ..batch_of("u2", &long, vec![], 10) };
        assert_eq!(ids(&ask_in(&world(), Encoder::Window, &excluding).unwrap()), ["i3"]);
        let excluding =
            RecommendBatch { exclude_history: true, ..batch_of("u2", &["i0", "i1", "i2", "i3"], vec![], 1) };
        let error = ask_in(&world(), Encoder::Window, &excluding).unwrap_err().to_string();
        assert!(error.starts_with("all 4 items of the policy's catalogue are in the history"), "{error}");
    }

    #[test]
    fn a_policy_that_takes_only_what_is_usual_says_so_and_does_not_run_dry() {
        let world = world();
        let config = config(Encoder::Window);
        let network = |bias: [f32; 4]| {
            let network = ActorCritic::new(config.clone(), &world.user_vectors, &world.item_vectors, 3).unwrap();
            let mut arrays = network.params().export().unwrap();
            arrays.get_mut("bias").unwrap().data = bias.to_vec();
            network.params().import(&arrays).unwrap();
            network
        };
        // Behaviour takes item 0, else item 1, else items 2 and 3 alike; item 3 is worth most.
        let (values, behaviour) = (network([0.0, 10.0, 20.0, 30.0]), network([90.0, 60.0, 30.0, 30.0]));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy");
        let file = BcqPolicy::export(&values, &behaviour, 0.001).unwrap();
        PolicyFile::new(file, "rl.bcq", &world).unwrap().write(&path).unwrap();
        let ask = |history: &[&str], exclude_history| {
            let answers =
                recommend(&path, &RecommendBatch { exclude_history, ..batch_of("u0", history, vec![], 3) }).unwrap();
            let Answer { items, note, .. } = answers.answers.into_iter().next().unwrap();
            (items.into_iter().map(|item| item.id).collect::<Vec<_>>(), note.unwrap_or_default())
        };
        assert_eq!(
            ask(&[], false),
            (vec!["i0".into()], "1 instead of 3: the policy allows no other item in this state".into())
        );
        assert_eq!(ask(&["i0"], true).0, ["i1"]);
        assert_eq!(
            ask(&["i0", "i1"], true).0,
            ["i3", "i2"],
            "all that was usual is in the history: what is then, by value"
        );
    }

    #[test]
    fn ids_are_ids_and_rows_are_asked_for_by_name() {
        // Ids that read like the row numbers of other users and items.
        let mut turned = world();
        let texts = |of: [&str; 4]| of.map(str::to_owned).to_vec();
        turned.ids =
            Ids { users: texts(["2", "1", "0", ""])[..3].to_vec(), items: texts(["3", "2", "1", "0"]), titles: vec![] };
        // All users of this world are alike; a vector of their own tells them apart.
        turned.user_vectors.data = vec![9.0, 0.0, 0.0, 9.0, -9.0, -9.0];
        let ask = |user: &str, rows: bool| {
            let answers =
                ask_in(&turned, Encoder::Window, &RecommendBatch { rows, ..batch_of(user, &[], vec![], 4) }).unwrap();
            answers[0].items.iter().map(|item| (item.id.parse::<u32>().unwrap(), item.score)).collect::<Vec<_>>()
        };
        let (by_id, by_row) = (ask("2", false), ask("0", true));
        let turned_back: Vec<_> = by_row.iter().map(|&(row, score)| (3 - row, score)).collect();
        assert_eq!(by_id, turned_back, "user `2` is in row 0, and items are named by id");
        assert_ne!(by_id, ask("0", false));

        let mut unknown = world();
        unknown.ids = Ids::default();
        let error = ask_in(&unknown, Encoder::Window, &batch_of("0", &[], vec![], 1)).unwrap_err().to_string();
        assert!(error.contains("does not say which users and items its rows stand for\nhelp: `--rows`"), "{error}");
        let rows = RecommendBatch { rows: true, ..batch_of("0", &["3"], vec![], 1) };
        assert!(ask_in(&unknown, Encoder::Window, &rows).is_ok());
    }

    #[test]
    fn who_and_what_is_not_known_is_named() {
        let error = |user, history: &[&str]| {
            let error = ask(user, history, 1).unwrap_err();
            assert!(error.chain().any(|cause| cause.is::<UsageError>()));
            format!("{error:#}")
        };
        assert!(error("7", &[]).contains("no user \"7\"\nhelp: it knows the 3 users"));
        assert!(error("u0", &["Heat"]).contains("no item \"Heat\"\nhelp: give its id"));
        let twice = error("u0", &["T1"]);
        assert!(twice.contains("2 items have the title \"T1\"\nhelp: give the id of one: i1, i2"), "{twice}");
    }

    #[test]
    fn rewards_are_wanted_only_by_a_policy_that_reads_them() {
        let ask = |encoder, history: &[&str], rewards| ask_in(&world(), encoder, &batch_of("u0", history, rewards, 1));
        let error = |encoder, rewards| ask(encoder, &["i1", "i2"], rewards).unwrap_err().to_string();
        let reads = error(Encoder::Gru(GruEncoder { hidden_size: 3 }), vec![]);
        assert!(reads.contains("2 items and 0 rewards\nhelp: this policy reads the reward of each item"), "{reads}");
        let ignores = error(Encoder::Window, vec![4.0]);
        assert!(ignores.contains("help: this policy does not read rewards: leave them out"), "{ignores}");
        assert!(ask(Encoder::Window, &["i1"], vec![]).is_ok());
    }
}
