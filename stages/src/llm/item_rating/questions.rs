//! The questions about an item: rendered templates as requests, and what an answer says.

use anyhow::{Context as _, Result};
use minijinja::{Environment, Value, context};

use super::rate_by::{Contrast, Grade, Likelihood, RateBy};
use crate::llm::item_names::ItemText;
use crate::llm::{ChoiceRequest, CompletionRequest, template};

/// The name of the only question of a grade.
const GRADE: &str = "grade";
/// The name of the only question of a likelihood.
const LIKELIHOOD: &str = "likelihood";

/// The questions of one rating, ready to be asked.
pub(super) struct Questions<'a> {
    noun: &'a str,
    environment: Environment<'static>,
    pub all: Vec<(&'a str, Question<'a>)>,
}

/// One question.
#[derive(Clone, Copy)]
pub(super) enum Question<'a> {
    Contrast(&'a Contrast),
    Grade(&'a Grade),
    Likelihood(&'a Likelihood),
}

impl<'a> Questions<'a> {
    /// # Errors
    /// Where a template cannot be parsed, which [`Questions::check`] describes.
    pub fn new(by: &'a RateBy, noun: &'a str) -> Result<Self> {
        let all: Vec<(&str, Question)> = match by {
            RateBy::Contrasts(contrasts) => {
                contrasts.iter().map(|(name, contrast)| (name.as_str(), Question::Contrast(contrast))).collect()
            }
            RateBy::Grade(grade) => vec![(GRADE, Question::Grade(grade))],
            RateBy::Likelihood(likelihood) => vec![(LIKELIHOOD, Question::Likelihood(likelihood))],
        };
        let mut environment = template::environment();
        for (name, question) in &all {
            environment.add_template_owned((*name).to_owned(), question.prompt().to_owned())?;
        }
        Ok(Self { noun, environment, all })
    }

    /// Whether each template renders to a text: the path of the first that does not, and its error.
    pub fn check(by: &RateBy) -> Result<(), (String, String)> {
        let path = |name: &str| match by {
            RateBy::Contrasts(_) => format!("contrasts.{name}.prompt"),
            RateBy::Grade(_) => "grade.prompt".to_owned(),
            RateBy::Likelihood(_) => "likelihood.prompt".to_owned(),
        };
        let prompts: Vec<(&str, &str)> = match by {
            RateBy::Contrasts(contrasts) => {
                contrasts.iter().map(|(name, contrast)| (name.as_str(), contrast.prompt.as_str())).collect()
            }
            RateBy::Grade(grade) => vec![(GRADE, &grade.prompt)],
            RateBy::Likelihood(likelihood) => vec![(LIKELIHOOD, &likelihood.prompt)],
        };
        for (name, prompt) in prompts {
            template::check_alone(name, prompt).map_err(|wrong| (path(name), wrong))?;
        }
        let questions = Questions::new(by, "item").map_err(|error| (path(GRADE), format!("{error:#}")))?;
        let item = |title: &str, year, genres: &[&str]| ItemText {
            title: title.to_owned(),
            year,
            genres: genres.iter().map(|genre| (*genre).to_owned()).collect(),
            known: true,
        };
        let samples = [item("The Piano", Some(1993), &["Drama", "Romance"]), item("rain", None, &[])];
        for (name, question) in &questions.all {
            let samples: Vec<Value> = samples.iter().map(|item| question.values(questions.noun, item)).collect();
            template::check(&questions.environment, name, question.prompt(), &samples)
                .map_err(|wrong| (path(name), wrong))?;
        }
        Ok(())
    }

    /// The lines of the prompt of one question.
    fn lines(&self, (name, question): (&str, Question), item: &ItemText) -> Result<Vec<String>> {
        let fill = || self.environment.get_template(name)?.render(question.values(self.noun, item));
        let text = fill().with_context(|| format!("cannot render the prompt `{name}`"))?;
        Ok(text.trim().lines().map(|line| line.trim_end().to_owned()).collect())
    }

    /// The request of a contrast.
    pub fn choice(&self, name: &str, contrast: &Contrast, item: &ItemText) -> Result<ChoiceRequest> {
        let options = contrast.positive.iter().chain(&contrast.negative).cloned().collect();
        self.logprobs_of(options, (name, Question::Contrast(contrast)), item)
    }

    /// The request of a grade.
    pub fn completion(&self, name: &str, grade: &Grade, item: &ItemText) -> Result<CompletionRequest> {
        let (context, completion_prefix) = pieces(self.lines((name, Question::Grade(grade)), item)?);
        Ok(CompletionRequest {
            context,
            completion_prefix,
            max_tokens: grade.max_tokens,
            stop: String::new(),
            temperature: 0.0,
            draw: 0,
            integer: Some((grade.low, grade.high)),
        })
    }

    /// The request of a likelihood: the title is the only option.
    pub fn title(&self, name: &str, likelihood: &Likelihood, item: &ItemText) -> Result<ChoiceRequest> {
        self.logprobs_of(vec![item.title.clone()], (name, Question::Likelihood(likelihood)), item)
    }

    /// The request for the log-probabilities of `options` after a question. Earlier lines of the prompt are pieces of the context,
    /// which questions share; there are no instructions.
    fn logprobs_of(&self, options: Vec<String>, question: (&str, Question), item: &ItemText) -> Result<ChoiceRequest> {
        let (mut context, completion_prefix) = pieces(self.lines(question, item)?);
        if !context.is_empty() {
            context.insert(0, String::new());
        }
        Ok(ChoiceRequest { context, completion_prefix, options })
    }
}

impl Question<'_> {
    pub fn prompt(&self) -> &str {
        match self {
            Self::Contrast(contrast) => &contrast.prompt,
            Self::Grade(grade) => &grade.prompt,
            Self::Likelihood(likelihood) => &likelihood.prompt,
        }
    }

    /// The variables of its template.
    fn values(&self, noun: &str, item: &ItemText) -> Value {
        let ItemText { title, year, genres, .. } = item;
        match self {
            Self::Contrast(_) => context! { noun, title, year, genres },
            Self::Grade(grade) => context! { noun, title, year, genres, low => grade.low, high => grade.high },
            Self::Likelihood(_) => context! { noun },
        }
    }
}

/// The score of a contrast from the log-probabilities of its words, positive ones first.
pub(super) fn contrast_score(contrast: &Contrast, logprobs: &[f64]) -> f64 {
    let (positive, negative) = logprobs.split_at(contrast.positive.len());
    let mean = |logprobs: &[f64]| logprobs.iter().sum::<f64>() / logprobs.len() as f64;
    mean(positive) - mean(negative)
}

/// All lines but the last with their line breaks, and the last.
fn pieces(mut lines: Vec<String>) -> (Vec<String>, String) {
    let last = lines.pop().unwrap_or_default();
    (lines.into_iter().map(|line| line + "\n").collect(), last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(title: &str, year: Option<i32>) -> ItemText {
        ItemText { title: title.into(), year, genres: vec!["Drama".into()], known: true }
    }

    #[test]
    fn default_prompts_in_full() {
        let by = RateBy::default();
        let questions = Questions::new(&by, "movie").unwrap();
        let said: Vec<String> = (questions.all.iter())
            .map(|&(name, question)| {
                let Question::Contrast(contrast) = question else { panic!("contrasts") };
                let request = questions.choice(name, contrast, &item("The Piano", Some(1993))).unwrap();
                assert!(request.options.len() == 8 && request.context.is_empty());
                request.completion_prefix
            })
            .collect();
        let expected = [
            "Movie: The Piano (1993). Those who know this movie call it",
            "Movie: The Piano (1993). Critics say this movie is",
            "Movie: The Piano (1993). In one word, this movie is",
        ];
        assert_eq!(said, expected);
        let by = RateBy::Grade(Grade::default());
        let questions = Questions::new(&by, "book").unwrap();
        let (name, Question::Grade(grade)) = questions.all[0] else { panic!("a grade") };
        let request = questions.completion(name, grade, &item("夜は短し", None)).unwrap();
        assert_eq!(request.context, ["You judge how well a broad audience likes a book.\n", "Book: 夜は短し, Drama\n"]);
        assert_eq!(
            (request.completion_prefix.as_str(), request.integer),
            ("Grade from 1 (nobody likes it) to 10 (nearly everybody loves it):", Some((1, 10)))
        );
    }

    #[test]
    fn a_title_is_a_value_and_no_template_and_one_line_has_no_context() {
        let contrast =
            Contrast { prompt: "{{ title }} is ".into(), positive: vec!["good".into()], negative: vec!["bad".into()] };
        let by = RateBy::Contrasts([("a".to_owned(), contrast.clone())].into());
        let questions = Questions::new(&by, "movie").unwrap();
        let request = questions.choice("a", &contrast, &item("{{ noun }}{% raw %}", None)).unwrap();
        assert_eq!((request.context, request.completion_prefix.as_str()), (vec![], "{{ noun }}{% raw %} is"));
    }

    #[test]
    fn a_likelihood_asks_for_the_title_and_does_not_tell_it() {
        let by = RateBy::Likelihood(Likelihood::default());
        let questions = Questions::new(&by, "movie").unwrap();
        let (name, Question::Likelihood(likelihood)) = questions.all[0] else { panic!("a likelihood") };
        let request = questions.title(name, likelihood, &item("The Piano", Some(1993))).unwrap();
        let expected = ("A well-known movie is called", vec!["The Piano".to_owned()]);
        assert_eq!((request.completion_prefix.as_str(), request.options), expected);
        assert_eq!(request.context, Vec::<String>::new());
    }

    #[test]
    fn a_contrast_by_hand() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let contrast = Contrast { prompt: "x".into(), positive: words(&["a", "b"]), negative: words(&["c"]) };
        // (−1 − 2)/2 − (−4)
        assert_eq!(contrast_score(&contrast, &[-1.0, -2.0, -4.0]), 2.5);
    }
}
