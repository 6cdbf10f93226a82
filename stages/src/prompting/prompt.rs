//! The prompts: instructions, the items that the user liked, the items shown so far, and the prefix that a title completes.
//!
//! The texts are [templates](super::templates). They are part of the request, so a changed template gives new requests. Titles are
//! kept short, because every token is evaluated.

use anyhow::{Context as _, Result};
use minijinja::{Environment, Value, context};
use pipeline::Context;

use super::templates::Prompts;
use crate::artifact::{Interactions, Items};
use crate::features::{Columns, Declared, told};
use crate::llm::ChoiceRequest;
use crate::llm::item_names::{names, sanitize};

/// The parts of every prompt of one stage.
pub(crate) struct Prompt {
    environment: Environment<'static>,
    noun: String,
    /// The name of each item; no two are equal.
    names: Vec<String>,
    /// The declared columns of each item, `brand: Acme, price: 12.5`; none where none is declared.
    features: Vec<String>,
    /// The top of the rating scale, as the log shows it.
    highest: f32,
    /// The instructions, the same for every user.
    pub preamble: String,
    completion_prefix: String,
    history_length: usize,
}

impl Prompt {
    /// `history_length` is the minimum number of the episode's last items in a prompt.
    pub fn new(
        noun: &str,
        instructions: Option<&str>,
        prompts: &Prompts,
        history_length: usize,
        items: &Items,
        train: &Interactions,
    ) -> Result<Self> {
        let highest = train.rating.iter().copied().fold(f32::MIN, f32::max);
        let mut prompt = Self {
            environment: prompts.environment()?,
            noun: noun.to_owned(),
            names: names(items),
            features: Vec::new(),
            highest,
            preamble: String::new(),
            completion_prefix: String::new(),
            history_length,
        };
        prompt.preamble = prompt.line("preamble", context! { noun, instructions })?;
        prompt.completion_prefix = prompt.render("completion_prefix", context! { noun })?;
        Ok(prompt)
    }

    /// The same that tells these columns of the items: behind each title in a list, and of the candidates. Notes which columns of the
    /// catalogue no prompt tells.
    ///
    /// # Errors
    /// Where the catalogue has no such column.
    pub fn telling(mut self, declared: &Declared, items: &Items, cx: &Context) -> Result<Self> {
        let table = Columns::of_items(items);
        if declared.is_empty() {
            return Ok(self);
        }
        let found = told(&table, declared, sanitize)?;
        let of = found.texts.iter().filter(|text| !text.is_empty()).count();
        let cut = if found.cut > 0 { format!("; {} values are cut", found.cut) } else { String::new() };
        cx.note(
            "told columns",
            format!("{} of {of} items{cut}", declared.keys().cloned().collect::<Vec<_>>().join(", ")),
        );
        let left: Vec<&str> = table.undeclared(declared).collect();
        if !left.is_empty() {
            cx.note("columns left out", format!("items: {} (`item_features` tells them)", left.join(", ")));
        }
        self.features = found.texts;
        Ok(self)
    }

    /// The rendered template without surrounding space.
    fn render(&self, template: &str, values: Value) -> Result<String> {
        let fill = || self.environment.get_template(template)?.render(values);
        let text = fill().with_context(|| format!("cannot render the prompt template `{template}`"))?;
        Ok(text.trim().to_owned())
    }

    fn line(&self, template: &str, values: Value) -> Result<String> {
        Ok(self.render(template, values)? + "\n")
    }

    /// The beginning of a user's prompts; `liked` are items, best first.
    pub fn prefix(&self, liked: &[u32]) -> Result<Vec<String>> {
        let mut context = vec![self.preamble.clone()];
        if !liked.is_empty() {
            context.push(self.line("liked", context! { titles => self.titles(liked) })?);
        }
        Ok(context)
    }

    /// The line about the user's log; `items` oldest first.
    pub fn history_line(&self, items: &[u32]) -> Result<String> {
        self.line("history", context! { titles => self.titles(items) })
    }

    /// The line about another user's log; `items` oldest first.
    pub fn other_history_line(&self, items: &[u32]) -> Result<String> {
        self.line("other_history", context! { titles => self.titles(items) })
    }

    /// The line about the item that was taken next.
    pub fn step_line(&self, item: u32) -> Result<String> {
        let completion_prefix = self.completion_prefix.as_str();
        self.line("step", context! { completion_prefix, title => self.name(item) })
    }

    /// The line about the user's log in phases, oldest first: the items of each and its genres.
    pub fn phases_line(&self, phases: &[(Vec<u32>, Vec<String>)]) -> Result<String> {
        let phase = |(items, genres): &(Vec<u32>, Vec<String>)| {
            let genres: Value = genres.iter().cloned().collect();
            context! { titles => self.titles(items), genres }
        };
        let phases: Value = phases.iter().map(phase).collect();
        self.line("phases", context! { phases })
    }

    /// The line about a hint; it stands last before the question, so that prompts with different hints share their beginning.
    pub fn hint_line(&self, hint: &str) -> Result<String> {
        self.line("hint", context! { hint })
    }

    fn titles(&self, items: &[u32]) -> Value {
        items.iter().map(|&item| self.described(item)).collect()
    }

    /// The name of an item with its columns: `Heat (brand: Acme, price: 12.5)`.
    fn described(&self, item: u32) -> String {
        match self.features_of(item) {
            "" => self.name(item).to_owned(),
            features => format!("{} ({features})", self.name(item)),
        }
    }

    /// The declared columns of an item; empty where none is declared or known.
    fn features_of(&self, item: u32) -> &str {
        self.features.get(item as usize).map_or("", String::as_str)
    }

    /// The line about one shown item.
    pub fn feedback_line(&self, item: u32, reward: f32) -> Result<String> {
        let (rating, highest) = (format!("{reward:.1}"), self.highest.to_string());
        let (noun, title, features) = (self.noun.as_str(), self.name(item), self.features_of(item));
        self.line("feedback", context! { noun, title, rating, highest, features })
    }

    /// The context of a turn: `prefix` and the last of the lines `shown`.
    pub fn context(&self, prefix: &[String], shown: &[String]) -> Vec<String> {
        prefix.iter().chain(&shown[dropped(shown.len(), self.history_length)..]).cloned().collect()
    }

    /// The request to choose one of `candidates` after this context, and after their columns where some are declared.
    pub fn request(&self, mut context: Vec<String>, candidates: &[u32]) -> Result<ChoiceRequest> {
        if !self.features.is_empty() {
            let (noun, candidates) = (self.noun.as_str(), self.titles(candidates));
            context.push(self.line("candidates", context! { noun, candidates })?);
        }
        let options = candidates.iter().map(|&item| self.name(item).to_owned()).collect();
        Ok(ChoiceRequest { context, completion_prefix: self.completion_prefix.clone(), options })
    }

    /// The text that a generated title continues.
    pub fn completion_prefix(&self) -> &str {
        &self.completion_prefix
    }

    /// The text that the planner continues.
    pub fn thought_prompt(&self) -> Result<String> {
        self.render("thought_prompt", context! { noun => self.noun.as_str() })
    }

    /// The line about a thought.
    pub fn thought_line(&self, thought: &str) -> Result<String> {
        self.line("thought_format", context! { thought })
    }

    /// The line about reflections.
    pub fn reflections_line(&self, reflections: &[String]) -> Result<String> {
        let reflections: Value = reflections.iter().cloned().collect();
        self.line("reflections", context! { reflections })
    }

    /// The line about items that went well and badly before; at least one of the two is not empty.
    pub fn advice_line(&self, good: &[u32], bad: &[u32]) -> Result<String> {
        self.line("advice", context! { good => self.titles(good), bad => self.titles(bad) })
    }

    /// The text that the critic continues.
    pub fn critic_prompt(&self, low: i32, high: i32) -> Result<String> {
        self.render("critic_prompt", context! { low, high })
    }

    /// The text that the reflector continues.
    pub fn reflection_prompt(&self, turns: usize, left: bool) -> Result<String> {
        self.render("reflection_prompt", context! { turns, left })
    }

    /// The catalogue with the names of the prompts, to match generated titles to.
    pub fn catalogue(&self, items: &Items) -> Items {
        Items { title: self.names.clone(), ..items.clone() }
    }

    /// The name of an item.
    pub fn name(&self, item: u32) -> &str {
        &self.names[item as usize]
    }
}

/// How many of `shown` lines a prompt leaves out: whole blocks of `history_length`, so that at least that many stay. A window that
/// slid line by line would change the prompt's beginning each turn, and all of it would have to be evaluated again.
fn dropped(shown: usize, history_length: usize) -> usize {
    shown.saturating_sub(history_length) / history_length * history_length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::FeatureKind;

    fn items(titles: &[(&str, Option<i32>)]) -> Items {
        Items {
            id: (0..titles.len()).map(|row| format!("i{row}")).collect(),
            title: titles.iter().map(|title| title.0.to_owned()).collect(),
            year: titles.iter().map(|title| title.1).collect(),
            genres: vec![vec![]; titles.len()],
            ..Items::default()
        }
    }

    #[test]
    fn the_window_hops_so_that_the_beginning_stays() {
        let kept: Vec<usize> = (0..=22).map(|shown| shown - dropped(shown, 7)).collect();
        assert_eq!(kept, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 7, 8, 9, 10, 11, 12, 13, 7, 8]);
    }

    #[test]
    fn a_prompt_in_full() {
        let train = Interactions { user: vec![0], item: vec![0], rating: vec![5.0], timestamp: vec![0] };
        let catalogue = items(&[("Fargo", None), ("Heat", None), ("Big", None)]);
        let prompt = Prompt::new("movie", None, &Prompts::default(), 7, &catalogue, &train).unwrap();
        let prefix = prompt.prefix(&[1, 0]).unwrap();
        let shown = [prompt.feedback_line(2, 3.12).unwrap()];
        let request = prompt.request(prompt.context(&prefix, &shown), &[0, 1]).unwrap();
        assert_eq!(
            request.context.concat(),
            "You recommend one movie at a time to a user. Choose what this user will rate highly, and vary: a user who is shown \
             the same kind again and again leaves.\nThe user's favourites: Heat; Fargo.\nRecommended movie: \
             Big. The user's rating: 3.1 of 5.\n"
        );
        assert!(request.context.iter().all(|piece| piece.ends_with('\n')));
        assert_eq!(
            (request.completion_prefix.as_str(), &request.options[..]),
            ("Recommended movie:", &["Fargo".into(), "Heat".into()][..])
        );
        let mut described = catalogue.clone();
        described.features = [("brand", ["Acme", "", "B"]), ("price", ["12.5", "", ""])]
            .map(|(name, values)| (name.to_owned(), values.map(str::to_owned).to_vec()))
            .into();
        let declared =
            [("brand".to_owned(), FeatureKind::Categorical), ("price".to_owned(), FeatureKind::Numeric)].into();
        let (folder, new) = (tempfile::tempdir().unwrap(), || {
            Prompt::new("movie", None, &Prompts::default(), 7, &described, &train).unwrap()
        });
        let cx = Context::detached(folder.path());
        let telling = new().telling(&declared, &described, &cx).unwrap();
        let wanted = "The user's favourites: Heat; Fargo (brand: Acme, price: 12.5).\n";
        assert_eq!(telling.prefix(&[1, 0]).unwrap()[1], wanted);
        assert_eq!(telling.feedback_line(2, 3.12).unwrap(), shown[0], "unless the template tells `features`");
        let asked = telling.request(telling.context(&prefix, &shown), &[2, 1]).unwrap();
        assert_eq!(asked.context.last().unwrap(), "To choose from: Big (brand: B); Heat.\n");
        assert_eq!(asked.options, ["Big", "Heat"], "what is scored stays the name");
        let nothing = new().telling(&Declared::new(), &described, &cx).unwrap();
        assert_eq!(nothing.request(nothing.context(&prefix, &shown), &[0, 1]).unwrap(), request);
        let unknown = [("brnad".to_owned(), FeatureKind::Text)].into();
        let error = new().telling(&unknown, &described, &cx).err().unwrap().to_string();
        assert!(error.contains("no column `brnad`\nhelp: did you mean `brand`? it has brand, price"), "{error}");
        let terse = Prompt::new("movie", Some("Be bold."), &Prompts::default(), 7, &catalogue, &train).unwrap();
        assert_eq!(terse.prefix(&[]).unwrap(), ["Be bold.\n"], "own instructions, a user without a history");
    }
}
