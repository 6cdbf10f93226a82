//! Every question about every item, in parallel, each answer stored before it is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use pipeline::Context;

use super::questions::{Question, Questions, contrast_score};
use super::rate_by::RateBy;
use crate::artifact::{Call, ItemScores, Items};
use crate::llm::item_names::{ItemText, item_texts};
use crate::llm::{AwaitsBatch, CachedLlm, Conversation, Llm, ask_each, parse_integer};

/// After this many items without a score and none with one, the stage gives up.
const MAX_INVALID: usize = 8;
/// Number of items at either end of the scale that are noted.
const NOTED: usize = 3;

/// The settings of a rating.
pub(crate) struct Rating<'a> {
    /// How items are rated.
    pub by: &'a RateBy,
    /// The noun for an item in the prompts.
    pub item_noun: &'a str,
    /// Minimum fraction of items with a score.
    pub min_valid_rate: f64,
}

/// The rated items.
pub(crate) struct Rated {
    pub scores: ItemScores,
    /// The calls about each item, in the order of the questions.
    pub calls: Vec<Vec<Arc<Call>>>,
}

/// The score of an item by each question, where the answer gives one, and the calls.
type Answers = Vec<(Option<f64>, Arc<Call>)>;

impl Rating<'_> {
    /// Rates all items. An item has a score where each question has an answer.
    ///
    /// # Errors
    /// When the model is unavailable, or fewer than `min_valid_rate` of the items have a score.
    pub fn rate(&self, items: &Items, llm: &dyn Llm, cache: &CachedLlm, cx: &Context) -> Result<Rated> {
        ensure!(!items.is_empty(), "the catalogue is empty");
        let texts = item_texts(items);
        warn_of_unknown(&texts, cx);
        let questions = Questions::new(self.by, self.item_noun.trim())?;
        let conversations = llm.conversations("")?;
        let start = Instant::now();
        let bar = cx.bar("items", Some(items.len() as u64), "items");
        let (stop, any_valid, invalid) = (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
        let rate = |item: &ItemText| -> Result<Option<Answers>> {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let answers =
                cx.check_cancelled().and_then(|()| self.rate_item(&questions, item, cache, &mut *conversations()));
            // An item that waits for a batch stops no other.
            let answers = answers.inspect_err(|error| {
                if !AwaitsBatch::is(error) {
                    stop.store(true, Ordering::Relaxed);
                }
            })?;
            if answers.iter().all(|(score, _)| score.is_some()) {
                any_valid.store(true, Ordering::Relaxed);
            } else if invalid.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_INVALID && !any_valid.load(Ordering::Relaxed) {
                stop.store(true, Ordering::Relaxed);
            }
            cache.advance(&bar, start);
            Ok(Some(answers))
        };
        let asked: Vec<Option<Answers>> = cache.ask_all(&texts, cx, rate)?;
        self.check_valid(&asked)?;
        let asked: Vec<Answers> = asked.into_iter().map(Option::unwrap_or_default).collect();
        let column = |(at, (name, _)): (usize, &(&str, Question))| {
            ((*name).to_owned(), asked.iter().map(|answers| answers[at].0).collect())
        };
        let scores = ItemScores::mean_of(questions.all.iter().enumerate().map(column).collect())?;
        note_ends(&scores, &texts, cx);
        let calls = asked.into_iter().map(|answers| answers.into_iter().map(|(_, call)| call).collect());
        Ok(Rated { scores, calls: calls.collect() })
    }

    /// Asks every question about one item.
    fn rate_item(
        &self,
        questions: &Questions,
        item: &ItemText,
        cache: &CachedLlm,
        conversation: &mut dyn Conversation,
    ) -> Result<Answers> {
        let answer = |&(name, question): &(&str, Question)| match question {
            Question::Contrast(contrast) => {
                let (logprobs, call) = cache.option_logprobs(conversation, &questions.choice(name, contrast, item)?)?;
                Ok((logprobs.map(|logprobs| contrast_score(contrast, &logprobs)), call))
            }
            Question::Likelihood(likelihood) => {
                let (logprobs, call) =
                    cache.option_logprobs(conversation, &questions.title(name, likelihood, item)?)?;
                Ok((logprobs.map(|logprobs| logprobs[0]), call))
            }
            Question::Grade(grade) => {
                let (text, call) = cache.write(conversation, &questions.completion(name, grade, item)?)?;
                Ok((parse_integer(&text, (grade.low, grade.high)).map(f64::from), call))
            }
        };
        let answers: Result<Answers> = ask_each(questions.all.iter().map(answer));
        answers.with_context(|| format!("the rating of `{}`", item.title))
    }

    /// Fails where fewer than `min_valid_rate` of the items have a score, or none of the first ones; what was not asked is `None`.
    fn check_valid(&self, asked: &[Option<Answers>]) -> Result<()> {
        let given = asked.iter().flatten();
        let failed =
            |answers: &Answers| answers.iter().find(|(score, _)| score.is_none()).map(|(_, call)| call.clone());
        let failed: Vec<Arc<Call>> = given.clone().filter_map(failed).collect();
        let Some(example) = failed.first() else { return Ok(()) };
        let (count, valid) = (given.count(), asked.iter().flatten().count() - failed.len());
        let stopped = count < asked.len();
        if !stopped && valid > 0 && valid as f64 >= self.min_valid_rate * count as f64 {
            return Ok(());
        }
        let shown = example.told();
        let help = match (shown.contains("\nhelp: "), &example.failure, self.by) {
            (true, ..) => String::new(),
            (false, Some(_), _) => format!(
                "\nhelp: fix the error that the server reports and run again; only failed calls are repeated. Or lower `min_valid_rate` \
                 from {}",
                self.min_valid_rate
            ),
            (false, None, RateBy::Contrasts(_)) => {
                "\nhelp: the server gives no log-probabilities of the words; let the model grade: `by: { grade: {} }`"
                    .into()
            }
            (false, None, RateBy::Likelihood(_)) => "\nhelp: use an embedded model: `llm: { gguf: … }`".into(),
            (false, None, RateBy::Grade(_)) => format!(
                "\nhelp: use a larger model, allow more tokens (`max_tokens` of the grade), or lower `min_valid_rate` from {}",
                self.min_valid_rate
            ),
        };
        let what = match self.by {
            RateBy::Contrasts(_) | RateBy::Likelihood(_) => "hold no log-probabilities",
            RateBy::Grade(_) => "hold no grade",
        };
        let which = if stopped {
            format!("the answers about the first {count} items")
        } else {
            format!("the answers about {} of {count} items", failed.len())
        };
        anyhow::bail!("{which} {what}; the first of them is: {shown}{help}")
    }
}

/// Warns where a model cannot know what it is asked about.
fn warn_of_unknown(texts: &[ItemText], cx: &Context) {
    let unknown = texts.iter().filter(|item| !item.known).count();
    if unknown == texts.len() {
        cx.warn(
            "the items have neither titles nor features, so the language model is asked about bare ids: its scores mean nothing, \
             and nothing can be expected of what is made of them",
        );
    } else if unknown > 0 {
        cx.note("items without a text", format!("{unknown} of {}; the model is asked about their ids", texts.len()));
    }
}

/// Notes how many items have a score, and the items at both ends.
fn note_ends(scores: &ItemScores, texts: &[ItemText], cx: &Context) {
    let mut rated: Vec<(usize, f64)> =
        scores.score.iter().enumerate().filter_map(|(item, score)| Some((item, (*score)?))).collect();
    cx.note("rated", format!("{} of {} items", rated.len(), texts.len()));
    rated.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let titles = |items: &[(usize, f64)]| {
        items.iter().map(|&(item, score)| format!("{} {score:.2}", texts[item].title)).collect::<Vec<_>>().join("; ")
    };
    if let [first, .., last] = rated[..]
        && first.1 == last.1
    {
        cx.warn(format!(
            "all {} rated items have the score {}, so the scores rank nothing\nhelp: use a larger model, or, where it gives \
             log-probabilities, `by: {{ contrasts: … }}`",
            rated.len(),
            first.1
        ));
    }
    let noted = NOTED.min(rated.len());
    cx.note("highest", titles(&rated[..noted]));
    cx.note("lowest", titles(&rated[rated.len() - noted..]));
}
