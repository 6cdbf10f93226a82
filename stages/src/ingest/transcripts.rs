//! Transcripts of a language model that ran elsewhere, converted to a log, a catalogue, users and demonstrations.
//!
//! Two formats: BiLLP's text ([`transcript_react`](super::transcript_react), arXiv 2403.00843) and plain lines
//! of JSON ([`transcript_json`](super::transcript_json)). The source's match of a title
//! counts; where it has none in the catalogue, the title is matched here ([`crate::ground`]). Prompts, thoughts and answers are
//! stored as calls, including those without a recommendation. Left out: a guess why an episode ended where the record has no reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use pipeline::{AssetName, Context, Stage};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bad_rows::BadRows;
use super::title_matching::TitleMatcher;
use super::transcript::{Transcript, TranscriptCounts, Turn};
use super::transcript_to_log::{ImportedIds, TranscriptImporter};
use super::{NoInputs, OnBadRow, billp_maps, transcript_json, transcript_react};
use crate::artifact::{Calls, Demonstrations, Groundings, Interactions, Items, TextFile, Users, check_asset_path};
use crate::ground::MatchSettings;
use crate::llm::EmbedderConfig;

/// `ingest.transcripts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transcripts {
    /// The folder with the transcripts.
    pub asset: AssetName,
    /// Prefix of the names of the files to read, in the order of their names.
    pub files: String,
    /// Prefix of the names of the files whose users and items are numbered; as `files` where absent. Two stages with the same
    /// `id_files` have the same numbers for all users and items, whichever `files` they read.
    #[serde(default)]
    pub id_files: Option<String>,
    /// Format of the files.
    #[serde(default)]
    pub format: Format,
    /// A file of the folder with the catalogue in BiLLP's format (`{"id2item_dict": {"0": title}}`). When absent, the catalogue
    /// consists of the titles that occur.
    #[serde(default)]
    pub titles: Option<String>,
    /// A file of the folder with genres in BiLLP's format (`{title: "['Action', 'Indie']"}`).
    #[serde(default)]
    pub genres: Option<String>,
    /// Which items of the catalogue are included.
    #[serde(default)]
    pub catalogue_filter: CatalogueFilter,
    /// How the recommendation at which a user left is recorded.
    #[serde(default)]
    pub on_quit: OnQuit,
    /// How titles are matched for which the source has no item of the catalogue. Matches of the source are kept; `groundings`
    /// compares them with the matches by these settings.
    #[serde(default)]
    pub ground: MatchSettings,
    /// The model that embeds titles: one that no title resembles is then matched by its vector. None by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedder: Option<EmbedderConfig>,
    /// Treatment of invalid lines.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
}

/// Format of transcripts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// BiLLP's text format.
    #[default]
    Fireact,
    /// JSON lines, one episode per line.
    Lines,
}

/// Which items of a catalogue are included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatalogueFilter {
    /// Items that were recommended, or are in a user's history.
    #[default]
    Named,
    /// All items.
    All,
}

/// How the recommendation at which the user left is recorded. (BiLLP's reward of −1000 is a marker, not a rating.)
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OnQuit {
    /// It is excluded from the episode.
    Exclude,
    /// It is a step with this reward: 0 for no reward, −1000 as recorded.
    Reward(f64),
}

impl Default for OnQuit {
    fn default() -> Self {
        Self::Reward(0.0)
    }
}

pipeline::ports! {
    /// The content of the transcripts.
    pub struct Outputs {
        /// The recommended items with their rewards, without the steps at which users left.
        interactions: Interactions,
        /// The catalogue.
        items: Items,
        /// The users; `genre 1` to `genre 3` are the most common genres of their histories.
        users: Users,
        /// The episodes with at least one step.
        demonstrations: Demonstrations,
        /// Prompts, thoughts and answers, including those without a recommendation (`{"failed": reason, "raw": text}`).
        calls: Calls,
        /// The match of each title that the model wrote, beside the match of the source.
        groundings: Groundings,
    }
}

impl Stage for Transcripts {
    const KIND: &'static str = "ingest.transcripts";
    /// 1: first. 2: a reward that overflows 32 bits is invalid. 3: titles are matched, and answers without a recommendation are
    /// stored as calls. 4: a byte-order mark is not part of the text; users written as floats without a fraction are integers.
    const VERSION: u32 = 4;
    const ABOUT: &'static str = "read transcripts of a language model that ran elsewhere, with its thoughts";
    type Inputs = NoInputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        let embedder = self.embedder.as_ref().map(|embedder| embedder.asset().clone());
        [self.asset.clone()].into_iter().chain(embedder).collect()
    }

    fn check(&self) -> Result<(), (String, String)> {
        if let OnQuit::Reward(reward) = self.on_quit
            && !(reward as f32).is_finite()
        {
            return Err(("on_quit.reward".into(), "a finite number that 32 bits hold".into()));
        }
        self.ground.check().map_err(|(field, wanted)| (format!("ground.{field}"), wanted))?;
        check_asset_path(self.titles.as_deref(), "titles")?;
        check_asset_path(self.genres.as_deref(), "genres")
    }

    fn run(&self, _: NoInputs, cx: &Context) -> Result<Outputs> {
        let folder = cx.asset(&self.asset)?;
        let chosen = files(folder, &self.files)?;
        let id_files = files(folder, self.id_files.as_deref().unwrap_or(&self.files))?;
        let all: BTreeSet<&PathBuf> = chosen.iter().chain(&id_files).collect();
        let all: Vec<&PathBuf> = all.into_iter().collect();
        let read: Vec<Result<Recording>> = all.par_iter().map(|path| self.read(path)).collect();
        let read: Vec<Recording> = read.into_iter().collect::<Result<_>>()?;
        let transcripts: Vec<&Transcript> = read.iter().flat_map(|recording| &recording.transcripts).collect();
        let catalogue = self.catalogue(folder, &transcripts)?;
        let matcher =
            TitleMatcher::new(&catalogue, &self.ground, self.embedder.as_ref(), transcripts.iter().copied(), cx)?;
        let ids = ImportedIds::new(self.catalogue_filter, &catalogue, &matcher, &transcripts);

        let out = Outputs {
            interactions: Interactions::default(),
            items: ids.items.clone(),
            users: ids.users.clone(),
            demonstrations: Demonstrations::default(),
            calls: Calls::default(),
            groundings: Groundings::default(),
        };
        let (left_out, grounded_here) = (0, 0);
        let mut importer =
            TranscriptImporter { ids: &ids, matcher: &matcher, on_quit: self.on_quit, out, left_out, grounded_here };
        let mut counts = TranscriptCounts::default();
        let files = || all.iter().zip(&read).filter(|(path, _)| chosen.contains(path));
        for (path, recording) in files() {
            counts.add(recording.counts);
            let mut bad = recording.bad.clone();
            recording.transcripts.iter().for_each(|transcripts| importer.episode(transcripts, path, &mut bad));
            bad.enforce(path, self.on_bad_row, cx)?;
        }
        let TranscriptImporter { mut out, left_out, grounded_here, .. } = importer;
        ensure!(
            !out.demonstrations.trajectories.is_empty(),
            "no episode with a step in {} files of {}{}",
            chosen.len(),
            folder.display(),
            match left_out {
                0 => "\nhelp: check which files and steps `files` and `on_quit` select".to_owned(),
                _ => format!(
                    ": {left_out} steps have a title that matches no item, and `on_unmatched: drop` drops them\nhelp: lower \
                     `ground.trigram`, or compare the written titles with the catalogue"
                ),
            }
        );
        out.groundings = matcher.groundings(files().flat_map(|(_, recording)| &recording.transcripts));
        note_counts(counts, cx);
        matcher.note_matches(&out.groundings, cx);
        if grounded_here > 0 {
            cx.note("without a recorded item", format!("{grounded_here}, matched here; {left_out} of them dropped"));
        }
        cx.note("pairs", coverage(&out));
        Ok(out)
    }
}

/// The transcripts of one file.
struct Recording {
    transcripts: Vec<Transcript>,
    counts: TranscriptCounts,
    bad: BadRows,
}

impl Transcripts {
    /// The whole catalogue.
    fn catalogue(&self, folder: &Path, transcripts: &[&Transcript]) -> Result<Items> {
        let entries: Vec<(String, String)> = match &self.titles {
            Some(name) => billp_maps::titles(&folder.join(name))?,
            None => {
                let names = transcripts.iter().flat_map(|transcript| transcript.history.iter().map(String::as_str));
                let names =
                    names.chain(transcripts.iter().flat_map(|transcript| transcript.recommendations()).map(Turn::name));
                let names: BTreeSet<&str> = names.collect();
                names.into_iter().enumerate().map(|(id, title)| (id.to_string(), title.to_owned())).collect()
            }
        };
        let genres = self.genres.as_ref().map(|name| billp_maps::genres(&folder.join(name))).transpose()?;
        let genres = genres.unwrap_or_default();
        let (id, title): (Vec<String>, Vec<String>) = entries.into_iter().unzip();
        Ok(Items {
            year: vec![None; id.len()],
            genres: title.iter().map(|title| genres.get(title).cloned().unwrap_or_default()).collect(),
            id,
            title,
            ..Items::default()
        })
    }

    fn read(&self, path: &Path) -> Result<Recording> {
        let text = TextFile::new(path).text()?;
        let read = match self.format {
            Format::Fireact => transcript_react::read(&text),
            Format::Lines => transcript_json::read(&text),
        };
        let (transcripts, counts, bad) = read.with_context(|| format!("{}", path.display()))?;
        Ok(Recording { transcripts, counts, bad })
    }
}

/// Notes the counts of the actions on the run.
fn note_counts(counts: TranscriptCounts, cx: &Context) {
    let TranscriptCounts { episodes, actions, stays, leaves, regrounded, no_recommendation, claimed } = counts;
    cx.note("read", format!("{episodes} episodes with {actions} actions"));
    cx.note("outcomes", format!("{stays} where the user stayed, {leaves} where the user left"));
    cx.note("titles outside of the catalogue", format!("{regrounded}, matched as recorded"));
    if no_recommendation > 0 {
        cx.note("no recommendation", format!("{no_recommendation}; in {claimed} the model wrote the outcome itself"));
    }
}

/// The coverage: how many pairs of users × items have a reward. A world that is fitted to the log extrapolates the others.
fn coverage(outputs: &Outputs) -> String {
    let Outputs { interactions, users, items, .. } = outputs;
    let pairs: BTreeSet<(u32, u32)> =
        interactions.user.iter().copied().zip(interactions.item.iter().copied()).collect();
    let rewarded: BTreeSet<u32> = interactions.user.iter().copied().collect();
    let all = users.len() * items.len();
    format!(
        "{} of {} users × {} items have a reward ({:.2} %), of {} users",
        pairs.len(),
        users.len(),
        items.len(),
        100.0 * pairs.len() as f64 / all as f64,
        rewarded.len()
    )
}

/// The files of a folder with this prefix, by name.
fn files(folder: &Path, prefix: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(prefix) && path.is_file() {
            found.push(path);
        }
    }
    ensure!(!found.is_empty(), "no file of {} has a name that begins with `{prefix}`", folder.display());
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Termination;

    fn config() -> Transcripts {
        serde_json::from_value(serde_json::json!({
            "asset": "recorded", "files": "train", "id_files": "t", "titles": "maps.json", "genres": "genres.json"
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
        cx.add_asset("recorded", folder.path());
        config.run(NoInputs {}, &cx)
    }

    #[test]
    fn a_transcript_becomes_log_catalogue_users_and_demonstrations() {
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
        assert_eq!((trajectory.user, trajectory.end, steps), (1, Termination::Stopped, vec![(0, 4.0), (2, 0.0)]));
        assert_eq!(out.calls.0[0].answer, r#""why\nrecommend[x]""#);
        assert!(out.calls.0[1].request.contains("instead, recommend[A]"));
        assert_eq!(trajectory.steps[1].call, out.calls.0[1].key);
    }

    #[test]
    fn a_pair_with_two_rewards_is_covered_once_and_a_step_at_which_a_user_left_is_not() {
        let mut out = run(&config()).unwrap();
        assert_eq!(coverage(&out), "1 of 2 users × 3 items have a reward (16.67 %), of 1 users");
        out.interactions.user.extend([1, 1, 0]);
        out.interactions.item.extend([0, 2, 2]);
        assert_eq!(coverage(&out), "3 of 2 users × 3 items have a reward (50.00 %), of 2 users");
    }

    #[test]
    fn the_step_at_which_a_user_left_is_kept_or_excluded_as_set() {
        let rewards = |on_quit| {
            let out = run(&Transcripts { on_quit, ..config() }).unwrap();
            out.demonstrations.trajectories[0].steps.iter().map(|step| step.reward).collect::<Vec<_>>()
        };
        assert_eq!(rewards(OnQuit::Reward(-1000.0)), [4.0, -1000.0]);
        assert_eq!(rewards(OnQuit::Exclude), [4.0]);
        let wrong = Transcripts { on_quit: OnQuit::Reward(f64::NAN), ..config() };
        assert_eq!(wrong.check().unwrap_err().0, "on_quit.reward");
    }

    #[test]
    fn who_left_at_a_title_that_is_not_known_left_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let line = r#"{"user": "u", "steps": [{"title": "A", "reward": 4}, {"title": "?"}], "left": true}"#;
        fs::write(folder.path().join("recorded.ndjson"), line).unwrap();
        fs::write(folder.path().join("maps.json"), r#"{"id2item_dict": {"1": "A"}}"#).unwrap();
        let mut cx = Context::detached(folder.path());
        cx.add_asset("recorded", folder.path());
        let config =
            Transcripts { files: "recorded".into(), id_files: None, format: Format::Lines, genres: None, ..config() };
        assert!(config.run(NoInputs {}, &cx).err().unwrap().to_string().contains("wanted a title of the catalogue"));
        let out = Transcripts { on_bad_row: OnBadRow::Drop, ..config }.run(NoInputs {}, &cx).unwrap();
        let trajectory = &out.demonstrations.trajectories[0];
        assert_eq!((trajectory.steps.len(), trajectory.end), (1, Termination::Stopped));
    }

    /// Steps without a recorded item, one without a recommendation, and one whose recorded title is misspelt.
    fn unrecorded(settings: serde_json::Value, on_bad_row: OnBadRow) -> Result<Outputs> {
        let folder = tempfile::tempdir().unwrap();
        let line = r#"{"user": "u", "steps": [{"said": "sims 3", "raw": "<b>", "reward": 4}, {"failed": "time-out"},
            {"said": "?", "title": "Braid.", "reward": 3}, {"said": "Anno 1800", "reward": 2}]}"#;
        fs::write(folder.path().join("recorded.ndjson"), line.replace('\n', "")).unwrap();
        let maps = r#"{"id2item_dict": {"5": "Anno 1404", "6": "Braid", "7": "The Sims™ 3", "8": "Seen by nobody"}}"#;
        fs::write(folder.path().join("maps.json"), maps).unwrap();
        let mut cx = Context::detached(folder.path());
        cx.add_asset("recorded", folder.path());
        let config = serde_json::json!({
            "asset": "recorded", "files": "recorded", "format": "lines", "titles": "maps.json", "ground": settings
        });
        Transcripts { on_bad_row, ..serde_json::from_value(config).unwrap() }.run(NoInputs {}, &cx)
    }

    #[test]
    fn names_without_an_item_are_grounded_and_the_rest_follows_the_policy() {
        let items = |unmatched: &str| {
            let out = unrecorded(serde_json::json!({ "on_unmatched": unmatched }), OnBadRow::Refuse).unwrap();
            let steps = &out.demonstrations.trajectories[0].steps;
            steps.iter().map(|step| out.items.id[step.item as usize].clone()).collect::<Vec<_>>()
        };
        assert_eq!(items("drop"), ["7", "6"]);
        assert_eq!(items("nearest"), ["7", "6", "5"]);
        let error = unrecorded(serde_json::json!({}), OnBadRow::Refuse).err().unwrap().to_string();
        let (line, help) = error.split_once("\nhelp: ").unwrap();
        assert!(
            line.contains("recorded.ndjson:1: found the name \"Anno 1800\" (the most similar title, ")
                && line.contains("\"Anno 1404\""),
            "{error}"
        );
        assert!(help.starts_with("lower `ground.trigram`"), "{error}");
        let out = unrecorded(serde_json::json!({}), OnBadRow::Drop).unwrap();
        assert_eq!(out.items.id, ["6", "7"]);
        let loose = unrecorded(serde_json::json!({ "trigram": 0.3 }), OnBadRow::Refuse).unwrap();
        assert_eq!(loose.interactions.rating, [4.0, 3.0, 2.0]);
    }

    #[test]
    fn answers_are_kept_as_they_came_and_so_are_those_without_a_recommendation() {
        let out = unrecorded(serde_json::json!({ "on_unmatched": "drop" }), OnBadRow::Refuse).unwrap();
        let answers: Vec<&str> = out.calls.0.iter().map(|call| call.answer.as_str()).collect();
        assert_eq!(answers, [r#""<b>""#, r#"{"failed":"time-out","raw":""}"#, r#""recommend[?]""#]);
        assert_eq!(out.demonstrations.trajectories[0].steps[1].call, out.calls.0[2].key);
    }

    #[test]
    fn groundings_stand_beside_what_was_recorded() {
        let out = run(&config()).unwrap();
        let rows: Vec<_> =
            out.groundings.0.iter().map(|row| (row.said.as_str(), row.how.as_str(), row.agrees())).collect();
        assert_eq!(rows, [("B", "exact", Some(true)), ("x", "unmatched", Some(false))]);
        let out = unrecorded(serde_json::json!({ "on_unmatched": "drop" }), OnBadRow::Refuse).unwrap();
        let rows: Vec<_> =
            out.groundings.0.iter().map(|row| (row.said.as_str(), row.how.as_str(), row.agrees())).collect();
        assert_eq!(rows, [("?", "unmatched", None), ("Anno 1800", "unmatched", None), ("sims 3", "normalised", None)]);
        assert_eq!(out.groundings.0[1].title.as_deref(), Some("Anno 1404"), "the nearest, which was not taken");
    }

    #[test]
    fn files_outside_of_the_asset_are_refused() {
        let outside = || Some("../titles.json".to_owned());
        assert_eq!(Transcripts { titles: outside(), ..config() }.check().unwrap_err().0, "titles");
        assert_eq!(Transcripts { genres: outside(), ..config() }.check().unwrap_err().0, "genres");
        let ground = MatchSettings { trigram: 0.0, ..MatchSettings::default() };
        assert_eq!(Transcripts { ground, ..config() }.check().unwrap_err().0, "ground.trigram");
        let on_quit = OnQuit::Reward(-1e39);
        assert_eq!(Transcripts { on_quit, ..config() }.check().unwrap_err().0, "on_quit.reward");
    }

    #[test]
    fn where_all_that_was_said_is_left_out_the_policy_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("recorded.ndjson"), r#"{"user": "u", "steps": [{"said": "zzz", "reward": 4}]}"#)
            .unwrap();
        fs::write(folder.path().join("maps.json"), r#"{"id2item_dict": {"5": "Anno 1404"}}"#).unwrap();
        let mut cx = Context::detached(folder.path());
        cx.add_asset("recorded", folder.path());
        let config: Transcripts = serde_json::from_value(serde_json::json!({
            "asset": "recorded", "files": "recorded", "format": "lines", "titles": "maps.json", "ground": { "on_unmatched": "drop" }
        }))
        .unwrap();
        let error = config.run(NoInputs {}, &cx).err().unwrap().to_string();
        assert!(error.contains(": 1 steps have a title that matches no item, and `on_unmatched: drop`"), "{error}");
    }

    #[test]
    fn files_that_are_not_there_and_titles_that_are_not_known_are_named() {
        let error = |config: Transcripts| format!("{:#}", run(&config).err().unwrap());
        let none = error(Transcripts { files: "valid".into(), ..config() });
        assert!(none.contains("no file of") && none.contains("`valid`"), "{none}");
        let empty = error(Transcripts { files: "test".into(), ..config() });
        assert!(empty.contains("no episode with a step in 1 files"), "{empty}");
        let genres = error(Transcripts { genres: Some("maps.json".into()), ..config() });
        assert!(genres.contains("the genres of \"id2item_dict\""), "{genres}");
        let mut named = config();
        named.titles = None;
        assert_eq!(run(&named).unwrap().items.title, ["A", "B", "C"]);
    }
}
