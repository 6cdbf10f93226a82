//! Episodes that a language model played elsewhere: recorded conversations become a log, a catalogue, people and
//! demonstrations.
//!
//! Two forms: BiLLP's text ([`fireact`](super::fireact), arXiv 2403.00843) and plain lines of JSON
//! ([`told_lines`](super::told_lines)). The names are grounded as they were recorded; what the model said, thought and was
//! told is kept as calls. Left out: grounding anew, and where an episode stopped for an unknown reason, guessing it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use pipeline::{AssetName, Context, Stage};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bad_rows::{BadRows, Fault};
use super::told::{Account, Outcome, Told, Turn};
use super::{NoInputs, OnBadRow, fireact, literal, narrow, told_lines};
use crate::artifact::{Call, Calls, Choice, Demonstrations, End, Interactions, Items, Trajectory, Users, check_member};

/// `ingest.transcripts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transcripts {
    /// The folder with the recordings.
    pub asset: AssetName,
    /// The files to read: those of the folder whose names begin so, by name.
    pub episodes: String,
    /// The files whose people and items get ids: as `episodes` where absent. Two stages that name the same files here agree
    /// on every id, whichever episodes they read.
    #[serde(default)]
    pub everyone: Option<String>,
    /// How the files are written.
    #[serde(default)]
    pub format: Format,
    /// A file of the folder with the catalogue as BiLLP has it (`{"id2item_dict": {"0": title}}`); without, the titles that
    /// occur are the catalogue.
    #[serde(default)]
    pub titles: Option<String>,
    /// A file of the folder with genres as BiLLP has them (`{title: "['Action', 'Indie']"}`).
    #[serde(default)]
    pub genres: Option<String>,
    /// Which items of the catalogue are kept.
    #[serde(default)]
    pub keep: Keep,
    /// What the recommendation at which a user left becomes.
    #[serde(default)]
    pub at_quit: AtQuit,
    /// What happens to lines that do not fit.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
}

/// How recordings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// BiLLP's text.
    #[default]
    Fireact,
    /// Plain lines of JSON.
    Lines,
}

/// Which items of a catalogue are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Those that somebody was recommended or had seen before.
    #[default]
    Named,
    /// All.
    All,
}

/// What the last recommendation becomes where the user left at it. (BiLLP writes −1000, which is a mark and no rating.)
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AtQuit {
    /// It is left out: the exclusive convention.
    Exclude,
    /// A step with this reward: 0 says that it earned nothing, −1000 is as recorded.
    Reward(f64),
}

impl Default for AtQuit {
    fn default() -> Self {
        Self::Reward(0.0)
    }
}

pipeline::ports! {
    /// What the recordings hold.
    pub struct Outputs {
        /// What was recommended and what it earned; never the step at which somebody left.
        interactions: Interactions,
        /// The catalogue.
        items: Items,
        /// The people; `genre 1` to `genre 3` are the commonest of what they had seen before.
        users: Users,
        /// The episodes, without those that hold no step.
        demonstrations: Demonstrations,
        /// What the model was told, thought and said.
        calls: Calls,
    }
}

impl Stage for Transcripts {
    const KIND: &'static str = "ingest.transcripts";
    /// 1: first. 2: a reward that 32 bits do not hold does not fit.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "read episodes that a language model played elsewhere, with its thoughts";
    type Inputs = NoInputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }

    fn check(&self) -> Result<(), (String, String)> {
        if let AtQuit::Reward(reward) = self.at_quit
            && !(reward as f32).is_finite()
        {
            return Err(("at_quit.reward".into(), "a finite number that 32 bits hold".into()));
        }
        check_member(self.titles.as_deref(), "titles")?;
        check_member(self.genres.as_deref(), "genres")
    }

    fn run(&self, _: NoInputs, cx: &Context) -> Result<Outputs> {
        let folder = cx.asset(&self.asset)?;
        let chosen = files(folder, &self.episodes)?;
        let everyone = files(folder, self.everyone.as_deref().unwrap_or(&self.episodes))?;
        let all: BTreeSet<&PathBuf> = chosen.iter().chain(&everyone).collect();
        let all: Vec<&PathBuf> = all.into_iter().collect();
        let read: Vec<Result<Recording>> = all.par_iter().map(|path| self.read(path)).collect();
        let read: Vec<Recording> = read.into_iter().collect::<Result<_>>()?;
        let ids = Ids::new(self, folder, &read)?;

        let mut outputs = Outputs {
            interactions: Interactions::default(),
            items: ids.items.clone(),
            users: ids.users.clone(),
            demonstrations: Demonstrations::default(),
            calls: Calls::default(),
        };
        let mut account = Account::default();
        for (path, mut recording) in all.into_iter().zip(read).filter(|(path, _)| chosen.contains(path)) {
            account.add(recording.account);
            for told in &recording.told {
                ids.enter(told, path, self.at_quit, &mut outputs, &mut recording.bad)?;
            }
            recording.bad.settle(path, self.on_bad_row, cx)?;
        }
        ensure!(
            !outputs.demonstrations.trajectories.is_empty(),
            "no episode with a step in {} files of {}. help: see what `episodes` and `at_quit` choose",
            chosen.len(),
            folder.display()
        );
        tell(account, cx);
        cx.note("pairs", covered(&outputs));
        Ok(outputs)
    }
}

/// One file.
struct Recording {
    told: Vec<Told>,
    account: Account,
    bad: BadRows,
}

impl Transcripts {
    fn read(&self, path: &Path) -> Result<Recording> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let read = match self.format {
            Format::Fireact => fireact::read(&text),
            Format::Lines => told_lines::read(&text),
        };
        let (told, account, bad) = read.with_context(|| format!("{}", path.display()))?;
        Ok(Recording { told, account, bad })
    }
}

fn tell(account: Account, cx: &Context) {
    let Account { episodes, actions, stays, leaves, regrounded, no_recommendation, claimed } = account;
    cx.note("read", format!("{episodes} episodes with {actions} actions"));
    cx.note("outcomes", format!("{stays} where the user stayed, {leaves} where the user left"));
    cx.note("named outside of the catalogue", format!("{regrounded}, and grounded as recorded"));
    if no_recommendation > 0 {
        cx.note("no recommendation", format!("{no_recommendation}; in {claimed} the model wrote an outcome itself"));
    }
}

/// How much of users × items was paid for at all: what a world that is fitted to this can know, and what it makes up.
fn covered(outputs: &Outputs) -> String {
    let Outputs { interactions, users, items, .. } = outputs;
    let pairs: BTreeSet<(u32, u32)> =
        interactions.user.iter().copied().zip(interactions.item.iter().copied()).collect();
    let people: BTreeSet<u32> = interactions.user.iter().copied().collect();
    let all = users.len() * items.len();
    format!(
        "{} of {} users × {} items were paid ({:.2} %), by {} users",
        pairs.len(),
        users.len(),
        items.len(),
        100.0 * pairs.len() as f64 / all as f64,
        people.len()
    )
}

/// The files of a folder whose names begin so, by name.
fn files(folder: &Path, beginning: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(beginning) && path.is_file() {
            found.push(path);
        }
    }
    ensure!(!found.is_empty(), "no file of {} has a name that begins with `{beginning}`", folder.display());
    found.sort();
    Ok(found)
}

/// Who is who and what is what.
struct Ids {
    items: Items,
    users: Users,
    item_of: BTreeMap<String, u32>,
    user_of: BTreeMap<String, u32>,
}

impl Ids {
    fn new(config: &Transcripts, folder: &Path, read: &[Recording]) -> Result<Self> {
        let episodes = || read.iter().flat_map(|recording| &recording.told);
        let named: BTreeSet<&str> = episodes()
            .flat_map(|told| told.history.iter().chain(told.turns.iter().map(|turn| &turn.title)))
            .map(String::as_str)
            .collect();
        let catalogue: Vec<(String, String)> = match &config.titles {
            Some(name) => titles(&folder.join(name))?,
            None => named.iter().enumerate().map(|(id, title)| (id.to_string(), (*title).to_owned())).collect(),
        };
        let genres = config.genres.as_ref().map(|name| genres(&folder.join(name))).transpose()?.unwrap_or_default();
        let mut items = Items::default();
        let mut item_of = BTreeMap::new();
        for (id, title) in catalogue {
            if config.keep == Keep::Named && !named.contains(title.as_str()) {
                continue;
            }
            // Of two items of one title nobody can say which was meant: the first is.
            item_of.entry(title.clone()).or_insert(items.len() as u32);
            items.genres.push(genres.get(&title).cloned().unwrap_or_default());
            items.id.push(id);
            items.title.push(title);
            items.year.push(None);
        }
        let mut histories: BTreeMap<&str, &[String]> = BTreeMap::new();
        for told in episodes() {
            histories.entry(&told.user).or_insert(&told.history);
        }
        let mut users = Users::default();
        for (user, history) in &histories {
            let seen = history.iter().filter_map(|title| Some(&items.genres[*item_of.get(title)? as usize]));
            let favourites = commonest(seen.flatten());
            users.id.push((*user).to_owned());
            for place in 0..3 {
                let genre = favourites.get(place).copied().unwrap_or_default().to_owned();
                users.features.entry(format!("genre {}", place + 1)).or_default().push(genre);
            }
        }
        let user_of = (0..).zip(&users.id).map(|(k, id)| (id.clone(), k)).collect();
        Ok(Self { items, users, item_of, user_of })
    }

    /// Adds one episode.
    fn enter(&self, told: &Told, path: &Path, at_quit: AtQuit, out: &mut Outputs, bad: &mut BadRows) -> Result<()> {
        let user = self.user_of[&told.user];
        let model = format!("transcript {}", path.file_name().unwrap_or_default().to_string_lossy());
        let episode = format!("{model} {} of user {user}", out.demonstrations.trajectories.len());
        let mut steps = Vec::new();
        let mut before: Option<&Turn> = None;
        let mut left = false;
        for (number, turn) in told.turns.iter().enumerate() {
            left |= turn.outcome == Outcome::Leaves;
            let Some(&item) = self.item_of.get(&turn.title) else {
                bad.add(Fault::value("title", &turn.title, "in the catalogue"), || turn.line);
                continue;
            };
            let reward = match (turn.outcome, at_quit) {
                (Outcome::Stays(reward), _) => {
                    let reward = match narrow::rating(reward, "reward") {
                        Ok(reward) => reward,
                        Err(fault) => {
                            bad.add(fault, || turn.line);
                            continue;
                        }
                    };
                    out.interactions.user.push(user);
                    out.interactions.item.push(item);
                    out.interactions.rating.push(reward);
                    out.interactions.timestamp.push(0);
                    reward
                }
                (Outcome::Leaves, AtQuit::Reward(reward)) => reward as f32,
                (Outcome::Leaves, AtQuit::Exclude) => continue,
            };
            let key = blake3::hash(format!("{episode} step {number}").as_bytes()).to_hex().to_string();
            let context = std::iter::once(&told.question).chain(before.map(|turn| &turn.observed));
            let context: Vec<&String> = context.filter(|text| !text.is_empty()).collect();
            let request = serde_json::json!({ "context": context }).to_string();
            let thought = if turn.thought.is_empty() { String::new() } else { format!("{}\n", turn.thought) };
            let answer = Value::from(format!("{thought}recommend[{}]", turn.said)).to_string();
            out.calls.0.push(Call { key: key.clone(), model: model.clone(), request, answer });
            let (candidates, scores) = (Vec::new(), Vec::new());
            steps.push(Choice { item, reward, candidates, scores, call: key });
            before = Some(turn);
        }
        if !steps.is_empty() {
            let end = if left { End::Stopped } else { End::Horizon };
            out.demonstrations.trajectories.push(Trajectory { user, steps, end });
        }
        Ok(())
    }
}

/// Texts by how often they come, the commonest first; ties by name.
fn commonest<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    texts.for_each(|text| *counts.entry(text).or_default() += 1);
    let mut order: Vec<(&str, usize)> = counts.into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    order.into_iter().map(|(text, _)| text).collect()
}

/// Ids and titles, by id.
fn titles(path: &Path) -> Result<Vec<(String, String)>> {
    let file = json(path)?;
    let map = file["id2item_dict"].as_object();
    let map = map.with_context(|| format!("{}: wanted {{\"id2item_dict\": {{id: title}}}}", path.display()))?;
    let entry = |(id, title): (&String, &Value)| {
        let place = || format!("{}: id {id:?} with title {title}, wanted a number and a text", path.display());
        Ok((id.parse::<u64>().with_context(place)?, title.as_str().with_context(place)?.to_owned()))
    };
    let mut titles: Vec<(u64, String)> = map.iter().map(entry).collect::<Result<_>>()?;
    titles.sort();
    Ok(titles.into_iter().map(|(id, title)| (id.to_string(), title)).collect())
}

/// Genres by title.
fn genres(path: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let file = json(path)?;
    let map = file.as_object().with_context(|| format!("{}: wanted {{title: list}}", path.display()))?;
    let entry = |(title, list): (&String, &Value)| {
        let texts = list.as_str().and_then(literal::texts);
        let place =
            || format!("{}: the genres of {title:?} are {list}, wanted a list of texts as text", path.display());
        Ok((title.clone(), texts.with_context(place)?))
    };
    map.iter().map(entry).collect()
}

fn json(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Transcripts {
        serde_json::from_value(serde_json::json!({
            "asset": "told", "episodes": "train", "everyone": "t", "titles": "maps.json", "genres": "genres.json"
        }))
        .unwrap()
    }

    fn run(config: &Transcripts) -> Result<Outputs> {
        let folder = tempfile::tempdir().unwrap();
        let episode = |user: u64, lines: &[&str]| serde_json::json!({ "0": { "userid": user, "traj_by_line": lines } });
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        write(
            "train.json",
            episode(
                9,
                &[
                    "The user's viewing history is ['B', 'C'], please",
                    "Thought 1: why",
                    "Action 1: recommend[x]",
                    "Observation 1: [x] can not be recommened, instead, recommend[A]",
                    "Observation 1: Episode continue, reward=4",
                    "Thought 2: again",
                    "Action 2: recommend[B]",
                    "Observation 2: Episode finished, User Stop, reward=-1000.000",
                ],
            )
            .to_string(),
        );
        write("test.json", episode(10, &["The user's viewing history is [], please"]).to_string());
        write("maps.json", r#"{"id2item_dict": {"10": "B", "2": "A", "3": "unseen", "4": "C"}}"#.into());
        write("genres.json", r#"{"A": "['war']", "B": "['indie', 'action']", "C": "['indie']"}"#.into());
        let mut cx = Context::detached(folder.path());
        cx.add_asset("told", folder.path());
        config.run(NoInputs {}, &cx)
    }

    #[test]
    fn a_conversation_becomes_log_catalogue_people_and_demonstrations() {
        let out = run(&config()).unwrap();
        assert_eq!(
            (&out.items.id[..], &out.items.title[..]),
            (&["2", "4", "10"].map(String::from)[..], &["A", "C", "B"].map(String::from)[..])
        );
        assert_eq!(out.users.id, ["10", "9"]);
        assert_eq!(out.users.features["genre 1"], ["", "indie"]);
        assert_eq!(out.users.features["genre 2"], ["", "action"]);
        assert_eq!((&out.interactions.user[..], &out.interactions.item[..]), (&[1][..], &[0][..]));
        assert_eq!(out.interactions.rating, [4.0]);
        let trajectory = &out.demonstrations.trajectories[0];
        let steps: Vec<_> = trajectory.steps.iter().map(|step| (step.item, step.reward)).collect();
        assert_eq!((trajectory.user, trajectory.end, steps), (1, End::Stopped, vec![(0, 4.0), (2, 0.0)]));
        assert_eq!(out.calls.0[0].answer, r#""why\nrecommend[x]""#);
        assert!(out.calls.0[1].request.contains("instead, recommend[A]"));
        assert_eq!(trajectory.steps[1].call, out.calls.0[1].key);
    }

    #[test]
    fn a_pair_that_was_paid_twice_is_covered_once_and_a_step_at_which_somebody_left_is_not() {
        let mut out = run(&config()).unwrap();
        assert_eq!(covered(&out), "1 of 2 users × 3 items were paid (16.67 %), by 1 users");
        out.interactions.user.extend([1, 1, 0]);
        out.interactions.item.extend([0, 2, 2]);
        assert_eq!(covered(&out), "3 of 2 users × 3 items were paid (50.00 %), by 2 users");
    }

    #[test]
    fn the_step_at_which_somebody_left_is_kept_or_excluded_as_told() {
        let rewards = |at_quit| {
            let out = run(&Transcripts { at_quit, ..config() }).unwrap();
            out.demonstrations.trajectories[0].steps.iter().map(|step| step.reward).collect::<Vec<_>>()
        };
        assert_eq!(rewards(AtQuit::Reward(-1000.0)), [4.0, -1000.0]);
        assert_eq!(rewards(AtQuit::Exclude), [4.0]);
        let wrong = Transcripts { at_quit: AtQuit::Reward(f64::NAN), ..config() };
        assert_eq!(wrong.check().unwrap_err().0, "at_quit.reward");
    }

    #[test]
    fn who_left_at_a_title_that_is_not_known_left_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let line = r#"{"user": "u", "steps": [{"title": "A", "reward": 4}, {"title": "?"}], "left": true}"#;
        fs::write(folder.path().join("told.ndjson"), line).unwrap();
        fs::write(folder.path().join("maps.json"), r#"{"id2item_dict": {"1": "A"}}"#).unwrap();
        let mut cx = Context::detached(folder.path());
        cx.add_asset("told", folder.path());
        let config =
            Transcripts { episodes: "told".into(), everyone: None, format: Format::Lines, genres: None, ..config() };
        assert!(config.run(NoInputs {}, &cx).err().unwrap().to_string().contains("in the catalogue"));
        let out = Transcripts { on_bad_row: OnBadRow::Drop, ..config }.run(NoInputs {}, &cx).unwrap();
        let trajectory = &out.demonstrations.trajectories[0];
        assert_eq!((trajectory.steps.len(), trajectory.end), (1, End::Stopped));
    }

    #[test]
    fn files_outside_of_the_asset_are_refused() {
        let outside = || Some("../titles.json".to_owned());
        assert_eq!(Transcripts { titles: outside(), ..config() }.check().unwrap_err().0, "titles");
        assert_eq!(Transcripts { genres: outside(), ..config() }.check().unwrap_err().0, "genres");
        let at_quit = AtQuit::Reward(-1e39);
        assert_eq!(Transcripts { at_quit, ..config() }.check().unwrap_err().0, "at_quit.reward");
    }

    #[test]
    fn files_that_are_not_there_and_titles_that_are_not_known_are_named() {
        let error = |config: Transcripts| format!("{:#}", run(&config).err().unwrap());
        let none = error(Transcripts { episodes: "valid".into(), ..config() });
        assert!(none.contains("no file of") && none.contains("`valid`"), "{none}");
        let empty = error(Transcripts { episodes: "test".into(), ..config() });
        assert!(empty.contains("no episode with a step in 1 files"), "{empty}");
        let genres = error(Transcripts { genres: Some("maps.json".into()), ..config() });
        assert!(genres.contains("the genres of \"id2item_dict\""), "{genres}");
        let mut named = config();
        named.titles = None;
        assert_eq!(run(&named).unwrap().items.title, ["A", "B", "C"]);
    }
}
