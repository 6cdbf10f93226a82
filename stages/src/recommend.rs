//! Answers for `apprentice recommend`: a trained policy, asked outside of any world.
//!
//! What was shown is not shown again; apart from that the answer is the policy's own. No quit distance is known here.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Error, Result};
use pipeline::recommend::{Answer, Answers, Asked, Questions, Recommended};
use pipeline::{Artifact, Wrong};

use crate::artifact::{Items, Policy, Users};
use crate::env::{Observation, states};
use crate::nn::{Scores, served};

/// Questions that are decided at once.
const BATCH: usize = 256;

/// Answers questions with the policy of a file.
///
/// # Errors
/// [`Wrong`] where a user or an item is not known to the policy.
pub fn recommend(path: &Path, questions: &Questions) -> Result<Answers> {
    let policy = Policy::read(path)?;
    let network = served::load(&policy.0)?;
    let names = Names::of(questions, &network)?;
    let sessions: Vec<Session> =
        questions.asked.iter().map(|asked| names.session(asked, &network).map_err(at(asked))).collect::<Result<_>>()?;
    let horizon = policy.origin()?.horizon;

    let begun = Instant::now();
    let mut chosen = Vec::with_capacity(sessions.len());
    for sessions in sessions.chunks(BATCH) {
        let shape = network.shape();
        let mut observation = Observation::unmasked(shape.window);
        for Session { user, history, rewards } in sessions {
            // A session that is longer than any it learned from is at its end.
            let first = history.len().saturating_sub(horizon.saturating_sub(1));
            observation.push(*user, &history[first..], &rewards[first..], horizon, shape.items as u32);
        }
        let scores = network.logits(&states(&network, &observation)?)?.flatten_all()?.to_vec1::<f32>()?;
        let best = |(scores, session): (&[f32], &Session)| best(scores, &session.history, questions.count);
        chosen.extend(scores.chunks_exact(shape.items).zip(sessions).map(best));
    }
    let seconds = begun.elapsed().as_secs_f64();

    let answer = |(asked, chosen): (&Asked, Vec<(u32, f32)>)| Answer {
        user: asked.user.clone(),
        items: chosen.into_iter().map(|(item, score)| names.item(item, score)).collect(),
    };
    Ok(Answers { answers: questions.asked.iter().zip(chosen).map(answer).collect(), seconds })
}

/// Says of an error which question of a file it is about.
fn at(asked: &Asked) -> impl FnOnce(Error) -> Error {
    let place = asked.place.clone();
    |error| match place {
        Some(place) => error.context(place),
        None => error,
    }
}

/// The `count` items of highest score that are not in `history`, best first; ties to the lowest id.
fn best(scores: &[f32], history: &[u32], count: usize) -> Vec<(u32, f32)> {
    let fresh = (0..scores.len() as u32).filter(|item| !history.contains(item));
    let mut ranked: Vec<(u32, f32)> = fresh.map(|item| (item, scores[item as usize])).collect();
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if count < ranked.len() {
        ranked.select_nth_unstable_by(count, order);
        ranked.truncate(count);
    }
    ranked.sort_by(order);
    ranked
}

/// The nearest artifact of its kind that fits.
fn nearest<A: Artifact>(questions: &Questions, fits: impl Fn(&A) -> bool) -> Result<Option<A>> {
    for file in questions.beside.iter().filter(|file| file.kind == A::KIND) {
        let found = A::read(&file.path)?;
        if fits(&found) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A question in the policy's own numbers.
struct Session {
    user: u32,
    history: Vec<u32>,
    /// As many as `history`; 0 where they are not known and not read.
    rewards: Vec<f32>,
}

/// What ids and titles mean to a policy.
struct Names {
    items: Option<Items>,
    users: usize,
    item_of: BTreeMap<String, u32>,
    /// Without titles that are ids, too.
    titled: BTreeMap<String, Vec<u32>>,
    user_of: BTreeMap<String, u32>,
}

impl Names {
    /// From the nearest catalogue and people that fit the policy; without them ids are rows.
    fn of(questions: &Questions, network: &dyn Scores) -> Result<Self> {
        let shape = network.shape();
        let items = nearest(questions, |items: &Items| items.len() == shape.items)?;
        let users = nearest(questions, |users: &Users| users.len() == shape.users)?;
        let item_of: BTreeMap<String, u32> = match &items {
            Some(items) => items.id.iter().cloned().zip(0..).collect(),
            None => (0..shape.items as u32).map(|row| (row.to_string(), row)).collect(),
        };
        let mut titled: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (title, row) in items.iter().flat_map(|items| &items.title).zip(0..) {
            // An id goes before a title that reads like it.
            if !item_of.contains_key(title) {
                titled.entry(title.clone()).or_default().push(row);
            }
        }
        let user_of = match users {
            Some(users) => (0..).zip(users.id).map(|(row, id)| (id, row)).collect(),
            None => (0..shape.users as u32).map(|row| (row.to_string(), row)).collect(),
        };
        Ok(Self { items, users: shape.users, item_of, titled, user_of })
    }

    fn session(&self, asked: &Asked, network: &dyn Scores) -> Result<Session> {
        let user = self.user_of.get(&asked.user);
        let unknown = || {
            let known = self.user_of.keys().next().map_or_else(String::new, |id| format!(", such as {id:?}"));
            let Self { users, .. } = self;
            Wrong(format!(
                "the policy knows no user {:?}\nhelp: it knows the {users} users of its log by their ids{known}",
                asked.user
            ))
        };
        let item = |name: &String| {
            let wrong = |what: String| Wrong(format!("{what}; `apprentice inspect log.items --rows` lists them"));
            let titled = self.titled.get(name).map_or(&[][..], Vec::as_slice);
            match (self.item_of.get(name), titled) {
                (Some(&item), _) | (None, &[item]) => Ok(item),
                (None, []) => Err(wrong(format!(
                    "the policy's catalogue has no item {name:?}\nhelp: give its id or its exact title"
                ))),
                (None, several) => {
                    let ids: Vec<String> = several.iter().map(|&item| self.item(item, 0.0).id).collect();
                    let (ids, count) = (ids.join(", "), several.len());
                    Err(wrong(format!("{count} items have the title {name:?}\nhelp: give the id of one: {ids}")))
                }
            }
        };
        let history = asked.history.iter().map(item).collect::<Result<Vec<u32>, Wrong>>()?;
        let (items, earned) = (history.len(), asked.rewards.len());
        if earned != items && (earned > 0 || network.shape().encoder.reads_rewards()) {
            let help = match network.shape().encoder.reads_rewards() {
                true => "this policy reads what each item earned: give",
                false => "this policy does not read what items earned: leave the rewards out, or give",
            };
            return Err(Wrong(format!(
                "user {:?}: {items} items were shown and {earned} of them have a reward\nhelp: {help} as many `--reward` as \
                 `--history` (in a batch `rewards`), in the same order",
                asked.user
            ))
            .into());
        }
        let rewards = if earned == items { asked.rewards.clone() } else { vec![0.0; items] };
        Ok(Session { user: *user.ok_or_else(unknown)?, history, rewards })
    }

    fn item(&self, row: u32, score: f32) -> Recommended {
        let of = |names: &[String]| names[row as usize].clone();
        match &self.items {
            Some(items) => Recommended { id: of(&items.id), title: Some(of(&items.title)), score },
            None => Recommended { id: row.to_string(), title: None, score },
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::inspect::Beside;

    use super::*;
    use crate::env::cluster_world;
    use crate::nn::actor_critic::Shape;
    use crate::nn::{ActorCritic, Encoder, GruEncoder};

    fn ask(user: &str, history: &[&str], count: usize, named: bool) -> Result<Answers> {
        ask_of(Encoder::Window, user, history, vec![], count, named)
    }

    fn ask_of(
        encoder: Encoder,
        user: &str,
        history: &[&str],
        rewards: Vec<f32>,
        count: usize,
        named: bool,
    ) -> Result<Answers> {
        let folder = tempfile::tempdir().unwrap();
        let world = cluster_world(&[5.0, 4.0], 2, 1, 4, 3);
        let shape = Shape {
            users: 3,
            items: 4,
            width: 2,
            window: 2,
            hidden: 4,
            prior: 1.0,
            avoid: 0.0,
            alike_share: 0.5,
            encoder,
        };
        let network = ActorCritic::new(shape, &world.user_vectors, &world.item_vectors, 1).unwrap();
        let path = folder.path().join("policy");
        Policy::new(network.export().unwrap(), "rl.bc", &world).unwrap().write(&path).unwrap();
        let texts = |letter: char, count: usize| (0..count).map(|k| format!("{letter}{k}")).collect::<Vec<_>>();
        let items = |count| Items {
            id: texts('i', count),
            // The second and the third are both called T1.
            title: (0..count).map(|k| format!("T{}", k - usize::from(k == 2))).collect(),
            year: vec![None; count],
            genres: vec![vec![]; count],
            ..Items::default()
        };
        let mut beside = Vec::new();
        if named {
            // The nearest catalogue is of another policy.
            items(5).write(&folder.path().join("others")).unwrap();
            items(4).write(&folder.path().join("items")).unwrap();
            Users { id: texts('u', 3), ..Users::default() }.write(&folder.path().join("users")).unwrap();
            for (kind, name) in [("items", "others"), ("items", "items"), ("users", "users")] {
                beside.push(Beside { kind: kind.into(), path: folder.path().join(name) });
            }
        }
        let history = history.iter().map(|&item| item.to_owned()).collect();
        let asked = vec![Asked { user: user.into(), history, rewards, place: None }];
        recommend(&path, &Questions { asked, count, beside })
    }

    #[test]
    fn answers_are_the_best_of_what_was_not_shown() {
        assert_eq!(best(&[1.0, 3.0, 2.0, 3.0], &[1], 2), [(3, 3.0), (2, 2.0)]);
        assert_eq!(best(&[1.0, 1.0], &[], 9), [(0, 1.0), (1, 1.0)]);
        let answers = ask("u2", &["i1", "T3"], 10, true).unwrap().answers;
        let mut ids: Vec<_> = answers[0].items.iter().map(|item| item.id.as_str()).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["i0", "i2"]);
        assert!(answers[0].items[0].score >= answers[0].items[1].score);
        assert!(answers[0].items[0].title.as_ref().unwrap().starts_with('T'));
        assert_eq!(ask("2", &["1"], 1, false).unwrap().answers[0].items.len(), 1);
    }

    #[test]
    fn who_and_what_is_not_known_is_named() {
        let error = |user, history: &[&str]| {
            let error = ask(user, history, 1, true).unwrap_err();
            assert!(error.chain().any(|cause| cause.is::<Wrong>()));
            format!("{error:#}")
        };
        assert!(error("7", &[]).contains("no user \"7\"\nhelp: it knows the 3 users"));
        assert!(error("u0", &["Heat"]).contains("no item \"Heat\"\nhelp: give its id"));
        let twice = error("u0", &["T1"]);
        assert!(twice.contains("2 items have the title \"T1\"\nhelp: give the id of one: i1, i2"), "{twice}");
    }

    #[test]
    fn rewards_are_wanted_only_by_a_policy_that_reads_them() {
        let error = |encoder, rewards| ask_of(encoder, "u0", &["i1", "i2"], rewards, 1, true).unwrap_err().to_string();
        let reads = error(Encoder::Gru(GruEncoder { width: 3 }), vec![]);
        assert!(reads.contains("0 of them have a reward\nhelp: this policy reads what each item earned"), "{reads}");
        let ignores = error(Encoder::Window, vec![4.0]);
        assert!(
            ignores.contains("help: this policy does not read what items earned: leave the rewards out"),
            "{ignores}"
        );
        assert!(ask_of(Encoder::Window, "u0", &["i1"], vec![], 1, true).is_ok());
    }
}
