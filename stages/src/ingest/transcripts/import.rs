//! Transcripts of a language model that ran elsewhere, converted to a log, a catalogue, users and demonstrations.
//!
//! Two formats: BiLLP's text ([`react_form`](super::react_form), arXiv 2403.00843) and plain lines
//! of JSON ([`json_form`](super::json_form)). The source's match of a title
//! counts; where it has none in the catalogue, the title is matched here ([`crate::ground`]). Prompts, thoughts and answers are
//! stored as calls, including those without a recommendation. Left out: a guess why an episode ended where the record has no reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::{AssetName, Context, Requirement, Stage};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Calls, Demonstrations, Groundings, Interactions, Items, TextFile, check_asset_path};
use crate::ground::MatchSettings;
use crate::ingest::OnBadRow;
use crate::ingest::readers::bad_rows::BadRows;
pub use crate::ingest::transcripts::choices::{CatalogueFilter, OnQuit};
use crate::ingest::transcripts::imported_ids::ImportedIds;
pub use crate::ingest::transcripts::log_matching::{ItemIds, UserIds};
use crate::ingest::transcripts::ports::{Inputs, Outputs};
use crate::ingest::transcripts::title_matching::TitleMatcher;
use crate::ingest::transcripts::to_log::{Dropped, TranscriptImporter};
use crate::ingest::transcripts::told_history::ToldHistory;
use crate::ingest::transcripts::transcript::{Transcript, TranscriptCounts, Turn};
use crate::ingest::transcripts::{billp_maps, json_form, react_form};
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
    /// consists of the titles that occur, or is the input `items`.
    #[serde(default)]
    pub titles: Option<String>,
    /// A file of the folder with genres in BiLLP's format (`{title: "['Action', 'Indie']"}`).
    #[serde(default)]
    pub genres: Option<String>,
    /// Which items of the catalogue are included; with the input `items`, all of that.
    #[serde(default)]
    pub catalogue_filter: CatalogueFilter,
    /// How the items of `titles` are matched to the input `items`.
    #[serde(default)]
    pub item_ids: ItemIds,
    /// How the users are matched to the input `users`, which is connected exactly where this is set.
    #[serde(default)]
    pub user_ids: Option<UserIds>,
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

impl Stage for Transcripts {
    const KIND: &'static str = "ingest.transcripts";
    /// 1: first. 2: a reward that overflows 32 bits is invalid. 3: titles are matched, and answers without a recommendation are
    /// stored as calls. 4: a byte-order mark is not part of the text; users written as floats without a fraction are integers.
    const VERSION: u32 = 4;
    const ABOUT: &'static str = "read transcripts of a language model that ran elsewhere, with its thoughts";
    type Inputs = Inputs;
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

    fn requirements(&self) -> Vec<Requirement> {
        let matched = self.user_ids.is_some();
        let (why, help) = match matched {
            true => (
                "users are matched to those of a log by their ids and histories",
                "connect the log's `items`, `users` and `interactions`",
            ),
            false => (
                "how users are matched is not set",
                "set `user_ids: same`, or `user_ids: new` where they are other people",
            ),
        };
        let requirement =
            |port| Requirement { setting: "user_ids", port, connected: matched, why: why.to_owned(), help };
        let items = matched.then(|| requirement("items"));
        [requirement("users"), requirement("interactions")].into_iter().chain(items).collect()
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let folder = cx.asset(&self.asset)?;
        let chosen = files(folder, &self.files)?;
        let id_files = files(folder, self.id_files.as_deref().unwrap_or(&self.files))?;
        let all: BTreeSet<&PathBuf> = chosen.iter().chain(&id_files).collect();
        let all: Vec<&PathBuf> = all.into_iter().collect();
        let read: Vec<Result<Recording>> = all.par_iter().map(|path| self.read(path)).collect();
        let read: Vec<Recording> = read.into_iter().collect::<Result<_>>()?;
        let transcripts: Vec<&Transcript> = read.iter().flat_map(|recording| &recording.transcripts).collect();
        let catalogue = self.catalogue(folder, &transcripts, inputs.items.as_ref())?;
        let matcher =
            TitleMatcher::new(&catalogue, &self.ground, self.embedder.as_ref(), transcripts.iter().copied(), cx)?;
        let mut ids = ImportedIds::new(self.catalogue_filter, &catalogue, &matcher, &transcripts);
        if let Some(items) = &inputs.items {
            ids.number_items_as(items, &catalogue, self.item_ids, cx)?;
        }
        if let Some((users, by)) = inputs.users.as_ref().zip(self.user_ids) {
            ids.number_users_as(users, by, cx)?;
        }

        let out = Outputs {
            interactions: Interactions::default(),
            items: ids.items.clone(),
            users: ids.users.clone(),
            demonstrations: Demonstrations::default(),
            calls: Calls::default(),
            groundings: Groundings::default(),
            log: Interactions::default(),
            history: Interactions::default(),
        };
        let dropped = Dropped::default();
        let mut importer =
            TranscriptImporter { ids: &ids, matcher: &matcher, on_quit: self.on_quit, out, dropped, grounded_here: 0 };
        let mut counts = TranscriptCounts::default();
        let files = || all.iter().zip(&read).filter(|(path, _)| chosen.contains(path));
        for (path, recording) in files() {
            counts.add(recording.counts);
            let mut bad = recording.bad.clone();
            recording.transcripts.iter().for_each(|transcripts| importer.episode(transcripts, path, &mut bad));
            bad.enforce(path, self.on_bad_row, cx)?;
        }
        let TranscriptImporter { mut out, dropped, grounded_here, .. } = importer;
        if out.demonstrations.trajectories.is_empty() {
            bail!("no episode with a step in {} files of {}{dropped}", chosen.len(), folder.display());
        }
        out.groundings = matcher.groundings(files().flat_map(|(_, recording)| &recording.transcripts));
        note_counts(counts, cx);
        matcher.note_matches(&out.groundings, cx);
        if grounded_here > 0 {
            cx.note(
                "without a recorded item",
                format!("{grounded_here}, matched here; {} of them dropped", dropped.unmatched),
            );
        }
        dropped.note(cx);
        if let Some((log, by)) = inputs.interactions.zip(self.user_ids) {
            let chosen = files().flat_map(|(_, recording)| &recording.transcripts);
            let ToldHistory { log, told } = ToldHistory::new(chosen, &ids, &matcher, by, log, cx)?;
            (out.log, out.history) = (log, told);
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
    /// The whole catalogue; `known` is that of the log.
    fn catalogue(&self, folder: &Path, transcripts: &[&Transcript], known: Option<&Items>) -> Result<Items> {
        let entries: Vec<(String, String)> = match (&self.titles, known) {
            (Some(name), _) => billp_maps::titles(&folder.join(name))?,
            (None, Some(known)) => return Ok(known.clone()),
            (None, None) => {
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
            Format::Fireact => react_form::read(&text),
            Format::Lines => json_form::read(&text),
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
pub(in crate::ingest) fn coverage(outputs: &Outputs) -> String {
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
