//! The prompts: instructions, the items that the user liked, the items shown so far, and the prefix that a title completes.
//!
//! The texts are [templates](super::templates). They are part of the request, so a changed template gives new requests. Titles are
//! kept short, because every token is evaluated.

use anyhow::{Context as _, Result};
use minijinja::{Environment, Value, context};

use super::templates::Prompts;
use crate::artifact::{Interactions, Items};
use crate::llm::ChoiceRequest;
use crate::llm::item_names::names;

/// The parts of every prompt of one stage.
pub(crate) struct Prompt {
    environment: Environment<'static>,
    noun: String,
    /// The name of each item; no two are equal.
    names: Vec<String>,
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
            highest,
            preamble: String::new(),
            completion_prefix: String::new(),
            history_length,
        };
        prompt.preamble = prompt.line("preamble", context! { noun, instructions })?;
        prompt.completion_prefix = prompt.render("completion_prefix", context! { noun })?;
        Ok(prompt)
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
        items.iter().map(|&item| self.name(item).to_owned()).collect()
    }

    /// The line about one shown item.
    pub fn feedback_line(&self, item: u32, reward: f32) -> Result<String> {
        let (rating, highest) = (format!("{reward:.1}"), self.highest.to_string());
        self.line("feedback", context! { noun => self.noun.as_str(), title => self.name(item), rating, highest })
    }

    /// The context of a turn: `prefix` and the last of the lines `shown`.
    pub fn context(&self, prefix: &[String], shown: &[String]) -> Vec<String> {
        prefix.iter().chain(&shown[dropped(shown.len(), self.history_length)..]).cloned().collect()
    }

    /// The request to choose one of `candidates` after this context.
    pub fn request(&self, context: Vec<String>, candidates: &[u32]) -> ChoiceRequest {
        let options = candidates.iter().map(|&item| self.name(item).to_owned()).collect();
        ChoiceRequest { context, completion_prefix: self.completion_prefix.clone(), options }
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
        let request = prompt.request(prompt.context(&prefix, &shown), &[0, 1]);
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
        let terse = Prompt::new("movie", Some("Be bold."), &Prompts::default(), 7, &catalogue, &train).unwrap();
        assert_eq!(terse.prefix(&[]).unwrap(), ["Be bold.\n"], "own instructions, a user without a history");
    }
}
